"""The notifier against a server on this machine: forms, failures within a bound, and an address that stays secret."""

import logging
import time

import pytest
from pydantic import SecretStr
from support.webhook import TOKEN, Webhook

from blofin_resources.errors import SettingsError
from blofin_resources.notifier import MOST_CHARACTERS, Item, Notifier
from blofin_resources.secrets import HIDDEN
from blofin_resources.settings import Settings

ITEM = Item("run", "run of ml_cycle", "a <b> & c", "2026-03-13T00:00Z", "http://127.0.0.1:3000/runs/1")


def notifier(hook: Webhook, **given: object) -> Notifier:
    return Notifier(SecretStr(hook.url), **given)  # type: ignore[arg-type]


def test_each_receiver_gets_its_own_form() -> None:
    with Webhook() as hook:
        assert notifier(hook).send("title", [ITEM]) is None
        assert notifier(hook, receiver="slack").send("title", [ITEM]) is None
        assert notifier(hook, receiver="telegram", chat="-100").send("title", [ITEM]) is None
    plain, slack, telegram = hook.got
    assert plain["items"][0]["name"] == "run of ml_cycle"
    assert plain["title"] == "title"
    assert set(slack) == {"text"}
    assert "a &lt;b&gt; &amp; c" in slack["text"]
    assert (telegram["chat_id"], telegram["text"]) == ("-100", plain["text"])
    assert ITEM.link in telegram["text"]


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://api.telegram.org/bot1:x/sendMessage", "telegram"),
        ("https://example.com/slack", "json"),
    ],
)
def test_the_receiver_is_told_from_the_address(url: str, receiver: str) -> None:
    assert Notifier(SecretStr(url)).receiver == receiver


def test_telegram_without_a_chat_is_told_and_posts_nothing() -> None:
    with Webhook() as hook:
        assert "BLOFIN_NOTIFY_CHAT" in str(notifier(hook, receiver="telegram").send("title", [ITEM]))
    assert hook.got == []


def test_a_long_message_tells_the_first_and_the_number_of_the_rest() -> None:
    with Webhook() as hook:
        assert notifier(hook).send("title", [ITEM] * 14) is None
        assert "and 4 more" in hook.got[0]["text"]
        long = Item("run", "x" * 3000, "y" * 3000, "", "")
        assert notifier(hook).send("title", [long] * 3) is None
        assert len(hook.got[1]["text"]) == MOST_CHARACTERS


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refusal_is_one_line(status: int) -> None:
    with Webhook(status=status) as hook:
        assert notifier(hook).send("title", [ITEM]) == f"the notifier answered HTTP {status}"
    assert len(hook.got) == 1


@pytest.mark.parametrize("how", [{"stall": 60.0}, {"trickle": True}])
def test_a_receiver_that_stalls_delays_nothing_beyond_the_timeout(how: dict[str, float]) -> None:
    with Webhook(**how) as hook:  # type: ignore[arg-type]
        began = time.monotonic()
        assert "did not answer within 0.3 s" in str(notifier(hook, timeout=0.3).send("title", [ITEM]))
        assert time.monotonic() - began < 30.0


def test_nobody_there_and_nobody_set_are_one_line() -> None:
    with Webhook() as hook:
        gone = notifier(hook)
    assert gone.send("title", [ITEM]) == "the notifier cannot be reached"
    assert "BLOFIN_NOTIFY_URL" in str(Notifier(None).send("title", [ITEM]))


def test_the_address_and_other_secrets_are_in_no_log_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Webhook(status=302) as hook:
        used = notifier(hook, hide=["hunter2"])
        told = [used.send("hunter2", [Item("run", hook.url, "hunter2", "", "")]), repr(used)]
    hook.wait(1)
    assert HIDDEN in hook.got[0]["text"]
    assert "hunter2" not in str(hook.got)
    told += [record.getMessage() for record in caplog.records]
    assert not [text for text in told if text and TOKEN in text]


def test_a_bad_address_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_NOTIFY_URL", f"hooks/{TOKEN}")
    with pytest.raises(SettingsError, match="BLOFIN_NOTIFY_URL cannot be used") as refused:
        Settings()
    assert TOKEN not in str(refused.value)
    assert TOKEN not in repr(refused.value.__cause__)
