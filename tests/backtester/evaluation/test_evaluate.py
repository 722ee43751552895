"""Whole evaluations: lanes, pooling, windows, errors, `BacktestEngine`, and what stands beside a score."""

import math
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from toy import START, SYMBOLS, Broken, Momentum, Oracle, ToyManager, toy_source

from backtester import (
    BacktestEngine,
    Costs,
    Evaluation,
    MarginRules,
    Signals,
    StrategyLike,
    aggregate,
    evaluate,
    run_lanes,
)
from backtester.evaluation.robustness import (
    break_even,
    buy_and_hold,
    gather,
    pooled_curve,
    random_timing,
    scored_lanes,
    volume_share,
    with_costs,
)
from backtester.simulation import kernel
from backtester.simulation.bar_arrays import PRICES
from backtester.simulation.lanes import run_arrays
from features.bars import FUNDING_SCHEMA, MINUTES, TIMEFRAMES, FrameSource, Timeframe
from features.feature_manager import FeatureManager

DAY = timedelta(days=1)
BEGIN, END = START + DAY, START + 3 * DAY


@pytest.fixture(scope="module")
def manager() -> ToyManager:
    return ToyManager(toy_source())


def one(manager: ToyManager, strategy: StrategyLike | None = None, **options: object) -> Evaluation:
    return evaluate([strategy or Momentum()], manager, SYMBOLS, BEGIN, END, **options)[0]


def test_every_lane_is_run_and_the_declared_ones_are_scored(manager: ToyManager) -> None:
    result = one(manager)
    assert [(lane.timeframe, lane.symbol, lane.scored) for lane in result.lanes] == [
        (timeframe, symbol, timeframe != "1m") for timeframe in ("1m", "5m", "60m") for symbol in SYMBOLS
    ]
    assert result.pooled is not None
    assert result.pooled.lanes == len(result.scored) == 4
    assert result.pooled.trades == sum(lane.trades for lane in result.scored)
    assert result.trades.height == sum(lane.trades for lane in result.lanes)
    assert (result.equity["ts"][0], result.equity["ts"][-1], len(result.equity)) == (BEGIN, END, 49)
    assert result.equity["equity"][0] == 1.0
    assert all(lane.coverage == 1.0 for lane in result.lanes)
    assert (result.name, result.version, result.error) == ("momentum", "1", "")


def test_time_without_bars_is_no_return_of_zero(manager: ToyManager) -> None:
    exact, early = (evaluate([Momentum()], manager, SYMBOLS, at, END)[0].pooled for at in (START, START - 30 * DAY))
    assert early.start == START
    assert (early.sharpe, early.score, len(early.returns)) == (exact.sharpe, exact.score, len(exact.returns))
    source = manager.source
    night = pl.col("ts").is_between(BEGIN, BEGIN + timedelta(hours=7, minutes=59))
    frames = {tf: source.candles(SYMBOLS, tf, START, END).filter(~night) for tf in ("1m", "5m", "60m")}
    cut = ToyManager(FrameSource(frames, source.funding(SYMBOLS, None, END)))
    found = evaluate([Momentum()], cut, SYMBOLS, START, END)[0].pooled
    assert (len(found.returns), len(found.present_returns)) == (72, 64)
    present = found.present_returns
    assert found.sharpe == pytest.approx(present.mean() / present.std(ddof=1) * math.sqrt(8760))
    assert abs(found.sharpe) > abs(found.returns.mean() / found.returns.std(ddof=1) * math.sqrt(8760))


def test_hourly_equity_is_that_of_the_last_bar_closed(manager: ToyManager) -> None:
    result = one(manager, Momentum(length=120), equity=True)
    for lane in result.lanes:
        curve = lane.equity_frame()
        hours = result.equity["ts"].to_frame().join_asof(curve, on="ts")["equity"].fill_null(lane.capital)
        assert lane.hourly * lane.capital == pytest.approx(hours.to_numpy(), rel=1e-12)


