"""The cycles of the desk, run as of past times in a scratch warehouse.

Belongs here: when a replayed desk chooses, the scratch warehouse and its market, running a cycle in it. Does not belong
here: what followed (`blofin_assets.replay.stretches`), what the cycles do (`blofin_assets.strategy_cycle`).

The cycles are the real ones: the same assets, on the market as it is stored, each reading nothing later than its as-of.
Claude takes no part, since it may know the past.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import dagster as dg

from blofin_assets.shared.cadences import CADENCES, STRATEGY_CYCLE
from blofin_assets.shared.code_version import code_version
from blofin_assets.shared.cycle_events import deep_done, done_times, mark_deep_done
from blofin_assets.shared.partitions import TWO_DAYS
from blofin_assets.strategy_cycle import (
    book_evaluation,
    book_library,
    book_market,
    book_ranking,
    book_search,
    design,
    evaluation,
    in_sample,
    knowledge,
    library,
    portfolio,
    ranking,
    tuning,
)
from blofin_resources.dagster_resources import (
    AS_OF_TAG,
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    WarehouseResource,
    in_memory,
)
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse

MODULES: Final = (
    library, in_sample, tuning, design, evaluation, ranking, knowledge,
    book_library, book_search, book_evaluation, book_ranking, portfolio,
)  # fmt: skip
"""The modules whose assets make up the strategy cycle."""

_GROUPS: Final = (library.GROUP, book_market.GROUP)

FOLDER: Final = "replays"
"""Folder of scratch warehouses, within that of the warehouse."""

_MARKET: Final = ("market",)
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_INTERRUPTED: Final = dg.DagsterExecutionInterruptedError.__name__
_CADENCE: Final = next(cadence for cadence in CADENCES if cadence.job == STRATEGY_CYCLE)


@dataclass(frozen=True)
class ReplayPlan:
    """A replay: when the desk chooses, and with which means.

    Attributes
    ----------
    times : tuple of datetime
        When it chooses, and last the end of the final stretch (UTC).
    every : timedelta
        Between two choices.
    market : MarketResource
        Symbols, seed and name of the market.
    evolution : EvolutionResource
        Budgets of each cycle.
    """

    times: tuple[datetime, ...]
    every: timedelta
    market: MarketResource
    evolution: EvolutionResource

    @property
    def replay_id(self) -> str:
        """Digest of all that decides what is chosen, but for the end: a replay may be continued later."""
        market, budgets = self.market, self.evolution
        parts = (
            self.times[0], self.every, market.market, market.archive, market.seed, *market.symbols, market.universe,
            market.deep_start,
            budgets.search_budget, budgets.tuning_budget, code_version(),
        )  # fmt: skip
        return sha256("|".join(map(str, parts)).encode()).hexdigest()[:12]

    @property
    def stretches(self) -> list[tuple[datetime, datetime]]:
        """Each choice and the next one."""
        return list(zip(self.times, self.times[1:], strict=False))


def choice_times(begin: datetime, end: datetime, every: timedelta) -> tuple[datetime, ...]:
    """Return the times of a replay, on the grid of the strategy cycle.

    Parameters
    ----------
    begin, end : datetime
        The first choice is at or after `begin`, the end of the last stretch at or before `end` (UTC).
    every : timedelta
        Between two choices.

    Returns
    -------
    tuple of datetime
        At least two.

    Raises
    ------
    BlofinError
        If `every` is not a multiple of the grid's step, or no whole stretch lies between.
    """
    if every < TWO_DAYS or every % TWO_DAYS:
        below = max(TWO_DAYS, every // TWO_DAYS * TWO_DAYS)
        msg = (
            f"--every {every.days} is not a multiple of {TWO_DAYS.days} days, the step of strategy cycles; "
            f"give {below.days} or {(below + TWO_DAYS).days}"
        )
        raise BlofinError(msg)
    floored = _CADENCE.floor(begin)
    first = floored if floored == begin else floored + TWO_DAYS
    count = (end - first) // every
    if count < 1:
        msg = (
            f"no whole stretch of {every.days} days lies between {begin:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC: "
            f"the first choice is at {first:%Y-%m-%d %H:%M}; give an earlier --from or a later --to"
        )
        raise BlofinError(msg)
    return tuple(first + number * every for number in range(count + 1))


def _assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the cycle; the modules also know others, on whose lineage theirs depend."""
    known = (asset for module in MODULES for asset in vars(module).values() if isinstance(asset, dg.AssetsDefinition))
    return list({asset.key: asset for asset in known if asset.group_names_by_key[asset.key] in _GROUPS}.values())


class Desk:
    """A desk in a scratch warehouse, begun or continued when it is made.

    Parameters
    ----------
    source : Warehouse
        Whose market is copied; it is only read.
    plan : ReplayPlan
        What is replayed.
    market_id : str
        What tells the source's market from others of its name.

    Attributes
    ----------
    store : Warehouse
        The scratch warehouse.
    snapshot : int
        Snapshot of the source whose market it holds.
    """

    def __init__(self, source: Warehouse, plan: ReplayPlan, market_id: str) -> None:
        self._plan = plan
        self._warehouse = WarehouseResource(
            folder=str(source.folder / FOLDER / plan.replay_id), market=plan.market.market, market_id=market_id
        )
        self.store = self._warehouse.open()
        self.snapshot = source.snapshot_id()
        self.store.copy_from(source, self.snapshot, _MARKET)
        universe, last = plan.market.universe, plan.times[-1]
        start = date.fromisoformat(plan.market.deep_start) if plan.market.deep_start else None
        if deep_done(source, last, universe, start):
            mark_deep_done(self.store, last, universe, start, plan.replay_id)

    def choose(self, as_of: datetime) -> None:
        """Run the strategy cycle as of a time, unless it was run before.

        Raises
        ------
        BlofinError
            If the cycle fails, with its reasons.
        """
        if as_of in done_times(self.store, STRATEGY_CYCLE):
            return
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                _assets(),
                instance=instance,
                partition_key=_CADENCE.key(as_of),
                tags={AS_OF_TAG: as_of.isoformat()},
                resources=self._resources(),
                run_config=_QUIET,
                raise_on_error=False,
            )
        if not result.success:
            failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
            if any(each.error is not None and each.error.cls_name == _INTERRUPTED for each in failures):
                msg = "the replay was interrupted; the same command goes on behind its last stretch"
                raise BlofinError(msg)
            told = (each.user_failure_data and each.user_failure_data.description for each in failures)
            reasons = "; ".join(reason for reason in told if reason) or str(failures[0].error if failures else "")
            msg = f"the strategy cycle as of {as_of:%Y-%m-%d %H:%M} UTC fails: {reasons}"
            raise BlofinError(msg)

    def _resources(self) -> dict[str, Any]:
        return {
            "warehouse": self._warehouse,
            "market": self._plan.market,
            "clock": ClockResource(),
            "claude": ClaudeResource(budget_usd=0.0),
            "evolution": self._plan.evolution,
            "io_manager": in_memory(),
        }
