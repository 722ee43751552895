"""Whether a strategy may be ranked: it does not look ahead, and it knows no prices by heart.

Belongs here: the checks that every strategy passes before it is scored, built in or generated. Does not belong here:
the comparison behind the causality test (`features.causality`), resemblance to known strategies
(`strategies.duplicates`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from features.bars import CANDLE_SCHEMA, Timeframe
from features.causality import LookAhead, look_ahead, telling_cuts
from features.engine import compute
from features.market import Market
from strategies.base import Strategy

CUTS: Final = 4
"""Bars drawn at random after which the future is taken away, beside the peculiar ones."""
SCALE: Final = 1.7
"""Factor by which all prices are multiplied; volumes shrink by it, so that turnover stays."""
SCALED_SHARE: Final = 0.02
"""Share of the entries that may differ then: rounding may move a comparison that is nearly equal."""


@dataclass(frozen=True)
class Finding:
    """One reason why a strategy may not be ranked.

    Attributes
    ----------
    check : {'causality', 'price memory'}
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
    strategy: Strategy, market: Market, *, cuts: int = CUTS, seed: int = 0, timeframes: Sequence[Timeframe] = ()
) -> list[Finding]:
    """Return what is wrong with a strategy; nothing where it may be ranked.

    Parameters
    ----------
    strategy : Strategy
        Built in or generated.
    market : Market
        Candles of every timeframe and funding; long enough for the strategy's features.
    cuts : int
        Bars drawn at random for the causality test, beside the peculiar ones.
    seed : int
        Of the cuts and of the noise.
    timeframes : sequence of Timeframe
        Those to check; all that the strategy declares where empty.

    Notes
    -----
    *Causality*: the signals up to a moment stay the same when what comes after it is removed or replaced by noise.
    *Price memory*: the entries stay the same when all prices are multiplied by `SCALE`; a strategy that compares
    with prices of the past by their absolute level (and so with the test data by heart) does not survive this.
    """
    found = []
    for timeframe in timeframes or strategy.timeframes:
        moments = telling_cuts(market, timeframe, cuts, seed)
        found += [
            Finding("causality", timeframe, str(seen)) for seen in causality(strategy, market, timeframe, moments)
        ]
        share = price_memory(strategy, market, timeframe)
        if share > SCALED_SHARE:
            detail = f"{share:.0%} of the entries change when all prices are multiplied by {SCALE:g}"
            found.append(Finding("price memory", timeframe, detail))
    return found


def causality(
    strategy: Strategy, market: Market, timeframe: Timeframe, cuts: Sequence[datetime], seed: int = 0
) -> list[LookAhead]:
    """Return the columns of the signals that look ahead, one example of each."""
    return look_ahead(lambda given: signals_on(strategy, given, timeframe), market, timeframe, cuts, seed)


def price_memory(strategy: Strategy, market: Market, timeframe: Timeframe) -> float:
    """Return the share of entries, of all in either, that differ between the market and itself in other prices."""
    entries = [_entries(signals_on(strategy, given, timeframe)) for given in (market, scaled(market))]
    together = int((entries[0] | entries[1]).sum())
    return int((entries[0] ^ entries[1]).sum()) / together if together else 0.0


def signals_on(strategy: Strategy, market: Market, timeframe: Timeframe) -> pl.DataFrame:
    """Return the strategy's signals over a whole market's bars of one timeframe."""
    others: Mapping[Timeframe, pl.DataFrame] = market.candles
    frame = compute(
        others[timeframe],
        strategy.features(timeframe),
        market.funding,
        timeframe=timeframe,
        others=others,
        predictions=market.predictions,
    )
    return strategy.signals(frame)


def _entries(signals: pl.DataFrame) -> pl.Series:
    return pl.concat([signals["long_entry"], signals["short_entry"]])


def scaled(market: Market) -> Market:
    """Return the market in other prices: multiplied by `SCALE`, volumes divided by it."""
    prices = pl.col("open", "high", "low", "close") * SCALE
    volumes = pl.col("volume", "contracts") / SCALE
    candles = {
        timeframe: frame.with_columns(prices, volumes).select(CANDLE_SCHEMA.names())
        for timeframe, frame in market.candles.items()
    }
    return Market(candles, market.funding, market.predictions)
