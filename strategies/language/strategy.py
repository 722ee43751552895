"""The strategy: a name, a docstring, timeframes, parameters with ranges, and `detect`.

Belongs here: the class that every strategy is written as, its parameters, its signal, and the evaluation of that
signal over a frame. Does not belong here: the words of `detect` (`strategies.language`), what they compute
(`strategies.language.columns`), finding strategies (`strategies.registry`), fills and costs (`backtester`).

A whole strategy::

    class RsiReversal(Strategy):
        '''Buy exhaustion below the lower band.

        Edge: forced sellers overshoot.
        Fails: in a trend, where low gets lower.
        '''

        name = "rsi_reversal"
        timeframes = ("5m", "60m")
        length = Param(14, 5, 30)
        oversold = Param(30.0, 15.0, 40.0)

        def detect(self, f):
            rsi = f.feature("rsi", self.length)
            return Signal(long_entry=crossed_above(rsi, self.oversold), long_exit=rsi > 50, stop=0.01)
"""

import ast
import hashlib
import inspect
import json
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, cast, overload

import numpy as np
import polars as pl

from features.array_types import BoolArray, FloatArray
from features.bars import CANDLE_SCHEMA, DEFAULT_TIMEFRAMES, TIMEFRAMES, Timeframe, readable_on
from features.registry import definition_hash, dtype_of
from strategies.language.columns import Column, Program, Truth, column_of
from strategies.language.values import Kind, LanguageError, Value, boolean, constant, feature_value, number
from strategies.untrusted.source_text import cut_lines

Number = TypeVar("Number", int, float)
Answer = TypeVar("Answer")

NAME: Final = re.compile(r"[a-z][a-z0-9_]{2,59}")
"""What a strategy's name looks like: it is also a file name, a table key and part of a page's address."""

CANDLE_COLUMNS: Final = ("open", "high", "low", "close", "volume", "quote_volume")
"""Candle columns that a strategy may read like features."""

MOST_STEPS: Final = 10_000
"""Most steps of a parameter's grid: a search tries a few hundred values of all parameters together."""
NARROWEST: Final = 1e-6
"""Narrowest range of a parameter, as a share of its larger end; and the least end that this is measured by."""

CONDITIONS: Final = ("long_entry", "short_entry", "long_exit", "short_exit")
LEVELS: Final[dict[str, tuple[float, float]]] = {
    "stop": (1e-6, 0.99),
    "target": (1e-6, 100.0),
    "trail": (1e-6, 0.99),
    "time_stop": (1, 1_000_000),
    "size": (1e-6, 1.0),
    "leverage": (1.0, 100.0),
    "entry_limit": (1e-6, 0.99),
}
"""The numbers a signal may carry, with the least and the largest that make sense."""


class StrategyError(ValueError):
    """A strategy cannot be loaded; the message begins with file and line."""


