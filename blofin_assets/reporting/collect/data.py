"""Everything that one report says, as one value.

Belongs here: putting the sections' frames together. Does not belong here: their queries.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from blofin_assets.reporting.collect.changes import Changes, collect_changes
from blofin_assets.reporting.collect.cycles import Cycles, collect_cycles
from blofin_assets.reporting.collect.forward import Forward, collect_forward
from blofin_assets.reporting.collect.market import MarketData, collect_market
from blofin_assets.reporting.collect.review import Review, collect_calls, collect_review
from blofin_assets.reporting.collect.stages import Stage, collect_stages
from blofin_resources.warehouse import Warehouse


@dataclass(frozen=True)
class ReportData:
    """Everything that one report says.

    Attributes
    ----------
    as_of
        End of the day that is reported; nothing later is in here.
    market, synthetic, seed
        Which market the numbers come from.
    symbols
        The symbols of the newest cycle; those of today's settings where no cycle has run.
    cycles
        The newest strategy cycle and the newest ML cycle.
    changes
        What was designed, tuned and archived within the day, by whom.
    forward
        The forward ledger and the night's drift tests.
    data
        Coverage of each lane, gaps, revisions.
    calls : DataFrame
        role, model, calls, answered, cost_usd: calls of Claude for the day's as-of times.
    review
        What was said of the day; None in the draft that the reviewer reads.
    stages
        What ran and what did not.
    """

    as_of: datetime
    market: str
    synthetic: bool
    symbols: tuple[str, ...]
    seed: int
    cycles: Cycles
    changes: Changes
    forward: Forward
    data: MarketData
    calls: pl.DataFrame
    review: Review | None
    stages: tuple[Stage, ...]


def collect(
    warehouse: Warehouse,
    as_of: datetime,
    *,
    market: str,
    synthetic: bool,
    symbols: tuple[str, ...],
    seed: int,
    draft: bool = False,
) -> ReportData:
    """Return everything that the report made at `as_of` says.

    Parameters
    ----------
    warehouse : Warehouse
        What is read.
    as_of : datetime
        End of the day that is reported.
    market, synthetic, symbols, seed
        As the settings have them.
    draft : bool
        Leave out the review and its cost: what the reviewer reads, so that a second reading is the same as the first.
    """
    cycles = collect_cycles(warehouse, as_of)
    changes = collect_changes(warehouse, as_of, cycles.strategy_time)
    forward = collect_forward(warehouse, as_of)
    review = None if draft else collect_review(warehouse, as_of)
    traded = _in_order(cycles.symbols, symbols)
    return ReportData(
        as_of=as_of,
        market=market,
        synthetic=synthetic,
        symbols=traded,
        seed=seed,
        cycles=cycles,
        changes=changes,
        forward=forward,
        data=collect_market(warehouse, as_of, traded),
        calls=collect_calls(warehouse, as_of, draft=draft),
        review=review,
        stages=collect_stages(as_of, cycles, changes, forward, review),
    )


def _in_order(of_cycle: frozenset[str], of_settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cycle's symbols in the settings' order, those that the settings do not have behind."""
    if not of_cycle:
        return of_settings
    kept = tuple(symbol for symbol in of_settings if symbol in of_cycle)
    return kept + tuple(sorted(of_cycle - set(kept)))
