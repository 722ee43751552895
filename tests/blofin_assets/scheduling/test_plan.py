"""What is due when: a simulated clock over two years, downtime, a first run, a run for the past."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from blofin_assets.scheduling.plan import Plan, due_times, plan
from blofin_assets.shared.cadences import (
    CADENCES,
    DEEP_HISTORY,
    DRIFT,
    FORWARD,
    MARKET_DATA,
    ML_CYCLE,
    REPORT,
    STRATEGY_CYCLE,
    Cadence,
    Step,
)

START = date(2025, 1, 1)
CLOCK_START = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class Memory:
    """Progress of steps that all succeed."""

    market: datetime | None = None
    deep: datetime | None = None
    times: dict[str, set[datetime]] = field(default_factory=lambda: {c.job: set() for c in CADENCES})

    def missing_days(self, first: date, as_of: datetime) -> Sequence[date]:
        have = self.market or datetime(first.year, first.month, first.day, tzinfo=UTC)
        begin = have.date()
        return [begin + timedelta(days=n) for n in range((as_of - have).days + 2) if self._open(begin, n, as_of)]

    def _open(self, begin: date, n: int, as_of: datetime) -> bool:
        day = begin + timedelta(days=n)
        opening = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return opening < as_of and (self.market is None or self.market < min(opening + timedelta(days=1), as_of))

    def deep_due(self, as_of: datetime) -> bool:
        return self.deep is not None and self.deep < as_of

    def done(self, job: str) -> frozenset[datetime]:
        return frozenset(self.times[job])

    def take(self, made: Plan) -> None:
        for step in made.steps:
            if step.job == MARKET_DATA:
                self.market = step.as_of
            else:
                self.times[step.job].add(step.as_of)
        for step in made.skipped:
            self.times[step.job].add(step.as_of)


def test_a_first_run_ends_with_a_report_that_has_cycles_to_report() -> None:
    made = plan(datetime(2026, 11, 20, 17, 30, tzinfo=UTC), date(2026, 10, 6), Memory())
    assert [(step.job, step.first_key, step.last_key) for step in made.steps] == [
        (MARKET_DATA, "2026-10-06", "2026-11-20"),
        (STRATEGY_CYCLE, "2026-11-19", "2026-11-19"),
        (ML_CYCLE, "2026-11-20-00:00", "2026-11-20-00:00"),
        (FORWARD, "2026-11-20-00:00", "2026-11-20-00:00"),
        (DRIFT, "2026-11-20", "2026-11-20"),
        (REPORT, "2026-11-19", "2026-11-19"),
        (ML_CYCLE, "2026-11-20-12:00", "2026-11-20-12:00"),
        (FORWARD, "2026-11-20-12:00", "2026-11-20-12:00"),
    ]
    assert made.steps[0].as_of == datetime(2026, 11, 20, 17, tzinfo=UTC)


def test_run_again_nothing_is_due() -> None:
    memory = Memory()
    now = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)
    memory.take(plan(now, START, memory))
    assert plan(now, START, memory).steps == ()


def test_every_cycle_once_and_on_its_grid_over_half_a_year_of_hourly_ticks() -> None:
    memory = Memory()
    run: dict[str, list[datetime]] = {c.job: [] for c in CADENCES}
    for tick in range(24 * 180):
        now = CLOCK_START + timedelta(hours=tick + 1)
        made = plan(now, START, memory)
        for step in made.steps:
            if step.job != MARKET_DATA:
                run[step.job].append(step.as_of)
        memory.take(made)
        assert made.skipped == ()
    for cadence in CADENCES:
        gaps = {b - a for a, b in zip(run[cadence.job], run[cadence.job][1:], strict=False)}
        assert gaps == {cadence.every}
    assert len(run[STRATEGY_CYCLE]) == 90 + 1
    assert len(run[ML_CYCLE]) == 2 * 180 + 1


def test_after_three_missed_ticks_each_due_key_comes_once_in_order() -> None:
    memory = Memory()
    memory.take(plan(datetime(2026, 3, 1, 12, tzinfo=UTC), START, memory))
    made = plan(datetime(2026, 3, 3, 0, 20, tzinfo=UTC), START, memory)
    cycles = [(step.job, step.first_key) for step in made.steps if step.job != MARKET_DATA]
    assert cycles == [
        (STRATEGY_CYCLE, "2026-03-02"),
        (ML_CYCLE, "2026-03-02-00:00"),
        (FORWARD, "2026-03-02-00:00"),
        (DRIFT, "2026-03-02"),
        (REPORT, "2026-03-01"),
        (ML_CYCLE, "2026-03-02-12:00"),
        (FORWARD, "2026-03-02-12:00"),
        (ML_CYCLE, "2026-03-03-00:00"),
        (FORWARD, "2026-03-03-00:00"),
        (DRIFT, "2026-03-03"),
        (REPORT, "2026-03-02"),
    ]


def test_after_long_downtime_the_oldest_are_given_up_and_named() -> None:
    memory = Memory()
    memory.take(plan(datetime(2026, 3, 1, tzinfo=UTC), START, memory))
    made = plan(datetime(2026, 3, 31, tzinfo=UTC), START, memory)
    for cadence in CADENCES:
        kept = [step for step in made.steps if step.job == cadence.job]
        assert len(kept) == cadence.catch_up
        assert any(step.job == cadence.job for step in made.skipped)
    memory.take(made)
    assert plan(datetime(2026, 3, 31, tzinfo=UTC), START, memory) == Plan(())


def test_a_past_as_of_brings_only_its_own_keys_and_no_cycle_after_a_later_one() -> None:
    memory = Memory()
    later = datetime(2026, 3, 9, tzinfo=UTC)
    memory.take(plan(later, START, memory))
    made = plan(datetime(2026, 2, 1, 13, tzinfo=UTC), START, memory)
    noon, midnight = datetime(2026, 2, 1, 12, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert [(step.job, step.as_of) for step in made.steps if step.job != MARKET_DATA] == [
        (DRIFT, midnight),
        (REPORT, midnight),
        (FORWARD, noon),
    ]
    newest = {job: max(memory.times[job]) for job in (STRATEGY_CYCLE, ML_CYCLE)}
    assert [(step.job, step.as_of, by) for step, by in made.passed] == [
        (STRATEGY_CYCLE, datetime(2026, 1, 31, tzinfo=UTC), newest[STRATEGY_CYCLE]),
        (ML_CYCLE, noon, newest[ML_CYCLE]),
    ]
    assert plan(later, START, memory).passed == (), "what is done can be asked for again"


def test_a_report_of_a_day_before_the_platform_began_makes_no_day_between_due() -> None:
    memory = Memory()
    begun = datetime(2026, 3, 9, 0, 20, tzinfo=UTC)
    memory.take(plan(begun, START, memory))
    for cadence in CADENCES:
        if not cadence.in_order:
            memory.times[cadence.job].add(cadence.floor(begun - timedelta(days=3)))
    assert plan(begun, START, memory).steps == ()
    memory.take(plan(begun + timedelta(days=3), START, memory))
    missed = begun.replace(minute=0) + timedelta(days=2)
    memory.times[REPORT].remove(missed)
    due = [step.as_of for step in plan(begun + timedelta(days=3), START, memory).steps]
    assert due == [missed], "but one after it began is made up for"


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_steps_are_ordered_and_never_repeat_whatever_the_downtimes(hours: list[int]) -> None:
    memory = Memory()
    now = datetime(2026, 1, 1, 5, tzinfo=UTC)
    seen: set[str] = set()
    for pause in hours:
        made = plan(now, START, memory)
        cycles = [step for step in made.steps if step.job != MARKET_DATA]
        assert [step.as_of for step in cycles] == sorted(step.as_of for step in cycles)
        assert all(step.as_of <= now for step in made.steps)
        names = {step.run_key for step in made.steps}
        assert not names & seen
        seen |= names
        memory.take(made)
        now += timedelta(hours=pause)


@given(st.sets(st.integers(0, 60), min_size=1), st.sampled_from(CADENCES))
def test_every_hole_within_reach_is_due_once_and_nothing_else(places: set[int], cadence: Cadence) -> None:
    """Whatever was done, what is due within reach is just what was not; afterwards nothing is."""
    start = cadence.floor(CLOCK_START)
    latest = start + 60 * cadence.every
    done = frozenset(start + place * cadence.every for place in places)
    due, given_up = due_times(cadence, latest, done)
    reach = [latest - n * cadence.every for n in range(cadence.catch_up)]
    earlier = [time for time in done if time < latest]
    begin = max(done) if cadence.in_order else min(done)
    expected = {time for time in reach if time not in done and time > begin}
    if earlier:
        assert set(due) >= expected
        assert not cadence.in_order or set(due) == expected, "none comes after a later one"
    assert not done & {*due, *given_up}
    assert len(due) <= cadence.catch_up
    assert due_times(cadence, latest, done | {*due, *given_up}) == ((), ())


def test_deep_history_comes_after_market_data_up_to_midnight_and_before_the_cycles() -> None:
    as_of = datetime(2026, 3, 13, 9, 47, tzinfo=UTC)
    memory = Memory(deep=datetime(2026, 3, 11, tzinfo=UTC))
    steps = plan(as_of, date(2026, 3, 12), memory).steps
    jobs = [step.job for step in steps]
    assert jobs[:2] == [MARKET_DATA, DEEP_HISTORY]
    midnight = datetime(2026, 3, 13, tzinfo=UTC)
    assert steps[1] == Step(DEEP_HISTORY, "2026-03-13", "2026-03-13", midnight)
    memory.deep = midnight
    assert DEEP_HISTORY not in [step.job for step in plan(as_of, date(2026, 3, 12), memory).steps]
