"""`blofin walk-forward`: parameters chosen on each window and traded on the next, as a table, sentences and a page.

Belongs here: arguments, the table, the sentences, the trials, the file. Does not belong here: tuning and running
(`strategies.search.walk_forward`), the page itself (`backtester.walk_page`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from backtester.evaluation.comparison import HourlyResult
from backtester.statistics.metrics import HOURS_PER_YEAR
from backtester.statistics.overfitting import SharpeEvidence, sharpe_evidence
from backtester.statistics.windows import Fold, Window, walk_forward
from backtester.walk_page import walk_page
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.idea import length_of
from blofin_assets.cli.loading import with_parameters
from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.stored import (
    Span,
    Stored,
    chosen_timeframes,
    days_text,
    market_name,
    page_path,
    progress,
    say,
    shown_path,
    stored_window,
    window_text,
)
from blofin_assets.cli.stored_books import StoredBooks, check_of_book, corners, stored_books_of
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import frame_of, row_id, trial_row
from blofin_assets.shared.trial_ledger import count_seen
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from features.bars import Timeframe, bar_length
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.search.books.objective import ScoredBook
from strategies.search.objective import Scored
from strategies.search.panel import PanelRun
from strategies.search.walk_forward import MOST_FOLDS, BookTest, Joined, Step, walk, walk_book

RUN_ID: Final = "blofin walk-forward"
"""`run_id` of the trials' rows: this is no Dagster run."""

EXAMPLE: Final = "for example: blofin walk-forward ema_crossover --train 28d --test 7d"

_ALL_DAYS: Final = 20_000
_FEW: Final = 4
"""Windows below which nothing is said of the order of their results."""


@dataclass(frozen=True)
class Request:
    """The arguments, unparsed."""

    strategy: str
    train: str
    test: str
    anchored: bool
    budget: int | None
    params: Sequence[str]
    symbols: str | None
    timeframes: str | None
    span: Span
    as_json: bool = False


def run_walk(request: Request) -> None:
    """Tune on each window, run the choice on the next, print what came and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong, or the data are shorter than one step.
    """
    train, test = length_of(request.train, "--train"), length_of(request.test, "--test")
    strategy = with_parameters(request.strategy, request.params, EXAMPLE)
    if not strategy.parameters:
        msg = f"{strategy.name} has no parameters to choose; run: blofin backtest {strategy.name}"
        raise BlofinError(msg)
    ground: _Lanes | _Universe
    if isinstance(strategy, Book):
        check_of_book(strategy, request.symbols, request.timeframes, request.span)
        _check_lengths(strategy, request, train, test)
        ranges = {name: (param.low, param.high) for name, param in strategy.ranges().items()}
        session = open_session()
        ground = _Universe(strategy, stored_books_of(session, corners(strategy, ranges), request.span))
    else:
        chosen = chosen_timeframes(request.timeframes, strategy)
        timeframes = tuple(each for each in chosen if each in strategy.timeframes)
        session = open_session()
        stored = stored_window(session, request.symbols, timeframes, request.span, days=_ALL_DAYS)
        ground = _Lanes(strategy, stored, timeframes)
    folds = _folds(ground, request, train, test)
    budget = session.settings.tuning_budget if request.budget is None else request.budget
    with progress("windows", len(folds)) as advance:
        steps = ground.walk(folds, budget, lambda _: advance(1))
    _finish(ground, steps, request, budget)


