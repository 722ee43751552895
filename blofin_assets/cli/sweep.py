"""`blofin sweep`: every point of a grid of parameters on stored candles, as a table, a verdict and a page.

Belongs here: arguments, the table, the sentences, the trials, the file. Does not belong here: running points
(`strategies.search.sweep`), the plateau (`backtester.statistics.plateau`), the page itself (`backtester.sweep_page`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from backtester.evaluation.pooling import FEW_TRADES
from backtester.statistics.overfitting import SharpeEvidence, sharpe_evidence
from backtester.statistics.plateau import Plateau, nearest, neighbours_on_grid, plateau
from backtester.statistics.windows import Window
from backtester.sweep_page import sweep_page
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.idea import Range, check_names, idea_of, ranges, refuse_large
from blofin_assets.cli.loading import loaded
from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.stored import (
    DEFAULT_DAYS,
    Span,
    Stored,
    chosen_timeframes,
    market_name,
    page_path,
    progress,
    say,
    shown_path,
    stored_window,
    window_text,
)
from blofin_assets.cli.stored_books import (
    StoredBooks,
    book_luck,
    check_of_book,
    corners,
    stored_books_of,
)
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import row_id, swept_rows
from blofin_assets.shared.book_rows import BookRun
from blofin_assets.shared.deep_market import DeepMarket
from blofin_assets.shared.trial_ledger import Configuration, count_seen
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from features.array_types import IntArray
from features.bars import Timeframe
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.language.values import LanguageError
from strategies.search.panel import Panel
from strategies.search.sweep import Axis, Swept, grid, sobol, step_of, sweep, sweep_book

RUN_ID: Final = "blofin sweep"
"""`run_id` of the trials' rows: this is no Dagster run."""

SHOWN: Final = 5
"""Points in the terminal's table."""

EXAMPLE: Final = "for example: blofin sweep ema_crossover --param fast=5:15:1 --param ratio=2:6:1"

_WIDE: Final = 0.5
"""Share of all points within the best's standard error from which being within it says little."""


@dataclass(frozen=True)
class Request:
    """The arguments, unparsed."""

    strategy: str
    params: Sequence[str]
    points: int | None
    symbols: str | None
    timeframes: str | None
    span: Span
    as_json: bool = False


def run_sweep(request: Request) -> None:
    """Run every point of a grid, or a sample of it, print what came and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong, or no point can be run.
    """
    idea = idea_of(request.strategy, EXAMPLE)
    asked = ranges(idea, request.params, grid=request.points is None)
    strategy = loaded(request.strategy, EXAMPLE)
    check_names(idea, [each.name for each in asked], list(strategy.parameters))
    axes = _axes(strategy, asked)
    if request.points is None:
        refuse_large(int(np.prod([len(axis.values) for axis in axes])))
    ground: _Lanes | _Universe
    if isinstance(strategy, Book):
        check_of_book(strategy, request.symbols, request.timeframes, request.span)
        ground = _Universe.of(open_session(), strategy, axes, request)
    else:
        timeframes = chosen_timeframes(request.timeframes, strategy)
        ground = _Lanes.of(open_session(), strategy, timeframes, request)
    places = grid(axes) if request.points is None else sobol(axes, request.points, ground.session.settings.seed)
    began = time.perf_counter()
    with progress("points", len(places)) as advance:
        swept = ground.run(axes, places, advance)
    seconds = time.perf_counter() - began
    if not len(swept.frame):
        reasons = "; ".join(list(swept.refused)[:1])
        msg = f"none of the {len(places):,} points can be run: {reasons}"
        raise BlofinError(msg)
    _finish(ground, swept, seconds, request)


@dataclass(frozen=True, eq=False)
class _Lanes:
    """Stored lanes, on which the points of a strategy run."""

    strategy: Strategy
    stored: Stored
    panel: Panel

    @classmethod
    def of(cls, session: Session, strategy: Strategy, chosen: Sequence[Timeframe], request: Request) -> Self:
        timeframes = tuple(each for each in chosen if each in strategy.timeframes)
        stored = stored_window(session, request.symbols, timeframes, request.span, days=DEFAULT_DAYS)
        panel = Panel.read(stored.manager, stored.symbols, stored.window, timeframes=timeframes, rules=stored.rules)
        return cls(strategy, stored, panel)

    @property
    def session(self) -> Session:
        return self.stored.session

    @property
    def window(self) -> Window:
        return self.panel.window

    @property
    def lanes(self) -> list[str]:
        return [f"{symbol}:{timeframe}" for symbol, timeframe in self.panel.lanes]

    @property
    def tried(self) -> Configuration:
        return (Kind.STRATEGY.value, self.strategy.name, "", ",".join(sorted(self.lanes)))

    def told(self) -> str:
        window = self.window
        return self.stored.told(window.start, window.end, (timeframe for _, timeframe in self.panel.lanes))

    def notes(self) -> list[str]:
        return [*self.stored.kept_out, *self.stored.late(self.window.start)]

    def run(self, axes: Sequence[Axis], places: IntArray, ran: Callable[[int], object]) -> Swept:
        return sweep(self.panel, self.strategy, axes, places, ran=ran)

    def luck(self, values: Mapping[str, float], tries: int) -> SharpeEvidence:
        run = self.panel.run(self.strategy.with_parameters(**values), evidence=True)
        errors = () if run.gross_se is None else (run.gross_se,)
        assert run.episodes is not None  # noqa: S101 - evidence was asked for
        return sharpe_evidence(run.pooled.present_returns, run.episodes, tries, errors)


