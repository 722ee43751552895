"""What a failed drift check may set off for a strategy, and what the cycle's own tuning makes of it."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from support.platform import AS_OF, Platform

from backtester.statistics.windows import cycle_windows
from blofin_assets.drift.retuning import _hindrance, _too_late
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.cycle_events import mark_done
from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.in_sample import SEARCH_NAMES
from blofin_assets.strategy_cycle.population import StrategyRecord, load_population
from blofin_assets.strategy_cycle.proposals import Proposal, proposal_rows
from blofin_assets.strategy_cycle.search_window import HoldingWindows
from blofin_assets.strategy_cycle.tuning import _due
from features.bars import TS
from strategies.quotas import Stage

pytestmark = pytest.mark.slow

NEXT_CYCLE = AS_OF + timedelta(hours=48)
WINDOWS = HoldingWindows(cycle_windows(NEXT_CYCLE), cycle_windows(NEXT_CYCLE, long=True))


def tunable(platform: Platform) -> list[StrategyRecord]:
    found = load_population(platform.warehouse, AS_OF)
    return [each for each in found if any(given.low < given.high for given in each.strategy.ranges().values())]


def propose(platform: Platform, record: StrategyRecord, designer: Author = Author.DRIFT) -> None:
    name, version = record.key
    made = Proposal(
        Stage.TUNING, designer, ProposalState.SOUND, name=name, version="other", parent_version=version, attempt=1
    )
    with platform.warehouse.transaction("drift") as tx:
        tx.append("research.proposals", proposal_rows([made], NEXT_CYCLE))


def test_only_what_runs_is_tuned(platform: Platform) -> None:
    record = replace(tunable(platform)[0], active_since=AS_OF)
    assert _hindrance(record, 0) == ""
    assert "archived" in _hindrance(replace(record, ended=AS_OF), 0)
    assert "3 times" in _hindrance(record, 3)
    assert "no longer exists" in _hindrance(None, 0)


def test_no_challenger_is_made_for_a_holdout_that_was_held(platform: Platform) -> None:
    record, other, *_ = tunable(platform)
    name = record.strategy.name
    assert _too_late(platform.warehouse, name, NEXT_CYCLE) == ""
    propose(platform, record)
    with platform.warehouse.transaction("cycle") as tx:
        mark_done(tx, STRATEGY_CYCLE, f"{NEXT_CYCLE:%Y-%m-%d}", NEXT_CYCLE)
    assert _too_late(platform.warehouse, name, NEXT_CYCLE) == "", "what was made for it may be made again"
    assert "has been evaluated" in _too_late(platform.warehouse, other.strategy.name, NEXT_CYCLE)
    assert _too_late(platform.warehouse, other.strategy.name, NEXT_CYCLE + timedelta(hours=48)) == ""


def test_who_was_tuned_for_drift_is_not_tuned_again_for_the_same_holdout(platform: Platform) -> None:
    records = tunable(platform)
    rows = [
        {"strategy": each.strategy.name, "version": each.strategy.version, "score": float(-place), "trades": 50}
        for place, each in enumerate(records)
    ]
    with platform.warehouse.transaction("scores") as tx:
        stamp = pl.lit(NEXT_CYCLE).cast(TS)
        tx.append(
            "research.strategy_scores",
            pl.DataFrame(rows).with_columns(
                stamp.alias("as_of"), stamp.alias("timestamp"), pl.lit("*").alias("symbol"),
                pl.lit(SEARCH_NAMES + "28d").alias("window"),
            ),
        )  # fmt: skip
    before, _, _ = _due(platform.warehouse, records, WINDOWS)
    assert before[0] is records[-1], "the worst first"
    propose(platform, records[-2], designer="tuner")  # of this cycle itself, made again
    assert _due(platform.warehouse, records, WINDOWS)[0] == before
    propose(platform, records[-1])
    due, _, attempts = _due(platform.warehouse, records, WINDOWS)
    assert due == before[1:]
    assert attempts == {records[-1].strategy.name: 1}
