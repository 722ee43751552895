"""The most that the features of a text can cost at any values of its parameters, by interval arithmetic.

Belongs here: the span of a plain number over the declared ranges, and the bars of a feature's window at its largest
numbers. Does not belong here: reading the text (`strategies.untrusted.compiler`), what a search tries
(`strategies.search`).

The dearest kernels of `features` take a time that grows with their window at every bar (a rank, a mean deviation), so a
text that is cheap at its defaults could be a thousand times dearer where a search tries it. Two numbers bound it
wherever it is evaluated: how many features it reads, and how many bars their windows hold together.
"""

import ast
import math
from collections.abc import Callable
from itertools import product
from typing import Any, Final, NamedTuple

from features.definition import LARGEST_PARAMETER
from features.registry import standard_registry
from strategies.language.values import LanguageError

MAX_FEATURES: Final = 50
"""Most features of a text; one with parameters counts at each place where it stands."""
MAX_BARS: Final = 20_000
"""Most bars in the windows of all features together, at the largest values of the parameters."""


class Span(NamedTuple):
    """Lowest and highest value of a plain number over all values of the parameters."""

    low: float
    high: float


ANYTHING: Final = Span(-math.inf, math.inf)


def spanned(operator: ast.operator, operation: Callable[[Any, Any], Any], left: Span, right: Span) -> Span:
    """Return the span of an operation between two numbers; `ANYTHING` where it is unbounded.

    Parameters
    ----------
    operator : ast.operator
        Which of `+ - * / // **` it is.
    operation : callable
        The operation on two numbers.
    left, right : Span
        Of the numbers.

    Returns
    -------
    Span
        From the lowest to the highest result.

    Examples
    --------
    >>> import operator
    >>> spanned(ast.Mult(), operator.mul, Span(2, 3), Span(-1, 4))
    Span(low=-3, high=12)
    """
    divides, raises = isinstance(operator, ast.Div | ast.FloorDiv), isinstance(operator, ast.Pow)
    if (divides and right.low <= 0 <= right.high) or (raises and left.low <= 0):
        return ANYTHING
    if not all(map(math.isfinite, (*left, *right))):
        return ANYTHING
    try:  # each of these rises or falls in each number alone, so its extremes lie at the ends
        ends = [operation(a, b) for a, b in product(left, right)]
    except OverflowError:
        return ANYTHING
    return Span(min(ends), max(ends))


def bars_of(name: str, spans: tuple[Span, ...] = ()) -> int:
    """Return the bars in the window of a feature, at the largest values of its last numbers.

    Parameters
    ----------
    name : str
        As the registry knows it, at some values of the numbers.
    spans : tuple of Span
        Of the last of its numbers; none where they are all constants.

    Raises
    ------
    LanguageError
        If the feature does not take its present numbers together.
    """
    registry = standard_registry()
    feature = registry.request(name).feature
    window = feature.definition.window
    try:
        present = registry.window(feature)
    except ValueError as error:
        raise LanguageError(str(error)) from error
    largest = [math.floor(min(max(span.high, 0), LARGEST_PARAMETER)) for span in spans]
    kept = feature.params[: len(feature.params) - len(largest)]
    return max(present, window if isinstance(window, int) else window(*kept, *largest))


def too_dear(bars: list[int]) -> str:
    """Return why features with these windows are too much for a text; '' where they are not."""
    if len(bars) > MAX_FEATURES:
        return f"it reads {len(bars)} features; at most {MAX_FEATURES}"
    if sum(bars) > MAX_BARS:
        return (
            f"the windows of its features hold {sum(bars)} bars at the largest values of its parameters; at most "
            f"{MAX_BARS}: shorten windows or ranges"
        )
    return ""
