"""A small version of the two calibrations, and the statistics that they rest on."""

from datetime import UTC, datetime, timedelta

import pytest

from backtester.resampling import aggregate
from backtester.simulation.costs import Costs
from backtester.statistics.windows import Window
from blofin_resources.market.registry import open_market
from calibration.search import FORWARD, ORACLE, Forward, by_symbol, follow, run_cycle, upper_bound
from features.bars import FrameSource, Timeframe
from features.feature_manager import FeatureManager
from strategies.registry import load_library
from strategies.search.panel import Panel
from strategies.untrusted.compiler import compile_strategy

AS_OF = datetime(2025, 6, 1, tzinfo=UTC)
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")


def manager_of(variant: str, seed: int, until: datetime) -> FeatureManager:
    market = open_market(f"sample:{variant}", archive=None, api_url="", seed=seed)
    minutes = market.candles(SYMBOLS, "1m", AS_OF - timedelta(days=45), until)
    longer: tuple[Timeframe, ...] = ("5m", "60m", "1d")
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, until) for timeframe in longer}}
    return FeatureManager(FrameSource(candles, market.funding(SYMBOLS, AS_OF - timedelta(days=45), until)), until)


def test_the_upper_bound_is_exact() -> None:
    assert upper_bound(0, 200) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert upper_bound(12, 200) < 0.1 < upper_bound(13, 200)
    assert upper_bound(3, 3) == 1.0


@pytest.mark.parametrize(
    ("pnl", "oracle", "correlation", "good"),
    [(5.0, 10.0, 0.5, True), (4.9, 10.0, 0.9, False), (9.0, 10.0, 0.49, False), (-1.0, -4.0, 0.9, False)],
)
def test_what_counts_as_found(pnl: float, oracle: float, correlation: float, good: bool) -> None:
    assert Forward(pnl, oracle, correlation).good is good


def test_the_oracle_is_a_strategy_that_earns_what_was_planted_and_nothing_elsewhere() -> None:
    oracle = compile_strategy(ORACLE)
    earned = {}
    for variant in ("edge", "null"):
        panel = Panel.read(manager_of(variant, 3, AS_OF), SYMBOLS, Window(AS_OF - FORWARD, AS_OF))
        earned[variant] = panel.run(oracle).pooled.total_pnl_pct
        assert by_symbol(panel, oracle).shape == (3 * 14 * 1440,)
    assert earned["edge"] > 5.0
    assert earned["null"] < 0.0


@pytest.mark.long
def test_where_there_is_nothing_nothing_is_supported() -> None:
    supported = 0
    for seed in range(4):
        manager = manager_of("null", 500 + seed, AS_OF)
        cycle = run_cycle(manager, SYMBOLS, AS_OF, load_library(), budget=120, seed=seed, costs=Costs.free())
        assert len(cycle.newcomers) >= 5
        supported += bool(cycle.supported(cycle.newcomers))
    assert supported <= 1


@pytest.mark.long
def test_what_is_planted_is_found() -> None:
    # one of the markets on which seven days tell the edge from luck; `make calibrate` counts how many do
    manager = manager_of("edge", 20_006, AS_OF + FORWARD)
    cycle = run_cycle(manager, SYMBOLS, AS_OF, load_library(), budget=3_000, seed=600)
    after = follow(manager, SYMBOLS, AS_OF, cycle.supported(cycle.newcomers))
    assert any(each.good for each in after.values()), after
