"""Evidence of tracked records: what is fixed when they begin, and that each day is written once."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.platform import Platform

from backtester.statistics.e_process import e_process
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.drift.evidence import evidence_rows
from features.array_types import FloatArray
from features.bars import TS

pytestmark = pytest.mark.slow

ACTIVE = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SYMBOLS = ["BTC-USDT"]
GOOD, WORSE = ("strategy", "good", "1"), ("strategy", "worse", "1")


def hours(start: datetime, end: datetime) -> pl.Series:
    return pl.datetime_range(start, end, "1h", closed="right", eager=True).alias("ts")


def in_holdout(seed: int, mean: float = 2e-4) -> FloatArray:
    return np.random.default_rng(seed).normal(mean, 1e-3, HOLDOUT_LENGTH // timedelta(hours=1))


def store_holdout(platform: Platform, who: tuple[str, str, str], returns: FloatArray, rank: int) -> None:
    stamps = pl.concat([pl.Series("ts", [ACTIVE - HOLDOUT_LENGTH]), hours(ACTIVE - HOLDOUT_LENGTH, ACTIVE)])
    names = dict(zip(("kind", "name", "version"), who, strict=True))
    labels = [pl.lit(value).alias(name) for name, value in names.items()]
    equity = pl.Series("equity", 1.0 + np.concatenate([[0.0], returns.cumsum()]))
    curve = pl.DataFrame([stamps, equity]).with_columns(*labels, pl.lit(ACTIVE).cast(TS).alias("as_of"))
    row = {**names, "as_of": ACTIVE, "rank": rank, "status": "active", "reason": ""}
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.equity", curve.with_columns(with_bars=pl.lit(value=True)))
        tx.append("research.ranking_history", pl.DataFrame([row]))


def store_forward(
    platform: Platform, who: tuple[str, str, str], returns: FloatArray, start: datetime, had_bars: bool = True
) -> None:
    """Append hours of the ledger, each day by the key at its end."""
    stamps = hours(start, start + len(returns) * timedelta(hours=1))
    labels = [pl.lit(value).alias(name) for name, value in zip(("kind", "name", "version"), who, strict=True)]
    frame = pl.DataFrame([stamps, pl.Series("net_return", returns)]).with_columns(
        *labels, pl.lit(ACTIVE).cast(TS).alias("activated_at"), pl.lit(1.0).alias("equity"),
        (pl.col("ts") - timedelta(microseconds=1)).dt.truncate("1d").dt.offset_by("1d").cast(TS).alias("as_of"),
        snapshot_id=pl.lit(1), engine=pl.lit("e"), with_bars=pl.lit(had_bars),
    )  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.forward_equity", frame)


def write(platform: Platform, as_of: datetime) -> pl.DataFrame:
    rows = evidence_rows(platform.warehouse, SYMBOLS, as_of)
    with platform.warehouse.transaction("drift") as tx:
        tx.replace("research.evidence_daily", rows.with_columns(snapshot_id=pl.lit(1)), as_of=as_of)
    return rows


def stored(platform: Platform) -> pl.DataFrame:
    return platform.warehouse.read("SELECT * EXCLUDE (as_of, run_id) FROM research.evidence_daily ORDER BY name, day")


@pytest.fixture
def tracked(platform: Platform) -> Platform:
    store_holdout(platform, GOOD, in_holdout(1), 1)
    store_holdout(platform, WORSE, in_holdout(2), 2)
    rng = np.random.default_rng(3)
    for who, mean in ((GOOD, 8e-4), (WORSE, -2e-4)):
        store_forward(platform, who, rng.normal(mean, 1e-3, 24 * 12), ACTIVE)
    return platform


def test_an_evaluation_date_writes_the_days_that_are_over_with_what_was_fixed_before(tracked: Platform) -> None:
    rows = write(tracked, ACTIVE + 12 * DAY)
    good = rows.filter(pl.col("name") == "good")
    assert good["day"].to_list() == [ACTIVE + n * DAY for n in range(12)]
    holdout = in_holdout(1)
    deviation, daily = holdout.std() * math.sqrt(24.0), holdout.reshape(-1, 24).sum(axis=1)
    assert good["deviation"].unique().item() == pytest.approx(deviation, rel=1e-9)
    assert good["expected"].unique().item() == pytest.approx(daily.mean(), rel=1e-9)
    assert good["loss_bound"].unique().item() == pytest.approx(max(10 * deviation, -1.5 * daily.min()), rel=1e-9)
    assert good["gain_bound"].unique().item() == pytest.approx(max(10 * deviation, 1.5 * daily.max()), rel=1e-9)
    assert dict(rows.group_by("name").agg(pl.col("weight").first()).iter_rows()) == pytest.approx(
        {"good": 4 / 3, "worse": 2 / 3}
    )
    returns = np.random.default_rng(3).normal(8e-4, 1e-3, 24 * 12).reshape(-1, 24).sum(axis=1)
    np.testing.assert_allclose(good["net_return"], returns, rtol=1e-9)
    path = e_process(good["net_return"].to_numpy(), good["deviation"][0], good["loss_bound"][0])
    np.testing.assert_array_equal(good["capital"], path.capital)
    np.testing.assert_array_equal(good["stake"], path.stake)
    last = rows.filter(pl.col("day") == ACTIVE + 11 * DAY).sort("name")
    assert last["capital"][0] > 1.0 > last["capital"][1]
    assert last["capital_worse"][0] < 1.0 < last["capital_worse"][1]


def test_one_by_one_or_at_once_the_days_are_the_same(tracked: Platform) -> None:
    for evaluation_date in range(1, 13):
        rows = write(tracked, ACTIVE + evaluation_date * DAY)
        assert rows["day"].unique().to_list() == [ACTIVE + (evaluation_date - 1) * DAY]
    each = stored(tracked)
    assert each.height == 24
    with tracked.warehouse.transaction("test") as tx:
        for evaluation_date in range(1, 13):
            tx.replace(
                "research.evidence_daily",
                rows.clear().with_columns(snapshot_id=pl.lit(1)),
                as_of=ACTIVE + evaluation_date * DAY,
            )
    write(tracked, ACTIVE + 12 * DAY)
    assert_frame_equal(stored(tracked), each)


def test_an_evaluation_date_again_writes_the_same_and_later_days_change_nothing(tracked: Platform) -> None:
    write(tracked, ACTIVE + 5 * DAY)
    before = stored(tracked)
    store_forward(tracked, GOOD, np.full(48, -0.5), ACTIVE + 12 * DAY)
    store_holdout(tracked, ("strategy", "other", "1"), in_holdout(9), 3)
    write(tracked, ACTIVE + 5 * DAY)
    assert_frame_equal(stored(tracked), before)


def test_a_day_that_the_ledger_has_not_tracked_to_its_end_waits_for_its_hours(tracked: Platform) -> None:
    store_forward(tracked, GOOD, np.full(12, 1e-3), ACTIVE + 12 * DAY)
    first = write(tracked, ACTIVE + 13 * DAY)
    assert first["day"].max() == ACTIVE + 11 * DAY
    store_forward(tracked, GOOD, np.full(12, 1e-3), ACTIVE + 12 * DAY + timedelta(hours=12))
    (late,) = write(tracked, ACTIVE + 14 * DAY).to_dicts()
    assert (late["day"], late["net_return"]) == (ACTIVE + 12 * DAY, pytest.approx(0.024))


def test_an_evaluation_date_that_is_caught_up_writes_no_day_twice(tracked: Platform) -> None:
    write(tracked, ACTIVE + 4 * DAY)
    write(tracked, ACTIVE + 8 * DAY)
    before = stored(tracked)
    assert write(tracked, ACTIVE + 6 * DAY).is_empty(), "its days were written on the date after"
    write(tracked, ACTIVE + 4 * DAY)
    assert_frame_equal(stored(tracked), before)


def test_a_record_without_a_scale_takes_no_weight_from_the_others(tracked: Platform) -> None:
    still = ("strategy", "still", "1")
    store_holdout(tracked, still, np.zeros(168), 3)
    store_forward(tracked, still, np.zeros(24 * 12), ACTIVE)
    weights = write(tracked, ACTIVE + 12 * DAY).group_by("name").agg(pl.col("weight").first())
    assert dict(weights.iter_rows()) == pytest.approx({"good": 4 / 3, "worse": 2 / 3})


def test_what_was_fixed_stays_where_the_holdout_is_revised(tracked: Platform) -> None:
    first = write(tracked, ACTIVE + 5 * DAY)
    with tracked.warehouse.transaction("test") as tx:
        tx.append(
            "research.equity",
            tracked.warehouse.read(
                "SELECT * EXCLUDE (run_id, equity), 1.0 AS equity FROM research.equity"
            ).with_columns(pl.col("ts") + timedelta(minutes=30)),
        )
    later = write(tracked, ACTIVE + 6 * DAY)
    fixed = ("name", "deviation", "loss_bound", "gain_bound", "expected", "weight")
    assert_frame_equal(first.select(fixed).unique().sort("name"), later.select(fixed).unique().sort("name"))


def test_a_loss_beyond_the_bound_breaks_the_assumption_for_good(tracked: Platform) -> None:
    store_forward(tracked, GOOD, np.full(24, -0.05), ACTIVE + 12 * DAY)
    store_forward(tracked, GOOD, np.full(24, 0.01), ACTIVE + 13 * DAY)
    good = write(tracked, ACTIVE + 14 * DAY).filter(pl.col("name") == "good")
    assert good["broken"].to_list() == [False] * 12 + [True] * 2
    assert good["capital"].to_list()[-2:] == [0.0, 0.0]


def test_days_without_bars_have_no_return_and_change_nothing(tracked: Platform) -> None:
    store_forward(tracked, GOOD, np.zeros(24), ACTIVE + 12 * DAY, had_bars=False)
    good = write(tracked, ACTIVE + 13 * DAY).filter(pl.col("name") == "good")
    assert good["net_return"][-1] is None
    assert good["capital"][-1] == good["capital"][-2]


def test_a_record_that_never_traded_in_its_holdout_has_no_scale_and_no_rows(platform: Platform) -> None:
    store_holdout(platform, GOOD, np.zeros(168), 1)
    store_forward(platform, GOOD, np.full(48, 1e-3), ACTIVE)
    assert evidence_rows(platform.warehouse, SYMBOLS, ACTIVE + 2 * DAY).is_empty()
    assert (
        evidence_rows(platform.warehouse, SYMBOLS, ACTIVE).columns
        == evidence_rows(platform.warehouse, SYMBOLS, ACTIVE + 2 * DAY).columns
    )


def test_a_strong_record_is_confirmed_and_one_that_falls_back_is_not_any_more(platform: Platform) -> None:
    store_holdout(platform, GOOD, in_holdout(1, 0.0), 1)
    rng = np.random.default_rng(4)
    store_forward(platform, GOOD, rng.normal(1e-3, 1e-3, 24 * 40), ACTIVE)
    store_forward(platform, GOOD, rng.normal(-4e-3, 1e-3, 24 * 8), ACTIVE + 40 * DAY)
    rows = write(platform, ACTIVE + 48 * DAY)
    labels = dict(rows.select("day", "confirmed").iter_rows())
    capital = dict(rows.select("day", "capital").iter_rows())
    assert all(labels[day] == (capital[day] >= 10.0) for day in labels), "one record: the bar is 1 / 10 %"
    assert labels[ACTIVE + 39 * DAY]
    assert not labels[ACTIVE + 47 * DAY]


def test_the_bound_contains_the_largest_moves_of_the_market_before(tracked: Platform) -> None:
    with tracked.warehouse.transaction("test") as tx:
        tx.append("market.candles_1d", daily_bars([0.5, 9.0]))
    rows = evidence_rows(tracked.warehouse, SYMBOLS, ACTIVE + 2 * DAY)
    assert rows["loss_bound"].unique().to_list() == pytest.approx([0.5]), "not the move of the day after"


def daily_bars(moves: list[float]) -> pl.DataFrame:
    """Return daily bars of which the first is the last before activation."""
    first = ACTIVE - DAY
    return pl.DataFrame(
        {
            "symbol": ["BTC-USDT"] * len(moves), "ts": [first + n * DAY for n in range(len(moves))],
            "open": [100.0] * len(moves), "close": [100.0 * (1 + move) for move in moves],
        }
    ).with_columns(
        pl.col("ts").cast(TS), high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close"),
        volume=pl.lit(1.0), quote_volume=pl.lit(100.0), contracts=pl.lit(1.0), minutes=pl.lit(1440),
        origin=pl.lit("sample"),
    )  # fmt: skip


def test_the_bounds_rest_on_the_days_of_search_windows_before_activation_as_well(tracked: Platform) -> None:
    shared = {"symbol": "*", "version": "1"}
    days = [
        ("good", ACTIVE, 0.002, -0.5, 0.3), ("good", ACTIVE - 2 * DAY, 0.001, -0.4, 0.4),
        ("good", ACTIVE + 2 * DAY, 0.001, -0.9, 0.9), ("worse", ACTIVE, 0.2, -0.01, 0.01),
    ]  # fmt: skip
    rows = [
        {
            "strategy": name,
            "as_of": at,
            "timestamp": at,
            "day_deviation": deviation,
            "day_worst": worst,
            "day_best": best,
        }
        for name, at, deviation, worst, best in days
    ]
    with tracked.warehouse.transaction("test") as tx:
        scores = pl.DataFrame(rows).with_columns(pl.col("as_of", "timestamp").cast(TS), window=pl.lit("search_28d"))
        tx.append(
            "research.strategy_scores", scores.with_columns(pl.lit(text).alias(key) for key, text in shared.items())
        )
        proposal = {
            "as_of": ACTIVE, "stage": "design", "designer": "search", "slot": 0, "name": "good", "version": "1",
            "state": "sound", "evaluations": 1, "cost_usd": 0.0, "search_day_deviation": 0.001,
            "search_day_worst": -0.6, "search_day_best": 0.1,
        }  # fmt: skip
        tx.append("research.proposals", pl.DataFrame([proposal]).with_columns(pl.col("as_of").cast(TS)))
    written = write(tracked, ACTIVE + DAY).sort("name")
    assert written["loss_bound"].to_list() == pytest.approx([1.5 * 0.6, 10 * 0.2])
    assert written["gain_bound"].to_list() == pytest.approx([1.5 * 0.4, 10 * 0.2])
    assert written["deviation"][1] < 0.01, "the scale of the prior is that of the holdout"


def test_the_active_set_has_a_record_of_its_own_through_all_cycles(tracked: Platform) -> None:
    later = [
        {"as_of": at, "kind": "strategy", "name": name, "version": "1", "rank": 1, "status": status}
        for at, name, status in (
            (ACTIVE + 4 * DAY, "good", "active"), (ACTIVE + 4 * DAY, "worse", "archived"),
            (ACTIVE + 8 * DAY, "worse", "active"),
        )
    ]  # fmt: skip
    stamps = hours(ACTIVE - HOLDOUT_LENGTH, ACTIVE)
    moves = in_holdout(4)
    curve = pl.DataFrame([stamps, pl.Series("equity", 1.0 + moves.cumsum())])
    with tracked.warehouse.transaction("test") as tx:
        tx.append("research.ranking_history", pl.DataFrame(later))
        labels = {"kind": "strategy", "members": 2}
        both = curve.with_columns(*(pl.lit(value).alias(name) for name, value in labels.items()))
        tx.append("research.active_set", both.with_columns(pl.lit(ACTIVE).cast(TS).alias("as_of")))
    rows = write(tracked, ACTIVE + 12 * DAY)
    days = {name: frame.sort("day")["net_return"].to_numpy() for (name,), frame in rows.group_by("name")}
    good, worse = days["good"], days["worse"]
    expected = np.concatenate([(good[:4] + worse[:4]) / 2.0, good[4:8], worse[8:]])
    np.testing.assert_allclose(days["strategies"], expected, rtol=1e-12)
    mine = rows.filter(pl.col("name") == "strategies")
    assert mine.select("kind", "activated_at", "weight").unique().row(0) == ("active set", ACTIVE, 1.0)
    assert mine["deviation"][0] == pytest.approx(np.diff(1.0 + moves.cumsum()).std() * math.sqrt(24.0))
    path = e_process(expected, mine["deviation"][0], mine["loss_bound"][0])
    np.testing.assert_allclose(mine["capital"], path.capital, rtol=1e-12)
    assert write(tracked, ACTIVE + 12 * DAY).equals(rows), "the same again"
