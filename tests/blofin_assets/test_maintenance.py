"""The maintenance asset: it comes once a day. What it does to a warehouse in use: `test_upkeep`, `test_pass`."""

from datetime import UTC, datetime

import dagster as dg
from support.platform import Platform

DAY = datetime(2026, 3, 13, 1, 30, tzinfo=UTC)


def test_it_is_due_once_a_day(platform: Platform) -> None:
    with dg.build_schedule_context(instance=platform.instance, scheduled_execution_time=DAY) as context:
        result = platform.defs.resolve_schedule_def("maintenance_schedule").evaluate_tick(context)
    assert [request.run_key for request in result.run_requests or []] == ["maintenance:2026-03-13"]
