"""Drift tests ask whether a model's inputs are still distributed as in its training; where they are not, it drifts."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_assets.drift.assets import drift_rows
from blofin_assets.drift.inputs import build_input_tests
from blofin_assets.ml_cycle.tuning import answer_drift
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from model_zoo.models.base import ModelSpec
from tests.model_zoo.conftest import SYMBOLS, T, candles

pytestmark = pytest.mark.slow

DAYS = 30
ACTIVE = T - timedelta(days=8, hours=12)
"""Half a day off the evaluation dates: the forward days are whole ones, back from such a date."""
SPEC = ModelSpec("direction", "5m", 12, ("returns", "returns_5", "hour_sin"))


def calm_then_wild(market: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """Return the market with three times the moves from a time on."""
    close = pl.col("close").log().diff().over("symbol").fill_null(0.0)
    wilder = pl.when(pl.col("ts") >= since).then(close * 3).otherwise(close).cum_sum().over("symbol").exp() * 100
    made = market.with_columns(wilder.alias("close")).with_columns(
        pl.col("close").shift(1).over("symbol").fill_null(100.0).alias("open")
    )
    return made.with_columns(
        (pl.max_horizontal("open", "close") * 1.0005).alias("high"),
        (pl.min_horizontal("open", "close") * 0.9995).alias("low"),
    )


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return candles(0.3, DAYS)


@pytest.fixture
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with new_warehouse(tmp_path_factory.mktemp("inputs") / "warehouse") as store:
        yield store


def fill(store: Warehouse, market: pl.DataFrame, active: datetime = ACTIVE, *, until: datetime = T) -> Warehouse:
    trained = [
        {
            "id": str(at), "model_name": SPEC.name, "model_type": SPEC.type, "timestamp": at, "as_of": at,
            "timeframe": "5m", "version": "v", "status": "candidate", "features_used": ",".join(SPEC.inputs),
            "train_start": at - timedelta(days=8), "train_end": at - timedelta(days=1),
        }
        for at in (active, T - timedelta(hours=12))
    ]  # fmt: skip
    run = {
        "as_of": T, "kind": "model", "name": SPEC.name, "version": "v", "activated_at": active, "ends_at": None,
        "state": "tracked", "days": 8.0, "trades": 0, "open_positions": 0, "compared": 0, "data_revisions": 0,
        "version_changes": 0, "look_ahead": 0, "engine": "e",
    }  # fmt: skip
    times = pl.col(pl.Datetime).cast(TS)
    with store.transaction("r") as tx:
        tx.append("market.candles_5m", market.filter(pl.col("ts") < until))
        tx.append("market.instruments", pl.DataFrame([{"symbol": s, "as_of": T, "origin": "t"} for s in SYMBOLS]))
        tx.append("ml.ml_model_results", pl.DataFrame(trained).with_columns(times))
        tx.append("research.forward_runs", pl.DataFrame([run]).with_columns(times, pl.col("ends_at").cast(TS)))
    return store


def asked(store: Warehouse) -> pl.DataFrame:
    return drift_rows(build_input_tests(store, SYMBOLS, T, 0), T)


def test_a_market_that_goes_on_as_it_was_is_steady_and_one_that_does_not_drifts(
    opened: Warehouse, market: pl.DataFrame
) -> None:
    fill(opened, market)
    still = asked(opened).row(0, named=True)
    assert (still["metric"], still["decision"]) == ("features", "steady")
    assert still["rows"] == 8 * 288 * len(SYMBOLS)
    assert still["expected_days"] == pytest.approx(7.0)
    assert still["minimum_detectable"] > 0.0
    assert asked(opened).equals(asked(opened))

    with opened.transaction("r") as tx:
        wild = calm_then_wild(market, T - timedelta(days=8))
        tx.replace("market.candles_5m", wild, start=T - timedelta(days=DAYS), end=T)
    rows = asked(opened)
    row = rows.row(0, named=True)
    assert row["decision"] == "drift"
    assert row["reason"].startswith("returns")
    assert row["forward"] > row["expected"] > 0.0
    assert row["difference"] == pytest.approx(row["forward"] - row["expected"])
    assert 0.0 < row["p"] <= row["q"] <= 0.1

    # it is one of the model's drift tests, which set off its retraining
    with opened.transaction("r") as tx:
        tx.append("research.drift_tests", rows)
    answers = answer_drift(opened, SYMBOLS, {SPEC.name: SPEC}, T + timedelta(hours=12))
    assert [each.action for each in answers] == ["retrained"]


def test_what_comes_after_the_evaluation_date_changes_nothing(opened: Warehouse, market: pl.DataFrame) -> None:
    fill(opened, market, until=T)
    before = asked(opened)
    later = calm_then_wild(market, T - timedelta(days=DAYS)).with_columns(pl.col("ts") + timedelta(days=DAYS))
    with opened.transaction("r") as tx:
        tx.append("market.candles_5m", later)
    assert asked(opened).equals(before)


def test_a_run_of_a_week_and_a_young_warehouse_are_insufficient(opened: Warehouse, market: pl.DataFrame) -> None:
    fill(opened, market.filter(pl.col("ts") >= T - timedelta(days=20)))
    row = asked(opened).row(0, named=True)
    assert row["decision"] == "insufficient"
    assert "fewer than 21 days" in row["reason"]
    with opened.transaction("r") as tx:
        young = opened.read("SELECT * EXCLUDE (run_id) FROM research.forward_runs").with_columns(
            pl.lit(T - timedelta(days=7)).cast(TS).alias("activated_at")
        )
        tx.replace("research.forward_runs", young, as_of=T)
    assert "7.0 days" in asked(opened).row(0, named=True)["reason"]
