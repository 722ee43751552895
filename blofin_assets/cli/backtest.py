"""`blofin backtest`: one strategy on stored candles, as a table in the terminal and a page.

Belongs here: arguments, the table, the file. Does not belong here: backtesting and the page itself (`backtester`).
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, get_args

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from backtester import Costs, Evaluation, LaneResult, PooledResult, evaluate
from backtester.evidence import Evidence, gather
from backtester.overfitting import SharpeEvidence, sharpe_evidence
from backtester.page import backtest_page
from blofin_assets.assets.reports import write_whole
from blofin_assets.assets.results import pooled_of, trial_rows
from blofin_assets.cli.session import Session, open_session
from blofin_assets.margin import margin_rules
from blofin_assets.sources import feature_manager
from blofin_assets.trials import count_trials
from blofin_resources.errors import BlofinError
from features.bars import TRADED_TIMEFRAMES, Timeframe
from strategies.base import Strategy
from strategies.compiler import compile_strategy
from strategies.registry import load_library

RUN_ID: Final = "blofin backtest"
"""What the trial's row carries in place of a Dagster run's id: this is no run."""

_EXAMPLE: Final = "for example: blofin backtest ema_crossover --days 7 --param fast=8"


@dataclass(frozen=True)
class Request:
    """What was asked on the command line, unparsed."""

    strategy: str
    symbols: str | None
    timeframes: str | None
    days: int
    params: Sequence[str]
    as_of: datetime


def run_backtest(request: Request) -> None:
    """Backtest a strategy of the library or of a file, print its lanes and write its page."""
    strategy = _with_params(_found(request.strategy), request.params)
    timeframes = _timeframes(request.timeframes, strategy)
    session = open_session()
    symbols = _symbols(request.symbols, session)
    end = _end(session, symbols, request.as_of)
    start = end - timedelta(days=_days(request.days))
    manager = feature_manager(session.warehouse, end)
    rules = margin_rules(session.warehouse, symbols, end)
    evaluation = evaluate([strategy], manager, symbols, start, end, Costs(), timeframes=timeframes, rules=rules)[0]
    evidence = gather(evaluation, seed=session.settings.seed)
    sharpe = _ledger(session, evaluation, evidence, end)
    candles = pl.concat(
        session.warehouse.candles(symbols, timeframe, start, end).with_columns(pl.lit(timeframe).alias("timeframe"))
        for timeframe in timeframes
    )
    page = backtest_page(evaluation, candles, evidence=evidence, sharpe=sharpe, market=_market(session))
    path = write_whole(session.settings.warehouse.resolve() / "backtests" / f"{strategy.name}.html", page)
    out = Console()
    out.print(_table(evaluation, _market(session)))
    out.print(_coverage(evaluation.lanes))
    if any(lane.signals.leveraged for lane in evaluation.packed):
        out.print(f"liquidations of leveraged positions by {_LIQUIDATED[pooled_of(evaluation).liquidation_price]}")
    out.print(_beside(pooled_of(evaluation), evidence, sharpe))
    out.print(f"page: {os.path.relpath(path) if path.is_relative_to(Path.cwd()) else path}", soft_wrap=True)


_LIQUIDATED: Final = {
    "mark": "mark prices",
    "last": "last prices: there are no mark prices",
    "mixed": "mark prices where there are any, by last prices elsewhere",
}


def _found(name: str) -> Strategy:
    """Return a strategy by the library's name, or compile a file, whose text is never executed."""
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            msg = f"no file {name}; {_EXAMPLE}"
            raise BlofinError(msg)
        return compile_strategy(path.read_text(encoding="utf-8"), str(path))
    library = {strategy.name: strategy for strategy in load_library()}
    if name not in library:
        msg = f"no strategy {name!r}; there are {', '.join(library)}; or give a .py file"
        raise BlofinError(msg)
    return library[name]


def _with_params(strategy: Strategy, given: Sequence[str]) -> Strategy:
    if not given:
        return strategy
    values = {}
    for text in given:
        name, sign, value = text.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            msg = f"--param {text!r} is not name=number; {strategy.name} has {', '.join(strategy.parameters) or 'none'}"
            raise BlofinError(msg)
    return strategy.with_parameters(**values)


def _timeframes(text: str | None, strategy: Strategy) -> tuple[Timeframe, ...]:
    if text is None:
        return strategy.timeframes
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in TRADED_TIMEFRAMES]
    if unknown:
        msg = f"--timeframes {', '.join(unknown)}: there are {', '.join(TRADED_TIMEFRAMES)}"
        raise BlofinError(msg)
    chosen = tuple(name for name in get_args(Timeframe) if name in names)
    if not set(chosen) & set(strategy.timeframes):
        msg = f"{strategy.name} trades on {', '.join(strategy.timeframes)}, none of {', '.join(chosen)}"
        raise BlofinError(msg)
    return chosen


