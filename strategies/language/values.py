"""The words a strategy is written in: values over bars, and the causal functions that combine them.

Belongs here: `Value`, which is all that a strategy can hold, and the functions of the language. Does not belong here:
what the words compute (`strategies.language.columns`), the strategy class and its signal
(`strategies.language.strategy`), reading untrusted text (`strategies.untrusted.compiler`), features (`features`).

Every word looks back only, over a fixed number of bars, and is evaluated per symbol: there is no word for the
future, for another row's result, or for the world outside the frame. A number that cannot be computed or is not finite
(too little history, unknown volume, division by zero, overflow) is null, and a comparison with null is null, which no
signal fires on.
"""

import math
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["number", "boolean"]

MAX_NODES: Final = 2_000
"""Largest expression, in operations. A shared part counts each time it is used, and is computed once."""
MAX_WINDOW: Final = 2_000
"""Longest look-back of one function, in bars."""
MAX_NUMBER: Final = 1e12
"""Largest constant."""
MAX_POWER: Final = 8.0
"""Largest exponent."""


class LanguageError(ValueError):
    """A strategy uses something that has no meaning in the language."""


class Value:
    """One number or one truth value per bar: one step of a computation over the bars of a single symbol.

    Supports `+ - * / **`, `abs`, comparisons, and `& | ~` on truth values; nothing else. A value describes what is to
    be computed; `strategies.language.columns.Program` computes it, each step once however often it is used.

    Attributes
    ----------
    step : str
        What it does with its parts: a key of `strategies.language.columns.STEPS`, or `feature` or `constant`.
    kind : {'number', 'boolean'}
        Whether it is a number or a truth value.
    parts : tuple of Value
        What it is made from.
    given : str or float or None
        The feature's name, the constant, the number of bars or the exponent.
    lookback : int
        Bars before the present one that it reads, on top of the features' own warm-up.
    size : int
        Operations in the expression.
    """

    __slots__ = ("given", "kind", "lookback", "parts", "size", "step")
    lookback: int
    size: int
    __hash__ = None  # type: ignore[assignment]  # == builds a comparison, so there is nothing to hash by

    def __init__(
        self, step: str, kind: Kind, *parts: "Value", given: str | float | None = None, lookback: int = 0
    ) -> None:
        lookback += max((part.lookback for part in parts), default=0)
        size = 1 + sum(part.size for part in parts)
        if size > MAX_NODES:
            msg = f"the expression has more than {MAX_NODES} operations; make it simpler"
            raise LanguageError(msg)
        if lookback > MAX_WINDOW:
            msg = f"the expression looks back more than {MAX_WINDOW} bars in all; use a shorter window or a feature"
            raise LanguageError(msg)
        self.step = step
        self.kind = kind
        self.parts = parts
        self.given = given
        self.lookback = lookback
        self.size = size

    def __repr__(self) -> str:
        return f"Value({self.kind}, {self.size} operations)"

    def __bool__(self) -> bool:
        msg = (
            "a value has one truth per bar, not one for all: write & | ~ in place of and, or, not, "
            "(a < b) & (b < c) in place of a < b < c, and where(condition, a, b) in place of if"
        )
        raise LanguageError(msg)

    def __add__(self, other: "Operand") -> "Value":
        return _arithmetic("+", self, other)

    def __radd__(self, other: "Operand") -> "Value":
        return _arithmetic("+", other, self)

    def __sub__(self, other: "Operand") -> "Value":
        return _arithmetic("-", self, other)

    def __rsub__(self, other: "Operand") -> "Value":
        return _arithmetic("-", other, self)

    def __mul__(self, other: "Operand") -> "Value":
        return _arithmetic("*", self, other)

    def __rmul__(self, other: "Operand") -> "Value":
        return _arithmetic("*", other, self)

    def __truediv__(self, other: "Operand") -> "Value":
        return _divide(self, other)

    def __rtruediv__(self, other: "Operand") -> "Value":
        return _divide(other, self)

    def __pow__(self, exponent: "Operand") -> "Value":
        if isinstance(exponent, Value):
            msg = "the exponent of ** must be a number"
            raise LanguageError(msg)
        power = constant(exponent)
        if abs(power) > MAX_POWER:
            msg = f"exponent {power:g} is beyond ±{MAX_POWER:g}"
            raise LanguageError(msg)
        return Value("**", "number", number(self, "**"), given=power)

    def __neg__(self) -> "Value":
        return Value("negative", "number", number(self, "-"))

    def __pos__(self) -> "Value":
        return number(self, "+")

    def __abs__(self) -> "Value":
        return Value("abs", "number", number(self, "abs"))

    def __lt__(self, other: "Operand") -> "Value":
        return _compare("<", self, other)

    def __le__(self, other: "Operand") -> "Value":
        return _compare("<=", self, other)

    def __gt__(self, other: "Operand") -> "Value":
        return _compare(">", self, other)

    def __ge__(self, other: "Operand") -> "Value":
        return _compare(">=", self, other)

    def __eq__(self, other: "Operand") -> "Value":  # type: ignore[override]  # one truth per bar, as the docstring says
        return _compare("==", self, other)

    def __ne__(self, other: "Operand") -> "Value":  # type: ignore[override]  # same
        return _compare("!=", self, other)

    def __and__(self, other: "Value") -> "Value":
        return _logic("&", self, other)

    def __rand__(self, other: "Value") -> "Value":
        return _logic("&", other, self)

    def __or__(self, other: "Value") -> "Value":
        return _logic("|", self, other)

    def __ror__(self, other: "Value") -> "Value":
        return _logic("|", other, self)

    def __invert__(self) -> "Value":
        return Value("~", "boolean", boolean(self, "~"))