def test_minutes_settle_longer_bars_even_if_nobody_trades_on_them(manager: ToyManager) -> None:
    class Tight(Momentum):
        def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
            return super().signals(frame).with_columns(stop=pl.lit(0.003), target=pl.lit(0.003))

    alone, together = (one(manager, Tight("tight"), timeframes=t).pooled for t in (("5m", "60m"), ("1m", "5m", "60m")))
    assert alone.score == together.score
    assert alone.ambiguous > alone.unresolved
    long_only = FrameSource({"60m": manager.source.candles(SYMBOLS, "60m", None, END)})
    blind = one(ToyManager(long_only), Tight("tight"), timeframes=("60m",)).pooled
    assert blind.unresolved == blind.ambiguous > 0


def test_a_window_starts_flat_and_trades_only_inside_itself(manager: ToyManager) -> None:
    trades = one(manager).trades
    assert trades["entry_ts"].min() > BEGIN
    assert trades["exit_ts"].max() <= END
    later = evaluate([Momentum()], manager, SYMBOLS, BEGIN + DAY, END)[0].trades
    assert later["entry_ts"].min() > BEGIN + DAY


def test_signals_at_the_first_bar_already_look_back(manager: ToyManager) -> None:
    first = one(manager, timeframes=("5m",)).trades["entry_ts"].min()
    assert first < BEGIN + timedelta(minutes=5 * 12)


def test_the_future_changes_nothing_before_it(manager: ToyManager) -> None:
    whole = one(manager).trades
    cut = BEGIN + DAY
    early = evaluate([Momentum()], manager, SYMBOLS, BEGIN, cut)[0].trades.filter(pl.col("exit_reason") != "open")
    same = whole.join(early, on=["symbol", "timeframe", "entry_ts", "exit_ts", "pnl_pct"], how="inner")
    assert len(same) == len(early) > 50


def test_many_strategies_at_once_are_each_as_if_alone(manager: ToyManager) -> None:
    several = [Momentum(f"m{k}", length=k) for k in (3, 6, 12)]
    for together, strategy in zip(evaluate(several, manager, SYMBOLS, BEGIN, END), several, strict=True):
        alone = one(manager, strategy)
        assert together.pooled.score == alone.pooled.score
        assert together.trades.equals(alone.trades)


def test_nothing_to_evaluate_gives_nothing(manager: ToyManager) -> None:
    assert evaluate([], manager, SYMBOLS, BEGIN, END) == []


def test_bad_signals_stop_everything_or_are_reported(manager: ToyManager) -> None:
    with pytest.raises(ValueError, match=r"row \d+ .* has stop 0") as caught:
        one(manager, Broken("broken"))
    assert caught.value.__notes__ == ["while evaluating broken"]
    good, bad = evaluate([Momentum(), Broken("broken")], manager, SYMBOLS, BEGIN, END, on_error="report")
    assert good.pooled.trades > 0
    assert bad.pooled is None
    assert bad.error.startswith("SignalError: signals of A-USDT 1m: row")
    with pytest.raises(ValueError, match="broken was not evaluated"):
        scored_lanes(bad)


def test_bad_requests_are_refused(manager: ToyManager) -> None:
    with pytest.raises(ValueError, match="is empty"):
        evaluate([Momentum()], manager, SYMBOLS, END, BEGIN)
    with pytest.raises(ValueError, match="no bars for A-USDT, B-USDT"):
        evaluate([Momentum()], manager, SYMBOLS, END + DAY, END + 2 * DAY)
    with pytest.raises(LookupError, match="unknown symbol Z-USDT"):
        evaluate([Momentum()], manager, ["Z-USDT"], BEGIN, END)
    with pytest.raises(ValueError, match="two strategies are named momentum"):
        evaluate([Momentum(), Momentum()], manager, SYMBOLS, BEGIN, END)
    with pytest.raises(ValueError, match="scored on 5m, 60m, none of 1m"):
        one(manager, timeframes=("1m",))
    bare = ToyManager(toy_source(1))
    del bare.source
    with pytest.raises(ValueError, match="no funding"):
        evaluate([Momentum()], bare, SYMBOLS, BEGIN, END)