@dataclass(frozen=True, eq=False)
class _Lanes:
    """Stored lanes, on which a strategy is walked."""

    strategy: Strategy
    stored: Stored
    timeframes: tuple[Timeframe, ...]

    @property
    def session(self) -> Session:
        return self.stored.session

    @property
    def window(self) -> Window:
        return Window(max(self.stored.window.start, self.stored.first), self.stored.window.end)

    @property
    def kind(self) -> Kind:
        return Kind.STRATEGY

    @property
    def of(self) -> str:
        return ", ".join(self.stored.symbols)

    def walk(self, folds: Sequence[Fold], budget: int, done: Callable[[Step], object]) -> list[Step]:
        return walk(
            self.stored.manager, self.strategy, self.stored.symbols, folds, timeframes=self.timeframes,
            rules=self.stored.rules, budget=budget, seed=self.session.settings.seed, done=done,
        )  # fmt: skip

    def lanes(self, run: PanelRun | BookTest) -> str:
        """Return the scored lanes of a test, as the ledger names them."""
        return ",".join(sorted(f"{symbol}:{timeframe}" for symbol, timeframe in self._lanes(run)))

    def trained(self, scored: Scored | ScoredBook) -> str:
        return scored.lanes

    def traded(self, steps: Sequence[Step]) -> tuple[list[str], list[Timeframe]]:
        """Return the symbols and timeframes that were walked."""
        return self.stored.symbols, list(dict.fromkeys(lane[1] for lane in self._lanes(steps[-1].test)))

    def told(self, begin: datetime, end: datetime, lengths: Sequence[Timeframe]) -> str:
        return self.stored.told(begin, end, lengths)

    def notes(self) -> list[str]:
        return self.stored.kept_out

    def _lanes(self, run: PanelRun | BookTest) -> list[tuple[str, Timeframe]]:
        assert isinstance(run, PanelRun)  # noqa: S101 - of a strategy
        return [lane for lane in run.lane_trades if lane[1] in self.strategy.timeframes]


@dataclass(frozen=True, eq=False)
class _Universe:
    """The stored universe, on which a book is walked."""

    strategy: Book
    stored: StoredBooks

    @property
    def session(self) -> Session:
        return self.stored.session

    @property
    def window(self) -> Window:
        return self.stored.window

    @property
    def kind(self) -> Kind:
        return Kind.BOOK

    @property
    def of(self) -> str:
        return f"universe {self.session.settings.universe}"

    def walk(self, folds: Sequence[Fold], budget: int, done: Callable[[Step], object]) -> list[Step]:
        prepared = self.stored.markets[self.strategy.timeframe].prepared
        return walk_book(
            prepared, self.strategy, folds, budget=budget, seed=self.session.settings.seed, done=done
        )  # fmt: skip

    def lanes(self, _: PanelRun | BookTest) -> str:
        """Return what a book trades, as the ledger names it."""
        return f"{self.session.settings.universe} {self.strategy.timeframe}"

    def trained(self, _: Scored | ScoredBook) -> str:
        return f"{self.session.settings.universe} {self.strategy.timeframe}"

    def traded(self, _: Sequence[Step]) -> tuple[list[str], list[Timeframe]]:
        """Return what names the walk: the universe, and its timeframe."""
        return [self.of], [self.strategy.timeframe]

    def told(self, begin: datetime, end: datetime, _: Sequence[Timeframe]) -> str:
        return f"{window_text(begin, end)} · {self.stored.told()}"

    def notes(self) -> list[str]:
        return self.stored.notes()


def _check_lengths(book: Book, request: Request, train: timedelta, test: timedelta) -> None:
    """Refuse windows that no whole number of a book's bars fills."""
    for option, text, length in (("--train", request.train, train), ("--test", request.test, test)):
        if length % bar_length(book.timeframe):
            msg = f"{option} {text}: {book.name} trades on {book.timeframe}; give a multiple of that"
            raise BlofinError(msg)


def _folds(ground: _Lanes | _Universe, request: Request, train: timedelta, test: timedelta) -> list[Fold]:
    """Return the steps that the window has room for, the last test ending where it ends."""
    window = ground.window
    count = (window.length - train) // test
    if count < 1:
        msg = (
            f"--train {request.train} and --test {request.test} need {days_text(train + test)}, and there are "
            f"{days_text(window.length)} of {ground.of}, {window.start:%Y-%m-%d %H:%M} to "
            f"{window.end:%Y-%m-%d %H:%M}; give shorter ones"
        )
        raise BlofinError(msg)
    if count > MOST_FOLDS:
        msg = f"--test {request.test} cuts {days_text(window.length)} into {count:,} steps, more than {MOST_FOLDS}; "
        raise BlofinError(msg + "give a longer --test")
    return walk_forward(
        window, count, train=None if request.anchored else train, first_train=window.length - count * test
    )


