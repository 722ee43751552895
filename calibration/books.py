"""Calibration of the search for books: how often it supports a worthless one, and how often it finds a planted edge.

Belongs here: one cycle of search and holdout over the sample market's universe, by the functions of a real cycle, and
what its finalists earn afterwards against the oracles of `calibration.universe`. Does not belong here: running many of
them (`calibration/run_books.py`).

*Null*: a market without an edge; the share of cycles with a supported newcomer is the rate of false support. *Power*: a
market with planted momentum and carry; a cycle succeeds if a finalist goes on to earn a fair part of what an oracle
earns, with weights like the oracle's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from backtester.evaluation.book_evaluation import PreparedMarket
from backtester.simulation.books import BookResult, BookRules, run_values_at
from backtester.statistics.overfitting import (
    LAGS,
    SharpeEvidence,
    episodes_of,
    sharpe_evidence,
    sharpe_se_newey_west,
)
from backtester.statistics.windows import LONG_HOLDOUT_LENGTH, Window
from blofin_resources.market.sample import SampleMarket, Variant
from blofin_resources.market.universe import Rule, membership
from calibration.search import Cycle
from calibration.universe import YOUNGEST, Panel, carry, momentum, volatility, weights
from features.array_types import FloatArray, IntArray
from strategies.language.book import Book
from strategies.search.books import InSample, search_books
from strategies.search.books.fitness import costs_of
from strategies.validation.duplicates import daily_weights

FINALISTS: Final = 10
"""Finalists of a cycle."""
CYCLE: Final = timedelta(hours=48)
"""Time between cycles."""
FORWARD: Final = timedelta(days=180)
"""How long finalists are tracked."""
SHARE: Final = 0.5
"""Share of an oracle's net result that a finalist must earn, and correlation that their weights must have."""
START: Final = datetime(2020, 7, 1, tzinfo=UTC)
"""Beginning of the history."""
MEMBERS: Final = 30
"""Symbols of the universe of a day: those with the largest volume."""
WARM_UP: Final = timedelta(days=31)
"""History before the search window, for scores and volatilities of 30 days."""
_BEFORE: Final = timedelta(days=40)
"""History before that, for the first universe."""
ORACLES: Final = {"momentum": momentum, "carry": carry}
"""Scores that know a planted edge."""
DAILY: Final = BookRules(timedelta(days=1), neutral="none", given_weights=True)
"""Rules of the oracles, which give weights."""


def market_of(variant: Variant, seed: int, until: datetime) -> PreparedMarket:
    """Return the sample market's universe in hourly bars from `START` on, with its members of each day.

    Parameters
    ----------
    variant : {'plain', 'null', 'edge'}
        Which market.
    seed : int
        Seed of the market.
    until : datetime
        End of the bars (UTC).

    Returns
    -------
    PreparedMarket
        Of every symbol that was ever listed until then.
    """
    market = SampleMarket(seed, variant, clock=lambda: until)
    listings = market.listings()
    symbols = listings.filter(~listings["symbol"].is_in(market.symbols()))["symbol"].to_list()
    candles = market.candles(symbols, "60m", START - _BEFORE, until)
    funding = market.funding(symbols, START - _BEFORE, until)
    daily = candles.group_by("symbol", pl.col("ts").dt.truncate("1d")).agg(pl.col("quote_volume").sum())
    begun = candles.group_by("symbol").agg(pl.col("ts").min().alias("listed"))
    universe = membership(
        daily.sort("symbol", "ts"), begun, Rule(MEMBERS), (START - timedelta(days=1)).date(), until.date()
    )
    inside = pl.col("ts") >= START
    return PreparedMarket.of("60m", candles.filter(inside), funding.filter(inside), universe=universe)


def run_cycle(
    prepared: PreparedMarket, as_of: datetime, known: Sequence[Book], *, budget: int, seed: int, earlier: int = 0
) -> Cycle[Book]:
    """Search before the holdout, then run the known books and the finalists on the holdout once.

    Parameters
    ----------
    prepared : PreparedMarket
        Bars until `as_of` or later.
    as_of : datetime
        End of the holdout.
    known : sequence of Book
        They seed the search, are run on the holdout too, and count as trials.
    budget, seed
        Of the search.
    earlier : int
        Further trials on overlapping holdouts.

    Returns
    -------
    Cycle
        Designs and evidence.
    """
    holdout = Window(as_of - LONG_HOLDOUT_LENGTH, as_of)
    window = Window(START + WARM_UP, holdout.start)
    designs = search_books(
        prepared, window, known, budget=budget, seed=seed, finalists=FINALISTS, taken=[book.name for book in known]
    )
    books = [*known, *(finalist.strategy for finalist in designs.finalists)]
    return Cycle(designs, run_holdout(prepared, holdout, books, earlier))


