"""Accounting identities that hold for every lane."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lane_cases import START, Case, frame_of, funding_of, random_case, stamps
from reference import Bar

from backtester import Bars, Costs, Lane, MarginRules, Signals, pool, run_lanes
from backtester.simulation.kernel import FILLABLE, LONG_ENTRY

seeds = st.integers(0, 2**32 - 1)
CASES = settings(max_examples=60)


def rebuilt(case: Case, bars: list[Bar], payments: list[tuple[int, float]]) -> Bars:
    return Bars.from_frame(frame_of(bars), case.lane.bars.timeframe, funding=funding_of(payments))


def without_mark(seed: int) -> Case:
    case = random_case(seed)
    assume(case.bars[0].mark_open is None)
    return case


@CASES
@given(seeds)
def test_equity_changes_by_what_the_trades_say(seed: int) -> None:
    case = random_case(seed)
    result = run_lanes([case.lane], trades=True, equity=True)[0]
    trades = result.trades_frame()
    closed = trades.head(len(trades) - result.open_at_end)
    change = closed["pnl"].sum()
    if result.open_at_end:
        last = trades.row(-1, named=True)
        lane_close = case.bars[-1].close
        side = 1 if last["side"] == "long" else -1
        notional = last["quantity"] * last["entry_price"]
        resting = case.replay().trades[-1].resting
        fee = case.lane.costs.target_fee if resting else case.lane.costs.taker_fee
        charged = fee * notional + last["funding"]
        # a flagged last bar may mark beyond the margin, or what funding has left of it: no more than that is lost
        most = min(notional / last["leverage"], last["equity"] - charged)
        change += max(side * last["quantity"] * (lane_close - last["entry_price"]), -most) - charged
    assert result.equity[-1] * result.capital - result.capital == pytest.approx(change, abs=1e-6)


@CASES
@given(seeds)
def test_doubling_every_price_changes_nothing(seed: int) -> None:
    case = without_mark(seed)
    twice = [replace(b, open=2 * b.open, high=2 * b.high, low=2 * b.low, close=2 * b.close) for b in case.bars]
    one = replace(case.lane, bars=rebuilt(case, case.bars, case.funding))
    two = replace(case.lane, bars=rebuilt(case, twice, case.funding))
    a, b = run_lanes([one, two], equity=True)
    assert np.array_equal(a.equity, b.equity)
    assert (a.trades, a.wins, a.favourable_pnl_pct) == (b.trades, b.wins, b.favourable_pnl_pct)


@CASES
@given(seeds)
def test_mirrored_prices_and_sides_mirror_the_result(seed: int) -> None:
    case = without_mark(seed)
    first = next((k for k, s in enumerate(case.signals) if s.long_entry != s.short_entry), None)
    assume(first is not None and first + 1 < len(case.bars))
    assert first is not None
    centre = case.bars[first + 1].open
    assume(all(b.high < 1.95 * centre for b in case.bars))  # a short is liquidated at 2 / 1.02 times its entry
    mirrored = [
        replace(
            b, open=2 * centre - b.open, high=2 * centre - b.low, low=2 * centre - b.high, close=2 * centre - b.close
        )
        for b in case.bars
    ]
    bits = case.lane.signals.bits.copy()
    entered = np.flatnonzero(bits & 3)
    bits[entered[entered != first]] &= 12  # one trade: the mirror's centre is its entry
    swapped = ((bits & 1) << 1) | ((bits & 2) >> 1) | ((bits & 4) << 1) | ((bits & 8) >> 1)
    levels = _unlevered(case)
    levels.pop("entry_limit", None)  # a fraction of the close before, which is not the mirror's centre
    lanes = [
        replace(case.lane, bars=rebuilt(case, bars, []), signals=Signals(b, levels), costs=Costs.free())
        for bars, b in ((case.bars, bits), (mirrored, swapped))
    ]
    a, b = run_lanes(lanes, equity=True)
    assert a.equity == pytest.approx(b.equity, abs=1e-9)


def _unlevered(case: Case) -> dict[str, np.ndarray]:
    return {name: column for name, column in case.lane.signals.parameters.items() if name not in ("size", "leverage")}


@CASES
@given(seeds)
def test_holding_at_no_cost_is_the_price(seed: int) -> None:
    case = without_mark(seed)
    bars = [replace(b, sound=True) for b in case.bars]
    assume(len(bars) > 1 and bars[1].ts - bars[0].ts == case.lane.bars.step)
    made = rebuilt(case, bars, [])
    held = Lane(made, Signals(np.full(len(made), LONG_ENTRY, dtype=np.uint8)), Costs.free())
    result = run_lanes([held], equity=True)[0]
    assert result.equity[1:] == pytest.approx([b.close / bars[1].open for b in bars[1:]])


@CASES
@given(seeds)
def test_a_fee_never_helps_a_strategy_of_signals_alone(seed: int) -> None:
    case = random_case(seed)
    signals = Signals(case.lane.signals.bits)
    low, high = (
        run_lanes([replace(case.lane, signals=signals, costs=Costs(fee, 0.0, 0.0002))])[0] for fee in (0.0, 0.001)
    )
    assume(low.total_pnl_pct > -100)
    assert high.total_pnl_pct <= low.total_pnl_pct + 1e-9


@CASES
@given(seeds)
def test_favourable_is_never_below_adverse_with_stop_and_target_alone(seed: int) -> None:
    case = random_case(seed)
    kept = {
        name: case.lane.signals.parameters[name] for name in ("stop", "target") if name in case.lane.signals.parameters
    }
    result = run_lanes([replace(case.lane, signals=Signals(case.lane.signals.bits, kept))])[0]
    assume(result.total_pnl_pct > -100 and result.max_drawdown < 1)
    assert result.favourable_pnl_pct >= result.total_pnl_pct - 1e-9


def wild_lane(seed: int) -> Lane:
    """Prices that double and halve within bars, ruinous costs and funding, flagged bars, marks of their own."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    rough = rng.choice([0.05, 0.4, 1.5])
    paths = np.exp(np.clip(np.cumsum(rng.standard_t(3, (count, 4)) * rough / 2, axis=None), -20, 20)).reshape(count, 4)
    bars = [
        Bar(START + k * 60_000_000, path[0], path.max(), path.min(), path[-1], bool(rng.random() < 0.85))
        for k, path in enumerate(paths)
    ]
    payments = [
        (START + k * 60_000_000, float(rng.uniform(-0.1, 0.1))) for k in range(0, count, int(rng.integers(1, 5)))
    ]
    mark = None
    if rng.random() < 0.5:
        own = paths * np.exp(rng.normal(0.0, 0.5, (count, 1)))
        mark = pl.DataFrame({"open": own[:, 0], "high": own.max(axis=1), "low": own.min(axis=1)})
        mark = mark.with_columns(stamps([bar.ts for bar in bars]))
    made = Bars.from_frame(frame_of(bars), "1m", funding=funding_of(payments), mark=mark)
    bits = rng.choice(16, count, p=[0.4, *[0.04] * 15]).astype(np.uint8)
    levels = {name: float(rng.uniform(0.01, 0.5)) for name in ("stop", "target", "trail") if rng.random() < 0.3}
    rules = MarginRules(100.0, ((float("inf"), float(rng.choice([0.0, 0.005, 0.009]))),))
    signals = Signals.from_arrays(
        bits, made, rules, leverage=float(rng.choice([1.0, 1.0, 3.0, 50.0, 100.0])), size=float(rng.choice([1.0, 0.3])),
        **levels,
    )  # fmt: skip
    return Lane(made, signals, Costs(*rng.choice([[0.0006, 0.0002, 0.0002], [0.02, 0.0, 0.05]])), rules)


