"""What a text may cost is bounded at every value of its parameters, not at the defaults alone."""

import ast
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.registry import standard_registry
from strategies.language.strategy import Features, Param, StrategyError, feature_kind
from strategies.registry import LIBRARY
from strategies.untrusted.compiler import RefusedError, _Reader, compile_expression, compile_strategy
from strategies.untrusted.spans import MAX_BARS, MAX_FEATURES
from tests.strategies.hostile import text

RANGES: Final[dict[str, Param[Any]]] = {
    "n": Param(20, 2, 9_900),
    "m": Param(3, 1, 12),
    "d": Param(0, -5, 5),
    "w": Param(0.5, 0.25, 2.0),
}
NUMBERS: Final = st.recursive(
    st.sampled_from(["self.n", "self.m", "self.d", "self.w", "2", "0.5", "7"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//"]), inner),
        st.builds("({} ** {})".format, inner, st.sampled_from(["2", "3", "0.5", "-1", "self.d"])),
        st.builds("(-{})".format, inner),
    ),
    max_leaves=5,
)


def read(expression: str, values: dict[str, Any]) -> tuple[Any, tuple[float, float]]:
    reader = _Reader(values, RANGES, Features(feature_kind))
    node = ast.parse(expression, mode="eval").body
    return reader.value(node), reader._span(node)


@given(NUMBERS, st.data())
def test_a_number_lies_within_its_span_at_any_values(expression: str, data: st.DataObject) -> None:
    values = {
        name: data.draw(st.integers(each.low, each.high) if each.whole else st.floats(each.low, each.high))
        for name, each in RANGES.items()
    }
    try:
        number, (low, high) = read(expression, values)
    except Exception as refusal:  # noqa: BLE001  # no number at these values: division by zero, or too large
        assert type(refusal).__name__ in {"_At", "LanguageError"}  # noqa: PT017  # `_At` never leaves the compiler
        return
    assert low <= number <= high
    assert read(expression, {name: each.default for name, each in RANGES.items()} | values)[1] == (low, high)


RANKS: Final = " + ".join(f'f.feature("volatility_rank", self.n + {i})' for i in range(40))


def ranked(high: int, uses: str = RANKS) -> str:
    return text(f"return Signal(long_entry={uses} > 1)", f"n = Param(20, 10, {high})")


def test_what_is_cheap_at_the_defaults_alone_is_refused() -> None:
    assert len(compile_strategy(ranked(400)).features()) == 40
    with pytest.raises(StrategyError, match=f"bars at the largest values of its parameters; at most {MAX_BARS}"):
        compile_strategy(ranked(9_900))
    for way in ("self.n", "2 * self.n", "self.n ** 2 // 60", "0 - self.n + 2 * self.n", "9920 // self.n", "k"):
        uses = " + ".join([f'f.feature("volatility_rank", {way})'] * 40)
        with pytest.raises(StrategyError, match="largest values"):
            compile_strategy(text(f"k = self.n * 1\nreturn Signal(long_entry={uses} > 1)", "n = Param(60, 2, 9900)"))


def test_features_are_counted_at_each_place_with_parameters() -> None:
    # all the same at the defaults, all different elsewhere
    names = [f"n{i}" for i in range(MAX_FEATURES + 1)]
    each = [f'f.feature("sma", self.{name})' for name in names]
    half = len(each) // 2
    lines = f"a = {' + '.join(each[:half])}\nb = {' + '.join(each[half:])}\nreturn Signal(long_entry=a > b)"
    ranges = "\n".join(f"{name} = Param(20, 10, 30)" for name in names)
    with pytest.raises(StrategyError, match=f"at most {MAX_FEATURES}"):
        compile_strategy(text(lines, ranges))
    often = " + ".join(["f.sma_20"] * 40)
    assert compile_strategy(text(f"return Signal(long_entry={often} > {often})")).features() == ["sma_20"]


def test_written_features_are_bounded_alike() -> None:
    with pytest.raises(RefusedError, match=str(MAX_BARS)):
        compile_expression("f.volatility_rank_9900 + f.cci_9900 + f.stoch_rsi_9900")
    with pytest.raises(RefusedError, match=f"at most {MAX_FEATURES}"):
        compile_expression(" + ".join(f"f.sma_{n}" for n in range(10, 11 + MAX_FEATURES)))


def test_numbers_that_a_feature_does_not_take_together_are_refused_in_words() -> None:
    with pytest.raises(RefusedError, match="must be below"):
        compile_strategy(text('return Signal(long_entry=f.feature("macd", 30, 20) > 1)'))


@pytest.mark.parametrize("path", sorted(path for path in LIBRARY.glob("*.py") if path.stem != "__init__"))
def test_the_library_is_far_within(path: Any) -> None:
    known = standard_registry()
    strategy = compile_strategy(path.read_text())
    assert sum(known.window(known.request(name).feature) for name in strategy.features()) < MAX_BARS / 20
