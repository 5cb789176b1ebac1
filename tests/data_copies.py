"""What tests of copies of data sets share: small copies in every layout, and what a copy's samples are."""

import numpy as np
import torch

from command import invoke
from fixtures import labelled_mat, nyud, nyuv2_13, pascal_mt
from mtlbench.benchmarks.copies import axes, doctor
from mtlbench.benchmarks.nyud import NYUD
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import Copy

COPIES = {  # name -> (benchmark, maker)
    "NYUD_MT": ("nyud", nyud),
    "NYUDv2": ("nyud", lambda root: nyud(root, "NYUDv2")),
    "labelled_mat": ("nyud", labelled_mat),
    "PASCAL_MT": ("pascal_context", pascal_mt),
    "MTAN_npy": ("nyuv2_13", nyuv2_13),
    "parquet": ("nyuv2_13", lambda root: nyuv2_13(root, "parquet")),
}


PUBLISHED = NYUD.layouts  # with the sizes of the whole data set


class Published(NYUD):
    """NYUD-v2 whose images have the published size, whatever a test says of NYUD itself."""

    layouts = PUBLISHED


def cli(*arguments):
    """A command that begins with `mtlbench data`."""
    return invoke("data", *arguments)


def quiet(what, done, total):
    pass


def same(one, other):
    return (
        one.id == other.id
        and torch.equal(one.image, other.image)
        and one.labels.keys() == other.labels.keys()
        and all(one.labels[name].dtype == other.labels[name].dtype for name in one.labels)
        and all(one.labels[name].numpy().tobytes() == other.labels[name].numpy().tobytes() for name in one.labels)
    )


def opened(benchmark, root, tasks, *prepared_in, split="train"):
    return Copy(benchmark, root, prepared_in).split(split, tasks)


def turned(frame):
    """Normals in our frame -> stored so that `frame` reads them."""
    matrix = axes.to_ours(torch.eye(3), frame).numpy()  # ours = matrix @ stored

    def change(fields):
        return fields | {"normals": (fields["normals"] @ matrix).astype(np.float32)}

    return change


def findings(root, benchmark=None, images=10):
    benchmark = benchmark or NYUD()
    found = doctor.examine(benchmark, root, prepare.available(Copy(benchmark, root))[0], images)
    return {finding.convention: finding for finding in found.findings}
