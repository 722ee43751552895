"""Stored models speak as features from their training on, and what drifts is answered from the warehouse's tables."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest
from support.warehouses import new_warehouse

from backtester.statistics.windows import Window
from blofin_assets.ml_cycle.tuning import Answer, answer_drift, search_trials, specs_in_force, tuning_rows
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.prediction_source import ModelledSource, predictions_for
from blofin_assets.shared.trial_ledger import count_trials
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS, FrameSource
from model_zoo.ensembles import Ensemble, Member, Rule
from model_zoo.models.base import ModelSpec
from model_zoo.models.calibration import Calibration
from model_zoo.serving.artifacts import save_artifact
from model_zoo.serving.ensemble_artifacts import full_definition
from model_zoo.serving.model_strategy import Threshold
from model_zoo.training.fitting import FittedModel, fit, rows_of
from model_zoo.training.tuning import Challenge, Tried
from strategies.untrusted.compiler import compile_strategy
from tests.model_zoo.conftest import SYMBOLS, T, candles

pytestmark = pytest.mark.slow

MADE = T - timedelta(hours=18)
"""When the stored model was trained."""
SPEC = ModelSpec("direction", "5m", 12, ("returns", "returns_5"))
ENSEMBLE = "voting_direction_momentum"


@pytest.fixture(scope="module")
def trained() -> list[FittedModel]:
    manager = FeatureManager(FrameSource({"5m": candles(0.9, 10)}), MADE)
    window = Window(MADE - timedelta(days=5), MADE - timedelta(days=1))
    specs = [SPEC, replace(SPEC, type="momentum")]
    return [fit(rows_of(manager, SYMBOLS, spec, window), spec, window, folds=2) for spec in specs]


@pytest.fixture(scope="module")
def store(trained: list[FittedModel], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("models") / "warehouse"
    with new_warehouse(folder) as opened:
        results, members = [], []
        for each in trained:
            artifact = save_artifact(folder / "models", each.model, each.threshold, {"base_rate": each.base_rate})
            members.append(Member(each.model, each.threshold, each.version, each.base_rate, pl.DataFrame()))
            results.append(
                {
                    "id": each.model.spec.name,
                    "model_name": each.model.spec.name,
                    "model_type": each.model.spec.type,
                    "timestamp": MADE,
                    "as_of": MADE,
                    "timeframe": "5m",
                    "version": each.version,
                    "status": "candidate",
                    "artifact": f"{artifact.path.parent.name}/{artifact.version}",
                }
            )
        joined = Ensemble(tuple(members), Rule("voting", (0.5, 0.5), Calibration(0.8)), Threshold(0.1, 0.0, 9))
        ensemble = {
            "id": "e",
            "ensemble_name": joined.name,
            "timestamp": MADE,
            "as_of": MADE,
            "model_list": "[]",
            "members": "[]",
            "member_versions": "[]",
            "weights": "[0.5, 0.5]",
            "combination_method": "voting",
            "timeframe": "5m",
            "version": joined.version,
            "definition": json.dumps(full_definition(joined)),
        }
        with opened.transaction("r") as tx:
            tx.append("market.candles_5m", candles(0.9, 10))
            tx.append("market.instruments", pl.DataFrame([{"symbol": s, "as_of": T, "origin": "t"} for s in SYMBOLS]))
            tx.append("ml.ml_model_results", pl.DataFrame(results))
            tx.append("ml.ml_ensembles", pl.DataFrame([ensemble]))
        yield opened


def window(store: Warehouse, names: list[str]) -> pl.DataFrame:
    return feature_manager(store, T).window(list(SYMBOLS), "5m", names, T - timedelta(days=1), T)


def test_a_stored_model_speaks_after_it_was_made_and_not_before(store: Warehouse, trained: list[FittedModel]) -> None:
    names = ["model:direction", f"ensemble:{ENSEMBLE}", "returns", "returns_5"]
    frame = window(store, names)
    early = pl.col("ts") + timedelta(minutes=5) <= MADE
    assert frame.filter(early).select(names[:2]).null_count().row(0) == (frame.filter(early).height,) * 2
    late = frame.filter(~early)
    assert late.height == 2 * 18 * 12
    assert late["model:direction"].equals(trained[0].model.predict(late), check_names=False)
    assert late[f"ensemble:{ENSEMBLE}"].null_count() == 0
    assert late[f"ensemble:{ENSEMBLE}"].n_unique() > 2


def test_bars_without_models_of_their_own_read_the_models_of_shorter_ones_at_their_close(store: Warehouse) -> None:
    source, start = ModelledSource(store), T - timedelta(days=1)
    five = source.predictions(["model:direction"], SYMBOLS, "5m", start, T)
    quarter = source.predictions(["model:direction"], SYMBOLS, "15m", start, T)
    closes = {(row[0], row[1] + timedelta(minutes=5)): row[2] for row in five.iter_rows()}
    assert quarter.rows() == [
        (symbol, opened, closes[symbol, opened + timedelta(minutes=15)])
        for symbol in sorted(SYMBOLS)
        for opened in (start + k * timedelta(minutes=15) for k in range(96))
        if opened + timedelta(minutes=15) > MADE
    ]
    assert quarter.height == 2 * 18 * 4


def test_a_rejected_model_and_a_lost_one_say_nothing(store: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    bad = store.read("SELECT * EXCLUDE (run_id) FROM ml.ml_model_results WHERE model_name = 'direction_5m'")
    later = MADE + timedelta(hours=6)
    before = window(store, ["model:direction"])
    lost = bad.with_columns(id=pl.lit("lost"), as_of=pl.lit(later).cast(TS), artifact=pl.lit("model_002/none"))
    rejected = bad.with_columns(
        id=pl.lit("bad"), as_of=pl.lit(later + timedelta(hours=6)).cast(TS), status=pl.lit("rejected")
    )
    with store.transaction("r") as tx:
        tx.append("ml.ml_model_results", pl.concat([lost, rejected]))
    # where neither can speak, the one before them goes on
    assert window(store, ["model:direction"]).equals(before)
    assert "model_002/none" in caplog.text


def test_names_that_no_model_has_are_refused(store: Warehouse) -> None:
    for name in ("model:oracle", "ensemble:best", "ensemble:voting_direction_oracle"):
        with pytest.raises(LookupError, match=name.replace(":", ".")):
            window(store, [name])
    assert window(store, ["model:price"])["model:price"].null_count() == 2 * 288


def test_strategies_are_validated_with_what_models_said(store: Warehouse) -> None:
    text = '''
class Follow(Strategy):
    """Follow. Edge: the model. Fails: without."""

    name = "follow"
    timeframes = ("5m",)

    def detect(self, f):
        return Signal(long_entry=f["model:direction"] > 0.5)
'''
    days = {"5m": timedelta(days=1)}
    said = predictions_for([compile_strategy(text)], store, SYMBOLS, T, days)  # type: ignore[arg-type]  # a part of it
    assert set(said) == {"5m"}
    assert said["5m"].columns == ["symbol", "ts", "model:direction"]
    assert predictions_for([], store, SYMBOLS, T, days) == {}  # type: ignore[arg-type]  # same
    start = T - timedelta(days=1)
    assert said["5m"].equals(ModelledSource(store).predictions(["model:direction"], SYMBOLS, "5m", start, T))


def drift_rows(*dates: datetime, decision: str = "drift") -> pl.DataFrame:
    rows = [
        {
            "as_of": date,
            "kind": "model",
            "name": "direction_5m",
            "version": "v",
            "activated_at": MADE,
            "metric": "log_loss",
            "days": 8.0,
            "decision": decision,
            "reason": "worse than expected",
        }
        for date in dates
    ]
    return pl.DataFrame(rows).with_columns(pl.col("as_of", "activated_at").cast(TS))


def test_drift_is_answered_first_by_retraining_then_by_a_search(store: Warehouse) -> None:
    specs = {"direction_5m": SPEC}
    assert answer_drift(store, SYMBOLS, specs, T) == []
    with store.transaction("r") as tx:
        tx.append("research.drift_tests", drift_rows(T - timedelta(days=2)))
        tx.append("research.drift_tests", drift_rows(T - timedelta(days=4), decision="insufficient"))
    assert [each.action for each in answer_drift(store, SYMBOLS, specs, T)] == ["retrained"]
    with store.transaction("r") as tx:
        tx.append("research.drift_tests", drift_rows(T - timedelta(days=1)))
        tx.append("research.drift_tests", drift_rows(T, decision="steady"))  # tested after this cycle
    later = T + timedelta(hours=12)
    # the search's days begin with the candles here; half a day later there is enough, at an earlier cycle too little
    early = answer_drift(store, SYMBOLS, specs, T - timedelta(hours=12))
    assert [each.action for each in early] == ["retrained"]
    short = answer_drift(store, SYMBOLS, specs, T, budget=2)
    assert [each.action for each in short] == ["searched"]
    assert "persists" in short[0].reason
    rows = tuning_rows(short, store, T, 1)
    assert rows["trials"][0] > 1
    assert rows["champion"][0] is None, "this cycle trained nothing in this test"
    with store.transaction("r") as tx:
        tx.replace("ml.model_tuning", rows, as_of=T)
        tx.append("research.trials", search_trials(short, T, 1), key=["id"])
        tx.replace("research.drift_tests", drift_rows(T), as_of=T)
    tries = store.read("SELECT count(*) FROM research.trials WHERE author = 'tuning' AND name = 'direction_5m'")
    assert tries.item() == rows["trials"][0]
    # searched for lately, so not again
    assert [each.action for each in answer_drift(store, SYMBOLS, specs, later)] == ["retrained"]


def test_what_was_adopted_is_in_force_once_the_days_that_chose_it_are_before_the_holdout(store: Warehouse) -> None:
    better = replace(SPEC, type="momentum", hyper={"c": 0.01})
    base = replace(SPEC, type="momentum")
    span = Window(T - timedelta(days=10), T - timedelta(days=3))
    judged = Window(T - timedelta(days=3), T)
    won = Challenge(base, better, (Tried(base, 0.7), Tried(better, 0.6)), span, judged, 99, 0.7, 0.6, 0.1, 0.05)
    lost = replace(won, gain_low=-0.01)
    assert won.adopted
    assert not lost.adopted
    for as_of, found in ((T, lost), (T + timedelta(hours=12), won)):
        rows = tuning_rows([Answer("momentum_5m", "searched", "persists", found)], store, as_of, 1)
        with store.transaction("r") as tx:
            tx.append("ml.model_tuning", rows)
    gone = rows.with_columns(id=pl.lit("gone"), model_name=pl.lit("gone_5m"), spec=pl.lit("no specification any more"))
    with store.transaction("r") as tx:
        tx.append("ml.model_tuning", gone)
    assert specs_in_force(store, [base], T + timedelta(hours=24), known_features(store))[base.name] == base
    assert specs_in_force(store, [base], T + timedelta(hours=36), known_features(store))[base.name] == better
    trials = search_trials([Answer("momentum_5m", "searched", "persists", won)], T, 1)
    assert trials.height == 2
    assert trials["version"].n_unique() == 2
    with store.transaction("r") as tx:
        tx.append("research.trials", trials, key=["id"])
    assert (
        count_trials(store, "strategy", T - timedelta(days=7), T + timedelta(days=2)) == 0
    )  # they overlap its holdout
