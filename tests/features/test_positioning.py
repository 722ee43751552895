"""Positioning data as features: what was known at the close, no longer than it holds, and null without a source."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features import FeatureManager, compute, standard_registry
from features.bars import POSITIONING_SCHEMA, FrameSource, bar_length
from features.engine import STALE_POSITIONING
from features.market import EPOCH, SYMBOLS, Market, example_market

NAMES = [definition.example for definition in standard_registry() if definition.group == "positioning"]
AS_OF = EPOCH + timedelta(minutes=3000)


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(3000)


def known_at(rows: pl.DataFrame, closes: list, name: str) -> list[float | None]:
    """Return the value of the last row at or before each close, None where it is too old: a plain loop."""
    times, values = rows["ts"].to_list(), rows[name].to_list()
    found: list[float | None] = []
    for close in closes:
        last = max((i for i, ts in enumerate(times) if ts <= close), default=None)
        found.append(None if last is None or close - times[last] > STALE_POSITIONING else values[last])
    return found


def test_values_are_those_of_a_plain_loop(market: Market) -> None:
    names = ["open_interest_change_3", "open_interest_zscore_4", "accounts_imbalance", "taker_imbalance"]
    seen = compute(
        market.candles["5m"], names, timeframe="5m", others=market.candles, positioning=market.positioning
    ).filter(pl.col("symbol") == SYMBOLS[0], pl.col("flag").is_null())
    rows = market.positioning.filter(pl.col("symbol") == SYMBOLS[0])
    closes = (seen["ts"] + bar_length("5m")).to_list()
    for side in ("accounts", "taker"):
        ratios = known_at(rows, closes, f"{side}_ratio")
        expected = [np.nan if ratio is None else (ratio - 1) / (ratio + 1) for ratio in ratios]
        assert seen[f"{side}_imbalance"].to_numpy() == pytest.approx(np.array(expected), rel=1e-12, nan_ok=True)
        assert seen[f"{side}_imbalance"].null_count() < len(seen) / 4
    held = known_at(rows, closes, "open_interest")
    compared = 0
    for i in range(4, len(seen)):
        part = held[i - 3 : i + 1]
        if seen["ts"][i] - seen["ts"][i - 3] != 3 * bar_length("5m") or None in part:
            continue
        compared += 1
        numbers = np.array(part, dtype=float)
        assert seen["open_interest_change_3"][i] == pytest.approx(100 * (numbers[3] / numbers[0] - 1), rel=1e-9)
        if np.ptp(numbers) == 0:
            assert seen["open_interest_zscore_4"][i] is None
            continue
        apart = (numbers[3] - numbers.mean()) / numbers.std(ddof=1)
        assert seen["open_interest_zscore_4"][i] == pytest.approx(apart, rel=1e-6, abs=1e-6)
    assert compared > 100


def test_a_value_holds_for_two_hours_and_is_known_at_its_own_time() -> None:
    hours = example_market(600).candles["5m"].filter(symbol=SYMBOLS[0]).with_columns(flag=pl.lit(None, pl.String))
    stamped = EPOCH + timedelta(minutes=60)
    row = {"symbol": [SYMBOLS[0]], "ts": [stamped], "accounts_ratio": [3.0]}
    held = pl.DataFrame(row).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in POSITIONING_SCHEMA if name not in row
    )
    seen = compute(
        hours, ["accounts_imbalance"], positioning=held.select(POSITIONING_SCHEMA.names()).cast(POSITIONING_SCHEMA)
    )
    closes = seen["ts"] + bar_length("5m")
    inside = (closes >= stamped) & (closes <= stamped + STALE_POSITIONING)
    assert inside.sum() > 20
    assert set(seen.filter(inside)["accounts_imbalance"]) == {0.5}
    assert seen.filter(~inside)["accounts_imbalance"].null_count() == seen.height - inside.sum()


def test_a_manager_reads_them_from_a_source_that_has_them_and_gives_null_from_one_that_has_not(market: Market) -> None:
    known = FeatureManager(market.source(), AS_OF).get_features(
        "AAA-USDT", "5m", ["BBB-USDT:taker_imbalance", *NAMES], 20
    )
    assert all(known[name].null_count() < 20 for name in ["BBB-USDT:taker_imbalance", *NAMES])
    none = FeatureManager(FrameSource(dict(market.candles), market.funding), AS_OF)
    unknown = none.get_features("AAA-USDT", "5m", NAMES, 20)
    assert all(unknown[name].null_count() == 20 for name in NAMES)
    whole = compute(market.candles["5m"], NAMES, others=market.candles, positioning=market.positioning)
    last = whole.filter(symbol="AAA-USDT").tail(20)
    for name in NAMES:
        assert known[name].to_numpy() == pytest.approx(last[name].to_numpy(), rel=1e-6, nan_ok=True)


def test_none_of_them_is_stored_for_every_bar() -> None:
    assert NAMES
    assert not any(definition.standard for definition in standard_registry() if definition.group == "positioning")
