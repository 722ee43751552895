"""The desk replayed on the sample market: it chooses as the live desk did, and again the same."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.platform import Make, Platform

from blofin_assets.definitions import build_resources
from blofin_assets.replay.desk import ReplayPlan, choice_times
from blofin_assets.replay.stages import replay
from blofin_assets.shared.cadences import MARKET_DATA, STRATEGY_CYCLE

STEP = timedelta(days=2)
FIRST = datetime(2026, 3, 10, tzinfo=UTC)
BEGIN = date(2026, 2, 14)

CHOSEN = "SELECT name, version, rank, score, active FROM replay.candidates WHERE as_of = ? ORDER BY name, version"
LIVE = (
    "SELECT name, version, rank, score, status = 'active' AS active FROM research.ranking_history "
    "WHERE kind = 'strategy' AND as_of = ? AND rank IS NOT NULL ORDER BY name, version"
)
EVERY = "SELECT * EXCLUDE (run_id) FROM replay.{} ORDER BY ALL"


def replayed(platform: Platform, until: datetime) -> list[datetime]:
    resources = build_resources(platform.settings)
    plan = ReplayPlan(choice_times(FIRST, until, STEP), STEP, resources["market"], resources["evolution"])
    seen: list[datetime] = []
    replay(platform.warehouse, plan, platform.settings.market_id, "test", seen.append)
    assert [*seen, plan.times[-1]] == list(plan.times)
    return seen


def in_the_ui(platform: Platform, until: datetime) -> list[datetime]:
    """Replay by the asset, whose run has the runs of the cycles inside."""
    times = {"begin": FIRST.isoformat(), "end": until.isoformat(), "every_days": STEP.days}
    job = platform.defs.resolve_job_def("replay")
    outcome = job.execute_in_process(
        instance=platform.instance, run_config={"ops": {"desk_replay": {"config": times}}}, raise_on_error=False
    )
    assert outcome.success
    return [FIRST, FIRST + STEP]


def stored(platform: Platform) -> dict[str, pl.DataFrame]:
    return {name: platform.warehouse.read(EVERY.format(name)) for name in ("stretches", "candidates", "returns")}


@pytest.mark.long
def test_a_replayed_desk_chooses_as_a_live_one_that_had_nothing_later(make_platform: Make) -> None:
    past = make_platform("past", start=BEGIN)
    past.run(FIRST + 2 * STEP, jobs=(MARKET_DATA,))
    choices = in_the_ui(past, FIRST + 2 * STEP)
    live = make_platform("live", start=BEGIN)
    for as_of in choices:
        live.run(as_of, jobs=(MARKET_DATA, STRATEGY_CYCLE))
        chosen = past.warehouse.read(CHOSEN, [as_of])
        assert_frame_equal(chosen, live.warehouse.read(LIVE, [as_of]))
        assert chosen["active"].sum() == 20
    assert past.warehouse.read("SELECT count(*) AS n FROM research.ranking_history")["n"][0] == 0
    once, snapshot = stored(past), past.warehouse.snapshot_id()
    # the results of a stretch are those of its days, and each stretch is stored once
    daily = once["returns"].group_by("as_of", "kind", "name", "version").agg(pl.col("net_return").sum() * 100)
    both = once["candidates"].join(daily, on=["as_of", "kind", "name", "version"], how="left")
    assert both["net_return"].to_list() == pytest.approx(both["net_pct"].to_list(), abs=1e-9)
    assert (both["gross_pct"] >= both["net_pct"]).all()
    for one, other in pairwise(choices):
        assert other - one == STEP
    replayed(past, FIRST + 2 * STEP)
    assert past.warehouse.snapshot_id() == snapshot
    for name, rows in stored(past).items():
        assert_frame_equal(rows, once[name])