def _finish(ground: _Lanes | _Universe, steps: Sequence[Step], request: Request, budget: int) -> None:
    strategy, market = ground.strategy, market_name(ground.session)
    tries = _count(ground, steps)
    joined, written = Joined.of([step.test for step in steps]), Joined.of([step.written for step in steps])
    errors = [step.test.gross_se for step in steps if step.test.gross_se is not None]
    # each window's error is of a part: that of the whole is smaller by the root of their number
    error = (math.sqrt(float(np.mean(np.square(errors))) / len(errors)),) if errors else ()
    luck = sharpe_evidence(joined.returns, joined.episodes, 1, error)
    windows = _windows(steps)
    lasted = _lasted(windows, joined, written, luck)
    begin, end = steps[0].fold.train.start, steps[-1].fold.test.end
    how = "anchored" if request.anchored else "rolling"
    symbols, lengths = ground.traded(steps)
    done = f"train {request.train}, test {request.test}, {how}, {budget} evaluations a window"
    window = f"{ground.told(begin, end, lengths)} · {done} · {market}"
    notes = [
        *ground.notes(),
        f"{tries:,} configurations have been tried on any of the tested days; each further walk is another try",
    ]
    page = walk_page(
        strategy.name,
        windows,
        joined.hours,
        [("chosen before each window", joined.equity), ("as written", written.equity)],
        sharpe=luck,
        lasted=lasted,
        window=window,
        notes=notes,
    )
    which = row_id(strategy.version, begin, end, request.train, request.test, how, budget, symbols, lengths)[:8]
    path = write_whole(page_path(ground.session, f"{strategy.name}_walk_{end:%Y%m%dT%H%MZ}_{which}.html"), page)
    if request.as_json:
        ran = {"market": market, "start": begin, "end": end, "symbols": symbols, "timeframes": lengths}
        asked = {"train": request.train, "test": request.test, "anchored": request.anchored, "budget": budget}
        found = _document(steps, windows, joined, written, luck)
        told = {"tries": tries, "said": lasted, "notes": notes, "page": path}
        print_json({"name": strategy.name, "parameters": strategy.parameters, **ran, **asked, **found, **told})
        return
    out = Console()
    out.print(_table(strategy, windows, market, window))
    say(out, (*lasted, *notes, f"page: {shown_path(path)}"))


def _count(ground: _Lanes | _Universe, steps: Sequence[Step]) -> int:
    """Record every version as a trial on each window that it saw; return how many were tried on the tested days."""
    store = ground.session.warehouse
    snapshot = store.snapshot_id()

    def row(version: Strategy | Book, lanes: str, pooled: HourlyResult) -> dict[str, Any]:
        tried = (ground.kind.value, version.name, version.version, lanes)
        # as of its own window's end, as a backtest of that window: anchored windows begin together
        return trial_row(tried, Author.USER, pooled.end, snapshot, pooled, version.parameters)

    rows: dict[Any, dict[str, Any]] = {}
    for step in steps:
        seen = [row(each.strategy, ground.trained(each), each.pooled) for each in step.tried]
        for run, version in ((step.test, step.chosen), (step.written, ground.strategy)):
            seen.append(row(version, ground.lanes(run), run.pooled))
        rows |= {each["id"]: each for each in seen}
    with store.transaction(RUN_ID) as tx:
        tx.append("research.trials", frame_of(list(rows.values())), key=["id"])
    return count_seen(store, steps[0].fold.test.start, steps[-1].fold.test.end)


def _windows(steps: Sequence[Step]) -> pl.DataFrame:
    """Return a row for each step, as `backtester.walk_page.walk_page` takes it."""
    rows = []
    for step in steps:
        train, test = step.train.pooled, step.test.pooled
        rows.append(
            {
                "start": step.fold.test.start,
                "end": step.fold.test.end,
                "parameters": ", ".join(f"{name} {value:g}" for name, value in step.chosen.parameters.items()),
                "train_sharpe": train.sharpe,
                "train_day_pct": _a_day(train),
                "test_sharpe": test.sharpe,
                "test_se": test.sharpe_se,
                "test_pct": test.total_pnl_pct,
                "test_day_pct": _a_day(test),
                "trades": test.trades,
                "written_pct": step.written.pooled.total_pnl_pct,
            }
        )
    floats = ("train_sharpe", "test_sharpe", "test_se")
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(floats, pl.Float64))


