"""A walk forward: each choice knows nothing of its test, and the joined tests are those of a plain sum."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtester.resampling import aggregate
from backtester.statistics.windows import Window, walk_forward
from blofin_resources.market.registry import open_market
from features.feature_manager import FeatureManager
from features.market import Market
from strategies.registry import LIBRARY, load_file
from strategies.search.panel import Panel
from strategies.search.walk_forward import Joined, Step, walk

END = datetime(2025, 6, 12, tzinfo=UTC)
SYMBOLS = ("BTC-USDT", "SOL-USDT")
STRATEGY = load_file(LIBRARY / "ema_crossover.py")
FOLDS = walk_forward(Window(END - timedelta(days=16), END), 2, train=timedelta(days=8), first_train=timedelta(days=8))


def manager_of(bars: pl.DataFrame, funding: pl.DataFrame) -> FeatureManager:
    return FeatureManager(Market({"60m": bars}, funding).source(), END)


@pytest.fixture(scope="module")
def market() -> tuple[pl.DataFrame, pl.DataFrame]:
    source = open_market("sample", archive=None, api_url="", seed=7)
    begin = END - timedelta(days=40)
    return aggregate(source.candles(SYMBOLS, "5m", begin, END), "60m", END), source.funding(SYMBOLS, begin, END)


def walked(bars: pl.DataFrame, funding: pl.DataFrame) -> list[Step]:
    return walk(manager_of(bars, funding), STRATEGY, SYMBOLS, FOLDS, timeframes=("60m",), budget=6, seed=7)


@pytest.fixture(scope="module")
def steps(market: tuple[pl.DataFrame, pl.DataFrame]) -> list[Step]:
    return walked(*market)


def test_each_choice_is_the_best_of_its_training_and_runs_on_the_test(
    steps: list[Step], market: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    assert [step.fold for step in steps] == FOLDS
    for step in steps:
        assert len(step.tried) == 6
        assert step.train.objective == max(each.objective for each in step.tried)
        alone = Panel.read(manager_of(*market), SYMBOLS, step.fold.test, timeframes=("60m",)).run(step.chosen)
        assert np.array_equal(step.test.pooled.returns, alone.pooled.returns)


def test_what_a_test_holds_changes_no_choice_before_it(
    steps: list[Step], market: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    bars, funding = market
    begin = FOLDS[0].test.start
    noise = pl.Series(np.exp(np.random.default_rng(3).normal(0.0, 0.01, len(bars))))
    later = pl.col("ts") >= begin
    changed = bars.with_columns(
        pl.when(later).then(pl.col(name) * noise).otherwise(pl.col(name)) for name in ("open", "high", "low", "close")
    ).with_columns(
        high=pl.max_horizontal("open", "high", "low", "close"), low=pl.min_horizontal("open", "high", "low", "close")
    )
    again = walked(changed, funding)
    assert again[0].chosen.version == steps[0].chosen.version
    assert [each.objective for each in again[0].tried] == [each.objective for each in steps[0].tried]
    assert not np.array_equal(again[0].test.pooled.returns, steps[0].test.pooled.returns)


def test_joined_tests_add_up(steps: list[Step]) -> None:
    joined = Joined.of([step.test for step in steps])
    assert (np.diff(joined.hours) == 3_600_000_000).all()
    assert joined.hours[0] == int(FOLDS[0].test.start.timestamp() * 1e6)
    total = sum(step.test.pooled.total_pnl_pct for step in steps)
    assert 100.0 * (joined.equity[-1] - 1.0) == pytest.approx(total)
    assert joined.equity[-1] - 1.0 == pytest.approx(joined.returns.sum())
    assert len(joined.returns) == 2 * 4 * 24
