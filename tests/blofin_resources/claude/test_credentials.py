"""No key and no password reaches a row, a log, a repr or an error."""

import logging
import traceback
from base64 import b64encode

import pytest
from pydantic import SecretStr
from support import fake_messages as fake
from support.claude import KEY, Desk, Words
from support.fake_messages import FakeMessages

from blofin_resources.claude import Answer, Claude, Unavailable
from blofin_resources.claude.credentials import Credentials
from blofin_resources.secrets import HIDDEN
from blofin_resources.settings import Settings


@pytest.mark.parametrize(
    "script",
    [
        [fake.error(401, "authentication_error", f"invalid key {KEY}, or was it sk-ant-other_one-7?")],
        [fake.error(500, "api_error", f"upstream said: Authorization: Bearer {KEY}")],
        [fake.text(f"My key is {KEY}."), fake.design(f"# {KEY}")],
        [fake.text("", stop_reason="refusal", stop_details={"category": "cyber", "explanation": f"saw {KEY}"})],
        [fake.text("", stop_reason=KEY)],
    ],
)
def test_a_key_that_comes_back_is_hidden(
    desk: Desk, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], script: list[fake.Sent]
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeMessages(script) as server:
        claude = desk.claude(server.url, retries=1)
        outcome = desk.ask(claude, Words(question=f"A lesson holds {KEY} and sk-ant-api03-another."))
        assert server.got
        assert all(KEY not in str(got.body) for got in server.got)
    everything = f"{desk.rows()} {outcome!r} {claude!r} {caplog.text} {capfd.readouterr()}"
    assert KEY not in everything
    assert "sk-ant" not in everything
    assert HIDDEN in everything


def test_a_login_in_the_address_is_used_and_hidden(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeMessages() as server:
        address = server.url.replace("://", "://desk:p%40ss-word@")
        claude = desk.claude(address, retries=0)
        answer = desk.ask(claude)
        assert server.got[0].headers["authorization"] == f"Basic {b64encode(b'desk:p@ss-word').decode()}"
        assert server.got[0].headers["x-api-key"] == KEY
    gone = desk.ask(claude, Words(question="Another."))
    assert isinstance(answer, Answer)
    assert isinstance(gone, Unavailable)
    everything = f"{desk.rows()} {answer!r} {gone!r} {claude!r} {caplog.text}"
    assert not [word for word in ("p@ss-word", "p%40ss-word", "cEBzcy13b3Jk", KEY) if word in everything]


@pytest.mark.parametrize("odd", ["sk-ant-kéy-with-letters", "sk-ant-one\nkéy-with-lines", "two k\r\néy-with: a header"])
def test_a_key_that_cannot_be_sent_is_a_value_without_it(
    desk: Desk, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeMessages() as server:
        outcome = desk.ask(desk.claude(server.url, key=SecretStr(odd)))
        assert server.got == []
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, outcome.cost_usd) == ("rejected", 0)
    assert "ANTHROPIC_API_KEY" in outcome.detail
    assert "éy-with" not in f"{desk.rows()} {outcome!r} {caplog.text}"


def test_a_blank_key_is_none_and_spaces_around_one_are_dropped(desk: Desk) -> None:
    assert not any(desk.claude(key=SecretStr(blank)).has_key for blank in ("", "  ", "\n"))
    with FakeMessages() as server:
        assert isinstance(desk.ask(desk.claude(server.url, key=SecretStr(f" {KEY}\n"))), Answer)


def test_an_error_shows_no_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        msg = "out of memory"
        raise MemoryError(msg)

    claude = desk.claude()
    monkeypatch.setattr("blofin_resources.claude.claude._judged", broken)
    with FakeMessages() as server, pytest.raises(MemoryError) as error:
        desk.ask(desk.claude(server.url))
    assert KEY not in "".join(traceback.format_exception(error.value))
    assert KEY not in repr(claude)


@pytest.mark.parametrize("address", [None, "https://gateway.example:8443/claude", "https://u:p@h"])
def test_an_address_keeps_all_but_its_login(address: str | None) -> None:
    credentials = Credentials(SecretStr("k"), address)
    assert credentials.address == (address and address.replace("u:p@", ""))
    assert "key='k'" not in repr(credentials)
    assert repr(Credentials(None, None)) == "Credentials(key=none, address=None)"


def test_settings_make_a_client_without_showing_its_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeMessages() as server:
        for name, value in {"API_KEY": KEY, "BASE_URL": server.url}.items():
            monkeypatch.setenv(f"ANTHROPIC_{name}", value)
        monkeypatch.setenv("BLOFIN_AI_BUDGET_USD", "2")
        claude = Claude.of(Settings(_env_file=None), desk.warehouse, clock=lambda: desk.as_of)
        assert isinstance(desk.ask(claude), Answer)
    assert repr(claude) == f"Claude(Credentials(key=set, address={server.url!r}), budget_usd=2)"
