"""Settings: where they come from, what is refused, and how that is said."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blofin_resources.errors import SettingsError
from blofin_resources.settings import MARKETS, Settings, unknown_variables, variables


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("BLOFIN_", "ANTHROPIC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_need_no_file_and_no_variable() -> None:
    settings = Settings()
    assert settings.market == "sample"
    assert settings.symbols == ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    assert settings.warehouse == Path("warehouse")
    assert (settings.archive, settings.start, settings.catalog, settings.anthropic_api_key) == (None,) * 4
    assert (settings.seed, settings.ai_budget_usd) == (7, 5.0)


def test_environment_wins_over_file_and_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("BLOFIN_SEED=1\nBLOFIN_START=2025-05-05\nDAGSTER_HOME=/x\n", encoding="utf-8")
    monkeypatch.setenv("BLOFIN_SEED", "2")
    settings = Settings()
    assert settings.seed == 2
    assert settings.start == date(2025, 5, 5)


def test_what_is_set_can_be_handed_to_a_process_in_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "BLOFIN_SEED=1", "BLOFIN_START=2025-05-05", "BLOFIN_ARCHIVE=candles", "BLOFIN_CATALOG=sqlite:lake.sqlite",
        "BLOFIN_SYMBOLS=SOL-USDT,BTC-USDT", "BLOFIN_MARK_PRICES=off", "ANTHROPIC_API_KEY=sk-ant-1",
        "BLOFIN_NOTIFY_URL=https://example.com/x", "BLOFIN_AI_BUDGET_USD=0.5",
    )  # fmt: skip
    Path(".env").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("BLOFIN_SEED", "2")
    here, folder = Settings(), Path.cwd()
    given = here.environment()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    paths = {"archive": folder / "candles", "warehouse": folder / "warehouse", "catalog": str(folder / "lake.sqlite")}
    assert Settings().model_dump() == {**here.model_dump(), **paths}
    assert set(given) <= variables()


def test_a_server_as_the_catalog_is_handed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_CATALOG", "postgres:dbname=blofin host=db")
    assert Settings().environment()["BLOFIN_CATALOG"] == "postgres:dbname=blofin host=db"


def test_symbols_are_cleaned_and_kept_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_SYMBOLS", " sol-usdt, BTC-USDT,,SOL-USDT ")
    assert Settings().symbols == ("SOL-USDT", "BTC-USDT")


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_START", "")
    assert Settings().start is None


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("BLOFIN_MARKET", "binance", "sample:null"),
        ("BLOFIN_SYMBOLS", "BTCUSDT", "BTC-USDT"),
        ("BLOFIN_SYMBOLS", "BTC-USDT;ETH-USDT", "commas"),
        ("BLOFIN_SYMBOLS", ",", "BASE-QUOTE"),
        ("BLOFIN_MARK_PRICES", "perhaps", "on or off"),
        ("BLOFIN_START", "2025-13-01", "2025-05-05"),
        ("BLOFIN_START", "1746403200", "2025-05-05"),
        ("BLOFIN_START", "05.05.2025", "2025-05-05"),
        ("BLOFIN_API_URL", "openapi.blofin.com", "https://"),
        ("BLOFIN_AI_BUDGET_USD", "-1", "0 or more"),
        ("BLOFIN_AI_BUDGET_USD", "nan", "0 or more"),
        ("BLOFIN_AI_BUDGET_USD", "five", "US dollars"),
        ("BLOFIN_KEEP", "59", "60 or more"),
        ("BLOFIN_KEEP", "90d", "number of days"),
        ("BLOFIN_SEED", "7.5", "whole number"),
        ("BLOFIN_SEED", "-7", "0 or more"),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_a_malformed_value_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str, by_file: bool
) -> None:
    if by_file:
        Path(".env").write_text(f"{name}={value}\n", encoding="utf-8")
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings()
    text = str(refused.value)
    assert f"{name}={value!r}" in text
    assert hint in text
    assert "\n" not in text


def test_each_malformed_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_SEED", "x")
    monkeypatch.setenv("BLOFIN_START", "y")
    with pytest.raises(SettingsError, match=r"BLOFIN_START='y'.*; BLOFIN_SEED='x'"):
        Settings()


def test_a_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-hidden")
    settings = Settings()
    assert settings.anthropic_api_key is not None
    assert settings.anthropic_api_key.get_secret_value() == "sk-ant-hidden"
    assert "hidden" not in repr(settings) + str(settings.model_dump())
    with pytest.raises(SettingsError) as refused:
        Settings(anthropic_api_key=["sk-ant-hidden"])
    assert "ANTHROPIC_API_KEY" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_an_archive_needs_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_MARKET", "archive")
    with pytest.raises(SettingsError, match="needs BLOFIN_ARCHIVE"):
        Settings()
    monkeypatch.setenv("BLOFIN_ARCHIVE", "~/candles")
    assert Settings().archive == Path.home() / "candles"


def test_a_file_that_is_no_text_is_named() -> None:
    Path(".env").write_bytes(b"BLOFIN_SEED=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8"):
        Settings()


def test_start_is_45_days_before_unless_set() -> None:
    as_of = datetime(2025, 6, 12, 12, tzinfo=UTC)
    assert Settings().start_for(as_of) == date(2025, 4, 28)
    assert Settings(start=date(2025, 6, 12)).start_for(as_of) == date(2025, 6, 12)
    with pytest.raises(SettingsError, match="BLOFIN_START=2025-06-13 is not before the as-of 2025-06-12T12:00Z"):
        Settings(start=date(2025, 6, 13)).start_for(as_of)
    with pytest.raises(SettingsError, match="not before"):
        Settings(start=date(2025, 6, 12)).start_for(datetime(2025, 6, 12, tzinfo=UTC))


def test_days_are_kept_for_a_time_or_from_a_day_on() -> None:
    assert Settings(keep=60).keep == 60
    with pytest.raises(SettingsError, match="BLOFIN_KEEP=60 and BLOFIN_START=2025-06-12 contradict"):
        Settings(keep=60, start=date(2025, 6, 12))


def test_the_market_id_tells_seeds_archives_and_exchanges_apart(tmp_path: Path) -> None:
    assert Settings(market="sample:null", seed=3).market_id == "seed=3"
    assert Settings(market="blofin", seed=3, api_url="https://demo.example:8443/x").market_id == "demo.example"
    ids = {Settings(market="archive", archive=tmp_path / name).market_id for name in ("one", "other")}
    assert ids == {str(tmp_path / "one"), str(tmp_path / "other")}


@given(market=st.text(max_size=12))
def test_only_known_markets_pass(market: str) -> None:
    if market in MARKETS:
        return
    with pytest.raises(SettingsError) as refused:
        Settings(_env_file=None, market=market)
    assert "BLOFIN_MARKET" in str(refused.value)


@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BLOFIN_WAREHOUS", "BLOFIN_WAREHOUSE"),
        ("blofin_symbol", "BLOFIN_SYMBOLS"),
        ("BLOFIN_AI_BUDGET", "BLOFIN_AI_BUDGET_USD"),
        ("BLOFIN_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str, by_file: bool
) -> None:
    if by_file:
        Path(".env").write_text(f"{name}=x\n", encoding="utf-8")
    else:
        monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError) as refused:
        Settings()
    assert str(refused.value).endswith(f"is not a setting; did you mean {meant}?")
    assert str(refused.value).startswith(name)
    assert (str(Path.cwd() / ".env") in str(refused.value)) == by_file


def test_an_unknown_name_that_is_near_none_is_told_and_the_suites_own_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_API_SECRET", "of another program")
    monkeypatch.setenv("BLOFIN_TEST_MARKET", "x")
    Path(".env").write_text("BLOFIN_OTHER=1\nOTHER=2\nBLOFIN_SEED=1\n", encoding="utf-8")
    assert Settings().seed == 1
    assert unknown_variables() == ["BLOFIN_API_SECRET", "BLOFIN_OTHER"]


@pytest.mark.parametrize("line", ["this is no setting", "ANTHROPIC_API_KEY sk-ant-secret", "BLOFIN_SEED", "A='open"])
def test_a_line_that_sets_nothing_is_named_once_by_file_and_number_and_not_shown(
    caplog: pytest.LogCaptureFixture, line: str
) -> None:
    Path(".env").write_text(f"# a comment\nBLOFIN_SEED=1\n\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        Settings()
    assert str(refused.value) == f"{Path.cwd() / '.env'}, line 4 is not NAME=value; correct or delete it"
    assert caplog.records == [], "the library's own warning names no file"


def test_a_byte_order_mark_before_the_first_name_does_not_hide_it() -> None:
    Path(".env").write_text("BLOFIN_SEED=1\n", encoding="utf-8-sig")
    assert Settings().seed == 1


def test_a_symbol_without_its_dash_gets_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_SYMBOLS", "BTCUSDT,sol/usdt,ETH-USDT")
    with pytest.raises(SettingsError, match=r"\(did you mean BTC-USDT, SOL-USDT\?\)$"):
        Settings()
