"""`blofin compare`: several strategies and books over one window beside each other, as tables, sentences and a page.

Belongs here: arguments, the tables, the sentences, the file. Does not belong here: one backtest and its trial
(`blofin_assets.cli.backtest`), comparing (`backtester.evaluation.comparison`), the page (`backtester.compare_page`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from backtester.compare_page import COLOURS, compare_page
from backtester.evaluation.book_breakdown import on_fixed_capital, universe_curve
from backtester.evaluation.comparison import CONFIDENCE, Comparison, HourlyResult, compare
from blofin_assets.cli.backtest import Request, run_stored
from blofin_assets.cli.backtest_text import Ran
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.idea import split_named
from blofin_assets.cli.loading import with_parameters
from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.stored import (
    DEFAULT_DAYS,
    Span,
    Stored,
    check_span,
    chosen_timeframes,
    market_name,
    page_path,
    progress,
    say,
    shown_path,
    stored_window,
    window_text,
)
from blofin_assets.cli.stored_books import StoredBooks, first_decision, last_common, stored_books, stored_books_of
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import pooled_of, row_id
from blofin_assets.shared.book_rows import BookRun
from blofin_resources.errors import BlofinError
from features.array_types import FloatArray
from features.bars import TIMEFRAMES, Timeframe, bar_length
from strategies.language.book import Book
from strategies.language.strategy import Strategy

RUN_ID: Final = "blofin compare"
"""`run_id` of the trials' rows: this is no Dagster run."""

EXAMPLE: Final = "for example: blofin compare ema_crossover aroon_trend:window=30"


@dataclass(frozen=True)
class Compared:
    """The arguments, unparsed."""

    named: Sequence[str]
    symbols: str | None
    timeframes: str | None
    span: Span
    as_json: bool = False


def run_compare(asked: Compared) -> None:
    """Backtest each strategy and book on the same window, count the trials, print what differs and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong.
    """
    named: dict[str, Strategy | Book] = {}
    for text in asked.named:
        name, pairs = split_named(text)
        if text in named:
            msg = f"{text} is named twice; name each version once"
            raise BlofinError(msg)
        named[text] = with_parameters(name, pairs, EXAMPLE)
    if not 2 <= len(named) <= len(COLOURS):  # noqa: PLR2004 - a comparison is of two
        msg = f"{len(named)} named: give 2 to {len(COLOURS)} strategies or books; {EXAMPLE}"
        raise BlofinError(msg)
    each_on = {
        text: chosen_timeframes(asked.timeframes, each) for text, each in named.items() if isinstance(each, Strategy)
    }
    if not each_on and (asked.symbols or asked.timeframes):
        msg = "--symbols and --timeframes are of strategies, and all that were named are books; leave them out"
        raise BlofinError(msg)
    session = open_session()
    ground = _ground(session, each_on, [each for each in named.values() if isinstance(each, Book)], asked)
    request = Request(asked.named[0], asked.symbols, asked.timeframes, None, [], asked.span.as_of)
    ran: dict[str, Ran | BookRun] = {}
    with progress("backtests", len(named)) as advance:
        for text, each in named.items():
            if isinstance(each, Book):
                assert ground.books is not None  # noqa: S101 - there is one
                ran[text] = ground.books.run(each, RUN_ID)
            else:
                assert ground.lanes is not None  # noqa: S101 - there is one
                ran[text] = run_stored(ground.lanes, each, each_on[text], request, RUN_ID)
            advance(1)
    _finish(session, ground, ran, asked)


@dataclass(frozen=True, eq=False)
class _Ground:
    """One window: of lanes where strategies are compared, of the universe where books are."""

    lanes: Stored | None
    books: StoredBooks | None

    def told(self, begin: datetime, end: datetime, lanes: Sequence[Timeframe]) -> str:
        parts = [] if self.lanes is None else [self.lanes.told(begin, end, lanes)]
        if self.books is not None:
            parts = [*(parts or [window_text(begin, end)]), self.books.told()]
        return " · ".join(parts)

    def notes(self) -> list[str]:
        return [*(self.lanes.kept_out if self.lanes else ()), *(self.books.notes() if self.books else ())]


def _ground(
    session: Session, each_on: Mapping[str, Sequence[Timeframe]], books: Sequence[Book], asked: Compared
) -> _Ground:
    """Return the window that lanes and universe have in common, inside what was asked for."""
    span = asked.span
    if not each_on:
        check_span(span)
        return _Ground(None, stored_books_of(session, books, span))
    every = tuple(name for name in TIMEFRAMES if any(name in chosen for chosen in each_on.values()))
    stored = stored_window(session, asked.symbols, every, span, days=DEFAULT_DAYS)
    if not books:
        return _Ground(stored, None)
    last = last_common(session.warehouse, books, stored.window.end)
    start = last - stored.window.length if span.start is None else stored.window.start
    universe = stored_books(session, books, max(start, stored.first), last)
    both = Span(span.as_of, universe.window.start, universe.window.end)
    return _Ground(stored_window(session, asked.symbols, every, both, days=DEFAULT_DAYS), universe)