@dataclass(frozen=True)
class Param(Generic[Number]):
    """A tunable number: its default and the range that a search may try.

    Attributes
    ----------
    default, low, high : int or float
        A whole-number parameter has three ints.
    step : int or float, optional
        Grid of the search; any value in the range where omitted (any whole number for ints).

    Raises
    ------
    LanguageError
        If the default lies outside the range, the range is too narrow to be told apart, or the step is not positive or
        cuts the range into more than `MOST_STEPS`.
    """

    default: Number
    low: Number
    high: Number
    step: Number | None = None

    def __post_init__(self) -> None:
        for bound in (self.default, self.low, self.high):
            constant(bound)
        if not self.low <= self.default <= self.high:
            msg = f"Param default {self.default} lies outside its range {self.low} to {self.high}"
            raise LanguageError(msg)
        if self.step is not None and constant(self.step) <= 0:
            msg = f"Param step {self.step} must be positive"
            raise LanguageError(msg)
        span = self.high - self.low
        if span and span < NARROWEST * max(abs(self.low), abs(self.high), NARROWEST):
            msg = f"Param range {self.low} to {self.high} is too narrow to be searched; widen it, or write one number"
            raise LanguageError(msg)
        if self.step is not None and span / MOST_STEPS > self.step:
            msg = f"Param step {self.step} cuts {self.low} to {self.high} into more than {MOST_STEPS} steps; widen it"
            raise LanguageError(msg)

    @property
    def whole(self) -> bool:
        """Whether the parameter takes whole numbers only."""
        return all(isinstance(number, int) for number in (self.default, self.low, self.high))

    @overload
    def __get__(self, instance: None, owner: type) -> "Param[Number]": ...
    @overload
    def __get__(self, instance: "Written", owner: type) -> Number: ...
    def __get__(self, instance: "Written | None", owner: type) -> "Param[Number] | Number":
        if instance is None:
            return self
        name = next(key for key, param in instance.ranges().items() if param is self)
        return cast("Number", instance.parameters[name])

    def checked(self, name: str, value: object) -> int | float:
        """Return `value` if the range allows it.

        Raises
        ------
        LanguageError
            If it is no number, not whole where it must be, or outside the range.
        """
        number = constant(value)
        if self.whole and number != int(number):
            msg = f"parameter {name} = {value} must be a whole number"
            raise LanguageError(msg)
        if not self.low <= number <= self.high:
            msg = f"parameter {name} = {value} lies outside its range {self.low} to {self.high}"
            raise LanguageError(msg)
        return int(number) if self.whole else number


@dataclass(frozen=True)
class Signal:
    """What a strategy wants at each bar's close; the backtester fills it at the next bar's open, or by a limit order.

    Attributes
    ----------
    long_entry, short_entry, long_exit, short_exit : Value of truth values, optional
        Null counts as false. Both entries at once: no entry. An exit and the opposite entry at once: a reversal.
    stop, target, trail : number or Value, optional
        Distances as fractions of the entry price (0.01 = 1 %), frozen at the signal bar. None: there is none.
    time_stop : number or Value, optional
        Longest holding, in bars.
    size : number or Value, optional
        Fraction of equity, in (0, 1]; 1 where omitted.
    leverage : number or Value, optional
        Multiple of that, from 1; 1 where omitted. What the instrument does not allow is cut to its maximum.
    entry_limit : number or Value, optional
        Distance of a limit order from the close, as a fraction of the close: below it for a long, above it for a short.
        It rests for the next bar alone and is filled where that bar trades through its price. None: a market order.

    Notes
    -----
    Where a number is an expression and it is null or out of its range at a bar, there is no entry at that bar: a
    position whose stop is unknown is not opened. A size or leverage above its range is cut to it.

    Raises
    ------
    LanguageError
        If there is no entry at all, a condition is no truth value, or a constant is out of its range.
    """

    long_entry: Value | None = None
    short_entry: Value | None = None
    long_exit: Value | None = None
    short_exit: Value | None = None
    stop: Value | float | None = None
    target: Value | float | None = None
    trail: Value | float | None = None
    time_stop: Value | float | None = None
    size: Value | float | None = None
    leverage: Value | float | None = None
    entry_limit: Value | float | None = None

    def __post_init__(self) -> None:
        if self.long_entry is None and self.short_entry is None:
            msg = "Signal has neither long_entry nor short_entry: it would never trade"
            raise LanguageError(msg)
        for name, value in self.conditions().items():
            boolean(value, f"Signal({name}=…)")
        for name, level in self.levels().items():
            if isinstance(level, Value):
                number(level, f"Signal({name}=…)")
                continue
            low, high = LEVELS[name]
            if not low <= constant(level) <= high:
                msg = f"Signal({name}={level:g}) lies outside {low:g} to {high:g}" + (
                    "; distances are fractions of the entry price: 1 % is 0.01" if high < 1 else ""
                )
                raise LanguageError(msg)

    def conditions(self) -> dict[str, Value]:
        """Return the conditions that are set, by name."""
        return {name: getattr(self, name) for name in CONDITIONS if getattr(self, name) is not None}

    def levels(self) -> dict[str, Value | float]:
        """Return the numbers that are set, by name."""
        return {name: getattr(self, name) for name in LEVELS if getattr(self, name) is not None}

    def values(self) -> list[Value]:
        """Return every value over features that the signal holds."""
        held = [getattr(self, field.name) for field in fields(self)]
        return [value for value in held if isinstance(value, Value)]


