"""What a failed drift check may set off for a strategy, and what the cycle's own tuning makes of it."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
from support.platform import AS_OF, Platform

from backtester.windows import Window
from blofin_assets.assets.retuning import _hindrance, _too_late
from blofin_assets.assets.tuning import DRIFT_DESIGNER, _days, _due
from blofin_assets.evolution.rows import SOUND, Made, proposal_rows
from blofin_assets.plan import STRATEGY_CYCLE
from blofin_assets.progress import say_done
from blofin_assets.roster import Member, roster
from features.bars import TS

EXAM = AS_OF + timedelta(hours=48)
SEARCHED = Window(EXAM - timedelta(days=35), EXAM - timedelta(days=7))


def tunable(platform: Platform) -> list[Member]:
    found = roster(platform.warehouse, AS_OF)
    return [each for each in found if any(given.low < given.high for given in each.strategy.ranges().values())]


def propose(platform: Platform, member: Member, designer: str = DRIFT_DESIGNER) -> None:
    name, version = member.key
    made = Made("tuning", designer, SOUND, name=name, version="other", parent_version=version, attempt=1)
    with platform.warehouse.transaction("drift") as tx:
        tx.append("research.proposals", proposal_rows([made], EXAM))


def test_only_what_runs_is_tuned(platform: Platform) -> None:
    member = replace(tunable(platform)[0], active_since=AS_OF)
    assert _hindrance(member, 0) == ""
    assert "archived" in _hindrance(replace(member, ended=AS_OF), 0)
    assert "3 times" in _hindrance(member, 3)
    assert "roster" in _hindrance(None, 0)


def test_no_challenger_is_made_for_an_exam_that_was_held(platform: Platform) -> None:
    member, other, *_ = tunable(platform)
    name = member.strategy.name
    assert _too_late(platform.warehouse, name, EXAM) == ""
    propose(platform, member)
    with platform.warehouse.transaction("cycle") as tx:
        say_done(tx, STRATEGY_CYCLE, f"{EXAM:%Y-%m-%d}", EXAM)
    assert _too_late(platform.warehouse, name, EXAM) == "", "what was made for it may be made again"
    assert "has been held" in _too_late(platform.warehouse, other.strategy.name, EXAM)
    assert _too_late(platform.warehouse, other.strategy.name, EXAM + timedelta(hours=48)) == ""


def test_who_was_tuned_for_drift_is_not_tuned_again_for_the_same_exam(platform: Platform) -> None:
    members = tunable(platform)
    rows = [
        {"strategy": each.strategy.name, "version": each.strategy.version, "score": float(-place), "trades": 50}
        for place, each in enumerate(members)
    ]
    with platform.warehouse.transaction("scores") as tx:
        stamp = pl.lit(EXAM).cast(TS)
        tx.append(
            "research.strategy_scores",
            pl.DataFrame(rows).with_columns(
                stamp.alias("as_of"), stamp.alias("timestamp"), pl.lit("*").alias("symbol"),
                pl.lit(_days(SEARCHED)).alias("window"),
            ),
        )  # fmt: skip
    before, _, _ = _due(platform.warehouse, members, EXAM, SEARCHED)
    assert before[0] is members[-1], "the worst first"
    propose(platform, members[-2], designer="tuner")  # of this cycle itself, made again
    assert _due(platform.warehouse, members, EXAM, SEARCHED)[0] == before
    propose(platform, members[-1])
    due, _, attempts = _due(platform.warehouse, members, EXAM, SEARCHED)
    assert due == before[1:]
    assert attempts == {members[-1].strategy.name: 1}
