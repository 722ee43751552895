"""What a model is: a specification, and train / predict / save / load.

Belongs here: the interface that every model implements, its specification, and the matrix it learns from. Does not
belong here: the models (one file each), folds and labels, files around the model (`model_zoo.artifacts`).

A new model is one file: a subclass of `Model` with `fit`, `raw`, `write` and `read`, entered in
`model_zoo.catalog.MODELS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from features.bars import TRADED_TIMEFRAMES, Timeframe
from model_zoo.calibration import Calibration
from model_zoo.labels import check_inputs

FloatArray = npt.NDArray[np.float64]


class ModelError(ValueError):
    """A model cannot be made, trained or loaded; the message says why."""


@dataclass(frozen=True)
class ModelSpec:
    """Everything that decides what a model learns, apart from the data.

    Attributes
    ----------
    type : str
        As in `model_zoo.catalog.MODELS`.
    timeframe : Timeframe
        Bars it reads and trades on.
    horizon : int
        Bars that a prediction looks ahead and a position is held.
    inputs : tuple of str
        Features, in the order of the matrix's columns.
    seed : int
        The only source of chance.
    hyper : mapping of str to number
        Hyper-parameters of the type, where they differ from its defaults.

    Raises
    ------
    ModelError
        If the timeframe is not traded or the inputs are empty or twice the same.
    ValueError
        If an input is a label.
    """

    type: str
    timeframe: Timeframe
    horizon: int
    inputs: tuple[str, ...]
    seed: int = 0
    hyper: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.timeframe not in TRADED_TIMEFRAMES:
            msg = f"no models on {self.timeframe}; use one of {', '.join(TRADED_TIMEFRAMES)}"
            raise ModelError(msg)
        if not self.inputs or len(set(self.inputs)) != len(self.inputs):
            msg = f"a model needs distinct inputs, not {list(self.inputs)}"
            raise ModelError(msg)
        check_inputs(self.inputs)

    @property
    def name(self) -> str:
        """Identity of the model across cycles, as `direction_5m`."""
        return f"{self.type}_{self.timeframe}"

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values."""
        return {**asdict(self), "inputs": list(self.inputs), "hyper": dict(self.hyper)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "ModelSpec":
        """Return the specification that `to_json` wrote."""
        return cls(**{**given, "inputs": tuple(given["inputs"])})


class Model(ABC):
    """A classifier of whether the price will be higher a horizon later.

    Parameters
    ----------
    spec : ModelSpec
        Of this model's type.

    Attributes
    ----------
    calibration : Calibration
        From raw scores to probabilities; the trainer fits it on predictions out of fold.
    """

    type: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, spec: ModelSpec) -> None:
        if spec.type != self.type:
            msg = f"{type(self).__name__} is a {self.type} model, the specification says {spec.type}"
            raise ModelError(msg)
        self.spec = spec
        self.calibration = Calibration()

    def train(self, rows: pl.DataFrame) -> None:
        """Fit to labelled rows.

        Parameters
        ----------
        rows : DataFrame
            The inputs, `ts`, and the columns of `model_zoo.labels`; rows without a label are left out. Early stopping
            judges on the last part of these rows, purged; nothing else is read.

        Raises
        ------
        ModelError
            If there are too few rows or only one class.
        """
        labelled = rows.filter(pl.col("label_up").is_not_null(), pl.col("flag").is_null())
        if labelled["label_up"].n_unique() < 2:  # noqa: PLR2004  # up and not up
            msg = f"{self.spec.name}: {labelled.height} labelled rows with one class only; give it a longer window"
            raise ModelError(msg)
        self.fit(labelled)

    def predict(self, frame: pl.DataFrame) -> pl.Series:
        """Return P(up) for every row.

        Parameters
        ----------
        frame : DataFrame
            The inputs and `flag`; nulls among the inputs mean unknown.

        Returns
        -------
        Series of Float64
            In (0, 1); null on flagged bars and where no input is known. Row t depends on row t only.
        """
        matrix = self.matrix(frame)
        known = frame.select(
            pl.any_horizontal(pl.col(self.spec.inputs).is_not_null()) & pl.col("flag").is_null()
        ).to_series()
        probability = pl.Series("probability", self.calibration.apply(self.raw(matrix)))
        return pl.select(pl.when(known).then(probability)).to_series().alias("probability")

    def save(self, folder: Path) -> None:
        """Write the model file into `folder`; the calibration and specification go into `config.json` beside it."""
        self.write(folder / self.file)

    @classmethod
    def load(cls, folder: Path, spec: ModelSpec, calibration: Calibration) -> Self:
        """Return the model that `save` wrote."""
        model = cls(spec)
        model.calibration = calibration
        model.read(folder / cls.file)
        return model

    def matrix(self, frame: pl.DataFrame) -> FloatArray:
        """Return the inputs as an array of shape (n_rows, n_inputs), NaN where unknown or not finite.

        Raises
        ------
        ModelError
            If an input is missing.
        """
        missing = [name for name in self.spec.inputs if name not in frame.columns]
        if missing:
            msg = f"{self.spec.name}: the frame has no column {', '.join(missing)}; compute its inputs first"
            raise ModelError(msg)
        values = frame.select(pl.col(self.spec.inputs).cast(pl.Float64)).to_numpy().astype(np.float64, copy=True)
        values[~np.isfinite(values)] = np.nan
        return values

    @abstractmethod
    def fit(self, rows: pl.DataFrame) -> None:
        """Fit to rows that all have a label."""

    @abstractmethod
    def raw(self, matrix: FloatArray) -> FloatArray:
        """Return the log-odds before calibration, shape (n_rows,)."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write what was fitted, without pickle."""

    @abstractmethod
    def read(self, path: Path) -> None:
        """Read what `write` wrote."""
