"""The base of each symbol: its shortest bars, which are fetched, and of which all longer ones are made.

Belongs here: which symbols have which base, by a source or by what is stored. Does not belong here: fetching
(`fetching`), storing (`ingestion`), making longer bars (`backtester.resampling`).

Minutes are the base almost everywhere; an archive may have longer bars alone. Tables of shorter bars then stay empty
and count as stored: nothing is made up.
"""

from collections.abc import Mapping, Sequence

from blofin_resources.errors import MarketError
from blofin_resources.market.source import MarketSource
from blofin_resources.warehouse import Warehouse
from features.bars import TIMEFRAMES, Timeframe

ByBase = Mapping[Timeframe, Sequence[str]]
"""Symbols by the timeframe of their base, the shortest first; every symbol once."""


def by_base(source: MarketSource, symbols: Sequence[str]) -> ByBase:
    """Return symbols by what a source says their base is; those that it cannot tell of with the minutes."""
    found = {}
    for symbol in symbols:
        try:
            found[symbol] = source.shortest(symbol)
        except MarketError:  # asking for its bars says what is wrong
            found[symbol] = TIMEFRAMES[0]
    return _grouped(found)


def stored_by_base(store: Warehouse, symbols: Sequence[str]) -> ByBase:
    """Return symbols by the shortest bars that are stored of them; those without any with the minutes."""
    query = "SELECT symbol, timeframe FROM market.bases WHERE symbol IN (SELECT unnest(?))"
    stored = dict(store.read(query, [list(symbols)]).iter_rows())
    return _grouped({symbol: stored.get(symbol, TIMEFRAMES[0]) for symbol in symbols})


def shorter_than(base: Timeframe) -> tuple[Timeframe, ...]:
    """Return the timeframes below a base, of which there are no bars."""
    return TIMEFRAMES[: TIMEFRAMES.index(base)]


def longer_than(base: Timeframe) -> tuple[Timeframe, ...]:
    """Return the timeframes whose bars are made of those of a base."""
    return TIMEFRAMES[TIMEFRAMES.index(base) + 1 :]


def _grouped(bases: Mapping[str, Timeframe]) -> dict[Timeframe, list[str]]:
    groups = {name: [symbol for symbol, base in bases.items() if base == name] for name in TIMEFRAMES}
    return {name: group for name, group in groups.items() if group}
