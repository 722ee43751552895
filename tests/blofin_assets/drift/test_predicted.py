"""Evidence on predictions: a day gains on the naive baseline what a plain loop says, and is written once."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support.platform import Platform

from backtester.statistics.e_process import e_process
from blofin_assets.drift.evidence import evidence_rows
from features.bars import TS

pytestmark = pytest.mark.slow

ACTIVE = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
RATE = 0.4
KIND = "model predictions"


def store_cycle(platform: Platform, as_of: datetime, skill: float) -> list[tuple[datetime, float, float]]:
    """Store a cycle of a model with a holdout of one day; return time, probability and label of each prediction."""
    rng = np.random.default_rng(int(as_of.timestamp()))
    said = []
    for n in range(48):
        label = float(rng.random() < RATE)
        probability = float(np.clip(RATE + skill * (label - RATE) + rng.normal(0.0, 0.3), 0.0, 1.0))
        said.append((as_of - DAY + n * HOUR / 2, probability, label))
    rows = [
        {"model_name": "m", "version": f"{as_of:%d}", "as_of": as_of, "symbol": "BTC-USDT", "timeframe": "5m", "ts": ts,
         "probability": probability, "label": label}
        for ts, probability, label in said
    ]  # fmt: skip
    result = {
        "id": f"{as_of}", "model_name": "m", "model_type": "logistic", "timestamp": as_of, "as_of": as_of,
        "timeframe": "5m", "version": f"{as_of:%d}", "status": "active", "base_rate": RATE,
    }  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("ml.predictions", pl.DataFrame(rows).with_columns(pl.col("as_of", "ts").cast(TS)))
        tx.append("ml.ml_model_results", pl.DataFrame([result]).with_columns(pl.col("as_of", "timestamp").cast(TS)))
    return said


def gain_of(said: list[tuple[datetime, float, float]]) -> float:
    """Return the mean gain of a day whose hours have the same number of predictions."""
    total = 0.0
    for _, probability, label in said:
        cut = min(max(probability, 0.02), 0.98)
        model, naive = (cut, RATE) if label else (1.0 - cut, 1.0 - RATE)
        total += math.log(model) - math.log(naive)
    return total / len(said)


def store_ledger(platform: Platform, days: int) -> None:
    """Store what the model's trades did on days after activation."""
    stamps = pl.datetime_range(ACTIVE, ACTIVE + days * DAY, "1h", closed="right", eager=True).alias("ts")
    frame = pl.DataFrame([stamps]).with_columns(
        pl.lit("model").alias("kind"), pl.lit("m").alias("name"), pl.lit("10").alias("version"),
        pl.lit(ACTIVE).cast(TS).alias("activated_at"),
        (pl.col("ts") - HOUR).dt.truncate("1d").dt.offset_by("1d").cast(TS).alias("as_of"),
        net_return=pl.lit(0.0), equity=pl.lit(1.0), snapshot_id=pl.lit(1), engine=pl.lit("e"), with_bars=pl.lit(True),
    )  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.forward_equity", frame)


def test_a_models_predictions_have_a_record_against_the_naive_baseline(platform: Platform) -> None:
    before = [store_cycle(platform, ACTIVE - n * DAY, 0.2) for n in range(7)]
    since = [store_cycle(platform, ACTIVE + n * DAY, 0.3) for n in range(1, 13) if n != 4]
    store_ledger(platform, 12)
    rows = evidence_rows(platform.warehouse, ["BTC-USDT"], ACTIVE + 12 * DAY)
    assert rows["kind"].unique().to_list() == [KIND], "its trades have no holdout, so no scale"
    gains = [gain_of(said) for said in since]
    gains.insert(3, math.nan)
    found = rows["net_return"].fill_null(math.nan).to_numpy()
    np.testing.assert_allclose(found, gains, rtol=1e-9)
    assert rows["expected"][0] == pytest.approx(np.mean([gain_of(said) for said in before]))
    assert rows["loss_bound"][0] == pytest.approx(
        max(10 * rows["deviation"][0], -1.5 * min(gain_of(said) for said in before))
    )
    path = e_process(found, rows["deviation"][0], rows["loss_bound"][0])
    np.testing.assert_array_equal(rows["capital"], path.capital)


def test_days_of_predictions_are_written_once_and_one_by_one_as_at_once(platform: Platform) -> None:
    store = platform.warehouse
    for n in range(-6, 7):
        store_cycle(platform, ACTIVE + n * DAY, 0.3)
    store_ledger(platform, 6)
    whole = evidence_rows(store, ["BTC-USDT"], ACTIVE + 6 * DAY)
    assert whole.height == 6
    parts = []
    for night in (1, 2, 5, 6):
        rows = evidence_rows(store, ["BTC-USDT"], ACTIVE + night * DAY)
        with store.transaction("drift") as tx:
            tx.replace("research.evidence_daily", rows.with_columns(snapshot_id=pl.lit(1)), as_of=ACTIVE + night * DAY)
        parts.append(rows)
        assert evidence_rows(store, ["BTC-USDT"], ACTIVE + night * DAY).equals(rows), "the same again"
    joined = pl.concat(parts)
    assert joined.drop("as_of", "confirmed").equals(whole.drop("as_of", "confirmed"))
    with store.transaction("test") as tx:  # what is revised later changes no day that is written
        tx.replace(
            "ml.predictions", store.read("SELECT * EXCLUDE (run_id) FROM ml.predictions").clear(), model_name="m"
        )
    assert evidence_rows(store, ["BTC-USDT"], ACTIVE + 7 * DAY).is_empty()
