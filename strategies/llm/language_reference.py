"""The strategy language and its features as text, for whoever writes strategies without seeing this code.

Belongs here: reference texts generated from the compiler's allow-list and from the registry of features, so that they
cannot promise what is refused. Does not belong here: the page for people (`docs/guides/STRATEGY_DESIGN.md`), what an
author is asked to write (`strategies.search`).
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final, get_args

import polars as pl

from backtester.simulation.book_kernel import FEWEST
from backtester.simulation.books import Neutrality, Shape, Size
from features.bars import DEFAULT_TIMEFRAMES, TIMEFRAMES
from features.definition import GROUPS, Definition
from features.registry import Registry, standard_registry
from strategies.language.across import ACROSS
from strategies.language.strategy import CANDLE_COLUMNS, CONDITIONS, LEVELS, NAME, Written
from strategies.language.values import FUNCTIONS, MAX_NODES, MAX_POWER, MAX_WINDOW
from strategies.registry import BOOKS, LIBRARY, load_book, load_file
from strategies.untrusted.compiler import BINARY, COMPARISON, HINTS, MAX_TEXT, MAX_TREE, UNARY
from strategies.untrusted.spans import MAX_BARS, MAX_FEATURES

EXAMPLE: Final = "rsi_reversion"
"""Strategy of the library that the reference shows as a whole."""
EXAMPLE_BOOK: Final = "volatility_scaled_momentum"
"""The same of books."""

_OPENING: Final = """\
Write one class and nothing else: no import, no loop, no `if`, no other function, no decorator. Its body holds, in
this order, a docstring, {parts}, parameters, and `{method}(self, f)`, which holds lines
`local = expression` and ends with `return {answer}(...)`. Everything is evaluated over whole columns, once a bar's \
close.

- Docstring: one line that says what it does, then a line `Edge:` (who pays for this, and why they go on paying) and a
  line `Fails:` (when it should lose). A {kind} without a docstring is refused.
"""
_NAME: Final = f"""\
- `name`: a text that matches `{NAME.pattern}`.
"""
_PARAMETERS: Final = """\
- Parameters: `width = Param(default, low, high)` or with `step=`; three whole numbers make a whole-number parameter.
  They are read as `self.width`. What a search may change is a parameter; everything else is a constant.
- `f.rsi_14` is a feature at the bar's close, `f["{longer}:rsi_14"]` that of the last closed bar of a higher timeframe,
  `f["BTC-USDT:returns"]` that of another symbol, `f.feature("rsi", self.length)` one whose number is a parameter.
"""
_PREDICTIONS: Final = """\
  `f["model:direction"]` (also price, momentum, volatility, risk) is the probability that the latest model trained
  before the bar gave, null before there was one; it may not reach back as far as the search window.
"""
_COLUMNS: Final = f"""\
  Columns of the candle are read alike: {", ".join(f"`f.{each}`" for each in CANDLE_COLUMNS)}.
- A value is a number or a truth value per bar. What cannot be known or is not finite (too little history, division by
  zero, overflow) is null, """

_FORM: Final = (
    _OPENING.format(parts="`name`, `timeframes`", method="detect", answer="Signal", kind="strategy")
    + _NAME
    + f"""\
- `timeframes`: a tuple of {", ".join(f'"{each}"' for each in TIMEFRAMES)}; without it,
  {", ".join(DEFAULT_TIMEFRAMES)}.
"""
    + _PARAMETERS.format(longer="60m")
    + _PREDICTIONS
    + _COLUMNS
    + "and no signal fires on null."
)
_BOOK_FORM: Final = (
    _OPENING.format(parts="`name`, `timeframe, rebalance`", method="weigh", answer="Weights", kind="book")
    + _NAME
    + """\
- `timeframe, rebalance = "60m", "24h"`: the bars, "60m", "4h" or "1d", and the interval between decisions, in whole
  hours that divide a day or in whole days. One that is slower than a day runs as equal tranches, one for each day.
