"""Definitions and units of the numbers on the page, shown as tooltips and footnotes.

Belongs here: looking up the comments of columns in warehouse/schema, and definitions of numbers that no table holds.
Does not belong here: formatting.
"""

from functools import cache
from typing import Final, NamedTuple

from backtester.statistics.drift import LEAST_DAYS, LEAST_TRADES
from backtester.statistics.e_process import CONFIRMS
from backtester.statistics.windows import HOLDOUT_LENGTH, LONG_HOLDOUT_LENGTH
from blofin_resources.warehouse.description import table_columns

_WORDS: Final = {
    "research.evidence.dsr": "deflated Sharpe ratio: probability that the true Sharpe ratio is above zero, after "
    "choosing the best of all tries (Bailey and López de Prado 2014), with the least favourable of five standard "
    "errors; 95 % or more is called supported; – with fewer than ten independent episodes of trades, three winners or "
    "three losers",
    "research.evidence.volume_share_largest": "assumed fill (10,000 USDT a lane) as a share of its bar's traded value, "
    "the largest of all fills; above 1 % prices may be out of reach",
    "report.author": "who wrote the strategy or chose its parameters: library, search, claude or tuner",
    "report.previous_rank": "rank in the previous ranking; – for a newcomer",
    "report.live": "performance since activation, on unseen data: days, trades, and whether it is below expected "
    f"performance; tested after {LEAST_DAYS:.0f} days, from {LEAST_TRADES} closed trades on",
    "report.days_more": f"days until the capital is {CONFIRMS:g} if days go on as the holdout expects, which choosing "
    "has made look better than it is; – if it never comes",
    "report.range": "total for the worse and the better order of events inside bars, percent; one number if every "
    "order is known",
    "report.sharpe": "Sharpe ratio of hourly pooled returns, annualised over 365 days, ± its standard error; over a "
    "few days the error is large: read it first",
    "report.expected_range": "Sharpe ratio to expect, annualised, and in brackets the interval that holds that of the "
    "next 28 days with a probability of 80 %: from all holdouts of this strategy and its peers; a ratio of one "
    "holdout is mostly luck. – before there are four holdouts that do not overlap. It does not affect the ranking",
    "report.tries": "configurations run on overlapping holdouts, and the independent ones that they are worth by the "
    "eigenvalues of their correlations, at least the square root: the deflated ratio is after the latter",
    "report.alpha": "annual return that holding the same lanes does not explain, fraction, ± its standard error",
    "report.gain": "baseline log-loss less the model's, nats, with its 90 % block-bootstrap interval; above 0 the "
    "model is better than the base rate",
    "report.improvement": "score of the tuned version less that of its parent on the same holdout, in points of score",
    "report.expected": "number of bars in the stored days without gaps",
    "report.present": "stored bars as a share of the bars without gaps",
    "report.recent": f"the same over the last {HOLDOUT_LENGTH.days} days, the holdout's length",
    "report.missing": "number of bars that the source did not have; they are never filled",
    "report.tradable": "share of the bars of the last strategy cycle's holdout on which the lane could trade: neither "
    "missing nor flagged; a lane below 80 % is thin, and its results rest on the hours that were tradable",
    "report.flagged": "1-minute bars that are stored but never traded on: incomplete, repaired or without trading",
    "report.correlation": "correlation of hourly net returns over the holdout, −1 to 1",
    "report.pbo": "probability of backtest overfitting: share of splits of the holdout in which the best of one half "
    "is below the median in the other half, by combinatorially symmetric cross-validation (14 half-day blocks); chance "
    "gives 50 %",
    "report.move": "price since the entry, in the direction of the position, percent, before costs",
    "report.due": "calls that a stage wanted to make; it makes none without a key or beyond the budget",
    "report.made": "calls that were sent to Claude",
    "report.answered": "calls with a usable answer",
    "report.holdout_score": f"score on the holdout, the last {HOLDOUT_LENGTH.days} days before the cycle (28 to "
    f"{LONG_HOLDOUT_LENGTH.days} on 4h and 1d), which no designer saw",
}


class Term(NamedTuple):
    """A defined word: the anchor of its footnote and its text."""

    anchor: str
    label: str
    text: str


class Glossary:
    """The terms of a page in order of first use, each defined once."""

    def __init__(self) -> None:
        self._terms: dict[str, Term] = {}

    def term(self, label: str, source: str) -> Term:
        """Return a term by its source: `schema.table.column`, or `report.<word>`.

        Raises
        ------
        LookupError
            If it has no definition: the page shows no undefined number.
        """
        text = definition(source)
        for explained in self._terms.values():
            if explained.text == text and explained.label == label:
                return explained
        column = source.rpartition(".")[2]
        anchor = column if column not in self._terms else f"{column}-{len(self._terms)}"
        self._terms[anchor] = Term(f"d-{anchor}", label, text)
        return self._terms[anchor]

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - iterator of Term
        return iter(self._terms.values())


@cache
def definition(source: str) -> str:
    """Return the definition of a source.

    Raises
    ------
    LookupError
        If there is none.
    """
    if source in _WORDS:
        return _WORDS[source]
    table, _, column = source.rpartition(".")
    comments = {described.name: described.comment for described in table_columns(table)}.get(column)
    if not comments:
        msg = f"{source} has no definition: comment the column in warehouse/schema, or define it in {__name__}"
        raise LookupError(msg)
    return comments
