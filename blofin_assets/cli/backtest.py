"""`blofin backtest`: strategies, or a book, on what is stored, as tables in the terminal, pages, files and JSON.

Belongs here: arguments, the table, the file. Does not belong here: backtesting and the page itself (`backtester`), the
tables of a book (`blofin_assets.cli.backtest_book`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from rich.console import Console

from backtester import Costs, Evaluation, evaluate
from backtester.evaluation.breakdown import TREND, breakdown
from backtester.evaluation.robustness import Evidence, gather
from backtester.page import backtest_page
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.overfitting import SharpeEvidence, episodes_of, sharpe_evidence
from blofin_assets.cli.backtest_book import RanBook, backtest_stored_book, show_book
from blofin_assets.cli.backtest_text import Ran, document, show
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.export import export, strategy_frames
from blofin_assets.cli.idea import BOOK_EXPORTED, export_paths
from blofin_assets.cli.loading import with_parameters
from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.stored import Span, Stored, chosen_timeframes, shown_path, stored_window
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import pooled_of, row_id, trial_rows
from blofin_assets.shared.trial_ledger import configuration, count_seen
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from features.bars import TIMEFRAMES, Timeframe
from strategies.language.book import Book
from strategies.language.strategy import LEVELS, Strategy

RUN_ID: Final = "blofin backtest"
"""`run_id` of the trial's row: this is no Dagster run."""

DEFAULT_DAYS: Final = 7
"""Length of a strategy's window."""

EXAMPLE: Final = "for example: blofin backtest ema_crossover --days 7 --param fast=8"


@dataclass(frozen=True)
class Request:
    """The arguments, unparsed."""

    strategy: str
    symbols: str | None
    timeframes: str | None
    days: int | None
    params: Sequence[str]
    as_of: datetime
    start: datetime | None = None
    end: datetime | None = None
    capital: float | None = None
    fee: float | None = None
    slippage: float | None = None
    maker: float | None = None
    impact: float | None = None
    leverage: float | None = None
    folder: Path | None = None
    form: str = "parquet"
    as_json: bool = False
    others: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """Every strategy or book that was named."""
        return [self.strategy, *self.others]

    def costs(self) -> Costs:
        """Return the costs asked for, those of `Costs` where none were."""
        given = {"taker_fee": self.fee, "slippage": self.slippage, "maker_fee": self.maker, "impact": self.impact}
        rates = {name: rate for name, rate in given.items() if rate is not None}
        return Costs(**rates, maker_targets=self.maker is not None)


def run_backtest(request: Request) -> None:
    """Backtest strategies, or a book, of the library or of files; print each and write its page.

    Raises
    ------
    BlofinError
        If an argument is wrong.
    """
    if request.others and request.params:
        msg = f"--param {request.params[0]}: {', '.join(request.names)} are several; give parameters to one at a time"
        raise BlofinError(msg)
    found = [with_parameters(name, request.params, EXAMPLE) for name in request.names]
    _check(found, request)
    session = open_session()
    if request.as_json:
        print_json({"backtests": [each.document() for each in _backtests(session, found, request)]})
        return
    out = Console()
    for each in _backtests(session, found, request):
        if isinstance(each, RanBook):
            show_book(out, each)
        else:
            show(out, each.stored, each.ran, DEFAULT_DAYS if request.days is None else request.days)
        for file in (f"page: {shown_path(each.page)}", *(f"exported: {shown_path(path)}" for path in each.exported)):
            out.print(file, markup=False, soft_wrap=True)


