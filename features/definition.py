"""What a feature is: its name pattern, formula, unit, warm-up, and the decorator that makes one.

Belongs here: the description of one feature and the parsing of its names. Does not belong here: the set of all
features (`registry`), computing them (`engine`), the features themselves (`library`).
"""

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import polars as pl
from polars.datatypes import DataTypeClass

from features.array_types import FloatArray
from features.bars import Timeframe, bar_length

Params = tuple[int, ...]
Bars = int | Callable[..., int]
Reach = int | timedelta | Callable[..., int]
DType = pl.DataType | DataTypeClass

GROUPS: Final = (
    "price",
    "volume",
    "momentum",
    "trend",
    "volatility",
    "macd",
    "oscillators",
    "volume_weighted",
    "regime",
    "custom",
    "positioning",
)
"""The groups of features, in the order of the documentation."""

LARGEST_PARAMETER: Final = 10_000
"""Largest window: a week of 1-minute bars."""

SETTLED: Final = 1e-8
"""A recursive feature is warm once the weight of its seed has fallen to this."""

RULES: Final = 1
"""Increased by hand when `engine` treats flagged bars, gaps or starts differently: part of every definition's hash."""

_PARAMETER = re.compile(r"<([a-z]+)>")
_OPTIONAL_PART = re.compile(r"_<[a-z]+>")


@dataclass(frozen=True)
class Kernel:
    """A compiled function over whole columns of one symbol, as an alternative to a Polars expression.

    Parameters
    ----------
    function : callable
        Takes one float64 array of shape (n_bars,) for each input, then `arguments`; returns a new float64 array of
        that shape in which NaN means null. It must be causal.
    inputs : tuple of str
        Candle columns or feature names. Nulls arrive as NaN.
    arguments : tuple of int or float
        Parameters that follow the arrays.
    """

    function: Callable[..., FloatArray]
    inputs: tuple[str, ...]
    arguments: tuple[int | float, ...] = ()

    def __call__(self, inputs: Sequence[pl.Series]) -> pl.Series:
        """Run over series, as Polars does; null where the kernel returns NaN."""
        values = self.function(*(_array(series) for series in inputs), *self.arguments)
        return pl.Series(values).fill_nan(None)


Formula = pl.Expr | Kernel


def rolling(function: Callable[..., FloatArray], *inputs: pl.Expr | str, by: tuple[int | float, ...]) -> pl.Expr:
    """Return a kernel of `features.kernels` over expressions, as an expression.

    Parameters
    ----------
    function : callable
        As in `Kernel`: takes and returns arrays of shape (n_bars,).
    *inputs : expressions or column names
        The arrays.
    by : tuple of int or float
        The parameters that follow them, such as the window.

    Returns
    -------
    Expr
        Float64; null where the kernel returns NaN.

    Examples
    --------
    >>> from features.kernels import moving_average
    >>> frame = pl.DataFrame({"close": [1.0, 2.0, 6.0]})
    >>> frame.select(rolling(moving_average, "close", by=(2,)))["close"].to_list()
    [None, 1.5, 4.0]
    """
    kernel = Kernel(function, (), by)
    return pl.map_batches(list(inputs), kernel, return_dtype=pl.Float64)