Operand: TypeAlias = Value | float


def constant(given: object) -> float:
    """Return a constant of the language as a float.

    Raises
    ------
    LanguageError
        If it is no number, not finite, or larger than `MAX_NUMBER`.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        msg = f"{given!r} is not a number or a value over features"
        raise LanguageError(msg)
    if abs(given) > MAX_NUMBER or not math.isfinite(given):
        msg = f"constant beyond ±{MAX_NUMBER:g} or not finite"
        raise LanguageError(msg)
    return float(given)


def number(given: Operand, where_used: str) -> Value:
    """Return `given` as a numeric value; refuse a truth value, naming `where_used`."""
    if isinstance(given, Value):
        if given.kind != "number":
            msg = f"{where_used} needs numbers, not a truth value; turn one into numbers with where(condition, a, b)"
            raise LanguageError(msg)
        return given
    return Value("constant", "number", given=constant(given))


def boolean(given: object, where_used: str) -> Value:
    """Return `given` as a truth value; refuse anything else, naming `where_used`."""
    if isinstance(given, Value) and given.kind == "boolean":
        return given
    msg = (
        f"{where_used} needs truth values such as f.rsi_14 < 30; put each comparison in parentheses: (a < b) & (c > d)"
    )
    raise LanguageError(msg)


def feature_value(name: str, kind: Kind) -> Value:
    """Return the value of a feature or candle column at each bar."""
    return Value("feature", kind, given=name)


def _arithmetic(sign: Literal["+", "-", "*"], left: Operand, right: Operand) -> Value:
    return Value(sign, "number", number(left, sign), number(right, sign))


def _divide(left: Operand, right: Operand) -> Value:
    if not isinstance(right, Value) and constant(right) == 0:
        msg = "division by zero"
        raise LanguageError(msg)
    return Value("/", "number", number(left, "/"), number(right, "/"))


def _compare(sign: Literal["<", "<=", ">", ">=", "==", "!="], left: Operand, right: Operand) -> Value:
    return Value(sign, "boolean", number(left, sign), number(right, sign))


def _logic(sign: Literal["&", "|"], left: object, right: object) -> Value:
    return Value(sign, "boolean", boolean(left, sign), boolean(right, sign))


def _window(bars: object, least: int, where_used: str) -> int:
    if isinstance(bars, bool) or not isinstance(bars, int | float) or bars != int(constant(bars)):
        msg = f"{where_used} needs a whole number of bars, not {bars!r}"
        raise LanguageError(msg)
    if not least <= bars <= MAX_WINDOW:
        msg = f"{where_used} needs {least} to {MAX_WINDOW} bars, not {bars:g}; no word of the language looks ahead"
        raise LanguageError(msg)
    return int(bars)


def previous(x: Value, bars: float = 1) -> Value:
    """Return the value `bars` bars ago (at least 1)."""
    n = _window(bars, 1, "previous")
    value = _value(x, "previous")
    return Value("previous", value.kind, value, given=n, lookback=n)


def change(x: Value, bars: float = 1) -> Value:
    """Return x minus its value `bars` bars ago."""
    return number(x, "change") - previous(x, bars)


def highest(x: Value, bars: float) -> Value:
    """Return the largest value of the last `bars` bars, the present one included."""
    return _rolling("highest", x, bars, 1)


def lowest(x: Value, bars: float) -> Value:
    """Return the smallest value of the last `bars` bars, the present one included."""
    return _rolling("lowest", x, bars, 1)


def mean(x: Value, bars: float) -> Value:
    """Return the mean of the last `bars` bars, the present one included."""
    return _rolling("mean", x, bars, 1)


def stdev(x: Value, bars: float) -> Value:
    """Return the sample standard deviation of the last `bars` bars (at least 2), the present one included."""
    return _rolling("stdev", x, bars, 2)


def zscore(x: Value, bars: float) -> Value:
    """Return how many standard deviations x lies above its mean of the last `bars` bars."""
    return (number(x, "zscore") - mean(x, bars)) / stdev(x, bars)


def _rolling(word: Literal["highest", "lowest", "mean", "stdev"], x: Value, bars: float, least: int) -> Value:
    n = _window(bars, least, word)
    value = number(_value(x, word), word)
    return Value(word, "number", value, given=n, lookback=n - 1)


def crossed_above(x: Value, level: Operand) -> Value:
    """Return whether x is above `level` now and was not one bar ago."""
    return _crossed(x, level, ">")


def crossed_below(x: Value, level: Operand) -> Value:
    """Return whether x is below `level` now and was not one bar ago."""
    return _crossed(x, level, "<")


def _crossed(x: Value, level: Operand, sign: Literal["<", ">"]) -> Value:
    beyond = _compare(sign, number(_value(x, "a crossing"), "a crossing"), level)
    # ~previous is null where either side was unknown one bar ago: no crossing out of the unknown
    return beyond & ~previous(beyond)


def rising(x: Value, bars: float = 1) -> Value:
    """Return whether x rose on each of the last `bars` bars."""
    return held(change(x) > 0, bars)


def falling(x: Value, bars: float = 1) -> Value:
    """Return whether x fell on each of the last `bars` bars."""
    return held(change(x) < 0, bars)


def held(condition: Value, bars: float) -> Value:
    """Return whether the condition was true on each of the last `bars` bars, the present one included."""
    return _counted(condition, bars, "held") == _window(bars, 1, "held")


def happened(condition: Value, bars: float) -> Value:
    """Return whether the condition was true on any of the last `bars` bars, the present one included."""
    return _counted(condition, bars, "happened") > 0


def _counted(condition: Value, bars: float, word: str) -> Value:
    n = _window(bars, 1, word)
    truth = boolean(condition, word)
    return Value("count", "number", truth, given=n, lookback=n - 1)


def minimum(a: Operand, b: Operand) -> Value:
    """Return the smaller of the two; null where either is."""
    return where(number(a, "minimum") <= b, a, b)


def maximum(a: Operand, b: Operand) -> Value:
    """Return the larger of the two; null where either is."""
    return where(number(a, "maximum") >= b, a, b)


def where(condition: Value, then: Operand, otherwise: Operand) -> Value:
    """Return `then` where the condition is true, `otherwise` where it is false, null where it is unknown.

    Parameters
    ----------
    condition : Value
        A truth value per bar.
    then, otherwise : Value, int or float
        Numbers.

    Returns
    -------
    Value
        A number per bar.
    """
    truth = boolean(condition, "where")
    return Value("where", "number", truth, number(then, "where"), number(otherwise, "where"))


def between(x: Value, low: Operand, high: Operand) -> Value:
    """Return whether x lies in [low, high].

    Parameters
    ----------
    x : Value
        A number per bar.
    low, high : Value, int or float
        Bounds, both included.

    Returns
    -------
    Value
        A truth value per bar; null where any of the three is.
    """
    return (_value(x, "between") >= low) & (x <= high)


def _value(given: object, where_used: str) -> Value:
    if not isinstance(given, Value):
        msg = f"{where_used} needs a value over features such as f.close, not {given!r}"
        raise LanguageError(msg)
    return given


FUNCTIONS: Final = {
    function.__name__: function
    for function in (
        abs,
        between,
        change,
        crossed_above,
        crossed_below,
        falling,
        happened,
        held,
        highest,
        lowest,
        maximum,
        mean,
        minimum,
        previous,
        rising,
        stdev,
        where,
        zscore,
    )
}
"""Every function of the language, by name: what untrusted text may call."""
