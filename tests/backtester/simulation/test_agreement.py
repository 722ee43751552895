"""The kernel and the plain reference loop agree trade by trade."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_cases import in_lots, random_case

from backtester.simulation import kernel
from backtester.simulation import lanes as lanes_module
from backtester.simulation.lanes import run_arrays

DUST = 1e-9
"""Quantity that rounding leaves of a lost capital: the root of its share would make the last digits visible."""


def compare(seed: int, *, favourable: bool, fixed: bool, lots: bool = False) -> None:
    case = in_lots(random_case(seed), seed) if lots else random_case(seed)
    expected = case.replay(favourable=favourable, fixed=fixed)
    if min((trade.quantity for trade in expected.trades), default=1.0) < DUST:
        case.lane = replace(case.lane, costs=replace(case.lane.costs, impact=0.0))
        expected = case.replay(favourable=favourable, fixed=fixed)
    lane = replace(case.lane, fixed=fixed)
    book = run_arrays([lane], trades=True, equity=True, favourable=favourable, capital=case.capital, threads=1)
    rows, sums = book.trades[0], book.sums[0]
    got = [
        (
            "long" if row[kernel.T_SIDE] > 0 else "short",
            int(row[kernel.T_ENTRY_ROW]),
            int(row[kernel.T_EXIT_ROW]),
            kernel.REASONS[int(row[kernel.T_REASON])],
        )
        for row in rows
    ]
    assert got == [(t.side, t.entry_row, t.exit_row, t.reason) for t in expected.trades]
    for column, name in (
        (kernel.T_ENTRY, "entry"),
        (kernel.T_EXIT, "exit"),
        (kernel.T_QUANTITY, "quantity"),
        (kernel.T_PNL, "pnl"),
        (kernel.T_FEES, "fees"),
        (kernel.T_FUNDING, "funding"),
        (kernel.T_SLIPPAGE, "slippage"),
    ):
        assert rows[:, column] == pytest.approx([getattr(t, name) for t in expected.trades], rel=1e-12, abs=1e-12)
    assert book.equity[0] == pytest.approx(expected.equity, rel=1e-12, abs=1e-12)
    assert fixed or min(expected.equity) >= 0.0
    assert sums[kernel.S_HELD] == expected.held
    assert sums[kernel.S_AMBIGUOUS] == expected.ambiguous
    assert sums[kernel.S_UNRESOLVED] == expected.unresolved
    assert (sums[kernel.S_LIMITS], sums[kernel.S_FILLED]) == (expected.limits, expected.filled)
    if fixed or min(expected.equity) > DUST:  # else dust of a lost capital may or may not ask for an entry
        assert sums[kernel.S_SMALL] == expected.small
    assert sums[kernel.S_ASKED] == pytest.approx(expected.asked, rel=1e-12)
    assert sums[kernel.S_LEFT] == pytest.approx(expected.left, rel=1e-9, abs=1e-9 * max(expected.asked, 1e-3))
    assert sums[kernel.S_WINS] == sum(t.net > 0 for t in expected.trades)
    assert sums[kernel.S_NET_FRACTION] == pytest.approx(sum(t.net / t.notional for t in expected.trades), abs=1e-11)


@settings(max_examples=250)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_kernel_and_reference_make_the_same_trades(seed: int, favourable: bool, fixed: bool) -> None:
    compare(seed, favourable=favourable, fixed=fixed)


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_both_round_to_lots_in_the_same_way(seed: int, favourable: bool, fixed: bool) -> None:
    compare(seed, favourable=favourable, fixed=fixed, lots=True)


def test_the_cases_with_lots_reach_orders_that_are_rounded_and_orders_that_are_too_small() -> None:
    rounded = small = whole = 0
    for seed in range(300):
        outcome = in_lots(random_case(seed), seed).replay()
        rounded += outcome.left > 0.0 and bool(outcome.trades)
        small += outcome.small > 0
        whole += outcome.left == 0.0 and bool(outcome.trades)
    assert min(rounded, small, whole) > 10


def test_without_lots_rounding_changes_not_one_bit() -> None:
    for seed in range(200):
        lane = random_case(seed).lane
        one, two = (run_arrays([each], trades=True) for each in (lane, replace(lane, rounded=True)))
        shown = [place for place in range(kernel.SUM_COLUMNS) if place != kernel.S_ASKED]
        assert np.array_equal(one.sums[:, shown], two.sums[:, shown])
        assert np.array_equal(one.trades[0], two.trades[0])


@pytest.mark.parametrize(
    "cases", [pytest.param(2_000, marks=pytest.mark.slow), pytest.param(20_000, marks=pytest.mark.long)]
)
def test_thousands_of_cases_agree(cases: int) -> None:
    for seed in range(cases):
        compare(seed, favourable=seed % 2 == 1, fixed=seed % 4 > 1)
        compare(seed, favourable=seed % 2 == 1, fixed=seed % 4 > 1, lots=True)


def test_the_random_cases_reach_every_kind_of_event() -> None:
    seen: set[str] = set()
    ambiguous = unresolved = funded = unlevered = by_mark = settled = below_nothing = limits = filled = 0
    resting: set[str] = set()
    for seed in range(400):
        case = random_case(seed)
        outcome = case.replay()
        below_nothing += min(case.replay(fixed=True).equity) < 0
        marked = case.bars[0].mark_open is not None
        for trade in outcome.trades:
            gone = trade.reason == "liquidation"
            unlevered += gone and trade.side == "short" and case.signals[trade.entry_row - 1].leverage == 1.0
            by_mark += gone and marked
        settled += marked and outcome.ambiguous > outcome.unresolved
        limits += outcome.limits
        filled += outcome.filled
        resting |= {t.reason for t in outcome.trades if t.resting and t.exit_row == t.entry_row}
        seen |= {trade.reason for trade in outcome.trades}
        ambiguous += outcome.ambiguous
        unresolved += outcome.unresolved
        funded += sum(trade.funding != 0 for trade in outcome.trades)
    assert seen == set(kernel.REASONS) - {""}
    assert ambiguous > unresolved > 0
    assert limits > 2 * filled > 200
    assert {"stop", "trail", "target", "liquidation"} <= resting, "what ends a position in the bar of its limit order"
    assert funded > 50
    assert min(unlevered, by_mark, settled) > 0
    assert below_nothing > 5, "with fixed capital, trading goes on after more than everything was lost"


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "_WORTH_A_THREAD", 1)
    lanes = [random_case(seed).lane for seed in range(200)]
    one, four = (run_arrays(lanes, equity=True, threads=threads) for threads in (1, 4))
    assert np.array_equal(one.sums, four.sums)
    assert all(np.array_equal(a, b) for a, b in zip(one.equity, four.equity, strict=True))
