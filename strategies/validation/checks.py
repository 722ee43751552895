"""Whether a strategy may be ranked: it has no look-ahead, and it has not memorised prices.

Belongs here: the checks that every strategy passes before it is scored, built in or generated. Does not belong here:
the comparison behind the causality test (`features.causality`), resemblance to known strategies
(`strategies.validation.duplicates`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from backtester.simulation.bar_arrays import Bars
from backtester.simulation.costs import Costs
from backtester.simulation.lanes import Lane, run_lanes, trades_of
from backtester.simulation.signals import Signals
from backtester.statistics.seeds import derived_seed
from features.bars import CANDLE_SCHEMA, TIMEFRAMES, Timeframe, bar_length
from features.causality import LookAhead, look_ahead, telling_cuts
from features.engine import compute
from features.market import Market
from strategies.language.strategy import Strategy
from strategies.validation.duplicates import SAME, Positions, positions, resemblance

CUTS: Final = 4
"""Bars drawn at random after which the future is removed, in addition to the special ones."""
SCALES: Final = 2
"""Constants that all prices are multiplied by, one below and one above 1; volumes shrink by them, turnover stays."""
FARTHEST: Final = 6.0
"""Most that they are, or one part of."""
SCALED_SHARE: Final = 0.02
"""Share of the entries that may differ then: rounding may move a comparison that is nearly equal."""


@dataclass(frozen=True)
class Finding:
    """One reason why a strategy may not be ranked.

    Attributes
    ----------
    check : {'causality', 'price memory', 'no score'}
        Which check failed.
    timeframe : Timeframe
        On which bars.
    detail : str
        What was seen, in one line.
    """

    check: str
    timeframe: Timeframe
    detail: str


def validate(
    strategy: Strategy,
    market: Market,
    *,
    cuts: int = CUTS,
    seed: int = 0,
    timeframes: Sequence[Timeframe] = (),
    traded: bool = True,
) -> list[Finding]:
    """Return the reasons why a strategy may not be ranked; empty where it may.

    Parameters
    ----------
    strategy : Strategy
        Built in or generated.
    market : Market
        Candles of every timeframe and funding; long enough for the strategy's features.
    cuts : int
        Bars drawn at random for the causality test, in addition to the special ones.
    seed : int
        Of the cuts and of the noise.
    timeframes : sequence of Timeframe
        Those to check; all that the strategy declares where empty.
    traded : bool
        Whether price memory is checked on positions, with the kernel, or on entries alone.

    Returns
    -------
    list of Finding
        One for each failed check.

    Notes
    -----
    *Causality*: the signals up to a moment stay the same when the future is removed or replaced by noise.
    *Price memory*: positions (signed size over time, after exits, stops, targets, sizes and leverage) stay the same
    when all prices are multiplied by a constant. A strategy that compares prices with absolute levels, and so with
    memorised test data, fails this. The constants are drawn from the seed and the prices, so that an author cannot know
    them, and no message reveals them.
    """
    return validate_all([strategy], market, cuts=cuts, seed=seed, timeframes=timeframes, traded=traded)[0]


def validate_all(
    strategies: Sequence[Strategy],
    market: Market,
    *,
    cuts: int = CUTS,
    seed: int = 0,
    timeframes: Sequence[Timeframe] = (),
    traded: bool = True,
) -> list[list[Finding]]:
    """Validate several strategies; their features, and each removed future, are computed once for all of them.

    Parameters
    ----------
    strategies : sequence of Strategy
        Built in or generated.
    market, cuts, seed, timeframes, traded
        As for `validate`.

    Returns
    -------
    list of list of Finding
        As `validate` returns, in the order of `strategies`.
    """
    findings: dict[tuple[int, Timeframe], list[Finding]] = {}
    there = tuple(name for name in TIMEFRAMES if name in market.candles and market.candles[name].height)
    wanted = [_with_bars(timeframes or strategy.timeframes, there) for strategy in strategies]
    for timeframe in dict.fromkeys(name for names in wanted for name in names):
        places = [place for place, names in enumerate(wanted) if timeframe in names]
        checked = [strategies[place] for place in places]
        moments = telling_cuts(market, timeframe, cuts, seed)
        ahead = causality_of(checked, market, timeframe, moments)
        memories = price_memory_of(checked, market, timeframe, seed, traded=traded)
        for place, seen, has_memory in zip(places, ahead, memories, strict=True):
            findings[place, timeframe] = [Finding("causality", timeframe, str(look_ahead)) for look_ahead in seen]
            if has_memory:
                findings[place, timeframe].append(Finding("price memory", timeframe, BY_HEART))
    return [[finding for name in names for finding in findings[place, name]] for place, names in enumerate(wanted)]


def _with_bars(wanted: Sequence[Timeframe], there: Sequence[Timeframe]) -> Sequence[Timeframe]:
    """Return the timeframes of which there are bars; if none has any, the shortest that has: the rules are the same."""
    return [name for name in wanted if name in there] or there[:1]


def causality_of(
    strategies: Sequence[Strategy], market: Market, timeframe: Timeframe, cuts: Sequence[datetime], seed: int = 0
) -> list[list[LookAhead]]:
    """Return the columns of each strategy's signals that look ahead.

    Parameters
    ----------
    strategies, market, timeframe
        As for `signals_of`.
    cuts : sequence of datetime
        Moments after which the future is removed or replaced.
    seed : int
        Of the noise.

    Returns
    -------
    list of list of LookAhead
        One example for each column, in the order of `strategies`.
    """

    def together(shortened: Market) -> pl.DataFrame:
        signals = signals_of(strategies, shortened, timeframe)
        columns = [
            frame[name].alias(f"{place} {name}")
            for place, frame in enumerate(signals)
            for name in frame.columns
            if name not in {"symbol", "ts"}
        ]
        return signals[0].select("symbol", "ts").with_columns(columns)

    leaks: list[list[LookAhead]] = [[] for _ in strategies]
    for seen in look_ahead(together, market, timeframe, cuts, seed):
        place, _, column = seen.column.partition(" ")
        leaks[int(place)].append(replace(seen, column=column))
    return leaks


BY_HEART: Final = (
    "what it trades changes with the unit of prices: it compares prices with numbers, so it knows them by heart; "
    "compare prices with prices"
)


def price_memory_of(
    strategies: Sequence[Strategy], market: Market, timeframe: Timeframe, seed: int = 0, *, traded: bool = True
) -> list[bool]:
    """Return for each strategy whether its positions change when all prices are multiplied by a constant.

    Parameters
    ----------
    strategies, market, timeframe
        As for `signals_of`.
    seed : int
        Of the constants, together with the prices.
    traded : bool
        See `validate`.

    Returns
    -------
    list of bool
        In the order of `strategies`.
    """
    as_is = signals_of(strategies, market, timeframe)
    held = [_held(signals, market, timeframe) for signals in as_is] if traded else []
    remembers = [False] * len(as_is)
    for factor in factors(market, seed):
        other = scaled(market, factor)
        in_others = signals_of(strategies, other, timeframe)
        for place, (one, two) in enumerate(zip(as_is, in_others, strict=True)):
            if traded:
                remembers[place] |= not _same(held[place], _held(two, other, timeframe))
            else:
                remembers[place] |= _differing(_entries(one), _entries(two)) > SCALED_SHARE
    return remembers


def _same(one: Positions, other: Positions) -> bool:
    return resemblance(one, other) >= SAME if one or other else True


def _held(signals: pl.DataFrame, market: Market, timeframe: Timeframe) -> Positions:
    """Return the positions that signals lead to on every symbol."""
    lanes = []
    for (symbol,), candles in market.candles[timeframe].partition_by("symbol", as_dict=True).items():
        bars = Bars.from_frame(candles, timeframe)
        own = signals.filter(pl.col("symbol") == symbol)
        lanes.append(Lane(bars, Signals.from_frame(own, bars), Costs()))
    trades = trades_of(run_lanes(lanes, trades=True, replays=False, threads=1))
    times = market.candles[timeframe]["ts"]
    start, last = times.min(), times.max()
    assert isinstance(start, datetime)  # noqa: S101  # of a market that has bars
    assert isinstance(last, datetime)  # noqa: S101  # same
    return positions(trades, start, last + bar_length(timeframe))


def factors(market: Market, seed: int) -> list[float]:
    """Return the constants by which prices are multiplied; the same prices and seed give the same constants."""
    last = {timeframe: frame["close"].tail(1).to_list() for timeframe, frame in sorted(market.candles.items())}
    chance = np.random.default_rng(derived_seed(seed, last))
    drawn = np.exp(chance.uniform(np.log(1.3), np.log(FARTHEST), SCALES))
    return [float(factor if place % 2 else 1 / factor) for place, factor in enumerate(drawn)]


def signals_of(strategies: Sequence[Strategy], market: Market, timeframe: Timeframe) -> list[pl.DataFrame]:
    """Return each strategy's signals over all bars of one timeframe.

    Parameters
    ----------
    strategies : sequence of Strategy
        Strategies that declare the timeframe.
    market : Market
        Candles of every timeframe and funding.
    timeframe : Timeframe
        Bars on which the signals are computed.

    Returns
    -------
    list of DataFrame
        A signal frame for each strategy, with the rows of the market's candles.
    """
    others: Mapping[Timeframe, pl.DataFrame] = market.candles
    frame = compute(
        others[timeframe],
        sorted({name for strategy in strategies for name in strategy.features(timeframe)}),
        market.funding,
        timeframe=timeframe,
        others=others,
        predictions=market.predictions,
        positioning=market.positioning,
    )
    return [strategy.signals(frame) for strategy in strategies]


def _differing(one: pl.Series, other: pl.Series) -> float:
    together = int((one | other).sum())
    return int((one ^ other).sum()) / together if together else 0.0


def _entries(signals: pl.DataFrame) -> pl.Series:
    return pl.concat([signals["long_entry"], signals["short_entry"]])


def scaled(market: Market, factor: float | pl.Expr) -> Market:
    """Return the market in other prices: multiplied by a factor, volumes divided by it.

    Parameters
    ----------
    market : Market
        Candles, and positioning data if any.
    factor : float or Expr
        For all symbols, or an expression over `symbol` that gives each its own.
    """
    prices = pl.col("open", "high", "low", "close") * factor
    volumes = pl.col("volume", "contracts") / factor
    candles = {
        timeframe: frame.with_columns(prices, volumes).select(CANDLE_SCHEMA.names())
        for timeframe, frame in market.candles.items()
    }
    held = market.positioning.with_columns(pl.col("open_interest") / factor)
    return replace(market, candles=candles, positioning=held)
