"""The rules of a lane, one small situation each, with numbers that fit on a napkin."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from lane_cases import START, frame_of, funding_of, stamps
from reference import Bar

from backtester import Bars, Costs, Lane, LaneResult, MarginRules, Signals, pool, run_lanes
from backtester.simulation.bar_arrays import Minutes

MINUTE = 60_000_000
FREE = Costs.free()
Row = tuple[float, float, float, float]


def bars_of(*rows: Row, skip: tuple[int, ...] = (), flagged: tuple[int, ...] = (), step: int = MINUTE) -> list[Bar]:
    return [Bar(START + k * step, *row, sound=k not in flagged) for k, row in enumerate(rows) if k not in skip]


def play(
    bars: list[Bar],
    *,
    costs: Costs = FREE,
    payments: list[tuple[int, float]] | None = None,
    timeframe: Any = "1m",
    minutes: list[Bar] | None = None,
    rules: MarginRules | None = None,
    marks: list[Row] | None = None,
    **columns: Any,
) -> LaneResult:
    """Run hand-made bars; signal columns are given as {row: value}."""
    mark = None
    if marks is not None:
        mark = pl.DataFrame(marks, schema=["open", "high", "low", "close"], orient="row")
        mark = mark.with_columns(stamps([b.ts for b in bars]))
    made = Bars.from_frame(frame_of(bars), timeframe, funding=funding_of(payments or []), mark=mark)
    if minutes is not None:
        made = replace(made, minutes=Minutes.from_frame(frame_of(minutes)))
    frame = {"ts": stamps([b.ts for b in bars])}
    for name, given in columns.items():
        dtype = pl.Boolean if name.endswith(("entry", "exit")) else pl.Float64
        values = [given.get(k) for k in range(len(bars))] if isinstance(given, dict) else [given] * len(bars)
        frame[name] = pl.Series(name, values, dtype=dtype)
    rules = rules or MarginRules()
    signals = Signals.from_frame(pl.DataFrame(frame), made, rules)
    return run_lanes([Lane(made, signals, costs, rules)], trades=True, equity=True)[0]


def exits(result: LaneResult) -> list[tuple[str, float, str]]:
    return [(t["side"], round(t["exit_price"], 9), t["exit_reason"]) for t in result.trades_frame().to_dicts()]


FLAT: Row = (100.0, 100.0, 100.0, 100.0)


def test_a_signal_fills_at_the_next_open_worse_by_the_slippage() -> None:
    bars = bars_of(FLAT, (102.0, 103.0, 101.0, 102.5), (104.0, 104.0, 104.0, 104.0), FLAT)
    result = play(bars, costs=Costs(0.001, 0.0, 0.01), long_entry={0: True}, long_exit={1: True})
    trade = result.trades_frame().to_dicts()[0]
    assert trade["entry_price"] == pytest.approx(102 * 1.01)
    assert trade["exit_price"] == pytest.approx(104 * 0.99)
    notional = 10_000 / 1.001  # margin and fee are what there is
    assert trade["quantity"] == pytest.approx(notional / (102 * 1.01))
    assert trade["fees"] == pytest.approx(0.001 * (notional + trade["quantity"] * 104 * 0.99))


def test_the_last_signal_of_a_window_does_nothing() -> None:
    assert play(bars_of(FLAT, FLAT), long_entry={1: True}).trades == 0
    assert play(bars_of(FLAT, FLAT), long_entry={0: True}).trades == 1


@pytest.mark.parametrize(
    ("columns", "trades"),
    [
        ({"long_entry": {0: True}, "short_entry": {0: True}}, []),
        ({"long_entry": {0: True}, "long_exit": {0: True}}, []),
        ({"long_entry": {0: True}, "short_exit": {0: True}}, [("long", 100.0, "open")]),
        ({"long_entry": {0: True, 2: True}}, [("long", 100.0, "open")]),
        ({"long_entry": {0: True}, "short_entry": {2: True}}, [("long", 100.0, "reversal"), ("short", 100.0, "open")]),
        (
            {"long_entry": {0: True}, "short_entry": {2: True}, "long_exit": {2: True}},
            [("long", 100.0, "reversal"), ("short", 100.0, "open")],
        ),
        ({"long_entry": {0: True, 2: True}, "short_entry": {2: True}}, [("long", 100.0, "open")]),
        ({"long_entry": {0: True}, "short_exit": {2: True}}, [("long", 100.0, "open")]),
        ({"short_entry": {0: True}, "short_exit": {1: True}}, [("short", 100.0, "signal")]),
    ],
)
def test_what_a_close_decides(columns: dict[str, Any], trades: list[Any]) -> None:
    assert exits(play(bars_of(*[FLAT] * 6), **columns)) == trades


@pytest.mark.parametrize("how", ["skip", "flagged"])
def test_an_entry_lapses_and_an_exit_waits_over_a_gap(how: str) -> None:
    rows = [FLAT] * 4 + [(105.0, 105.0, 105.0, 105.0)] * 3
    gap: dict[str, Any] = {how: (1,)}
    assert play(bars_of(*rows, **gap), long_entry={0: True}).trades == 0
    gap = {how: (3,)}
    result = play(bars_of(*rows, **gap), long_entry={0: True}, long_exit={2: True})
    assert exits(result) == [("long", 105.0, "signal")]


def test_a_reversal_over_a_gap_is_an_exit() -> None:
    rows = [FLAT] * 4 + [(105.0, 105.0, 105.0, 105.0)] * 3
    result = play(bars_of(*rows, flagged=(3,)), long_entry={0: True}, short_entry={2: True})
    assert exits(result) == [("long", 105.0, "reversal")]
    both = play(
        bars_of(*rows, flagged=(3,)), long_entry={0: True}, short_entry={2: True}, long_exit={2: True}
    )  # fmt: skip
    assert exits(both) == [("long", 105.0, "reversal")]


def test_nothing_triggers_in_a_flagged_bar_but_it_marks() -> None:
    rows = [FLAT, FLAT, (100.0, 100.0, 80.0, 90.0), (99.0, 99.0, 99.0, 99.0)]
    result = play(bars_of(*rows, flagged=(2,)), long_entry={0: True, 2: True}, stop={0: 0.05})
    assert exits(result) == [("long", 99.0, "open")]
    assert result.equity.tolist() == pytest.approx([1.0, 1.0, 0.9, 0.99])


def test_stop_target_and_jump() -> None:
    drop = (100.0, 100.5, 97.0, 98.0)
    assert exits(play(bars_of(FLAT, FLAT, drop), long_entry={0: True}, stop={0: 0.02})) == [("long", 98.0, "stop")]
    assert exits(play(bars_of(FLAT, drop), long_entry={0: True}, stop={0: 0.02})) == [("long", 98.0, "stop")]
    assert exits(play(bars_of(FLAT, FLAT, drop), short_entry={0: True}, target={0: 0.02})) == [
        ("short", 98.0, "target")
    ]
    jump = (97.0, 97.0, 96.0, 96.5)
    assert exits(play(bars_of(FLAT, FLAT, jump), long_entry={0: True}, stop={0: 0.02})) == [("long", 97.0, "stop")]
    assert exits(play(bars_of(FLAT, FLAT, jump), short_entry={0: True}, target={0: 0.02})) == [
        ("short", 98.0, "target")
    ]


def test_targets_do_not_slip_and_stops_do() -> None:
    costs = Costs(0.0, 0.0, 0.01)
    wide = (100.0, 110.0, 100.0, 105.0)
    up = play(bars_of(FLAT, FLAT, wide), costs=costs, long_entry={0: True}, target={0: 0.05})
    assert up.trades_frame()["exit_price"][0] == pytest.approx(101 * 1.05)
    down = play(bars_of(FLAT, FLAT, wide), costs=costs, short_entry={0: True}, stop={0: 0.05})
    assert down.trades_frame()["exit_price"][0] == pytest.approx(99 * 1.05 * 1.01)


def test_stop_before_target_and_both_replays_are_kept() -> None:
    both = (100.0, 104.0, 97.0, 100.0)
    result = play(bars_of(FLAT, FLAT, both), long_entry={0: True}, stop={0: 0.02}, target={0: 0.03})
    assert exits(result) == [("long", 98.0, "stop")]
    assert (result.ambiguous, result.unresolved) == (1, 1)
    assert result.worst_pnl_pct == pytest.approx(-2.0)
    assert result.favourable_pnl_pct == result.best_pnl_pct == pytest.approx(3.0)


def test_a_trail_ratchets_after_the_bar_and_favourably_within_it() -> None:
    trailed: dict[str, Any] = {"long_entry": {0: True}, "trail": {0: 0.05}}
    calm = play(bars_of(FLAT, FLAT, (106.0, 110.0, 105.5, 108.0), (108.0, 108.0, 103.0, 104.0)), **trailed)
    assert exits(calm) == [("long", 105.0, "trail")]
    assert calm.ambiguous == 0
    wild = play(bars_of(FLAT, FLAT, (106.0, 110.0, 104.0, 109.0), (109.0, 109.0, 107.0, 107.0)), **trailed)
    assert exits(wild) == [("long", 107.0, "open")]
    assert wild.ambiguous == 1
    assert wild.favourable_pnl_pct == pytest.approx(5.0)  # 110 first, then down through 105 in the same bar
    assert (wild.worst_pnl_pct, wild.best_pnl_pct) == (wild.favourable_pnl_pct, wild.total_pnl_pct)


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_target_may_come_after_the_trail_that_followed_the_price(side: str) -> None:
    """Filled at 100, target 3 %, trail 1 %: up to 101.6, down to 100.1, up to 103.5 leaves by the trail at 100.6."""

    def seen(row: Row) -> Row:
        o, high, low, close = row
        return row if side == "long" else (200 - o, 200 - low, 200 - high, 200 - close)

    def price(of_long: float) -> float:
        return of_long if side == "long" else 200 - of_long

    columns: dict[str, Any] = {f"{side}_entry": {0: True}, "target": {0: 0.03}, "trail": {0: 0.01}}
    five = 5 * MINUTE
    bars = bars_of(FLAT, seen((100.0, 103.5, 100.0, 103.5)), step=five)
    up: list[Row] = [(100.0, 100.9, 100.0, 100.9), (100.9, 101.6, 100.9, 101.6)]
    inside = [*up, (101.6, 101.6, 100.1, 100.1), (100.1, 103.5, 100.1, 103.5), (103.5, 103.5, 103.5, 103.5)]
    minutes = bars_of(*[FLAT] * 5, *(seen(row) for row in inside))
    alone = play(bars, timeframe="5m", **columns)
    assert exits(alone) == [(side, 100.0, "trail")]  # the bar's worst price: no worse is possible
    assert (alone.ambiguous, alone.unresolved) == (1, 1)
    assert (alone.worst_pnl_pct, alone.best_pnl_pct) == (pytest.approx(0.0), pytest.approx(3.0))
    settled = play(bars, timeframe="5m", minutes=minutes, **columns)
    assert exits(settled) == [(side, pytest.approx(price(100.6)), "trail")]
    assert (settled.ambiguous, settled.unresolved) == (1, 0)
    straight = [*up, (101.6, 102.4, 101.6, 102.4), (102.4, 103.5, 102.4, 103.5), (103.5, 103.5, 103.5, 103.5)]
    minutes = bars_of(*[FLAT] * 5, *(seen(row) for row in straight))
    assert exits(play(bars, timeframe="5m", minutes=minutes, **columns)) == [(side, price(103.0), "target")]


def test_a_target_without_a_way_back_to_the_trail_is_certain() -> None:
    columns: dict[str, Any] = {"long_entry": {0: True}, "target": {0: 0.03}, "trail": {0: 0.01}}
    calm = play(bars_of(FLAT, (102.5, 103.5, 102.1, 103.0)), **columns)
    assert calm.ambiguous == 1  # filled at 102.5: target 105.575, trail 101.475 to 102.475
    calm = play(bars_of(FLAT, FLAT, (102.5, 103.5, 102.1, 103.0)), **columns)
    assert exits(calm) == [("long", 103.0, "target")]
    assert calm.ambiguous == 0


@pytest.mark.parametrize(("up_first", "reason", "price"), [(True, "target", 103.0), (False, "stop", 98.0)])
def test_minutes_settle_the_order_inside_a_longer_bar(up_first: bool, reason: str, price: float) -> None:
    five = 5 * MINUTE
    calm = bars_of(*[FLAT] * 10)
    up, down = (100.0, 104.0, 100.0, 100.0), (100.0, 100.0, 97.0, 100.0)
    busy = [FLAT, up, FLAT, down, FLAT] if up_first else [FLAT, down, FLAT, up, FLAT]
    minutes = calm + [Bar(START + (10 + k) * MINUTE, *row) for k, row in enumerate(busy)]
    bars = bars_of(FLAT, FLAT, (100.0, 104.0, 97.0, 100.0), step=five)
    columns: dict[str, Any] = {"long_entry": {0: True}, "stop": {0: 0.02}, "target": {0: 0.03}}
    result = play(bars, timeframe="5m", minutes=minutes, **columns)
    assert exits(result) == [("long", price, reason)]
    assert (result.ambiguous, result.unresolved) == (1, 0)
    assert result.worst_pnl_pct == result.best_pnl_pct
    lost = play(bars, timeframe="5m", minutes=minutes[:-1], **columns)
    assert exits(lost) == [("long", 98.0, "stop")]
    assert (lost.ambiguous, lost.unresolved) == (1, 1)


def test_the_time_stop_takes_the_first_fillable_bar_at_or_after() -> None:
    rows = [FLAT] * 3 + [(105.0, 105.0, 105.0, 105.0), (106.0, 106.0, 106.0, 106.0)]
    result = play(bars_of(*rows), long_entry={0: True}, time_stop={0: 2})
    assert exits(result) == [("long", 105.0, "time")]
    result = play(bars_of(*rows, flagged=(3,)), long_entry={0: True}, time_stop={0: 2})
    assert exits(result) == [("long", 106.0, "time")]


def test_funding_is_paid_on_positions_held_before_it() -> None:
    bars = bars_of(FLAT, FLAT, (110.0, 110.0, 110.0, 110.0), FLAT)
    at = [(START + k * MINUTE, 0.01) for k in range(4)]
    result = play(bars, payments=at, long_entry={0: True}, long_exit={1: True})
    assert result.trades_frame()["funding"][0] == pytest.approx(110.0)  # at the exit's open, not at the entry's
    short = play(bars, payments=at, short_entry={0: True}, short_exit={1: True})
    assert short.trades_frame()["funding"][0] == pytest.approx(-110.0)
    assert short.funding_pct == pytest.approx(-1.1)
    assert result.funding_known == 1.0
    assert play(bars, long_entry={0: True}).funding_known == 0.0


def test_a_payment_stamped_milliseconds_after_its_minute_is_of_that_minute() -> None:
    bars = bars_of(FLAT, FLAT, (110.0, 110.0, 110.0, 110.0), FLAT)
    for late in (0, 3_000, 5_000_000):
        at = [(START + MINUTE + late, 0.01), (START + 2 * MINUTE + late, 0.01)]
        result = play(bars, payments=at, long_entry={0: True})  # fills at the open of the first payment's bar
        assert result.trades_frame()["funding"][0] == pytest.approx(110.0)
    inside = play(bars, payments=[(START + MINUTE + 30_000_000, 0.01)], long_entry={0: True})
    assert inside.trades_frame()["funding"][0] == pytest.approx(110.0)  # at the next open: it was held by then


def test_funding_is_known_by_the_interval_of_its_time() -> None:
    hour = 60 * MINUTE
    eight, one = [START + 8 * k * hour for k in range(10)], [START + (72 + k) * hour for k in range(1, 49)]
    bars = [Bar(START + k * hour, *FLAT) for k in range(120)]

    def known(payments: list[int]) -> float | None:
        paid = [(when, 1e-4) for when in payments]
        return play(bars, payments=paid, timeframe="60m", long_entry={0: True}).funding_known

    assert known(eight + one) == 1.0
    assert known(sorted(set(eight + one) - {eight[4]})) == pytest.approx(1 - 16 / 119)
    assert known(sorted(set(eight + one) - {one[20]})) == pytest.approx(1 - 2 / 119)
    assert known([when for when in eight if when != eight[4] and when != eight[5]]) == pytest.approx(
        (80 - 24 - 1) / 119
    )
    assert known([START + 24 * k * hour for k in range(5)]) == 1.0


def test_funding_at_the_end_of_a_window_is_the_next_windows() -> None:
    price = (100.0, 100.0, 100.0, 100.0)
    bars = bars_of(*[price] * 4)
    for row, paid in ((3, 1.0), (4, 0.0)):  # at the last bar's open, and at the window's end
        moment = START + row * MINUTE
        result = play(bars, long_entry={0: True}, payments=[(moment, 0.01)])
        assert result.funding_pct == pytest.approx(paid)


def test_funding_inside_a_bar_is_charged_but_not_credited_to_a_position_that_leaves_in_it() -> None:
    drop = (100.0, 100.5, 97.0, 98.0)
    inside = [(START + 2 * MINUTE + MINUTE // 2, 0.01)]
    paid = play(bars_of(FLAT, FLAT, drop), payments=inside, long_entry={0: True}, stop={0: 0.02})
    assert paid.trades_frame()["funding"][0] == pytest.approx(100.0)
    earned = play(bars_of(FLAT, FLAT, drop), payments=[(inside[0][0], -0.01)], long_entry={0: True}, stop={0: 0.02})
    assert earned.trades_frame()["funding"][0] == 0.0
    kept = play(bars_of(FLAT, FLAT, drop, FLAT), payments=[(inside[0][0], -0.01)], long_entry={0: True})
    assert kept.trades_frame()["funding"][0] == pytest.approx(-100.0)


@pytest.mark.parametrize(("side", "low", "high", "level"), [("long", 89.0, 101.0, 90.0), ("short", 99.0, 111.0, 110.0)])
def test_liquidation_takes_the_margin_and_no_more(side: str, low: float, high: float, level: float) -> None:
    rules = MarginRules(20.0, ((float("inf"), 0.01),))
    columns: dict[str, Any] = {f"{side}_entry": {0: True}, "leverage": 10.0, "size": 0.5}
    crash = play(bars_of(FLAT, FLAT, (100.0, high, low, 100.0), FLAT), rules=rules, **columns)
    assert exits(crash) == [(side, level, "liquidation")]
    assert crash.total_pnl_pct == pytest.approx(-50.0)
    assert crash.liquidations == 1
    price = 95.0 if side == "long" else 105.0
    calm = play(bars_of(FLAT, FLAT, (100.0, max(price, 100.0), min(price, 100.0), price), FLAT), rules=rules, **columns)
    assert calm.liquidations == 0
    gap = 50.0 if side == "long" else 200.0
    jump = play(bars_of(FLAT, FLAT, (gap, gap, gap, gap), FLAT), rules=rules, stop={0: 0.02}, **columns)
    assert exits(jump) == [(side, level, "liquidation")]
    assert jump.total_pnl_pct == pytest.approx(-50.0)


def test_the_tier_of_the_notional_sets_the_liquidation_price() -> None:
    crash = (100.0, 100.0, 90.8, 95.0)
    columns: dict[str, Any] = {"long_entry": {0: True}, "leverage": 10.0}
    low = MarginRules(20.0, ((100_000.0, 0.005), (1e9, 0.02)))  # liquidated at 90.45
    high = MarginRules(20.0, ((99_999.0, 0.005), (1e9, 0.02)))  # at 91.84
    assert play(bars_of(FLAT, FLAT, crash), rules=low, **columns).liquidations == 0
    assert play(bars_of(FLAT, FLAT, crash), rules=high, **columns).liquidations == 1


def test_a_reversal_compounds_within_one_open() -> None:
    bars = bars_of(FLAT, FLAT, (110.0, 110.0, 110.0, 110.0), (99.0, 99.0, 99.0, 99.0))
    result = play(bars, long_entry={0: True}, short_entry={1: True})
    assert result.equity[-1] == pytest.approx(1.1 * 1.1)


def test_after_ruin_nothing_is_entered() -> None:
    bars = bars_of(FLAT, FLAT, (250.0, 250.0, 250.0, 250.0), FLAT, FLAT, FLAT)
    result = play(bars, short_entry={0: True}, short_exit={1: True}, long_entry={3: True})
    assert exits(result) == [("short", 200.0, "liquidation")]
    assert result.total_pnl_pct == -100.0
    assert result.max_drawdown == 1.0
    assert result.equity.min() == 0.0


HOUR = 60 * MINUTE
RISEN: list[Row] = [
    (100.0, 100.0, 100.0, 100.0), (100.0, 101.0, 99.0, 100.0), (150.0, 160.0, 140.0, 150.0),
    (250.0, 260.0, 240.0, 250.0), (120.0, 130.0, 110.0, 120.0), (50.0, 55.0, 45.0, 50.0), (50.0, 50.0, 50.0, 50.0),
]  # fmt: skip


def test_a_short_without_leverage_does_not_survive_its_bankruptcy() -> None:
    result = play(bars_of(*RISEN, step=HOUR), timeframe="60m", short_entry={0: True}, short_exit={5: True})
    assert exits(result) == [("short", 200.0, "liquidation")]
    assert result.total_pnl_pct == -100.0
    assert result.equity.tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    idle = play(bars_of(*[FLAT] * 7, step=HOUR), timeframe="60m", long_entry={6: True})
    together = pool([result, idle, idle])
    assert together.total_pnl_pct == pytest.approx(-100.0 / 3.0)
    assert together.equity.min() == pytest.approx(2.0 / 3.0)


def test_a_short_without_leverage_is_liquidated_at_twice_its_entry_less_the_maintenance() -> None:
    rules = MarginRules(20.0, ((float("inf"), 0.01),))  # at 200 / 1.01 = 198.0198
    calm = [FLAT, FLAT, (100.0, 198.0, 100.0, 150.0), FLAT]
    columns: dict[str, Any] = {"short_entry": {0: True}, "size": 0.5}
    near = play(bars_of(*calm), rules=rules, **columns)
    assert (near.liquidations, near.total_pnl_pct) == (0, 0.0)
    for row in ((100.0, 198.1, 100.0, 150.0), (300.0, 400.0, 250.0, 250.0)):  # touched, and jumped over
        beyond = play(bars_of(FLAT, FLAT, row, FLAT), rules=rules, **columns)
        assert exits(beyond) == [("short", 200.0, "liquidation")]
        assert beyond.total_pnl_pct == pytest.approx(-50.0)
    stopped = play(bars_of(FLAT, FLAT, (100.0, 250.0, 100.0, 250.0), FLAT), rules=rules, stop={0: 0.2}, **columns)
    assert exits(stopped) == [("short", 120.0, "stop")]


def test_a_short_in_eight_calm_bars_is_liquidated_as_well() -> None:
    """Bars on which nothing happens are taken eight at a time: the liquidation ends that for shorts, too."""
    rising = [(100.0 + k, 101.0 + k, 99.0 + k, 100.0 + k) for k in range(120)]
    result = play(bars_of(FLAT, *rising), short_entry={0: True})
    assert exits(result) == [("short", 200.0, "liquidation")]
    assert result.trade_rows[0, 1] == 100  # the first high at or above 199.005: 200, of bar 100
    assert result.equity.min() == 0.0


def test_marks_decide_on_shorts_without_leverage_too() -> None:
    high = (100.0, 210.0, 100.0, 210.0)
    bars, columns = [FLAT, FLAT, high, FLAT], {"short_entry": {0: True}}
    by_mark = play(bars_of(*bars), marks=[FLAT] * 4, **columns)
    assert (by_mark.liquidations, by_mark.liquidation_price) == (0, "mark")
    assert by_mark.equity.tolist() == [1.0, 1.0, 0.0, 1.0]  # last prices say more than all is lost: nothing is left
    assert play(bars_of(*bars), **columns).liquidations == 1
    assert play(bars_of(*[FLAT] * 4), marks=bars, **columns).liquidations == 1


def test_minutes_settle_what_does_not_hang_on_the_mark() -> None:
    five = 5 * MINUTE
    busy = (100.0, 104.0, 97.0, 100.0)
    inside = [FLAT, (100.0, 100.0, 97.0, 100.0), FLAT, (100.0, 104.0, 100.0, 100.0), FLAT]
    minutes = bars_of(*[FLAT] * 10, *inside)
    columns: dict[str, Any] = {"short_entry": {0: True}, "stop": {0: 0.03}, "target": {0: 0.02}}
    bars = bars_of(FLAT, FLAT, busy, step=five)
    away = play(bars, timeframe="5m", minutes=minutes, marks=[FLAT, FLAT, busy], **columns)
    assert exits(away) == [("short", 98.0, "target")]
    assert (away.ambiguous, away.unresolved) == (1, 0)
    there = play(bars, timeframe="5m", minutes=minutes, marks=[FLAT, FLAT, (100.0, 300.0, 97.0, 100.0)], **columns)
    assert exits(there) == [("short", 103.0, "stop")]
    assert (there.ambiguous, there.unresolved) == (1, 1)


@pytest.mark.parametrize("side", ["long", "short"])
def test_an_order_is_cut_to_what_margin_and_fee_allow(side: str) -> None:
    costs = Costs(0.0006, 0.0, 0.0)
    gone = (10.0,) * 4 if side == "long" else (1000.0,) * 4
    columns: dict[str, Any] = {f"{side}_entry": {0: True}, "leverage": 50.0}
    ruined = play(bars_of(FLAT, FLAT, gone, FLAT), costs=costs, **columns)
    assert exits(ruined)[0][2] == "liquidation"
    assert ruined.total_pnl_pct == -100.0
    trade = ruined.trades_frame().to_dicts()[0]
    notional = 10_000 / (1 / 50 + 0.0006)
    assert trade["quantity"] * trade["entry_price"] == pytest.approx(notional)
    assert trade["fees"] == pytest.approx(0.0006 * notional)
    assert trade["pnl"] == pytest.approx(-notional / 50 - trade["fees"]) == pytest.approx(-10_000.0)
    part = play(bars_of(FLAT, FLAT, gone, FLAT), costs=costs, size=0.9, **columns)
    assert part.total_pnl_pct == pytest.approx(-90.0 - 100.0 * 0.0006 * 0.9 * 50)  # there is room for the fee: not cut


def test_funding_takes_the_margin_and_no_more() -> None:
    """Eleven payments of a tenth leave nothing of a long at 1x: it is over, and not in debt."""
    at = [(START + k * MINUTE, 0.1) for k in range(2, 13)]
    result = play(bars_of(*[FLAT] * 14), payments=at, long_entry={0: True})
    assert exits(result)[0][2] == "liquidation"
    assert result.total_pnl_pct == -100.0
    assert result.equity.min() == 0.0


def test_a_flagged_bar_marks_no_debt() -> None:
    rows = [FLAT, FLAT, (300.0, 300.0, 300.0, 300.0), FLAT]
    result = play(bars_of(*rows, flagged=(2,)), short_entry={0: True}, size=0.5)
    assert result.equity.tolist() == [1.0, 1.0, 0.5, 1.0]


def test_exposure_is_the_share_of_time_and_not_of_bars_touched() -> None:
    """In at one open, out at the next, for 198 of 200 bars."""
    entries, ends = dict.fromkeys(range(0, 197, 2), True), dict.fromkeys(range(1, 198, 2), True)
    result = play(bars_of(*[FLAT] * 200), long_entry=entries, long_exit=ends)
    assert result.trades == 99
    assert result.exposure == 0.495
    stopped = play(bars_of(FLAT, (100.0, 100.0, 90.0, 95.0), FLAT, FLAT), long_entry={0: True}, stop=0.02)
    assert stopped.exposure == 0.25  # it ended somewhere inside its bar


def test_an_open_position_counts_as_closed_at_the_mark_less_costs() -> None:
    costs = Costs(0.001, 0.0, 0.0)
    result = play(bars_of(FLAT, FLAT, (90.0, 90.0, 90.0, 90.0)), costs=costs, long_entry={0: True})
    assert (result.trades, result.win_rate, result.open_at_end) == (1, 0.0, True)
    assert result.avg_pnl_pct == pytest.approx(-10.0 - 0.1 - 0.09)
    assert result.total_pnl_pct == pytest.approx((-10.0 - 0.1) / 1.001)  # of the equity that paid margin and fee
    assert str(result.trades_frame()["exit_ts"][0]) == "2025-06-01 00:03:00+00:00"


COSTLY = Costs(0.001, 0.0002, 0.01, maker_targets=True)


def mirrored(side: str, *rows: Row) -> list[Bar]:
    """Bars of a long, or around 100 those of a short that meets the same."""
    if side == "long":
        return bars_of(*rows)
    return bars_of(*((200 - o, 200 - low, 200 - high, 200 - close) for o, high, low, close in rows))


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_limit_order_is_filled_at_its_price_where_the_next_bar_trades_through_it(side: str) -> None:
    order: dict[str, Any] = {f"{side}_entry": {0: True}, "entry_limit": {0: 0.02}, "costs": COSTLY}
    price = 98.0 if side == "long" else 102.0
    through = play(mirrored(side, FLAT, (100.0, 101.0, 97.9, 99.0), FLAT), **order)
    trade = through.trades_frame().to_dicts()[0]
    assert (trade["entry_price"], trade["entry_ts"].minute) == (pytest.approx(price), 1)
    notional = 10_000 / 1.0002  # the maker's fee, and no slippage
    assert trade["quantity"] == pytest.approx(notional / price)
    assert (through.limit_orders, through.limit_fills) == (1, 1)
    # at the price itself, others may have been before it; and it rests for no second bar
    touched = play(mirrored(side, FLAT, (100.0, 101.0, 98.0, 99.0), (99.0, 99.0, 90.0, 95.0)), **order)
    assert (touched.trades, touched.limit_orders, touched.limit_fills) == (0, 1, 0)
    assert play(mirrored(side, FLAT, FLAT), long_entry={0: True}).limit_fills is None


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_limit_order_that_opens_beyond_its_price_is_a_takers_and_no_worse(side: str) -> None:
    order: dict[str, Any] = {f"{side}_entry": {0: True}, "entry_limit": {0: 0.02}, "costs": COSTLY}
    far, near = ((95.0, 95.0, 95.0, 95.0), (97.5, 97.5, 97.5, 97.5))
    taken = play(mirrored(side, FLAT, far), **order).trades_frame().to_dicts()[0]
    opened, slip = (95.0, 1.01) if side == "long" else (105.0, 0.99)
    assert taken["entry_price"] == pytest.approx(opened * slip)
    assert taken["quantity"] * taken["entry_price"] == pytest.approx(10_000 / 1.001)
    capped = play(mirrored(side, FLAT, near), **order).trades_frame().to_dicts()[0]
    assert capped["entry_price"] == pytest.approx(98.0 if side == "long" else 102.0)  # not 97.5 and its slippage


@pytest.mark.parametrize("side", ["long", "short"])
def test_what_came_before_the_fill_of_a_limit_order_is_not_taken_for_a_profit(side: str) -> None:
    """Open 100, up to 103, down to 97.9: the target of 102.9 was met before the fill at 98, or after it."""
    order: dict[str, Any] = {f"{side}_entry": {0: True}, "entry_limit": {0: 0.02}, "target": {0: 0.05 - 1e-9}}
    if side == "short":
        order["target"] = {0: 0.048}
    wide = (100.0, 103.0, 97.9, 98.0)
    result = play(mirrored(side, FLAT, wide, (98.0, 98.0, 98.0, 98.0)), **order)
    assert [reason for *_, reason in exits(result)] == ["open"]
    assert (result.ambiguous, result.unresolved) == (1, 1)
    assert result.worst_pnl_pct == pytest.approx(0.0)
    assert result.best_pnl_pct == pytest.approx(100 * order["target"][0])


@pytest.mark.parametrize("first", ["the high", "the low"])
def test_minutes_settle_what_came_before_the_fill_of_a_limit_order(first: str) -> None:
    high, low = (100.0, 103.0, 100.0, 100.0), (100.0, 100.0, 97.9, 98.0)
    back = (98.0, 103.0, 98.0, 98.0)
    inside = [FLAT, high, low] if first == "the high" else [FLAT, low, back]
    rest = (98.0, 98.0, 98.0, 98.0)
    minutes = bars_of(*[FLAT] * 5, *inside, rest, rest)
    bars = bars_of(FLAT, (100.0, 103.0, 97.9, 98.0), step=5 * MINUTE)
    order: dict[str, Any] = {"long_entry": {0: True}, "entry_limit": {0: 0.02}, "target": {0: 0.05}}
    result = play(bars, timeframe="5m", minutes=minutes, **order)
    assert exits(result) == ([("long", 98.0, "open")] if first == "the high" else [("long", 102.9, "target")])
    assert (result.ambiguous, result.unresolved) == (1, 0)


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_stop_beyond_the_price_of_a_limit_order_is_met_after_it(side: str) -> None:
    order: dict[str, Any] = {f"{side}_entry": {0: True}, "entry_limit": {0: 0.02}, "stop": {0: 0.01}}
    result = play(mirrored(side, FLAT, (100.0, 100.0, 96.0, 99.0), FLAT), **order)
    price = 98.0 * 0.99 if side == "long" else 102.0 * 1.01
    assert exits(result) == [(side, pytest.approx(price), "stop")]
    assert result.ambiguous == 0, "a price that falls through 98 to 96 fills first and stops then, whatever came before"


def test_a_trail_of_a_limit_order_follows_no_price_from_before_its_fill() -> None:
    order: dict[str, Any] = {"long_entry": {0: True}, "entry_limit": {0: 0.02}, "trail": {0: 0.01}}
    after = (98.0, 98.0, 97.5, 97.8)
    result = play(bars_of(FLAT, (100.0, 103.0, 97.9, 98.0), after, after), **order)
    assert exits(result) == [("long", 97.8, "open")]  # from 98 it is at 97.02; from 103 it would have been met
    assert (result.ambiguous, result.unresolved) == (1, 1)
    assert result.best_pnl_pct == pytest.approx(100 * (102.02 / 98 - 1))


def test_funding_inside_the_bar_of_a_limit_order_is_charged_and_never_received() -> None:
    order: dict[str, Any] = {"long_entry": {0: True}, "entry_limit": {0: 0.02}, "timeframe": "1d"}
    day = 1440 * MINUTE
    bars = bars_of(FLAT, (100.0, 100.0, 97.0, 98.0), (98.0, 98.0, 98.0, 98.0), step=day)
    inside = START + day + 480 * MINUTE
    for rate, paid in ((0.01, True), (-0.01, False)):
        trade = play(bars, payments=[(inside, rate)], **order).trades_frame().to_dicts()[0]
        assert (trade["funding"] > 0, trade["funding"] < 0) == (paid, False)
        later = play(bars, payments=[(START + 2 * day, rate)], **order).trades_frame().to_dicts()[0]
        assert later["funding"] == pytest.approx(rate * trade["quantity"] * 98.0)


@pytest.mark.parametrize("far", [0.0, -0.01, 1.0, float("inf")])
def test_a_limit_order_beyond_reason_is_refused(far: float) -> None:
    with pytest.raises(ValueError, match=r"entry_limit .*fraction of the close between 0 and 1"):
        play(bars_of(FLAT, FLAT), long_entry={0: True}, entry_limit={0: far})


def test_a_fill_slips_by_the_root_of_its_share_of_what_its_bar_traded() -> None:
    bars = bars_of(FLAT, FLAT, FLAT, FLAT)
    for bar, traded in zip(bars, (1.0, 1e6, 40_000.0, 1.0), strict=True):
        bar.traded = traded
    costs = Costs(0.0, 0.0, 0.001, impact=0.02)
    trade = play(bars, costs=costs, long_entry={0: True}, long_exit={1: True}).trades_frame().to_dicts()[0]
    assert trade["entry_price"] == pytest.approx(100 * (1 + 0.001 + 0.02 * 0.1))  # 10,000 of a million: a hundredth
    sold = trade["quantity"] * 100.0
    assert trade["exit_price"] == pytest.approx(100 * (1 - 0.001 - 0.02 * (sold / 40_000.0) ** 0.5))
    for nothing in (0.0, None):  # nobody traded: the fill is all that there is
        bars[1].traded = nothing
        trade = play(bars, costs=costs, long_entry={0: True}, long_exit={1: True}).trades_frame().to_dicts()[0]
        assert trade["entry_price"] == pytest.approx(100 * 1.021)


@pytest.mark.parametrize("impact", [-0.1, 1.0, float("nan")])
def test_an_impact_beyond_reason_is_refused(impact: float) -> None:
    with pytest.raises(ValueError, match=r"impact is .*pass a fraction"):
        Costs(impact=impact)
