"""The base of each symbol: its shortest bars, which are fetched, and of which all longer ones are made.

Belongs here: which symbols have which base, by a source or by what is stored. Does not belong here: fetching
(`fetching`), storing (`ingestion`), making longer bars (`backtester.resampling`).

Minutes are the base almost everywhere; an archive may have longer bars alone. Tables of shorter bars then stay empty
and count as stored: nothing is made up.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from blofin_resources.errors import MarketError
from blofin_resources.market.source import MarketSource
from blofin_resources.warehouse import Warehouse
from features.bars import TIMEFRAMES, Timeframe

ByBase = Mapping[Timeframe, Sequence[str]]
"""Symbols by the timeframe of their base, the shortest first; every symbol once."""


def by_base(source: MarketSource, symbols: Sequence[str]) -> ByBase:
    """Return symbols by what a source says their base is; those that it cannot tell of with the minutes."""
    found = _bases(source, symbols)
    return _grouped({symbol: found.get(symbol, TIMEFRAMES[0]) for symbol in symbols})


def stored_by_base(store: Warehouse, symbols: Sequence[str], source: MarketSource | None = None) -> ByBase:
    """Return symbols by the shortest bars that are stored of them.

    Parameters
    ----------
    store : Warehouse
        Where bars are stored.
    symbols : sequence of str
        Symbols to tell apart.
    source : MarketSource, optional
        Says it of symbols of which no bar is stored yet; minutes where omitted.

    Returns
    -------
    dict of Timeframe to list of str
        Every symbol once, the shortest timeframe first.
    """
    stored = _stored_bases(store, symbols)
    if source is not None and len(stored) < len(symbols):
        stored = _bases(source, [symbol for symbol in symbols if symbol not in stored]) | stored
    return _grouped({symbol: stored.get(symbol, TIMEFRAMES[0]) for symbol in symbols})


def changed_bases(store: Warehouse, source: MarketSource, symbols: Sequence[str]) -> dict[str, MarketError]:
    """Return an error for each symbol whose base in a source is not that of its stored bars.

    Its days are stored by the old base and would go on by the new one, so that neither is its history.

    Parameters
    ----------
    store : Warehouse
        Where bars are stored.
    source : MarketSource
        Where bars come from.
    symbols : sequence of str
        Symbols to compare; those without stored bars, or of which the source cannot tell, are left out.

    Returns
    -------
    dict of str to MarketError
        The text names both bases, and the ways out.
    """
    stored, now = _stored_bases(store, symbols), _bases(source, symbols)
    return {
        symbol: MarketError(
            f"the shortest bars of {source.name} are of {now[symbol]}, and those stored are of {base}, of which all "
            f"longer ones are made: {_way_back(base, now[symbol])}, or begin another warehouse (BLOFIN_WAREHOUSE)"
        )
        for symbol, base in stored.items()
        if now.get(symbol, base) != base
    }


def _way_back(stored: Timeframe, now: Timeframe) -> str:
    shorter = TIMEFRAMES.index(now) < TIMEFRAMES.index(stored)
    return f"take its bars of {now} out of the source" if shorter else f"put its bars of {stored} back into the source"


def _bases(source: MarketSource, symbols: Sequence[str]) -> dict[str, Timeframe]:
    found = {}
    for symbol in symbols:
        with suppress(MarketError):  # asking for its bars says what is wrong
            found[symbol] = source.shortest(symbol)
    return found


def _stored_bases(store: Warehouse, symbols: Sequence[str]) -> dict[str, Timeframe]:
    query = "SELECT symbol, timeframe FROM market.bases WHERE symbol IN (SELECT unnest(?))"
    return dict(store.read(query, [list(symbols)]).iter_rows())


def shorter_than(base: Timeframe) -> tuple[Timeframe, ...]:
    """Return the timeframes below a base, of which there are no bars."""
    return TIMEFRAMES[: TIMEFRAMES.index(base)]


def longer_than(base: Timeframe) -> tuple[Timeframe, ...]:
    """Return the timeframes whose bars are made of those of a base."""
    return TIMEFRAMES[TIMEFRAMES.index(base) + 1 :]


def _grouped(bases: Mapping[str, Timeframe]) -> dict[Timeframe, list[str]]:
    groups = {name: [symbol for symbol, base in bases.items() if base == name] for name in TIMEFRAMES}
    return {name: group for name, group in groups.items() if group}
