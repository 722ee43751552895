"""From a failed check to a run: once each, not again too soon, not too many, the surest first."""

import json
from typing import Any

from blofin_assets.drift.sensor import (
    MAX_ATTEMPTS,
    MOST_A_DAY,
    Request,
    choose,
    latest_requests,
    run_request,
    settled_requests,
)


def failed(key: str, day: str, *names: str, kind: str = "strategy") -> Request:
    rows: tuple[dict[str, Any], ...] = tuple({"name": name, "version": "1", "reason": "why"} for name in names)
    return Request(key, day, kind, rows, "a sentence")


def as_before(*requests: Request) -> list[tuple[str, str, dict[str, Any]]]:
    return [(each.key, each.day, json.loads(each.to_json())) for each in requests]


def names(chosen: list[Request]) -> list[tuple[str, list[str]]]:
    return [(each.key, [row["name"] for row in each.drifted]) for each in chosen]


def test_a_failure_starts_one_run_and_never_another() -> None:
    asked = failed("run:1", "2026-03-12", "rsi")
    assert names(choose([asked], [])) == [("run:1", ["rsi"])]
    assert choose([asked], as_before(asked)) == []
    request = run_request(asked)
    assert (request.run_key, request.partition_key) == ("run:1", "2026-03-12")
    assert request.tags["blofin/reason"] == "a sentence"


def test_a_name_rests_after_it_was_asked_for_but_another_kind_does_not() -> None:
    first, next_date = failed("run:1", "2026-03-12", "rsi"), failed("run:2", "2026-03-13", "rsi", "ema")
    model = failed("run:3", "2026-03-13", "rsi", kind="model")
    later = failed("run:4", "2026-03-15", "rsi")
    assert names(choose([first, next_date, model, later], [])) == [
        ("run:1", ["rsi"]),
        ("run:2", ["ema"]),
        ("run:3", ["rsi"]),
        ("run:4", ["rsi"]),
    ]


def test_a_check_evaluated_again_for_the_same_date_asks_for_nothing_new() -> None:
    first, again = failed("run:1", "2026-03-12", "rsi"), failed("run:9", "2026-03-12", "rsi")
    assert choose([again], as_before(first)) == []


def test_a_date_sets_off_only_so_many_the_surest_first() -> None:
    many = [f"s{number}" for number in range(MOST_A_DAY + 3)]
    chosen = choose([failed("run:1", "2026-03-12", *many), failed("run:2", "2026-03-12", "m", kind="model")], [])
    assert names(chosen) == [("run:1", many[:MOST_A_DAY])]


def test_of_several_dates_that_wait_the_last_of_a_name_counts() -> None:
    asked = [
        failed("run:1", "2026-03-12", "rsi", "ema"),
        failed("run:2", "2026-03-13", "rsi"),
        failed("run:3", "2026-03-13", "ema", kind="model"),
    ]
    assert names(latest_requests(asked)) == [("run:1", ["ema"]), ("run:2", ["rsi"]), ("run:3", ["ema"])]
    assert names(latest_requests([asked[0], failed("run:4", "2026-03-14", "ema", "rsi")])) == [
        ("run:4", ["ema", "rsi"])
    ]


def test_a_name_that_drifts_in_two_metrics_is_asked_for_once() -> None:
    assert names(choose([failed("run:1", "2026-03-12", "m", "m", kind="model")], [])) == [("run:1", ["m"])]


def test_a_run_that_was_killed_is_made_again_and_given_up_after_some() -> None:
    asked = failed("run:1", "2026-03-12", "rsi")
    run = ("2026-03-12", json.loads(asked.to_json()))
    for times in range(MAX_ATTEMPTS):
        before, fails = settled_requests([(True, *run)] * times)
        assert choose([asked], before) == [asked]
        keys = {run_request(asked, each).run_key for each in range(times)}
        assert run_request(asked, fails[asked.key]).run_key not in keys, "Dagster starts no key twice"
    assert choose([asked], settled_requests([(True, *run)] * MAX_ATTEMPTS)[0]) == []
    assert choose([asked], settled_requests([(True, *run), (False, *run)])[0]) == []
