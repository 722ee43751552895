"""What is unknown or not finite never fires: random expressions against a slow oracle in which None is passed on."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.simulation import kernel
from features.definition import Kernel
from strategies.language.strategy import CONDITIONS, LEVELS, feature_kind
from strategies.search.map_elites.code_generation import rendered
from strategies.search.map_elites.genome import GenomeFactory
from strategies.search.map_elites.signal_kernels import Columns, _levels, entry_bits
from strategies.untrusted.compiler import compile_strategy
from strategies.untrusted.feature_compiler import written_feature
from tests.strategies.hostile import text

Node: TypeAlias = tuple[Any, ...]
MAYBE: Final = "maybe"
"""What the oracle does not say: there the roundings of two right ways may differ."""
ROUNDING: Final = frozenset({"mean", "stdev", "**"})
MODERATE: Final = 1e6
WILD: Final = (
    None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, 0.01, 7.0, 1e12, -1e12, 1e160,
    -1e160, 1e308, -1e308, 5e-324, 1e-160,
)  # fmt: skip
CONSTANTS: Final = (0.0, 1.0, -1.0, 0.5, 2.0, 5.0, 1e12, -1e12)
ARITHMETIC: Final = ("+", "-", "*", "/")
COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")
BARS: Final = 12


def words(numbers: st.SearchStrategy[Node], truths: st.SearchStrategy[Node]) -> tuple[st.SearchStrategy[Node], ...]:
    window = st.sampled_from([2, 3, 4])
    number = st.one_of(
        st.tuples(st.sampled_from(ARITHMETIC), numbers, numbers),
        st.tuples(st.just("**"), numbers, st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 2.0, 3.0, 8.0])),
        st.tuples(st.sampled_from(["abs", "negative"]), numbers),
        st.tuples(st.sampled_from(["previous", "highest", "lowest", "mean", "stdev"]), numbers, window),
        st.tuples(st.just("where"), truths, numbers, numbers),
        st.tuples(st.sampled_from(["minimum", "maximum"]), numbers, numbers),
    )
    truth = st.one_of(
        st.tuples(st.sampled_from(COMPARISONS), numbers, numbers),
        st.tuples(st.sampled_from(["&", "|"]), truths, truths),
        st.tuples(st.just("~"), truths),
        st.tuples(st.sampled_from(["held", "happened"]), truths, window),
        st.tuples(st.sampled_from(["crossed_above", "crossed_below"]), numbers, numbers),
        st.tuples(st.sampled_from(["rising", "falling"]), numbers, window),
    )
    return number, truth


LEAVES: Final = st.sampled_from([("close",), ("open",)])
OPERANDS: Final = st.one_of(LEAVES, LEAVES, st.tuples(st.just("constant"), st.sampled_from(CONSTANTS)))
COMPARED: Final = st.tuples(st.sampled_from(COMPARISONS), LEAVES, OPERANDS)


def deeper(depth: int) -> tuple[st.SearchStrategy[Node], st.SearchStrategy[Node]]:
    numbers, truths = LEAVES, COMPARED
    for _ in range(depth):
        number, truth = words(numbers | LEAVES, truths | COMPARED)
        numbers, truths = number, truth
    return numbers, truths


NUMBERS, TRUTHS = deeper(3)


def written(node: Node) -> str:
    name, *parts = node
    if name in {"close", "open"}:
        return f"f.{name}"
    if name == "constant":
        return repr(parts[0])
    if name in {"negative", "~"}:
        return f"({'-' if name == 'negative' else '~'}{written(parts[0])})"
    if name in {*ARITHMETIC, *COMPARISONS, "&", "|", "**"}:
        right = written(parts[1]) if isinstance(parts[1], tuple) else repr(parts[1])
        return f"({written(parts[0])} {name} {right})"
    return f"{name}({', '.join(written(part) if isinstance(part, tuple) else repr(part) for part in parts)})"


def rounded(node: object) -> bool:
    return isinstance(node, tuple) and (node[0] in ROUNDING or any(rounded(part) for part in node[1:]))


def finite(number: Any) -> Any:
    return number if number is not None and not isinstance(number, complex) and math.isfinite(number) else None


def oracle(node: Node, data: dict[str, list[float | None]]) -> list[Any]:
    """Evaluate bar by bar in plain Python: None is unknown and is passed on."""
    name, *parts = node
    if name in data:
        return [finite(each) for each in data[name]]
    if name == "constant":
        return [parts[0]] * BARS
    columns = [oracle(part, data) if isinstance(part, tuple) else [part] * BARS for part in parts]
    loose = any(rounded(part) for part in parts)
    if name in WINDOWED:
        return [windowed(name, columns[0], bar, parts[1]) for bar in range(BARS)]
    if name in {"rising", "falling"}:
        changes = [at(">" if name == "rising" else "<", pair, loose=loose) for pair in pairs(columns[0])]
        return [windowed("held", changes, bar, parts[1]) for bar in range(BARS)]
    if name in {"crossed_above", "crossed_below"}:
        sign = ">" if name == "crossed_above" else "<"
        beyond = [at(sign, pair, loose=loose) for pair in zip(*columns, strict=True)]
        before = [None, *beyond[:-1]]
        return [both(now, opposite(old)) for now, old in zip(beyond, before, strict=True)]
    return [at(name, bar, loose=loose) for bar in zip(*columns, strict=True)]


def pairs(column: list[Any]) -> list[tuple[Any, Any]]:
    differences = [None, *(at("-", pair, loose=False) for pair in zip(column[1:], column[:-1], strict=True))]
    return [(each, 0.0) for each in differences]


def opposite(truth: Any) -> Any:
    return truth if truth is None or truth is MAYBE else not truth


def both(a: Any, b: Any) -> Any:
    if a is MAYBE or b is MAYBE:
        return MAYBE
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def at(name: str, values: tuple[Any, ...], *, loose: bool) -> Any:  # noqa: C901, PLR0911  # one case a word
    """Return one word at one bar; `loose` where rounding came before."""
    if any(each is MAYBE for each in values):
        return MAYBE
    if name == "&":
        return both(*values)
    if name == "|":
        return opposite(both(opposite(values[0]), opposite(values[1])))
    if name == "~":
        return opposite(values[0])
    if name == "where":
        return None if values[0] is None else values[1] if values[0] else values[2]
    if any(each is None for each in values):
        return None
    a, b = (*values, None)[:2]
    if name in {"abs", "negative"}:
        return abs(a) if name == "abs" else -a
    if (
        loose
        and (name in COMPARISONS or name in {"minimum", "maximum"})
        and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    ):
        return MAYBE
    if loose and (
        abs(b if name == "/" else a) < 1e-6 if name in {"/", "**"} else name in {"+", "-"} and abs(a) > MODERATE
    ):
        return MAYBE
    try:
        return finite(PLAIN[name](a, b))
    except (ZeroDivisionError, OverflowError):
        return None


PLAIN: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "**": lambda a, b: a**b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "minimum": min, "maximum": max,
}  # fmt: skip
WINDOWED: Final = ("previous", "highest", "lowest", "mean", "stdev", "held", "happened")


def windowed(name: str, column: list[Any], bar: int, bars: int) -> Any:  # noqa: PLR0911  # same
    if name == "previous":
        return column[bar - bars] if bar >= bars else None
    window = column[bar - bars + 1 : bar + 1] if bar >= bars - 1 else [None]
    if any(each is MAYBE for each in window):
        return MAYBE
    if any(each is None for each in window):
        return None
    if name in {"held", "happened"}:
        return all(window) if name == "held" else any(window)
    if name in {"highest", "lowest"}:
        return max(window) if name == "highest" else min(window)
    if len(set(window)) == 1:
        return window[0] if name == "mean" else 0.0
    if max(map(abs, window)) > MODERATE:
        return MAYBE
    middle = math.fsum(window) / bars
    return middle if name == "mean" else math.sqrt(math.fsum((each - middle) ** 2 for each in window) / (bars - 1))


COLUMNS: Final = st.lists(st.sampled_from(WILD), min_size=BARS, max_size=BARS)


def bars_of(data: dict[str, list[float | None]]) -> pl.DataFrame:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    columns = {name: pl.Series(name, given, pl.Float64) for name, given in data.items()}
    return pl.DataFrame({"symbol": ["A"] * BARS, "ts": [start + timedelta(minutes=i) for i in range(BARS)], **columns})


def same(got: float | None, expected: Any) -> bool:
    if expected is MAYBE or expected is None:
        return expected is MAYBE or got is None
    return got is not None and math.isclose(got, expected, rel_tol=1e-6, abs_tol=1e-6)


@settings(max_examples=80)
@given(TRUTHS, COLUMNS, COLUMNS)
def test_a_condition_fires_where_the_oracle_knows_that_it_holds(
    node: Node, close: list[float | None], opening: list[float | None]
) -> None:
    data = {"close": close, "open": opening}
    strategy = compile_strategy(text(f"return Signal(long_entry={written(node)}, short_entry=~{written(node)})"))
    signals = strategy.signals(bars_of(data))
    for bar, expected in enumerate(oracle(node, data)):
        got = signals["long_entry"][bar], signals["short_entry"][bar]
        assert expected is MAYBE or got == (expected is True, expected is False), (written(node), bar)


def _at_an_edge(node: Node, number: float, edges: tuple[float, float], name: str) -> bool:
    """Tell whether another rounding of a number may fall on the other side of a bound, or of a whole number of bars."""
    whole = [round(number)] if name == "time_stop" and rounded(node) and abs(number) < MODERATE else []
    return any(math.isclose(number, edge, rel_tol=1e-6) for edge in (*edges, *whole))


@settings(max_examples=80)
@given(NUMBERS, COLUMNS, COLUMNS)
def test_a_number_is_that_of_the_oracle_as_a_feature_and_in_a_signal(
    node: Node, close: list[float | None], opening: list[float | None]
) -> None:
    data = {"close": close, "open": opening}
    expected = oracle(node, data)
    kernel_of = written_feature(written(node), "x").build()
    assert isinstance(kernel_of, Kernel)
    frame = bars_of(data)
    feature = kernel_of([frame[name] for name in kernel_of.inputs]).to_list()
    assert all(map(same, feature, expected)), (written(node), feature, expected)
    for name, (low, high) in LEVELS.items():
        body = f"return Signal(long_entry=(f.close == f.close) | (f.close != f.close), {name}={written(node)})"
        signals = compile_strategy(text(body)).signals(frame)
        for bar, number in enumerate(expected):
            if number is MAYBE or (number is not None and _at_an_edge(node, number, (low, high), name)):
                continue
            cut = min(number, high) if number is not None and name in {"size", "leverage"} else number
            inside = cut if cut is not None and low <= cut <= high else None
            whole = None if inside is None else math.floor(inside + 1e-9) if name == "time_stop" else inside
            assert same(signals[name][bar], whole), (written(node), name, bar)
            known = finite(close[bar]) is not None
            assert signals["long_entry"][bar] == (known and inside is not None), (written(node), name, bar)


@pytest.mark.parametrize(
    ("condition", "close"),
    [
        ("(f.close ** -1) > 5", 0.0),
        ("((f.close ** -1) ** -1) < 5", 0.0),
        ("(f.close ** 8) > 1", 1e300),
        ("(f.close ** 0) > 0", math.nan),
        ("f.close * f.close > 1", 1e300),
        ("1 / (f.close * f.close) < 1", 1e300),
        ("f.close * f.close - f.close * f.close > 1e12", 1e300),
        ("(f.close - f.close) / (f.close - f.close) != 1", 1.0),
        ("f.close > 1", math.inf),
        ("f.close != 1", math.nan),
        ("~(f.close <= 1)", math.nan),
        ("where(f.close > 1, 1, 2) > 0", math.nan),
        ("mean(f.close, 3) > 1", math.inf),
        ("stdev(f.close * (f.close ** -1) ** previous_sign, 2) >= 0".replace("previous_sign", "8"), 1e-300),
        ("maximum(f.close, 5) > 1", math.nan),
    ],
)
def test_what_is_not_finite_does_not_fire(condition: str, close: float) -> None:
    data: dict[str, list[float | None]] = {"close": [close] * BARS, "open": [1.0] * BARS}
    signals = compile_strategy(text(f"return Signal(long_entry={condition}, short_exit=~({condition}))")).signals(
        bars_of(data)
    )
    assert not signals["long_entry"].any()
    assert not signals["short_exit"].any()


@settings(max_examples=60)  # the first one compiles the loops
@given(st.integers(0, 10_000))
def test_the_search_signals_what_the_rendered_text_does_on_wild_columns(seed: int) -> None:
    """The search's own evaluation and the language agree where columns hold what is not finite, too."""
    rng = np.random.default_rng(seed)
    genome, bars = GenomeFactory(("5m",), {}).random(rng), 150
    strategy = compile_strategy(rendered(genome, "wild"))
    wild = [*(math.nan if each is None else each for each in WILD), 20.0, 50.0, 80.0, 0.02, 0.0005]
    frame = pl.DataFrame({"symbol": ["A"] * bars, "ts": [datetime(2025, 1, 1, tzinfo=UTC)] * bars})
    columns: dict[str, Any] = {}
    for name in strategy.features():
        drawn = rng.random(bars) < 0.6 if feature_kind(name) == "boolean" else rng.choice(wild, bars)
        frame = frame.with_columns(pl.Series(name, drawn))
        columns[name] = drawn if drawn.dtype == np.bool_ else np.where(np.isfinite(drawn), drawn, np.nan)
    signals = strategy.signals(frame)
    bits = entry_bits(genome, Columns(columns, bars))
    levels = _levels(genome, Columns(columns, bars), bits)
    flags = (kernel.LONG_ENTRY, kernel.SHORT_ENTRY, kernel.LONG_EXIT, kernel.SHORT_EXIT)
    for name, flag in zip(CONDITIONS, flags, strict=True):
        assert signals[name].to_list() == ((bits & flag) != 0).tolist(), name
    for name, column in levels.items():
        got = signals[name].cast(pl.Float64).fill_null(math.nan).to_numpy()
        np.testing.assert_allclose(got, np.broadcast_to(column, bars), rtol=1e-12, err_msg=name)
