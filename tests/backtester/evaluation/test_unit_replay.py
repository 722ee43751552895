"""The score is of the unit replay: what scale does to an account stands beside it and never raises it."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import START, SYMBOLS, Momentum, ToyManager, toy_source

from backtester import Bars, Costs, Lane, Market, PooledResult, Signals, evaluate, read_market, run_lanes
from backtester.evaluation.pooling import FEW_TRADES
from backtester.evaluation.ranking import ranked
from features.array_types import FloatArray
from features.bars import FrameSource, Timeframe

BEGIN, END = START + timedelta(days=1), START + timedelta(days=2)
SAME = (
    "score", "score_win_rate", "score_avg_pnl", "score_sharpe", "score_drawdown", "trades", "wins", "total_pnl_pct",
    "worst_pnl_pct", "best_pnl_pct", "sharpe_se", "fees_pct", "funding_pct", "turnover", "exposure",
)  # fmt: skip


class Sized(Momentum):
    """Asks for a size and a leverage that differ from bar to bar."""

    def __init__(self, sizes: FloatArray, leverages: FloatArray) -> None:
        super().__init__("sized", ("5m",))
        self.sizes, self.leverages = sizes, leverages

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        size, leverage = (pl.Series(np.resize(each, len(frame))) for each in (self.sizes, self.leverages))
        return super().signals(frame).with_columns(size=size, leverage=leverage)


@pytest.fixture(scope="module")
def market() -> Market:
    """Return a market with mark prices, which matter to what is leveraged only."""
    plain = toy_source()
    prices = [(pl.col(name) * 1.001).alias(name) for name in ("open", "high", "low", "close")]
    given_marks = plain.candles(SYMBOLS, "1m", None, END).select("symbol", "ts", *prices)
    source = FrameSource(
        {tf: plain.candles(SYMBOLS, tf, None, END) for tf in ("1m", "5m")},
        plain.funding(SYMBOLS, None, END),
        marks=given_marks,
    )
    return read_market(ToyManager(source), SYMBOLS, BEGIN, END, features={"5m": ()}, lookback=20)


def pooled(market: Market, strategy: Momentum, largest: float | None = None) -> PooledResult:
    (found,) = evaluate(
        [strategy], ToyManager(toy_source(1)), SYMBOLS, BEGIN, END, market=market, timeframes=("5m",), largest=largest
    )
    assert found.pooled is not None
    return found.pooled


numbers = st.floats(0.01, 1.0)


@settings(max_examples=25)
@given(
    sizes=st.lists(numbers, min_size=1, max_size=7),
    leverages=st.lists(st.floats(1.0, 3.0), min_size=1, max_size=3),
    smaller=st.floats(0.01, 1.0),
    larger=st.floats(1.0, 10.0),
)
def test_a_constant_times_all_sizes_or_the_leverage_changes_no_bit_of_the_score(
    market: Market, sizes: list[float], leverages: list[float], smaller: float, larger: float
) -> None:
    size, leverage = np.array(sizes), np.array(leverages)
    one = pooled(market, Sized(size, leverage))
    assert one.trades >= FEW_TRADES
    for other in (pooled(market, Sized(size * smaller, leverage)), pooled(market, Sized(size, leverage * larger))):
        assert [getattr(one, name) for name in SAME] == [getattr(other, name) for name in SAME]
        assert np.array_equal(one.equity, other.equity)


def test_leverage_by_bar_is_a_size_by_bar_and_a_constant_fraction_is_one(market: Market) -> None:
    by_size = pooled(market, Sized(np.array([0.1, 0.2, 0.4]), np.array([1.0])))
    by_leverage = pooled(market, Sized(np.array([0.1]), np.array([1.0, 2.0, 4.0])))
    assert np.array_equal(by_size.equity, by_leverage.equity)
    whole, half = pooled(market, Momentum("whole", ("5m",))), pooled(market, Sized(np.array([0.5]), np.array([1.0])))
    assert np.array_equal(whole.equity, half.equity)
    assert not np.array_equal(whole.equity, by_size.equity), "sizing by volatility counts"
    assert half.declared_pnl_pct is not None
    assert whole.declared_pnl_pct is not None
    assert abs(half.declared_pnl_pct) < abs(whole.declared_pnl_pct), "the declared replay has the scale"


def test_what_counts_as_one_may_be_fixed_before_the_window(market: Market) -> None:
    """As in the forward ledger: a larger size asked for later changes nothing of what came before."""
    early = Sized(np.array([0.5]), np.array([1.0]))
    half = (pooled(market, early).equity - 1.0) / 2.0
    assert pooled(market, early, 1.0).equity - 1.0 == pytest.approx(half, abs=1e-14)


class Desk:
    """Enters at random on each symbol and loses by its costs."""

    timeframes: tuple[Timeframe, ...] = ("60m",)
    version = "1"
    lookback = 0

    def __init__(self, number: int, leverage: float) -> None:
        self.name, self.leverage = f"desk{number}", leverage
        self.rng = np.random.default_rng(number)

    def features(self, timeframe: Timeframe) -> list[str]:  # noqa: ARG002 - the protocol's argument
        return []

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        draw = self.rng.random(len(frame))
        return frame.select("symbol", "ts").with_columns(
            long_entry=pl.Series(draw < 0.1), short_entry=pl.Series(draw > 0.9), time_stop=pl.lit(6, pl.Int32),
            leverage=pl.lit(self.leverage),
        )  # fmt: skip


def walks() -> Market:
    rng = np.random.default_rng(11)
    frames, bars = {}, {}
    key: tuple[str, Timeframe]
    end = START + timedelta(days=7)
    for symbol in ("A-USDT", "B-USDT"):
        close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.008, 168)))
        start = np.concatenate([[100.0], close[:-1]])
        frame = pl.DataFrame(
            {
                "symbol": [symbol] * 168,
                "ts": pl.datetime_range(START, end, "1h", closed="left", eager=True),
                "open": start,
                "high": np.maximum(start, close) * 1.004,
                "low": np.minimum(start, close) * 0.996,
                "close": close,
            }
        )
        key = symbol, "60m"
        frames[key], bars[key] = frame, Bars.from_frame(frame, "60m", start=START, end=end)
    return Market(frames, bars, START, end)


@pytest.mark.slow
def test_no_leverage_raises_score_or_rank_of_a_losing_desk() -> None:
    market, end = walks(), START + timedelta(days=7)

    def run(leverage: float) -> pl.DataFrame:
        desks = [Desk(number, leverage) for number in range(450)]
        found = evaluate(
            desks, ToyManager(toy_source(1)), list(SYMBOLS), START, end, market=market, timeframes=("60m",),
            trades=False, replays=False,
        )  # fmt: skip
        rows = [(each.name, each.pooled) for each in found if each.pooled is not None]
        return pl.DataFrame(
            [
                {"name": name, "score": each.score, "total_trades": each.trades, "pnl": each.total_pnl_pct,
                 "ruined": each.ruined, "declared": each.declared_pnl_pct}
                for name, each in rows
            ]
        )  # fmt: skip

    plain = run(1.0)
    losing = plain.filter(pl.col("pnl") < 0.0, pl.col("ruined") == 0)
    assert losing.height >= 300
    for leverage in (10.0, 40.0):
        levered = run(leverage).filter(pl.col("name").is_in(losing["name"].to_list()))
        assert levered["score"].to_list() == losing["score"].to_list()
        worse = (levered["declared"] < losing["declared"]).mean()
        assert worse is not None
        assert worse > 0.9, "while their users lose more"
        together = ranked(pl.concat([losing, levered.with_columns(pl.col("name") + " levered")]))
        place = dict(together.select("name", "rank").iter_rows())
        assert all(place[f"{name} levered"] > place[name] for name in losing["name"])
    assert (levered["ruined"] > 0).sum() > 100
    assert (ranked(levered)["ruined"] > 0).is_sorted(), "whatever their scores"


def test_trading_goes_on_after_more_than_everything_was_lost() -> None:
    market = walks()
    lane_bars = market.bars["A-USDT", "60m"]
    costly = Signals(np.full(len(lane_bars), 1, dtype=np.uint8), {"time_stop": np.ones(1)})
    lane = Lane(lane_bars, costly, Costs(taker_fee=0.05), fixed=True)
    (fixed,) = run_lanes([lane])
    (compounding,) = run_lanes([replace(lane, fixed=False)])
    assert fixed.total_pnl_pct < -300.0
    assert fixed.max_drawdown == 1.0
    assert compounding.total_pnl_pct > -100.0
