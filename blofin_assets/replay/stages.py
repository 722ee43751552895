"""A replay from its first choice to its last stretch.

Belongs here: the order of its steps, storing each stretch once. Does not belong here: one choice
(`blofin_assets.replay.desk`), one stretch (`blofin_assets.replay.stretches`), Dagster, the terminal.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from blofin_assets.replay.desk import FOLDER, Desk, ReplayPlan
from blofin_assets.replay.page import replay_page
from blofin_assets.replay.stretches import Stretch, followed
from blofin_assets.replay.summary import ReplaySummary, summarise
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.code_version import code_version
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.warehouse import Warehouse
from features.bars import TS

_KINDS: Final = "SELECT DISTINCT kind FROM replay.candidates WHERE replay_id = ? ORDER BY kind DESC"
_STORED: Final = "SELECT as_of FROM replay.stretches WHERE replay_id = ?"


def replay(
    store: Warehouse, plan: ReplayPlan, market_id: str, run_id: str, on_stretch: Callable[[datetime], None]
) -> list[tuple[ReplaySummary, Path]]:
    """Replay the desk, or continue a replay, and write its pages.

    Each stretch is stored once, in one transaction, when it is complete; a replay that was interrupted goes on behind
    the last one.

    Parameters
    ----------
    store : Warehouse
        Where the market is stored, and the rows go.
    plan : ReplayPlan
        What is replayed.
    market_id : str
        What tells the warehouse's market from others of its name.
    run_id : str
        Run that writes.
    on_stretch : callable
        Called with the as-of of each stretch when it is there.

    Returns
    -------
    list of (ReplaySummary, Path)
        For strategies, and for books where any was ranked: the numbers, and the page that shows them.
    """
    have = set(store.read(_STORED, [plan.replay_id])["as_of"])
    desk = Desk(store, plan, market_id) if have.isdisjoint(plan.times) or set(plan.times[:-1]) - have else None
    for as_of, until in plan.stretches:
        if as_of not in have and desk is not None:
            desk.choose(as_of)
            stretch = followed(desk.store, plan.market, as_of, until)
            _store(store, plan, desk.snapshot, (as_of, until), stretch, run_id)
        on_stretch(as_of)
    shown = []
    for kind in store.read(_KINDS, [plan.replay_id])["kind"]:
        summary = summarise(store, plan.replay_id, plan.times[:-1], Kind(kind))
        path = store.folder / FOLDER / f"{plan.replay_id}-{kind}.html"
        shown.append((summary, write_whole(path, replay_page(summary, plan.market.market))))
    return shown


def _store(
    store: Warehouse,
    plan: ReplayPlan,
    snapshot: int,
    window: tuple[datetime, datetime],
    stretch: Stretch,
    run_id: str,
) -> None:
    as_of, until = window
    which = (pl.lit(plan.replay_id).alias("replay_id"), pl.lit(as_of).cast(TS).alias("as_of"))
    read = pl.lit(snapshot).cast(pl.Int64).alias("snapshot_id")
    row = {
        "replay_id": plan.replay_id,
        "as_of": as_of,
        "until": until,
        "every_days": plan.every // timedelta(days=1),
        "search_budget": plan.evolution.search_budget,
        "tuning_budget": plan.evolution.tuning_budget,
        "seed": plan.market.seed,
        "symbols": list(plan.market.symbols),
        "candidates": stretch.candidates.height,
        "active": int(stretch.candidates["active"].sum()),
        "holding_pct": stretch.holding_pct,
        "universe_pct": stretch.universe_pct,
        "code_version": code_version(),
        "snapshot_id": snapshot,
    }
    types: dict[str, Any] = {"as_of": TS, "until": TS, "holding_pct": pl.Float64, "universe_pct": pl.Float64}
    rows = {
        "replay.stretches": pl.DataFrame([row], schema_overrides=types),
        "replay.candidates": stretch.candidates.with_columns(*which, read),
        "replay.returns": stretch.returns.with_columns(*which),
    }
    with store.transaction(run_id) as tx:
        for table, part in rows.items():
            tx.replace(table, part, replay_id=plan.replay_id, as_of=as_of)