def test_funding_can_be_given_and_counts(manager: ToyManager) -> None:
    free = one(manager, funding=pl.DataFrame(schema=FUNDING_SCHEMA))
    assert free.pooled.funding_pct == 0.0
    assert free.pooled.funding_known == 0.0
    assert one(manager).pooled.funding_known == 1.0
    assert one(manager).pooled.funding_pct != 0.0


def test_the_engine_speaks_the_users_language(manager: ToyManager) -> None:
    engine = BacktestEngine("A-USDT", "2025-06-02", date(2025, 6, 4))
    metrics = engine.run_strategy(Momentum(), manager).calculate_metrics()
    direct = evaluate([Momentum()], manager, ["A-USDT"], BEGIN, END, timeframes=("5m", "60m"))[0].pooled
    assert metrics["score"] == direct.score
    assert metrics["total_trades"] == metrics["trades"] == direct.trades == len(engine.trades)
    for name in ("sharpe", "win_rate", "max_drawdown", "avg_pnl", "total_pnl"):
        assert metrics[name] is not None
    assert engine.equity.equals(direct.equity_frame())

    class Tradable:
        def as_strategy(self) -> Momentum:
            return Momentum()

    assert engine.run_model(Tradable(), manager).calculate_metrics() == metrics
    assert engine.run_model(Momentum(), manager).calculate_metrics() == metrics


def test_the_engine_refuses_what_it_cannot_run(manager: ToyManager) -> None:
    with pytest.raises(RuntimeError, match="nothing has been run"):
        BacktestEngine("A-USDT", "2025-06-02", "2025-06-04").calculate_metrics()
    with pytest.raises(ValueError, match="not before"):
        BacktestEngine("A-USDT", "2025-06-04", "2025-06-02")
    with pytest.raises(ValueError, match="'yesterday' is not a date"):
        BacktestEngine("A-USDT", "yesterday", "2025-06-02")
    with pytest.raises(ValueError, match="is not UTC"):
        BacktestEngine("A-USDT", "2025-06-02T00:00:00+02:00", "2025-06-04")
    engine = BacktestEngine("Z-USDT", datetime(2025, 6, 2, tzinfo=UTC), "2025-06-04T00:00:00Z")
    with pytest.raises(LookupError, match="Z-USDT"):
        engine.run_strategy(Momentum(), manager)
    with pytest.raises(TypeError, match="has no timeframes, features, signals"):
        engine.run_model(object(), manager)


def test_it_runs_on_the_feature_manager() -> None:
    source = toy_source()
    real = FeatureManager(source, END)

    class Crossing(Momentum):
        def features(self, timeframe: str) -> list[str]:  # noqa: ARG002 - the protocol's argument
            return ["sma_20"]

        def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
            above = pl.col("close") > pl.col("sma_20")
            return frame.select("symbol", "ts", long_entry=above, long_exit=~above)

    result = evaluate([Crossing("crossing")], real, SYMBOLS, BEGIN, END)[0]
    assert result.pooled.trades > 20
    assert set(result.trades["side"]) == {"long"}


def test_leverage_limits_are_by_symbol(manager: ToyManager) -> None:
    class Geared(Momentum):
        def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
            return super().signals(frame).with_columns(leverage=pl.lit(5.0))

    rules = {"B-USDT": MarginRules(3.0)}
    found = one(manager, Geared("geared"), rules=rules).declared_trades
    assert dict(found.group_by("symbol").agg(pl.col("leverage").unique().item()).iter_rows()) == {
        "A-USDT": 5.0,
        "B-USDT": 3.0,
    }


def test_random_timing_tells_an_oracle_from_chance(manager: ToyManager) -> None:
    knows = scored_lanes(one(manager, Oracle("oracle")))
    found = random_timing(knows, seed=1)
    assert (found.shifts, found.p, found.least) == (47, 1 / 48, 1 / 48)  # two days of hours: 47 other times
    chance = scored_lanes(one(manager))
    told = random_timing(chance, seed=1)
    assert told == random_timing(chance, seed=2), "all shifts are replayed: nothing is drawn"
    assert told.p > 0.02
    idle = [replace(lane, signals=Signals(np.zeros(len(lane.bars), dtype=np.uint8))) for lane in chance]
    assert random_timing(idle, seed=1) is None


