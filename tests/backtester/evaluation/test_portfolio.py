"""What is held together: the mean of the members' equity, and numpy's correlations of their hourly returns."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from toy import START, SYMBOLS, Momentum, ToyManager, toy_source

from backtester import evaluate
from backtester.evaluation.portfolio import combine, combine_equity

HOUR = timedelta(hours=1)


def curves(table: np.ndarray, with_bars: np.ndarray | None = None) -> pl.DataFrame:
    """Return hourly equity of members a, b, ... from a table of shape (hours, members), and which hours had bars."""
    known = np.full(table.shape, None) if with_bars is None else with_bars
    ts = pl.datetime_range(START, START + len(table) * HOUR, "1h", closed="left", eager=True)
    members = [
        pl.DataFrame(
            {"name": [name] * len(table), "ts": ts, "equity": column, "with_bars": pl.Series(bars, dtype=pl.Boolean)}
        )
        for name, column, bars in zip("abcdefgh", table.T, known.T.tolist(), strict=False)
    ]
    return pl.concat(members)


@pytest.fixture
def table() -> np.ndarray:
    returns = np.random.default_rng(5).normal(1e-4, 0.01, (48, 3))
    returns[:, 2] = 0.5 * returns[:, 0] - returns[:, 1]
    return np.vstack([np.ones(3), np.cumprod(1 + returns, axis=0)])


def test_equity_is_the_mean_and_correlations_are_those_of_returns(table: np.ndarray) -> None:
    held = combine_equity(curves(table).sample(fraction=1, shuffle=True, seed=1), START)
    assert held.names == ("a", "b", "c")
    assert held.equity["equity"].to_numpy() == pytest.approx(table.mean(axis=1), rel=1e-14)
    returns = np.diff(table, axis=0)
    assert held.correlation == pytest.approx(np.corrcoef(returns.T), rel=1e-12)
    combined = table.mean(axis=1)
    moves = np.diff(combined)
    assert held.sharpe == pytest.approx(moves.mean() / moves.std(ddof=1) * np.sqrt(8760), rel=1e-12)
    falls = [combined[: k + 1].max() - combined[k] for k in range(len(combined))]
    assert held.max_drawdown == pytest.approx(max(falls), rel=1e-12)
    assert held.total_pnl_pct == pytest.approx(100 * (combined[-1] - 1))


def test_a_curve_that_begins_earlier_is_cut_where_the_window_begins(table: np.ndarray) -> None:
    together, early = curves(table), curves(table[:, :1]).with_columns(pl.lit("early").alias("name"))
    before = early.with_columns(pl.col("ts") - pl.duration(hours=len(table) - 1), pl.col("equity") - 1.0)
    longer = pl.concat([before.filter(pl.col("ts") < START), early.with_columns(pl.col("equity") + 0.25)])
    held = combine_equity(pl.concat([together, longer]), START)
    assert held.equity["ts"].min() == START
    same = combine_equity(pl.concat([together, early]), START)
    assert held.equity["equity"].to_numpy() == pytest.approx(same.equity["equity"].to_numpy(), rel=1e-12)
    assert held.sharpe == pytest.approx(same.sharpe, rel=1e-9)


def test_pairs_are_each_named_once_and_null_where_one_never_moves(table: np.ndarray) -> None:
    still = np.column_stack([table[:, 0], np.ones(len(table)), table[:, 1]])
    held = combine_equity(curves(still), START)
    assert [row[:2] for row in held.pairs.rows()] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert held.pairs["correlation"].is_null().to_list() == [True, False, True]
    assert held.mean_correlation == pytest.approx(held.pairs["correlation"][1])
    alone = combine_equity(curves(table[:, :1]), START)
    assert (alone.pairs.height, alone.mean_correlation) == (0, None)


def test_the_part_of_an_hour_before_the_first_full_one_counts() -> None:
    late = combine_equity(curves(np.array([[1.1], [1.1]])), START - HOUR / 2)
    assert late.max_drawdown == 0.0
    assert late.sharpe is not None
    assert combine_equity(curves(np.array([[1.1], [1.1]])), START).sharpe is None


def test_an_hour_in_which_no_member_has_bars_has_no_return(table: np.ndarray) -> None:
    stopped = np.vstack([table[:20], np.repeat(table[19:20], 60, axis=0), table[20:]])
    bars = np.ones(stopped.shape, dtype=np.bool_)
    bars[20:80] = False
    held, dense = combine_equity(curves(stopped, bars), START), combine_equity(curves(table), START)
    assert held.sharpe == pytest.approx(dense.sharpe, rel=1e-12)
    assert held.correlation == pytest.approx(dense.correlation, rel=1e-12)
    assert held.equity.height == len(stopped), "the curve itself keeps its hours"
    bars[20:80, 1] = True
    alone = combine_equity(curves(stopped, bars), START)
    diluted = combine_equity(curves(stopped), START)
    assert (alone.sharpe, alone.correlation[0, 1]) == (diluted.sharpe, diluted.correlation[0, 1]), "one member had bars"
    nothing = combine_equity(curves(stopped, np.zeros(stopped.shape, dtype=np.bool_)), START)
    assert (nothing.sharpe, nothing.mean_correlation) == (None, None)


def test_curves_of_different_hours_and_no_curves_are_refused(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="equity of b lacks hours"):
        combine_equity(curves(table).filter((pl.col("name") != "b") | (pl.col("ts") > START)), START)
    with pytest.raises(ValueError, match="curves is empty"):
        combine_equity(curves(table).clear(), START)
    with pytest.raises(ValueError, match="nothing to combine"):
        combine([])


def test_an_evaluations_hours_without_bars_are_left_out_of_the_set_too() -> None:
    begin = START + timedelta(days=1)
    source = toy_source(gap=(begin + 6 * HOUR, begin + 30 * HOUR))
    first, second = evaluate(
        [Momentum(), Momentum("slow", length=36)], ToyManager(source), SYMBOLS, begin, begin + timedelta(days=2)
    )
    gap = [begin + hour * HOUR for hour in range(7, 31)]
    assert first.equity.filter(pl.col("with_bars").not_())["ts"].to_list() == gap
    assert first.equity["with_bars"].null_count() == 1, "no hour of the window ends where it begins"
    assert first.pooled is not None
    assert second.pooled is not None
    moves = (first.pooled.present_returns + second.pooled.present_returns) / 2
    assert len(moves) == 24
    assert combine([first, second]).sharpe == pytest.approx(moves.mean() / moves.std(ddof=1) * np.sqrt(8760), rel=1e-9)


def test_evaluations_combine() -> None:
    strategies = [Momentum(), Momentum("slow", length=36)]
    begin = START + timedelta(days=1)
    results = evaluate(strategies, ToyManager(toy_source()), SYMBOLS, begin, begin + timedelta(days=2))
    both = combine(results)
    assert both.equity["equity"][-1] == pytest.approx(np.mean([result.pooled.equity[-1] for result in results]))
    assert both.correlation[0, 1] == pytest.approx(np.corrcoef([result.pooled.returns for result in results])[0, 1])
