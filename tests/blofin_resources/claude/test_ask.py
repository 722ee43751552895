"""Asking: good answers, every fault, one repair, what is sent and what is recorded."""

import asyncio
import json
import subprocess
import sys
from datetime import datetime

import pytest
from support import fake_messages as fake
from support.claude import NO_SERVER, Desk, Idea, Words
from support.fake_messages import FakeMessages, Sent

from blofin_resources.claude import Answer, Unavailable

pytestmark = pytest.mark.slow


def test_a_good_answer_is_typed_priced_and_recorded(desk: Desk) -> None:
    usage = {
        "input_tokens": 1_000,
        "cache_creation_input_tokens": 2_000,
        "cache_read_input_tokens": 4_000,
        "output_tokens": 500,
    }
    with FakeMessages([fake.design(usage=usage)]) as server:
        answer = desk.ask(desk.claude(server.url))
    assert isinstance(answer, Answer)
    assert answer.value == Idea(idea="Fade quiet ranges.", fails_when="The range breaks.", code=fake.GOOD_DESIGN)
    assert answer.model == "claude-opus-5-5"
    assert answer.cost_usd == pytest.approx((1_000 * 4 + 2_000 * 5 + 4_000 * 0.2 + 500 * 20) / 1e6)
    assert not answer.replayed
    (row,) = desk.rows()
    assert answer.calls == (row["id"],)
    assert json.loads(row["prompt"]) == {"system": Words().system, "question": "Design one."}
    assert json.loads(row["reply"])["code"] == fake.GOOD_DESIGN
    assert row["cost_usd"] == answer.cost_usd
    assert row["worst_case_usd"] > answer.cost_usd
    assert row["latency_seconds"] > 0
    told = {name: row[name] for name in ("role", "model", "prompt_name", "prompt_version", "outcome", "run_id")}
    assert told == {
        "role": "designer",
        "model": "claude-opus-5-5",
        "prompt_name": "words",
        "prompt_version": 3,
        "outcome": "answered",
        "run_id": "run",
    }
    counted = ("input_tokens", "cache_written_tokens", "cached_tokens", "output_tokens")
    assert [row[name] for name in counted] == [1_000, 2_000, 4_000, 500]
    assert (row["stop_reason"], row["request_id"], row["sequence"], row["round"]) == ("end_turn", "req_1", 0, 0)


def test_what_is_sent_is_cacheable_structured_and_current(desk: Desk) -> None:
    with FakeMessages() as server:
        claude = desk.claude(server.url)
        desk.ask(claude)
        desk.ask(claude, Words(question="Design another one."))
        desk.ask(claude, role="summariser")
    first, second, third = server.got
    (block,) = first.body["system"]
    assert block["cache_control"] == {"type": "ephemeral"}
    assert second.body["system"] == first.body["system"]
    assert "cache_control" not in json.dumps(first.body["messages"])
    schema = first.body["output_config"]["format"]
    assert schema["type"] == "json_schema"
    assert set(schema["schema"]["properties"]) == {"idea", "fails_when", "code"}
    assert schema["schema"]["additionalProperties"] is False
    assert (first.body["model"], first.body["max_tokens"]) == ("claude-opus-5-5", 16_000)
    assert first.body["output_config"]["effort"] == "medium"
    assert third.body["model"] == "claude-haiku-5-5"
    assert [row["cached_tokens"] > 0 for row in desk.rows() if row["role"] == "designer"] == [False, True]


