"""A cell: everything that determines a number, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

SCHEMA = 1

# How a prediction meets its label: both at the stored size of the image, both at the network's size, or at the stored
# size by the rules of the published evaluations.
Evaluate = Literal["native", "network", "published"]


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `batch: true`, of which pydantic would make 1."""
        assert info.field_name is not None
        annotation = cls.model_fields[info.field_name].annotation
        if _holds_bool(value) and _takes(annotation, int, float) and not _takes(annotation, bool):
            raise ValueError(f"{value!r} is no number; write one")
        return value


def _holds_bool(value: Any) -> bool:
    if isinstance(value, dict):
        value = [*value.values()]
    return any(map(_holds_bool, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


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


def slug(name: str) -> str:
    """A name as it is written in file names: for package.module:Name, the part after the colon."""
    return name.rsplit(":", 1)[-1]


class BenchmarkConfig(Config):
    """The data a cell is trained and scored on."""

    name: str  # of benchmarks.BENCHMARKS, or package.module:Name
    size: tuple[int, int] | None = None  # rows, columns at the network's input; None: the benchmark's own
    protocol: str = "mtl"  # augmentation and resize of training images, by its name in the benchmark
    evaluate: Evaluate = "native"
    resampling: Literal["bilinear", "cubic"] | None = None  # of images; None: the protocol's own
    unlabelled: Literal["drop", "keep"] = "drop"  # training images without a label of any of the cell's tasks
    borders: Literal["ignore", "background"] | None = None  # outside of training images; None: the protocol's own
    normals_zoom: Literal["published", "consistent"] | None = None  # what a zoom does to normals; None: the protocol's
    options: dict[str, Any] = {}

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


class BackboneConfig(Config):
    """A network with features at strides 4 to 32: a name of timm's, or package.module:Name."""

    name: str = "hrnet_w18_small_v2"
    output_stride: Literal[8, 16, 32] = 32  # of the coarsest map; below 32 the network is dilated, as ResNets can be
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01  # 0.01 suits fine-tuning; short runs from scratch need 0.1
    weights: str = (
        "none"  # none, imagenet (the pinned tag), package, or a safetensors file; a cell holds its sha256:...
    )


class TrainConfig(Config):
    """How a network is trained. The defaults are MTI-Net's recipe, except the length, which must be given."""

    optimizer: str = "adam"  # a name in optimization.py, or package.module:Name; reading a matrix checks it
    lr: Annotated[float, Field(gt=0)] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: str = "poly"  # named as the optimizer is; poly is lr (1 - progress)^power
    power: Annotated[float, Field(gt=0)] = 0.9
    per: Literal["epoch", "step"] = "epoch"  # when the learning rate changes
    epochs: Annotated[int, Field(gt=0)] | None = None
    steps: Annotated[int, Field(gt=0)] | None = None
    batch: Annotated[int, Field(gt=0)] = 8  # images a step, over all processes and micro-batches
    accumulate: Annotated[int, Field(gt=0)] = 1  # micro-batches a step, each normalised by its own labels
    clip: Annotated[float, Field(gt=0)] | None = None  # greatest norm of the gradient
    precision: Literal["fp32", "bf16"] = "fp32"
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}  # task -> weight in the objective, over the benchmark's
    label_weights: dict[str, Annotated[float, Field(ge=0)]] = {}  # task -> weight of ATRC's label loss; else `weights`
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of train kept out as val

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
    options: dict[str, Any] = {}
    tasks: tuple[str, ...]  # in the benchmark's order
    benchmark: BenchmarkConfig
    backbone: BackboneConfig = BackboneConfig()
    train: TrainConfig
    seed: Annotated[int, Field(ge=0)] = 0
    trial: bool = False  # a trial of a tuning: it is scored on val alone, and divergence is a result
    derived_from: tuple[str, ...] = ()  # ids of the cells whose records led to this cell
    starts: dict[str, str] = {}  # task -> id of the cell whose trained weights this one starts from; {}: the backbone's

    @property
    def id(self) -> str:
        content = {"schema": SCHEMA, **self.model_dump(mode="json", exclude_defaults=True)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = f"{self.benchmark.slug}-{slug(self.method)}-{'-'.join(self.tasks)}-s{self.seed}"
        return re.sub(r"[^A-Za-z0-9_.-]", "_", name) + "-" + digest
