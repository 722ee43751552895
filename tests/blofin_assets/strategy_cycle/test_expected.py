"""What to expect of a cycle's strategies: which holdouts enter, and that the estimate is that of their panel."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support.platform import AS_OF, Platform

from backtester.statistics.expected import HALF_LIFE, expected_ratios
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.expected import expected_rows
from features.bars import TS

NAMES = [f"s{place:02}" for place in range(12)]
STEP, WEEK = timedelta(days=2), timedelta(days=7)
CYCLES = [AS_OF - number * STEP for number in range(17)]
"""Of which those that are 0, 8, 16, 24 and 32 days old do not overlap."""
RATIOS = np.random.default_rng(5).normal(0.0, 7.0, (len(CYCLES), len(NAMES))) + np.linspace(-4.0, 4.0, len(NAMES))


def holdout(at: datetime, place: int, name: str) -> dict[str, object]:
    return {
        "name": name, "version": "1", "window_start": at - WEEK, "window_end": at, "turnover": 7.0,
        "sharpe": RATIOS[CYCLES.index(at), place], "error": 6.0 + place % 3,
    }  # fmt: skip


def put(platform: Platform) -> None:
    """Store every cycle but the newest; two days after each, nothing of it changes."""
    rows, evidence = [], []
    for at in CYCLES[1:]:
        for place, name in enumerate(NAMES):
            row = holdout(at, place, name)
            evidence.append({
                "as_of": at, "kind": "strategy", "name": name, "version": "1", "trials": 1, "supported": False,
                "sharpe_error": row["error"],
            })  # fmt: skip
            rows.append({
                "id": f"{at} {name}", "strategy_name": name, "version": "1", "timestamp": at, "as_of": at,
                "backtest_period": "7d", "symbol": "*", "timeframe": "*", "snapshot_id": 1, "total_trades": 30,
                "sharpe_se": 1.0, **{key: row[key] for key in ("window_start", "window_end", "turnover", "sharpe")},
            })  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.strategy_backtest_results", pl.DataFrame(rows))
        tx.append("research.evidence", pl.DataFrame(evidence))


def now(names: list[str]) -> pl.DataFrame:
    rows = [holdout(AS_OF, place, name) for place, name in enumerate(NAMES) if name in names]
    return pl.DataFrame(rows).with_columns(pl.col("window_start", "window_end").cast(TS))


def test_holdouts_that_do_not_overlap_make_the_panel_of_all_that_took_them(platform: Platform) -> None:
    put(platform)
    found = expected_rows(platform.warehouse, AS_OF, now(NAMES[:3]), {("s00", "1"): ["trend"]})
    assert found["name"].to_list() == NAMES[:3], "what was not run in this cycle has no row, and is in the panel"
    assert found["expected_windows"].to_list() == [5, 5, 5]
    ratios = RATIOS[[16, 12, 8, 4, 0]].T.copy()
    ratios[3:, 4] = np.nan
    errors = np.tile((6.0 + np.arange(len(NAMES)) % 3)[:, None], 5)
    same = expected_ratios(ratios, errors, part=0.25, half_life=HALF_LIFE / timedelta(days=8))
    for column, values in (("expected_sharpe", same.ratio), ("expected_low", same.low), ("expected_high", same.high)):
        assert found[column].to_list() == pytest.approx(values[:3].tolist(), rel=1e-9)


def test_before_there_are_four_of_them_nothing_is_expected(platform: Platform) -> None:
    put(platform)
    early = CYCLES[5]  # 0, 8 and 16 days before it
    own = now(NAMES).with_columns(pl.col("window_start", "window_end") - 5 * STEP)
    found = expected_rows(platform.warehouse, early, own, {})
    assert found.height == len(NAMES)
    assert found.select("expected_sharpe", "expected_low", "expected_high", "expected_windows").null_count().row(0) == (
        (len(NAMES),) * 4
    )
    assert expected_rows(platform.warehouse, early, own.head(0), {}).is_empty()


def test_books_have_a_panel_of_their_own_by_the_same_estimate(platform: Platform) -> None:
    put(platform)
    month = timedelta(days=28)
    ends = [AS_OF - number * month for number in range(5)]
    own = {
        "status": "active", "timeframe": "60m", "rebalance": "1d", "tranches": 1, "snapshot_id": 1, "capital": 1e4,
        "universe": "top:7", "members_fewest": 7, "members_most": 7, "chosen_today": False, "total_trades": 30,
        "ruined": 0, "ruined_by_extremes": 0, "cut_by_margin": 0,
    }  # fmt: skip
    rows = [
        {
            "as_of": at, "name": name, "version": "1", "window_start": at - month, "window_end": at, "turnover": 28.0,
            "sharpe": RATIOS[number, place], "sharpe_se": 3.0, **own,
        }
        for number, at in enumerate(ends)
        for place, name in enumerate(NAMES)
    ]  # fmt: skip
    times = pl.col("as_of", "window_start", "window_end").cast(TS)
    results = pl.DataFrame(rows).with_columns(times)
    overlapping = results.with_columns(pl.col("as_of", "window_start", "window_end") - STEP, sharpe=pl.lit(99.0))
    with platform.warehouse.transaction("test") as tx:
        columns = platform.warehouse.read("SELECT * EXCLUDE (run_id) FROM research.book_backtest_results").columns
        stored = pl.concat([results.filter(pl.col("as_of") < AS_OF), overlapping.filter(pl.col("as_of") < ends[4])])
        tx.append("research.book_backtest_results", stored.select(name for name in columns if name in stored.columns))
    newest = results.filter(pl.col("as_of") == AS_OF).with_columns(pl.col("sharpe_se").alias("error"))
    found = expected_rows(platform.warehouse, AS_OF, newest, {}, Kind.BOOK)
    assert found["expected_windows"].to_list() == [5] * len(NAMES)
    same = expected_ratios(RATIOS[:5][::-1].T, np.full((len(NAMES), 5), 3.0), part=1.0, half_life=HALF_LIFE / month)
    for column, values in (("expected_sharpe", same.ratio), ("expected_low", same.low), ("expected_high", same.high)):
        assert found[column].to_list() == pytest.approx(values.tolist(), rel=1e-9)