def _array(series: pl.Series) -> FloatArray:
    """Return the series as float64 with NaN for null, read-only so that each kernel is compiled once."""
    array: FloatArray = series.cast(pl.Float64).to_numpy()
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Definition:
    """A feature or a family of features that differ in their parameters; made by `feature`.

    Attributes
    ----------
    pattern : str
        Name with `<parameter>` where a whole number stands, as in ``rsi_<n>``.
    group, unit, description : str
        One of `GROUPS`; the unit of the values; one line.
    build : callable
        From the parameters to the formula, a Polars expression or a `Kernel`, for the bars of one symbol in order.
    window, warmup
        See `feature`.
    bounds : tuple of (float or None, float or None)
        Least and largest possible value; None where there is no limit.
    dtype : polars data type
        Float64, Boolean or Int8.
    nulls : str
        When the value is null, apart from the start of the data, flagged bars and gaps.
    default : tuple of int
        Parameters of the bare name (``rsi`` for ``rsi_14``); empty where there is none.
    standard : tuple of str
        Names in the standard set.
    minimum : int
        Least value of every parameter.
    """

    pattern: str
    group: str
    unit: str
    description: str
    build: Callable[..., Formula]
    window: Bars
    warmup: Reach
    bounds: tuple[float | None, float | None] = (None, None)
    dtype: DType = pl.Float64
    nulls: str = ""
    default: Params = ()
    standard: tuple[str, ...] = ()
    minimum: int = 2
    regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expression = _PARAMETER.sub(r"(0|[1-9][0-9]*)", re.escape(self.pattern).replace(r"\<", "<").replace(r"\>", ">"))
        object.__setattr__(self, "regex", re.compile(expression))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(_PARAMETER.findall(self.pattern))

    @property
    def bare(self) -> str | None:
        """The name without parameters, where the feature has defaults for them."""
        return _OPTIONAL_PART.sub("", self.pattern) if self.default else None

    @property
    def example(self) -> str:
        """A concrete name: the first of the standard set, else the pattern with its defaults or small numbers."""
        if self.standard:
            return self.standard[0]
        numbers = iter(self.default or tuple(10 * (i + 1) for i in range(len(self.parameters))))
        return _PARAMETER.sub(lambda _: str(next(numbers)), self.pattern)

    def parse(self, name: str) -> Params | None:
        """Return the parameters that `name` gives to this pattern, or None if it does not match.

        Raises
        ------
        ValueError
            If the name matches but a parameter is out of range.
        """
        if self.default and name == self.bare:
            return self.default
        match = self.regex.fullmatch(name)
        if match is None:
            return None
        params = tuple(int(text) for text in match.groups())
        for parameter, value in zip(self.parameters, params, strict=True):
            if not self.minimum <= value <= LARGEST_PARAMETER:
                msg = (
                    f"feature {name!r}: {parameter} = {value} is out of range, {self.pattern} takes "
                    f"{self.minimum} to {LARGEST_PARAMETER}; for example {self.example}"
                )
                raise ValueError(msg)
        return params


@dataclass(frozen=True)
class Feature:
    """One concrete feature: a definition with its parameters, under the requested name."""

    name: str
    definition: Definition
    params: Params

    @property
    def canonical(self) -> str:
        """The name with all parameters in it: ``rsi_14`` for ``rsi``."""
        numbers = iter(self.params)
        return _PARAMETER.sub(lambda _: str(next(numbers)), self.definition.pattern)

    def formula(self) -> Formula:
        """Return the Polars expression or kernel.

        Raises
        ------
        ValueError
            If the definition refuses this combination of parameters (a fast length above the slow one).
        TypeError
            If the definition returns neither.
        """
        try:
            formula = self.definition.build(*self.params)
        except ValueError as error:
            msg = f"feature {self.name!r}: {error}; for example {self.definition.example}"
            raise ValueError(msg) from error
        if not isinstance(formula, pl.Expr | Kernel):
            kind = type(formula).__name__
            msg = f"feature {self.name!r} returned {kind}; return a Polars expression, such as pl.col('close')"
            raise TypeError(msg)
        return formula

    @property
    def window(self) -> int:
        """Bars that the definition reads, this one included; the value is null before so many exist."""
        window = self.definition.window
        return window if isinstance(window, int) else window(*self.params)

    def warmup(self, timeframe: Timeframe) -> int:
        """Bars before the first value that no longer depends on where the data begin (to 1e-6 relative)."""
        warmup = self.definition.warmup
        if isinstance(warmup, timedelta):
            return math.ceil(warmup / bar_length(timeframe))
        return warmup if isinstance(warmup, int) else warmup(*self.params)


