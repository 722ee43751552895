"""Evaluations as rows of the warehouse's tables.

Belongs here: column names and ids. Does not belong here: evaluating (`backtester`), writing (the assets).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester import Evaluation, LaneResult, PooledResult
from backtester.evaluation.comparison import HourlyResult
from backtester.evaluation.standard_metrics import stored
from blofin_assets.shared.trial_ledger import Configuration, configuration
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
    return frame_of(rows)


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
    return frame_of(
        [
            trial_row(
                configuration(evaluation, kind), author, as_of, snapshot, pooled_of(evaluation), evaluation.parameters
            )
            for evaluation in evaluations
        ]
    )


def trial_row(
    tried: Configuration,
    author: str,
    as_of: datetime,
    snapshot: int,
    pooled: HourlyResult,
    parameters: Mapping[str, float],
) -> dict[str, Any]:
    """Return the row of `research.trials` of one configuration on one window.

    Parameters
    ----------
    tried : Configuration
        What was evaluated.
    author, as_of, snapshot
        As in `trial_rows`.
    pooled : HourlyResult
        Its result; the window is this one's.
    parameters : dict of str to float
        Values in force.

    Returns
    -------
    dict of str to value
        Columns of the table.
    """
    return {
        "id": trial_id(tried, author, as_of, pooled.start),
        **trial_labels(tried, author, as_of, snapshot, (pooled.start, pooled.end)),
        "score": pooled.score,
        "trades": pooled.trades,
        "sharpe": pooled.sharpe,
        "params": json.dumps(dict(parameters), sort_keys=True),
    }


def trial_id(tried: Configuration, author: str, as_of: datetime, start: datetime) -> str:
    """Return the id of the trial of a configuration on a window that begins at `start`.

    Parameters
    ----------
    tried : Configuration
        What was evaluated.
    author, as_of
        As in `trial_rows`.
    start : datetime
        Start of the window (UTC).

    Returns
    -------
    str
        The same for the same trial.
    """
    return row_id("trial", tried[0], author, as_of, *tried, start)


def trial_labels(
    tried: Configuration,
    author: str,
    as_of: datetime,
    snapshot: int,
    window: tuple[datetime, datetime],
    purpose: Purpose = Purpose.HOLDOUT,
) -> dict[str, Any]:
    """Return the columns of `research.trials` that say what was tried, by whom and on which window.

    Parameters
    ----------
    tried : Configuration
        What was evaluated.
    author, as_of, snapshot
        As in `trial_rows`.
    window : tuple of datetime
        Start and end (UTC).
    purpose : Purpose
        On which kind of window.

    Returns
    -------
    dict of str to value
        By column.
    """
    kind, name, version, lanes = tried
    return {
        "lanes": lanes,
        "as_of": as_of,
        "kind": kind,
        "author": author,
        "name": name,
        "version": version,
        "window_start": window[0],
        "window_end": window[1],
        "snapshot_id": snapshot,
        "purpose": purpose,
    }


def swept_rows(
    tried: Configuration,
    author: str,
    as_of: datetime,
    snapshot: int,
    window: tuple[datetime, datetime],
    points: pl.DataFrame,
) -> pl.DataFrame:
    """Return the rows of `research.trials` of many versions of one strategy on one window.

    Parameters
    ----------
    tried : Configuration
        What was evaluated; each point has its own version instead.
    author, as_of, snapshot
        As in `trial_rows`.
    window : tuple of datetime
        Start and end.
    points : DataFrame
        `version`, `params` (JSON), `score`, `trades` and `sharpe` of each.

    Returns
    -------
    DataFrame
        One row per version, as `trial_row` gives it.
    """
    kind, name, _, lanes = tried
    ids = [trial_id((kind, name, version, lanes), author, as_of, window[0]) for version in points["version"]]
    own = points.select("version", "params", "score", "trades", "sharpe", pl.Series("id", ids, pl.String))
    same = frame_of([trial_labels(tried, author, as_of, snapshot, window)]).drop("version")
    return own.join(same, how="cross")


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


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame, with times as tables hold them; a column that holds nothing is one of numbers."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    empty = [name for name, kind in frame.schema.items() if kind == pl.Null]
    return frame.with_columns(pl.col(times).cast(TS), pl.col(empty).cast(pl.Float64))
