"""The reference of the language says what the compiler takes, and nothing that it refuses."""

import re
from dataclasses import fields

import pytest

from features.registry import standard_registry
from strategies.language.across import ACROSS
from strategies.language.book import Weights
from strategies.language.strategy import LEVELS
from strategies.language.values import FUNCTIONS
from strategies.llm.language_reference import book_reference, feature_reference, language_reference, operator_signs
from strategies.untrusted.compiler import RefusedError, compile_book, compile_strategy

CLASS = '''class Probe(Strategy):
    """Probe."""

    name = "probe"

    def detect(self, f):
        x = {expression}
        return Signal(long_entry={entry})
'''


def _compiles(expression: str, entry: str = "x > 0") -> bool:
    try:
        compile_strategy(CLASS.format(expression=expression, entry=entry))
    except RefusedError:
        return False
    return True


def test_every_operator_that_is_listed_compiles() -> None:
    signs = operator_signs()
    for sign in signs["between"]:
        logic = sign in {"&", "|"}
        left, right = ("(f.close > 1)", "(f.open > 1)") if logic else ("2" if sign == "//" else "f.close", "2")
        entry = "x" if logic else ("f.close > x" if sign == "//" else "x > 0")
        assert _compiles(f"{left} {sign} {right}", entry), sign
    assert all(_compiles(f"f.close {sign} f.open", "x") for sign in signs["comparison"])
    assert all(_compiles(f"{sign}(f.close > 1)" if sign == "~" else f"{sign}f.close", "x" if sign == "~" else "x > 0")
               for sign in signs["before"])  # fmt: skip


def test_every_operator_that_compiles_is_listed() -> None:
    signs = operator_signs()
    python = {"+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"}
    for sign in python - set(signs["between"]):
        assert not _compiles(f"f.close {sign} 2")
        assert not _compiles(f"(f.close > 1) {sign} (f.open > 1)", "x")
    for sign in {"in", "not in", "is", "is not"} - set(signs["comparison"]):
        assert not _compiles(f"f.close {sign} f.open", "x")
    assert not _compiles("not f.close > 1", "x")


def test_every_function_part_and_limit_is_named() -> None:
    text = language_reference()
    assert [name for name in FUNCTIONS if f"- `{name}(" not in text] == []
    assert [name for name in LEVELS if f"- `{name}` (" not in text] == []
    assert re.findall(r"^- `(\w+)\(", text, re.MULTILINE) == sorted(FUNCTIONS)


def test_its_whole_strategy_compiles() -> None:
    code = re.search(r"```python\n(.*?)\n```", language_reference(), re.DOTALL)
    assert code is not None
    assert compile_strategy(code.group(1)).name == "rsi_reversion"


def test_the_reference_of_books_names_every_word_and_part_and_its_whole_book_compiles() -> None:
    text = book_reference()
    assert [name for name in FUNCTIONS if f"- `{name}(" not in text] == []
    assert [name for name in ACROSS if f"- `across.{name}(" not in text] == []
    assert [part.name for part in fields(Weights) if f"- `{part.name}`" not in text] == []
    assert {f'"{timeframe}"' for timeframe in ("60m", "4h", "1d")} <= set(re.findall(r'"\w+"', text))
    code = re.search(r"```python\n(.*?)\n```", text, re.DOTALL)
    assert code is not None
    assert compile_book(code.group(1)).name == "volatility_scaled_momentum"
    assert "Signal" not in text


def test_every_feature_is_listed_by_a_name_that_a_strategy_can_read() -> None:
    text = feature_reference()
    for definition in standard_registry():
        assert f"- `{definition.pattern}`" in text
        example = definition.example
        kind = "x" if str(definition.dtype) == "Boolean" else "x > 0"
        assert _compiles(f'f["{example}"]', kind), example
    assert text.count("\n- ") == len(list(standard_registry()))


def test_features_of_a_user_are_listed_too() -> None:
    registry = standard_registry()
    first = next(iter(registry))
    with pytest.raises(ValueError, match="two features"):
        registry.extended([first])
    assert feature_reference(registry) == feature_reference()
    assert len(feature_reference(type(registry)([first]))) < 600
