"""The set of known features: names to formulas, errors that suggest the nearest name, hashes of definitions.

Belongs here: looking up names, groups, the standard set, fingerprints of definitions. Does not belong here: the
description of one feature (`definition`), computing (`engine`), the features themselves (`library`).

A registry is a value: importing a module registers nothing. `standard_registry` holds the features of this package,
`Registry.extended` adds a user's.
"""

import difflib
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from features.bars import CANDLE_SCHEMA, MINUTES, POSITIONING_SCHEMA, TIMEFRAMES, Timeframe
from features.definition import GROUPS, RULES, Definition, DType, Feature, Formula, Kernel, feature
from features.fingerprint import fingerprint
from features.library import (
    custom,
    macd,
    momentum,
    oscillators,
    positioning,
    price,
    regime,
    trend,
    volatility,
    volume,
    volume_weighted,
)
from features.predictions import PREDICTORS, SAID, is_prediction, prediction

__all__ = [
    "FUNDING_COLUMNS",
    "STANDARD_SET",
    "Registry",
    "Request",
    "definition_hash",
    "definitions_hash",
    "feature",
    "standard_registry",
    "warmup_bars",
]

BAR_COLUMNS: Final = (*CANDLE_SCHEMA, "closed_at")
"""Columns that every formula can read; `closed_at` is the time at which the bar closed."""

FUNDING_COLUMNS: Final = ("paid_rate", "paid_at", "paid_every")
"""Of the last funding payment at or before the bar's close: its rate, its time, and the usual time between payments."""

POSITIONING_COLUMNS: Final = tuple(f"positioning_{name}" for name in POSITIONING_SCHEMA if name not in ("symbol", "ts"))
"""The values of `POSITIONING_SCHEMA` last known at or before the bar's close."""

MODULES: Final[tuple[ModuleType, ...]] = (
    price,
    volume,
    momentum,
    trend,
    volatility,
    macd,
    oscillators,
    volume_weighted,
    regime,
    custom,
    positioning,
)
"""In the order of `features.definition.GROUPS`."""

_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")


@dataclass(frozen=True)
class Request:
    """One requested column: a feature, of another symbol or a higher timeframe where these are given.

    ``BTC-USDT:60m:rsi_14`` is the 14-bar RSI of BTC-USDT on its last closed 60-minute bar.
    """

    name: str
    feature: Feature
    symbol: str | None = None
    timeframe: Timeframe | None = None

    @property
    def foreign(self) -> bool:
        """Whether it is read from other bars than those of the row."""
        return self.symbol is not None or self.timeframe is not None


