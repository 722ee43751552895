"""The machine left alone: schedules and sensors drive it day after day, each cycle once, a report for every day.

A day of it is in `make test-long`. `BLOFIN_TEST_QUARTER_DAYS=14` with `-m long -s` runs two weeks and prints their
table; a day takes more than a minute. `BLOFIN_TEST_QUARTER_SEED` is another market. From `LONG` days on, what is looked
for is found: the market holds an edge that a strategy of the first cycle earns, and that reverses a few days later.

Ninety days take hours. With `BLOFIN_TEST_QUARTER_FOLDER` they may be made in parts: what is in that folder is gone on
with, as after a restart of the daemon; `BLOFIN_TEST_QUARTER_MINUTES` ends a part at the end of a day.
"""

import os
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from scipy.stats import binomtest
from support.clockwork import Clockwork, clockwork, moments
from support.cycles import Author, served
from support.fake_messages import design
from support.platform import keep_surroundings_out, platforms

from blofin_assets.drift.sensor import REASON_TAG
from blofin_assets.scheduling.jobs import RETUNE
from blofin_assets.shared.cadences import CADENCES, STRATEGY_CYCLE
from blofin_assets.shared.partitions import EPOCH
from calibration.drifting import FADE, drifting_archive

DAYS: Final = int(os.environ.get("BLOFIN_TEST_QUARTER_DAYS", "1"))
SEED: Final = int(os.environ.get("BLOFIN_TEST_QUARTER_SEED", "9"))
FOLDER: Final = os.environ.get("BLOFIN_TEST_QUARTER_FOLDER")
MINUTES: Final = float(os.environ.get("BLOFIN_TEST_QUARTER_MINUTES", "inf"))
LONG: Final = 11
"""Days after which the reversal must have been found: seven of the forward ledger, three nights, one to spare."""
MANY: Final = 30
"""Days after which some of what drifted was still active, and was tuned."""
HISTORY: Final = timedelta(days=24)
BEGIN: Final = datetime(2026, 2, 10, tzinfo=UTC)
END: Final = BEGIN + timedelta(days=DAYS)
REVERSES: Final = BEGIN + timedelta(days=4)
MAINTENANCE: Final = timedelta(hours=1, minutes=30)
"""After midnight, when maintenance is due."""
EVALUATED: Final = REVERSES + timedelta(days=7)
"""From here on the expected performance of a strategy, from its holdout of seven days, is of the market as it stays."""
SETTLED: Final = REVERSES + timedelta(days=14)
"""The same for what learns: a week of holdouts, each trained on the week before."""
PLANTED: Final = "fade_the_move"

pytestmark = pytest.mark.long
needs_days = pytest.mark.skipif(DAYS < LONG, reason=f"set BLOFIN_TEST_QUARTER_DAYS to {LONG} or more: half an hour")


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clockwork]:
    """A platform after `DAYS` days under its own schedules and sensors."""
    ends = time.monotonic() + 60 * MINUTES
    root = Path(FOLDER) if FOLDER else tmp_path_factory.mktemp("quarter")
    state, symbols = root / "clockwork.json", ("BTC-USDT",)
    archive = root / "archive"
    if not state.exists():
        drifting_archive(archive, symbols, BEGIN - HISTORY, END + timedelta(days=1), REVERSES, SEED)
    with platforms(root) as make, pytest.MonkeyPatch.context() as patch:
        keep_surroundings_out(patch, root)
        platform = make(
            market="archive", archive=str(archive), symbols=",".join(symbols),
            start=(BEGIN - HISTORY).date().isoformat(), search_budget=24, tuning_budget=4,
        )  # fmt: skip
        with clockwork(platform) as daemon:
            for day in moments(_begun(daemon, state), END - timedelta(days=1), timedelta(days=1)):
                if time.monotonic() > ends:
                    pytest.skip(f"{day:%Y-%m-%d} is next: the same command goes on")
                for since in (MAINTENANCE, timedelta(hours=12), timedelta(days=1)):
                    daemon.tick(day + since)
                _age(daemon)
                daemon.store(state, day + timedelta(days=1))
                told(f"{day:%Y-%m-%d}: {len(daemon.runs)} runs, {_disk(daemon):.0f} MB, {_memory():.0f} MB of memory")
            daemon.move(END)
            yield daemon


