"""A search is a cell, and what it finds is trained as another: the table shows the second at the cost of both."""

import pytest

from cells import small_matrix
from mtlbench.harness.data.places import NotReady
from mtlbench.harness.driver import standing, work
from mtlbench.harness.matrix.expand import expand, manifest, plan
from mtlbench.harness.store.store import Store
from mtlbench.methods import METHODS
from mtlbench.methods.baseline import MultiTask
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import Record
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

pytestmark = pytest.mark.usefixtures("undrawn")


class Guesses(MultiTask):
    """Searches for an option until it is told one; the answer depends on nothing."""

    def __init__(self, backbone, targets, *, answer: int = 0) -> None:
        super().__init__(backbone, targets)
        self.answer = answer

    def at(self, progress):
        if self.answer == 13 or (self.answer == 0 and Guesses.fails):
            raise RuntimeError("no luck")

    fails = False

    def findings(self):
        return {"answer": 42}

    @classmethod
    def preliminary(cls, options):
        return options.get("answer", 0) == 0

    @classmethod
    def follow_up(cls, options, findings):
        return {**options, "answer": findings["answer"]}


METHODS_HERE = [{"name": "multi_task", "label": "MT"}, {"name": "test_search:Guesses", "label": "Guess"}]


def matrix(**changes):
    return small_matrix(**{"methods": METHODS_HERE, "baseline": "MT", **changes})


def record_of(cell, findings):
    return Record(cell.id, cell.model_dump(mode="json"), (), {}, {}, findings, cell.derived_from)


def test_the_record_of_a_search_leads_to_a_cell_of_the_same_recipe_and_seed_derived_from_it():
    m = matrix(seeds=[0, 1])
    first, waiting = plan(m, {})
    assert len(first) == 4 and len(waiting) == 2
    search = next(cell for cell in first if cell.method == "test_search:Guesses" and cell.seed == 1)
    records = {search.id: record_of(search, {"answer": 42})}
    then, waiting = plan(m, records)
    (fresh,) = {cell.id: cell for cell in then if cell not in first}.values()
    assert fresh.options == {"answer": 42}
    assert fresh.derived_from == (search.id,)
    assert fresh.model_copy(update={"options": {}, "derived_from": ()}) == search
    assert len(waiting) == 1 and "seed 0" in waiting[0]
    done, waiting = plan(m, records | {cell.id: record_of(cell, {"answer": 42}) for cell in then})
    assert [cell.derived_from for cell in done] and len(waiting) == 0


def test_a_cell_that_is_given_what_a_search_would_find_is_another_cell():
    search = next(item.cell for item in expand(matrix()) if item.entry.preliminary)
    found = expand(matrix(), {search.id: record_of(search, {"answer": 42})})[-1]
    given = [{"name": "multi_task", "label": "MT"}, {"name": "test_search:Guesses", "options": {"answer": 42}}]
    assert found.cell.id != expand(matrix(methods=given))[-1].cell.id


def test_the_manifest_names_the_search_until_it_is_done_and_both_after_it():
    search = next(item.cell for item in expand(matrix()) if item.entry.preliminary)
    before = manifest(matrix(), {}).entries
    after = manifest(matrix(), {}, {search.id: record_of(search, {"answer": 42})}).entries
    assert [(e.label, e.preliminary) for e in before] == [("MT", False), ("Guess", True)]
    assert [(e.label, e.preliminary) for e in after] == [("MT", False), ("Guess", True), ("Guess", False)]


def test_atrc_trains_the_genotype_that_its_search_has_found():
    genotype = {"depth": {"depth": "global"}}
    atrc = METHODS["atrc"]
    assert atrc.preliminary({"genotype": "search"})
    options = atrc.follow_up({"genotype": "search"}, {"genotype": genotype, "genotype_from": "search"})
    assert options == {"genotype": genotype}
    assert not atrc.preliminary(options) and not atrc.preliminary({})


# whole runs, without a scheduler and without MLflow ------------------------------------------------------------------


def row(tmp_path, label="Guess"):
    found = read(str(tmp_path / "s"), "m")
    (comparison,) = comparisons(found)
    return comparison.rows[label], summarise(comparison, found.store).rows[label], found.records


