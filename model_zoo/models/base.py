"""The model interface: a specification, and train, predict, save and load.

Belongs here: the interface that every model implements, its specification, and the matrix it is trained on. Does not
belong here: the models (one file each), folds and labels, files around the model (`model_zoo.serving.artifacts`).

A new model is one file, a subclass of `Model` with `fit`, `raw`, `write` and `read`, and one line that enters it in
`model_zoo.models.catalog.MODELS`. Each gives the probability of an *event* at every bar: that the price will be higher
(`directional` models), or that what it estimates will be above usual. A `Regressor` also estimates the *value* behind
its event; the event is that the value is above 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import polars as pl

from backtester.simulation.costs import Costs
from features.array_types import FloatArray
from features.bars import DEFAULT_TIMEFRAMES, Timeframe
from model_zoo.datasets.labels import check_inputs
from model_zoo.models.calibration import Calibration, Prior

LOGISTIC: Final = 1.702
"""Log-odds of a normal deviate: 1 / (1 + exp(-1.702 z)) is within 0.01 of the normal distribution at z."""


LONGEST_HORIZON: Final = 100_000
"""In bars."""

ROUND_TRIP: Final = Costs().round_trip
"""Fees and slippage of going in and out, a fraction of notional."""


USUAL_MOVE: Final = "realized_volatility"
"""Family of the features in whose unit moves are measured; its number is the bars of a day."""


class ModelError(ValueError):
    """A model cannot be created, trained or loaded; the message gives the reason."""


@dataclass(frozen=True)
class Range:
    """Values of a hyper-parameter that a search may try.

    Attributes
    ----------
    low, high : float
        Ends, both included.
    log : bool
        Whether steps are ratios rather than differences.
    whole : bool
        Whether values are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float:
        """Return the value so far along the range, 0 its low end and 1 its high one, to four digits."""
        way = self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        return float(round(way)) if self.whole else float(f"{way:.4g}")


@dataclass(frozen=True)
class WrittenInput:
    """An input that is a text, data, compiled wherever it is computed (`strategies.untrusted.feature_compiler`).

    Attributes
    ----------
    text : str
        The expression.
    reads : tuple of str
        Registered features and candle columns in it, sorted.
    """

    text: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class ModelSpec:
    """Everything that determines a trained model, apart from the data.

    Attributes
    ----------
    type : str
        As in `model_zoo.models.catalog.MODELS`.
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
    scale : str
        Feature in whose unit the value is measured, so that it means the same on every symbol; '' where the type
        needs none.
    barrier : float
        0: a classifier of the side learns the sign of the forward return, as a member of an ensemble must. Above 0: it
        learns which side's barrier is met first (`model_zoo.datasets.labels.with_barriers`), this many usual moves
        away.
    round_trip : float
        Costs that a barrier must pay beyond that, a fraction of notional.
    written : mapping of str to WrittenInput
        Those of the inputs that are texts, by name. The registry of whoever computes them must know them too.

    Raises
    ------
    ModelError
        If the timeframe is not traded, the inputs are empty or twice the same, or a written one is not among them.
    ValueError
        If an input is a label.
    """

    type: str
    timeframe: Timeframe
    horizon: int
    inputs: tuple[str, ...]
    seed: int = 0
    hyper: Mapping[str, float] = field(default_factory=dict)
    scale: str = ""
    barrier: float = 0.0
    round_trip: float = ROUND_TRIP
    written: Mapping[str, WrittenInput] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.timeframe not in DEFAULT_TIMEFRAMES:
            msg = f"no models on {self.timeframe}; use one of {', '.join(DEFAULT_TIMEFRAMES)}"
            raise ModelError(msg)
        if not self.inputs or len(set(self.inputs)) != len(self.inputs):
            msg = f"a model needs distinct inputs, not {list(self.inputs)}"
            raise ModelError(msg)
        if not 1 <= self.horizon <= LONGEST_HORIZON:
            msg = f"{self.name}: a horizon of {self.horizon} bars; there are 1 to {LONGEST_HORIZON}"
            raise ModelError(msg)
        if self.barrier < 0 or (self.barrier and not self.scale):
            msg = f"{self.name}: a barrier of {self.barrier:g} needs a positive width and a scale to measure it in"
            raise ModelError(msg)
        stray = sorted(set(self.written) - set(self.inputs))
        if stray:
            msg = f"{self.name}: {', '.join(stray)} is written but no input; leave its text out too"
            raise ModelError(msg)
        check_inputs(self.inputs)

    @property
    def name(self) -> str:
        """Identity of the model across cycles, as `direction_5m`."""
        return f"{self.type}_{self.timeframe}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Every feature that training reads: the inputs, and the scale."""
        return tuple(dict.fromkeys((*self.inputs, self.scale))) if self.scale else self.inputs

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Registered features behind `reads`: those in a text in place of its name."""
        parts = (self.written[name].reads if name in self.written else (name,) for name in self.reads)
        return tuple(dict.fromkeys(piece for part in parts for piece in part))

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values; `written` only where there is any."""
        values = {**asdict(self), "inputs": list(self.inputs), "hyper": dict(self.hyper)}
        del values["written"]
        if self.written:
            texts = {
                name: {"text": written.text, "reads": list(written.reads)} for name, written in self.written.items()
            }
            values["written"] = texts
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelSpec":
        """Return the specification that `to_json` wrote."""
        texts = {
            name: WrittenInput(written["text"], tuple(written["reads"]))
            for name, written in values.get("written", {}).items()
        }
        return cls(**{**values, "inputs": tuple(values["inputs"]), "written": texts})


