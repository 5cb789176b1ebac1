"""The files of a store: the name of each file, and one reader for each format except records and manifests.

All names are relative to the store. No other module writes down a file name of a store. The readers of record.json and
of matrices/NAME.json belong to their classes, `Record` and `Manifest`.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mtlbench.results.records.record import CorruptRecord

# Folders
MATRICES, CELLS, CONSTANTS, DATA, FITS, UNLABELLED = "matrices", "cells", "constants", "data", "fits", "without_label"
SHOWN = "shown"  # a few test images with their labels, for each benchmark
LEASE = "lease"  # the claims of those who drive the store
DATABASE, ARTIFACTS = "mlflow.db", "mlflow"  # MLflow's copy of what it shows of the store
REPORT = "report"  # the folder of tables and figures, unless another one is given

# Files in the folder of a cell. RECORD is written last: a cell that has it is finished.
CONFIG = "cell.yaml"
HISTORY = "history.jsonl"
USAGE = "usage.jsonl"  # what the training used of its machine: events, as in HISTORY
LOG = "log.txt"
PER_IMAGE = "per_image.parquet"
SAMPLES = "samples.npz"
WEIGHTS = "model.safetensors"
TRAINED = "trained.json"  # the record of a cell that lacks its expensive scores
RECORD = "record.json"
FAILURE = "failure.json"

# Folders in the folder of a cell.
CHECKPOINTS = "checkpoints"
PULSE = "pulse"  # changes while the cell goes on
PARTS = "divided"  # by how much its batches were divided after memory ran out
TO_SCORE = "to_score"  # what expensive scores will be computed from
PREDICTIONS = "predictions"

PIXELS, CLASSES = "pixels", "classes"  # in a file of SHOWN: an image, and the names of the classes of all tasks

ARRAYS, STATISTICS = ".npz", ".json"  # endings of an image's files in TO_SCORE and in PREDICTIONS

# Endings and beginnings of names that make every reader pass over the file.
UNFINISHED = ".tmp"  # ends the name of a file until all of it is written
PROBE = ".probe-"  # begins the name of a file that is written to try out a store
ASIDE = ".corrupt-"  # follows the old name of a file that was set aside


def matrix(name: str) -> str:
    return f"{MATRICES}/{name}.json"


def matrix_text(name: str) -> str:
    """The matrix as it was asked for, in YAML, for its readers. Stores of old versions have none."""
    return f"{MATRICES}/{name}.yaml"


def matrix_names(files: Iterable[str]) -> list[str]:
    """The matrices among the files of the folder MATRICES, sorted."""
    return sorted(name.removesuffix(".json") for name in files if name.endswith(".json") and not name.startswith("."))


def constant(record_id: str) -> str:
    """The record of a constant predictor."""
    return f"{CONSTANTS}/{record_id}.json"


def data(digest: str) -> str:
    """The file that says which copy of a benchmark's data the results of the store come from."""
    return f"{DATA}/{digest}.json"


def findings(benchmark: str, task: str, digest: str) -> str:
    """The file of what a task has learnt from training labels."""
    return f"{FITS}/{benchmark}-{task}-{digest}.json"


def unlabelled(benchmark: str, task: str, digest: str) -> str:
    """The file that says which training images have no label of a task."""
    return f"{UNLABELLED}/{benchmark}-{task}-{digest}.json"


def claim(token: str) -> str:
    """The file in which a driver claims the store."""
    return f"{LEASE}/{token}.json"


def claim_token(name: str) -> str | None:
    """The token of a file in the folder LEASE; None where the file is no claim."""
    found = re.fullmatch(r"([0-9a-f]{32})\.json", name)
    return found[1] if found else None


def cell(cell_id: str) -> str:
    """The folder of a cell."""
    return f"{CELLS}/{cell_id}"


def config(cell_id: str) -> str:
    return f"{cell(cell_id)}/{CONFIG}"


def history(cell_id: str) -> str:
    return f"{cell(cell_id)}/{HISTORY}"


def usage(cell_id: str) -> str:
    return f"{cell(cell_id)}/{USAGE}"


def pulse(cell_id: str) -> str:
    return f"{cell(cell_id)}/{PULSE}"


def parts(cell_id: str) -> str:
    return f"{cell(cell_id)}/{PARTS}"


def log(cell_id: str) -> str:
    return f"{cell(cell_id)}/{LOG}"


def per_image(cell_id: str) -> str:
    return f"{cell(cell_id)}/{PER_IMAGE}"


def shown(benchmark: str) -> str:
    """The images of a benchmark that are shown, with their labels."""
    return f"{SHOWN}/{re.sub(r'[^A-Za-z0-9_.-]', '_', benchmark)}.npz"