def test_random_timing_replays_each_shift_once(manager: ToyManager) -> None:
    lanes = [lane for lane in scored_lanes(one(manager, Momentum(length=3))) if lane.bars.timeframe == "60m"]

    def total(hours: int) -> float:
        moved = [replace(lane, signals=lane.signals.rolled([hours])[0]) for lane in lanes]
        return float(np.mean([result.total_pnl_pct for result in run_lanes(moved)]))

    as_good = sum(total(hours) >= total(0) - 1e-9 for hours in range(1, 48))
    assert random_timing(lanes, seed=1).p == pytest.approx((1 + as_good) / 48)
    some = random_timing(lanes, seed=1, draws=20)
    assert some.shifts == 20
    assert some == random_timing(lanes, seed=1, draws=20)


def test_buy_and_hold_explains_itself(manager: ToyManager) -> None:
    lanes = scored_lanes(one(manager))
    held = buy_and_hold(lanes)
    benchmark = [replace(lane, signals=Signals(np.ones(len(lane.bars), dtype=np.uint8))) for lane in lanes]
    same = buy_and_hold(benchmark)
    assert same.beta == pytest.approx(1.0)
    assert same.alpha == pytest.approx(0.0, abs=1e-9)
    returns, strategy = np.diff(pooled_curve(benchmark)), np.diff(pooled_curve(lanes))
    slope, intercept = np.polyfit(returns, strategy, 1)
    assert held.beta == pytest.approx(slope)
    assert held.alpha == pytest.approx(intercept * 8760)


def test_costs_break_even_where_the_replay_says(manager: ToyManager) -> None:
    lanes = scored_lanes(one(manager, Oracle("oracle")))
    slippage, fee = break_even(lanes)
    for costs in (replace(lanes[0].costs, slippage=slippage), replace(lanes[0].costs, taker_fee=fee)):
        total = np.mean([r.total_pnl_pct for r in run_lanes(with_costs(lanes, costs))])
        assert total == pytest.approx(0.0, abs=0.01)
    loser = scored_lanes(one(manager, costs=Costs(0.01, 0.0, 0.01)))
    assert break_even(loser) == (None, None)


def test_size_is_compared_with_the_volume_of_the_bars(manager: ToyManager) -> None:
    lanes = scored_lanes(one(manager))
    share = volume_share(lanes, 10_000.0)
    assert share.unknown == 0
    assert 0.0 < share.median < share.largest
    assert "of their bar's volume" in share.warning
    assert volume_share(lanes, 0.01).warning == ""
    assert (share.untraded, share.below_minimum) == (0, 0)
    assert 0 <= 2 * share.positions - share.fills <= len(lanes)  # some may be open at the end


def test_a_fill_in_a_bar_without_trades_is_counted_apart(manager: ToyManager) -> None:
    """Volume 0 where the first entry lies: no share of it is infinite."""
    lane = scored_lanes(one(manager))[0]
    first = run_arrays([lane], trades=True).trades[0][0]
    value = lane.bars.quote_volume.copy()
    value[int(first[kernel.T_ENTRY_ROW])] = 0.0
    share = volume_share([replace(lane, bars=replace(lane.bars, quote_volume=value))])
    assert share.untraded == 1
    assert math.isfinite(share.largest)
    assert "1 of" in share.warning
    assert "in bars in which nothing was traded (volume 0)" in share.warning
    assert "inf" not in share.warning
    none = replace(lane.bars, quote_volume=np.zeros_like(value))
    share = volume_share([replace(lane, bars=none)])
    assert (share.untraded, share.median, share.largest, share.above_limit) == (share.fills, None, None, 0)


def test_positions_below_the_smallest_order_are_told(manager: ToyManager) -> None:
    """One lot costs 100,000 USDT: a tenth of it is bought with 10,000, and the page says so."""
    lane = scored_lanes(one(manager))[0]
    lot = 100_000.0 / float(lane.bars.close.min())
    dear = replace(lane, rules=MarginRules(min_quantity=lot))
    share = volume_share([dear])
    assert share.below_minimum == share.positions > 0
    assert share.warning.endswith("are below the smallest order of their instrument: fractional lots assumed")
    assert volume_share([dear], 1e9).below_minimum == 0
    assert volume_share([replace(lane, rules=MarginRules(min_quantity=1e-6))]).below_minimum == 0