def run_holdout(
    prepared: PreparedMarket, window: Window, books: Sequence[Book], earlier: int
) -> dict[str, SharpeEvidence]:
    """Run books on one holdout and evaluate each Sharpe ratio given the number of trials, as a cycle does.

    Parameters
    ----------
    prepared : PreparedMarket
        Bars until the window's end or later.
    window : Window
        The holdout.
    books : sequence of Book
        Each is a trial.
    earlier : int
        Further trials on overlapping holdouts.

    Returns
    -------
    dict of str to SharpeEvidence
        By name.
    """
    held = InSample(prepared, window)
    runs = [held.run(book) for book in books]
    errors = [
        error
        for run in runs
        if (error := sharpe_se_newey_west((run.result.returns + costs_of(run.result))[run.there], LAGS)) is not None
    ]
    found = {}
    for run in runs:
        trades = run.result.trades.select(
            "entry_ts", "exit_ts", timeframe=pl.lit("60m"), exit_reason="reason", pnl="net"
        )
        returns = run.result.returns[run.there]
        found[run.name] = sharpe_evidence(returns, episodes_of(trades), len(runs) + earlier, errors)
    return found


@dataclass(frozen=True)
class Forward:
    """A book against an oracle, after the holdout.

    Parameters
    ----------
    oracle : str
        One of `ORACLES`.
    pnl_pct, oracle_pnl_pct : float
        Net results, percent.
    correlation : float
        Of target weights, day by day and symbol by symbol.
    """

    oracle: str
    pnl_pct: float
    oracle_pnl_pct: float
    correlation: float

    @property
    def good(self) -> bool:
        """Whether it earned a fair part of the oracle's result, and more than nothing, with weights like its own."""
        return self.pnl_pct > max(SHARE * self.oracle_pnl_pct, 0.0) and self.correlation >= SHARE


def follow(prepared: PreparedMarket, as_of: datetime, books: Sequence[Book]) -> dict[str, Forward]:
    """Run books and the oracles over the time after a holdout.

    Parameters
    ----------
    prepared : PreparedMarket
        Bars until the end of that time.
    as_of : datetime
        End of the holdout.
    books : sequence of Book
        The books to track.

    Returns
    -------
    dict of str to Forward
        By name: against the oracle whose weights it resembles most.
    """
    after = InSample(prepared, Window(as_of, as_of + FORWARD))
    truths = {name: oracle(after, name) for name in ORACLES}
    results = {}
    for book in books:
        result = after.run(book).result
        against = [
            Forward(name, _pnl(result), _pnl(truth), _correlation(result, truth)) for name, truth in truths.items()
        ]
        results[book.name] = max(against, key=lambda forward: (forward.good, forward.correlation))
    return results


def oracle(after: InSample, name: str) -> BookResult:
    """Run the oracle of a planted edge on a window, in the platform's own account.

    Parameters
    ----------
    after : InSample
        Of the window.
    name : str
        One of `ORACLES`.

    Returns
    -------
    BookResult
        Of weights that are ranks over volatility, once a day.
    """
    market = after.market
    bars = Panel(market.time_of(0), market.open, market.close, market.funding)
    scores, sigma = ORACLES[name](bars), volatility(market.close)
    old = np.cumsum(np.isfinite(market.close), axis=0) > YOUNGEST

    def at(rows: IntArray) -> FloatArray:
        usable = market.member[rows] & market.fillable[rows] & old[rows]
        chosen = np.where(usable, scores[rows], np.nan)
        return np.array([weights(score, risk) for score, risk in zip(chosen, sigma[rows], strict=True)])

    return run_values_at(market, DAILY, at, costs=after.costs, capital=after.capital, begin=after.begin)


def _pnl(result: BookResult) -> float:
    return 100.0 * (float(result.equity[-1]) / result.capital - 1.0)


def _correlation(one: BookResult, other: BookResult) -> float:
    a, b = (daily_weights(result).reshape(-1) for result in (one, other))
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0
