"""Delta_m of a store's cells, for the table that a run shows and for MLflow."""

import make_records
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.store.store import Store
from tables_of import TASKS, summaries


def test_a_matrix_without_a_baseline_has_no_deltas(tmp_path):
    made = make_records.Store(tmp_path, baseline="")
    made.run("SCA-MTL", ("semseg", "depth"), 0)
    assert deltas(Store(made.close()), "rooms") == {}


def test_mlflow_shows_the_deltas_of_the_report(tmp_path):
    made = make_records.Store(tmp_path)
    for seed in range(4):  # the baseline lacks one task of the last seed, and a row lacks another seed
        made.run("Single task", ("semseg",), seed, task_set=TASKS)
        made.run("Single task", ("depth",), seed, task_set=TASKS, status="missing" if seed == 3 else "finished")
        made.run("SCA-MTL", TASKS, seed)
        made.run("PAD-Net", TASKS, seed, status="failed" if seed == 0 else "finished")
    store = made.close()
    found = deltas(Store(store), "rooms")
    (summary,), _ = summaries(store)
    shown = {
        row.row.runs[seed].entries[0].id: {"delta/m": value} | {f"delta/{t}": row.delta.gains[t][seed] for t in TASKS}
        for row in summary.rows.values()
        for seed, value in row.delta.values.items()
    }
    assert found == shown
    assert len(found) == 5
