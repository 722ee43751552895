"""A backtest of strategies as a table, lines beside it and a JSON document.

Belongs here: text of a result. Does not belong here: arguments and running (`blofin_assets.cli.backtest`), the page
(`backtester.page`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from backtester import Evaluation, LaneResult, PooledResult
from backtester.evaluation.breakdown import BAND, Breakdown
from backtester.evaluation.robustness import Evidence
from backtester.evaluation.standard_metrics import Unit, metric_named, values
from backtester.statistics.overfitting import SharpeEvidence
from blofin_assets.cli.stored import Stored
from blofin_assets.shared.backtest_rows import pooled_of


@dataclass(frozen=True, eq=False)
class Ran:
    """One strategy backtested: what is printed, written and exported of it."""

    evaluation: Evaluation
    evidence: Evidence
    sharpe: SharpeEvidence
    parts: Breakdown


def show(out: Console, stored: Stored, ran: Ran, days: int) -> None:
    """Print a backtest: its lanes, what was assumed, and the evidence beside the score.

    Parameters
    ----------
    out : Console
        Where it is printed.
    stored : Stored
        The window.
    ran : Ran
        The backtest.
    days : int
        Length of the window that was asked for.
    """
    evaluation, pooled = ran.evaluation, pooled_of(ran.evaluation)
    out.print(_table(evaluation, stored.market))
    for line in stored.late(pooled.start):
        out.print(f"--days {days}: {line}")
    out.print(_coverage(evaluation.lanes))
    for line in stored.kept_out:
        out.print(line, markup=False, soft_wrap=True)
    settled = {lane.bars.settled_by for lane in evaluation.packed} - {None, "1m"}
    for timeframe in sorted(settled, key=str):
        out.print(f"what comes first inside a bar is settled by {timeframe} bars: there are no shorter ones")
    levered = (evaluation.declared_trades["leverage"] > 1.0).any()
    if levered or any(lane.signals.liquidatable for lane in evaluation.packed):
        out.print(f"liquidations by {_LIQUIDATED[pooled.liquidation_price]}")
    rounded = [lane.rules for lane in evaluation.packed if lane.rounded]
    if rounded and not any(rules.lot or rules.min_quantity for rules in rounded):
        out.print("lots and smallest orders are unknown: quantities are not rounded")
    elif pooled.rounded_away_pct is not None:
        whole = f"entries left out whole: {pooled.too_small}"
        out.print(f"lots and smallest orders left out {pooled.rounded_away_pct:.2f} % of what was asked for; {whole}")
    out.print(_beside(pooled, ran.evidence, ran.sharpe))
    low, middle, high = (100.0 * depth for depth in ran.parts.band)
    most = BAND[-1] - BAND[0]
    out.print(f"drawdown in other orders of its days: {middle:.1f} %, in {most:.0%} of them {low:.1f} to {high:.1f} %")


def document(ran: Ran, market: str, page: Path, exported: Sequence[Path]) -> dict[str, object]:
    """Return a backtest as a document for `blofin_assets.cli.documents.print_json`.

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
        Metrics by the names of `backtester.evaluation.standard_metrics`.
    """
    evaluation, evidence, sharpe = ran.evaluation, ran.evidence, ran.sharpe
    pooled = pooled_of(evaluation)
    return {
        "name": evaluation.name,
        "version": evaluation.version,
        "parameters": dict(evaluation.parameters),
        "market": market,
        "start": pooled.start,
        "end": pooled.end,
        "costs": vars(evaluation.costs),
        "pooled": values(pooled),
        "lanes": [
            {"symbol": lane.symbol, "timeframe": lane.timeframe, "scored": lane.scored, **values(lane)}
            for lane in evaluation.lanes
        ],
        "by_month": ran.parts.sheet.months,
        "by_quarter": ran.parts.quarters,
        "by_symbol": ran.parts.symbols,
        "by_session": ran.parts.sessions,
        "by_regime": ran.parts.regimes,
        "worst_drawdowns": ran.parts.sheet.drawdowns,
        "drawdown_band": ran.parts.band,
        "holding_pct": evidence.buy_and_hold.total_pnl_pct,
        "break_even_slippage": evidence.break_even_slippage,
        "random_timing_p": None if evidence.timing is None else evidence.timing.p,
        "deflated_sharpe": sharpe.deflated,
        "tries": sharpe.trials,
        "page": page,
        "exported": list(exported),
    }


_LIQUIDATED: Final = {
    "mark": "mark prices",
    "last": "last prices: there are no mark prices",
    "mixed": "mark prices where there are any, by last prices elsewhere",
}


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
    if pooled.limit_fills is not None and pooled.limit_orders is not None:
        share = 100 * pooled.limit_fills / pooled.limit_orders
        lines.insert(2, f"limit orders filled: {pooled.limit_fills} of {pooled.limit_orders} ({share:.0f} %)")
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
