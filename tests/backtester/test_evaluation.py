"""Whole evaluations: lanes, pooling, windows, errors, `BacktestEngine`, and what stands beside a score."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from toy import START, SYMBOLS, Broken, Momentum, Oracle, ToyManager, toy_source

from backtester import BacktestEngine, Costs, Evaluation, MarginRules, Signals, StrategyLike, evaluate, run_lanes
from backtester.evidence import (
    break_even,
    buy_and_hold,
    gather,
    pooled_curve,
    random_timing,
    scored_lanes,
    volume_share,
    with_costs,
)
from features.bars import FUNDING_SCHEMA, FrameSource
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
    long_only = FrameSource({t: manager.source.candles(SYMBOLS, t, None, END) for t in ("5m", "60m")})
    blind = one(ToyManager(long_only), Tight("tight"), timeframes=("5m", "60m")).pooled
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
    with pytest.raises(ValueError, match="two things named momentum"):
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
    with pytest.raises(ValueError, match="'yesterday' is no date"):
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
    found = one(manager, Geared("geared"), rules=rules).trades
    assert dict(found.group_by("symbol").agg(pl.col("leverage").unique().item()).iter_rows()) == {
        "A-USDT": 5.0,
        "B-USDT": 3.0,
    }


def test_random_timing_tells_an_oracle_from_chance(manager: ToyManager) -> None:
    knows = scored_lanes(one(manager, Oracle("oracle")))
    assert random_timing(knows, seed=1, draws=99) == 0.01
    chance = scored_lanes(one(manager))
    p = random_timing(chance, seed=1, draws=99)
    assert p == random_timing(chance, seed=1, draws=99)
    assert p > 0.02
    idle = [replace(lane, signals=Signals(np.zeros(len(lane.bars), dtype=np.uint8))) for lane in chance]
    assert random_timing(idle, seed=1) is None


def test_buy_and_hold_explains_itself(manager: ToyManager) -> None:
    lanes = scored_lanes(one(manager))
    held = buy_and_hold(lanes)
    benchmark = [replace(lane, signals=Signals(np.ones(len(lane.bars), dtype=np.uint8))) for lane in lanes]
    same = buy_and_hold(benchmark)
    assert same.beta == pytest.approx(1.0)
    assert same.alpha == pytest.approx(0.0, abs=1e-9)
    returns = np.diff(pooled_curve(benchmark)) / pooled_curve(benchmark)[:-1]
    strategy = np.diff(pooled_curve(lanes)) / pooled_curve(lanes)[:-1]
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


def test_evidence_is_gathered(manager: ToyManager) -> None:
    evidence = gather(one(manager), seed=3, draws=20)
    assert 0.0 < evidence.timing_p <= 1.0
    assert math.isfinite(evidence.zero_cost_sharpe)
    assert 0.0 < evidence.zero_cost_se < 1.0
