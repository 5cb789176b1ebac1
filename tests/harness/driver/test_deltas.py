"""Delta_m of a store's cells, for the table that a run shows and for MLflow."""

import make_records
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.store.store import Store


def test_a_matrix_without_a_baseline_has_no_deltas(tmp_path):
    made = make_records.Store(tmp_path, baseline="")
    made.run("SCA-MTL", ("semseg", "depth"), 0)
    assert deltas(Store(made.close()), "rooms") == {}
