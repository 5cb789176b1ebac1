"""published.csv is whole, and says where each number comes from."""

from collections import Counter

from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.edges import EdgeODS
from mtlbench.benchmarks.tasks.miou import MeanIoU
from mtlbench.benchmarks.tasks.normal_errors import NormalErrors
from mtlbench.benchmarks.tasks.saliency import Saliency
from mtlbench.results.papers.audit import KEY, published

# What the metrics of these names say of themselves.
TYPES = {
    metric.primary: metric.score_types[metric.primary]
    for metric in (MeanIoU(2), DepthErrors(), NormalErrors(), Saliency(), EdgeODS(0.01))
}


def test_every_table_of_the_paper_has_its_rows_and_tasks():
    table = published()
    paper = table[table["source"] == "SCA-MTL paper"]
    rows = paper.groupby("table")["method"].nunique().to_dict()
    assert rows == {"Table 1": 7, "Table 2": 6, "Table 3": 6, "Table 4": 6, "Table 5": 5}
    assert Counter(paper["table"]) == {"Table 1": 14, "Table 2": 18, "Table 3": 12, "Table 4": 18, "Table 5": 10}


def test_every_row_has_every_task_of_its_task_set():
    for _, group in published().groupby(["source", "table", "benchmark", "method"]):
        assert list(group["task"]) == group["task_set"].iloc[0].split("+")


def test_every_number_has_a_source_and_is_marked_as_read():
    table = published()
    assert (table["source"] != "").all()
    assert table["note"].str.startswith("as read").all()


def test_a_metric_has_the_direction_title_and_unit_of_ours():
    for row in published().to_dict("records"):
        ours = TYPES[row["metric"]]
        assert (row["higher_is_better"] == "true", row["title"], row["unit"]) == ours[:3]


def test_a_column_is_printed_with_the_decimals_of_its_longest_value():
    for _, column in published().groupby([*KEY, "task"]):
        assert set(column["decimals"]) == {str(column["value"].map(lambda text: len(text.partition(".")[2])).max())}


def test_a_number_keeps_the_zeros_that_the_paper_prints():
    for row in published().to_dict("records"):
        assert len(row["value"].partition(".")[2]) == int(row["decimals"]), row["value"]


def test_the_ablation_is_measured_against_mti_net_and_the_rest_against_single_task_models():
    table = published()
    paper = table[table["source"] == "SCA-MTL paper"]
    baselines = paper.groupby("table")["baseline"].unique().map(list).to_dict()
    assert baselines == {f"Table {i}": ["Single task baseline"] for i in range(1, 5)} | {"Table 5": ["MTINet"]}


def test_context_rows_print_no_delta():
    table = published()
    context = table[table["source"] != "SCA-MTL paper"]
    assert len(context) == 36
    assert (context["printed_delta"] == "").all()
    assert (context["baseline"] == "").all()


def test_one_model_printed_twice_has_the_same_metrics():
    table = published().set_index(["table", "method", "task"])["value"]
    for task in ("depth", "semseg"):
        assert table["Table 1", "Ours Teacher", task] == table["Table 5", "+all", task]
        assert table["Table 1", "MTINet", task] == table["Table 5", "MTINet", task]