class Model(ABC):
    """Something fitted that gives the probability of an event at every bar.

    Parameters
    ----------
    spec : ModelSpec
        Of this model's type.

    Attributes
    ----------
    type, file, library : str
        Its name in the catalogue, its model file, and what fits it.
    event : str
        What its probability is of, in words.
    defaults : mapping of str to number
        Its hyper-parameters.
    ranges : mapping of str to Range
        Those that a search may change when the model drifts, and how far.
    directional : bool
        Whether the event is that the price will be higher; else it gates a fixed strategy.
    gate_above : bool
        Whether a gate is open where the event is likely (else where it is unlikely); of models without a side.
    regresses : bool
        Whether it is a `Regressor`.
    scale : str
        Family of the feature in whose unit its values are by default, over a day's bars; '' where it needs none.
    honest_accuracy, honest_auc : float
        What no honest model of this event surely exceeds, and no honest single input; see
        `model_zoo.evaluation.metrics`.
    prior : Prior
        Of its calibration.
    calibration : Calibration
        From raw scores to probabilities; the trainer fits it on predictions out of fold.

    Raises
    ------
    ModelError
        If the specification is of another type or names a hyper-parameter that there is not.
    """

    type: ClassVar[str]
    file: ClassVar[str]
    library: ClassVar[str]
    event: ClassVar[str] = "the price a horizon after the next open is above that open"
    defaults: ClassVar[Mapping[str, float]] = {}
    ranges: ClassVar[Mapping[str, Range]] = {}
    directional: ClassVar[bool] = True
    gate_above: ClassVar[bool] = True
    regresses: ClassVar[bool] = False
    scale: ClassVar[str] = ""
    honest_accuracy: ClassVar[float] = 0.70
    honest_auc: ClassVar[float] = 0.80
    prior: ClassVar[Prior] = Prior()

    def __init__(self, spec: ModelSpec) -> None:
        if spec.type != self.type:
            msg = f"{type(self).__name__} is a {self.type} model, the specification says {spec.type}"
            raise ModelError(msg)
        unknown = sorted(set(spec.hyper) - set(self.defaults))
        if unknown:
            msg = f"{spec.name}: unknown hyper-parameter {', '.join(unknown)}; there are {', '.join(self.defaults)}"
            raise ModelError(msg)
        if spec.barrier and (self.regresses or not self.directional):
            msg = f"{spec.name}: barriers are the label of classifiers of the side, not of a {spec.type} model"
            raise ModelError(msg)
        self.spec = spec
        self.calibration = Calibration()

    @property
    def hyper(self) -> dict[str, float]:
        """The hyper-parameters in force."""
        return {**self.defaults, **self.spec.hyper}

    @classmethod
    def value(cls, spec: ModelSpec) -> pl.Expr:
        """Return the value behind the event, from labels and the specification's scale; null where it has none."""
        del spec
        return pl.lit(None, pl.Float64)

    def with_targets(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with the targets of this model.

        Parameters
        ----------
        rows : DataFrame
            The columns of `model_zoo.datasets.labels`, and the specification's scale.

        Returns
        -------
        DataFrame
            The same, with `label_value` (Float64) and `label_event` (Boolean), null where unknown.
        """
        labelled = rows.with_columns(self.value(self.spec).alias("label_value"))
        side = pl.col("label_barrier" if self.spec.barrier else "label_up")
        event = pl.col("label_value") > 0 if self.regresses else side
        return labelled.with_columns(event.alias("label_event"))

    def train(self, rows: pl.DataFrame) -> None:
        """Fit to labelled rows.

        Parameters
        ----------
        rows : DataFrame
            The inputs, `ts`, `flag`, and either the columns of `model_zoo.datasets.labels` or those of `with_targets`;
            optionally `label_weight` (see `model_zoo.datasets.sample_weights`). Rows without a label are left out.
            Early stopping judges on the last part of these rows, purged; nothing else is read.

        Raises
        ------
        ModelError
            If there are too few rows or only one class.
        """
        aimed = rows if "label_event" in rows.columns else self.with_targets(rows)
        labelled = aimed.filter(pl.col("label_event").is_not_null(), pl.col("flag").is_null())
        if labelled["label_event"].n_unique() < 2:  # noqa: PLR2004  # it happened and it did not
            msg = f"{self.spec.name}: {labelled.height} labelled rows with one class only; give it a longer window"
            raise ModelError(msg)
        self.fit(labelled)

    def predict(self, frame: pl.DataFrame) -> pl.Series:
        """Return the probability of the event for every row.

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
        complete = frame.select(
            pl.any_horizontal(pl.col(self.spec.inputs).is_not_null()) & pl.col("flag").is_null()
        ).to_series()
        probability = pl.Series("probability", self.calibration.apply(self.raw(matrix)))
        return pl.select(pl.when(complete).then(probability)).to_series().alias("probability")

    def save(self, folder: Path) -> None:
        """Write the model file into `folder`; the calibration and specification go into `config.json` beside it."""
        self.write(folder / self.file)

    def state(self) -> dict[str, float]:
        """Return the few fitted numbers that `config.json` holds rather than the model file."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Take back what `state` gave."""
        if state:
            msg = f"{self.spec.name}: a {self.type} model keeps no {', '.join(state)} in its config"
            raise ModelError(msg)

    @classmethod
    def load(
        cls, folder: Path, spec: ModelSpec, calibration: Calibration, state: Mapping[str, float] | None = None
    ) -> Self:
        """Return the model that `save` wrote.

        Parameters
        ----------
        folder : Path
            Folder that `save` wrote.
        spec : ModelSpec
            Specification of the model.
        calibration : Calibration
            Its calibration.
        state : mapping of str to float, optional
            What `state` returned when it was saved.

        Returns
        -------
        Model
            Ready to predict.
        """
        model = cls(spec)
        model.calibration = calibration
        model.restore(state or {})
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
        """Return the log-odds of the event before calibration, shape (n_rows,)."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write what was fitted, without pickle."""

    @abstractmethod
    def read(self, path: Path) -> None:
        """Read what `write` wrote."""

    def untrained(self) -> ModelError:
        """Return the error of using a model that was neither trained nor loaded."""
        return ModelError(f"{self.spec.name} is not trained; call train or load first")


class Regressor(Model):
    """A model that estimates the value behind its event, which is that the value is above 0.

    Attributes
    ----------
    unit : str
        Of the value, in words.
    spread : float
        Standard deviation of the training values, by which an estimate is turned into log-odds.
    """

    regresses = True
    scale: ClassVar[str] = USUAL_MOVE
    unit: ClassVar[str]

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        if not spec.scale:
            msg = f"{spec.name}: a {spec.type} model needs a scale, the feature in whose unit its values are"
            raise ModelError(msg)
        self.spread = 1.0

    @abstractmethod
    def estimate(self, matrix: FloatArray) -> FloatArray:
        """Return the estimated values before calibration, shape (n_rows,)."""

    def raw(self, matrix: FloatArray) -> FloatArray:
        """See `Model.raw`."""
        return LOGISTIC * self.estimate(matrix) / self.spread

    def predict_value(self, frame: pl.DataFrame) -> pl.Series:
        """Return the calibrated estimate for every row: `value` (Float64), null where `predict` is."""
        estimate = pl.Series("value", self.calibration.value(self.estimate(self.matrix(frame))))
        return pl.select(pl.when(self.predict(frame).is_not_null()).then(estimate)).to_series().alias("value")

    def state(self) -> dict[str, float]:
        """See `Model.state`."""
        return {"spread": self.spread}

    def restore(self, state: Mapping[str, float]) -> None:
        """See `Model.restore`."""
        if set(state) != {"spread"} or not state["spread"] > 0:
            msg = f"{self.spec.name}: a {self.type} model keeps a spread above 0 in its config, not {dict(state)}"
            raise ModelError(msg)
        self.spread = float(state["spread"])


def spread_of(values: FloatArray) -> float:
    """Return the standard deviation of training values, never 0.

    `values` has shape (n_rows,).
    """
    return max(float(np.std(values)), 1e-9)


def weights_of(rows: pl.DataFrame) -> FloatArray:
    """Return the rows' sample weights, of mean 1; 1 each where they have none.

    The result has shape (n_rows,).
    """
    if "label_weight" not in rows.columns or not rows.height:
        return np.ones(rows.height)
    weights = rows["label_weight"].to_numpy()
    scaled: FloatArray = weights / weights.mean()
    return scaled


def thinned(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return at most about `most` rows, evenly spread over time: every k-th bar of every symbol.

    Labels of neighbouring bars overlap almost wholly, so that little is lost.
    """
    step = max(1, -(-rows.height // most))
    if step == 1:
        return rows
    return rows.filter(pl.col("ts").rank("dense").cast(pl.Int64) % step == 0)