class Features:
    """The features of one bar's close, as `detect` sees them: `f.rsi_14`, `f["60m:trend_direction"]`.

    Parameters
    ----------
    kind_of : callable
        Returns whether a feature is a number or a truth value; raises `LookupError` for one that does not exist.
    """

    def __init__(self, kind_of: "Callable[[str], Kind]") -> None:
        self._kind_of = kind_of
        self._read: dict[str, Value] = {}

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Value:
        if not isinstance(name, str):
            msg = f"a feature is read by its name, not by {name!r}"
            raise LanguageError(msg)
        if name not in self._read:
            try:
                kind = self._kind_of(name)
            except (LookupError, ValueError) as error:
                raise LanguageError(str(error.args[0])) from error
            self._read[name] = feature_value(name, kind)
        return self._read[name]

    def feature(self, family: str, *numbers: float) -> Value:
        """Return the feature of a family at these numbers: `f.feature("ema", 21)` is `f.ema_21`.

        Parameters
        ----------
        family : str
            The name before its numbers, with the timeframe or symbol before it, if any: `60m:ema`.
        *numbers : int or float
            Usually parameters of the strategy.

        Raises
        ------
        LanguageError
            If `family` is not a name.
        """
        if not isinstance(family, str):
            msg = f"the family of a feature is a name, not {family!r}"
            raise LanguageError(msg)
        return self["_".join([family, *(f"{constant(number):g}" for number in numbers)])]

    def names(self) -> list[str]:
        """Return the names read so far, sorted."""
        return sorted(self._read)

    def items(self) -> list[tuple[str, Value]]:
        """Return the features read so far, by name."""
        return sorted(self._read.items(), key=lambda pair: pair[0])


