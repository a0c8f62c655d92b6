"""The configuration of one training: what a YAML file in ``configs/`` says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from axo.config import parse, read_config, to_plain
from axo.decorrelators.method import make_method
from axo.errors import UserError, nearest
from axo.layout import DEFAULT_LAYOUT, Layout, find_layout
from axo.models.family import find_family
from axo.models.scaling import ScalingConfig
from axo.physics.rates import DEFAULT_BUNCHES


@dataclass(frozen=True)
class Data:
    """Files of events, relative to `folder`, or ``sample:NAME`` for a shipped sample.

    Training takes the first `train_events` of `train` (all when null); every `validation_stride`-th
    event of them is kept for validation. Thresholds and figures come from `test` and `signals`.
    """

    train: str
    test: str
    signals: dict[str, str] = field(default_factory=dict)
    folder: str = "."
    train_events: int | None = None
    validation_stride: int = 10

    def __post_init__(self) -> None:
        if self.validation_stride < 2 or (self.train_events is not None and self.train_events < 1):
            raise UserError("validation_stride must be at least 2, and train_events positive")

    def path(self, name: str) -> str:
        """Where the file called `name` here is."""
        return name if name.startswith("sample:") else str(Path(self.folder) / name)


@dataclass(frozen=True)
class Read:
    """Objects that the network reads: of `kind` the first `count`, of each these `quantities` (null: all)."""

    kind: str
    count: int | None = None
    quantities: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Inputs:
    """What the network reads: a `layout` (a shipped name, or the path of a YAML file), or what `reads` of it.

    Events may have this layout or a wider one that holds its objects.
    """

    layout: str = DEFAULT_LAYOUT
    reads: tuple[Read, ...] | None = None

    def network_layout(self) -> Layout:
        """The layout of the network's words; UserError naming what is not there."""
        layout = find_layout(self.layout)
        if self.reads is None:
            return layout
        parts = [(read.kind, read.count, read.quantities) for read in self.reads]
        return layout.select(parts, f"{layout.name}_part")


@dataclass(frozen=True)
class Training:
    """Length of the training, in passes over the events, and events a step."""

    epochs: int = 20
    batch: int = 8192

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise UserError("epochs and batch must be positive")


@dataclass(frozen=True)
class Release:
    """Working points by rate, for `bunches` colliding bunches; figures are quoted at `figures_khz`.

    The Keras model and the exported network are compared on at least `compared_events` events.
    """

    rates_khz: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    figures_khz: tuple[float, ...] = (1.0, 10.0)
    bunches: int = DEFAULT_BUNCHES
    compared_events: int = 200_000

    def __post_init__(self) -> None:
        if (
            not all(rate > 0 for rate in (*self.rates_khz, *self.figures_khz))
            or min(self.bunches, self.compared_events) < 1
        ):
            raise UserError("rates, bunches and compared_events must be positive")
        if not set(self.figures_khz) <= set(self.rates_khz):
            raise UserError("figures_khz must be among rates_khz")


@dataclass(frozen=True)
class Config:
    """One model: its `name`, its `family` (a module of axo.models), one training per seed.

    `decorrelation` names a `method` (a module of axo.decorrelators) and gives its options; without it the
    score is left as it is. `note` goes to the model card: how the configuration came about, what a user
    must know.
    """

    name: str
    family: str
    data: Data
    inputs: Inputs = field(default_factory=Inputs)
    seeds: tuple[int, ...] = (1,)
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    training: Training = field(default_factory=Training)
    release: Release = field(default_factory=Release)
    model: dict[str, Any] = field(default_factory=dict)
    decorrelation: dict[str, Any] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise UserError("seeds must be different numbers, none negative, at least one")

    def document(self) -> dict[str, Any]:
        """Plain JSON of all that shapes the release: the folder is left out, for data have digests."""
        document = to_plain(self)
        del document["data"]["folder"]
        if self.decorrelation is None:
            del document["decorrelation"]
        return document

    def training_document(self) -> dict[str, Any]:
        """The part that shapes the weights of one seed: a checkpoint is resumed if this is unchanged."""
        document = self.document()
        shaping = ("family", "inputs", "scaling", "training", "model", "decorrelation")
        return {key: document[key] for key in shaping if key in document} | {
            "stride": self.data.validation_stride
        }


def find_config(name: str) -> Path:
    """The file `name`, or the shipped configuration of that name; UserError naming the nearest."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    folder = Path(str(resources.files("axo.training"))) / "configs"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UserError(
            f"unknown configuration {name!r}{nearest(name, known)} "
            f"(shipped: {', '.join(known)}; or give a file)"
        )
    return folder / f"{name}.yaml"


def read_training(name: str, folder: str | None = None) -> tuple[Config, Any]:
    """The configuration called `name`, data in `folder` if given, and its parsed ``model`` section."""
    path = find_config(name)
    config = read_config(path, Config)
    if folder is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, folder=folder))
    try:
        family = find_family(config.family)
    except UserError as error:
        raise UserError(f"{path}: family: {error}") from error
    if config.decorrelation is not None:
        make_method(config.decorrelation, f"{path}: decorrelation")
    model: Any = parse(family.Config, config.model, f"{path}: model")
    try:
        layout = config.inputs.network_layout()
    except UserError as error:
        raise UserError(f"{path}: inputs: {error}") from error
    try:
        family.check(model, layout)
    except UserError as error:
        raise UserError(f"{path}: model: {error}") from error
    return config, model