def samples(cell_id: str) -> str:
    return f"{cell(cell_id)}/{SAMPLES}"


def weights(cell_id: str) -> str:
    return f"{cell(cell_id)}/{WEIGHTS}"


def trained(cell_id: str) -> str:
    return f"{cell(cell_id)}/{TRAINED}"


def record(cell_id: str) -> str:
    return f"{cell(cell_id)}/{RECORD}"


def failure(cell_id: str) -> str:
    return f"{cell(cell_id)}/{FAILURE}"


def checkpoints(cell_id: str) -> str:
    return f"{cell(cell_id)}/{CHECKPOINTS}"


def to_score(cell_id: str) -> str:
    return f"{cell(cell_id)}/{TO_SCORE}"


def to_score_of(cell_id: str, task: str) -> str:
    """The folder of a task. `image` gives the names of its files."""
    return f"{to_score(cell_id)}/{task}"


def predictions(cell_id: str) -> str:
    """The folder of saved predictions. `image` gives the names of its files."""
    return f"{cell(cell_id)}/{PREDICTIONS}"


def image(number: int, ending: str) -> str:
    """The file of an image. number: the place of the image in the split. ending: ARRAYS or STATISTICS."""
    return f"{number:06d}{ending}"


def image_numbers(files: Iterable[str], ending: str) -> list[int]:
    """The numbers of the images that have a file with this ending, in the order of `files`."""
    return [int(found[1]) for file in files if (found := re.fullmatch(rf"(\d+){re.escape(ending)}", file))]


class Events(NamedTuple):
    """What a history holds."""

    rows: list[dict[str, Any]]  # each row has step, epoch, name and value
    unreadable: list[int]  # numbers of the lines that hold no event; the first line has number 1


def read_history(content: bytes) -> Events:
    """The events of a history file. Never raises, since a gap in a curve is no reason to stop.

    The caller that shows the curve says that there is a gap.
    """
    found = Events([], [])
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        row = _event(line)
        if row is None:
            found.unreadable.append(number)
        else:
            found.rows.append(row)
    return found


def _event(line: str) -> dict[str, Any] | None:
    """The event of a line; None where the line holds no event."""
    if "\ufffd" in line:  # the line was not UTF-8
        return None
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    whole = isinstance(row, dict) and {"step", "epoch", "name", "value"} <= row.keys()
    return row if whole and isinstance(row["step"], int | float) else None


def failure_of(error: str) -> dict[str, Any]:
    """A failure of which only the error is known."""
    return {"error": error, "traceback": "", "attempts": 0, "log": "", "time": 0.0}


def read_failure(content: bytes, source: str) -> dict[str, Any]:
    """Why a cell has no record: {"error", "traceback", "attempts", "log", "time"}.

    Never raises, since nothing is decided by this file. A field that cannot be read has an empty value. Where the error
    cannot be read, the value of "error" says so and names `source`.
    """
    failure = failure_of(f"{source} cannot be read")
    try:
        found = json.loads(content)
    except ValueError:  # no JSON, or not in UTF-8
        return failure
    if not isinstance(found, dict):
        return failure
    kinds = {"error": str, "traceback": str, "attempts": int, "log": str, "time": float | int}
    return failure | {name: found[name] for name, kind in kinds.items() if isinstance(found.get(name), kind)}


def read_per_image(content: bytes, columns: Sequence[str], source: str) -> pa.Table:
    """The given columns and the metadata of a per_image.parquet. Raises CorruptRecord that names `source`."""
    try:
        return pq.read_table(io.BytesIO(content), columns=list(columns)).select(list(columns))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptRecord(f"{source}: not a table of {', '.join(columns)} ({error})") from error


class Shown(NamedTuple):
    """Test images that are shown, or what a cell predicts for them."""

    arrays: dict[str, dict[str, NDArray[Any]]]  # image -> PIXELS or a task -> its values
    classes: dict[str, list[str]]  # task -> the names of its classes; [] where its values are no classes


def read_shown(content: bytes, source: str) -> Shown:
    """The content of a file of SHOWN, or of SAMPLES, which has no CLASSES. Raises CorruptRecord that names `source`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            classes = json.loads(str(held[CLASSES])) if CLASSES in held else {}
            arrays: dict[str, dict[str, NDArray[Any]]] = {}
            for name in held:
                if name != CLASSES:
                    image, _, what = name.rpartition("/")
                    arrays.setdefault(image, {})[what] = held[name]
    except (
        ValueError,
        OSError,
        KeyError,
        EOFError,
        RuntimeError,
        MemoryError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:  # damaged somewhere; NumPy's words would only mislead
        raise CorruptRecord(f"{source}: not the arrays of shown images") from error
    return Shown(arrays, classes)