@dataclass(frozen=True, eq=False)
class Done:
    """A strategy that was run, and its files."""

    stored: Stored
    ran: Ran
    page: Path
    exported: Sequence[Path] = ()

    def document(self) -> dict[str, object]:
        """Return it for `blofin_assets.cli.documents.json_of`."""
        return document(self.ran, self.stored.market, self.page, self.exported)

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return what it did, as it is exported."""
        return strategy_frames(self.ran.evaluation, self.ran.parts)


def backtests(session: Session, found: Sequence[Strategy | Book], request: Request) -> list[Done | RanBook]:
    """Backtest strategies, or a book, as `run_backtest` does.

    Parameters
    ----------
    session : Session
        Open warehouse; each trial is counted there.
    found : sequence of Strategy or Book
        What is run.
    request : Request
        Window, costs, capital, leverage, export.

    Returns
    -------
    list of Done or RanBook
        Each with its page, `document()` and `frames()`.

    Raises
    ------
    BlofinError
        If an argument is wrong.
    """
    _check(found, request)
    return list(_backtests(session, found, request))


def _check(found: Sequence[Strategy | Book], request: Request) -> None:
    """Refuse what can be refused before anything is opened."""
    if request.capital is not None and not (math.isfinite(request.capital) and request.capital > 0.0):
        msg = f"--capital {request.capital:g}: give an amount of quote currency above zero"
        raise BlofinError(msg)
    books = [each for each in found if isinstance(each, Book)]
    if books and len(found) > 1:
        names = ", ".join(each.name for each in found)
        msg = f"{books[0].name} is a book, and {names} are several; backtest a book by itself"
        raise BlofinError(msg)
    if books:
        _check_book(books[0], request)
    else:
        _check_strategies([each for each in found if isinstance(each, Strategy)], request)


def _backtests(session: Session, found: Sequence[Strategy | Book], request: Request) -> Iterator[Done | RanBook]:
    """Run what was checked, one after the other."""
    strategies = [each for each in found if isinstance(each, Strategy)]
    yield from (_run_book(session, each, request) for each in found if isinstance(each, Book))
    if not strategies:
        return
    each_on = [chosen_timeframes(request.timeframes, strategy) for strategy in strategies]
    span = Span(request.as_of, request.start, request.end, request.days)
    every = tuple(name for name in TIMEFRAMES if any(name in chosen for chosen in each_on))
    stored = stored_window(session, request.symbols, every, span, days=DEFAULT_DAYS)
    for strategy, timeframes in zip(strategies, each_on, strict=True):
        ran = run_stored(stored, strategy, timeframes, request, RUN_ID)
        path = _write(stored, ran, strategy.description, timeframes, request)
        done = Done(stored, ran, path)
        yield replace(done, exported=_exported(done, request))


def _check_book(book: Book, request: Request) -> None:
    _refuse(
        {"--symbols": request.symbols, "--timeframes": request.timeframes, "--leverage": request.leverage},
        f"{book.name} is a book: it trades its universe on {book.timeframe}, with its own leverage",
    )
    strategies_alone = {"--maker": request.maker, "--impact": request.impact}
    _refuse(strategies_alone, f"{book.name} is a book, and this is of strategies")
    if request.folder is not None:
        export_paths(request.folder, [book.name], request.form, BOOK_EXPORTED)
    if request.days is not None:
        _refuse({"--start": request.start}, "--days is the length of the window")
        if request.days < 1:
            msg = f"--days {request.days}: give at least one day"
            raise BlofinError(msg)


def _run_book(session: Session, book: Book, request: Request) -> RanBook:
    end = request.as_of if request.end is None else min(request.end, request.as_of)
    start = request.start if request.days is None else timedelta(days=request.days)
    capital = DEFAULT_CAPITAL if request.capital is None else request.capital
    ran = backtest_stored_book(session, book, start, end, capital, RUN_ID, request.costs())
    return replace(ran, exported=_exported(ran, request))


def _exported(each: Done | RanBook, request: Request) -> list[Path]:
    """Write the files that were asked for."""
    if request.folder is None:
        return []
    name = each.run.name if isinstance(each, RanBook) else each.ran.evaluation.name
    return export(each.frames(), name, request.folder, request.form)


def _refuse(given: Mapping[str, object], reason: str) -> None:
    """Refuse options that make no sense here."""
    wrong = [option for option, value in given.items() if value is not None]
    if wrong:
        msg = f"{', '.join(wrong)}: {reason}; leave it out"
        raise BlofinError(msg)


@dataclass(frozen=True)
class Levered:
    """A strategy with one leverage at every entry, whatever it declares.

    Attributes
    ----------
    inner : Strategy
        Whose signals they are.
    leverage : float
        Of every entry; what the instrument does not allow is cut to its maximum.
    """

    inner: Strategy
    leverage: float

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.inner.name

    @property
    def version(self) -> str:
        """The strategy's and the leverage: another configuration."""
        return f"{self.inner.version}x{self.leverage:g}"

    @property
    def parameters(self) -> dict[str, int | float]:
        """The strategy's."""
        return self.inner.parameters

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The strategy's."""
        return self.inner.timeframes

    @property
    def lookback(self) -> int:
        """The strategy's."""
        return self.inner.lookback

    def features(self, timeframe: Timeframe) -> list[str]:
        """Return the strategy's."""
        return self.inner.features(timeframe)

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the strategy's signals with the leverage."""
        return self.inner.signals(frame).with_columns(pl.lit(self.leverage).alias("leverage"))


