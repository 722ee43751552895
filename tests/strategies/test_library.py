"""Every strategy of the library fires, on real and on invented candles, and no two are the same."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from backtester.evaluation.evaluate import Evaluation, evaluate
from backtester.resampling import aggregate
from blofin_resources.market.registry import open_market
from features.bars import FrameSource, Timeframe
from features.feature_manager import FeatureManager
from strategies.registry import load_library
from strategies.validation.duplicates import SAME, positions, resemblance

END = datetime(2025, 6, 12, tzinfo=UTC)
START = END - timedelta(days=14)
HISTORY = END - timedelta(days=27)
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")

LIBRARY = load_library()


def evaluated(market: str, archive: Path | None) -> dict[str, Evaluation]:
    source = open_market(market, archive=archive, api_url="", seed=7)
    minutes = source.candles(SYMBOLS, "1m", HISTORY, END)
    longer: tuple[Timeframe, ...] = ("5m", "60m", "1d")
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in longer}}
    manager = FeatureManager(FrameSource(candles, source.funding(SYMBOLS, HISTORY, END)), END)
    return {each.name: each for each in evaluate(LIBRARY, manager, SYMBOLS, START, END, replays=False)}


@pytest.fixture(scope="module")
def sample() -> dict[str, Evaluation]:
    return evaluated("sample", None)


@pytest.fixture(scope="module")
def real(real_market: Path) -> dict[str, Evaluation]:
    return evaluated("archive", real_market)


def closed(evaluation: Evaluation, timeframe: str) -> int:
    return sum(lane.trades - lane.open_at_end for lane in evaluation.lanes if lane.timeframe == timeframe)


def idle(evaluations: dict[str, Evaluation]) -> list[str]:
    return [
        f"{strategy.name} on {timeframe}: {closed(evaluations[strategy.name], timeframe)}"
        for strategy in LIBRARY
        for timeframe in strategy.timeframes
        if closed(evaluations[strategy.name], timeframe) < 10
    ]


def test_there_are_twenty_or_more() -> None:
    assert len(LIBRARY) >= 20


def test_every_strategy_fires_on_the_sample_market(sample: dict[str, Evaluation]) -> None:
    assert idle(sample) == []


def test_every_strategy_fires_on_the_real_market(real: dict[str, Evaluation]) -> None:
    assert idle(real) == []


def test_every_strategy_trades_both_sides(sample: dict[str, Evaluation]) -> None:
    for strategy in LIBRARY:
        assert set(sample[strategy.name].trades["side"].unique()) == {"long", "short"}, strategy.name


def test_no_two_strategies_are_the_same(sample: dict[str, Evaluation]) -> None:
    held = {
        strategy.name: positions(
            sample[strategy.name].trades.filter(pl.col("timeframe").is_in(strategy.timeframes)), START, END
        )
        for strategy in LIBRARY
    }
    names = sorted(held)
    same = [(a, b) for i, a in enumerate(names) for b in names[:i] if resemblance(held[a], held[b]) >= SAME]
    assert same == []
