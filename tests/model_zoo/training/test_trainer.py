"""The whole training of one model: it finds what is there, nothing where nothing is, and never sees the holdout."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtester.evaluation.engine import BacktestEngine
from backtester.statistics.windows import Window
from features.bars import FrameSource
from features.feature_manager import FeatureManager
from features.registry import standard_registry
from model_zoo.datasets.folds import walk_forward
from model_zoo.evaluation.metrics import check_shuffled, check_single_features, measure
from model_zoo.models.base import ModelError, ModelSpec
from model_zoo.models.catalog import make
from model_zoo.models.volatility import VolatilityModel
from model_zoo.serving.artifacts import load_artifact, save_artifact
from model_zoo.training.fitting import fit, rows_of
from model_zoo.training.trainer import BLOCK, Trained, _shuffled, default_spec, train_cycle
from tests.model_zoo.conftest import SYMBOLS, MakeManager, T, candles

pytestmark = pytest.mark.slow

SPEC = ModelSpec(
    "direction", "5m", 12, ("returns", "returns_5", "rsi_14", "zscore_20", "bbands_percent", "volume_ratio", "adx_14")
)


@pytest.fixture(scope="module")
def edge(manager_of: MakeManager) -> Trained:
    return train_cycle(manager_of(0.9), SYMBOLS, T, SPEC)


@pytest.fixture(scope="module")
def null(manager_of: MakeManager) -> Trained:
    return train_cycle(manager_of(0.0), SYMBOLS, T, SPEC)


def test_an_edge_is_found(edge: Trained) -> None:
    assert edge.sound
    assert edge.metrics.better
    assert edge.metrics.accuracy > 0.55
    assert edge.model.calibration.slope > 0


def test_nothing_is_found_where_nothing_is(null: Trained) -> None:
    assert null.sound
    assert not null.metrics.better
    assert abs(null.metrics.log_loss_gain or 0) < 0.01


def test_windows_and_rows(edge: Trained) -> None:
    assert edge.train.end == edge.holdout.start == T - timedelta(days=1)
    assert edge.holdout.end == T
    # every decision before T, for both symbols; the last hour's labels need a bar that is not closed at T
    assert edge.predictions.height == 2 * 288
    assert edge.rows_holdout == 2 * (288 - 12)
    assert edge.predictions["label_event"].null_count() == 2 * 12
    assert edge.predictions["probability"].null_count() == 0
    assert edge.out_of_fold["ts"].max() < edge.holdout.start
    assert edge.out_of_fold.select("symbol", "ts").is_duplicated().sum() == 0


def test_it_trades_through_the_backtester(edge: Trained) -> None:
    assert edge.evaluation.name == "direction_5m"
    assert edge.evaluation.version == edge.version
    assert edge.evaluation.pooled is not None
    assert edge.evaluation.pooled.trades == edge.evaluation.trades.height > 0
    assert edge.evaluation.trades["entry_ts"].min() >= edge.holdout.start


def test_the_same_again_is_the_same(edge: Trained, manager_of: MakeManager) -> None:
    again = train_cycle(manager_of(0.9), SYMBOLS, T, SPEC)
    assert again.version == edge.version
    assert again.metrics == edge.metrics
    assert again.predictions.equals(edge.predictions)


def test_the_holdout_changes_nothing_that_was_learned(edge: Trained) -> None:
    """Other prices in the holdout give the same model, calibration and threshold."""
    changed = candles(0.9, 10).with_columns(
        pl.when(pl.col("ts") >= T - timedelta(days=1))
        .then(pl.col(name) * (1 + 0.3 * pl.col("ts").dt.minute() / 60))
        .otherwise(pl.col(name))
        .alias(name)
        for name in ("open", "high", "low", "close")
    )
    other = train_cycle(FeatureManager(FrameSource({"5m": changed}), T), SYMBOLS, T, SPEC)
    assert other.version == edge.version
    assert other.threshold == edge.threshold
    assert not other.predictions.equals(edge.predictions)


def test_too_little_history_is_refused() -> None:
    short = FeatureManager(FrameSource({"5m": candles(0.0, 3)}), T)
    with pytest.raises(ModelError, match="needs at least 3 days"):
        train_cycle(short, SYMBOLS, T, SPEC)


def test_a_symbol_whose_price_steps_is_not_learned_from_until_its_step_is_called_real(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at, window = T - timedelta(days=2), Window(T - timedelta(days=4), T)
    prices = ("open", "high", "low", "close")
    after = (pl.col("symbol") == SYMBOLS[0]) & (pl.col("ts") >= at)
    bars = candles(0.0, 5)
    changed = bars.with_columns(pl.when(after).then(pl.col(name) * 1000).otherwise(pl.col(name)) for name in prices)

    def learned(symbols: Sequence[str], *real: tuple[str, datetime]) -> set[str]:
        manager = FeatureManager(FrameSource({"5m": changed}, real_steps=real), T)
        return set(rows_of(manager, symbols, SPEC, window)["symbol"])

    assert learned(SYMBOLS) == {SYMBOLS[1]}
    assert f"{SYMBOLS[0]} steps by" in caplog.text
    assert learned(SYMBOLS, (SYMBOLS[0], at + timedelta(minutes=3))) == set(SYMBOLS)
    with pytest.raises(ModelError, match=rf"every symbol has an unexplained price step: {SYMBOLS[0]} steps by"):
        learned(SYMBOLS[:1])


def test_default_specification_looks_an_hour_ahead_at_moves_over_the_same_spans() -> None:
    specs = {timeframe: default_spec("direction", timeframe) for timeframe in ("1m", "5m", "60m")}
    assert {timeframe: spec.horizon for timeframe, spec in specs.items()} == {"1m": 60, "5m": 12, "60m": 1}
    assert "scaled_move_120_1440" in specs["1m"].inputs
    assert "scaled_move_24_288" in specs["5m"].inputs
    assert "scaled_move_2_24" in specs["60m"].inputs
    registry = standard_registry()
    for spec in specs.values():
        units = {registry.feature(name).definition.unit for name in spec.inputs}
        assert units <= {"standard deviations", "ratio"}, "prices and volumes differ from symbol to symbol"
    with pytest.raises(ModelError, match="direction"):
        default_spec("oracle", "5m")


def test_the_artifact_predicts_what_the_model_predicted(edge: Trained, manager_of: MakeManager, tmp_path: Path) -> None:
    saved = save_artifact(tmp_path, edge.model, edge.threshold, edge.metadata())
    assert saved.version == edge.version
    loaded = load_artifact(tmp_path / "model_002")
    frame = manager_of(0.9).window(list(SYMBOLS), "5m", list(SPEC.inputs), T - timedelta(days=1, minutes=5), T)
    frame = frame.filter(pl.col("ts") < T - timedelta(minutes=5))
    assert loaded.model.predict(frame).equals(edge.predictions["probability"])
    assert loaded.threshold == edge.threshold
    assert loaded.metadata["metrics"]["better"] is True
    engine = BacktestEngine(SYMBOLS[0], T - timedelta(days=1), T, source=manager_of(0.9).source)
    traded = engine.run_model(loaded, manager_of(0.9)).trades
    assert traded.drop("equity").equals(edge.evaluation.trades.filter(pl.col("symbol") == SYMBOLS[0]).drop("equity"))


OTHERS = ("momentum", "price", "volatility", "risk")


@pytest.fixture(scope="module")
def others(manager_of: MakeManager) -> dict[str, Trained]:
    manager = manager_of(0.9)
    return {name: train_cycle(manager, SYMBOLS, T, default_spec(name, "5m")) for name in OTHERS}


@pytest.mark.parametrize("name", OTHERS)
def test_every_type_goes_through_the_whole_cycle(name: str, others: dict[str, Trained]) -> None:
    found = others[name]
    assert found.sound
    assert found.predictions.height == 2 * 288
    assert found.predictions["probability"].null_count() == 0
    assert (found.values is not None) == found.model.regresses == (found.predictions["value"].null_count() == 0)
    assert (found.ungated is None) == found.model.directional
    assert found.evaluation.name == f"{name}_5m"
    assert found.evaluation.version == found.version


@pytest.mark.parametrize("name", ["momentum", "price"])
def test_the_edge_is_found_by_every_directional_type(name: str, others: dict[str, Trained]) -> None:
    assert others[name].metrics.better
    assert others[name].threshold.signals > 0


@pytest.mark.parametrize("name", OTHERS)
def test_no_type_learns_from_the_holdout(name: str, others: dict[str, Trained]) -> None:
    # the open at T - 1 d is known then: what follows it must not matter
    changed = candles(0.9, 10).with_columns(
        pl.when(pl.col("ts") > T - timedelta(days=1)).then(pl.col(column) * 1.5).otherwise(pl.col(column)).alias(column)
        for column in ("open", "high", "low", "close")
    )
    spec = default_spec(name, "5m")
    other = train_cycle(FeatureManager(FrameSource({"5m": changed}), T), SYMBOLS, T, spec)
    assert other.version == others[name].version


def test_a_gate_is_measured_against_its_strategy_without_it(others: dict[str, Trained]) -> None:
    gate = others["risk"]
    assert gate.ungated is not None
    assert gate.ungated.name == "ema_cross_5m"
    assert 0 < gate.evaluation.trades.height < gate.ungated.trades.height
    assert gate.threshold.level == gate.base_rate


def test_a_leaking_input_is_caught_for_values_too(manager_of: MakeManager) -> None:
    spec = default_spec("volatility", "5m")
    model = make(spec)
    rows = rows_of(manager_of(0.0), SYMBOLS, model.spec, Window(T - timedelta(days=8), T))
    leak = rows.with_columns(hour_sin=pl.col("label_value"))
    assert check_single_features(rows, spec.inputs, model.honest_auc).passed
    assert not check_single_features(leak, spec.inputs, model.honest_auc).passed


def test_shuffled_labels_that_leak_into_the_judged_rows_are_caught(
    manager_of: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that does not learn from its labels, but knows the answer, fails."""
    spec = default_spec("volatility", "5m")
    rows = rows_of(manager_of(0.0), SYMBOLS, spec, Window(T - timedelta(days=8), T))
    known = rows.with_columns(hour_sin=pl.col("label_value"))
    fold = walk_forward(Window(T - timedelta(days=8), T - timedelta(days=1)), 4, timedelta(hours=1))[-1]
    assert check_shuffled(_shuffled(known, spec, fold)).passed
    place = spec.inputs.index("hour_sin")
    monkeypatch.setattr(VolatilityModel, "estimate", lambda _, matrix: np.nan_to_num(matrix[:, place]))
    assert not check_shuffled(_shuffled(known, spec, fold)).passed


