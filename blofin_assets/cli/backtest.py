"""`blofin backtest`: one strategy or book on what is stored, as tables in the terminal and a page.

Belongs here: arguments, the table, the file. Does not belong here: backtesting and the page itself (`backtester`), the
tables of a book (`blofin_assets.cli.backtest_book`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from backtester import Costs, Evaluation, LaneResult, PooledResult, evaluate
from backtester.evaluation.robustness import Evidence, gather
from backtester.evaluation.standard_metrics import Unit, metric_named, values
from backtester.page import backtest_page
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.overfitting import SharpeEvidence, episodes_of, sharpe_evidence
from blofin_assets.cli.backtest_book import backtest_stored_book
from blofin_assets.cli.loading import with_parameters
from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.stored import Span, chosen_timeframes, shown_path, stored_window
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import pooled_of, row_id, trial_rows
from blofin_assets.shared.trial_ledger import configuration, count_trials
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from strategies.language.book import Book
from strategies.language.strategy import Strategy

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


def run_backtest(request: Request) -> None:
    """Backtest a strategy or a book of the library or of a file, print it and write its page."""
    found = with_parameters(request.strategy, request.params, EXAMPLE)
    if isinstance(found, Book):
        _run_book(found, request)
    else:
        _run_strategy(found, request)


def _run_book(book: Book, request: Request) -> None:
    _refuse(
        {"--symbols": request.symbols, "--timeframes": request.timeframes},
        f"{book.name} is a book: it trades its universe on {book.timeframe}",
    )
    end = request.as_of if request.end is None else min(request.end, request.as_of)
    start: datetime | timedelta | None = request.start
    if request.days is not None:
        _refuse({"--start": start}, "--days is the length of the window")
        if request.days < 1:
            msg = f"--days {request.days}: give at least one day"
            raise BlofinError(msg)
        start = timedelta(days=request.days)
    capital = DEFAULT_CAPITAL if request.capital is None else request.capital
    backtest_stored_book(open_session(), book, start, end, capital, RUN_ID)


def _refuse(given: Mapping[str, object], reason: str) -> None:
    """Refuse options that make no sense here."""
    wrong = [option for option, value in given.items() if value is not None]
    if wrong:
        msg = f"{', '.join(wrong)}: {reason}; leave it out"
        raise BlofinError(msg)


def _run_strategy(strategy: Strategy, request: Request) -> None:
    _refuse({"--capital": request.capital}, f"{strategy.name} is a strategy, whose lanes have a fixed capital")
    timeframes = chosen_timeframes(request.timeframes, strategy)
    session = open_session()
    span = Span(request.as_of, request.start, request.end, request.days)
    stored = stored_window(session, request.symbols, timeframes, span, days=DEFAULT_DAYS)
    start, end = stored.window.start, stored.window.end
    evaluation = evaluate(
        [strategy], stored.manager, stored.symbols, start, end, Costs(), timeframes=timeframes, rules=stored.rules
    )[0]
    evidence = gather(evaluation, seed=session.settings.seed)
    sharpe = _ledger(session, evaluation, evidence, end)
    begin = pooled_of(evaluation).start
    candles = stored.candles(timeframes, begin)
    page = backtest_page(evaluation, candles, evidence=evidence, sharpe=sharpe, market=stored.market)
    path = write_whole(stored.page(_page_name(evaluation, end)), page)
    out = Console()
    out.print(_table(evaluation, stored.market))
    if begin > start:
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
        out.print(f"liquidations by {_LIQUIDATED[pooled_of(evaluation).liquidation_price]}")
    out.print(_beside(pooled_of(evaluation), evidence, sharpe))
    out.print(f"page: {shown_path(path)}", markup=False, soft_wrap=True)


_LIQUIDATED: Final = {
    "mark": "mark prices",
    "last": "last prices: there are no mark prices",
    "mixed": "mark prices where there are any, by last prices elsewhere",
}


def _page_name(evaluation: Evaluation, end: datetime) -> str:
    """Return the name of the page, which is unique per configuration and window."""
    pooled = pooled_of(evaluation)
    which = row_id(*configuration(evaluation, Kind.STRATEGY), pooled.start, pooled.end)[:8]
    return f"{evaluation.name}_{end:%Y%m%dT%H%MZ}_{which}.html"


def _ledger(session: Session, evaluation: Evaluation, evidence: Evidence, end: datetime) -> SharpeEvidence:
    """Record the trial, and compute the evidence of the Sharpe ratio with the number of trials."""
    pooled, store = pooled_of(evaluation), session.warehouse
    with store.transaction(RUN_ID) as tx:
        tx.append(
            "research.trials",
            trial_rows([evaluation], Kind.STRATEGY, Author.USER, end, store.snapshot_id()),
            key=["id"],
        )
    errors = () if evidence.zero_cost_se is None else (evidence.zero_cost_se,)
    tries = count_trials(store, Kind.STRATEGY, pooled.start, pooled.end)
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
