"""What the commands of the bench run on: a window of stored candles, its symbols and timeframes, checked.

Belongs here: from options of a window to what `backtester` takes, with the errors of each option; what all of these
commands print alike. Does not belong here: parsing text that needs no warehouse (`blofin_assets.cli.idea`), running.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backtester.simulation.costs import MarginRules
from backtester.statistics.windows import Window
from blofin_assets.cli.session import Session
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.margin_rules import margin_rules
from blofin_resources.errors import BlofinError
from blofin_resources.market import is_synthetic
from blofin_resources.market.bases import ByBase, shorter_than, stored_by_base
from blofin_resources.market.steps import load_steps, way_out
from blofin_resources.settings import HISTORY
from blofin_resources.suggestions import did_you_mean
from features.bars import TIMEFRAMES, Timeframe
from features.feature_manager import FeatureManager
from strategies.language.strategy import Strategy

DEFAULT_DAYS: Final = HISTORY.days
"""Length of the window of a sweep or a comparison: what is stored where no start is set."""

_FORM: Final = "%Y-%m-%d %H:%M"
_NAMED: Final = 12
"""Most symbols that a message names."""


@dataclass(frozen=True)
class Span:
    """The options of a window, as parsed.

    Attributes
    ----------
    as_of : datetime
        Nothing later is read (UTC).
    start, end : datetime, optional
        Of the window; by default the end of what is stored, and `days` before it.
    days : int, optional
        Length; not together with `start`.
    """

    as_of: datetime
    start: datetime | None = None
    end: datetime | None = None
    days: int | None = None


@dataclass(frozen=True, eq=False)
class Stored:
    """A window of stored candles, ready to be backtested on.

    Attributes
    ----------
    session : Session
        Open warehouse.
    symbols : list of str
        Those asked for, or all that are traded.
    window : Window
        From full hour to full hour; the candles may begin later.
    first : datetime
        Begin of the first day of which any of the symbols has candles.
    manager : FeatureManager
        As of the window's end.
    rules : dict of str to MarginRules
        By symbol.
    kept_out : list of str
        A line for each symbol that a price step excludes.
    """

    session: Session
    symbols: list[str]
    window: Window
    first: datetime
    manager: FeatureManager
    rules: dict[str, MarginRules]
    kept_out: list[str] = field(default_factory=list)

    @property
    def market(self) -> str:
        """Name of the market, for titles."""
        return market_name(self.session)

    def candles(self, timeframes: Sequence[Timeframe], begin: datetime) -> pl.DataFrame:
        """Return candles of the window from `begin` on, with a column `timeframe`."""
        store = self.session.warehouse
        return pl.concat(
            store.candles(self.symbols, timeframe, begin, self.window.end).with_columns(
                pl.lit(timeframe).alias("timeframe")
            )
            for timeframe in timeframes
        )

    def told(self, begin: datetime, end: datetime, timeframes: Iterable[Timeframe]) -> str:
        """Say what was run: the window, the symbols, the timeframes.

        Parameters
        ----------
        begin, end : datetime
            The window.
        timeframes : iterable of Timeframe
            Told in the order given, each once.

        Returns
        -------
        str
        """
        on = f"{', '.join(self.symbols)} on {', '.join(dict.fromkeys(timeframes))}"
        return f"{window_text(begin, end)} · {on}"

    def late(self, begin: datetime) -> list[str]:
        """Return a line where the candles begin after the window that was asked for."""
        has = days_text(self.window.end - begin)
        late = begin > self.window.start
        return [f"stored candles begin at {begin:{_FORM}}, so the window has {has}"] if late else []

    def page(self, name: str) -> Path:
        """Return the path of a page of this warehouse."""
        return page_path(self.session, name)


def stored_window(
    session: Session, symbols: str | None, timeframes: Sequence[Timeframe], span: Span, *, days: int
) -> Stored:
    """Check the options of a window against what is stored.

    Parameters
    ----------
    session : Session
        Open warehouse.
    symbols : str, optional
        Comma-separated; by default all that are traded.
    timeframes : sequence of Timeframe
        Those that will be run.
    span : Span
        Options of the window.
    days : int
        Length where neither a start nor a length was given.

    Returns
    -------
    Stored
        The window and what is needed to run on it.

    Raises
    ------
    BlofinError
        If a symbol, its bars or the window are not there.
    """
    chosen = _symbols(symbols, session)
    _require_bars_of(timeframes, stored_by_base(session.warehouse, chosen))
    first, last = _stored_hours(session, chosen, span.as_of)
    window = window_within(span, chosen, first, last, days=days)
    kept_out = _kept_out(session, chosen, window.end)
    rules = margin_rules(session.warehouse, chosen, window.end)
    return Stored(session, chosen, window, first, feature_manager(session.warehouse, window.end), rules, kept_out)


def check_span(span: Span) -> None:
    """Refuse a length that is none, or that stands beside a start.

    Raises
    ------
    BlofinError
        If it is.
    """
    if span.start is not None and span.days is not None:
        msg = f"--start and --days {span.days}: --days is the length of the window; leave one out"
        raise BlofinError(msg)
    if span.days is not None and span.days < 1:
        msg = f"--days {span.days}: give at least one day"
        raise BlofinError(msg)


def chosen_timeframes(text: str | None, strategy: Strategy) -> tuple[Timeframe, ...]:
    """Return the timeframes of a comma-separated list, or those of the strategy.

    Raises
    ------
    BlofinError
        If one is unknown, or the strategy trades on none.
    """
    if text is None:
        return strategy.timeframes
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in TIMEFRAMES]
    if unknown:
        hint = did_you_mean(unknown, TIMEFRAMES)
        msg = f"--timeframes {', '.join(unknown)}{hint}; there are {', '.join(TIMEFRAMES)}"
        raise BlofinError(msg)
    chosen = tuple(name for name in TIMEFRAMES if name in names)
    if not set(chosen) & set(strategy.timeframes):
        msg = f"{strategy.name} trades on {', '.join(strategy.timeframes)}, none of {', '.join(chosen)}"
        raise BlofinError(msg)
    return chosen


def market_name(session: Session) -> str:
    """Return the market's name, and whether it is synthetic."""
    return f"{session.settings.market}{' (synthetic)' if is_synthetic(session.settings.market) else ''}"