def _symbols(text: str | None, session: Session) -> list[str]:
    symbols = [name.strip().upper() for name in text.split(",")] if text else list(session.settings.symbols)
    known = session.warehouse.known_symbols()
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        have = ", ".join(known) or "none yet; run: blofin run"
        msg = f"no candles of {', '.join(unknown)} in {session.settings.warehouse}; there are {have}"
        raise BlofinError(msg)
    return symbols


def _end(session: Session, symbols: list[str], as_of: datetime) -> datetime:
    """Return the last full hour up to which every symbol is stored, not after the as-of."""
    stored = session.warehouse.read(
        "SELECT min(through) AS through FROM (SELECT max(through) AS through FROM market.coverage "
        "WHERE dataset = 'features_60m' AND symbol IN (SELECT unnest(?)) GROUP BY symbol)",
        [symbols],
    )["through"][0]
    if stored is None:
        msg = f"nothing is stored for {', '.join(symbols)} in {session.settings.warehouse}; run: blofin run"
        raise BlofinError(msg)
    end: datetime = min(stored, as_of)
    return end.replace(minute=0, second=0, microsecond=0)


def _days(days: int) -> int:
    if days < 1:
        msg = f"--days {days}: give at least one day"
        raise BlofinError(msg)
    return days


def _ledger(session: Session, evaluation: Evaluation, evidence: Evidence, end: datetime) -> SharpeEvidence:
    """Record the try, whoever made it, and judge the Sharpe ratio by the number of tries."""
    pooled, store = pooled_of(evaluation), session.warehouse
    with store.transaction(RUN_ID) as tx:
        tx.append("research.trials", trial_rows([evaluation], "strategy", "user", end, store.snapshot_id()), key=["id"])
    errors = () if evidence.zero_cost_se is None else (evidence.zero_cost_se,)
    return sharpe_evidence(pooled.returns, count_trials(store, "strategy", pooled.start, pooled.end), errors)


def _market(session: Session) -> str:
    return f"{session.settings.market}{' (synthetic)' if session.settings.market.startswith('sample') else ''}"


def _table(evaluation: Evaluation, market: str) -> Table:
    """Return lanes and pool as a table that fits 80 columns; every amount is in percent."""
    pooled = pooled_of(evaluation)
    table = Table(
        title=f"{evaluation.name} on the {market} market, {pooled.start:%Y-%m-%d %H:%M} to {pooled.end:%Y-%m-%d %H:%M}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("lane", "trades", "win %", "avg %", "total %", "Sharpe", "max DD %", "score"):
        table.add_column(name, justify="left" if name == "lane" else "right", no_wrap=True)
    for lane in evaluation.lanes:
        table.add_row(f"{lane.symbol} {lane.timeframe}", *_cells(lane))
    table.add_section()
    table.add_row("pooled", *_cells(pooled), style="bold")
    return table


def _coverage(lanes: Sequence[LaneResult]) -> str:
    """Return for how much of the window each lane has bars; those that lack none share one word."""
    lacking = [
        f"{lane.symbol} {lane.timeframe} {math.floor(1000 * lane.bars / lane.bars_expected) / 10:g} %"
        for lane in lanes
        if lane.bars < lane.bars_expected
    ]
    rest = "100 % on every lane" if not lacking else "the others 100 %" if len(lacking) < len(lanes) else ""
    return f"bars of the window: {', '.join([*lacking, *([rest] if rest else [])])}"


def _cells(result: LaneResult | PooledResult) -> list[str]:
    error = f" ±{result.sharpe_se:.1f}" if result.sharpe_se is not None else ""
    return [
        str(result.trades),
        "–" if result.win_rate is None else f"{100 * result.win_rate:.0f}",
        _or_dash(result.avg_pnl_pct, "+.3f"),
        f"{result.total_pnl_pct:+.2f}",
        "–" if result.sharpe is None else f"{result.sharpe:.1f}{error}",
        f"{100 * result.max_drawdown:.1f}",
        _or_dash(result.score, ".1f"),
    ]


def _beside(pooled: PooledResult, evidence: Evidence, sharpe: SharpeEvidence) -> str:
    """Return what stands beside a score, one line each."""
    held = evidence.buy_and_hold
    label = "supported" if sharpe.supported else "not supported"
    timing = _or_dash(evidence.timing_p, ".3f")
    beta, alpha = _or_dash(held.beta, ".2f"), _or_dash(held.alpha, "+.2f")
    lines = [
        f"worst and best order of events inside bars: {pooled.worst_pnl_pct:+.2f} % to {pooled.best_pnl_pct:+.2f} %",
        f"buy and hold of the same lanes: {held.total_pnl_pct:+.2f} %; beta {beta}, alpha a year {alpha}",
        f"break-even slippage a side: {_basis_points(evidence.break_even_slippage)}; random timing p = {timing}",
        f"deflated Sharpe ratio {_or_dash(sharpe.deflated, '.3f')} after {sharpe.trials} tries: {label}",
    ]
    return "\n".join(lines)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _basis_points(value: float | None) -> str:
    if value is None:
        return "none, it loses without any"
    return "above 500 bp" if value == float("inf") else f"{value * 1e4:.1f} bp"
