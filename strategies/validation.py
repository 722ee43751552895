"""Whether a strategy may be ranked: it does not look ahead, and it knows no prices by heart.

Belongs here: the checks that every strategy passes before it is scored, built in or generated. Does not belong here:
the comparison behind the causality test (`features.causality`), resemblance to known strategies
(`strategies.duplicates`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    return validate_all([strategy], market, cuts=cuts, seed=seed, timeframes=timeframes)[0]


def validate_all(
    strategies: Sequence[Strategy],
    market: Market,
    *,
    cuts: int = CUTS,
    seed: int = 0,
    timeframes: Sequence[Timeframe] = (),
) -> list[list[Finding]]:
    """Return what `validate` says of each of some strategies, in their order.

    What the strategies read is computed once for all of them, and so is each future that is taken away.
    """
    found: dict[tuple[int, Timeframe], list[Finding]] = {}
    wanted = [timeframes or each.timeframes for each in strategies]
    for timeframe in dict.fromkeys(one for each in wanted for one in each):
        places = [place for place, each in enumerate(wanted) if timeframe in each]
        judged = [strategies[place] for place in places]
        moments = telling_cuts(market, timeframe, cuts, seed)
        ahead = causality_of(judged, market, timeframe, moments)
        shares = price_memory_of(judged, market, timeframe)
        for place, seen, share in zip(places, ahead, shares, strict=True):
            found[place, timeframe] = [Finding("causality", timeframe, str(each)) for each in seen]
            if share > SCALED_SHARE:
                detail = f"{share:.0%} of the entries change when all prices are multiplied by {SCALE:g}"
                found[place, timeframe].append(Finding("price memory", timeframe, detail))
    return [[one for timeframe in each for one in found[place, timeframe]] for place, each in enumerate(wanted)]


def causality_of(
    strategies: Sequence[Strategy], market: Market, timeframe: Timeframe, cuts: Sequence[datetime], seed: int = 0
) -> list[list[LookAhead]]:
    """Return, for each strategy, the columns of its signals that look ahead, one example of each."""

    def together(given: Market) -> pl.DataFrame:
        each = signals_of(strategies, given, timeframe)
        columns = [
            frame[name].alias(f"{place} {name}")
            for place, frame in enumerate(each)
            for name in frame.columns
            if name not in {"symbol", "ts"}
        ]
        return each[0].select("symbol", "ts").with_columns(columns)

    found: list[list[LookAhead]] = [[] for _ in strategies]
    for seen in look_ahead(together, market, timeframe, cuts, seed):
        place, _, column = seen.column.partition(" ")
        found[int(place)].append(replace(seen, column=column))
    return found


def price_memory_of(strategies: Sequence[Strategy], market: Market, timeframe: Timeframe) -> list[float]:
    """Return the share of entries, of all in either, that differ between the market and itself in other prices."""
    pairs = zip(*(signals_of(strategies, given, timeframe) for given in (market, scaled(market))), strict=True)
    return [_differing(_entries(as_is), _entries(in_others)) for as_is, in_others in pairs]


def signals_of(strategies: Sequence[Strategy], market: Market, timeframe: Timeframe) -> list[pl.DataFrame]:
    """Return each strategy's signals over a whole market's bars of one timeframe."""
    others: Mapping[Timeframe, pl.DataFrame] = market.candles
    frame = compute(
        others[timeframe],
        sorted({name for each in strategies for name in each.features(timeframe)}),
        market.funding,
        timeframe=timeframe,
        others=others,
        predictions=market.predictions,
    )
    return [each.signals(frame) for each in strategies]


def _differing(one: pl.Series, other: pl.Series) -> float:
    together = int((one | other).sum())
    return int((one ^ other).sum()) / together if together else 0.0


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
