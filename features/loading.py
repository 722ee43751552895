"""A user's own features: read from a folder, tested, and added to the known ones.

Belongs here: finding and importing the files, and refusing features that look ahead or state too short a warm-up. Does
not belong here: the decorator that the files use (`definition`), untrusted code (strategies written by a language
model go through the sandbox of `strategies`, never through here).
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import polars as pl

from features.bars import Timeframe
from features.causality import feature_look_ahead, telling_cuts
from features.definition import Definition
from features.engine import compute
from features.market import Market, example_market
from features.registry import Registry, definitions_of, standard_registry

WARMUP_TOLERANCE: Final = 1e-6
"""Relative difference that a value may still have after the stated warm-up."""

_CUTS = 6


class FeatureRefusedError(ValueError):
    """A feature that looks ahead, states too short a warm-up, or raises an error."""


def load_folder(folder: Path, registry: Registry | None = None) -> Registry:
    """Return the known features and those of all ``*.py`` files in a folder, in order of file names.

    Parameters
    ----------
    folder : Path
        Files that use `features.feature`; names that begin with an underscore are skipped.
    registry : Registry, optional
        The features known so far; by default those of this package.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    FeatureRefusedError
        If a file cannot be read or one of its features fails its tests; the message names file, feature and reason.
    """
    if not folder.is_dir():
        msg = f"no folder {folder} with feature files; make it, or name another"
        raise FileNotFoundError(msg)
    known = registry or standard_registry()
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        new = definitions_of(_module(path))
        try:
            known = known.extended(new)
            refuse_unsound(new, known)
        except Exception as error:  # a user's formula can raise anything
            kind = "" if isinstance(error, ValueError | LookupError | TypeError) else f"{type(error).__name__}: "
            msg = f"{path}: {kind}{error}"
            raise FeatureRefusedError(msg) from error
    return known


def refuse_unsound(definitions: Sequence[Definition], registry: Registry) -> None:
    """Refuse features that look ahead or state too short a warm-up.

    They are tested on an invented market with gaps, flagged bars and unknown volumes, on 1m and 5m bars.

    Parameters
    ----------
    definitions : sequence of Definition
        Features to test.
    registry : Registry
        The known features, these included.

    Raises
    ------
    FeatureRefusedError
        For the first feature that fails; the text says how.
    """
    if not definitions:
        return
    market = example_market(2400)
    names = [definition.example for definition in definitions]
    for timeframe in ("1m", "5m"):
        cuts = telling_cuts(market, timeframe, _CUTS, seed=3)
        seen = feature_look_ahead(names, market, timeframe, cuts, registry)
        if seen:
            msg = f"feature {seen[0].column} looks ahead: {seen[0]}"
            raise FeatureRefusedError(msg)
    for name in names:
        error = warmup_error(name, market, "1m", registry)
        if error > WARMUP_TOLERANCE:
            warmup = registry.warmup(registry.request(name), "1m")
            msg = f"feature {name} states a warm-up of {warmup} bars; its error is then still {error:.1e}"
            raise FeatureRefusedError(msg)


def warmup_error(
    name: str, market: Market, timeframe: Timeframe, registry: Registry | None = None, places: int = 5
) -> float:
    """Measure how much a feature's value after its stated warm-up still depends on where the data begin.

    Parameters
    ----------
    name : str
        The feature.
    market : Market
        The data.
    timeframe : Timeframe
        Bars on which it is computed.
    registry : Registry, optional
        The known features; by default those of this package.
    places : int, optional
        Bars of each symbol at which it is measured.

    Returns
    -------
    float
        Largest relative difference, over `places` bars of each symbol, between the value with exactly the warm-up
        before it and that with the whole history. The scale is the value or, if larger, a hundredth of the feature's
        typical size. Infinite if only one of them is null.
    """
    known = registry or standard_registry()
    warmup = known.warmup(known.request(name), timeframe)
    worst = 0.0
    for _, frame in market.candles[timeframe].filter(pl.col("flag").is_null()).group_by("symbol"):
        bars = frame.sort("ts")
        whole = _values(bars, name, market, timeframe, known)
        size = float(np.nanmedian(np.abs(whole))) if np.isfinite(whole).any() else 0.0
        for row in np.linspace(warmup, bars.height - 1, places).astype(int):
            if row < warmup or row >= bars.height:
                continue
            part = _values(bars.slice(row - warmup, warmup + 1), name, market, timeframe, known)
            worst = max(worst, _relative(whole[row], part[-1], size / 100))
    return worst


def _values(
    bars: pl.DataFrame, name: str, market: Market, timeframe: Timeframe, registry: Registry
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    frame = compute(
        bars,
        [name],
        market.funding,
        timeframe=timeframe,
        registry=registry,
        others=market.candles,
        predictions=market.predictions,
        positioning=market.positioning,
    )
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = frame[name].cast(pl.Float64).to_numpy()
    return values


def _relative(one: float, other: float, scale: float) -> float:
    if np.isnan(one) and np.isnan(other):
        return 0.0
    if np.isnan(one) or np.isnan(other):
        return float("inf")
    return float(abs(one - other) / max(abs(one), abs(other), scale, np.finfo(float).tiny))


def _module(path: Path) -> ModuleType:
    """Import a file under a name of its own."""
    name = f"user_features_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"{path} is not a Python file"
        raise FeatureRefusedError(msg)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        msg = f"{path} could not be read: {type(error).__name__}: {error}"
        raise FeatureRefusedError(msg) from error
    return module
