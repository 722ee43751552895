"""Whether a book may be ranked: it has no look-ahead, and it does not know prices by heart.

Belongs here: the checks that every book passes before it is scored, built in or generated. Does not belong here: the
same for strategies (`strategies.validation.checks`), the comparison behind the causality test (`features.causality`).
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from backtester.simulation.book_kernel import FEWEST
from backtester.statistics.seeds import derived_seed
from features.bars import CANDLE_SCHEMA, bar_length
from features.causality import LookAhead, look_ahead, telling_cuts
from features.engine import compute
from features.market import Market
from strategies.language.book import Book
from strategies.validation.checks import BY_HEART, CUTS, FARTHEST, SCALED_SHARE, Finding, scaled

UNSCORED: Final = (
    "no bar has a known score; give bars that warm its features up, and the funding or positioning data that it reads"
)
"""Detail of a finding of `no score`."""
_LATER: Final = "ZZZZ-LISTED-LATER"
_NEAR: Final = 1e-6
"""Relative difference of scores that counts as none when prices are multiplied: features take sums and logarithms."""


def validate_book(book: Book, market: Market, *, cuts: int = CUTS, seed: int = 0) -> list[Finding]:
    """Return the reasons why a book may not be ranked; empty where it may.

    Parameters
    ----------
    book : Book
        Built in or generated.
    market : Market
        Candles of the book's timeframe, of five symbols or more, and funding.
    cuts : int
        Bars drawn at random for the causality test, in addition to the special ones.
    seed : int
        Of the cuts, the noise and the factors.

    Returns
    -------
    list of Finding
        One for each failed check; where no bar has a known score, that alone: there is nothing to check.

    Raises
    ------
    ValueError
        If the market has no candles of the book's timeframe, or fewer than five symbols of them.

    Notes
    -----
    *Causality*: the scores up to a moment stay the same when the future of all symbols is removed or replaced by noise,
    and when a symbol is listed after that moment. *Price memory*: they stay the same when the prices of each symbol are
    multiplied by a factor of its own, since the unit of a contract is arbitrary (1000PEPE is a thousand of PEPE).
    """
    bars = market.candles.get(book.timeframe, pl.DataFrame(schema=CANDLE_SCHEMA))
    if bars["symbol"].n_unique() < FEWEST:
        msg = (
            f"{book.name} cannot be checked on {book.timeframe} bars of {bars['symbol'].n_unique()} symbols; "
            f"give candles of at least {FEWEST} symbols: with fewer, words that compare symbols are null"
        )
        raise ValueError(msg)
    known = scores_of(book, market)["score"].drop_nulls().len()
    if not known:
        return [Finding("no score", book.timeframe, UNSCORED)]
    moments = telling_cuts(market, book.timeframe, cuts, seed)
    seen: list[LookAhead | str] = [*look_ahead(lambda m: scores_of(book, m), market, book.timeframe, moments, seed)]
    seen += [
        moment for cut in moments[:: max(1, len(moments) // 3)] if (moment := _changed_by_listing(book, market, cut))
    ]
    findings = [Finding("causality", book.timeframe, str(example)) for example in seen]
    if _knows_prices(book, market, seed):
        findings.append(Finding("price memory", book.timeframe, BY_HEART))
    return findings


def scores_of(book: Book, market: Market) -> pl.DataFrame:
    """Return a book's scores over all bars of its timeframe, every symbol a member: `symbol`, `ts`, `score`."""
    frame = compute(
        market.candles[book.timeframe],
        book.features(),
        market.funding,
        timeframe=book.timeframe,
        others=market.candles,
        predictions=market.predictions,
        positioning=market.positioning,
    )
    return book.scores(frame)


def _changed_by_listing(book: Book, market: Market, cut: datetime) -> str:
    """Return what a symbol that is listed after a moment changes before it; '' for nothing."""
    bars = market.candles[book.timeframe]
    until = cut - bar_length(book.timeframe)
    later = bars.filter(pl.col("symbol") == bars["symbol"][0], pl.col("ts") > until)
    if later.is_empty():
        return ""
    longer = pl.concat([bars, later.with_columns(symbol=pl.lit(_LATER))])
    other = replace(market, candles={**market.candles, book.timeframe: longer})
    before, after = (
        scores_of(book, each).filter(pl.col("ts") <= until, pl.col("symbol") != _LATER) for each in (market, other)
    )
    if _differing(before["score"], after["score"], 1e-9) == 0.0:
        return ""
    return f"scores up to {cut} changed when a symbol was listed after it"


def _knows_prices(book: Book, market: Market, seed: int) -> bool:
    bars = market.candles[book.timeframe]
    symbols = bars["symbol"].unique().sort()
    chance = np.random.default_rng(derived_seed(seed, bars["close"].tail(1).to_list()))
    factors = np.exp(chance.uniform(-np.log(FARTHEST), np.log(FARTHEST), len(symbols)))
    own = pl.col("symbol").replace_strict(symbols, factors, default=1.0, return_dtype=pl.Float64)
    before = scores_of(book, market)["score"]
    after = scores_of(book, scaled(market, own))["score"]
    return _differing(before, after, _NEAR) > SCALED_SHARE


def _differing(one: pl.Series, other: pl.Series, tolerance: float) -> float:
    """Return the share of scores that differ, among those of which either is known."""
    a, b = one.to_numpy(), other.to_numpy()
    known = ~(np.isnan(a) & np.isnan(b))
    if not known.any():
        return 0.0
    spread = np.nanstd(a) if np.isfinite(a).any() else 0.0
    close = np.isclose(a, b, rtol=tolerance, atol=tolerance * spread)
    return float((~close[known]).mean())
