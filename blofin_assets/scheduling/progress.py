"""What has been done, read from the warehouse: results count, not Dagster's event log.

Belongs here: the queries behind `plan.Progress`, and the events due, done, skipped and failed. Does not belong
here: deciding what is due (`plan`).
"""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

import polars as pl

from blofin_assets.scheduling.plan import begin_of, due_times
from blofin_assets.shared.cadences import (
    CADENCES,
    IN_ORDER,
    MARKET_DATA,
    ML_CYCLE,
    REPORT,
    STRATEGY_CYCLE,
    Cadence,
    Step,
)
from blofin_assets.shared.coverage import DATASETS
from blofin_assets.shared.cycle_events import EVENTS, deep_done, done_times
from blofin_assets.shared.partitions import DAY
from blofin_assets.shared.vocabulary import CycleState
from blofin_resources.market.ingestion import WARM_DAYS, retry_days
from blofin_resources.market.universe import OFF
from blofin_resources.warehouse import Warehouse
from features import definitions_hash
from features.bars import TS

T = TypeVar("T")

_STALE: Final = "SELECT DISTINCT CAST(ts AS DATE) AS day FROM {} WHERE definitions_hash <> ? AND ts >= ? AND ts < ?"


@dataclass(frozen=True)
class WarehouseProgress:
    """`plan.Progress` of a warehouse for the symbols that are traded.

    Attributes
    ----------
    warehouse, symbols, universe, deep_start
        Where results are, and what is followed.
    one_look
        Whether each question is asked once and its answer kept: for whoever looks at one moment, and writes nothing.
    """

    warehouse: Warehouse
    symbols: Sequence[str]
    universe: str = OFF
    deep_start: date | None = None
    one_look: bool = False
    _answers: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def missing_days(self, first: date, as_of: datetime) -> Sequence[date]:
        """See `plan.Progress.missing_days`."""
        end = (as_of - timedelta(microseconds=1)).date() + DAY
        missing = self.warehouse.missing_days(DATASETS, self.symbols, first, end, as_of)
        lacking = {day for days in missing.values() for day in days}
        again = {day for day in retry_days(self.warehouse, self.symbols, as_of) if day >= first}
        return sorted(lacking | again | self._defined_anew(first, end) | self._after_earlier(lacking, first, end))

    def deep_due(self, as_of: datetime) -> bool:
        """See `plan.Progress.deep_due`; other settings than those of the last run make it due again."""
        return self.universe != OFF and not deep_done(self.warehouse, as_of, self.universe, self.deep_start)

    def _after_earlier(self, lacking: Collection[date], first: date, end: date) -> set[date]:
        """Return the stored days whose features change because earlier days were added, as after an earlier start."""
        if not lacking:
            return set()
        stored = self.warehouse.covered("candles_1m", self.symbols, first, end)["day"].unique()
        reach = timedelta(days=WARM_DAYS)
        return {day for day in stored if any(timedelta(0) < day - earlier <= reach for earlier in lacking)}

    def _defined_anew(self, first: date, end: date) -> set[date]:
        """Return the days whose stored features were computed with other definitions than the current ones."""
        # duckdb_columns: duckdb_tables would estimate the size of each table
        tables = self.warehouse.read("SELECT DISTINCT table_name FROM duckdb_columns() WHERE schema_name = 'features'")
        queries = [_STALE.format(f"features.{name}") for name in tables["table_name"].sort()]
        return {day for query in queries for day in self.warehouse.read(query, [definitions_hash(), first, end])["day"]}

    def done(self, job: str) -> frozenset[datetime]:
        """See `plan.Progress.done`."""
        return self.succeeded(job) | self._events()[job, CycleState.SKIPPED]

    def given_up(self, job: str) -> frozenset[datetime]:
        """Return the as-of times that were skipped, or that failed too often, and have not succeeded since."""
        return _given_up(self._events(), job) - self.succeeded(job)

    def succeeded(self, job: str) -> frozenset[datetime]:
        """Return the as-of times for which the job's last table has rows; a report must also show the newest cycles."""
        return self._asked(job, lambda: self._succeeded(job))

    def _succeeded(self, job: str) -> frozenset[datetime]:
        if job != REPORT:
            return done_times(self.warehouse, job)
        reports = self.warehouse.read("SELECT as_of, report_json -> '$.cycles' AS shown FROM reports.daily_reports")
        cycles = {job: sorted(self.succeeded(job)) for job in (STRATEGY_CYCLE, ML_CYCLE)}
        return frozenset(as_of for as_of, shown in reports.iter_rows() if _up_to_date(shown, _newest(cycles, as_of)))

    def open_due(self) -> list[Step]:
        """Return the cycles marked due that are neither done, passed nor abandoned, in the order to run them.

        A key of a cadence that runs in order is passed once a later one is done.
        """
        events = self._events()
        marked = {
            cadence.job: events[cadence.job, CycleState.DUE] - _given_up(events, cadence.job) for cadence in CADENCES
        }
        steps = [
            (as_of, order, cadence.step(as_of))
            for order, cadence in enumerate(CADENCES)
            if marked[cadence.job]
            for as_of in _open(cadence, marked[cadence.job], self.succeeded(cadence.job))
        ]
        return [step for _, _, step in sorted(steps, key=lambda item: item[:2])]

    def market_due(self) -> datetime | None:
        """Return the latest time up to which market data was marked due."""
        return max(self._events()[MARKET_DATA, CycleState.DUE], default=None)

    def mark_due(self, cadence: Cadence, scheduled: datetime, run_id: str) -> tuple[list[Step], list[Step]]:
        """Mark every as-of that is due at a tick, and those that are abandoned.

        Downtime is caught up here, because Dagster launches only the latest missed tick. Cycles that failed too often
        wait for a person and `blofin run`.

        Parameters
        ----------
        cadence : Cadence
            The cadence of the schedule.
        scheduled : datetime
            Time of the tick (UTC).
        run_id : str
            Writer of the events.

        Returns
        -------
        tuple of list of Step
            Due and abandoned steps.
        """
        settled = self.done(cadence.job) | self.given_up(cadence.job)
        begun = begin_of({job: self.done(job) for job in IN_ORDER})
        due, skipped = due_times(cadence, scheduled, settled, begun)
        return (
            self.mark([cadence.step(time) for time in due], CycleState.DUE, run_id),
            self.mark([cadence.step(time) for time in skipped], CycleState.SKIPPED, run_id),
        )

    def mark(self, steps: Sequence[Step], state: CycleState, run_id: str) -> list[Step]:
        """Append an event for each step, once, and return the steps.

        Parameters
        ----------
        steps : sequence of Step
            Cycles.
        state : CycleState
            Their new state.
        run_id : str
            Writer of the events.

        Returns
        -------
        list of Step
            The same steps.
        """
        if steps:
            frame = pl.DataFrame(
                {
                    "cycle": [step.job for step in steps],
                    "key": [step.last_key for step in steps],
                    "as_of": [step.as_of for step in steps],
                    "state": [str(state)] * len(steps),
                    "happened_at": [datetime.now(UTC)] * len(steps),
                },
                schema_overrides={"as_of": TS, "happened_at": TS},
            )
            with self.warehouse.transaction(run_id) as tx:
                tx.append(EVENTS, frame, key=["cycle", "as_of", "state"])
        return list(steps)

    def _events(self) -> defaultdict[tuple[str, str], frozenset[datetime]]:
        """Return the as-of times by job and state."""
        return self._asked(EVENTS, self._read_events)

    def _read_events(self) -> defaultdict[tuple[str, str], frozenset[datetime]]:
        rows = self.warehouse.read(f"SELECT cycle, state, list(DISTINCT as_of) FROM {EVENTS} GROUP BY ALL")  # noqa: S608 - constant table
        events: defaultdict[tuple[str, str], frozenset[datetime]] = defaultdict(frozenset)
        events.update({(cycle, state): frozenset(times) for cycle, state, times in rows.iter_rows()})
        return events

    def _asked(self, question: str, answer: Callable[[], T]) -> T:
        if not self.one_look:
            return answer()
        if question not in self._answers:
            self._answers[question] = answer()
        kept: T = self._answers[question]
        return kept


def _given_up(events: Mapping[tuple[str, str], frozenset[datetime]], job: str) -> frozenset[datetime]:
    return events[job, CycleState.SKIPPED] | events[job, "failed"]


def _open(cadence: Cadence, marked: frozenset[datetime], done: frozenset[datetime]) -> frozenset[datetime]:
    last = max(done, default=None) if cadence.in_order else None
    return frozenset(time for time in marked - done if last is None or time > last)


def _newest(cycles: Mapping[str, Sequence[datetime]], as_of: datetime) -> dict[str, str | None]:
    """Return the as-of of each job's newest cycle at or before a time, in ISO form; the times are sorted."""
    places = {job: bisect_right(times, as_of) for job, times in cycles.items()}
    return {job: times[places[job] - 1].isoformat() if places[job] else None for job, times in cycles.items()}


def _up_to_date(shown: str | None, newest: dict[str, str | None]) -> bool:
    """Whether a report shows the newest cycles, according to its `cycles`; reports without that key count as such."""
    cycles = None if shown is None else json.loads(shown)
    return cycles is None or cycles == newest
