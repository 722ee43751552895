"""What each number means and in which unit, a hover or a footnote away.

Belongs here: finding the definition of a column where it is written once, the comments in warehouse/schema; words for
what no table holds. Does not belong here: formatting.
"""

from functools import cache
from typing import Final, NamedTuple

from blofin_resources.warehouse.description import table_columns

_WORDS: Final = {
    "research.evidence.dsr": "deflated Sharpe ratio: probability that the true Sharpe ratio is above zero, after "
    "choosing the best of all tries (Bailey and López de Prado 2014); 95 % and more is called supported",
    "research.evidence.volume_share_largest": "assumed fill (10,000 USDT a lane) as a share of its bar's traded value, "
    "the largest of all fills; above 1 % prices may be out of reach",
    "report.author": "who wrote the strategy or chose its parameters: library, search, claude or tuner",
    "report.previous_rank": "place in the ranking before this one; – for a newcomer",
    "report.live": "what came since it became active, on data that nothing of it had seen: days, trades, and whether "
    "that is less than was promised; judged after 7 days, from 20 closed trades on",
    "report.range": "total under the worse and the better order of events inside bars, percent; one number where no "
    "order was unknown",
    "report.sharpe": "Sharpe ratio of hourly pooled returns, annualised over 365 days, ± its standard error; over a "
    "week the error is large: read it first",
    "report.alpha": "return of a year that holding the same lanes does not explain, fraction, ± its standard error",
    "report.gain": "baseline log-loss less the model's, nats, with its 90 % block-bootstrap interval; wholly above 0 "
    "is better than guessing the base rate",
    "report.improvement": "score of the tuned version less that of its parent on the same exam, in points of score",
    "report.expected": "bars that the stored days have room for, a number",
    "report.present": "stored bars as a share of those that the stored days have room for",
    "report.recent": "the same over the last 7 days, the exam's length",
    "report.missing": "bars that the source did not have, a number; they are never filled",
    "report.flagged": "1-minute bars that are stored but never traded on: incomplete, repaired or without trading",
    "report.correlation": "correlation of hourly net returns over the exam, −1 to 1",
    "report.pbo": "probability of backtest overfitting: share of splits of the week in which the best by one half is "
    "below the median in the other half, by combinatorially symmetric cross-validation (14 half-day blocks); 50 % is "
    "what choosing without information gives",
    "report.combined": "net change of equal capital in each active strategy over the exam, percent",
    "report.answered": "calls with a usable answer, of those that were due",
    "report.exam_score": "score on the exam, the last 7 days before the cycle, which designers never saw",
}


class Term(NamedTuple):
    """A defined word: the anchor of its footnote and its text."""

    anchor: str
    label: str
    text: str


class Glossary:
    """The terms that a page uses, in order of first use, each defined once."""

    def __init__(self) -> None:
        self._terms: dict[str, Term] = {}

    def term(self, label: str, source: str) -> Term:
        """Return a term by where it is defined: `schema.table.column`, or `report.<word>`.

        Raises
        ------
        LookupError
            If nothing defines it: a number without a definition does not get onto the page.
        """
        text = definition(source)
        for known in self._terms.values():
            if known.text == text and known.label == label:
                return known
        column = source.rpartition(".")[2]
        anchor = column if column not in self._terms else f"{column}-{len(self._terms)}"
        self._terms[anchor] = Term(f"d-{anchor}", label, text)
        return self._terms[anchor]

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - iterator of Term
        return iter(self._terms.values())


@cache
def definition(source: str) -> str:
    """Return what defines a word.

    Raises
    ------
    LookupError
        If nothing does.
    """
    if source in _WORDS:
        return _WORDS[source]
    table, _, column = source.rpartition(".")
    found = {each.name: each.comment for each in table_columns(table)}.get(column)
    if not found:
        msg = f"nothing defines {source}: comment the column in warehouse/schema, or say it in {__name__}"
        raise LookupError(msg)
    return found
