"""`blofin backtest`: strategies, or a book, on what is stored, as tables in the terminal, pages, files and JSON.

Belongs here: arguments, the table, the file. Does not belong here: backtesting and the page itself (`backtester`), the
tables of a book (`blofin_assets.cli.backtest_book`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from backtester import Costs, Evaluation, LaneResult, PooledResult, evaluate
from backtester.evaluation.breakdown import TREND, Breakdown, breakdown
from backtester.evaluation.robustness import Evidence, gather
from backtester.evaluation.standard_metrics import Unit, metric_named, values
from backtester.page import backtest_page
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.overfitting import SharpeEvidence, episodes_of, sharpe_evidence
from blofin_assets.cli.backtest_book import backtest_stored_book
from blofin_assets.cli.export import export
from blofin_assets.cli.idea import export_paths
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
        given = {"taker_fee": self.fee, "slippage": self.slippage, "maker_fee": self.maker}
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
    if request.capital is not None and not (math.isfinite(request.capital) and request.capital > 0.0):
        msg = f"--capital {request.capital:g}: give an amount of quote currency above zero"
        raise BlofinError(msg)
    found = [with_parameters(name, request.params, EXAMPLE) for name in request.names]
    books = [each for each in found if isinstance(each, Book)]
    if not books:
        _run_strategies([each for each in found if isinstance(each, Strategy)], request)
    elif len(found) == 1:
        _run_book(books[0], request)
    else:
        msg = f"{books[0].name} is a book, and {', '.join(request.names)} are several; backtest a book by itself"
        raise BlofinError(msg)


def _run_book(book: Book, request: Request) -> None:
    _refuse(
        {"--symbols": request.symbols, "--timeframes": request.timeframes, "--leverage": request.leverage},
        f"{book.name} is a book: it trades its universe on {book.timeframe}, with its own leverage",
    )
    strategies_alone = {"--maker": request.maker, "--export": request.folder, "--json": request.as_json or None}
    _refuse(strategies_alone, f"{book.name} is a book, and this is of strategies")
    end = request.as_of if request.end is None else min(request.end, request.as_of)
    start: datetime | timedelta | None = request.start
    if request.days is not None:
        _refuse({"--start": start}, "--days is the length of the window")
        if request.days < 1:
            msg = f"--days {request.days}: give at least one day"
            raise BlofinError(msg)
        start = timedelta(days=request.days)
    capital = DEFAULT_CAPITAL if request.capital is None else request.capital
    backtest_stored_book(open_session(), book, start, end, capital, RUN_ID, request.costs())


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


@dataclass(frozen=True, eq=False)
class Ran:
    """One strategy backtested: what is printed, written and exported of it."""

    evaluation: Evaluation
    evidence: Evidence
    sharpe: SharpeEvidence
    parts: Breakdown


def _run_strategies(strategies: Sequence[Strategy], request: Request) -> None:
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
    each_on = [chosen_timeframes(request.timeframes, strategy) for strategy in strategies]
    session = open_session()
    span = Span(request.as_of, request.start, request.end, request.days)
    every = tuple(name for name in TIMEFRAMES if any(name in chosen for chosen in each_on))
    stored = stored_window(session, request.symbols, every, span, days=DEFAULT_DAYS)
    out = Console()
    documents = []
    for strategy, timeframes in zip(strategies, each_on, strict=True):
        ran = run_stored(stored, strategy, timeframes, request, RUN_ID)
        path = _write(stored, ran, timeframes, request)
        exported = (
            [] if request.folder is None else export(ran.evaluation, request.folder, request.form, ran.parts.holding)
        )
        if request.as_json:
            documents.append(document(ran, stored.market, path, exported))
        else:
            _print(out, stored, ran, request)
            for file in (f"page: {shown_path(path)}", *(f"exported: {shown_path(each)}" for each in exported)):
                out.print(file, markup=False, soft_wrap=True)
    if request.as_json:
        typer.echo(json.dumps({"backtests": documents}, indent=1))


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
        rules=stored.rules, capital=capital,
    )[0]  # fmt: skip
    evidence = gather(evaluation, seed=session.settings.seed, notional=capital)
    sharpe = _ledger(session, evaluation, evidence, window.end, run_id)
    symbols = list(dict.fromkeys(lane.symbol for lane in evaluation.scored))
    before = pooled_of(evaluation).start - TREND - timedelta(hours=1)
    hours = session.warehouse.candles(symbols, "60m", before, window.end)
    return Ran(evaluation, evidence, sharpe, breakdown(evaluation, hours, seed=session.settings.seed))


def _write(stored: Stored, ran: Ran, timeframes: Sequence[Timeframe], request: Request) -> Path:
    """Write the page; its name is unique per configuration, window and costs."""
    pooled, end = pooled_of(ran.evaluation), stored.window.end
    page = backtest_page(
        ran.evaluation,
        stored.candles(timeframes, pooled.start),
        evidence=ran.evidence,
        sharpe=ran.sharpe,
        parts=ran.parts,
        market=stored.market,
    )
    tried = configuration(ran.evaluation, Kind.STRATEGY)
    other = [] if request.costs() == Costs() and request.capital is None else [request.costs(), request.capital]
    which = row_id(*tried, pooled.start, pooled.end, *other)[:8]
    return write_whole(stored.page(f"{ran.evaluation.name}_{end:%Y%m%dT%H%MZ}_{which}.html"), page)


def _print(out: Console, stored: Stored, ran: Ran, request: Request) -> None:
    evaluation, pooled = ran.evaluation, pooled_of(ran.evaluation)
    begin, end = pooled.start, stored.window.end
    out.print(_table(evaluation, stored.market))
    if begin > stored.window.start:
        has = f"{(end - begin) / timedelta(days=1):.1f} days"
        asked = DEFAULT_DAYS if request.days is None else request.days
        out.print(f"--days {asked}: stored candles begin at {begin:%Y-%m-%d %H:%M}, so the window has {has}")
    out.print(_coverage(evaluation.lanes))
    for line in stored.kept_out:
        out.print(line, markup=False, soft_wrap=True)
    settled = {lane.bars.settled_by for lane in evaluation.packed} - {None, "1m"}
    for timeframe in sorted(settled, key=str):
        out.print(f"what comes first inside a bar is settled by {timeframe} bars: there are no shorter ones")
    levered = (evaluation.declared_trades["leverage"] > 1.0).any()
    if levered or any(lane.signals.liquidatable for lane in evaluation.packed):
        out.print(f"liquidations by {_LIQUIDATED[pooled.liquidation_price]}")
    out.print(_beside(pooled, ran.evidence, ran.sharpe))
    low, middle, high = (100.0 * depth for depth in ran.parts.band)
    out.print(f"drawdown in another order of its days: {middle:.1f} %, in nine of ten {low:.1f} to {high:.1f} %")


def document(ran: Ran, market: str, page: Path, exported: Sequence[Path]) -> dict[str, object]:
    """Return a backtest as a JSON document.

    Parameters
    ----------
    ran : Ran
        The backtest.
    market : str
        Name of the market.
    page : Path
        Its page.
    exported : sequence of Path
        Its files.

    Returns
    -------
    dict of str to value
        Metrics by the names of `backtester.evaluation.standard_metrics`; null where undefined or infinite.
    """
    evaluation, evidence, sharpe = ran.evaluation, ran.evidence, ran.sharpe
    pooled = pooled_of(evaluation)
    found = {
        "name": evaluation.name,
        "version": evaluation.version,
        "parameters": dict(evaluation.parameters),
        "market": market,
        "start": pooled.start.isoformat(),
        "end": pooled.end.isoformat(),
        "costs": vars(evaluation.costs),
        "pooled": values(pooled),
        "lanes": [
            {"symbol": lane.symbol, "timeframe": lane.timeframe, "scored": lane.scored, **values(lane)}
            for lane in evaluation.lanes
        ],
        "by_quarter": ran.parts.quarters.to_dicts(),
        "by_symbol": ran.parts.symbols.to_dicts(),
        "by_session": ran.parts.sessions.to_dicts(),
        "by_regime": ran.parts.regimes.to_dicts(),
        "drawdown_band": list(ran.parts.band),
        "holding_pct": evidence.buy_and_hold.total_pnl_pct,
        "break_even_slippage": evidence.break_even_slippage,
        "random_timing_p": None if evidence.timing is None else evidence.timing.p,
        "deflated_sharpe": sharpe.deflated,
        "tries": sharpe.trials,
        "page": str(page),
        "exported": [str(path) for path in exported],
    }
    plain: dict[str, object] = _finite(found)
    return plain


def _finite(value: Any) -> Any:
    """Return a document without numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_LIQUIDATED: Final = {
    "mark": "mark prices",
    "last": "last prices: there are no mark prices",
    "mixed": "mark prices where there are any, by last prices elsewhere",
}


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


