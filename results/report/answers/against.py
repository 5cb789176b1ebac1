"""Did a change of the code move anything? The answer in a sentence, tables of the page, Markdown, and data frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from mtlbench.results.questions.moved import Moved, Shift, Single
from mtlbench.results.records.record import Record, in_words
from mtlbench.results.report import formats, recipe, tables
from mtlbench.results.report.display import MINUS, UNDEFINED, fixed, task_set, titled, with_unit
from mtlbench.results.report.grids import Grid

TITLE = "Against the old store: did anything move?"
VERDICTS = {"equal": "equal to the bit", "one seed": "one seed", "not compared": "not compared"}
NAMED = 4  # rows or differences that a sentence names
CODE = ("commit", "source")


def answer(found: Moved) -> str:
    """Whether anything moved, in plain words."""
    count = len(found.common)
    if not count:
        return "No cell is finished in both stores." + _alone(found)
    if not found.moved:
        whole = f"All {count} cells" if count > 1 else "The one cell"
        whole += " that both stores have" * bool(found.singles)
        return f"{whole} {'are' if count > 1 else 'is'} equal to the bit." + _alone(found)
    cells = f"{len(found.moved)} of {_counted(count, 'cell')}"
    return f"{_rows(found)} ({cells}). {_noise(found)}" + _alone(found)


def _rows(found: Moved) -> str:
    """Which rows moved: "2 of 6 rows moved: PAD-Net and ATRC". Rows that only controls have are counted apart."""
    in_tables = {shift.label for shifts in found.tables.values() for shift in shifts}
    told = []
    for what, kept in (("", True), (" of the controls", False)):
        rows = {label: cells for label, cells in found.labels.items() if (label in in_tables) is kept}
        if moved := [label for label, cells in rows.items() if cells]:
            told.append(f"{len(moved)} of {_counted(len(rows), 'row')}{what} moved: {_listed(moved)}")
    return "; ".join(told)


def _noise(found: Moved) -> str:
    """Which differences are more than the noise of seeds."""
    if len(found.beside) == len(found.moved):
        return "No score that enters Δm moved."
    several = len(found.tables) > 1
    told = dict[str, None]()
    for key, shifts in found.tables.items():
        for shift in shifts:
            if shift.verdict in ("better", "worse"):
                where = f" in {_name(key)}" if several else ""
                told[f"{shift.label} on {in_words(shift.task)}{where} ({_difference(shift)}, {shift.verdict})"] = None
    if told:
        return f"More than the noise of seeds: {_listed(list(told))}."
    verdicts = {shift.verdict for shifts in found.tables.values() for shift in shifts}
    if verdicts & {"undecided", "equivalent"}:
        return "No difference is shown to be more than the noise of seeds."
    if "one seed" in verdicts:
        return "With one seed, nothing tells a difference from noise."
    return "No difference can be judged."


def _alone(found: Moved) -> str:
    """What is said of the cells that one store has not finished; "" where there is none."""
    if not found.singles:
        return ""
    told = []
    for store, other in (("new", "old"), ("old", "new")):
        singles = [single for single in found.singles if single.store == store]
        broken = {what: sum(single.other == what for single in singles) for what in ("failed", "corrupt")}
        named = ", ".join(f"{count} {what}" for what, count in broken.items() if count)
        if singles:
            told.append(f"{len(singles)} in the {store} one" + (f" ({named} in the {other} one)" * bool(named)))
    verb = "is" if len(found.singles) == 1 else "are"
    return f" {_counted(len(found.singles), 'cell')} {verb} finished in one store only: {', '.join(told)}."


def code(found: Moved) -> str:
    """Which commits the two stores have, and what else differs between their records."""
    if not found.common:
        return ""
    rows = {name: (old, new) for name, _, old, new in _origins(found)}
    old, new = rows.pop("commit", ("", ""))
    source = rows.pop("source", ("", ""))
    if old == new:
        first = f"Both stores have commit {new}" if new else "No record names a commit"
    else:
        first = f"Old: commit {old}; new: commit {new}"
    first += ", with the same source code" if source[0] == source[1] else ", with other source code"
    others = [f"{name} ({old}, now {new})" for name, (old, new) in rows.items() if old != new]
    if others:
        return f"{first}. Different too: {'; '.join(others)}."
    return f"{first}. Data, device and versions are the same."


def grids(found: Moved) -> list[dict[str, Any]]:
    """The tables of the section: row x task for each table of the matrix, the code, and the cells of one store."""
    shifts = [{"title": _name(key), "grid": _shifts(found, of)} for key, of in found.tables.items()]
    if len(shifts) == 1:
        shifts[0]["title"] = ""
    rest = [("Code, data and versions", _code(found)), ("Cells that one store has finished", _singles(found.singles))]
    return [*shifts, *({"title": title, "grid": grid} for title, grid in rest if grid.rows)]


def section(found: Moved) -> dict[str, Any]:
    """What a page shows."""
    return {"title": TITLE, "answer": answer(found), "code": code(found), "grids": grids(found)}


def markdown(found: Moved) -> str:
    """The section as Markdown."""
    head = f"## {formats.escape_markdown(TITLE)}\n\n"
    texts = [formats.escape_markdown(text) for text in (answer(found), code(found)) if text]
    shown = [
        tables.Table(
            "against",
            "against",
            part["title"] or "Row by task",
            (part["grid"].caption,),
            tuple(tables.Column(column) for column in part["grid"].columns),
            tuple(tuple(tables.Cell(text) for text in row) for row in part["grid"].rows),
            (),
        )
        for part in grids(found)
    ]
    return head + "\n\n".join(texts) + "\n\n" + formats.markdown(shown)


def frame(found: Moved) -> pd.DataFrame:
    """The table as unrounded numbers: a line for each table, row and task."""
    lines = []
    for (benchmark, tasks), shifts in found.tables.items():
        for shift in shifts:
            low, high = (shift.interval.low, shift.interval.high) if shift.interval else (math.nan, math.nan)
            lines.append(
                {
                    **{"benchmark": benchmark, "task_set": "+".join(tasks), "label": shift.label, "task": shift.task},
                    **{"metric": shift.score.metric if shift.score else "", "seeds": len(shift.pairs)},
                    **{"moved": shift.moved, "old_mean": shift.old, "new_mean": shift.new},
                    **{"difference": shift.difference, "low": low, "high": high, "verdict": shift.verdict},
                }
            )
    columns = ["benchmark", "task_set", "label", "task", "metric", "seeds", "moved", "old_mean", "new_mean"]
    return pd.DataFrame(lines, columns=[*columns, "difference", "low", "high", "verdict"])


def cells(found: Moved) -> pd.DataFrame:
    """Every score of every cell that either store has finished, with both commits: unrounded, in long form."""
    lines = list[dict[str, Any]]()
    entries = {**found.old.manifest.cells(), **found.new.manifest.cells()}
    for cell_id, entry in entries.items():
        records = [results.records.get(cell_id) for results in (found.old, found.new)]
        scores = [{(s.task, s.metric): s.value for s in record.scores} if record else {} for record in records]
        stores = ["" if record is None else name for record, name in zip(records, ("old", "new"), strict=True)]
        head = {"cell": cell_id, "label": entry.label, "seed": entry.seed, "stores": "+".join(filter(None, stores))}
        commits = [_commit(record) for record in records]
        for key in dict.fromkeys((*scores[0], *scores[1])):
            values = [of.get(key) for of in scores]
            lines.append(
                {
                    **head,
                    **{"task": key[0], "metric": key[1], "old": values[0], "new": values[1]},
                    **{"equal": values[0] == values[1] if all(records) else None},
                    **{"old_commit": commits[0], "new_commit": commits[1]},
                }
            )
    columns = ["cell", "label", "seed", "stores", "task", "metric", "old", "new", "equal", "old_commit", "new_commit"]
    return pd.DataFrame(lines, columns=columns).astype({"old": float, "new": float, "equal": "boolean"})


def _commit(record: Record | None) -> str:
    return recipe.short_commit(str(record.provenance.get("commit") or "")) if record else ""


def _shifts(found: Moved, shifts: Sequence[Shift]) -> Grid:
    rows = []
    for shift in shifts:
        score, decimals = shift.score, shift.score.decimals if shift.score else 2
        task = in_words(shift.task)
        name = f"{task} {with_unit(titled(score), score.unit)}" if score else task
        if shift.strange or not shift.pairs:
            old, new, difference, interval = [UNDEFINED] * 4
        else:
            old, new, (difference, interval) = fixed(shift.old, decimals), fixed(shift.new, decimals), _told(shift)
        moved = f"{shift.moved} of {len(shift.pairs)}" if shift.pairs else UNDEFINED
        verdict = VERDICTS.get(shift.verdict, shift.verdict)
        rows.append([shift.label, name, old, new, difference, interval, moved, verdict])
    columns = ["Method", "task", "old mean", "new mean", "difference", "95 % interval", "seeds moved", "verdict"]
    return Grid(columns, rows if found.common else [], " ".join(_sentences(found, shifts)), exact=_exact(found))


def _sentences(found: Moved, shifts: Sequence[Shift]) -> Iterator[str]:
    yield (
        "Old: the store after --against. New: the store of this page. Cells are paired by their ids, and means are "
        "over the seeds that both stores have finished. Difference: new minus old. Equal to the bit: all these scores "
        "are the same numbers; costs are not compared."
    )
    margin = f"{found.new.manifest.margin:g}"
    if found.compared:
        yield (
            "Better and worse: the new scores, where the interval excludes 0; equivalent: it lies inside "
            f"±{margin} % of the old mean."
        )
    for shift in shifts:
        if shift.strange:
            yield f"Not compared: {shift.label} on {in_words(shift.task)}, whose {'; '.join(shift.strange)}."
        if shift.undefined:
            seeds = f"seed{'s' * (len(shift.undefined) > 1)} {', '.join(map(str, shift.undefined))}"
            yield f"Undefined in one store or both: {shift.label} on {in_words(shift.task)}, {seeds}."


def _exact(found: Moved) -> str:
    if not found.compared:
        return ""
    return (
        "Student's t over the differences of paired seeds, widened (Bonferroni) so that all "
        f"{_counted(found.compared, 'interval')} of this matrix hold at once with a probability of 95 %."
    )


def _origins(found: Moved) -> list[list[str]]:
    """Rows of name, whether they differ, old, new: what the records of the common cells say of their origin."""
    old, new = (dict(_said(records)) for records in found.records())
    names = list(dict.fromkeys((*old, *new)))
    pairs = [(name, old.get(name, "unknown"), new.get(name, "unknown")) for name in names]
    return [[name, "differs" if one != other else "same", one, other] for name, one, other in pairs]


def _said(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    yield from recipe.origins(records)
    found = [record.provenance for record in records]
    for name in ("processes", "threads"):
        if any(name in each for each in found):
            yield name, recipe.distinct(str(each.get(name, "unknown")) for each in found)
    weights = [each["weights"] for each in found if isinstance(each.get("weights"), dict)]
    if weights:
        yield "initial weights", recipe.distinct(str(each.get("sha256", "unknown"))[:12] for each in weights)


def _code(found: Moved) -> Grid:
    caption = "What the records of the compared cells say. A commit ends in + where files differed from it."
    return Grid(["Name", "old and new", "old", "new"], _origins(found) if found.common else [], caption)


def _singles(singles: Sequence[Single]) -> Grid:
    rows = [
        [single.label, str(single.seed), single.store, f"{single.other} in the {_other(single.store)} one", single.id]
        for single in singles
    ]
    caption = "They are in no mean above."
    if any(single.other == "corrupt" for single in singles):
        caption += " Corrupt: the record cannot be read; a run of the matrix into that store trains the cell again."
    return Grid(["Method", "seed", "finished in", "and", "cell"], rows, caption)


def _other(store: str) -> str:
    return "old" if store == "new" else "new"


def _difference(shift: Shift) -> str:
    return _told(shift)[0]


def _told(shift: Shift) -> tuple[str, str]:
    """The difference and its interval with signs and the decimals of the score; where all show 0, with two digits."""
    if not shift.moved:
        return "0", UNDEFINED
    numbers = [shift.difference, *((shift.interval.low, shift.interval.high) if shift.interval else ())]
    texts = [f"{number:+.{shift.score.decimals if shift.score else 2}f}" for number in numbers]
    if all(float(text) == 0 for text in texts):
        texts = [f"{number:+.1e}" for number in numbers]
    difference, *ends = (text.replace("-", MINUS) for text in texts)
    return difference, f"[{', '.join(ends)}]" if ends else UNDEFINED


def _name(key: tuple[str, tuple[str, ...]]) -> str:
    return f"{key[0]}, {task_set(key[1])}"


def _listed(names: Sequence[str]) -> str:
    """ "A, B and C"; of many names the first ones and how many more."""
    shown = [*names[:NAMED], f"{len(names) - NAMED} more"] if len(names) > NAMED else list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