def _document(
    steps: Sequence[Step], windows: pl.DataFrame, joined: Joined, written: Joined, luck: SharpeEvidence
) -> dict[str, object]:
    """Return the windows and the joined tests as numbers; `start` and `end` of a window are its test's."""
    year = math.sqrt(HOURS_PER_YEAR)
    trained = [{"train_start": step.fold.train.start, "train_end": step.fold.train.end} for step in steps]
    chosen = [{"parameters": step.chosen.parameters, "version": step.chosen.version} for step in steps]
    return {
        "windows": [
            {**train, **row, **version}
            for train, row, version in zip(trained, windows.rows(named=True), chosen, strict=True)
        ],
        "joined_pct": 100.0 * float(joined.equity[-1] - 1.0),
        "written_pct": 100.0 * float(written.equity[-1] - 1.0),
        "sharpe": None if luck.sharpe is None else luck.sharpe * year,
        "sharpe_se": None if luck.se is None else luck.se * year,
        "probabilistic_sharpe": luck.probabilistic,
    }


def _a_day(pooled: HourlyResult) -> float:
    return pooled.total_pnl_pct / ((pooled.end - pooled.start) / timedelta(days=1))


def _lasted(windows: pl.DataFrame, joined: Joined, written: Joined, luck: SharpeEvidence) -> list[str]:
    """Return how far training results lasted, a sentence each."""
    train, test = (float(np.mean(windows[name].to_numpy())) for name in ("train_day_pct", "test_day_pct"))
    share = f", {test / train:.0%} of it" if train > 0.0 else ""
    lines = [f"Chosen versions earned {train:+.3f} % a day in training and {test:+.3f} % a day in the tests{share}."]
    gained = int((windows["test_pct"] > 0.0).sum())
    lines.append(f"{gained} of {len(windows)} tests gained.")
    pairs = windows.select("train_sharpe", "test_sharpe").drop_nulls()
    if len(pairs) >= _FEW:
        rank = float(spearmanr(pairs["train_sharpe"].to_numpy(), pairs["test_sharpe"].to_numpy()).statistic)
        if math.isfinite(rank):
            lines.append(
                f"Rank correlation of the ratios in training and test, over {len(pairs)} windows: {rank:+.2f}."
            )
    own, plain = (100.0 * float(curve.equity[-1] - 1.0) for curve in (joined, written))
    better = "more" if own > plain else "no more"
    lines.append(f"Joined tests {own:+.2f} %, as written {plain:+.2f} %: choosing earned {better} than leaving it.")
    if luck.sharpe is None or luck.se is None:
        lines.append("The joined tests have no Sharpe ratio.")
    else:
        year = math.sqrt(HOURS_PER_YEAR)
        known = luck.unknown or f"above zero with probability {luck.probabilistic:.3f}, if this were the only walk"
        lines.append(f"Sharpe ratio of the joined tests {luck.sharpe * year:.2f} ± {luck.se * year:.2f}: {known}.")
    return lines


def _table(strategy: Strategy | Book, windows: pl.DataFrame, market: str, window: str) -> Table:
    table = Table(title=f"{strategy.name} on the {market} market\n{window}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("test", "chosen", "train Sharpe", "test Sharpe", "test %", "written %", "trades"):
        table.add_column(heading, justify="left" if heading in ("test", "chosen") else "right")
    for row in windows.rows(named=True):
        ratio = "–" if row["test_sharpe"] is None else f"{row['test_sharpe']:.1f} ±{row['test_se']:.1f}"
        table.add_row(
            f"{row['start']:%y-%m-%d}",
            row["parameters"],
            "–" if row["train_sharpe"] is None else f"{row['train_sharpe']:.1f}",
            ratio,
            f"{row['test_pct']:+.2f}",
            f"{row['written_pct']:+.2f}",
            str(row["trades"]),
        )
    return table
