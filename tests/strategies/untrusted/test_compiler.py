"""Text from nobody: the same strategy as the import where it is one, a refusal with a reason where it is not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.language.columns import Program
from strategies.language.strategy import StrategyError  # after the path
from strategies.registry import LIBRARY, load_file  # same
from strategies.untrusted.compiler import RefusedError, compile_strategy  # same
from tests.strategies.hostile import CORPUS, GOOD, entry, text

FILES = sorted(path for path in LIBRARY.glob("*.py") if path.stem != "__init__")


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_hostile_text_is_refused_with_a_reason(name: str) -> None:
    hostile, reason = CORPUS[name]
    with pytest.raises(StrategyError, match=reason) as refusal:
        compile_strategy(hostile, "text")
    assert str(refusal.value).startswith("text:")


def test_the_shell_of_the_corpus_is_harmless() -> None:
    strategy = compile_strategy(GOOD, length=9)
    assert strategy.features() == ["ema_21"]
    assert strategy.parameters == {"length": 9}


@pytest.mark.parametrize("module", ["strategies", "strategies.base"])
def test_the_classes_of_the_language_may_be_imported(module: str) -> None:
    imported = f"from {module} import Features, Param, Signal, Strategy\n\n{GOOD}"
    assert compile_strategy(imported).version == compile_strategy(GOOD).version


def test_a_refusal_names_line_node_and_reason() -> None:
    body = text("fast = f.ema_9\nslow = fast.shift(-1)\nreturn Signal(long_entry=fast > slow)")
    with pytest.raises(RefusedError) as refusal:
        compile_strategy(body, "design 7")
    line = next(i for i, each in enumerate(body.splitlines(), 1) if "shift" in each)
    assert refusal.value.line == line
    assert refusal.value.node == "Attribute"
    assert str(refusal.value).startswith(f"design 7:{line}: Attribute: a dot stands only")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_compiled_text_is_the_imported_strategy(path: Path) -> None:
    trusted, compiled = load_file(path), compile_strategy(path.read_text())
    assert compiled.version == trusted.version
    assert compiled.name == trusted.name
    assert compiled.timeframes == trusted.timeframes
    assert compiled.features() == trusted.features()
    assert compiled.lookback == trusted.lookback
    assert compiled.description == trusted.description
    ours, theirs = trusted.signal, compiled.signal
    assert {**ours.conditions(), **ours.levels()}.keys() == {**theirs.conditions(), **theirs.levels()}.keys()
    for mine, other in zip(ours.values(), theirs.values(), strict=True):
        assert Program([mine]).steps == Program([other]).steps
    # its text alone, without the imports, says the same again
    assert compile_strategy(trusted.source()).version == trusted.version


@given(st.text(max_size=200))
def test_any_text_is_refused_in_words(noise: str) -> None:
    with pytest.raises(StrategyError):
        compile_strategy(noise)


WORDS = (
    'f self . close ( ) [ ] "ema" previous abs 1 - + * / < & ~ , __class__ lambda : = highest 2 where f.close '
    "self.length f.feature"
)
PIECES = st.sampled_from(WORDS.split())


@given(st.lists(PIECES, max_size=25))
def test_any_expression_is_a_strategy_or_refused_in_words(pieces: list[str]) -> None:
    try:
        strategy = compile_strategy(entry("".join(pieces)))
    except StrategyError:
        return
    assert strategy.signal.long_entry is not None