class Written:
    """What strategies and books have in common: a text, parameters with ranges, the features that it reads.

    Parameters
    ----------
    **values : int or float
        Parameters that differ from their defaults.

    Attributes
    ----------
    name : str
        Unique, lower case with underscores; the file's name in the library.
    parameters : dict of str to number
        The values in force.

    Raises
    ------
    StrategyError
        If the class is malformed; the message begins with file and line.
    """

    name: ClassVar[str]
    code: ClassVar[str] = ""
    location: ClassVar[str] = ""
    parameters: dict[str, int | float]

    def __init__(self, /, **values: float) -> None:  # any name may be passed, "self" too, and is rejected by name
        self._check_class()
        self.parameters = self._with_defaults(values)
        self._features = Features(feature_kind)

    @classmethod
    def ranges(cls) -> dict[str, Param[Any]]:
        """Return the parameters by name, in the order of the text."""
        return {
            name: attribute
            for base in reversed(cls.__mro__)
            for name, attribute in vars(base).items()
            if isinstance(attribute, Param)
        }

    @classmethod
    def source(cls) -> str:
        """Return the class's own text, without the imports above it."""
        if "code" not in vars(cls):
            text = textwrap.dedent(inspect.getsource(cls))
            last = ast.parse(text).body[0].end_lineno
            cls.code = cut_lines(text, 1, last)
        return cls.code

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the text, the parameter values and the features that it reads.

        If the definition of a feature changes, the version changes, since the old one was validated and tried.
        """
        values = json.dumps(self.parameters, sort_keys=True)
        read = "\n".join(_feature_hash(name) for name in self.features())
        return hashlib.sha256(f"{self.source().strip()}\n{values}\n{read}".encode()).hexdigest()[:12]

    @property
    def description(self) -> str:
        """The docstring."""
        return inspect.getdoc(type(self)) or ""

    def with_parameters(self, /, **values: float) -> Self:
        """Return the same with some parameters changed: another version under the same name.

        Raises
        ------
        StrategyError
            If it has no parameter of a name, whatever the name, or a value is out of range.
        """
        return type(self)(**{**self.parameters, **values})

    def features(self, timeframe: Timeframe | None = None) -> list[str]:  # noqa: ARG002  # every timeframe reads the same
        """Return the features that the frame given to `signals` must hold, sorted; candle columns are not among them.

        Parameters
        ----------
        timeframe : Timeframe, optional
            The lane's timeframe; the answer does not depend on it.
        """
        return [name for name in self._features.names() if name not in CANDLE_COLUMNS]

    def _check_columns(self, frame: pl.DataFrame) -> None:
        kinds = frame.schema
        missing = [name for name in self._features.names() if name not in kinds]
        if missing:
            msg = f"{self.name}: the frame has no column {', '.join(missing)}; compute the strategy's features() first"
            raise StrategyError(msg)
        for name, value in self._features.items():
            dtype = kinds[name]
            if (dtype == pl.Boolean) != (value.kind == "boolean"):
                msg = f"{self.name}: column {name} is {dtype}, but its feature is a {value.kind}"
                raise StrategyError(msg)

    def _check_reads(self, *timeframes: Timeframe) -> None:
        """Refuse features of bars that are shorter than those of a timeframe."""
        for timeframe in timeframes:
            shorter = [name for name in self._features.names() if not readable_on(name, timeframe)]
            if shorter:
                self._refuse(f"{timeframe} bars cannot read {shorter[0]}; only a longer timeframe can be read")

    @classmethod
    def _check_class(cls) -> None:
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            cls._refuse(f"name must be lower case letters, digits and underscores, 3 to 60 of them, not {name!r}")
        if not inspect.getdoc(cls) or cls.__doc__ is None:
            cls._refuse("the docstring is missing: say what edge it bets on and when it should fail")

    @classmethod
    def _refuse(cls, reason: str, line: int | None = None) -> None:
        if cls.location:
            file, first = cls.location.rsplit(":", 1)
        else:
            try:
                file, first = inspect.getfile(cls), str(inspect.getsourcelines(cls)[1])
            except (OSError, TypeError):
                file, first = cls.__qualname__, "1"
        msg = f"{file}:{line or first}: {reason}"
        raise StrategyError(msg)

    @classmethod
    def _with_defaults(cls, values: Mapping[str, float]) -> dict[str, int | float]:
        ranges = cls.ranges()
        unknown = sorted(set(values) - set(ranges))
        if unknown:
            names = ", ".join(ranges) or "none"
            cls._refuse(f"{cls.name} has no parameter {', '.join(unknown)}; its parameters are {names}")
        try:
            return {name: param.checked(name, values.get(name, param.default)) for name, param in ranges.items()}
        except LanguageError as error:
            cls._refuse(str(error))
            raise

    def _program_of(self, values: list[Value]) -> Program:
        try:
            return Program(values)
        except LanguageError as error:
            self._refuse(str(error))
            raise

    def _asked(self, method: str, kind: type[Answer]) -> Answer:
        """Return what `detect` or `weigh` says of the features."""
        try:
            answer: object = getattr(self, method)(self._features)
        except StrategyError:
            raise  # it already has a location
        except Exception as error:
            # the innermost line of the author's own file is where its author must look
            file = inspect.getfile(type(self)) if not self.location else ""
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
            reason = str(error) if isinstance(error, LanguageError) else f"{type(error).__name__}: {error}"
            self._refuse(reason, lines[-1] if lines else getattr(error, "line", None))
            raise
        if not isinstance(answer, kind):
            self._refuse(f"{method} must return a {kind.__name__}, not {type(answer).__name__}")
        if not self._features.names():
            self._refuse(f"{method} reads no feature, so its answer is the same on every bar")
        return cast("Answer", answer)


class Strategy(Written):
    """Base of every strategy; see the module's docstring for a whole one.

    Parameters
    ----------
    **values : int or float
        Parameters that differ from their defaults.

    Attributes
    ----------
    name : str
        Unique, lower case with underscores; the file's name in the library.
    timeframes : tuple of Timeframe
        Those that it is scored on.
    parameters : dict of str to number
        The values in force.
    signal : Signal
        What `detect` returned.

    Raises
    ------
    StrategyError
        If the class or its `detect` is malformed; the message begins with file and line.
    """

    timeframes: ClassVar[tuple[Timeframe, ...]] = DEFAULT_TIMEFRAMES

    def __init__(self, /, **values: float) -> None:
        super().__init__(**values)
        self.signal = self._asked("detect", Signal)
        self._check_reads(*self.timeframes)
        self._program = self._planned()

    def detect(self, f: Features) -> Signal:
        """Return the signal over the features `f`; called once, when the strategy is made.

        Parameters
        ----------
        f : Features
            Values known at each bar's close.
        """
        raise NotImplementedError

    @property
    def lookback(self) -> int:
        """Bars before the first signal that `signals` needs in its frame, on top of the features' own warm-up."""
        return max(value.lookback for value in self.signal.values())

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Evaluate the strategy over the bars of one timeframe.

        Parameters
        ----------
        frame : DataFrame
            Candle columns and `features()`, sorted by (symbol, ts); any number of symbols. Nulls mean unknown. Bars
            whose `flag` is not null are skipped, as in features, and get no signal.

        Returns
        -------
        DataFrame
            One row a bar: symbol, ts, the four conditions (Boolean, never null), and those of stop, target, trail,
            size, leverage, entry_limit (Float64) and time_stop (Int32) that the strategy sets.

        Raises
        ------
        StrategyError
            If a column is missing or is a number where the feature's definition says truth value, or the reverse; if
            the rows are not in order.

        Notes
        -----
        No look-ahead: row t depends on rows up to t of its own symbol. Words like `previous` count sound bars.
        """
        self._check_columns(frame)
        sound = frame.filter(pl.col("flag").is_null()) if _any_flagged(frame) else frame
        signals = pl.concat([self._evaluated(part) for part in _by_symbol(sound)])
        if signals.height == frame.height:
            return signals
        every = frame.select("symbol", "ts").join(signals, on=["symbol", "ts"], how="left", maintain_order="left")
        return every.with_columns(pl.col(CONDITIONS).fill_null(False))

    @property
    def reads(self) -> list[str]:
        """The features and candle columns that the signal is computed from, sorted."""
        return self._features.names()

    def on_columns(
        self, columns: Mapping[str, Column], bars: int
    ) -> tuple[dict[str, BoolArray], dict[str, float | FloatArray]]:
        """Evaluate the signal over the sound bars of one symbol, given as arrays.

        Parameters
        ----------
        columns : mapping of str to array of shape (bars,) or Truth
            Each of `reads`, as `strategies.language.columns.column_of` makes them.
        bars : int
            How many there are.

        Returns
        -------
        tuple of dict of str to ndarray of shape (bars,), and dict of str to number or ndarray of shape (bars,)
            The conditions that are set, and the numbers that are set: of an expression NaN where there is no entry,
            `time_stop` in whole bars.

        Notes
        -----
        No look-ahead: row t depends on rows up to t.
        """
        results = self._program.run(columns, bars)
        names = [name for name, given in self._given().items() if isinstance(given, Value)]
        values = dict(zip(names, results, strict=True))
        fires = {name: value.yes for name, value in values.items() if isinstance(value, Truth)}
        within = {name: _within(name, value) for name, value in values.items() if not isinstance(value, Truth)}
        for name in ("long_entry", "short_entry"):
            for known in within.values() if name in fires else ():
                fires[name] = fires[name] & ~np.isnan(known)
        levels: dict[str, float | FloatArray] = {}
        for name, given in self.signal.levels().items():
            level: float | FloatArray = within[name] if isinstance(given, Value) else float(given)
            levels[name] = np.floor(level) if name == "time_stop" else level
        return fires, levels

    def _evaluated(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Evaluate over the sound bars of one symbol."""
        fires, levels = self.on_columns({name: column_of(bars[name]) for name in self.reads}, bars.height)
        nowhere = np.zeros(bars.height, dtype=np.bool_)
        conditions = [pl.Series(name, fires.get(name, nowhere)) for name in CONDITIONS]
        numbers = [_level(name, np.broadcast_to(level, bars.height)) for name, level in levels.items()]
        return pl.DataFrame([bars["symbol"], bars["ts"], *conditions, *numbers])

    def _given(self) -> dict[str, Value | float]:
        """Return the conditions and numbers of the signal that are set, by name."""
        return {**self.signal.conditions(), **self.signal.levels()}

    def _planned(self) -> Program:
        program = self._program_of([given for given in self._given().values() if isinstance(given, Value)])
        if program.crosses:
            self._refuse("across compares the symbols of a universe, and a strategy trades each alone; write a Book")
        return program

    @classmethod
    def _check_class(cls) -> None:
        super()._check_class()
        timeframes: object = cls.timeframes
        if (
            not isinstance(timeframes, tuple)
            or not timeframes
            or any(timeframe not in TIMEFRAMES for timeframe in timeframes)
        ):
            cls._refuse(f"timeframes must be a tuple of {', '.join(TIMEFRAMES)}, not {timeframes!r}")
        if len(set(cls.timeframes)) != len(cls.timeframes):
            cls._refuse(f"timeframes has a duplicate: {timeframes!r}")


