"""The nearest known name to one that is not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blofin_resources.suggestions import did_you_mean, nearest

STRATEGIES = ("ema_crossover", "rsi_reversion", "calm_drift")
SYMBOLS = ("BTC-USDT", "ETH-USDT", "1000PEPE-USDT")


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("ema_crosover", STRATEGIES, "ema_crossover"),
        ("EmaCrossover", STRATEGIES, "ema_crossover"),
        ("rsi", STRATEGIES, "rsi_reversion"),
        ("BTCUSDT", SYMBOLS, "BTC-USDT"),
        ("btc_usdt", SYMBOLS, "BTC-USDT"),
        ("BTC", SYMBOLS, "BTC-USDT"),
        ("PEPE-USDT", SYMBOLS, "1000PEPE-USDT"),
        ("FOO-USDT", SYMBOLS, None),
        ("momentum", STRATEGIES, None),
        ("", STRATEGIES, None),
        ("x", (), None),
    ],
)
def test_the_nearest_name(name: str, known: tuple[str, ...], found: str | None) -> None:
    assert nearest(name, known) == found
    assert did_you_mean([name], known) == (f" (did you mean {found}?)" if found else "")


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=10))
def test_what_is_suggested_is_known_and_a_known_name_finds_itself(name: str, known: list[str]) -> None:
    assert nearest(name, known) in (None, *known)
    plain = "".join(letter for letter in name if letter.isalnum()).casefold()
    if plain:
        found = nearest(name, [*known, name])
        assert found is not None
        assert "".join(letter for letter in found if letter.isalnum()).casefold() == plain
