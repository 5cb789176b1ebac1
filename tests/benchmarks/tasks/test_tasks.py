import pickle

import pytest
import torch

from mtlbench.benchmarks.tasks import factories

H, W = 4, 6
CENTROIDS = torch.nn.functional.normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(0))).tolist()

EVERY_TASK = {
    "semseg": lambda: factories.semseg(5),
    "human_parts": factories.human_parts,
    "depth": lambda: factories.depth(0.7, 10),
    "normals": lambda: factories.normals(CENTROIDS),
    "edge": lambda: factories.edge(0.95, max_distance=0.0075),
    "saliency": factories.saliency,
}


@pytest.fixture(params=EVERY_TASK)
def task(request):
    return EVERY_TASK[request.param]()


def draw_label(task):
    return task.kind.random((2, H, W), task.classes)


def test_a_factory_names_its_task():
    assert {name: make().name for name, make in EVERY_TASK.items()} == {name: name for name in EVERY_TASK}


def test_losses_and_metric_take_the_shapes_that_a_task_states(task):
    label = draw_label(task)
    prediction = torch.randn(2, task.channels, H, W)
    for loss, channels in ((task.loss, task.channels), (task.label_loss, task.classes)):
        total, count = loss(torch.randn(2, channels, H, W), label)
        assert total.isfinite() and count > 0
    if task.metric is not None:
        assert len(task.metric.statistics(prediction, label)) == 2


def test_a_task_survives_pickling(task):
    label, prediction = draw_label(task), torch.randn(2, task.channels, H, W)
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task
    assert torch.equal(copy.loss(prediction, label)[0], task.loss(prediction, label)[0])


def test_weights_are_those_of_the_multi_task_codes():
    assert {name: make().weight for name, make in EVERY_TASK.items()} == {
        "semseg": 1,
        "human_parts": 2,
        "depth": 1,
        "normals": 10,
        "edge": 50,
        "saliency": 5,
    }
    assert factories.normals(weight=40).weight == 40


def test_a_definition_is_a_sentence_without_line_breaks(task):
    if task.metric is not None:
        assert task.metric.definition[0].isupper() and task.metric.definition.endswith(".")
        assert "\n" not in task.metric.definition


def test_class_names_reach_the_scores():
    metric = factories.semseg(2, class_names=["wall", "floor"]).metric
    assert metric is not None and "iou/floor" in metric.score_types


def test_normals_are_completed_with_centroids_found_in_training_labels():
    bare = factories.normals()
    label, logits = draw_label(bare), torch.randn(2, 40, H, W)
    completed = bare.fitted({"centroids": CENTROIDS})
    assert completed == factories.normals(CENTROIDS)
    assert completed.label_loss(logits, label)[0].isfinite()
    with pytest.raises(ValueError, match="fitted"):
        bare.label_loss(logits, label)


def test_a_task_with_nothing_to_learn_stays_itself_and_refuses_findings():
    depth = factories.depth(0.7, 10)
    assert depth.fitted({}) is depth
    with pytest.raises(ValueError, match=r"depth: nothing is learnt .* centroids"):
        depth.fitted({"centroids": CENTROIDS})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: factories.semseg(1), "num_classes is 1"),
        (lambda: factories.human_parts(256), "num_classes is 256"),
        (lambda: factories.semseg(3, class_names=["wall"]), "3 different names"),
        (lambda: factories.depth(0, 10), r"\[0, 10\]"),
        (lambda: factories.depth(10, 0.7), r"\[10, 0.7\]"),
        (lambda: factories.edge(1), "positive_weight is 1"),
        (lambda: factories.normals(CENTROIDS[:39]), "39 centroids"),
    ],
)
def test_a_wrong_number_is_refused_with_its_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
