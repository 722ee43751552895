"""Tuning: within the ranges, the same for the same seed, better where something is, blind to the holdout."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backtester.resampling import aggregate
from backtester.statistics.windows import Window
from blofin_resources.market.registry import open_market
from features.bars import CandleSource, FrameSource, Timeframe
from features.feature_manager import FeatureManager
from strategies.language.strategy import MOST_STEPS, Param, Strategy
from strategies.language.values import LanguageError
from strategies.search.objective import FOLDS, evaluate_objective
from strategies.search.panel import Panel
from strategies.search.tuning import _Axis, changes, tune
from strategies.untrusted.compiler import compile_strategy

END = datetime(2025, 6, 12, tzinfo=UTC)
HOLDOUT = timedelta(days=2)
WINDOW = Window(END - HOLDOUT - timedelta(days=8), END - HOLDOUT)
SYMBOLS = ("BTC-USDT", "SOL-USDT")
CODE = '''class Reverter(Strategy):
    """Buy what fell.

    Edge: the planted reversal.
    Fails: elsewhere.
    """

    name = "reverter"
    timeframes = ("5m",)
    fall = Param(0.002, 0.001, 0.03)
    bars = Param(6, 2, 24)
    fixed = Param(1, 1, 1)

    def detect(self, f):
        fell = f.close / previous(f.close, 6) - 1 < -self.fall
        return Signal(long_entry=fell, time_stop=self.bars + self.fixed)
'''


@pytest.fixture(scope="module")
def minutes() -> pl.DataFrame:
    return open_market("sample:edge", archive=None, api_url="", seed=7).candles(
        SYMBOLS, "1m", END - timedelta(days=12), END
    )


def source(minutes: pl.DataFrame) -> CandleSource:
    longer: tuple[Timeframe, ...] = ("5m", "60m", "1d")
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in longer}}
    return FrameSource(
        candles, pl.DataFrame(schema={"symbol": pl.String, "ts": pl.Datetime("us", "UTC"), "rate": pl.Float64})
    )


@pytest.fixture(scope="module")
def panel(minutes: pl.DataFrame) -> Panel:
    return Panel.read(FeatureManager(source(minutes), END), SYMBOLS, WINDOW, timeframes=("5m",))


@pytest.fixture
def strategy() -> Strategy:
    return compile_strategy(CODE)


def test_a_better_version_is_found_where_there_is_one(panel: Panel, strategy: Strategy) -> None:
    found = tune(panel, strategy, budget=25, seed=3)
    assert found.best is not None
    assert found.best.objective > found.parent.objective
    assert found.best.strategy.parameters["fall"] > strategy.parameters["fall"]
    assert found.best.strategy.source() == strategy.source()
    assert found.best.strategy.version != strategy.version


def test_the_budget_counts_every_version_once_and_ranges_hold(panel: Panel, strategy: Strategy) -> None:
    found = tune(panel, strategy, budget=12, seed=3)
    versions = [each.strategy.version for each in found.tried]
    assert len(versions) == len(set(versions)) == 12
    assert versions[0] == strategy.version
    for each in found.tried:
        values = each.strategy.parameters
        assert 0.001 <= values["fall"] <= 0.03
        assert values["fixed"] == 1
        assert isinstance(values["bars"], int)


def test_the_same_seed_tries_the_same(panel: Panel, strategy: Strategy) -> None:
    tried = [[each.strategy.version for each in tune(panel, strategy, budget=14, seed=s).tried] for s in (5, 5, 6)]
    assert tried[0] == tried[1] != tried[2]


def test_suggestions_come_first_and_bad_ones_are_told(panel: Panel, strategy: Strategy) -> None:
    first = [{"fall": 0.02}, {"fall": 9.0}, {"__class__": 1.0}, {"bars": 2.5}, {"self": 1.0}]
    found = tune(panel, strategy, budget=4, seed=3, first=first)
    assert found.tried[1].strategy.parameters["fall"] == 0.02
    assert len(found.refused) == 4
    assert "lies outside its range" in found.refused[0]
    assert "no parameter __class__" in found.refused[1]
    assert "no parameter self; its parameters are fall, bars, fixed" in found.refused[3]


def test_what_took_a_holdout_before_is_not_proposed_again(panel: Panel, strategy: Strategy) -> None:
    best = tune(panel, strategy, budget=10, seed=3).best
    assert best is not None
    other = tune(panel, strategy, budget=10, seed=3, known=[best.strategy.version]).best
    assert other is None or other.strategy.version != best.strategy.version


def test_an_attempt_that_takes_too_long_is_stopped_and_says_so(panel: Panel, strategy: Strategy) -> None:
    ticks = iter(range(1_000))
    late = tune(panel, strategy, budget=12, seed=3, first=[{"fall": 0.01}], seconds=3, clock=lambda: float(next(ticks)))
    assert 1 < len(late.tried) < 6
    assert late.stopped == f"stopped after {len(late.tried)} of 12 evaluations: more than 3 s of processor"
    over = tune(panel, strategy, budget=12, seed=3, first=[{"fall": 0.01}], seconds=-1.0)
    assert len(over.tried) == 1
    assert over.refused == ("the time was used up",)
    assert tune(panel, strategy, budget=2, seed=3).stopped == ""


def test_a_strategy_without_parameters_is_only_judged(panel: Panel) -> None:
    bare = compile_strategy(
        CODE.replace("Param(0.002, 0.001, 0.03)", "Param(0.002, 0.002, 0.002)").replace(
            "Param(6, 2, 24)", "Param(6, 6, 6)"
        )
    )
    found = tune(panel, bare, budget=9, seed=3)
    assert (found.best, len(found.tried)) == (None, 1)


def test_noise_in_the_holdout_changes_nothing(minutes: pl.DataFrame, panel: Panel, strategy: Strategy) -> None:
    rng = np.random.default_rng(1)
    late = pl.col("ts") >= WINDOW.end
    noise = pl.Series(rng.lognormal(0.0, 0.2, minutes.height))
    prices = [pl.when(late).then(pl.col(name) * noise).otherwise(pl.col(name)) for name in ("open", "close")]
    other = minutes.with_columns(prices).with_columns(
        high=pl.max_horizontal("open", "high", "low", "close"), low=pl.min_horizontal("open", "high", "low", "close")
    )
    blind = Panel.read(FeatureManager(source(other), END), SYMBOLS, WINDOW, timeframes=("5m",))
    one, two = (tune(each, strategy, budget=10, seed=3) for each in (panel, blind))
    assert [(t.strategy.version, t.folds) for t in one.tried] == [(t.strategy.version, t.folds) for t in two.tried]


def test_folds_hold_all_trades_and_missing_trades_cost(panel: Panel, strategy: Strategy) -> None:
    found = evaluate_objective(panel, strategy)
    assert len(found.folds) == FOLDS
    assert found.lanes == "BTC-USDT:5m,SOL-USDT:5m"
    never = evaluate_objective(panel, strategy.with_parameters(fall=0.03, bars=2))
    idle = [fold for fold in never.folds if fold <= -60.0]
    assert idle or never.pooled.trades >= 20
    assert never.objective <= np.mean(never.folds)


def test_changes_are_told_as_people_read_them() -> None:
    assert changes({"a": 30.0, "b": 1}, {"a": 28.0, "b": 1}) == {"a": "30→28"}


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.sampled_from([0.0, 5e-324, -1e12, 1e12])


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS))
@example((28.0, 15.0, 40.0, 5e-324))
@example((0.0, 0.0, 5e-324, None))
@example((0, 0, 3, 0.01))
@example((0, 0, 1, 2))
def test_every_parameter_that_is_taken_can_be_searched(numbers: tuple[float, float, float, float | None]) -> None:
    try:
        given_ = Param(*numbers)
    except LanguageError:
        return
    if given_.low == given_.high:  # nothing to search
        return
    axis = _Axis.of(given_)
    assert 1 <= axis.count <= MOST_STEPS
    for place in (0, axis.count // 2, axis.count, axis.place(given_.default)):
        assert given_.low <= axis.value(place) <= given_.high
        assert given_.checked("p", axis.value(place)) == axis.value(place)
