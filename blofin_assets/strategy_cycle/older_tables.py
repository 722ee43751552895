"""Rows of two tables in the form of an older system, which follow from a ranking of strategies.

Belongs here: `research.strategy_configs` and `research.strategy_scores` of the holdout. Does not belong here: the
ranking (`ranking`).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester.statistics.windows import HOLDOUT_NAME
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.vocabulary import LifecycleState
from blofin_assets.strategy_cycle.population import load_population
from blofin_resources.warehouse import Warehouse
from features.bars import TS

_CONFIGS: Final[dict[str, Any]] = {
    "id": pl.String, "timestamp": TS, "as_of": TS, "accepted": pl.Boolean,
    **dict.fromkeys(
        ("strategy", "version", "previous_version", "config_json", "previous_json", "source", "note"), pl.String
    ),
}  # fmt: skip


def config_rows(
    store: Warehouse, outcomes: Iterable[Mapping[str, Any]], proposals: pl.DataFrame, as_of: datetime
) -> pl.DataFrame:
    """Return old and new parameters of every tuned finalist; null for a version that no longer compiles.

    Parameters
    ----------
    store : Warehouse
        Where versions are read.
    outcomes : iterable of mapping
        Rows of `research.holdout_outcomes`.
    proposals : DataFrame
        The cycle's proposals of tuning.
    as_of : datetime
        As-of of the cycle (UTC).

    Returns
    -------
    DataFrame
        Rows of `research.strategy_configs`.
    """
    proposed = {(row["name"], row["version"]): row for row in proposals.iter_rows(named=True)}
    everyone = {
        record.key: json.dumps(record.strategy.parameters, sort_keys=True) for record in load_population(store, as_of)
    }  # a version that no longer compiles has none
    rows = []
    for outcome in outcomes:
        row = proposed.get((outcome["name"], outcome["version"]))
        if row is None:
            continue
        verdict = "accepted" if outcome["accepted"] else "not accepted"
        rows.append(
            {
                "id": row_id("config", as_of, outcome["name"], outcome["version"]),
                "timestamp": as_of,
                "as_of": as_of,
                "accepted": outcome["accepted"],
                "strategy": outcome["name"],
                "version": outcome["version"],
                "previous_version": row["parent_version"],
                "config_json": everyone.get((outcome["name"], outcome["version"])),
                "previous_json": everyone.get((outcome["name"], row["parent_version"])),
                "source": row["designer"],
                "note": f"{row['changes']}; {verdict}: {outcome['reason']}",
            }
        )
    return pl.DataFrame(rows, schema=_CONFIGS)


def score_rows(results: pl.DataFrame, rows: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return the scores of a holdout in the form of the older system: a row per strategy and symbol.

    Parameters
    ----------
    results : DataFrame
        Pooled results of the cycle.
    rows : DataFrame
        Its rows of `research.ranking_history`.
    as_of : datetime
        As-of of the cycle (UTC).

    Returns
    -------
    DataFrame
        Rows of `research.strategy_scores`.
    """
    status = rows.select("name", "version", "status")
    wins = (pl.col("win_rate").fill_null(0.0) * pl.col("total_trades")).round().cast(pl.Int32)
    return (
        results.drop("status")
        .join(status, on=["name", "version"])
        .select(
            pl.lit(as_of).alias("timestamp"),
            pl.col("name").alias("strategy"),
            "version",
            "symbol",
            pl.lit(HOLDOUT_NAME).alias("window"),
            pl.col("total_trades").alias("trades"),
            wins.alias("wins"),
            (pl.col("total_trades") - wins).alias("losses"),
            "win_rate",
            "avg_pnl_pct",
            "total_pnl_pct",
            pl.col("sharpe").alias("sharpe_ratio"),
            (pl.col("max_drawdown") * 100).alias("max_drawdown_pct"),
            "score",
            (pl.col("status") == LifecycleState.ACTIVE).alias("enabled"),
            pl.lit(as_of).alias("as_of"),
        )
    )
