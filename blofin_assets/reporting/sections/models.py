"""The section on models and ensembles: as predictors and as strategies.

Belongs here: models trained and ensembles evaluated within the day, the best models, models that drifted. Does not
belong here: training, metrics.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import polars as pl
from markupsafe import Markup

from blofin_assets.reporting import pictures
from blofin_assets.reporting.collect.cycles import model_table
from blofin_assets.reporting.document import Count, Document, Number, Part, Share, Under
from blofin_assets.reporting.page import formats
from blofin_assets.reporting.page.tables import MODELS, RANKING, Column, Table, columns_of
from blofin_assets.reporting.section import TOP, Point, ReportData, Rule, Section, listed
from blofin_assets.reporting.sections.live import Live, live_of
from blofin_assets.shared.partitions import DAY
from blofin_assets.shared.plots import curve_names
from blofin_resources.warehouse import Warehouse

_TUNING: Final = (
    "SELECT model_name AS name, action, decision, reason, trials, champion_log_loss, challenger_log_loss, gain, "
    "gain_low FROM ml.model_tuning WHERE as_of > ? AND as_of <= ? ORDER BY as_of, model_name"
)


class Trained(Part):
    """A model that was trained within the day; `reason` is why it was rejected."""

    name: str
    type: str
    timeframe: str
    features: Count
    accuracy: Share
    baseline_accuracy: Share
    log_loss: Number
    baseline_log_loss: Number
    better: bool | None
    status: str | None
    reason: str | None


class Ensemble(Part):
    """An ensemble that was evaluated within the day; `models` names its members."""

    rank: int | None
    name: str
    models: list[str]
    method: str
    weights: list[float] | None
    status: str | None
    timeframe: str
    f1: Share
    accuracy: Share
    baseline_accuracy: Share
    log_loss: Number
    baseline_log_loss: Number
    log_loss_gain: Number
    log_loss_gain_low: Number
    log_loss_gain_high: Number
    better: bool | None
    backtest_sharpe: Number
    score: Number
    total_trades: int | None

    @property
    def gain(self) -> str:
        """Gain over the baseline, with its interval."""
        return formats.interval(self.log_loss_gain, self.log_loss_gain_low, self.log_loss_gain_high, 4)


class ModelTuning(Part):
    """Response to a model that drifts."""

    name: str
    action: str
    decision: str
    reason: str
    trials: Count
    champion_log_loss: Number
    challenger_log_loss: Number
    gain: Number
    gain_low: Number


class MlChanges(Part):
    """Changes of models within the day."""

    trained: list[Trained]
    ensembles_tested: list[Ensemble]
    tuned: list[ModelTuning]


class TopModel(Part):
    """One of the best models, as predictor and as strategy."""

    rank: int | None
    previous_rank: int | None
    name: str
    version: str
    status: str | None
    model_type: str | None
    timeframe: str | None
    event: str | None
    score: Number
    trades: int | None
    accuracy: Share
    baseline_accuracy: Share
    log_loss: Number
    baseline_log_loss: Number
    log_loss_gain: Number
    log_loss_gain_low: Number
    log_loss_gain_high: Number
    better: bool | None
    calibration_error: Number
    precision: Share
    recall: Share
    f1: Share
    r2: Number
    mae: Number
    baseline_mae: Number
    value_unit: str | None
    ungated_difference: Number
    win_rate: Share
    avg_pnl_pct: Number
    sharpe: Number
    max_drawdown: Share
    live: Live

    @property
    def gain(self) -> str:
        """Gain over the baseline, with its interval."""
        return formats.interval(self.log_loss_gain, self.log_loss_gain_low, self.log_loss_gain_high, 4)

    @property
    def forward(self) -> str:
        """Performance since activation."""
        return self.live.detail


class ModelsPart(Part):
    """Keys of the section in the report."""

    top_5_models: Annotated[list[TopModel], Under("performance")]
    ml_changes: MlChanges


def _collect(warehouse: Warehouse, data: ReportData) -> pl.DataFrame:
    """Return the responses to drifting models within the day."""
    return warehouse.read(_TUNING, [data.since, data.as_of])


def _build(data: ReportData, tuning: pl.DataFrame) -> ModelsPart:
    best = [
        TopModel.of(row, live=live_of("model", row["name"], row["version"], data))
        for row in model_table(data.cycles).head(TOP).iter_rows(named=True)
    ]
    tuned = [ModelTuning.of(row) for row in tuning.iter_rows(named=True)]
    time = data.cycles.model_time
    if time is None or time <= data.as_of - DAY:  # a day without a cycle trained nothing
        return ModelsPart(top_5_models=best, ml_changes=MlChanges(trained=[], ensembles_tested=[], tuned=tuned))
    trained = [
        Trained.of(
            row,
            name=row["model_name"],
            type=row["model_type"],
            features=len(row["features_used"].split(",")) if row["features_used"] else 0,
        )
        for row in data.cycles.models.iter_rows(named=True)
    ]
    ensembles = [
        Ensemble.of(
            row,
            name=row["ensemble_name"],
            models=json.loads(row["members"]),
            method=row["combination_method"],
            weights=json.loads(row["weights"]) if row["weights"] else None,
        )
        for row in data.cycles.ensembles.iter_rows(named=True)
    ]
    return ModelsPart(top_5_models=best, ml_changes=MlChanges(trained=trained, ensembles_tested=ensembles, tuned=tuned))


def _nothing(_: ReportData) -> ModelsPart:
    return ModelsPart(top_5_models=[], ml_changes=MlChanges(trained=[], ensembles_tested=[], tuned=[]))


_ENSEMBLES: Final = "ml.ml_ensembles"
_LOSSES: Final = (
    ("accuracy", "accuracy", "share"),
    ("best constant", "baseline_accuracy", "share"),
    ("log-loss", "log_loss", "n4"),
    ("guessing", "baseline_log_loss", "n4"),
)
_BEST: Final = (
    Column("model", "name"),
    *columns_of(RANKING, ("rank", "rank", "int")),
    *columns_of(MODELS, *_LOSSES),
    Column("gain", "gain", "text", "report.gain"),
    *columns_of(
        MODELS, ("better", "better", "yes"), ("calibration", "calibration_error", "n3"), ("F1", "f1", "n2"),
        ("score", "score", "n1"),
    ),
    Column("trades", "trades", "int", f"{RANKING}.trades"),
    *columns_of(MODELS, ("avg PnL", "avg_pnl_pct", "pct3"), ("gate worth", "ungated_difference", "n1")),
    Column("forward", "forward", "text", "report.live"),
)  # fmt: skip
_TRAINED: Final = (
    Column("model", "name"),
    Column("inputs", "features", "int", f"{MODELS}.features_used"),
    *columns_of(MODELS, *_LOSSES, ("better", "better", "yes")),
    Column("status", "status"),
    Column("reason", "reason"),
)
_TRIED: Final = (
    Column("ensemble", "name"),
    *columns_of(_ENSEMBLES, ("rank", "rank", "int")),
    Column("method", "method", "text", f"{_ENSEMBLES}.combination_method"),
    Column("models", "models", "text", f"{_ENSEMBLES}.members"),
    *columns_of(_ENSEMBLES, *_LOSSES),
    Column("gain", "gain", "text", "report.gain"),
    *columns_of(
        _ENSEMBLES, ("better", "better", "yes"), ("F1", "f1", "n2"), ("score", "score", "n1"),
        ("trades", "total_trades", "int"), ("status", "status", "text"),
    ),
)  # fmt: skip
_DRIFTED: Final = (
    Column("model", "name"),
    *columns_of("ml.model_tuning", ("action", "action", "text"), ("decision", "decision", "text")),
    *columns_of("ml.model_tuning", ("tries", "trials", "int"), ("gain", "gain", "n4")),
    Column("why", "reason"),
)


def _view(part: ModelsPart, data: ReportData) -> Mapping[str, object]:
    return {
        "best": Table(_BEST, part.top_5_models),
        "trained": Table(_TRAINED, part.ml_changes.trained),
        "ensembles": Table(_TRIED, part.ml_changes.ensembles_tested),
        "drifted": Table(_DRIFTED, part.ml_changes.tuned),
        "gains": _gains(data),
        "curves": _curves(data),
    }


def _curves(data: ReportData) -> Markup:
    names = curve_names(data.cycles.model_equity, data.cycles.model_ranking, TOP)
    if not names:
        return Markup()
    return pictures.live(
        pictures.lines_figure(data.cycles.model_equity, names),
        "models",
        f"Equity on the holdout day, after costs, of {', '.join(names)} traded as strategies",
    )


def _gains(data: ReportData) -> Markup:
    gains = data.cycles.models.filter(pl.col("log_loss_gain_low").is_not_null())
    if gains.is_empty():
        return Markup()
    better = gains.filter(pl.col("better").fill_null(value=False)).height
    return pictures.inline(
        pictures.gain_figure(gains),
        "gains",
        f"Gain over guessing of {gains.height} models with 90 % intervals; {better} are better at the 5 % level",
    )


def _rejected(report: Document) -> Iterator[Point]:
    for row in report.part(ModelsPart).ml_changes.trained:
        if row.status == "rejected":
            yield Point(
                "error",
                row.name,
                f"the model {row.name} was rejected: {row.reason or 'it failed its leakage checks'}",
                f"Find out why {row.name} was rejected (ml.ml_model_results.reason, the log of its run)",
            )


def _behind(report: Document) -> Iterator[Point]:
    trained = report.part(ModelsPart).ml_changes.trained
    behind = [
        (row.baseline_log_loss - row.log_loss, row)
        for row in trained
        if row.better is False and row.log_loss is not None and row.baseline_log_loss is not None
    ]
    if not behind:
        return
    behind.sort(key=lambda pair: pair[0])
    names, worst = [row.name for _, row in behind], behind[0][1]
    yield Point(
        "warning" if len(behind) == len(trained) else "info",
        worst.name,
        f"{len(behind)} of {len(trained)} models do not beat their naive baseline on the holdout day, the worst "
        f"{worst.name} ({worst.log_loss:.3f} against {worst.baseline_log_loss:.3f} nats)",
        f"Review the inputs of {listed(names[:3])} (ml.feature_importance): these models are worse than the base rate",
    )


SECTION: Final = Section(
    name="models",
    heading="Models and ensembles",
    link="Models",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM ml.models_against_baseline WHERE as_of = {models} ORDER BY log_loss_gain DESC",
    part=ModelsPart,
    collect=_collect,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(110, _rejected), Rule(120, _behind)),
)
