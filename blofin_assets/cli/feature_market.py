"""The market on which a feature is measured: deep history of the universe, or the traded symbols' candles.

Belongs here: from options to bars as arrays and features beside them, with the errors of each option. Does not belong
here: measuring (`backtester.evaluation.feature_sheet`), the command (`blofin_assets.cli.features`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Final

import numpy as np
import polars as pl

from backtester.evaluation.feature_sheet import on_rows
from backtester.simulation.book_market import BookMarket
from backtester.statistics.windows import Window
from blofin_assets.cli.session import Session
from blofin_assets.cli.stored import DEFAULT_DAYS, Span, market_name, split_symbols, stored_window, window_within
from blofin_assets.shared.deep_market import stored_span
from blofin_assets.shared.deep_source import DEEP, DeepSource
from blofin_resources.errors import BlofinError
from blofin_resources.suggestions import did_you_mean
from features.array_types import FloatArray
from features.bars import TIMEFRAMES, Timeframe
from features.feature_manager import FeatureManager
from features.registry import Registry
from features.steps import Step, find_steps

DEEP_DAYS: Final = 365
"""Length of the window on deep history."""

_AT_ONCE: Final = 8
"""Symbols whose features are computed at once: memory does not grow with the universe."""
_SHOWN: Final = 12
"""Symbols that a line names."""
_PAID: Final = 0.9
"""Share of a symbol's bars with known funding below which it is named."""
_CHOSEN: Final = "chosen_today"


@dataclass(frozen=True, eq=False)
class FeatureMarket:
    """Bars of a window, and what computes features of them.

    Attributes
    ----------
    session : Session
        Open warehouse.
    manager : FeatureManager
        As of the window's end.
    market : BookMarket
        The window's bars.
    window : Window
        That was asked for; the bars may begin later.
    where : str
        `universe`, `deep history` or `traded symbols`.
    notes : list of str
        What must be known of the bars, a line each.
    """

    session: Session
    manager: FeatureManager
    market: BookMarket
    window: Window
    where: str
    notes: list[str] = field(default_factory=list)

    @property
    def start(self) -> datetime:
        """Opening of the first bar."""
        return self.market.time_of(0)

    @property
    def lanes(self) -> str:
        """The symbols and the timeframe, as the trial ledger names them."""
        return ",".join(f"{symbol}:{self.market.timeframe}" for symbol in self.market.symbols)

    def told(self) -> str:
        """Return a line: market, window, symbols, timeframe."""
        symbols = self.market.symbols
        named = ", ".join(symbols) if len(symbols) <= _SHOWN else f"{len(symbols)} symbols"
        times = f"{self.start:%Y-%m-%d %H:%M} to {self.window.end:%Y-%m-%d %H:%M} UTC"
        return f"{times} · {named} of the {self.where} on {self.market.timeframe} · {market_name(self.session)}"

    def columns(
        self, names: Sequence[str], rows: slice = slice(None), symbols: Sequence[str] | None = None
    ) -> dict[str, FloatArray]:
        """Return features at some bars.

        Parameters
        ----------
        names : sequence of str
            Features and candle columns, each once.
        rows : slice
            From the first bar, by a step; all where omitted.
        symbols : sequence of str, optional
            Those computed; the others are unknown.

        Returns
        -------
        dict of str to ndarray of shape (n_rows, n_symbols)
            NaN where unknown; truth values as 0 and 1.
        """
        market = self.market
        chosen = market.symbols if symbols is None else symbols
        chunks = (chosen[first : first + _AT_ONCE] for first in range(0, len(chosen), _AT_ONCE))
        frames = (self.manager.window(chunk, market.timeframe, names, self.start, self.window.end) for chunk in chunks)
        return on_rows(frames, market, names, rows)


def feature_market(
    session: Session, registry: Registry, symbols: str | None, timeframe: str, span: Span
) -> FeatureMarket:
    """Check the options and read the bars.

    Parameters
    ----------
    session : Session
        Open warehouse.
    registry : Registry
        Of the features.
    symbols : str, optional
        Comma-separated; by default the members of the stored universe at each bar, or the traded symbols where there is
        none or it has no such bars.
    timeframe : str
        As typed.
    span : Span
        The window; by default the last `DEEP_DAYS` of deep history, `DEFAULT_DAYS` of traded symbols.

    Returns
    -------
    FeatureMarket
        Deep history where it has all of the symbols on this timeframe, else the traded symbols' candles.

    Raises
    ------
    BlofinError
        If an option is wrong, or what it names is not stored.
    """
    own = next((name for name in TIMEFRAMES if name == timeframe), None)
    if own is None:
        hint = did_you_mean([timeframe], TIMEFRAMES)
        msg = f"--timeframe {timeframe}{hint}; there are {', '.join(TIMEFRAMES)}"
        raise BlofinError(msg)
    deep = _deep_symbols(session, own)
    asked = None if symbols is None else list(dict.fromkeys(split_symbols(symbols)))
    if asked is not None and not set(asked) <= set(deep):
        known = sorted({*deep, *session.warehouse.known_symbols()})
        unknown = [symbol for symbol in asked if symbol not in known]
        if unknown:
            hint = did_you_mean(unknown, known)
            have = ", ".join(known) if len(known) <= _SHOWN else f"{len(known)} others; see market.universe"
            msg = (
                f"no candles of {', '.join(unknown)} in {session.settings.warehouse}{hint}; there are {have or 'none'}"
            )
            raise BlofinError(msg)
    elif asked is not None or _has_universe(session, span.as_of, deep):
        return _deep_market(session, registry, asked, own, span)
    stored = stored_window(session, symbols, (own,), span, days=DEFAULT_DAYS)
    manager = FeatureManager(stored.manager.source, stored.window.end, registry)
    notes = [*stored.kept_out]
    return _read(session, manager, stored.symbols, own, stored.window, None, "traded symbols", notes)