def _check_strategies(strategies: Sequence[Strategy], request: Request) -> None:
    names = [strategy.name for strategy in strategies]
    if len(set(names)) < len(names):
        msg = f"{', '.join(names)}: one is named twice; name each once, or compare versions with blofin compare"
        raise BlofinError(msg)
    if request.folder is not None:
        export_paths(request.folder, names, request.form)
    if request.leverage is not None and not LEVELS["leverage"][0] <= request.leverage <= LEVELS["leverage"][1]:
        low, high = LEVELS["leverage"]
        msg = f"--leverage {request.leverage:g}: give {low:g} to {high:g}"
        raise BlofinError(msg)
    request.costs()  # a rate that cannot be is refused before anything is read
    for strategy in strategies:
        chosen_timeframes(request.timeframes, strategy)


def run_stored(
    stored: Stored, strategy: Strategy, timeframes: Sequence[Timeframe], request: Request, run_id: str
) -> Ran:
    """Backtest one strategy on a stored window, and count the trial.

    Parameters
    ----------
    stored : Stored
        The window.
    strategy : Strategy
        What is run.
    timeframes : sequence of Timeframe
        Those that are run.
    request : Request
        Costs, capital and leverage.
    run_id : str
        Writer of the trial's row.

    Returns
    -------
    Ran
        Result, evidence and breakdown.
    """
    session, window = stored.session, stored.window
    capital = DEFAULT_CAPITAL if request.capital is None else request.capital
    run = strategy if request.leverage is None else Levered(strategy, request.leverage)
    evaluation = evaluate(
        [run], stored.manager, stored.symbols, window.start, window.end, request.costs(), timeframes=timeframes,
        rules=stored.rules, capital=capital, rounded=request.capital is not None,
    )[0]  # fmt: skip
    evidence = gather(evaluation, seed=session.settings.seed, notional=capital)
    sharpe = _ledger(session, evaluation, evidence, window.end, run_id)
    symbols = list(dict.fromkeys(lane.symbol for lane in evaluation.scored))
    before = pooled_of(evaluation).start - TREND - timedelta(hours=1)
    hours = session.warehouse.candles(symbols, "60m", before, window.end)
    return Ran(evaluation, evidence, sharpe, breakdown(evaluation, hours, seed=session.settings.seed))


def _write(stored: Stored, ran: Ran, idea: str, timeframes: Sequence[Timeframe], request: Request) -> Path:
    """Write the page; its name is unique per configuration, window and costs."""
    pooled, end = pooled_of(ran.evaluation), stored.window.end
    page = backtest_page(
        ran.evaluation,
        stored.candles(timeframes, pooled.start),
        evidence=ran.evidence,
        sharpe=ran.sharpe,
        parts=ran.parts,
        market=stored.market,
        idea=idea,
    )
    tried = configuration(ran.evaluation, Kind.STRATEGY)
    other = [] if request.costs() == Costs() and request.capital is None else [request.costs(), request.capital]
    which = row_id(*tried, pooled.start, pooled.end, *other)[:8]
    return write_whole(stored.page(f"{ran.evaluation.name}_{end:%Y%m%dT%H%MZ}_{which}.html"), page)


def _ledger(session: Session, evaluation: Evaluation, evidence: Evidence, end: datetime, run_id: str) -> SharpeEvidence:
    """Record the trial, and compute the evidence of the Sharpe ratio with the number of trials."""
    pooled, store = pooled_of(evaluation), session.warehouse
    with store.transaction(run_id) as tx:
        tx.append(
            "research.trials",
            trial_rows([evaluation], Kind.STRATEGY, Author.USER, end, store.snapshot_id()),
            key=["id"],
        )
    errors = () if evidence.zero_cost_se is None else (evidence.zero_cost_se,)
    tries = count_seen(store, pooled.start, pooled.end)
    return sharpe_evidence(pooled.present_returns, episodes_of(evaluation.scored_trades), tries, errors)