class Registry:
    """Features by name.

    Parameters
    ----------
    definitions : iterable of Definition
        In the order in which they are listed.

    Raises
    ------
    ValueError
        If two definitions share a name.
    """

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._definitions = tuple(definitions)
        self._names: dict[str, Definition] = {}
        self._found: dict[str, Feature] = {}
        self._inputs: dict[Feature, tuple[str, ...]] = {}
        for definition in self._definitions:
            for name in filter(None, (definition.pattern, definition.bare)):
                if name in self._names:
                    msg = f"two features are called {name!r}; give one of them another name"
                    raise ValueError(msg)
                self._names[name] = definition

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._definitions)

    def extended(self, definitions: Iterable[Definition]) -> "Registry":
        """Return a registry with further definitions after these."""
        return Registry((*self._definitions, *definitions))

    def feature(self, name: str) -> Feature:
        """Return the feature of this name, without prefix.

        Raises
        ------
        LookupError
            If there is no such feature; the message lists the nearest names.
        ValueError
            If a parameter is out of range.
        """
        if name not in self._found:
            found = self._find(name)
            if found is None:
                raise LookupError(self._unknown(name))
            self._found[name] = found
        return self._found[name]

    def request(self, name: str) -> Request:
        """Parse a name with its prefixes; raises as `feature` does.

        Raises
        ------
        LookupError
            Also for a prefix that is neither a symbol nor a timeframe.

        Examples
        --------
        >>> request = standard_registry().request("BTC-USDT:60m:rsi")
        >>> request.symbol, request.timeframe, request.feature.canonical
        ('BTC-USDT', '60m', 'rsi_14')
        """
        *prefixes, last = name.split(":")
        if prefixes and prefixes[-1] in PREDICTORS:
            last = f"{prefixes.pop()}:{last}"
        symbol: str | None = None
        timeframe: Timeframe | None = None
        for prefix in prefixes:
            if prefix in MINUTES and timeframe is None:
                timeframe = next(known for known in TIMEFRAMES if known == prefix)
            elif _SYMBOL.fullmatch(prefix) and symbol is None and timeframe is None:
                symbol = prefix
            else:
                msg = (
                    f"feature {name!r}: prefix {prefix!r} is neither a symbol nor a timeframe "
                    f"({', '.join(MINUTES)}); write 60m:{last}, BTC-USDT:{last} or BTC-USDT:60m:{last}"
                )
                raise LookupError(msg)
        return Request(name, self.feature(last), symbol, timeframe)

    def requests(self, names: Iterable[str]) -> list[Request]:
        """Parse names, each once, in order.

        Raises
        ------
        TypeError
            If a single text is given instead of a list.
        """
        if isinstance(names, str):
            msg = f"features are a list of names; write [{names!r}]"
            raise TypeError(msg)
        return [self.request(name) for name in dict.fromkeys(names)]

    def reads(self, feature: Feature) -> tuple[list[Request], set[str]]:
        """Return the features and the plain columns that a feature's formula reads.

        Raises
        ------
        LookupError
            If it reads what is neither a feature nor a candle column.
        """
        if feature not in self._inputs:
            self._inputs[feature] = _inputs(feature.formula())
        columns = self._inputs[feature]
        known = {*BAR_COLUMNS, *FUNDING_COLUMNS, *POSITIONING_COLUMNS}
        plain = {column for column in columns if column in known or column.startswith(SAID)}
        others = []
        for column in columns:
            if column not in plain:
                try:
                    others.append(self.request(column))
                except LookupError as error:
                    msg = f"feature {feature.name!r} reads {column!r}, which is unknown: {error}"
                    raise LookupError(msg) from error
        return others, plain

    def warmup(self, request: Request, timeframe: Timeframe) -> int:
        """Return the bars of `timeframe` that a request needs before its first bar, dependencies included."""
        own = request.timeframe or timeframe
        found, _ = self.reads(request.feature)
        bars = max([request.feature.warmup(own), *(self.warmup(read, own) for read in found)])
        if own == timeframe:
            return bars
        return -(-(bars + 1) * MINUTES[own] // MINUTES[timeframe])

    def window(self, feature: Feature) -> int:
        """Return the bars that a feature reads on its own timeframe, this one and its dependencies included."""
        found, _ = self.reads(feature)
        return max([feature.window, *(self.window(read.feature) for read in found if not read.foreign)])

    def standard(self, group: str | None = None) -> tuple[str, ...]:
        """Return the names of the standard set, of one group or all."""
        return tuple(name for known in self if group in {None, known.group} for name in known.standard)

    def group(self, name: str) -> list[str]:
        """Return concrete names of a group's features, ready to be requested.

        Raises
        ------
        LookupError
            If there is no such group.
        """
        wanted = re.sub(r"[^a-z]+", "_", name.strip().lower())
        if wanted not in GROUPS:
            msg = f"unknown feature group {name!r}; one of {', '.join(GROUPS)}"
            raise LookupError(msg)
        known = [definition for definition in self if definition.group == wanted]
        return [name for definition in known for name in definition.standard or (definition.example,)]

    def hash(self, name: str) -> str:
        """Return the fingerprint of a feature's definition, its dependencies and the code behind it.

        Equal in every process. It changes with a formula, kernel, parameter, window or dtype, but not with a comment,
        docstring or unit.
        """
        asked = self.request(name)
        definition = asked.feature.definition
        found, plain = self.reads(asked.feature)
        text = [
            f"{RULES}:{asked.symbol}:{asked.timeframe}",
            definition.pattern,
            repr(asked.feature.params),
            str(definition.dtype),
            repr(asked.feature.window),
            fingerprint(definition.build),
            *sorted(plain),
            *(self.hash(read.name) for read in found),
        ]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]

    def hashes(self, names: Sequence[str]) -> str:
        """Return one fingerprint of several definitions, in any order."""
        lines = [f"{name} {self.hash(name)}" for name in sorted(set(names))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _find(self, name: str) -> Feature | None:
        if is_prediction(name):
            return prediction(name)
        for definition in self._definitions:
            params = definition.parse(name)
            if params is not None:
                return Feature(name, definition, params)
        return None

    def _unknown(self, name: str) -> str:
        names = {spelling: spelling for known in self for spelling in (*known.standard, known.pattern)}
        names |= {known.bare: known.bare for known in self if known.bare}
        near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
        if not near:
            return (
                f"unknown feature {name!r}; FeatureManager.list_available_features() lists all {len(self._definitions)}"
            )
        return f"unknown feature {name!r}; nearest: {', '.join(near)}"


def _inputs(formula: Formula) -> tuple[str, ...]:
    """Names of the columns that a formula reads, each once."""
    names = formula.inputs if isinstance(formula, Kernel) else formula.meta.root_names()
    return tuple(dict.fromkeys(names))


def definitions_of(module: ModuleType) -> list[Definition]:
    """Return the features that a module defines, in order of definition."""
    return [value for value in vars(module).values() if isinstance(value, Definition)]


@functools.cache
def standard_registry() -> Registry:
    """Return the registry of the features of this package."""
    return Registry(definition for module in MODULES for definition in definitions_of(module))


STANDARD_SET: Final[tuple[str, ...]] = standard_registry().standard()
"""Names of the features that are stored for every bar."""


def warmup_bars(names: Iterable[str], timeframe: Timeframe, registry: Registry | None = None) -> int:
    """Return the bars of `timeframe` to read before the first wanted bar so that its values are exact to 1e-6.

    Parameters
    ----------
    names : iterable of str
        Features.
    timeframe : Timeframe
        Bars on which they are computed.
    registry : Registry, optional
        The known features; by default those of this package.

    Returns
    -------
    int
        The largest warm-up.

    Examples
    --------
    >>> warmup_bars(["sma_20", "returns"], "1m")
    19
    """
    known = registry or standard_registry()
    return max((known.warmup(request, timeframe) for request in known.requests(names)), default=0)


def definition_hash(name: str) -> str:
    """Return the fingerprint of one standard feature (see `Registry.hash`)."""
    return standard_registry().hash(name)


def definitions_hash(names: Sequence[str] = STANDARD_SET) -> str:
    """Return the fingerprint of several standard features, by default of the standard set."""
    return _definitions_hash(tuple(names))


@functools.cache
def _definitions_hash(names: tuple[str, ...]) -> str:
    return standard_registry().hashes(names)


def dtype_of(name: str, registry: Registry | None = None) -> DType:
    """Return the dtype of a feature's column.

    Examples
    --------
    >>> dtype_of("is_volume_spike")
    Boolean
    """
    return (registry or standard_registry()).request(name).feature.definition.dtype