def _begun(daemon: Clockwork, state: Path) -> datetime:
    """Begin, or go on after the last day that was written down; return the day that is next."""
    if state.exists():
        return daemon.resume(state)
    with served(Author([design(FADE)])):
        daemon.tick(BEGIN)
    daemon.store(state, BEGIN)
    return BEGIN


def test_every_cycle_ran_once_and_on_its_grid(left_alone: Clockwork) -> None:
    for cadence in CADENCES:
        due = {cadence.key(time) for time in moments(cadence.floor(BEGIN), END, cadence.every)}
        assert left_alone.count(cadence.job) == dict.fromkeys(due, 1), cadence.job
    assert [run for run in left_alone.runs if not run.success] == []
    grid = [datetime.fromisoformat(f"{key}T00:00:00+00:00") for key in left_alone.count(STRATEGY_CYCLE)]
    assert all((time - EPOCH) % timedelta(hours=48) == timedelta(0) for time in grid)


def test_every_day_has_its_report(left_alone: Clockwork) -> None:
    folder = left_alone.platform.settings.warehouse / "reports"
    days = [(BEGIN + timedelta(days=n)).date() for n in range(-1, DAYS)]
    assert [day for day in days if not (folder / f"{day}.json").is_file()] == []
    rows = left_alone.platform.warehouse.read("SELECT report_date FROM reports.daily_reports")
    assert sorted(rows["report_date"]) == days


def test_the_warehouse_is_whole_and_nothing_was_known_before_it_happened(left_alone: Clockwork) -> None:
    warehouse = left_alone.platform.warehouse
    assert warehouse.integrity() == []
    keys = "kind, name, version, activated_at, symbol, timeframe, entry_ts"
    written = warehouse.read(f"SELECT {keys} FROM research.forward_trades")
    assert written.height > 0
    assert written.is_unique().all()
    assert warehouse.read("SELECT * FROM research.forward_validation").is_empty()
    assert warehouse.read("SELECT sum(compared) AS compared FROM research.forward_runs")["compared"][0] > 0


def test_the_design_of_the_first_cycle_earns_what_was_planted(left_alone: Clockwork) -> None:
    rows = left_alone.platform.warehouse.read(
        "SELECT sharpe / sharpe_se AS t FROM research.strategy_backtest_results "
        "WHERE strategy_name = ? AND as_of = ? AND symbol = '*' AND timeframe = '*'",
        [PLANTED, BEGIN],
    )
    assert rows["t"].item() >= 4.5


@needs_days
def test_the_reversal_is_found_in_time_and_set_off_a_tuning(left_alone: Clockwork) -> None:
    warehouse = left_alone.platform.warehouse
    dates = warehouse.read(
        "SELECT as_of, days FROM research.drift_tests WHERE name = ? AND decision = 'drift' ORDER BY as_of", [PLANTED]
    )
    assert dates.height >= 1
    assert dates["days"][0] <= 10
    runs = [run for run in left_alone.runs if run.job == RETUNE]
    assert runs
    assert all(run.tags[REASON_TAG] for run in runs)
    asked = warehouse.read(
        "SELECT r.state, e.name IS NOT NULL AS archived FROM research.retunes r LEFT JOIN "
        "research.strategy_lifecycle e ON e.name = r.name AND e.version = r.version AND e.event = 'archived' "
        "AND e.begins_at <= r.as_of WHERE r.name = ?",
        [PLANTED],
    )
    assert asked.height > 0
    # the cycle of the same midnight may have been quicker: what is last in its holdout is replaced, and not tuned
    assert asked.filter((pl.col("state") == "not run") != pl.col("archived")).is_empty()


