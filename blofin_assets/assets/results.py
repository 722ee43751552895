"""Evaluations as rows of the warehouse's tables.

Belongs here: column names and ids. Does not belong here: evaluating (`backtester`), writing (the assets).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester import Evaluation, LaneResult, PooledResult
from blofin_assets.trials import configuration, lanes_of
from features.bars import TS

POOLED: Final = "*"
"""Symbol and timeframe of a row that pools all lanes."""

_METRICS: Final = (
    "win_rate", "avg_pnl_pct", "sharpe", "max_drawdown", "sharpe_se", "sortino", "profit_factor", "exposure",
    "turnover", "total_pnl_pct", "fees_pct", "slippage_pct", "funding_pct", "funding_known",
)  # fmt: skip
_TERMS: Final = ("score_win_rate", "score_avg_pnl", "score_sharpe", "score_drawdown")


def backtest_rows(evaluations: Sequence[Evaluation], as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return `research.strategy_backtest_results`: one pooled row and one row a lane for each evaluation."""
    rows = []
    for found in evaluations:
        pooled: list[tuple[str, str, LaneResult | PooledResult, list[LaneResult]]] = [
            (POOLED, POOLED, pooled_of(found), found.scored)
        ]
        lanes = [(lane.symbol, str(lane.timeframe), lane, [lane]) for lane in found.lanes]
        for symbol, timeframe, result, lanes_behind in [*pooled, *lanes]:
            rows.append(
                {
                    "id": row_id("backtest", as_of, found.name, found.version, symbol, timeframe),
                    "strategy_name": found.name,
                    "version": found.version,
                    "timestamp": as_of,
                    "as_of": as_of,
                    "backtest_period": f"{(result.end - result.start).days}d",
                    "symbol": symbol,
                    "timeframe": timeframe,
                    "window_start": result.start,
                    "window_end": result.end,
                    "snapshot_id": snapshot,
                    "total_trades": result.trades,
                    "score": result.score,
                    "bars": sum(lane.bars for lane in lanes_behind),
                    "bars_expected": sum(lane.bars_expected for lane in lanes_behind),
                    "liquidation_price": result.liquidation_price,
                    **metrics(result),
                }
            )
    return _frame(rows)


def pooled_of(found: Evaluation) -> PooledResult:
    """Return the pooled result of an evaluation that did not fail.

    Raises
    ------
    ValueError
        If it did; a cycle stores only what was run.
    """
    if found.pooled is None:
        msg = f"{found.name} was not evaluated: {found.error}"
        raise ValueError(msg)
    return found.pooled


def metrics(result: LaneResult | PooledResult) -> dict[str, Any]:
    """Return the metrics of a result by column; the score's terms where it is pooled."""
    names = (*_METRICS, *(_TERMS if isinstance(result, PooledResult) else ()))
    return {name: getattr(result, name) for name in names}


def trade_rows(evaluations: Sequence[Evaluation], kind: str, as_of: datetime) -> pl.DataFrame:
    """Return `research.trades`."""
    columns = (
        "symbol", "timeframe", "side", "entry_ts", "exit_ts", "entry_price", "exit_price", "quantity", "pnl", "fees",
        "funding", "pnl_pct", "exit_reason",
    )  # fmt: skip
    return pl.concat(_labelled(found.trades.select(columns), found, kind, as_of) for found in evaluations)


def equity_rows(evaluations: Sequence[Evaluation], kind: str, as_of: datetime) -> pl.DataFrame:
    """Return `research.equity`: hourly pooled equity."""
    return pl.concat(
        _labelled(pooled_of(found).equity_frame().select("ts", "equity"), found, kind, as_of) for found in evaluations
    )


def trial_rows(
    evaluations: Sequence[Evaluation], kind: str, author: str, as_of: datetime, snapshot: int
) -> pl.DataFrame:
    """Return `research.trials`: every evaluation counts as one, whoever asked for it."""
    return _frame(
        [
            {
                "id": row_id("trial", kind, author, as_of, *configuration(found, kind), pooled_of(found).start),
                "lanes": lanes_of(found),
                "as_of": as_of,
                "kind": kind,
                "author": author,
                "name": found.name,
                "version": found.version,
                "window_start": pooled_of(found).start,
                "window_end": pooled_of(found).end,
                "snapshot_id": snapshot,
                "score": pooled_of(found).score,
                "trades": pooled_of(found).trades,
                "sharpe": pooled_of(found).sharpe,
                "purpose": "exam",
            }
            for found in evaluations
        ]
    )


def row_id(*parts: object) -> str:
    """Return the id of a row: the same for the same parts, so that writing it again changes nothing."""
    return hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()[:16]


def _labelled(frame: pl.DataFrame, found: Evaluation, kind: str, as_of: datetime) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(as_of).cast(TS).alias("as_of"),
        pl.lit(kind).alias("kind"),
        pl.lit(found.name).alias("name"),
        pl.lit(found.version).alias("version"),
    )


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).cast(TS))
