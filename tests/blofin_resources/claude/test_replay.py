"""A cycle that is materialised again gets the same answers, without a call or a key."""

from dataclasses import replace

import pytest
from support import fake_messages as fake
from support.claude import Desk, Idea, Words
from support.fake_messages import FakeMessages, Sent

from blofin_resources.claude import Answer, Unavailable
from blofin_resources.claude.claude import _digest
from blofin_resources.claude.ledger import Call, Ledger

pytestmark = pytest.mark.slow

SCRIPTS: dict[str, list[Sent]] = {
    "answered": [fake.design()],
    "repaired": [fake.prose(), fake.design()],
    "invalid": [fake.prose()],
    "refusal": [fake.refusal()],
    "overloaded": [fake.overloaded()],
    "torn": [fake.torn()],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_whatever_came_of_it_comes_of_it_again(desk: Desk, script: list[Sent]) -> None:
    with FakeMessages(script) as server:
        first = desk.ask(desk.claude(server.url))
        sent = len(server.got)
        keyless = desk.ask(desk.claude(server.url, key=None, budget_usd=0), run_id="again")
        assert len(server.got) == sent
    rows = desk.rows()
    assert keyless == replace(first, replayed=True)
    assert {row["run_id"] for row in rows} == {"run"}


def test_a_cycle_that_ran_without_a_key_stays_so(desk: Desk) -> None:
    first = desk.ask(desk.claude(key=None))
    with FakeMessages() as server:
        again = desk.ask(desk.claude(server.url), run_id="again")
        assert server.got == []
    assert isinstance(again, Unavailable)
    assert (again.reason, again.replayed) == ("no_key", True)
    assert again == replace(first, replayed=True)


def test_without_a_budget_the_only_question_of_its_kind_is_answered_in_other_words_too(desk: Desk) -> None:
    reworded, third = Words(question="The same in other words."), Words(question="And a third time.")
    with FakeMessages() as server:
        first = desk.ask(desk.claude(server.url))
        again = desk.ask(desk.claude(server.url, key=None, budget_usd=0), reworded, run_id="again")
        assert again == replace(first, replayed=True)
        assert len(desk.rows()) == len(server.got) == 1
        asked = desk.ask(desk.claude(server.url), reworded, run_id="with a budget")
        assert isinstance(asked, Answer)
        assert not asked.replayed
        which = desk.ask(desk.claude(server.url, key=None, budget_usd=0), third, run_id="which of two?")
    assert isinstance(which, Unavailable), "there are two of them"


def test_without_a_budget_several_questions_are_told_apart_by_what_they_ask(desk: Desk) -> None:
    script = [fake.answer({"idea": word, "fails_when": "", "code": ""}) for word in ("one", "two")]
    asked = [Words(question=f"Tune {name}.") for name in ("rsi", "ema")]
    with FakeMessages(script) as server:
        claude = desk.claude(server.url)
        for words in asked:
            desk.ask(claude, words)
        without = desk.claude(server.url, key=None, budget_usd=0)
        later = [replace(words, version=words.version + 1, system="Other rules.") for words in reversed(asked)]
        again = [desk.ask(without, words, run_id="again") for words in later]
    assert [answer.value.idea for answer in again if isinstance(answer, Answer)] == ["two", "one"]


def test_the_same_question_twice_is_answered_in_other_words_in_their_order(desk: Desk) -> None:
    script = [fake.answer({"idea": word, "fails_when": "", "code": ""}) for word in ("one", "two")]
    reworded = Words(question="The same in other words.")
    with FakeMessages(script) as server:
        claude = desk.claude(server.url)
        for _ in script:
            desk.ask(claude)
        without = desk.claude(server.url, key=None, budget_usd=0)
        again = [desk.ask(without, reworded, run_id="again") for _ in range(3)]
    assert [answer.value.idea for answer in again if isinstance(answer, Answer)] == ["one", "two"]
    assert isinstance(again[2], Unavailable), "nobody asked a third time"


def test_the_same_question_twice_has_two_answers_in_their_order(desk: Desk) -> None:
    script = [fake.answer({"idea": word, "fails_when": "", "code": ""}) for word in ("one", "two", "three")]

    def ideas(run_id: str, times: int) -> list[str]:
        claude = desk.claude(server.url)
        answers = [desk.ask(claude, run_id=run_id) for _ in range(times)]
        return [answer.value.idea for answer in answers if isinstance(answer, Answer)]

    with FakeMessages(script) as server:
        assert ideas("first", 2) == ["one", "two"]
        assert ideas("second", 3) == ["one", "two", "three"]
        assert len(server.got) == 3
        claude = desk.claude(server.url)
        for run_id in ("third", "fourth"):
            answer = desk.ask(claude, run_id=run_id)
            assert isinstance(answer, Answer)
            assert answer.value.idea == "one"


def test_another_question_role_schema_or_as_of_is_asked(desk: Desk) -> None:
    class Other(Idea):
        mood: str = ""

    with FakeMessages() as server:
        claude = desk.claude(server.url)
        other_day = Desk(desk.warehouse)
        desk.ask(claude)
        desk.ask(claude, Words(question="Another."), run_id="b")
        desk.ask(claude, Words(version=4), run_id="b")
        desk.ask(claude, role="tuner", run_id="b")
        claude.ask("designer", Words(), Other, as_of=desk.as_of, run_id="b")
        other_day.ask(claude, run_id="b")
        assert len(server.got) == 6


def test_a_repair_that_was_killed_is_made_up_for(desk: Desk) -> None:
    with FakeMessages([fake.prose(), fake.design(), fake.design()]) as server:
        whole = desk.ask(desk.claude(server.url))
        killed = desk.rows()[1]
        ledger = Ledger(desk.warehouse, lambda: desk.as_of)
        ledger.settle(replace(Call(**killed), outcome="reserved", cost_usd=killed["worst_case_usd"], reply=None))
        again = desk.ask(desk.claude(server.url), run_id="again")
        assert len(server.got) == 3
    assert isinstance(whole, Answer)
    assert isinstance(again, Answer)
    assert again.value == whole.value
    assert not again.replayed
    assert sorted(row["outcome"] for row in desk.rows()) == ["answered", "invalid", "reserved"]


def test_a_type_that_became_stricter_refuses_the_old_answer(desk: Desk) -> None:
    with FakeMessages([fake.answer({"idea": "", "fails_when": "", "code": ""})]) as server:
        assert isinstance(desk.ask(desk.claude(server.url)), Answer)
    (row,) = desk.rows()
    Ledger(desk.warehouse, lambda: desk.as_of).settle(replace(Call(**row), reply='{"idea": 1}'))
    again = desk.ask(desk.claude(), run_id="again")
    assert isinstance(again, Unavailable)
    assert (again.reason, again.replayed) == ("invalid", True)


def test_the_hash_is_of_everything_that_is_asked() -> None:
    asked = Words()
    others = [replace(asked, **{name: "other"}) for name in ("name", "system", "question")]
    hashes = [_digest(prompt, {"type": "object"}) for prompt in (asked, replace(asked, version=9), *others)]
    hashes.append(_digest(asked, {"type": "string"}))
    assert len(set(hashes)) == len(hashes)