FAULTS: dict[str, tuple[list[Sent], str, int, bool]] = {
    # what the server does, the reason told, requests made, whether it may have been paid for
    "prose": ([fake.prose()], "invalid", 2, True),
    "invalid json": ([fake.invalid_json()], "invalid", 2, True),
    "schema": ([fake.schema_violation()], "invalid", 2, True),
    "empty": ([fake.text("")], "invalid", 2, True),
    "refusal": ([fake.refusal()], "refusal", 1, True),
    "cut off": ([fake.cut_off()], "max_tokens", 1, True),
    "odd stop": ([fake.design(stop_reason="pause_turn")], "broken", 1, True),
    "rate limited for long": ([fake.rate_limited("3600")], "timeout", 1, False),
    "overloaded": ([fake.overloaded()], "overloaded", 4, False),
    "server error": ([fake.broken()], "overloaded", 4, False),
    "bad request": ([fake.error(400, "invalid_request_error", "prompt is too long")], "rejected", 1, False),
    "no such model": ([fake.error(404, "not_found_error", "model: claude-9")], "rejected", 1, False),
    "redirect": ([Sent(307, "", {"Location": "http://127.0.0.1:9/v1/messages"})], "rejected", 1, False),
    "stalled": ([fake.stalled()], "timeout", 1, True),
    "dribbled": ([fake.dribbled()], "timeout", 1, True),
    "hung up": ([fake.hung_up()], "network", 1, True),
    "torn": ([fake.torn()], "network", 1, True),
    "no json": ([Sent(200, "<html>proxy</html>")], "broken", 1, True),
    "no usage": ([Sent(200, {"type": "text", "content": [], "stop_reason": "end_turn"})], "broken", 1, True),
    "odd usage": ([fake.design(usage={"input_tokens": -5, "output_tokens": 1})], "broken", 1, True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_a_value_and_a_row(desk: Desk, fault: str) -> None:
    script, reason, requests, paid = FAULTS[fault]
    slow = reason == "timeout"
    with FakeMessages(script) as server:
        claude = desk.claude(server.url, **({"deadline_seconds": 2.0} if slow else {}))
        outcome = desk.ask(claude)
        assert len(server.got) == requests
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == reason
    assert outcome.detail
    assert (outcome.cost_usd > 0) == paid
    rows = desk.rows()
    assert rows[-1]["outcome"] == reason
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(outcome.cost_usd) == desk.spent()
    assert outcome.calls == tuple(row["id"] for row in rows)


@pytest.mark.parametrize(
    "script",
    [
        [fake.rate_limited(), fake.design()],
        [fake.overloaded(), fake.broken(), fake.design()],
        [fake.error(408, "timeout_error"), fake.design()],
    ],
)
def test_a_passing_failure_is_sent_again_and_paid_once(desk: Desk, script: list[Sent]) -> None:
    with FakeMessages(script) as server:
        answer = desk.ask(desk.claude(server.url))
        assert len(server.got) == len(script)
    assert isinstance(answer, Answer)
    assert len(desk.rows()) == 1


def test_an_answer_that_was_lost_is_not_bought_twice(desk: Desk) -> None:
    with FakeMessages([fake.torn(), fake.design()]) as server:
        outcome = desk.ask(desk.claude(server.url))
        assert len(server.got) == 1
    assert isinstance(outcome, Unavailable)
    assert outcome.cost_usd == desk.rows()[0]["worst_case_usd"]


def test_without_network_there_is_a_reason_and_no_cost(desk: Desk) -> None:
    outcome = desk.ask(desk.claude(NO_SERVER, retries=0))
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, outcome.cost_usd) == ("network", 0)
    assert "127.0.0.1:9 cannot be reached" in outcome.detail


def test_without_a_key_nothing_is_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test-key")
    with FakeMessages() as server:
        outcome = desk.ask(desk.claude(server.url, key=None))
        assert server.got == []
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, outcome.cost_usd, outcome.detail) == ("no_key", 0, "ANTHROPIC_API_KEY is not set")


def test_an_answer_that_does_not_fit_is_repaired_once(desk: Desk) -> None:
    with FakeMessages([fake.schema_violation(), fake.design()]) as server:
        answer = desk.ask(desk.claude(server.url))
    first, second = server.got
    assert second.body["system"] == first.body["system"]
    assert second.question.startswith("Design one.\n[reply]")
    assert "idea: Input should be a valid string" in second.question
    assert "ignore: Extra inputs are not permitted" in second.question
    assert isinstance(answer, Answer)
    rows = desk.rows()
    assert [(row["round"], row["outcome"]) for row in rows] == [(0, "invalid"), (1, "answered")]
    assert rows[0]["prompt_hash"] == rows[1]["prompt_hash"]
    assert answer.cost_usd == pytest.approx(sum(row["cost_usd"] for row in rows))


def test_a_repair_that_fails_otherwise_says_so(desk: Desk) -> None:
    with FakeMessages([fake.prose(), fake.refusal()]) as server:
        outcome = desk.ask(desk.claude(server.url))
        assert len(server.got) == 2
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "refusal"


def test_it_can_be_asked_where_an_event_loop_runs(desk: Desk) -> None:
    async def cell() -> Answer[Idea] | Unavailable:
        return desk.ask(desk.claude(server.url))

    with FakeMessages() as server:
        assert isinstance(asyncio.run(cell()), Answer)


def test_texts_that_nothing_can_encode_are_sent_without_them(desk: Desk) -> None:
    with FakeMessages([fake.answer({"idea": "a\0b", "fails_when": "", "code": "✓"})]) as server:
        answer = desk.ask(desk.claude(server.url), Words(question="half \ud83d a character"))
        assert server.got[0].question == "half ? a character"
    assert isinstance(answer, Answer)
    assert answer.value.idea == "a\0b"


def test_an_as_of_without_a_zone_is_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        desk.claude().ask("tuner", Words(), Idea, as_of=datetime(2025, 1, 1), run_id="run")  # noqa: DTZ001 - the point


def test_the_sdk_is_not_imported_before_something_is_asked() -> None:
    code = "import sys, blofin_resources.claude; print('anthropic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
