"""The active set from stored curves: an hour in which nobody had bars has no return."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support.platform import Platform

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.reporting.collect.cycles import collect_cycles
from blofin_assets.reporting.sections.active_set import together
from blofin_assets.scheduling.runner import CONSOLE
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.partitions import day_key
from blofin_assets.strategy_cycle.portfolio import active_set
from features.bars import TS

pytestmark = pytest.mark.slow

AS_OF = datetime(2026, 3, 12, tzinfo=UTC)
HOURS = int(HOLDOUT_LENGTH / timedelta(hours=1))
GAP = slice(60, 132)
"""Rows of hourly returns in whose hours nothing was traded."""


@pytest.mark.parametrize("known", [True, False])
def test_hours_without_bars_are_in_no_ratio_of_the_active_set(platform: Platform, *, known: bool) -> None:
    moves = np.random.default_rng(3).normal(2e-4, 1e-3, (HOURS, 2))
    moves[GAP] = 0.0
    present = np.ones(HOURS, dtype=np.bool_)
    present[GAP] = not known
    put(platform, moves, present if known else None)
    made = platform.defs.resolve_job_def(STRATEGY_CYCLE).execute_in_process(
        instance=platform.instance,
        partition_key=day_key(AS_OF),
        run_config=CONSOLE,
        asset_selection=[active_set.key],
    )
    mean = moves[present].mean(axis=1)
    sharpe = mean.mean() / mean.std(ddof=1) * np.sqrt(8760)
    assert made.asset_materializations_for_node("active_set")[0].metadata["sharpe"].value == pytest.approx(sharpe)
    correlation = np.corrcoef(moves[present].T)[0, 1]
    stored = platform.warehouse.read("SELECT correlation FROM research.active_correlations")
    assert stored["correlation"].to_list() == pytest.approx([correlation])
    told = together(collect_cycles(platform.warehouse, AS_OF))
    assert told is not None
    assert (told.sharpe, told.mean_correlation) == (pytest.approx(sharpe), pytest.approx(correlation))


def put(platform: Platform, moves: np.ndarray, present: np.ndarray | None) -> None:
    """Store the curves of two active strategies; without `present` as before hours said whether they had bars."""
    ts = pl.datetime_range(AS_OF - HOLDOUT_LENGTH, AS_OF, "1h", eager=True)
    curves = [
        pl.DataFrame({"ts": ts, "equity": np.cumsum([1.0, *moves[:, place]])}).with_columns(
            pl.Series("with_bars", [None] * len(ts) if present is None else [None, *present.tolist()], pl.Boolean),
            kind=pl.lit("strategy"), name=pl.lit(name), version=pl.lit("1"), as_of=pl.lit(AS_OF).cast(TS),
        )
        for place, name in enumerate(("fast", "slow"))
    ]  # fmt: skip
    ranked = [
        {"as_of": AS_OF, "kind": "strategy", "rank": rank, "name": name, "version": "1", "status": "active"}
        for rank, name in ((1, "fast"), (2, "slow"))
    ]
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.equity", pl.concat(curves))
        tx.append("research.ranking_history", pl.DataFrame(ranked))