def page_path(session: Session, name: str) -> Path:
    """Return the path of a page of the bench."""
    return session.settings.warehouse.resolve() / "backtests" / name


def window_text(begin: datetime, end: datetime) -> str:
    """Return a window as it is told."""
    return f"{begin:{_FORM}} to {end:{_FORM}} UTC"


def days_text(length: timedelta) -> str:
    """Return a length of time in days."""
    return f"{length / timedelta(days=1):.1f} days"


def say(out: Console, lines: Iterable[str]) -> None:
    """Print lines as they are, however long."""
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(noun: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left while the block runs; it gets a function that takes how many more are done."""
    bars = Progress(
        TextColumn(noun), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True,
        console=Console(stderr=True),
    )  # fmt: skip
    with bars:
        task = bars.add_task(noun, total=total)
        yield lambda count: bars.advance(task, count)


def shown_path(path: Path) -> str:
    """Return a path as it is printed: relative to the working folder where it is inside."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _require_bars_of(timeframes: Sequence[Timeframe], bases: ByBase) -> None:
    shortest = next(iter(bases))
    if not set(timeframes) - set(shorter_than(shortest)):
        symbols = ", ".join(symbol for group in bases.values() for symbol in group)
        msg = (
            f"there are no bars of {', '.join(timeframes)}: the shortest of {symbols} are of {shortest}; "
            "choose a strategy that trades on these or longer ones"
        )
        raise BlofinError(msg)


def split_symbols(text: str) -> list[str]:
    """Return the symbols of a comma-separated list."""
    return [name.strip().upper() for name in text.split(",")]


def _symbols(text: str | None, session: Session) -> list[str]:
    if text is not None and not text.replace(",", "").strip():
        msg = f"--symbols {text!r} names no symbol; give some, such as BTC-USDT,ETH-USDT, or leave the option out"
        raise BlofinError(msg)
    symbols = list(session.settings.symbols) if text is None else split_symbols(text)
    stored = session.warehouse.known_symbols()
    unknown = [symbol for symbol in symbols if symbol not in stored]
    if unknown:
        have = ", ".join(stored) or "none yet; run: blofin run"
        hint = did_you_mean(unknown, stored)
        msg = f"no candles of {', '.join(unknown)} in {session.settings.warehouse}{hint}; there are {have}"
        raise BlofinError(msg)
    return symbols


def window_within(span: Span, symbols: Sequence[str], first: datetime, last: datetime, *, days: int) -> Window:
    """Check the options of a window against what is stored.

    Parameters
    ----------
    span : Span
        The options.
    symbols : sequence of str
        For messages.
    first, last : datetime
        Begin and end of what is stored of them, by the as-of (UTC).
    days : int
        Length where neither a start nor a length was given.

    Returns
    -------
    Window
        From full hour to full hour; the candles may begin later, but not after its end.

    Raises
    ------
    BlofinError
        If the window is empty, reversed or beyond what is stored.
    """
    check_span(span)
    of = ", ".join(symbols) if len(symbols) <= _NAMED else f"{len(symbols)} symbols"
    if span.end is not None and span.end > last:
        msg = (
            f"--end {span.end:{_FORM}} is after what is stored of {of}, which ends at {last:{_FORM}}; "
            f"give --end {last:%Y-%m-%dT%H:%M}, or run: blofin run"
        )
        raise BlofinError(msg)
    end = last if span.end is None else _hour(span.end)
    start = end - timedelta(days=span.days or days) if span.start is None else _hour(span.start)
    if start >= end:
        msg = f"the window is empty: --start {start:{_FORM}} is not before its end {end:{_FORM}}; give an earlier start"
        raise BlofinError(msg)
    begins = f"the stored candles of {of}, which begin at {first:{_FORM}}"
    if span.start is not None and start < first:
        msg = f"--start {start:{_FORM}} is before {begins}; give --start {first:%Y-%m-%d}"
        raise BlofinError(msg)
    if end <= first:
        msg = f"the window's end {end:{_FORM}} is before {begins}; give a later one"
        raise BlofinError(msg)
    return Window(start, end)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _stored_hours(session: Session, symbols: list[str], as_of: datetime) -> tuple[datetime, datetime]:
    """Return the day on which the first candle of any symbol lies, and the last full hour that all have."""
    stored = session.warehouse.read(
        "SELECT min(first) AS first, min(through) AS through FROM (SELECT min(day) AS first, max(through) AS through "
        "FROM market.coverage WHERE dataset = 'features_60m' AND symbol IN (SELECT unnest(?)) GROUP BY symbol)",
        [symbols],
    ).row(0)
    if stored[1] is None:
        msg = f"nothing is stored for {', '.join(symbols)} in {session.settings.warehouse}; run: blofin run"
        raise BlofinError(msg)
    end: datetime = min(stored[1], as_of)
    return datetime(stored[0].year, stored[0].month, stored[0].day, tzinfo=end.tzinfo), _hour(end)


def _kept_out(session: Session, symbols: list[str], end: datetime) -> list[str]:
    """Return a line for each price step that excludes its symbol; refuse if no symbol is left."""
    steps = load_steps(session.warehouse, end, symbols)
    lines = [f"{step}: symbol excluded; {way_out(step)}" for step in steps.open]
    if steps.out.issuperset(symbols):
        raise BlofinError("; ".join(lines))
    return lines
