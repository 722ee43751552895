"""Features written as text: an expression of the strategy language, compiled and never executed, and its checks.

Belongs here: from untrusted text to a feature's definition, and whether it may be used. Does not belong here: the
compiler of whole strategies (`strategies.untrusted.compiler`), features of this package (`features.library`), whether a
feature helps a model (`model_zoo`).
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from features.array_types import FloatArray
from features.bars import DEFAULT_TIMEFRAMES, Timeframe
from features.causality import feature_look_ahead, telling_cuts
from features.definition import Definition, Kernel, feature
from features.engine import compute
from features.market import Market
from features.predictions import is_prediction
from features.registry import Registry, standard_registry
from strategies.language.columns import Program, Truth
from strategies.language.values import LanguageError
from strategies.untrusted.compiler import compile_expression
from strategies.untrusted.sandbox import Limits, first_evaluation
from strategies.untrusted.source_text import plain_text
from strategies.validation.checks import factors, scaled

PREFIX: Final = "written_"
"""Of the names of written features."""
CUTS: Final = 3
"""Bars drawn at random after which the future is taken away, beside the peculiar ones."""
MOST_NULL: Final = 0.5
"""Share of sound bars on which an input may be unknown."""


def written_feature(text: str, about: str, registry: Registry | None = None) -> Definition:
    """Return the feature that an expression describes, without importing or executing it.

    Parameters
    ----------
    text : str
        One expression of the strategy language, such as ``zscore(f.rsi_14, 60) * f.volume_ratio_20``; of numbers.
    about : str
        Its description.
    registry : Registry, optional
        Features that it may read, candle columns beside them.

    Returns
    -------
    Definition
        Called `written_` and twelve digits of the text's hash, so that another text is another feature.

    Raises
    ------
    RefusedError
        If the text is anything else; the message names line, node and reason.
    LanguageError
        If it is a truth value, or reads a model's prediction: models must not be trained on models.
    """
    features = registry or standard_registry()
    value = compile_expression(text)
    if value.kind != "number":
        msg = "a feature of a model is a number; write where(condition, 1, 0)"
        raise LanguageError(msg)
    names = list(Program([value]).features)
    predicted = [name for name in names if any(is_prediction(part) for part in (name, name.split(":", 1)[-1]))]
    if predicted or not names:
        msg = f"it reads {', '.join(predicted) or 'no feature'}; an input is made of features, not of predictions"
        raise LanguageError(msg)
    own = [request for request in features.requests(names) if not request.foreign]
    if value.lookback and len(own) < len(names):
        msg = "words that look back take features of the bars themselves, not of other timeframes or symbols"
        raise LanguageError(msg)
    window = value.lookback + max((features.window(request.feature) for request in own), default=1)
    warmups = [features.warmup(request, timeframe) for request in own for timeframe in DEFAULT_TIMEFRAMES]
    longest = value.lookback + max(warmups, default=0)

    def build() -> Kernel:
        return _kernel(text)

    build.__doc__ = " ".join(about.split()) or "Written as text."
    name = f"{PREFIX}{text_hash(text)[:12]}"
    return feature(name, unit="number", warmup=longest, window=window, nulls="a part of it is null")(build)


def text_hash(text: str) -> str:
    """Return the SHA-256 of an expression, without the blanks around it."""
    return hashlib.sha256(text.strip().encode()).hexdigest()


def reads_of(definition: Definition) -> tuple[str, ...]:
    """Return the features and candle columns in a written feature, sorted."""
    formula = definition.build()
    assert isinstance(formula, Kernel)  # noqa: S101  # a written feature is nothing else
    return formula.inputs


def _kernel(text: str) -> Kernel:
    """Return what computes an expression from arrays of what it reads."""
    program = Program([compile_expression(text)])

    def values(*columns: FloatArray) -> FloatArray:
        (found,) = program.run(dict(zip(program.features, columns, strict=True)), len(columns[0]))
        assert not isinstance(found, Truth)  # noqa: S101  # `written_feature` takes numbers alone
        return np.array(found)

    return Kernel(values, program.features)


def trial_problem(text: str, market: Market, timeframe: Timeframe, limits: Limits | None = None, seed: int = 0) -> str:
    """Return why the child process of first evaluations refuses an expression; '' where it does not.

    Parameters
    ----------
    text : str
        An unchecked expression; this check comes before `written_feature`.
    market : Market
        A few thousand bars of each timeframe.
    timeframe : Timeframe
        Bars on which it is to be read.
    limits : Limits, optional
        Of the child: CPU and wall time, memory, no environment, no network.
    seed : int
        Of the checks.

    Returns
    -------
    str
        The reason, or ''.
    """
    wrapped = _AS_STRATEGY.format(timeframe=timeframe, text=plain_text(text).strip())
    return first_evaluation(wrapped, market, limits, seed=seed).reason


_AS_STRATEGY: Final = '''class WrittenInput(Strategy):
    """An input, read as the child process reads strategies. Edge: none. Fails: always."""

    name = "written_input"
    timeframes = ("{timeframe}",)

    def detect(self, f):
        return Signal(long_entry=(
{text}
) > 0)
'''


def problems(
    definition: Definition,
    market: Market,
    *,
    timeframes: Sequence[Timeframe] = DEFAULT_TIMEFRAMES,
    cuts: int = CUTS,
    seed: int = 0,
    registry: Registry | None = None,
) -> list[str]:
    """Return why a feature may not be an input of a model; empty where it may.

    Parameters
    ----------
    definition : Definition
        Of `written_feature`.
    market : Market
        Candles of every timeframe and funding; long enough for its warm-up.
    timeframes : sequence of Timeframe
        Bars on which it is to be read.
    cuts, seed
        Of the causality test.
    registry : Registry, optional
        Features that it reads.

    Returns
    -------
    list of str
        One reason for each failed check.

    Notes
    -----
    *Causality*: its values up to a moment stay the same when the future is removed or replaced by noise.
    *Scale*: they stay the same when all prices are multiplied by a constant and volumes divided by it. It also has to
    be known on at least half of the sound bars after its warm-up, and to differ between them.
    """
    extended = (registry or standard_registry()).extended([definition])
    name = definition.pattern
    messages = []
    for timeframe in timeframes:
        moments = telling_cuts(market, timeframe, cuts, seed)
        seen = feature_look_ahead([name], market, timeframe, moments, extended)
        messages += [f"it looks ahead on {timeframe}: {finding}" for finding in seen]
        plain = _values(name, market, timeframe, extended)
        others = [_values(name, scaled(market, factor), timeframe, extended) for factor in factors(market, seed)]
        if not all(np.allclose(plain, other, rtol=1e-6, atol=1e-9, equal_nan=True) for other in others):
            messages.append(f"on {timeframe} its values change with the unit of prices: use ratios")
        sound = plain[~np.isnan(plain)]
        if len(sound) < (1 - MOST_NULL) * len(plain):
            messages.append(f"on {timeframe} it is unknown on {1 - len(sound) / max(len(plain), 1):.0%} of the bars")
        elif np.ptp(sound) == 0:
            messages.append(f"on {timeframe} it is the same on every bar")
    return messages


def _values(name: str, market: Market, timeframe: Timeframe, registry: Registry) -> np.typing.NDArray[np.float64]:
    """Return the values on sound bars after the warm-up, NaN where unknown."""
    frame = compute(
        market.candles[timeframe],
        [name],
        market.funding,
        timeframe=timeframe,
        registry=registry,
        others=market.candles,
        positioning=market.positioning,
    )
    warmup = registry.warmup(registry.request(name), timeframe)
    late = frame.filter(pl.col("flag").is_null(), pl.int_range(pl.len()).over("symbol") >= warmup)
    values: np.typing.NDArray[np.float64] = late[name].to_numpy()
    return values