def _finish(session: Session, ground: _Ground, ran: Mapping[str, Ran | BookRun], asked: Compared) -> None:
    results: dict[str, HourlyResult] = {
        text: on_fixed_capital(each.evaluation) if isinstance(each, BookRun) else pooled_of(each.evaluation)
        for text, each in ran.items()
    }
    lanes = list(
        dict.fromkeys(
            lane.timeframe for each in ran.values() if isinstance(each, Ran) for lane in each.evaluation.scored
        )
    )
    longest = max(bar_length(name) for name in (*lanes, *(ground.books.markets if ground.books else ())))
    comparison = compare(results, seed=session.settings.seed, bar_hours=max(1, longest // bar_length("60m")))
    first = next(iter(results.values()))
    said, market = _said(comparison), market_name(session)
    late = [first_decision(each) for each in ran.values() if isinstance(each, BookRun)]
    notes = [*ground.notes(), *(line for line in late if line)]
    window = f"{ground.told(first.start, first.end, lanes)} · {market}"
    page = compare_page(
        results,
        comparison,
        _holding(list(ran.values())),
        parameters={text: _parameters(each) for text, each in ran.items()},
        said=said,
        window=window,
        notes=notes,
    )
    versions = sorted(_version(each) for each in ran.values())
    on = [ground.lanes.symbols if ground.lanes else [], lanes, *([ground.books.told()] if ground.books else [])]
    which = row_id(versions, first.start, first.end, *on)[:8]
    path = write_whole(page_path(session, f"compare_{first.end:%Y%m%dT%H%MZ}_{which}.html"), page)
    if asked.as_json:
        window_of = {"start": first.start, "end": first.end, "market": market}
        print_json({**window_of, "names": list(results), **vars(comparison), "notes": notes, "page": path})
        return
    out = Console()
    out.print(_table(results, comparison, window))
    say(out, (*said, *notes, f"page: {shown_path(path)}"))


def _holding(ran: Sequence[Ran | BookRun]) -> FloatArray:
    """Return the equity of holding the lanes of the first strategy, or the universe where there are books alone."""
    strategies = [each for each in ran if isinstance(each, Ran)]
    if strategies:
        return strategies[0].parts.holding
    return universe_curve(next(each for each in ran if isinstance(each, BookRun)).evaluation.result)


def _version(ran: Ran | BookRun) -> str:
    return (
        f"{ran.name} {ran.version}" if isinstance(ran, BookRun) else f"{ran.evaluation.name} {ran.evaluation.version}"
    )


def _parameters(ran: Ran | BookRun) -> str:
    values = ran.book.parameters if isinstance(ran, BookRun) else ran.evaluation.parameters
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _said(comparison: Comparison) -> list[str]:
    lines = []
    names = comparison.costs["name"].to_list()
    for row in comparison.differences.rows(named=True):
        value = comparison.correlations[names.index(row["one"]), names.index(row["two"])]
        alike = "unknown" if np.isnan(value) else f"{value:+.2f}"
        verdict = "told apart" if row["apart"] else "not told apart"
        lines.append(
            f"{row['one']} less {row['two']}: {row['day_pct']:+.3f} % a day, {row['low']:+.3f} to {row['high']:+.3f} "
            f"({CONFIDENCE:.0%} interval): {verdict}; correlation {alike}."
        )
    return lines


def _table(results: Mapping[str, HourlyResult], comparison: Comparison, window: str) -> Table:
    table = Table(title=window, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for heading in ("before %", "costs %", "total %", "Sharpe", "max DD %", "trades", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (name, pooled), paid in zip(results.items(), comparison.costs.rows(named=True), strict=True):
        ratio = "–" if pooled.sharpe is None else f"{pooled.sharpe:.1f} ±{pooled.sharpe_se or 0.0:.1f}"
        table.add_row(
            name,
            f"{paid['before_pct']:+.2f}",
            f"{paid['before_pct'] - paid['total_pnl_pct']:.2f}",
            f"{pooled.total_pnl_pct:+.2f}",
            ratio,
            f"{100.0 * pooled.max_drawdown:.1f}",
            str(pooled.trades),
            "–" if pooled.score is None else f"{pooled.score:.1f}",
        )
    return table
