"""When a replayed desk chooses, and what tells one replay from another."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from blofin_assets.definitions import build_resources, defs
from blofin_assets.replay.desk import MODULES, ReplayPlan, choice_times
from blofin_assets.scheduling.jobs import STRATEGY_JOB
from blofin_assets.shared.cadences import CADENCES, STRATEGY_CYCLE
from blofin_resources.errors import BlofinError
from blofin_resources.settings import Settings

TWO_DAYS = timedelta(days=2)
FIRST = datetime(2026, 3, 12, tzinfo=UTC)


def plan(begin: datetime = FIRST, until: datetime = FIRST + 3 * TWO_DAYS, budget: int = 24) -> ReplayPlan:
    resources = build_resources(Settings(search_budget=budget))
    return ReplayPlan(choice_times(begin, until, TWO_DAYS), TWO_DAYS, resources["market"], resources["evolution"])


def test_choices_are_on_the_grid_of_the_strategy_cycle_and_stretches_are_whole() -> None:
    times = choice_times(FIRST - timedelta(hours=5), FIRST + timedelta(days=9), 2 * TWO_DAYS)
    assert times == (FIRST, FIRST + timedelta(days=4), FIRST + timedelta(days=8))
    grid = next(cadence for cadence in CADENCES if cadence.job == STRATEGY_CYCLE)
    assert all(grid.floor(moment) == moment for moment in times)
    assert choice_times(FIRST, FIRST + TWO_DAYS, TWO_DAYS) == (FIRST, FIRST + TWO_DAYS)


@pytest.mark.parametrize(
    ("until", "every", "says"),
    [
        (FIRST + timedelta(days=30), timedelta(days=7), "--every 7 is not a multiple of 2 days.*give 6 or 8"),
        (FIRST + timedelta(days=30), timedelta(days=1), "--every 1 is not a multiple.*give 2 or 4"),
        (FIRST + timedelta(days=30), timedelta(days=-2), "--every -2 is not"),
        (FIRST + timedelta(days=1), TWO_DAYS, "no whole stretch of 2 days.*first choice is at 2026-03-12"),
        (FIRST - timedelta(days=9), TWO_DAYS, "no whole stretch.*earlier --from or a later --to"),
    ],
)
def test_what_gives_no_stretch_is_refused_with_a_way_out(until: datetime, every: timedelta, says: str) -> None:
    with pytest.raises(BlofinError, match=says):
        choice_times(FIRST, until, every)


def test_a_replay_may_be_continued_and_anything_else_makes_another() -> None:
    assert plan().replay_id == plan(until=FIRST + 5 * TWO_DAYS).replay_id
    others = [plan(budget=25), plan(begin=FIRST + TWO_DAYS), replace(plan(), every=2 * TWO_DAYS)]
    assert len({plan().replay_id, *(other.replay_id for other in others)}) == 4


def test_the_modules_of_the_cycle_hold_all_its_assets() -> None:
    of_job = {key.to_user_string() for key in defs.resolve_job_def(STRATEGY_JOB.name).asset_layer.executable_asset_keys}
    here = {
        asset.key.to_user_string()
        for module in MODULES
        for asset in vars(module).values()
        if type(asset).__name__ == "AssetsDefinition" and asset.group_names_by_key[asset.key] in {"strategies", "books"}
    }
    assert here == of_job