@dataclass(frozen=True, eq=False)
class _Universe:
    """The stored universe, on which the points of a book run."""

    strategy: Book
    stored: StoredBooks

    @classmethod
    def of(cls, session: Session, book: Book, axes: Sequence[Axis], request: Request) -> Self:
        return cls(
            book, stored_books_of(session, corners(book, {axis.name: axis.values for axis in axes}), request.span)
        )

    @property
    def session(self) -> Session:
        return self.stored.session

    @property
    def window(self) -> Window:
        return self.stored.window

    @property
    def lanes(self) -> list[str]:
        return [self.tried[3]]

    @property
    def tried(self) -> Configuration:
        return (Kind.BOOK.value, self.strategy.name, "", f"{self.session.settings.universe} {self.strategy.timeframe}")

    @property
    def _market(self) -> DeepMarket:
        return self.stored.markets[self.strategy.timeframe]

    def told(self) -> str:
        return f"{window_text(self.window.start, self.window.end)} · {self.stored.told()}"

    def notes(self) -> list[str]:
        return self.stored.notes()

    def run(self, axes: Sequence[Axis], places: IntArray, ran: Callable[[int], object]) -> Swept:
        return sweep_book(self._market.prepared, self.strategy, axes, places, start=self.window.start, ran=ran)

    def luck(self, values: Mapping[str, float], tries: int) -> SharpeEvidence:
        book = self.strategy.with_parameters(**values)
        found = self._market.prepared.backtest(book, start=self.window.start)
        return book_luck(BookRun(book, self._market, found, self.session.settings.universe), tries)


def _axes(strategy: Strategy | Book, asked: Sequence[Range]) -> list[Axis]:
    """Return the axes, those with several values first; refuse values that a parameter cannot take."""
    declared = strategy.ranges()
    axes = []
    for each in asked:
        param = declared[each.name]
        values = each.values(each.step or step_of(param))
        try:
            checked = tuple(float(param.checked(each.name, value)) for value in (values[0], values[-1], *values))[2:]
        except LanguageError as error:
            msg = f"--param {each.name}: {error}"
            raise BlofinError(msg) from None
        axes.append(Axis(each.name, checked))
    return sorted(axes, key=lambda axis: len(axis.values) == 1)


def _finish(ground: _Lanes | _Universe, swept: Swept, seconds: float, request: Request) -> None:
    whole_grid, strategy, market = request.points is None, ground.strategy, market_name(ground.session)
    names = [axis.name for axis in swept.moving]
    tries = _count(ground, swept)
    around = _plateau(swept, whole_grid=whole_grid)
    luck = None if swept.best is None else ground.luck(swept.parameters(swept.best), tries)
    said = _said(swept, strategy, around, luck, whole_grid=whole_grid)
    begin, end, window = ground.window.start, ground.window.end, ground.told()
    left_out = (f"{count:,} points left out: {reason}" for reason, count in swept.refused.items())
    notes = [*ground.notes(), *left_out]
    page = sweep_page(
        strategy.name,
        swept.frame,
        names,
        best=swept.best,
        plateau=around,
        sharpe=luck,
        whole_grid=whole_grid,
        said=said,
        window=f"{window} · {market}",
        notes=notes,
    )
    which = row_id(
        *ground.tried, begin, [(axis.name, axis.values) for axis in swept.axes], whole_grid, len(swept.frame)
    )[:8]
    path = write_whole(page_path(ground.session, f"{strategy.name}_sweep_{end:%Y%m%dT%H%MZ}_{which}.html"), page)
    if request.as_json:
        told = {"market": market, "start": begin, "end": end, "lanes": ground.lanes, "seconds": seconds, "said": said}
        print_json({**_document(strategy, swept, around, luck, tries), **told, "notes": notes, "page": path})
        return
    out = Console()
    out.print(_table(strategy, swept, market, window))
    rate = f"{60.0 * len(swept.frame) / max(seconds, 1e-9):,.0f} a minute"
    ran = f"{len(swept.frame):,} points, each a trial, in {seconds:.1f} s ({rate})"
    say(out, (ran, *said, *notes, f"page: {shown_path(path)}"))