def test_a_run_searches_then_trains_what_was_found_and_shows_that(go, tmp_path):
    outcome, said = go(matrix())
    assert (outcome.finished, outcome.missing, outcome.failures) == (3, [], {})
    assert "Guess, search" in said
    run = row(tmp_path)[0].runs[0]
    assert run.status == "finished"
    (shown,) = run.records.values()
    assert shown.cell["options"] == {"answer": 42}
    (search_id,) = shown.derived_from
    _, summary, records = row(tmp_path)
    both = shown.cost["train_seconds"] + records[search_id].cost["train_seconds"]
    assert summary.cost["train_seconds"] == pytest.approx(both)
    assert summary.cost["parameters"] == shown.cost["parameters"]
    again, said = go(matrix())
    assert again.finished == 3 and "to run" not in said


@pytest.mark.slow
def test_a_search_that_fails_is_missing_and_the_row_says_so(go, tmp_path, monkeypatch):
    monkeypatch.setattr(Guesses, "fails", True)
    outcome, _ = go(matrix())
    assert outcome.finished == 1 and len(outcome.missing) == 1
    assert list(outcome.failures.values()) == ["RuntimeError: no luck"]
    assert row(tmp_path)[0].runs[0].status == "failed"
    monkeypatch.setattr(Guesses, "fails", False)
    outcome, _ = go(matrix())
    assert (outcome.finished, outcome.missing) == (3, [])


@pytest.mark.slow
def test_a_training_that_fails_after_its_search_keeps_the_search(go, tmp_path, monkeypatch):
    monkeypatch.setattr(Guesses, "findings", lambda self: {"answer": 13})
    outcome, _ = go(matrix())
    assert outcome.finished == 2 and len(outcome.missing) == 1
    assert row(tmp_path)[0].runs[0].status == "failed"
    _, said = go(matrix())
    assert "1 of 3 cells to run" in said


@pytest.mark.slow
def test_a_search_that_finished_just_before_its_driver_was_killed_is_not_shown_as_the_result(go, tmp_path):
    go(matrix())
    store, m = Store(tmp_path / "s"), matrix()
    store.put("matrices/m.json", manifest(m, {}).to_json())  # as it was when the driver started
    entry, summary, _ = row(tmp_path)
    assert entry.runs[0].status == "searching"
    assert summary.scores["depth"].problem == "searching"
    assert summary.delta.problem == "searching"
    outcome, said = go(m)
    assert outcome.finished == 3 and "to run" not in said
    assert row(tmp_path)[0].runs[0].status == "finished"


@pytest.mark.slow
def test_a_search_that_starts_anew_takes_what_it_led_to_along(go, tmp_path, monkeypatch):
    go(matrix())
    monkeypatch.setattr(Guesses, "findings", lambda self: {"answer": 7})
    outcome, _ = go(matrix(), rerun="all")
    assert (outcome.finished, outcome.missing) == (3, [])
    (shown,) = row(tmp_path)[0].runs[0].records.values()
    assert shown.cell["options"] == {"answer": 7}


@pytest.mark.slow
def test_only_takes_the_search_with_what_follows_by_label_and_either_by_id(go, tmp_path):
    outcome, _ = go(matrix(), only=["Guess"])
    assert outcome.finished == 2
    (shown,) = row(tmp_path)[0].runs[0].records
    outcome, _ = go(matrix(), only=[shown], rerun="all")
    assert outcome.finished == 1
    with pytest.raises(NotReady, match="--only nothing"):
        go(matrix(), only=["nothing"])


def test_looking_changes_nothing(go, tmp_path):
    go(matrix())
    store = Store(tmp_path / "s")
    before = sorted(path for path in (tmp_path / "s").rglob("*") if path.is_file())
    planned, records = work.survey(matrix(), standing.recorded(store, {}))
    assert len(planned) == len(records) == 3
    assert before == sorted(path for path in (tmp_path / "s").rglob("*") if path.is_file())


@pytest.mark.slow
def test_atrc_searches_for_a_genotype_and_trains_with_it(go, tmp_path):
    atrc = {"name": "atrc", "label": "ATRC", "options": {"genotype": "search"}}
    outcome, _ = go(matrix(methods=[{"name": "multi_task", "label": "MT"}, atrc], tasks=["depth", "normals"]))
    assert (outcome.finished, outcome.missing) == (3, [])
    (shown,) = row(tmp_path, "ATRC")[0].runs[0].records.values()
    assert shown.findings["genotype"] == shown.cell["options"]["genotype"]
    assert shown.findings["genotype_from"] == "given"