def _deep_market(
    session: Session, registry: Registry, asked: list[str] | None, timeframe: Timeframe, span: Span
) -> FeatureMarket:
    store = session.warehouse
    first, last = stored_span(store, timeframe, span.as_of)
    named = ["deep history"] if asked is None else asked
    if asked is not None:
        table = "market.deep_1d" if timeframe == "1d" else "market.deep_60m"
        begun = store.read(
            f"SELECT min(ts) AS first FROM {table} WHERE symbol IN (SELECT unnest(?))",  # noqa: S608 - constant names
            [asked],
        ).item()
        first = begun.astimezone(UTC)
    window = window_within(span, named, first, last, days=DEEP_DAYS)
    universe, notes = None, []
    if asked is None:
        universe = store.read(
            "SELECT day, symbol, member, reason FROM market.universe WHERE day >= ? AND day <= ? ORDER BY day, symbol",
            [window.start.date(), window.end.date()],
        )
        members = universe.filter("member")
        if members.is_empty():
            msg = f"the universe has no member from {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}; give --symbols"
            raise BlofinError(msg)
        symbols = members["symbol"].unique().sort().to_list()
        begin = datetime.combine(members["day"][0], time(), UTC)
        if begin > window.start:
            notes.append(f"the universe has its first members on {begin:%Y-%m-%d}, after the start of the window")
            window = Window(begin, window.end)
        if (members["reason"] == _CHOSEN).any():
            notes.append("the universe was chosen today: it knows which symbols survived, which can flatter a feature")
    else:
        symbols = asked
    manager = FeatureManager(DeepSource(store, window.end), window.end, registry)
    where = "universe" if asked is None else "deep history"
    return _read(session, manager, symbols, timeframe, window, universe, where, notes)


def _read(
    session: Session,
    manager: FeatureManager,
    symbols: Sequence[str],
    timeframe: Timeframe,
    window: Window,
    universe: pl.DataFrame | None,
    where: str,
    notes: list[str],
) -> FeatureMarket:
    candles = manager.source.candles(list(symbols), timeframe, window.start, window.end)
    if candles.is_empty():
        msg = (
            f"no {timeframe} bars of {', '.join(symbols[:_SHOWN])} from {window.start:%Y-%m-%d %H:%M} to "
            f"{window.end:%Y-%m-%d %H:%M}; give another --timeframe or window"
        )
        raise BlofinError(msg)
    funding = manager.source.funding(list(symbols), window.start, window.end)
    days = None if universe is None else universe.select("day", "symbol", "member")
    market = BookMarket.from_frames(candles, timeframe, funding=funding, universe=days)
    begin = market.time_of(0)
    if begin > window.start:
        notes.append(f"stored candles begin at {begin:%Y-%m-%d %H:%M}, after the start of the window")
    shares = market.funding_known.sum(axis=0) / np.maximum(market.fillable.sum(axis=0), 1)
    unpaid = [f"{symbol} ({share:.0%})" for symbol, share in zip(market.symbols, shares, strict=True) if share < _PAID]
    if unpaid:
        few = ", ".join(unpaid) if len(unpaid) <= _SHOWN else f"{len(unpaid)} symbols"
        notes.append(f"funding is not known on all bars, so nothing is paid on the others: {few}")
    steps = find_steps(candles)
    if where != "traded symbols":  # of those a step that nobody explained is left out
        notes += [
            f"{Step(*row)}: returns over it are as stored; compare it with another source"
            for row in steps.select("symbol", "ts", "ratio").iter_rows()
        ]
    return FeatureMarket(session, manager, market, window, where, notes)


def _deep_symbols(session: Session, timeframe: Timeframe) -> list[str]:
    if timeframe not in DEEP:
        return []
    table = "market.deep_1d" if timeframe == "1d" else "market.deep_60m"
    found = session.warehouse.read(f"SELECT DISTINCT symbol FROM {table} ORDER BY symbol")  # noqa: S608 - constant names
    return found["symbol"].to_list()


def _has_universe(session: Session, as_of: datetime, deep: Sequence[str]) -> bool:
    query = "SELECT count(*) FROM market.universe WHERE member AND day <= ?"
    return bool(deep) and bool(session.warehouse.read(query, [as_of.date()]).item())
