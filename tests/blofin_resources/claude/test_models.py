"""The table of models and prices, and what a user can change in it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blofin_resources.claude import ROLES, load_models
from blofin_resources.claude.models import ADDED_TOKENS, Price, Usage
from blofin_resources.errors import SettingsError
from blofin_resources.settings import Settings

COUNT = st.integers(0, 400_000)


def test_every_role_has_a_priced_model() -> None:
    table = load_models()
    assert set(table.roles) == set(ROLES)
    families = {role: table.roles[role].model.split("-")[1] for role in ROLES}
    assert families == {"designer": "opus", "reviewer": "opus", "tuner": "sonnet", "summariser": "haiku"}
    assert all(table.price(role).output > table.price(role).input > table.price(role).cache_read > 0 for role in ROLES)


def test_a_model_knows_up_to_its_cut_off_and_nothing_after_the_question() -> None:
    table = load_models()
    assert all(table.models[given.model].knowledge_cutoff == date(2026, 6, 30) for given in table.roles.values())
    model, end = table.roles["designer"].model, datetime(2026, 7, 1, tzinfo=UTC)
    assert table.knows_until(model, end + timedelta(days=90)) == end
    assert table.knows_until(model, end - timedelta(days=90)) == end - timedelta(days=90)
    assert table.knows_until("a-model-of-long-ago", end + timedelta(days=90)) == end + timedelta(days=90)


def test_the_cut_off_of_a_users_own_model_can_be_given(tmp_path: Path) -> None:
    changes = tmp_path / "models.toml"
    own = "input = 1\ncache_write = 1\ncache_read = 1\noutput = 1\n"
    changes.write_text(f"[models.dated]\nknowledge_cutoff = 2025-01-31\n{own}[models.undated]\n{own}")
    table, asked = load_models(changes), datetime(2026, 1, 1, tzinfo=UTC)
    assert table.knows_until("dated", asked) == datetime(2025, 2, 1, tzinfo=UTC)
    assert table.knows_until("undated", asked) == asked


def test_a_long_prompt_pays_more_for_every_token() -> None:
    price = load_models().price("summariser")
    short = Usage(input_tokens=60_000, cache_read_input_tokens=40_000, output_tokens=1_000)
    long = Usage(input_tokens=60_000, cache_read_input_tokens=40_001, output_tokens=1_000)
    assert price.charge(short) == pytest.approx((60_000 * 0.10 + 40_000 * 0.01 + 1_000 * 0.50) / 1e6)
    assert price.charge(long) == pytest.approx((60_000 * 0.50 + 40_001 * 0.05 + 1_000 * 2.50) / 1e6)


@pytest.mark.parametrize("role", ROLES)
@given(plain=COUNT, written=COUNT, read=COUNT, output=st.integers(0, 16_000), spare=st.integers(0, 1_000_000))
def test_no_call_costs_more_than_its_worst_case(
    role: str, plain: int, written: int, read: int, output: int, spare: int
) -> None:
    price: Price = load_models().models[load_models().roles[role].model]  # type: ignore[index]
    usage = Usage(
        input_tokens=plain,
        cache_creation_input_tokens=written,
        cache_read_input_tokens=read,
        output_tokens=output,
    )
    size = max(0, plain + written + read - ADDED_TOKENS) + spare
    assert price.charge(usage) <= price.worst_case(size, max_tokens=16_000)


def test_a_file_changes_single_entries_and_adds_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        '[roles.designer]\nmodel = "claude-next"\n'
        "[models.claude-next]\ninput = 1.0\ncache_write = 1.25\ncache_read = 0.1\noutput = 5.0\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("BLOFIN_AI_MODELS", str(file))
    table = load_models(Settings().ai_models)
    assert table.roles["designer"].model == "claude-next"
    assert table.roles["designer"].max_tokens == load_models().roles["designer"].max_tokens
    assert table.price("designer").output == 5.0
    assert table.roles["tuner"] == load_models().roles["tuner"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[roles.designer]\nmodel = "claude-next"', "no price for claude-next"),
        ("[roles.poet]\nmodel = 'x'\nmax_tokens = 1", "roles.poet"),
        ("[roles.designer]\nmax_tokens = 0", "roles.designer.max_tokens"),
        ("[roles.designer]\ntemperature = 0.5", "roles.designer.temperature"),
        ("[models.claude-opus-5-5]\ninput = -1.0", "models.claude-opus-5-5.input"),
        ("[models.claude-opus-5-5]\ninput = nan", "models.claude-opus-5-5.input"),
        ("roles = 1", "roles"),
        ("not toml", "is not valid TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, text: str | None, hint: str) -> None:
    file = tmp_path / "models.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_models(file)
    said = str(refused.value)
    assert said.startswith("BLOFIN_AI_MODELS=")
    assert hint in said
    assert "\n" not in said
