"""The daily budget: nothing, spent midway, several processes and threads at once, killed calls."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support import fake_messages as fake
from support.claude import Desk, Words
from support.fake_messages import FakeMessages

from blofin_resources.claude import Answer, Unavailable
from blofin_resources.claude.ledger import Call, Ledger

WORKER = Path(__file__).with_name("worker.py")


def test_a_budget_of_nothing_sends_nothing(desk: Desk) -> None:
    with FakeMessages() as server:
        outcome = desk.ask(desk.claude(server.url, budget_usd=0))
        assert server.got == []
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, outcome.cost_usd) == ("budget", 0)
    assert "of $0 spent today" in outcome.detail
    assert [row["outcome"] for row in desk.rows()] == ["budget"]


def test_a_budget_that_is_spent_midway_ends_the_calls_of_that_day(desk: Desk) -> None:
    dear = fake.design(usage={"input_tokens": 100, "output_tokens": 10_000_000})
    with FakeMessages([fake.design(), dear]) as server:
        claude = desk.claude(server.url)
        outcomes = [desk.ask(claude, Words(question=f"Design {number}.")) for number in range(4)]
        assert len(server.got) == 2
        assert desk.spent() > 200
        tomorrow = desk.claude(server.url, clock=lambda: desk.as_of + timedelta(days=1))
        later = desk.ask(tomorrow, Words(question="Design 5."))
    assert [type(outcome) for outcome in outcomes] == [Answer, Answer, Unavailable, Unavailable]
    assert isinstance(outcomes[2], Unavailable)
    assert outcomes[2].reason == "budget"
    assert isinstance(later, Answer)


def test_the_repair_needs_a_budget_too(desk: Desk) -> None:
    with FakeMessages([fake.prose()]) as server:
        probe = Desk(desk.warehouse)
        probe.ask(probe.claude(key=None))
        once = probe.rows()[0]["worst_case_usd"]
        outcome = desk.ask(desk.claude(server.url, budget_usd=once * 1.001))
        assert len(server.got) == 1
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "budget"
    assert [row["outcome"] for row in desk.rows()] == ["invalid", "budget"]


def test_a_killed_call_keeps_its_worst_case_and_is_asked_again(desk: Desk) -> None:
    with FakeMessages() as server:
        claude = desk.claude(server.url)
        desk.ask(claude)
        (row,) = desk.rows()
        Ledger(desk.warehouse, lambda: desk.as_of).settle(
            replace(Call(**row), outcome="reserved", cost_usd=row["worst_case_usd"], reply=None)
        )
        again = desk.ask(desk.claude(server.url), run_id="again")
        assert len(server.got) == 2
    assert isinstance(again, Answer)
    assert desk.spent() == pytest.approx(row["worst_case_usd"] + again.cost_usd)


def test_threads_at_once_hold_no_more_than_the_budget(desk: Desk) -> None:
    desk.ask(desk.claude(key=None))
    (row,) = desk.rows()
    ledger = Ledger(desk.warehouse, lambda: desk.as_of)
    calls = [replace(Call(**row), id=f"{row['id']}-{number}") for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        held = list(pool.map(lambda call: ledger.reserve(call, 2.5 * call.worst_case_usd), calls))
    assert held.count(None) == 2
    assert ledger.spent(row["called_at"]) == pytest.approx(2 * row["worst_case_usd"])


@pytest.mark.slow
def test_processes_at_once_do_not_overspend_together(desk: Desk) -> None:
    """Each process waits between looking and holding, as long as the other needs to look too."""
    with FakeMessages([replace(fake.design(), stall_seconds=1.5)]) as server:
        probe = Desk(desk.warehouse)
        probe.ask(probe.claude(key=None))
        budget = 1.5 * probe.rows()[0]["worst_case_usd"]
        command = [sys.executable, str(WORKER), str(desk.warehouse.folder), server.url, str(budget), str(desk.number)]
        workers = [
            subprocess.Popen(
                [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for name in ("a", "b")
        ]
        assert [worker.stdout and worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        said = [worker.communicate(timeout=300) for worker in workers]
        assert [error for _, error in said] == ["", ""]
        assert len(server.got) == 1
    assert sorted(output.strip() for output, _ in said) == ["Answer", "budget"]