def _any_flagged(frame: pl.DataFrame) -> bool:
    return "flag" in frame.columns and frame["flag"].null_count() < frame.height


def _by_symbol(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the frame in parts of one symbol each, or refuse one that is not sorted by (symbol, ts)."""
    single = frame.is_empty() or (frame["symbol"] == frame["symbol"][0]).all()
    parts = [frame] if single else frame.partition_by("symbol", maintain_order=True)
    ordered = single or frame["symbol"].rle_id().n_unique() == len(parts)
    if not ordered or not all(part["ts"].is_sorted() for part in parts):
        msg = 'the bars are not sorted; sort the frame by "symbol", "ts"'
        raise StrategyError(msg)
    return parts


def _within(name: str, column: FloatArray) -> FloatArray:
    """Return a number of the signal, NaN where it is unknown or out of its range; size and leverage are cut to it."""
    low, high = LEVELS[name]
    value = np.minimum(column, high) if name in {"size", "leverage"} else column
    return np.where((value >= low) & (value <= high), value, np.nan)


def _level(name: str, values: FloatArray) -> pl.Series:
    """Return a number of the signal as a column; null for NaN."""
    column = pl.Series(name, values, pl.Float64, nan_to_null=True)
    return column.cast(pl.Int32) if name == "time_stop" else column


def feature_kind(name: str) -> Kind:
    """Return whether the feature or candle column `name` is a number or a truth value.

    Raises
    ------
    LookupError
        If there is no such feature, or the candle column is not a number; the message names similar features.
    ValueError
        If a number in the name is out of range.
    """
    if name in CANDLE_COLUMNS:
        return "number"
    if name in CANDLE_SCHEMA:
        msg = f"{name} is not a column that a strategy may read; candle columns are {', '.join(CANDLE_COLUMNS)}"
        raise LookupError(msg)
    return "boolean" if dtype_of(name) == pl.Boolean else "number"


@cache
def _feature_hash(name: str) -> str:
    """Return the fingerprint of a feature's definition; reading the code behind it once a process is enough."""
    return definition_hash(name)