def _count(ground: _Lanes | _Universe, swept: Swept) -> int:
    """Record every point as a trial; return how many configurations were tried on an overlapping window."""
    store = ground.session.warehouse
    window = ground.window.start, ground.window.end
    rows = swept_rows(ground.tried, Author.USER, window[1], store.snapshot_id(), window, swept.frame)
    with store.transaction(RUN_ID) as tx:
        tx.append("research.trials", rows, key=["id"])
    return count_seen(store, *window)


def _plateau(swept: Swept, *, whole_grid: bool) -> Plateau | None:
    best = swept.best
    if best is None:
        return None
    several = [place for place, axis in enumerate(swept.axes) if len(axis.values) > 1]
    places = swept.places[:, several]
    around = neighbours_on_grid(places, best) if whole_grid else nearest(places, best)
    return plateau(swept.sharpe, around, best, float(swept.frame["sharpe_se"][best]))


def _said(
    swept: Swept, strategy: Strategy | Book, around: Plateau | None, luck: SharpeEvidence | None, *, whole_grid: bool
) -> list[str]:
    best = swept.best
    if best is None or around is None or luck is None:
        return [f"No point made {FEW_TRADES} trades with a Sharpe ratio: there is no best."]
    row = swept.frame.row(best, named=True)
    at = ", ".join(f"{axis.name} = {row[axis.name]:g}" for axis in swept.moving)
    lines = [f"Best: {at}, with a Sharpe ratio of {row['sharpe']:.2f} ± {row['sharpe_se']:.2f}."]
    who = "neighbours" if whole_grid else "nearest points"
    counted = f"{around.within} of its {around.neighbours} {who} are within its standard error"
    if not around.neighbours:
        lines.append("None of its neighbours could be run, so nothing says whether it stands alone.")
    elif around.alone:
        lines.append(f"The best stands alone: {counted}. A small change loses it, as luck does.")
    else:
        lines.append(f"The best stands on a plateau: {counted}.")
    share = float(np.mean(swept.sharpe >= row["sharpe"] - row["sharpe_se"]))
    if share >= _WIDE and not around.alone:
        lines.append(f"That says little here: so are {share:.0%} of all points. A longer window tells more apart.")
    lines.extend(_edges(swept, strategy, best))
    if luck.unknown:
        lines.append(f"No deflated ratio: {luck.unknown}.")
    else:
        verdict = "supported" if luck.supported else "not supported"
        deflated = "–" if luck.deflated is None else f"{luck.deflated:.3f}"
        lines.append(f"Deflated Sharpe ratio {deflated} after {luck.trials:,} tries, taken as independent: {verdict}.")
    return lines


def _edges(swept: Swept, strategy: Strategy | Book, best: int) -> list[str]:
    """Return a line for each range at whose end the best lies, where the parameter may go further."""
    lines = []
    values = swept.parameters(best)
    for axis in swept.moving:
        param = strategy.ranges()[axis.name]
        low, high = axis.values[0], axis.values[-1]
        at = values[axis.name]
        if (at == low and low > param.low) or (at == high and high < param.high):
            further = f"{param.low:g} to {param.high:g}"
            lines.append(f"It lies at an end of {axis.name}, {at:g}: the range may go on, {further} is allowed.")
    return lines


def _document(
    strategy: Strategy | Book, swept: Swept, around: Plateau | None, luck: SharpeEvidence | None, tries: int
) -> dict[str, object]:
    best = swept.best
    return {
        "name": strategy.name,
        "parameters": strategy.parameters,
        "axes": {axis.name: axis.values for axis in swept.axes},
        "points": swept.frame.drop("params"),
        "left_out": swept.refused,
        "best": None if best is None else swept.frame.drop("params").row(best, named=True),
        "plateau": None if around is None else {**vars(around), "share": around.share, "alone": around.alone},
        "deflated_sharpe": None if luck is None else luck.deflated,
        "tries": tries,
    }


def _table(strategy: Strategy | Book, swept: Swept, market: str, window: str) -> Table:
    table = Table(title=f"{strategy.name} on the {market} market\n{window}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for axis in swept.moving:
        table.add_column(axis.name, justify="right")
    for heading in ("Sharpe", "score", "trades", "total %", "max DD %"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = swept.frame.with_row_index("row").sort("sharpe", "row", descending=[True, False], nulls_last=True)
    for row in best.head(SHOWN).rows(named=True):
        sharpe = "–" if row["sharpe"] is None else f"{row['sharpe']:.2f} ±{row['sharpe_se']:.2f}"
        score = "–" if row["score"] is None else f"{row['score']:.1f}"
        cells = (sharpe, score, str(row["trades"]), f"{row['total_pnl_pct']:+.2f}", f"{100 * row['max_drawdown']:.1f}")
        table.add_row(*(f"{row[axis.name]:g}" for axis in swept.moving), *cells)
    return table