"""
    + _PARAMETERS.format(longer="1d")
    + _COLUMNS
    + "and a symbol without a score is not held."
)
_PARTS: Final = {
    "rank_by": "score of each symbol: the highest are bought, the lowest sold; null is not held",
    "weights": (
        "in place of a score, the weight itself, a fraction of equity, negative for a short; counts, sizes and cap are "
        "then the book's own"
    ),
    "long": "share of the known symbols that are bought, 0 for none",
    "short": "share of them that are sold, 0 for none",
    "size": "inside a leg, a text: {sizes}",
    "neutral": "what the legs balance in, a text: {neutral}; `dollar` where there are two legs of scores, else `none`",
    "gross": "sum of absolute weights",
    "gross_limit": "the most that it may be after the volatility target; gross where omitted",
    "cap": "largest weight of a symbol",
    "band": "a position is left alone while its target is within this share of the weight held",
    "keep": "what is held stays while its rank is inside keep × share; 0 for no such buffer, else at least 1",
    "target_volatility": "volatility of a year that weights are scaled to, as a fraction; none where omitted",
}
"""Every part of `Weights`, in words."""


def language_reference() -> str:
    """Return the language of strategies as Markdown: form, operators, functions, signal, limits, one whole strategy."""
    return _sections(
        {
            "Form": _FORM,
            **_words(),
            "Signal": _signal(),
            "Limits": _limits(
                "The entries must not change when all prices are multiplied by a constant: compare prices with each "
                "other or with features in the same unit, never with a number."
            ),
            "What to write in place of": "\n".join(dict.fromkeys(_hints())),
            "A whole strategy": _code(load_file(LIBRARY / f"{EXAMPLE}.py")),
        }
    )


def book_reference() -> str:
    """Return the language of books as Markdown: as that of strategies, with weights in place of signals."""
    compared = "\n".join(_function(f"across.{name}", function) for name, function in ACROSS.items())
    return _sections(
        {
            "Form": _BOOK_FORM,
            **_words(),
            "Words that compare symbols": (
                f"{compared}\n\nEach is over the members of the universe at that bar whose value is known by its "
                f"close, and null where those are fewer than {FEWEST}."
            ),
            "Weights": _weights(),
            "Limits": _limits(
                "Scores must not change when the prices of one symbol are multiplied by a constant: a contract's unit "
                "is arbitrary. Compare prices with prices of the same symbol."
            ),
            "What to write in place of": "\n".join(dict.fromkeys(_hints())),
            "A whole book": _code(load_book(BOOKS / f"{EXAMPLE_BOOK}.py")),
        }
    )


def feature_reference(registry: Registry | None = None) -> str:
    """Return every feature as Markdown, one line each, by group.

    Parameters
    ----------
    registry : Registry, optional
        The standard one where omitted.
    """
    features = registry or standard_registry()
    parts = []
    for group in GROUPS:
        lines = [_feature(definition) for definition in features if definition.group == group]
        if lines:
            parts.append("\n".join([f"### {group}", *lines]))
    opening = (
        "`<n>` stands for a whole number. Volatilities are those of one bar. `quote` is the quote currency, `base` the "
        "traded coin, `ratio` a plain number (0.01 is one percent). Every feature is known at the bar's close."
    )
    return "\n\n".join([opening, *parts])


def _sections(sections: Mapping[str, str]) -> str:
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


def _words() -> dict[str, str]:
    functions = "\n".join(_function(name, function) for name, function in sorted(FUNCTIONS.items()))
    return {"Operators": _operators(), "Functions": functions}


def _code(written: Written) -> str:
    return f"```python\n{written.source()}\n```"


def operator_signs() -> dict[str, list[str]]:
    """Return the signs of all operators: those between two values, comparisons, and those before one value."""
    a, b = ast.Name("a"), ast.Name("b")
    between = [ast.unparse(ast.BinOp(a, each(), b)) for each in BINARY]
    compared = [ast.unparse(ast.Compare(a, [each()], [b])) for each in COMPARISON]
    before = [ast.unparse(ast.UnaryOp(each(), a)) for each in UNARY]
    return {
        "between": [_sign(text) for text in between],
        "comparison": [_sign(text) for text in compared],
        "before": [_sign(text) for text in before],
    }


def _sign(text: str) -> str:
    return text.removeprefix("a").removesuffix("b").removesuffix("a").strip()


def _operators() -> str:
    signs = operator_signs()
    return (
        f"- Between two values: {_listed(signs['between'])}. `//` is for plain numbers only; `&` and `|` are for truth "
        f"values.\n- Comparisons, one at a time: {_listed(signs['comparison'])}.\n"
        f"- Before a value: {_listed(signs['before'])}.\n"
        "- Put each comparison in parentheses: `(f.rsi_14 < 30) & (f.close > f.open)`."
    )


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _function(name: str, function: Callable[..., Any]) -> str:
    arguments = [
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default:g}"
        for parameter in inspect.signature(function).parameters.values()
    ]
    words = (inspect.getdoc(function) or "").splitlines()[0]
    return f"- `{name}({', '.join(arguments)})`: {words.removeprefix('Return ')}"


def _signal() -> str:
    about = {
        "stop": "distance below (above, for a short) the entry price at which it is closed, as a fraction of it",
        "target": "distance in its favour at which it is closed, as a fraction",
        "trail": "distance of a stop that follows the best price so far, as a fraction",
        "time_stop": "longest holding, in bars",
        "size": "fraction of equity",
        "leverage": "multiple of that",
        "entry_limit": (
            "distance of a limit order below (above, for a short) the close, as a fraction of it; it rests for the "
            "next bar alone, and is filled only where that bar trades through its price"
        ),
    }
    numbers = "\n".join(f"- `{name}` ({low:g} to {high:g}): {about[name]}." for name, (low, high) in LEVELS.items())
    return (
        f"`Signal` takes its parts by name. Truth values: {_listed(CONDITIONS)}; at least one entry. An order fills at "
        "the next bar's open, a limit order inside that bar. Both entries at once: no entry. An exit with an entry on "
        "the same side: exit. An opposite entry reverses, with or without an exit; an entry on the same side is "
        "ignored. "
        f"Numbers or expressions:\n{numbers}"
    )


def _weights() -> str:
    numbers = {part.name: part.default for part in fields(Shape)}
    chosen = {"sizes": _listed(get_args(Size)), "neutral": _listed(get_args(Neutrality))}
    lines = [
        f"- `{name}`{_usually(numbers.get(name))}: {words.format(**chosen) if '{' in words else words}."
        for name, words in _PARTS.items()
    ]
    return (
        "`Weights` takes its parts by name: either rank_by or weights, and what else differs from its default. But for "
        "these two and the texts, each is a number or a parameter, the same at every bar. With fewer than "
        f"{FEWEST} known symbols a book of scores is flat.\n" + "\n".join(lines)
    )


def _usually(default: object) -> str:
    return "" if default is None else f" ({default})"


def _limits(invariance: str) -> str:
    return (
        f"- At most {MAX_TEXT} characters, {MAX_TREE} syntax nodes, {MAX_NODES} operations in an expression.\n"
        f"- At most {MAX_FEATURES} features, with {MAX_BARS} bars in their windows together at the largest values of "
        "the parameters.\n"
        f"- No function looks back more than {MAX_WINDOW} bars; numbers of bars are whole, at least 1.\n"
        f"- Exponents from -{MAX_POWER:g} to {MAX_POWER:g}, plain numbers only.\n"
        f"- {invariance}"
    )


def _hints() -> Iterable[str]:
    for node, words in HINTS.items():
        yield f"- `{node.__name__}`: {words}"


def _feature(definition: Definition) -> str:
    names = [f"`{definition.pattern}`"]
    if definition.bare:
        names.append(f"`{definition.bare}` ({', '.join(map(str, definition.default))})")
    kind = "truth value" if definition.dtype == pl.Boolean else definition.unit
    low, high = definition.bounds
    span = "" if low is None and high is None else f", {_bound(low, 'below')} to {_bound(high, 'above')}"
    nulls = f"; null where {definition.nulls}" if definition.nulls else ""
    return f"- {', '.join(names)}: {definition.description.rstrip('.')} ({kind}{span}{nulls})"


def _bound(value: float | None, beyond: str) -> str:
    return f"unlimited {beyond}" if value is None else f"{value:g}"