def settling(weight: float) -> int:
    """Return the bars after which exponential smoothing with this weight has forgotten its seed (see `SETTLED`).

    Parameters
    ----------
    weight : float
        Weight of the newest value, in (0, 1]: 2 / (n + 1) for an EMA, 1 / n for Wilder's smoothing.

    Examples
    --------
    >>> settling(2 / (9 + 1))
    83
    """
    return 1 if weight >= 1 else math.ceil(math.log(SETTLED) / math.log1p(-weight))


def ema_warmup(n: int) -> int:
    """Warm-up in bars of an exponential moving average over n bars.

    Examples
    --------
    >>> ema_warmup(9)
    92
    """
    return n + settling(2 / (n + 1))


def wilder_warmup(n: int) -> int:
    """Warm-up in bars of Wilder's smoothing over n changes between bars.

    Examples
    --------
    >>> wilder_warmup(14)
    264
    """
    return n + 1 + settling(1 / n)


def feature(
    pattern: str,
    *,
    group: str = "custom",
    unit: str,
    warmup: Reach,
    window: Bars | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
    dtype: DType = pl.Float64,
    nulls: str = "",
    default: Params = (),
    standard: tuple[str, ...] | None = None,
    minimum: int = 2,
) -> Callable[[Callable[..., Formula]], Definition]:
    """Make a feature of the decorated function.

    The function takes the parameters of the pattern and returns a Polars expression over the bars of *one* symbol in
    order of time: candle columns (`features.bars.CANDLE_SCHEMA`), `closed_at` (the time at which the bar closed) and
    any other feature by name. The first line of its docstring is the description.

    Parameters
    ----------
    pattern : str
        Name, with `<parameter>` for each whole number in it.
    group : str
        One of `GROUPS`.
    unit : str
        Unit of the values, as `quote`, `base`, `ratio`, `percent`.
    warmup : int, timedelta or callable
        Bars (or time) before the first whose value no longer depends on where the data begin; a callable gets the
        parameters. For a plain window of n bars it is n - 1.
    window : int or callable, optional
        Bars that the definition reads, this one included; by default `warmup` + 1. Where these bars span a gap that
        makes them more than a tenth longer in time, the value is null.
    standard : tuple of str, optional
        Names in the standard set; by default the name itself where it has no parameters.
    bounds, dtype, nulls, default, minimum
        See `Definition`.

    Returns
    -------
    callable
        Decorator that turns a function into a `Definition`.

    Raises
    ------
    ValueError
        If the group is unknown or the function has no docstring.

    Examples
    --------
    >>> import polars as pl
    >>> @feature("range_share_<n>", unit="ratio", warmup=lambda n: n - 1)
    ... def range_share(n: int) -> pl.Expr:
    ...     '''High-low range of n bars relative to the close.'''
    ...     return (pl.col("high").rolling_max(n) - pl.col("low").rolling_min(n)) / pl.col("close")
    >>> range_share.parse("range_share_20")
    (20,)
    """
    if group not in GROUPS:
        msg = f"feature {pattern!r}: unknown group {group!r}; one of {', '.join(GROUPS)}"
        raise ValueError(msg)

    def make(build: Callable[..., Formula]) -> Definition:
        text = inspect.getdoc(build)
        if not text:
            msg = f"feature {pattern!r}: its function has no docstring; the first line becomes the description"
            raise ValueError(msg)
        return Definition(
            pattern=pattern,
            group=group,
            unit=unit,
            description=text.splitlines()[0],
            build=build,
            window=_window_of(warmup) if window is None else window,
            warmup=warmup,
            bounds=bounds,
            dtype=dtype,
            nulls=nulls,
            default=default,
            standard=(() if _PARAMETER.search(pattern) else (pattern,)) if standard is None else standard,
            minimum=minimum,
        )

    return make


def _window_of(warmup: Reach) -> Bars:
    """Window of a feature that states none: its warm-up and the bar itself (1 if the warm-up is a time)."""
    if isinstance(warmup, timedelta):
        return 1
    if isinstance(warmup, int):
        return warmup + 1

    def window(*params: Any) -> int:
        return warmup(*params) + 1

    return window
