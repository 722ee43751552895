"""The margin rules of instruments: the most leverage that each allows, and when it is liquidated.

Belongs here: reading them from what the market described, as of a time. Does not belong here: what they do to a
position (`backtester`), describing instruments (`assets.market`).
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from backtester import MarginRules
from blofin_resources.warehouse import Warehouse

_TERMS: Final = (
    "SELECT symbol, CASE WHEN max_leverage >= 1 AND isfinite(max_leverage) THEN max_leverage END AS most, "
    "CASE WHEN maintenance_margin_rate >= 0 AND maintenance_margin_rate < 1 THEN maintenance_margin_rate END AS rate "
    "FROM market.instruments WHERE symbol IN (SELECT unnest($1)) QUALIFY row_number() OVER "
    "(PARTITION BY symbol ORDER BY as_of > $2, CASE WHEN as_of <= $2 THEN as_of END DESC, as_of) = 1"
)


def margin_rules(
    store: Warehouse, symbols: Sequence[str], as_of: datetime, *, snapshot: int | None = None
) -> dict[str, MarginRules]:
    """Return the margin rules of symbols as of a time.

    Parameters
    ----------
    store : Warehouse
        Of `market.instruments`, which has a row each time the terms changed.
    symbols : sequence of str
        One that was never described has the default rules, and is left out.
    as_of : datetime
        The terms in force then. Where the first description came later, which is so for the time before the platform
        was set up, that one: it is the same whenever it is asked, since rows are only added at the end.
    snapshot : int, optional
        State of the warehouse that is read; today's where omitted.

    Notes
    -----
    What is null, or no such number, is as in `MarginRules`. A maximum that leaves no room between margin and
    maintenance is cut to half of what the maintenance rate would bear: no position could be opened with it.
    """
    values = [list(symbols), as_of]
    terms = store.read(_TERMS, values) if snapshot is None else store.read_at(snapshot, _TERMS, values)
    return {symbol: _rules(most, rate) for symbol, most, rate in terms.sort("symbol").iter_rows()}


def _rules(most: float | None, rate: float | None) -> MarginRules:
    usual = MarginRules()
    given = usual.max_leverage if most is None else most
    tiers = usual.tiers if rate is None else ((math.inf, rate),)
    highest = MarginRules(tiers=tiers).highest_rate()
    return MarginRules(given if given * highest < 1.0 else max(1.0, 0.5 / highest), tiers)
