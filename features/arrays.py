"""Features of one unbroken series as plain arrays, for code without frames.

Belongs here: the plan and formulas of `engine`, from arrays to arrays. Does not belong here: symbols, flagged bars,
gaps and other timeframes, which only frames can represent.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from features.array_types import FloatArray
from features.definition import Feature, Kernel
from features.plan import Plan
from features.registry import Registry, standard_registry


def compute_arrays(
    columns: Mapping[str, FloatArray], names: Iterable[str], *, threads: int = 2, registry: Registry | None = None
) -> dict[str, FloatArray]:
    """Return features of consecutive, sound bars of one symbol.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_bars,), float64
        Those of ``open, high, low, close, volume, quote_volume`` that the features read; NaN where unknown.
    names : iterable of str
        Features of these bars, without prefixes. Features of time, funding and positioning are not available
        here.
    threads : int
        Columns that are computed concurrently.
    registry : Registry, optional
        The known features; by default those of this package.

    Returns
    -------
    dict of str to ndarray of shape (n_bars,), float64
        NaN for null, 0 and 1 for false and true; equal to `engine.compute` on bars without flags and gaps. The arrays
        may be those of `columns` or of each other: copy before writing.

    Raises
    ------
    LookupError
        If a feature is unknown or a column that it reads is not given.
    ValueError
        If a parameter is out of range.

    Notes
    -----
    No look-ahead: the value of a bar depends only on that bar and those before it.

    Examples
    --------
    >>> compute_arrays({"close": np.array([1.0, 2.0, 6.0])}, ["sma_2"])["sma_2"]
    array([nan, 1.5, 4. ])
    """
    known = registry or standard_registry()
    requests = known.requests(names)
    plan = Plan.of(requests, known)
    if plan.foreign:
        msg = f"feature {plan.foreign[0].name!r} reads other bars; use compute or FeatureManager"
        raise LookupError(msg)
    values = dict(columns)
    _require([request.feature for request in requests if request.name not in plan.outputs], values, known)
    with ThreadPoolExecutor(threads) as pool:
        for level in plan.levels:
            _require(level, values, known)
            computed = pool.map(lambda feature: _evaluate(feature, values), level)
            values.update(zip((feature.name for feature in level), list(computed), strict=True))
    asked = {request.name: plan.outputs.get(request.name, request.name) for request in requests}
    return {name: _started(values[column], plan.windows[name]) for name, column in asked.items()}


def _evaluate(feature: Feature, values: Mapping[str, FloatArray]) -> FloatArray:
    formula = feature.formula()
    if isinstance(formula, Kernel):
        return formula.function(*(_frozen(values[name]) for name in formula.inputs), *formula.arguments)
    frame = pl.DataFrame({name: values[name] for name in formula.meta.root_names()}, nan_to_null=True)
    column = frame.select(formula.cast(feature.definition.dtype).cast(pl.Float64)).to_series()
    array: FloatArray = column.to_numpy().copy()
    array[np.isinf(array)] = np.nan
    return array


def _frozen(array: FloatArray) -> FloatArray:
    """Return a read-only view, the one type of array for which kernels are compiled."""
    view = array.view()
    view.flags.writeable = False
    return view


def _started(array: FloatArray, window: int) -> FloatArray:
    """Return the values with NaN before there are as many bars as the definition reads."""
    head = array[: window - 1]
    if not np.isnan(head).all():
        array = array.copy()
        array[: window - 1] = np.nan
    return array


def _require(level: Iterable[Feature], values: Mapping[str, FloatArray], registry: Registry) -> None:
    for feature in level:
        _, plain = registry.reads(feature)
        missing = sorted(plain - set(values))
        if missing:
            msg = (
                f"feature {feature.name!r} reads {', '.join(missing)}, which is not given; there is {', '.join(values)}"
            )
            raise LookupError(msg)
