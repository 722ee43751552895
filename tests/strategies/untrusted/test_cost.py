"""What a text costs is what is counted: every form of the language, nested as deep as it goes."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from strategies.language.columns import MAX_COLUMNS, STEPS, Program, Truth
from strategies.language.strategy import StrategyError
from strategies.language.values import FUNCTIONS, MAX_NODES, LanguageError, Value, feature_value
from strategies.untrusted.compiler import compile_strategy
from tests.strategies.hostile import text

BARS: Final = 5_000
X, Y, Z = (feature_value(name, "number") for name in ("close", "open", "high"))
DEEPEST: Final = 200
STEP_SECONDS: Final = 5e-3
"""Ten times what the slowest step takes over `BARS` bars; what grows with its depth takes far more."""
CALLED: Final[dict[str, Callable[[Value], Value]]] = {
    "between": lambda x: FUNCTIONS["where"](FUNCTIONS["between"](x, Y, Z), x, 1),
    "where": lambda x: FUNCTIONS["where"](x > Y, x, Z),
    "maximum": lambda x: FUNCTIONS["maximum"](x, Y),
    "minimum": lambda x: FUNCTIONS["minimum"](x, Y),
    "crossed_above": lambda x: _number(FUNCTIONS["crossed_above"](x, Y)),
    "crossed_below": lambda x: _number(FUNCTIONS["crossed_below"](x, Y)),
    "rising": lambda x: _number(FUNCTIONS["rising"](x, 2)),
    "falling": lambda x: _number(FUNCTIONS["falling"](x, 2)),
    "held": lambda x: _number(FUNCTIONS["held"](x > Y, 2)),
    "happened": lambda x: _number(FUNCTIONS["happened"](x > Y, 2)),
    "abs": abs,
    **{
        name: lambda x, name=name: FUNCTIONS[name](x, 2)  # type: ignore[misc]
        for name in ("previous", "change", "highest", "lowest", "mean", "stdev", "zscore")
    },
}
SIGNS: Final[dict[str, Callable[[Value], Value]]] = {
    "+": lambda x: x + Y,
    "-": lambda x: Y - x,
    "*": lambda x: x * Y,
    "/": lambda x: Y / x,
    "x / y": lambda x: x / Y,
    "**": lambda x: x**2,
    "negative root": lambda x: x**-0.5,
    "negative": lambda x: -x,
    "itself": lambda x: x * x - x / x,
    **{
        sign: lambda x, sign=sign: _number(getattr(x, f"__{sign}__")(Y))  # type: ignore[misc]
        for sign in ("lt", "le", "gt", "ge", "eq", "ne")
    },
    "&": lambda x: _number((x > Y) & (x > Z)),
    "|": lambda x: _number((x > Y) | (x > Z)),
    "~": lambda x: _number(~(x > Y)),
}
FORMS: Final = {**CALLED, **SIGNS}


def _number(truth: Value) -> Value:
    return FUNCTIONS["where"](truth, 1, 0)


def nested(form: Callable[[Value], Value], deepest: int = DEEPEST) -> list[Value]:
    """Return a value at every depth, up to the deepest that the language takes."""
    found = [X]
    for _ in range(deepest):
        try:
            found.append(form(found[-1]))
        except LanguageError:
            break
    return found


def test_every_form_is_looked_at() -> None:
    assert set(CALLED) == set(FUNCTIONS)
    steps = {step for form in FORMS.values() for step, *_ in Program([form(X)]).steps}
    assert steps == {*STEPS, "feature", "constant"}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_steps_memory_and_time_are_within_the_count(name: str) -> None:
    values = nested(FORMS[name])
    assert len(values) > 4
    # as deep as it goes, and half of it
    for value in (values[len(values) // 2], values[-1]):
        program = Program([value])
        assert len(program.steps) <= value.size <= MAX_NODES
        assert program.widest <= 8  # however deep
        columns = dict.fromkeys(("close", "open", "high"), np.random.default_rng(1).normal(size=BARS))
        tracemalloc.start()
        before = time.process_time()
        (found,) = Program([value]).run(columns, BARS)
        taken = time.process_time() - before
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(found.yes if isinstance(found, Truth) else found) == BARS
        assert peak < (program.widest + 12) * 8 * BARS + 1_000 * value.size
        assert taken < STEP_SECONDS * value.size + 0.1


def test_counts_grow_as_the_steps_do() -> None:
    for name, form in FORMS.items():
        values = nested(form, 6)
        sizes = np.array([each.size for each in values], dtype=float)
        steps = np.array([len(Program([each]).steps) for each in values], dtype=float)
        # what is added at each level: never more than is counted, and never more than the form has steps
        assert (np.diff(steps) <= np.diff(sizes)).all(), name
        assert np.diff(steps).max() <= 12, name


def test_windows_take_the_same_time_whatever_their_length_and_the_data() -> None:
    rising, noise = np.arange(BARS, dtype=float), np.random.default_rng(1).normal(size=BARS)
    unknown = np.where(np.arange(BARS) % 100 == 0, np.nan, noise)
    for word in ("highest", "lowest", "mean", "stdev"):
        for data in (rising, -rising, noise, unknown):
            for bars in (2, 50, 2_000):
                program = Program([FUNCTIONS[word](X, bars)])
                before = time.process_time()
                program.run({"close": data}, BARS)
                assert time.process_time() - before < 4 * STEP_SECONDS, (word, bars)


LEVELS_OF_TEXT: Final = {
    "powers": "x = x ** 2",
    "roots": "x = x ** 0.5",
    "divisions": "x = f.open / x",
    "signs": "x = -x",
    "nested signs": f"x = {'-' * 40}x",
    "choices": "x = where(x > 1, x, 2)",
}


@pytest.mark.parametrize("name", sorted(LEVELS_OF_TEXT))
def test_a_text_as_deep_as_may_be_is_read_and_refused_or_read_and_run(name: str) -> None:
    for depth in (14, 20, 250):
        body = "\n".join(["x = f.close", *[LEVELS_OF_TEXT[name]] * depth, "return Signal(long_entry=x > 1, stop=x)"])
        before = time.process_time()
        tracemalloc.start()
        try:
            compile_strategy(text(body))
        except StrategyError as refusal:
            assert "operations" in str(refusal) or "syntax nodes" in str(refusal)  # noqa: PT017  # either will do
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 30e6
        assert time.process_time() - before < 5


def test_a_program_that_would_hold_too_much_at_once_is_refused() -> None:
    # every left side waits for what comes after it
    value = Z
    for i in range(MAX_COLUMNS + 5):
        value = (X + i) * value
    with pytest.raises(LanguageError, match="at once"):
        Program([value])
