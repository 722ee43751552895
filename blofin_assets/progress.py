"""What has been done, read from the warehouse: results are the proof, not Dagster's event log.

Belongs here: the queries behind `plan.Progress`, the events that say what is due, done or given up. Does not belong
here: deciding what is due (`plan`).
"""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import polars as pl

from blofin_assets.partitions import DAY
from blofin_assets.plan import CADENCES, DRIFT, FORWARD, ML_CYCLE, REPORT, STRATEGY_CYCLE, Cadence, Step, due_times
from blofin_resources.market.intake import WARM_DAYS, retry_days
from blofin_resources.warehouse import Transaction, Warehouse
from features import definitions_hash
from features.bars import TS

DATASETS: Final = (
    "candles_1m",
    "gaps",
    "candles_5m",
    "candles_60m",
    "candles_1d",
    "funding_rates",
    "features_1m",
    "features_5m",
    "features_60m",
)
"""What the market data job stores for each symbol and day."""

_DONE: Final = {
    ML_CYCLE: (
        "SELECT as_of FROM research.ranking_history WHERE kind IN ('model', 'ensemble') "
        "GROUP BY as_of HAVING count(DISTINCT kind) = 2"
    ),
    **{
        # by the commit of the last asset, which may have no rows of its own, or of the checks after it
        job: f"SELECT DISTINCT as_of FROM research.cycle_events WHERE cycle = '{job}' AND state = 'done'"  # noqa: S608 - constant names
        for job in (STRATEGY_CYCLE, FORWARD, DRIFT)
    },
}

_STALE: Final = "SELECT DISTINCT CAST(ts AS DATE) AS day FROM {} WHERE definitions_hash <> ? AND ts >= ? AND ts < ?"

_EVENTS: Final = "research.cycle_events"


