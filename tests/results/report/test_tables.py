"""A table shows every row, what is missing of it, and why."""

import re

from make_records import Store, record, score, three_seeds, value, without_metric
from mtlbench.results.report.tables import CONSTANT
from tables_of import TASKS, cells, shown


def test_rows_come_in_the_manifests_order_with_the_constant_last(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    labels = [row[0].text for row in one.rows]
    assert labels == ["Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL", CONSTANT]


def test_failed_and_missing_runs_are_named_and_counted(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    pad_net, mti_net = cells(one, "PAD-Net"), cells(one, "MTI-Net")
    assert pad_net["Method"] == "PAD-Net | PAD-Net: failed 1 of 3 seeds (ValueError: loss is nan at step 7)"
    assert mti_net["Method"] == "MTI-Net | MTI-Net: missing 2 of 3 seeds"
    assert (pad_net["Seeds"], mti_net["Seeds"]) == ("2 of 3", "1 of 3")
    assert mti_net["95 % interval"] == "one seed"


def test_a_row_without_any_run_says_why_in_every_cell(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("PAD-Net", TASKS, 0, status="failed")
    store.run("MTI-Net", TASKS, 0, status="missing")
    (one,) = shown(store.close())
    for label, status in (("PAD-Net", "failed"), ("MTI-Net", "missing")):
        row = cells(one, label)
        assert (row["semseg mIoU"], row["depth RMSE"], row["Δm"]) == (status, status, status)
        assert row["Parameters"] == "—"


def test_a_missing_single_task_cell_leaves_the_others_and_makes_delta_undefined(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0, only=("semseg",))
    store.run("Single task", ("depth",), 0, task_set=TASKS, status="missing")
    store.run("SCA-MTL", TASKS, 0)
    (one,) = shown(store.close())
    assert cells(one, "Single task")["depth RMSE"] == "missing"
    semseg = cells(one, "Single task")["semseg mIoU"]
    assert (
        semseg == f"{value('Single task', 'semseg', 0):.2f} | with seed 0, where another task's cell has not finished"
    )
    assert cells(one, "Single task")["Δm"] == "missing"
    assert cells(one, "SCA-MTL")["Δm"] == "— | Δm is undefined: the baseline Single task has no finished run of depth"


def test_a_task_without_a_metric_is_a_dash_with_its_reason_and_so_is_delta(tmp_path):
    (one,) = shown(without_metric(tmp_path), "edges")
    row = cells(one, "Multi task")
    assert row["edge"] == "— | edge is trained but has no metric"
    assert row["Δm"] == "— | Δm is undefined: edge is trained but has no metric"
    assert re.fullmatch(r"\**36\.\d\d ± \d\.\d\d\**", row["semseg mIoU"])


def test_a_score_without_a_labelled_pixel_says_so(tmp_path):
    store = Store(tmp_path)
    for label in ("Single task", "SCA-MTL"):
        store.run(label, TASKS, 0, scores=(score("semseg", 40.0), score("depth", None)))
    (one,) = shown(store.close())
    assert "no pixel of the test split has a label" in cells(one, "SCA-MTL")["depth RMSE"]
    assert cells(one, "SCA-MTL")["Δm"].startswith("—")


def test_the_caption_says_what_a_demonstration_is_and_where_numbers_come_from(tmp_path):
    store = Store(tmp_path, demonstration=True, caption="Two epochs.")
    store.single(TASKS, 0)
    store.run("SCA-MTL", TASKS, 0)
    (one,) = shown(store.close())
    assert one.caption[:2] == (
        "A demonstration that the path from data to table works; it compares nothing.",
        "Two epochs.",
    )
    assert one.caption[-1] == (
        "Records: commit 0123456789ab; torch 2.11.0; data d0d0; device cpu."
    )  # fmt: skip


def test_the_caption_names_rows_that_are_compositions_of_ours_and_what_else_a_reader_must_know(tmp_path):
    store, plain = Store(tmp_path), record("x", ()).provenance
    store.single(TASKS, 0)
    store.run("PAD-Net", TASKS, 0, provenance={**plain, "composition": "resnet50", "remark": "units at 100 times"})
    store.run("SCA-MTL", TASKS, 0, provenance={**plain, "composition": "resnet50"})
    (one,) = shown(store.close())
    assert "Not as published but a composition of ours: PAD-Net, SCA-MTL (published on resnet50)." in one.caption
    assert "PAD-Net: units at 100 times." in one.caption


def test_the_caption_names_recipes_that_differ_and_the_time_before_a_start(tmp_path):
    store, plain = Store(tmp_path), record("x", ()).provenance
    adam, sgd = ({"train": {"optimizer": name, "lr": 1e-3, "clip": None}} for name in ("adam", "sgd"))
    semseg, depth = store.single(TASKS, 0, cell=adam)
    store.run("PAD-Net", TASKS, 0, cell=adam)
    initial = {"semseg": {"cell": semseg, "sha256": ""}, "depth": {"cell": depth, "sha256": ""}}
    changes = {"provenance": {**plain, "initial_weights": initial}, "derived_from": (semseg, depth)}
    store.run("SCA-MTL", TASKS, 0, cell=sgd, **changes)
    (one,) = shown(store.close())
    assert "Rows differ in their recipe: optimizer Adam (Single task, PAD-Net) or SGD (SCA-MTL)." in one.caption
    told = "Training times include those of the networks that a row starts from: SCA-MTL 3510.0 s."
    assert told in one.caption  # two networks of 1755 s


def test_orders_on_which_the_log_delta_disagrees_are_named(tmp_path):
    store = Store(tmp_path)
    for task, base in (("semseg", 20.0), ("depth", 0.6)):
        store.run("Single task", (task,), 0, task_set=TASKS, scores=(score(task, base),))
    store.run("PAD-Net", TASKS, 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    store.run("MTI-Net", TASKS, 0, scores=(score("semseg", 20.0), score("depth", 0.1)))
    (one,) = shown(store.close())
    assert any("the order is reversed: PAD-Net and MTI-Net" in sentence for sentence in one.caption)
