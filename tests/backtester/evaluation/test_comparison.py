"""Results beside each other: known differences, correlations by a plain formula, and windows that differ."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from book_cases import book_of, universe
from toy import START, SYMBOLS, Momentum, ToyManager, toy_source

from backtester import BookEvaluation, BookRules, PooledResult, evaluate
from backtester.compare_page import compare_page
from backtester.evaluation.book_breakdown import on_fixed_capital
from backtester.evaluation.comparison import compare
from backtester.evaluation.robustness import holding_curve, scored_lanes

END = START + timedelta(days=6)


@pytest.fixture(scope="module")
def results() -> dict[str, PooledResult]:
    lengths = {"short": 6, "again": 6, "long": 24}
    strategies = [Momentum(name, ("60m",), length) for name, length in lengths.items()]
    found = evaluate(strategies, ToyManager(toy_source(6)), SYMBOLS, START, END)
    return {each.name: each.pooled for each in found if each.pooled is not None}


def test_the_same_result_is_not_told_apart_and_correlates_wholly(results: dict[str, PooledResult]) -> None:
    found = compare(results, seed=7)
    row = found.differences.row(0, named=True)
    assert (row["one"], row["two"], row["day_pct"], row["low"], row["high"]) == ("short", "again", 0.0, 0.0, 0.0)
    assert not row["apart"]
    assert found.correlations[0, 1] == pytest.approx(1.0)
    expected = np.corrcoef(results["short"].returns, results["long"].returns)[0, 1]
    assert found.correlations[0, 2] == pytest.approx(expected)
    assert found.differences.height == 3


def test_a_difference_is_the_mean_and_inside_its_interval(results: dict[str, PooledResult]) -> None:
    found = compare(results, seed=7)
    row = found.differences.filter(pl.col("one") == "short", pl.col("two") == "long").row(0, named=True)
    days = (END - START) / timedelta(days=1)
    assert row["day_pct"] == pytest.approx((results["short"].total_pnl_pct - results["long"].total_pnl_pct) / days)
    assert row["low"] < row["day_pct"] < row["high"]
    assert row["apart"] == (row["low"] > 0.0 or row["high"] < 0.0)
    assert found.differences.equals(compare(results, seed=7).differences)


def test_costs_and_periods_add_up(results: dict[str, PooledResult]) -> None:
    found = compare(results, seed=7)
    for row in found.costs.rows(named=True):
        paid = row["fees_pct"] + row["slippage_pct"] + row["funding_pct"]
        assert row["before_pct"] - paid == pytest.approx(row["total_pnl_pct"])
    assert found.periods["period"].to_list() == ["2025-06"]
    for name, pooled in results.items():
        assert found.periods[name].sum() == pytest.approx(pooled.total_pnl_pct)


def test_results_over_other_windows_or_alone_are_refused(results: dict[str, PooledResult]) -> None:
    other = evaluate([Momentum("other", ("60m",))], ToyManager(toy_source(6)), SYMBOLS, START, END - timedelta(days=1))
    assert other[0].pooled is not None
    with pytest.raises(ValueError, match="compare results over one window"):
        compare({"short": results["short"], "other": other[0].pooled}, seed=7)
    with pytest.raises(ValueError, match="short: a comparison takes two results or more"):
        compare({"short": results["short"]}, seed=7)


def test_the_page_is_the_same_each_time(results: dict[str, PooledResult]) -> None:
    evaluation = evaluate([Momentum("short", ("60m",), 6)], ToyManager(toy_source(6)), SYMBOLS, START, END)[0]
    holding = holding_curve(scored_lanes(evaluation))
    pages = [
        compare_page(
            results,
            compare(results, seed=7),
            holding,
            parameters=dict.fromkeys(results, ""),
            said=["a <b>"],
            window="w",
        )
        for _ in range(2)
    ]
    assert pages[0] == pages[1]
    assert "a &lt;b&gt;" in pages[0]
    assert pages[0].count("<svg") == 2


def test_returns_are_added_up_over_the_longest_bars(results: dict[str, PooledResult]) -> None:
    found = compare(results, seed=7, bar_hours=4).correlations[0, 2]
    sums: dict[str, dict[int, float]] = {"short": {}, "long": {}}
    for name, bars in sums.items():
        pooled = results[name]
        for end, gained in zip(pooled.hours[1:].tolist(), pooled.returns.tolist(), strict=True):
            bar = (end // 3_600_000_000 - 1) // 4
            bars[bar] = bars.get(bar, 0.0) + gained
    assert found == pytest.approx(pl.DataFrame({name: list(bars.values()) for name, bars in sums.items()}).corr()[0, 1])
    assert found != pytest.approx(compare(results, seed=7).correlations[0, 2])


def test_a_book_stands_beside_strategies(results: dict[str, PooledResult]) -> None:
    drawn = universe(3, 6 * 24, 8, move=0.004, silences=0.0, ends=0.0)
    book = on_fixed_capital(BookEvaluation("book", book_of(drawn, BookRules(timedelta(hours=8), long=0.3, short=0.3))))
    moved = replace(book, start=START, end=END, hours=results["short"].hours)
    found = compare({"short": results["short"], "book": moved}, seed=7)
    assert found.periods["book"].sum() == pytest.approx(book.total_pnl_pct)
    costs = found.costs.row(1, named=True)
    assert costs["before_pct"] > costs["total_pnl_pct"]
    assert found.correlations[0, 1] == pytest.approx(np.corrcoef(results["short"].returns, book.returns)[0, 1])