def test_a_fold_in_which_only_one_thing_ever_happened_is_left_out(manager_of: MakeManager) -> None:
    """In a day or two the volatility of one symbol may do nothing but fall; the other folds still teach."""
    window = Window(T - timedelta(days=8), T - timedelta(days=1))
    first = walk_forward(window, 4, timedelta(hours=1))[0]
    rows = rows_of(manager_of(0.9), SYMBOLS, SPEC, Window(window.start, T))
    nothing = pl.lit(0).cast(rows["label_event"].dtype)
    later = pl.col("ts") >= first.train.end
    found = fit(rows.with_columns(label_event=pl.when(later).then("label_event").otherwise(nothing)), SPEC, window)
    assert len(found.folds) == len(found.fold_models) == 3
    assert found.out_of_fold["ts"].min() + timedelta(minutes=5) >= first.test.end
    with pytest.raises(ModelError, match="one class only"):
        fit(rows.with_columns(label_event=nothing), SPEC, window)


def test_direction_learns_from_barriers_net_of_costs(manager_of: MakeManager) -> None:
    spec = default_spec("direction", "5m", barrier=0.5)
    found = fit(
        rows_of(manager_of(0.9), SYMBOLS, spec, Window(T - timedelta(days=8), T)),
        spec,
        Window(T - timedelta(days=8), T - timedelta(days=1)),
    )
    # purged by the barriers' horizon: none could still be undecided when the window ended, less the embargo
    assert found.training_rows["label_known_at"].max() <= T - timedelta(days=1, hours=1)
    decided = found.training_rows.filter(pl.col("label_barrier").is_not_null())
    assert decided.height == found.training_rows.height
    assert 0.4 < decided["label_barrier"].mean() < 0.6
    assert not any(name.startswith("label") for name in spec.reads)
    assert measure(found.out_of_fold, found.base_rate, BLOCK, 0).better
    assert ModelSpec.from_json(spec.to_json()) == spec
    for type_name in ("price", "risk"):
        with pytest.raises(ModelError, match="barrier"):
            make(default_spec(type_name, "5m", barrier=1.0))
