"""The window of a run, and its pieces."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blofin_assets.shared.windows import DayWindow, run_midnight, run_window, whole_window
from blofin_resources.dagster_resources import ClockResource

START = datetime(2026, 3, 1, tzinfo=UTC)


@given(
    symbols=st.lists(st.sampled_from("ABCDEFGHIJ"), min_size=1, unique=True),
    days=st.integers(1, 40),
    cut=st.integers(1, 1440),
    rows=st.sampled_from([24, 288, 1440]),
    most=st.integers(1, 60_000),
)
def test_the_pieces_hold_each_day_of_each_symbol_once_and_not_too_much(
    symbols: list[str], days: int, cut: int, rows: int, most: int
) -> None:
    end = START + timedelta(days=days - 1, minutes=cut)
    window = whole_window(START, end)
    pieces = list(window.pieces(symbols, rows, most))
    held = [(symbol, day) for some, part in pieces for day in part.days for symbol in some]
    assert sorted(held) == sorted((symbol, day) for symbol in symbols for day in window.days)
    for some, part in pieces:
        count = len(some) * len(part.days)
        assert count * rows <= most or count == 1
        assert part.start == datetime.combine(part.days[0], datetime.min.time(), UTC)
        assert part.end == min(end, part.start + timedelta(days=len(part.days)))
        assert len(part.by_day()) == len(part.days)
    assert max(part.end for _, part in pieces) == end, "nothing after the as-of"
    assert [part.start for _, part in pieces] == sorted(part.start for _, part in pieces)


def test_a_window_of_whole_days_ends_before_the_next_midnight() -> None:
    assert whole_window(START, START + timedelta(days=2)) == DayWindow(
        (date(2026, 3, 1), date(2026, 3, 2)), START, START + timedelta(days=2)
    )
    assert whole_window(START, START).days == (START.date(),)


def test_the_last_key_of_a_range_is_its_as_of() -> None:
    clock = ClockResource(fixed="2026-03-05T09:30:00+00:00")

    def asked(**keys: str) -> Any:
        return SimpleNamespace(run=SimpleNamespace(tags={f"dagster/{name}": key for name, key in keys.items()}))

    several = asked(asset_partition_range_start="2026-03-02", asset_partition_range_end="2026-03-04")
    assert run_midnight(several, clock) == datetime(2026, 3, 4, tzinfo=UTC)
    assert run_window(several, clock) == (datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC))
    assert run_midnight(asked(partition="2026-03-03"), clock) == datetime(2026, 3, 3, tzinfo=UTC)
    assert run_midnight(asked(), clock) == datetime(2026, 3, 5, tzinfo=UTC)
