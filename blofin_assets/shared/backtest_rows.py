"""Evaluations as rows of the warehouse's tables.

Belongs here: column names and ids. Does not belong here: evaluating (`backtester`), writing (the assets).
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester import Evaluation, LaneResult, PooledResult
from backtester.evaluation.standard_metrics import stored
from blofin_assets.shared.trial_ledger import configuration, lanes_of
from blofin_assets.shared.vocabulary import Purpose
from features.bars import TS

POOLED: Final = "*"
"""Symbol and timeframe of a row that pools all lanes."""


def backtest_rows(evaluations: Sequence[Evaluation], as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return the rows of `research.strategy_backtest_results`: one pooled row and one row per lane for each evaluation.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Evaluations that did not fail.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        Columns of the table.
    """
    rows = []
    for evaluation in evaluations:
        pooled: list[tuple[str, str, LaneResult | PooledResult, list[LaneResult]]] = [
            (POOLED, POOLED, pooled_of(evaluation), evaluation.scored)
        ]
        lanes = [(lane.symbol, str(lane.timeframe), lane, [lane]) for lane in evaluation.lanes]
        for symbol, timeframe, result, lanes_behind in [*pooled, *lanes]:
            rows.append(
                {
                    "id": row_id("backtest", as_of, evaluation.name, evaluation.version, symbol, timeframe),
                    "strategy_name": evaluation.name,
                    "version": evaluation.version,
                    "timestamp": as_of,
                    "as_of": as_of,
                    "backtest_period": f"{(result.end - result.start).days}d",
                    "symbol": symbol,
                    "timeframe": timeframe,
                    "window_start": result.start,
                    "window_end": result.end,
                    "snapshot_id": snapshot,
                    "scored": isinstance(result, PooledResult) or result.scored,
                    "bars": sum(lane.bars for lane in lanes_behind),
                    "bars_expected": sum(lane.bars_expected for lane in lanes_behind),
                    "liquidation_price": result.liquidation_price,
                    "largest_size": evaluation.largest,
                    **stored(result),
                }
            )
    return _frame(rows)


def pooled_of(evaluation: Evaluation) -> PooledResult:
    """Return the pooled result of an evaluation that did not fail.

    Raises
    ------
    ValueError
        If it did; a cycle stores only what was run.
    """
    if evaluation.pooled is None:
        msg = f"{evaluation.name} was not evaluated: {evaluation.error}"
        raise ValueError(msg)
    return evaluation.pooled


def trade_rows(evaluations: Sequence[Evaluation], kind: str, as_of: datetime) -> pl.DataFrame:
    """Return the rows of `research.trades`.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Evaluations that did not fail.
    kind : str
        strategy, model or ensemble.
    as_of : datetime
        As-of of the cycle.

    Returns
    -------
    DataFrame
        One row per trade.
    """
    columns = (
        "symbol", "timeframe", "side", "entry_ts", "exit_ts", "entry_price", "exit_price", "quantity", "pnl", "fees",
        "funding", "slippage", "pnl_pct", "exit_reason",
    )  # fmt: skip
    return pl.concat(
        _labelled(
            evaluation.trades.select(
                *columns, pl.col("timeframe").is_in(evaluation.timeframes).alias("scored"), tranche=pl.lit(0)
            ),
            evaluation, kind, as_of,
        )
        for evaluation in evaluations
    )  # fmt: skip


def equity_rows(evaluations: Sequence[Evaluation], kind: str, as_of: datetime) -> pl.DataFrame:
    """Return the rows of `research.equity`: pooled capital and PnL at full hours.

    Parameters
    ----------
    evaluations, kind, as_of
        As in `trade_rows`.

    Returns
    -------
    DataFrame
        One row per hour.
    """
    return pl.concat(
        _labelled(pooled_of(evaluation).equity_frame(), evaluation, kind, as_of) for evaluation in evaluations
    )


def trial_rows(
    evaluations: Sequence[Evaluation], kind: str, author: str, as_of: datetime, snapshot: int
) -> pl.DataFrame:
    """Return the rows of `research.trials`: every evaluation on the holdout counts as one trial.

    Parameters
    ----------
    evaluations, kind, as_of
        As in `trade_rows`.
    author : str
        Who proposed what was evaluated.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        One row per evaluation.
    """
    return _frame(
        [
            {
                "id": row_id(
                    "trial", kind, author, as_of, *configuration(evaluation, kind), pooled_of(evaluation).start
                ),
                "lanes": lanes_of(evaluation),
                "as_of": as_of,
                "kind": kind,
                "author": author,
                "name": evaluation.name,
                "version": evaluation.version,
                "window_start": pooled_of(evaluation).start,
                "window_end": pooled_of(evaluation).end,
                "snapshot_id": snapshot,
                "score": pooled_of(evaluation).score,
                "trades": pooled_of(evaluation).trades,
                "sharpe": pooled_of(evaluation).sharpe,
                "params": json.dumps(dict(evaluation.parameters), sort_keys=True),
                "purpose": Purpose.HOLDOUT,
            }
            for evaluation in evaluations
        ]
    )


def row_id(*parts: object) -> str:
    """Return the id of a row: the same for the same parts, so that writing it again changes nothing."""
    return hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()[:16]


def _labelled(frame: pl.DataFrame, evaluation: Evaluation, kind: str, as_of: datetime) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(as_of).cast(TS).alias("as_of"),
        pl.lit(kind).alias("kind"),
        pl.lit(evaluation.name).alias("name"),
        pl.lit(evaluation.version).alias("version"),
    )


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).cast(TS))
