"""The population: who exists at a time, in which state, and that text from rows is compiled and never imported."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from support.fake_messages import GOOD_DESIGN
from support.platform import AS_OF, Platform

from backtester.statistics.windows import cycle_windows
from blofin_assets.strategy_cycle.in_sample import incumbents
from blofin_assets.strategy_cycle.population import StrategyRecord, active, load_population, lost
from blofin_assets.strategy_cycle.search_window import HoldingWindows
from strategies.registry import load_library
from strategies.untrusted.compiler import compile_strategy

pytestmark = pytest.mark.slow

STEP = timedelta(days=2)


def put(platform: Platform, code: str = GOOD_DESIGN, version: str | None = None, **parameters: float) -> str:
    made = compile_strategy(GOOD_DESIGN, **parameters)
    row = {
        "name": made.name,
        "version": version or made.version,
        "source": "designed",
        "author": "claude",
        "code": code,
        "parameters": json.dumps(made.parameters),
        "created_at": AS_OF,
    }
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.strategies", pl.DataFrame([row]))
    return made.version


def windows_at(as_of: datetime) -> HoldingWindows:
    return HoldingWindows(cycle_windows(as_of), cycle_windows(as_of, long=True))


def happen(platform: Platform, version: str, *events: tuple[str, int]) -> None:
    rows = [
        {"name": "range_fade", "version": version, "event": event, "begins_at": AS_OF + number * STEP}
        for event, number in events
    ]
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.strategy_lifecycle", pl.DataFrame(rows))


def generated(platform: Platform, steps: int) -> list[StrategyRecord]:
    return [each for each in load_population(platform.warehouse, AS_OF + steps * STEP) if each.source != "library"]


def test_an_empty_warehouse_has_the_library_as_candidates(platform: Platform) -> None:
    found = load_population(platform.warehouse, AS_OF)
    assert [each.strategy.name for each in found] == [each.name for each in load_library()]
    assert {(each.state, each.running) for each in found} == {("candidate", False)}
    assert active(platform.warehouse, AS_OF) == []


def test_states_are_those_of_the_time_asked_for(platform: Platform) -> None:
    version = put(platform, oversold=25.0)
    assert generated(platform, -1) == []
    happen(platform, version, ("validated", 0), ("active", 0), ("tuning", 1), ("active", 2), ("archived", 3))
    seen = {steps: generated(platform, steps)[0] for steps in range(5)}
    assert [seen[steps].state for steps in range(5)] == ["active", "tuning", "active", "archived", "archived"]
    assert [seen[steps].running for steps in range(5)] == [True, True, True, False, False]
    assert {seen[steps].active_since for steps in range(5)} == {AS_OF}
    assert seen[4].ended == AS_OF + 3 * STEP
    assert seen[0].strategy.parameters["oversold"] == 25.0
    at = AS_OF + 4 * STEP
    assert active(platform.warehouse, at) == []
    assert [each.key for each in active(platform.warehouse, at, grace=2 * STEP)] == [("range_fade", version)]


def test_a_proposal_that_took_no_holdout_is_not_in_play_in_later_cycles(platform: Platform) -> None:
    library = [{"name": each.name, "version": each.version, "event": "validated"} for each in load_library()]
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.strategy_lifecycle", pl.DataFrame(library).with_columns(pl.lit(AS_OF).alias("begins_at")))
    version = put(platform)
    later = AS_OF + 4 * STEP  # its first holdout is past
    assert [each.source for each in incumbents(platform.warehouse, windows_at(later))] == ["library"] * len(library)
    happen(platform, version, ("candidate", 0), ("validated", 0))
    assert [each.source for each in incumbents(platform.warehouse, windows_at(later))].count("designed") == 1
    assert "range_fade" not in {
        each.strategy.name for each in incumbents(platform.warehouse, windows_at(AS_OF + 3 * STEP))
    }


def test_what_comes_back_is_active_from_then_on(platform: Platform) -> None:
    version = put(platform)
    happen(platform, version, ("active", 0), ("archived", 1), ("active", 3))
    (record,) = active(platform.warehouse, AS_OF + 4 * STEP)
    assert (record.active_since, record.ended) == (AS_OF + 3 * STEP, None)


@pytest.mark.parametrize(
    ("code", "version", "reason"),
    [
        ("import os\nos.system('true')", "0" * 12, "Import"),
        (GOOD_DESIGN, "0" * 12, "is version"),
    ],
)
def test_rows_that_make_no_such_version_are_not_in_the_population(
    platform: Platform, code: str, version: str, reason: str
) -> None:
    put(platform, code, version)
    assert generated(platform, 1) == []
    ((key, why),) = lost(platform.warehouse, AS_OF).items()
    assert key == ("range_fade", version)
    assert reason in why


def test_who_holds_for_days_is_in_play_by_the_state_when_its_own_longer_holdout_began(platform: Platform) -> None:
    library = [{"name": each.name, "version": each.version, "event": "validated"} for each in load_library()]
    slow = GOOD_DESIGN.replace('timeframes = ("5m", "60m")', 'timeframes = ("4h",)')
    made = compile_strategy(slow)
    row = {"source": "designed", "author": "claude", "code": slow, "parameters": "{}", "created_at": AS_OF}
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.strategy_lifecycle", pl.DataFrame(library).with_columns(pl.lit(AS_OF).alias("begins_at")))
        tx.append("research.strategies", pl.DataFrame([{"name": made.name, "version": made.version, **row}]))
    happen(platform, made.version, ("candidate", 0), ("validated", 0), ("active", 0))

    def played(days: int) -> set[str]:
        return {each.strategy.name for each in incumbents(platform.warehouse, windows_at(AS_OF + timedelta(days=days)))}

    assert made.name not in played(89)
    assert made.name in played(90)