@settings(max_examples=250)
@given(seeds)
def test_no_equity_is_ever_below_zero_and_no_trade_costs_more_than_there_was(seed: int) -> None:
    lane = wild_lane(seed)
    result = run_lanes([lane], trades=True, equity=True)[0]
    assert result.equity.min() >= 0.0
    assert result.hourly.min() >= 0.0
    assert result.worst_pnl_pct >= -100.0
    idle = replace(lane, signals=Signals(np.zeros(len(lane.bars), dtype=np.uint8)))
    together = pool(run_lanes([lane, idle, idle]))
    assert together.equity.min() >= 2.0 / 3.0 - 1e-12
    trades = result.trades_frame()
    assert (-trades["pnl"] <= trades["equity"] * (1 + 1e-9)).all()


@settings(max_examples=120)
@given(seeds)
def test_no_position_lives_through_a_price_that_liquidates_it(seed: int) -> None:
    """Inside a bar, too: what is still held after a sound bar was above its liquidation throughout."""
    lane = wild_lane(seed)
    result = run_lanes([replace(lane, costs=Costs.free())], trades=True)[0]
    low, high = (lane.bars.low, lane.bars.high) if lane.bars.mark is None else (lane.bars.mark[2], lane.bars.mark[1])
    rate = lane.rules.highest_rate()
    for row in result.trade_rows:
        entered, left, side, entry, leverage = int(row[0]), int(row[1]), row[2], row[3], row[11]
        survived = [t for t in range(entered, left) if lane.bars.state[t] & FILLABLE]
        level = entry * (1 - side / leverage) / (1 - side * rate)
        for t in survived:
            assert low[t] > level if side > 0 else high[t] < level


def test_the_favourable_order_can_be_worse_where_there_is_a_trail() -> None:
    worse = sum(
        result.favourable_pnl_pct < result.total_pnl_pct - 1e-9
        for result in run_lanes([random_case(seed).lane for seed in range(150)])
    )
    assert 0 < worse < 40