@dataclass(frozen=True)
class WarehouseProgress:
    """`plan.Progress` of a warehouse for the symbols that are traded."""

    warehouse: Warehouse
    symbols: Sequence[str]

    def missing_days(self, first: date, as_of: datetime) -> Sequence[date]:
        """See `plan.Progress.missing_days`."""
        end = (as_of - timedelta(microseconds=1)).date() + DAY
        missing = self.warehouse.missing_days(DATASETS, self.symbols, first, end, as_of)
        lacking = {day for days in missing.values() for day in days}
        again = {day for day in retry_days(self.warehouse, self.symbols, as_of) if day >= first}
        return sorted(lacking | again | self._defined_anew(first, end) | self._after_earlier(lacking, first, end))

    def _after_earlier(self, lacking: Collection[date], first: date, end: date) -> set[date]:
        """Return the stored days whose features change when the days before them come in, as with an earlier start."""
        if not lacking:
            return set()
        stored = self.warehouse.covered("candles_1m", self.symbols, first, end)["day"].unique()
        reach = timedelta(days=WARM_DAYS)
        return {day for day in stored if any(timedelta(0) < day - earlier <= reach for earlier in lacking)}

    def _defined_anew(self, first: date, end: date) -> set[date]:
        """Return the days whose stored features were computed by other definitions than today's."""
        # of the columns: the list of tables would have the size of each estimated
        tables = self.warehouse.read("SELECT DISTINCT table_name FROM duckdb_columns() WHERE schema_name = 'features'")
        queries = [_STALE.format(f"features.{name}") for name in tables["table_name"].sort()]
        return {day for query in queries for day in self.warehouse.read(query, [definitions_hash(), first, end])["day"]}

    def done(self, job: str) -> frozenset[datetime]:
        """See `plan.Progress.done`."""
        return self.succeeded(job) | self._events()[job, "skipped"]

    def given_up(self, job: str) -> frozenset[datetime]:
        """Return the as-of times that were skipped, or that failed too often, and have not succeeded since."""
        return _given_up(self._events(), job) - self.succeeded(job)

    def succeeded(self, job: str) -> frozenset[datetime]:
        """Return the as-of times for which the job's last table has rows; a report must show the cycles there are."""
        if job != REPORT:
            return frozenset(self.warehouse.read(_DONE[job])["as_of"])
        made = self.warehouse.read("SELECT as_of, report_json -> '$.cycles' AS shown FROM reports.daily_reports")
        cycles = {job: sorted(self.succeeded(job)) for job in (STRATEGY_CYCLE, ML_CYCLE)}
        return frozenset(as_of for as_of, shown in made.iter_rows() if _up_to_date(shown, _newest(cycles, as_of)))

    def open_due(self) -> list[Step]:
        """Return the cycles that were marked due and are neither done, passed nor given up, in the order to run them.

        Passed is a key of a cadence that goes in order once a later one is done.
        """
        events = self._events()
        marked = {cadence.job: events[cadence.job, "due"] - _given_up(events, cadence.job) for cadence in CADENCES}
        steps = [
            (as_of, order, cadence.step(as_of))
            for order, cadence in enumerate(CADENCES)
            if marked[cadence.job]
            for as_of in _open(cadence, marked[cadence.job], self.succeeded(cadence.job))
        ]
        return [step for _, _, step in sorted(steps, key=lambda item: item[:2])]

    def market_due(self) -> datetime | None:
        """Return the latest time up to which market data was marked due."""
        return max(self._events()["market_data", "due"], default=None)

    def mark_due(self, cadence: Cadence, scheduled: datetime, run_id: str) -> tuple[list[Step], list[Step]]:
        """Mark every as-of that is due at a tick, and those that are given up; return both.

        Downtime is caught up here: Dagster launches only the latest missed tick. What failed too often waits for a
        person, and `blofin run`.
        """
        settled = self.done(cadence.job) | self.given_up(cadence.job)
        due, skipped = due_times(cadence, scheduled, settled)
        return (
            self.mark([cadence.step(time) for time in due], "due", run_id),
            self.mark([cadence.step(time) for time in skipped], "skipped", run_id),
        )

    def mark(self, steps: Sequence[Step], state: str, run_id: str) -> list[Step]:
        """Append an event for each step, once, and return the steps."""
        if steps:
            frame = pl.DataFrame(
                {
                    "cycle": [step.job for step in steps],
                    "key": [step.last_key for step in steps],
                    "as_of": [step.as_of for step in steps],
                    "state": [state] * len(steps),
                    "at": [datetime.now(UTC)] * len(steps),
                },
                schema_overrides={"as_of": TS, "at": TS},
            )
            with self.warehouse.transaction(run_id) as tx:
                tx.append(_EVENTS, frame, key=["cycle", "as_of", "state"])
        return list(steps)

    def _events(self) -> defaultdict[tuple[str, str], frozenset[datetime]]:
        """Return the as-of times by job and state."""
        rows = self.warehouse.read(f"SELECT cycle, state, list(DISTINCT as_of) FROM {_EVENTS} GROUP BY ALL")  # noqa: S608 - constant table
        found: defaultdict[tuple[str, str], frozenset[datetime]] = defaultdict(frozenset)
        found.update({(cycle, state): frozenset(times) for cycle, state, times in rows.iter_rows()})
        return found


def say_done(tx: Transaction, job: str, key: str, as_of: datetime) -> None:
    """Say, in the transaction of its last rows, that a cycle is done: what was killed before that is run again."""
    row = {"cycle": job, "key": key, "as_of": as_of, "state": "done", "at": datetime.now(UTC)}
    frame = pl.DataFrame([row], schema_overrides={"as_of": TS, "at": TS})
    tx.append(_EVENTS, frame, key=["cycle", "as_of", "state"])


def _given_up(events: Mapping[tuple[str, str], frozenset[datetime]], job: str) -> frozenset[datetime]:
    return events[job, "skipped"] | events[job, "failed"]


def _open(cadence: Cadence, marked: frozenset[datetime], done: frozenset[datetime]) -> frozenset[datetime]:
    last = max(done, default=None) if cadence.in_order else None
    return frozenset(time for time in marked - done if last is None or time > last)


def _newest(cycles: Mapping[str, Sequence[datetime]], as_of: datetime) -> dict[str, str | None]:
    """Return the as-of of each job's newest cycle at or before a time, in ISO form; the times are sorted."""
    places = {job: bisect_right(times, as_of) for job, times in cycles.items()}
    return {job: times[places[job] - 1].isoformat() if places[job] else None for job, times in cycles.items()}


def _up_to_date(shown: str | None, newest: dict[str, str | None]) -> bool:
    """Whether a report, by its `cycles` as JSON, shows the newest ones; a report from before they were told does."""
    cycles = None if shown is None else json.loads(shown)
    return cycles is None or cycles == newest