_COLUMNS: Final = {
    "trades": ("trades", 0),
    "win_rate": ("win %", 0),
    "avg_pnl_pct": ("avg %", 3),
    "total_pnl_pct": ("total %", 2),
    "sharpe": ("Sharpe", 1),
    "max_drawdown": ("max DD %", 1),
    "score": ("score", 1),
}
"""Heading and digits of the metrics that fit 80 columns."""


def _table(evaluation: Evaluation, market: str) -> Table:
    """Return lanes and pool as a table that fits 80 columns; every amount is in percent."""
    pooled = pooled_of(evaluation)
    table = Table(
        title=f"{evaluation.name} on the {market} market, {pooled.start:%Y-%m-%d %H:%M} to {pooled.end:%Y-%m-%d %H:%M}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("lane", no_wrap=True)
    for heading, _ in _COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for lane in evaluation.lanes:
        lane_name = f"{lane.symbol} {lane.timeframe}"
        if lane.scored:
            table.add_row(lane_name, *_cells(lane))
        else:
            table.add_row(f"{lane_name} *", *_cells(lane), style="dim")
    table.add_section()
    table.add_row("pooled", *_cells(pooled), style="bold")
    if any(not lane.scored for lane in evaluation.lanes):
        declared = ", ".join(evaluation.timeframes)
        table.caption = f"* not scored, so not in pooled: {evaluation.name} declares {declared}"
    return table


def _coverage(lanes: Sequence[LaneResult]) -> str:
    """Return the coverage of each lane; lanes with full coverage are summarised."""
    lacking = [
        f"{lane.symbol} {lane.timeframe} {math.floor(1000 * lane.coverage) / 10:g} %{' (thin)' if lane.thin else ''}"
        for lane in lanes
        if lane.coverage < 1.0
    ]
    rest = "100 % on every lane" if not lacking else "the others 100 %" if len(lacking) < len(lanes) else ""
    return f"bars of the window that can be traded on: {', '.join([*lacking, *([rest] if rest else [])])}"


def _cells(result: LaneResult | PooledResult) -> list[str]:
    metrics = values(result)
    cells = {name: _cell(metric_named(name).unit, metrics[name], digits) for name, (_, digits) in _COLUMNS.items()}
    if result.sharpe is not None and result.sharpe_se is not None:
        cells["sharpe"] += f" ±{result.sharpe_se:.1f}"
    return list(cells.values())


def _cell(unit: Unit, value: float | None, digits: int) -> str:
    """Format a percentage without its sign, which is in the heading."""
    if unit == Unit.FRACTION and value is not None:
        value *= 100
    return _or_dash(value, f"+.{digits}f" if unit == Unit.PERCENT else f".{digits}f")


def _beside(pooled: PooledResult, evidence: Evidence, sharpe: SharpeEvidence) -> str:
    """Return the evidence beside a score, one line each."""
    held = evidence.buy_and_hold
    label = "supported" if sharpe.supported else "not supported"
    episodes = sharpe.unknown or f"{sharpe.losers} of {sharpe.episodes} independent episodes lost"
    timing = "–" if evidence.timing is None else f"{evidence.timing.p:.3f}, never below {evidence.timing.least:.3f}"
    beta, alpha = _or_dash(held.beta, ".2f"), _or_dash(held.alpha, "+.2f")
    declared, fell = _or_dash(pooled.declared_pnl_pct, "+.2f"), 100 * (pooled.declared_drawdown or 0.0)
    ruined = f"; RUINED on {pooled.ruined} of {pooled.lanes} lanes, ranks last" if pooled.ruined else ""
    liquidated = f"{pooled.declared_liquidations or 0} liquidations{ruined}"
    lines = [
        f"with the declared size and leverage: {declared} %, drawdown {fell:.1f} %, {liquidated}",
        f"worst and best order of events inside bars: {pooled.worst_pnl_pct:+.2f} % to {pooled.best_pnl_pct:+.2f} %",
        f"buy and hold of the same lanes: {held.total_pnl_pct:+.2f} %; beta {beta}, alpha a year {alpha}",
        f"break-even slippage a side: {_break_even(pooled, evidence)}",
        f"random timing p = {timing}",
        f"deflated Sharpe ratio {_or_dash(sharpe.deflated, '.3f')} after {sharpe.trials} tries, taken as independent: "
        + label,
        f"episodes of trades: {episodes}",
    ]
    return "\n".join([*lines, evidence.volume.warning] if evidence.volume.warning else lines)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _break_even(pooled: PooledResult, evidence: Evidence) -> str:
    value = evidence.break_even_slippage
    if not pooled.trades:
        return "–, it never traded"
    if value is None:
        return "none, it loses without slippage"
    return "above 500 bp" if value == float("inf") else f"{value * 1e4:.1f} bp"