@pytest.mark.skipif(DAYS < MANY, reason=f"set BLOFIN_TEST_QUARTER_DAYS to {MANY} or more: an hour")
def test_what_drifts_and_still_runs_is_tuned_for_the_next_holdout(left_alone: Clockwork) -> None:
    tuned = left_alone.platform.warehouse.read(
        "SELECT r.as_of, p.as_of AS holdout, f.name IS NOT NULL AS held FROM research.retunes r "
        "LEFT JOIN research.proposals p ON p.name = r.name AND p.version = r.new_version AND p.designer = 'drift' "
        "LEFT JOIN research.finalists f ON f.name = p.name AND f.version = p.version AND f.as_of = p.as_of "
        "WHERE r.state = 'tuned'"
    )
    assert tuned["held"].any()
    ahead = tuned["holdout"] - tuned["as_of"]
    assert ahead.null_count() == 0
    assert ahead.is_between(timedelta(0), timedelta(days=2), closed="right").all()


@needs_days
def test_alarms_are_seldom_false_where_nothing_changed(left_alone: Clockwork) -> None:
    dates = _quiet_dates(left_alone)
    wrong = int(dates["alarm"].sum())
    assert dates.is_empty() or binomtest(wrong, dates.height, 0.10, alternative="greater").pvalue > 0.05


def test_the_table(left_alone: Clockwork) -> None:
    """Print what a reader wants to know of the days."""
    warehouse = left_alone.platform.warehouse
    for cadence in CADENCES:
        due = sum(1 for _ in moments(cadence.floor(BEGIN), END, cadence.every))
        seconds = [run.seconds for run in left_alone.runs if run.job == cadence.job]
        told(
            f"{cadence.job:15} due {due:4}  run {len(seconds):4}  seconds: first {seconds[0]:.1f}, median "
            f"{sorted(seconds)[len(seconds) // 2]:.1f}, last {seconds[-1]:.1f}"
        )
    drift = warehouse.read(
        "SELECT kind, metric, decision, count(*) FROM research.drift_tests GROUP BY ALL ORDER BY ALL"
    )
    told(f"tests of drift: {drift.rows()}")
    dates = warehouse.read("SELECT DISTINCT as_of FROM research.drift_tests WHERE decision = 'drift' ORDER BY 1")
    told(f"reversed at {REVERSES}; nights with drift: {[f'{night:%m-%d}' for night in dates['as_of']]}")
    found = warehouse.read(
        "SELECT as_of, kind, name, metric FROM research.drift_tests WHERE decision = 'drift' ORDER BY ALL"
    )
    told(f"what drifted: {found.with_columns(pl.col('as_of').dt.strftime('%m-%d')).rows()}")
    told(f"re-tuned: {warehouse.read('SELECT as_of, kind, name, state FROM research.retunes ORDER BY ALL').rows()}")
    quiet = _quiet_dates(left_alone)
    told(f"nights that could not but be false: {int(quiet['alarm'].sum())} of {quiet.height} with a test")
    told(f"{_disk(left_alone):.0f} MB in all; largest memory {_memory():.0f} MB")
    assert _memory() < 6_000


def _quiet_dates(daemon: Clockwork) -> pl.DataFrame:
    """Return the evaluation dates with tests that the reversal does not affect, and whether any raised an alarm."""
    return daemon.platform.warehouse.read(
        "SELECT as_of, bool_or(decision = 'drift') AS alarm FROM research.drift_tests WHERE decision <> 'insufficient' "
        "AND (as_of <= ? OR activated_at >= CASE kind WHEN 'strategy' THEN ? ELSE ? END) GROUP BY as_of ORDER BY as_of",
        [REVERSES, EVALUATED, SETTLED],
    )


def _age(daemon: Clockwork) -> None:
    """Let a day's snapshots and files grow old, which carry the time on the wall."""
    daemon.platform.warehouse.maintain(now=datetime.now(UTC) + timedelta(days=3))


def told(line: str) -> None:
    """Print a line, which `-s` shows."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _disk(daemon: Clockwork) -> float:
    folder = daemon.platform.settings.warehouse
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
