"""One redactor finds every secret in every form."""

import pytest

from blofin_resources.errors import SettingsError
from blofin_resources.secrets import HIDDEN, Redactor, secrets_of
from blofin_resources.settings import Settings


@pytest.mark.parametrize("secret", ["p@ss/word", "p%40ss%2Fword"])
def test_a_secret_is_found_quoted_and_unquoted(secret: str) -> None:
    redactor = Redactor([secret, ""])
    for form in ("p@ss/word", "p%40ss%2Fword", secret):
        assert redactor.hide(f"tried {form}!") == f"tried {HIDDEN}!"
    assert secret not in repr(redactor)


def test_the_longest_goes_first_and_what_looks_like_a_key_goes_too() -> None:
    assert Redactor(["abc", "abcdef"]).hide("abcdef abc sk-ant-api03-x_1.") == f"{HIDDEN} {HIDDEN} {HIDDEN}."
    assert Redactor([]).hide("nothing to hide") == "nothing to hide"


def test_secrets_among_the_settings_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-a")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://me:login@example.com")
    monkeypatch.setenv("BLOFIN_NOTIFY_URL", "https://example.com/token ")
    monkeypatch.setenv("BLOFIN_CATALOG", "postgres:dbname=blofin password=hunter2 host=db")
    assert secrets_of(Settings()) == ["sk-ant-a", "https://example.com/token", "hunter2", "login"]


@pytest.mark.parametrize("name", ["ANTHROPIC_BASE_URL", "BLOFIN_NOTIFY_URL"])
def test_a_refused_address_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "htps://me:hunter2@example.com")
    with pytest.raises(SettingsError, match=f"{name} cannot be used") as refused:
        Settings()
    assert "hunter2" not in str(refused.value)
