"""A book's result taken apart adds up to the whole."""

from datetime import timedelta

import numpy as np
import pytest
from book_cases import Universe, book_of, random_rules, universe

from backtester import BookEvaluation, BookRules
from backtester.evaluation.book_breakdown import (
    beta_over_time,
    by_quarter,
    by_regime,
    earnings_of,
    on_fixed_capital,
    universe_curve,
)
from backtester.simulation import book_kernel as kernel


def long_universe(bars: int = 1_100) -> Universe:
    return universe(5, bars, 8, move=0.004, silences=0.0, ends=0.0, payments=20)


def long_result(bars: int = 1_100) -> BookEvaluation:
    return BookEvaluation("book", book_of(long_universe(bars), BookRules(timedelta(days=1), long=0.3, short=0.3)))


@pytest.mark.parametrize("seed", range(25))
def test_both_legs_together_earn_what_the_equity_changes_by(seed: int) -> None:
    drawn = universe(seed, 150, 9, move=0.01, jumps=0.01, begin=5 if seed % 2 else 0)
    result = book_of(drawn, random_rules(seed, long_window=False))
    ruined = [tranche.outcome[kernel.RUINED_AT] >= 0 for tranche in result.tranches]
    earned = earnings_of(result)
    if not any(ruined):
        total = result.capital + np.cumsum(earned.long + earned.short)
        np.testing.assert_allclose(total, result.equity, rtol=1e-9)
        assert earned.fees.sum() == pytest.approx(result.fills["fee"].sum())
        held = np.abs(earned.held).sum(axis=1) / result.equity
        np.testing.assert_allclose(held <= sum(result.held) + 1e-9, np.ones(len(held)))
    values = [array for name, array in vars(earned).items() if name not in {"held", "quantity"}]
    assert all(np.isfinite(array).all() and array.shape == result.equity.shape for array in values)


def test_a_leg_that_is_not_there_earns_nothing() -> None:
    rules = BookRules(timedelta(days=1), long=0.3, short=0.0, neutral="none")
    earned = earnings_of(book_of(long_universe(300), rules))
    assert np.abs(earned.short).max() == 0.0
    assert np.abs(earned.long).max() > 0.0


def test_the_quarters_compound_to_the_whole() -> None:
    evaluation = long_result()
    quarters = by_quarter(evaluation)
    assert quarters["period"].to_list() == ["2025 Q2", "2025 Q3"]
    whole = np.prod(1.0 + quarters["return_pct"].to_numpy() / 100.0) - 1.0
    assert 100.0 * whole == pytest.approx(evaluation.metrics()["total_pnl_pct"])


def test_every_bar_with_history_is_in_one_trend_and_one_unrest() -> None:
    regimes = by_regime(long_result())
    days = dict(zip(regimes["period"], regimes["days"], strict=True))
    assert days["up"] + days["down"] == pytest.approx((1_100 - 720) / 24)
    assert days["calm"] + days["wild"] == pytest.approx((1_100 - 168) / 24)


def test_what_comes_later_changes_no_regime_of_the_trend() -> None:
    whole, cut = long_result(), long_result()
    later = 900
    market = cut.result.market
    market.average[later:] = 0.5
    seen = [beta_over_time(each)[:later] for each in (whole, cut)]
    np.testing.assert_array_equal(*seen)


def test_beta_is_the_slope_of_the_last_thirty_days() -> None:
    evaluation = long_result()
    beta = beta_over_time(evaluation)
    assert np.isnan(beta[:719]).all()
    inside = slice(900 - 719, 901)
    market = np.nan_to_num(evaluation.result.market.average)[inside]
    assert beta[900] == pytest.approx(np.polyfit(market, evaluation.result.returns[inside], 1)[0], abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_on_fixed_capital_returns_and_costs_add_up_bar_by_bar(seed: int) -> None:
    drawn = universe(seed, 400, 9, move=0.004, payments=20, begin=5 if seed % 2 else 0)
    result = book_of(drawn, random_rules(seed, long_window=False))
    evaluation = BookEvaluation("book", result)
    fixed, earned = on_fixed_capital(evaluation), earnings_of(result)
    total, level, costs = 0.0, result.capital, dict.fromkeys(("fees", "slippage", "funding"), 0.0)
    peak, deepest = 1.0, 0.0
    for bar, equity in enumerate(result.equity):
        if level > 0.0:
            total += equity / level - 1.0
            for name in costs:
                costs[name] += getattr(earned, name)[bar] / level
        peak = max(peak, 1.0 + total)
        deepest = max(deepest, peak - 1.0 - total)
        level = equity
    assert fixed.total_pnl_pct == pytest.approx(100.0 * total)
    assert fixed.max_drawdown == pytest.approx(min(deepest, 1.0))
    for name, paid in costs.items():
        assert getattr(fixed, f"{name}_pct") == pytest.approx(100.0 * paid)
    assert len(fixed.hours) == len(fixed.equity) == len(fixed.returns) + 1
    assert (fixed.start, fixed.end) == (result.market.time_of(result.begin), evaluation.hourly()["ts"][-1])
    curve = universe_curve(result)
    assert curve[-1] == pytest.approx(np.prod(1.0 + np.nan_to_num(result.market.average[result.begin :])))
    assert len(curve) == len(fixed.hours)