def test_evidence_is_gathered(manager: ToyManager) -> None:
    evidence = gather(one(manager), seed=3, draws=20)
    assert 0.0 < evidence.timing.p <= 1.0
    assert math.isfinite(evidence.zero_cost_sharpe)
    assert 0.0 < evidence.zero_cost_se < 1.0


def stepping(ratio: float, at: datetime, **options: object) -> FrameSource:
    """The toy market, in which the prices of A-USDT are `ratio` times themselves from a time on."""
    plain = toy_source()
    later = (pl.col("symbol") == "A-USDT") & (pl.col("ts") >= at)
    prices = [pl.when(later).then(pl.col(name) * ratio).otherwise(name).alias(name) for name in PRICES]
    minutes = plain.candles(SYMBOLS, "1m", None, END).with_columns(prices)
    frames = {"1m": minutes, "5m": aggregate(minutes, "5m"), "60m": aggregate(minutes, "60m")}
    return FrameSource(frames, plain.funding(SYMBOLS, None, END), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ratio", [10.0, 1000.0, 0.1, 0.001])
@pytest.mark.parametrize("timeframes", [("1m", "5m", "60m"), ("5m", "60m"), ("60m",)])
@pytest.mark.parametrize("at", [BEGIN + 7.3 * timedelta(hours=1), BEGIN + timedelta(hours=9)])
def test_a_symbol_whose_price_steps_is_kept_out_until_somebody_says_what_it_is(
    ratio: float, timeframes: tuple[str, ...], at: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    found = one(ToyManager(stepping(ratio, at)), timeframes=timeframes)
    assert {lane.symbol for lane in found.lanes} == {"B-USDT"}
    assert re.search(r"A-USDT steps by .* at 2025-06-02T0[0-9]:", caplog.records[-1].message)
    if timeframes[0] == "1m":
        shown = f"{ratio:,.6g} : 1" if ratio > 1 else f"1 : {1 / ratio:,.6g}"
        assert f"A-USDT steps by {shown} at {at:%Y-%m-%dT%H:%MZ}" in caplog.records[-1].message
    said = one(ToyManager(stepping(ratio, at, real_steps={("A-USDT", at)})), timeframes=timeframes)
    assert {lane.symbol for lane in said.lanes} == set(SYMBOLS)
    before = evaluate([Momentum()], ToyManager(stepping(ratio, at)), SYMBOLS, BEGIN, at, timeframes=timeframes)[0]
    assert {lane.symbol for lane in before.lanes} == set(SYMBOLS)


def test_where_the_only_symbol_steps_the_evaluation_is_refused_by_name() -> None:
    manager = ToyManager(stepping(1000.0, BEGIN + DAY))
    with pytest.raises(ValueError, match=r"every symbol from .*A-USDT steps by 1,00\d.* : 1 at 2025-06-03T00:00Z"):
        evaluate([Momentum()], manager, ["A-USDT"], BEGIN, END)


def test_a_fall_by_two_thirds_in_a_minute_is_a_move_of_the_market() -> None:
    found = one(ToyManager(stepping(0.33, BEGIN + DAY)))
    assert {lane.symbol for lane in found.lanes} == set(SYMBOLS)


def test_a_symbol_that_ends_has_its_lanes_up_to_there_and_none_in_windows_after_it() -> None:
    plain = toy_source()
    over = BEGIN + timedelta(hours=30)

    def cut(timeframe: str) -> pl.DataFrame:
        candles = plain.candles(SYMBOLS, timeframe, None, END)  # type: ignore[arg-type]
        length = pl.duration(minutes=MINUTES[timeframe])  # type: ignore[index]
        return candles.filter((pl.col("symbol") != "A-USDT") | (pl.col("ts") + length <= over))

    manager = ToyManager(FrameSource({t: cut(t) for t in ("1m", "5m", "60m")}, plain.funding(SYMBOLS, None, END)))  # type: ignore[arg-type]
    whole, uncut = one(manager), one(ToyManager(plain))
    assert [(lane.symbol, lane.timeframe) for lane in whole.lanes] == [(x.symbol, x.timeframe) for x in uncut.lanes]
    for lane, other in zip(whole.lanes, uncut.lanes, strict=True):
        if lane.symbol == "A-USDT":
            assert lane.bars == 30 * 60 // MINUTES[lane.timeframe]
            assert (lane.hourly[:31] == other.hourly[:31]).all()
            assert (lane.hourly[30:] == lane.hourly[30]).all()
        else:
            assert (lane.hourly == other.hourly).all()
    after = evaluate([Momentum()], manager, SYMBOLS, over + timedelta(hours=1), END)[0]
    assert {lane.symbol for lane in after.lanes} == {"B-USDT"}
    alone = evaluate([Momentum()], manager, ["B-USDT"], over + timedelta(hours=1), END)[0]
    assert after.pooled is not None
    assert alone.pooled is not None
    assert after.pooled.score == alone.pooled.score


@pytest.mark.parametrize(("timeframe", "hours"), [("4h", 4), ("1d", 24)])
def test_the_ratio_of_bars_longer_than_an_hour_is_that_of_a_year_of_hours(timeframe: Timeframe, hours: int) -> None:
    begin, end, gap = START, START + timedelta(days=20), START + timedelta(days=9)
    source = toy_source(days=20, gap=(gap, gap + timedelta(hours=hours)))
    found = evaluate([Momentum(timeframes=(timeframe,), length=1)], ToyManager(source), SYMBOLS, begin, end)[0]
    assert found.pooled is not None
    curve = np.mean([lane.hourly for lane in found.scored], axis=0)
    steps = np.diff(curve)
    ends = np.arange(1, 20 * 24 + 1)
    closes = ends % hours == 0
    assert (steps[~closes] == 0.0).all(), "a position is marked at the close of a bar"
    missing = (ends > 9 * 24) & (ends <= 9 * 24 + hours)
    assert (found.scored[0].hours_with_bars == ~missing).all()
    there = steps[~missing]
    assert found.pooled.sharpe == pytest.approx(there.mean() / there.std(ddof=1) * np.sqrt(8760))
    by_bar = steps[closes & ~missing]
    assert found.pooled.sharpe == pytest.approx(by_bar.mean() / by_bar.std() * np.sqrt(8760 / hours), rel=0.1)


def test_the_finest_bars_there_are_settle_what_happens_first_inside_a_bar() -> None:
    source = toy_source()
    paid = source.funding(SYMBOLS, None, END)
    strategy = Momentum(timeframes=("4h",), length=1)

    def settled(*there: Timeframe, run: tuple[Timeframe, ...] = ("4h",)) -> Evaluation:
        given = FrameSource({each: source.candles(SYMBOLS, each, None, END) for each in there}, paid)
        return evaluate([strategy], ToyManager(given), SYMBOLS, START, END, timeframes=run)[0]

    minutes, coarse, bare = settled(*TIMEFRAMES), settled("60m", "4h"), settled("4h")
    by = [{lane.bars.settled_by for lane in found.packed} for found in (minutes, coarse, bare)]
    assert by == [{"1m"}, {"60m"}, {None}]
    assert [{lane.bars.settled_by for lane in settled("60m", "4h", run=("60m", "4h")).packed}] == [{None, "60m"}]
    without = {each: source.candles(SYMBOLS, each, None, END) for each in ("1m", "4h")}
    without["1m"] = without["1m"].filter(pl.col("symbol") == SYMBOLS[0])
    mixed = evaluate([strategy], ToyManager(FrameSource(without, paid)), SYMBOLS, START, END, timeframes=("4h",))[0]
    assert [lane.bars.settled_by for lane in mixed.packed] == ["1m", None], "a symbol without minutes takes none away"
    unresolved = [found.pooled.unresolved for found in (minutes, coarse, bare) if found.pooled is not None]
    assert unresolved == sorted(unresolved)
    assert unresolved[1] < unresolved[2], "hours settle what four hours leave open"
