"""Margin rules of instruments: maximum leverage, maintenance margin, smallest order, lot.

Belongs here: reading them from the stored descriptions, as of a time. Does not belong here: their effect on a position
(`backtester`), storing descriptions (`market.assets`).
"""

import math
from collections.abc import Sequence
from datetime import datetime

from backtester import MarginRules
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse


def margin_rules(
    store: Warehouse, symbols: Sequence[str], as_of: datetime, *, snapshot: int | None = None
) -> dict[str, MarginRules]:
    """Return the margin rules of symbols as of a time.

    Parameters
    ----------
    store : Warehouse
        Where `market.instruments` is stored, with a row for each change of terms.
    symbols : sequence of str
        Symbols to look up; one without a description has the default rules and is left out.
    as_of : datetime
        The terms in force then (UTC). If the first description is later, as for the time before the platform was set
        up, that one is used: it is the same at any time, because rows are only appended.
    snapshot : int, optional
        Snapshot to read; the current one if omitted.

    Returns
    -------
    dict of str to MarginRules
        By symbol.

    Notes
    -----
    Values that are null or impossible are the defaults of `MarginRules`. A maximum leverage that leaves no room
    between margin and maintenance is reduced to half of what the maintenance rate allows: no position could be opened
    with it.
    """
    sql, values = query("shared/instrument_terms"), {"symbols": list(symbols), "as_of": as_of}
    terms = store.read(sql, values) if snapshot is None else store.read_at(snapshot, sql, values)
    return {symbol: _rules(*values) for symbol, *values in terms.iter_rows()}


def _rules(most: float | None, rate: float | None, least: float | None, lot: float | None) -> MarginRules:
    usual = MarginRules()
    leverage = usual.max_leverage if most is None else most
    tiers = usual.tiers if rate is None else ((math.inf, rate),)
    highest = MarginRules(tiers=tiers).highest_rate()
    smallest, whole = (each if each is not None and 0.0 < each < math.inf else 0.0 for each in (least, lot))
    return MarginRules(leverage if leverage * highest < 1.0 else max(1.0, 0.5 / highest), tiers, smallest, whole)
