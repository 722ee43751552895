"""What to expect of each strategy or book of a cycle, from its holdouts and those of its peers.

Belongs here: which holdouts enter the panel, and what is known of a version without its results. Does not belong here:
the estimate (`backtester.statistics.expected`), ranking, which never reads it.

The panel has every version that took a holdout, not the chosen alone: the holdout that chose a version is unbiased only
beside those of all that it was chosen from. Its windows do not overlap. Strategies that hold for days have windows of
their own, hence a panel of their own, and so have books.

No look-ahead: holdouts of the cycle itself and of those before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from backtester.statistics.expected import HALF_LIFE, expected_ratios
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.population import Key
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.array_types import FloatArray

REACH: Final = timedelta(days=730)
"""How far back holdouts are read."""
MONTH: Final = timedelta(days=28)
"""What the interval is of."""
_EARLIER: Final = {
    Kind.STRATEGY: query("strategy_cycle/earlier_windows"),
    Kind.BOOK: query("strategy_cycle/earlier_book_windows"),
}
_FEW: Final = 3
"""Fewest versions that read a family of features, and that do not, for it to tell anything."""
_SCHEMA: Final[dict[str, Any]] = {
    **dict.fromkeys(("name", "version"), pl.String),
    **dict.fromkeys(("expected_sharpe", "expected_low", "expected_high"), pl.Float64),
    "expected_windows": pl.Int32,
}


def expected_rows(
    store: Warehouse,
    as_of: datetime,
    results: pl.DataFrame,
    families: Mapping[Key, Sequence[str]],
    kind: Kind = Kind.STRATEGY,
) -> pl.DataFrame:
    """Return what to expect of each version of a cycle.

    Parameters
    ----------
    store : Warehouse
        Where earlier holdouts are stored.
    as_of : datetime
        Of the cycle (UTC).
    results : DataFrame
        Of the cycle's own holdout: `name, version, window_start, window_end, sharpe, turnover, error`, the last the
        standard error of `sharpe`.
    families : mapping of Key to sequence of str
        Families of the features that a version reads.
    kind : Kind
        Strategy or book.

    Returns
    -------
    DataFrame
        `name, version, expected_sharpe, expected_low, expected_high, expected_windows`; nulls below what the estimate
        needs.
    """
    earlier = store.read(_EARLIER[kind], {"as_of": as_of, "since": as_of - REACH})
    own = results.with_columns(as_of=pl.lit(as_of)).select(earlier.columns).cast(earlier.schema)
    every = pl.concat([earlier, own]).with_columns(long=pl.col("window_end") - pl.col("window_start") > HOLDOUT_LENGTH)
    key = ["name", "version"]
    parts = [
        _expected(panel, families).join(own.select(key), on=key, how="semi")
        for _, panel in every.group_by("long", maintain_order=True)
    ]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *parts]).unique(
        ["name", "version"], keep="last", maintain_order=True
    )


def apart(windows: Sequence[tuple[datetime, datetime]]) -> list[datetime]:
    """Return the ends of windows that do not overlap, oldest first: the newest, the newest that ends before it, ...

    Examples
    --------
    >>> day = [datetime(2026, 1, number) for number in range(1, 31)]
    >>> [end.day for end in apart([(day[0], day[7]), (day[1], day[9]), (day[10], day[17])])]
    [10, 18]
    """
    kept: list[tuple[datetime, datetime]] = []
    for start, end in sorted(windows, key=lambda window: window[1], reverse=True):
        if not kept or end <= kept[-1][0]:
            kept.append((start, end))
    return [end for _, end in reversed(kept)]


def _expected(panel: pl.DataFrame, families: Mapping[Key, Sequence[str]]) -> pl.DataFrame:
    """Return what to expect of each version of a panel of windows of one length."""
    spans = panel.group_by("window_end").agg(pl.col("window_start").min())
    ends = apart(list(spans.select("window_start", "window_end").iter_rows()))
    used = panel.filter(pl.col("window_end").is_in(ends))
    keys = sorted(set(used.select("name", "version").iter_rows()))
    row, column = {key: place for place, key in enumerate(keys)}, {end: place for place, end in enumerate(ends)}
    ratios, errors = np.full((2, len(keys), len(ends)), np.nan)
    activity = np.full((len(keys), len(ends)), np.nan)
    for name, version, start, end, sharpe, turnover, error in used.select(
        "name", "version", "window_start", "window_end", "sharpe", "turnover", "error"
    ).iter_rows():
        at = row[name, version], column[end]
        ratios[at], errors[at] = sharpe, np.nan if error is None else error
        activity[at] = np.nan if turnover is None else turnover / ((end - start) / timedelta(days=1))
    length = max(end - start for start, end in spans.select("window_start", "window_end").iter_rows())
    step = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else length
    found = expected_ratios(
        ratios, errors, _known(keys, activity, families), part=length / MONTH, half_life=HALF_LIFE / step
    )
    columns = (found.ratio, found.low, found.high)
    named = dict(
        zip(_SCHEMA, ([key[0] for key in keys], [key[1] for key in keys], *columns, found.windows), strict=True)
    )
    return pl.DataFrame(named, schema=_SCHEMA, nan_to_null=True).with_columns(
        pl.when(pl.col("expected_sharpe").is_not_null()).then("expected_windows")
    )


def _known(keys: Sequence[Key], activity: FloatArray, families: Mapping[Key, Sequence[str]]) -> FloatArray:
    """Return what is known of versions without their results: turnover a day (logarithm), families of features."""
    there = np.isfinite(activity)
    mean = np.where(there, activity, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    counted = Counter(name for key in keys for name in families.get(key, ()))
    telling = sorted(
        (name for name, count in counted.items() if _FEW <= count <= len(keys) - _FEW),
        key=lambda name: (abs(2 * counted[name] - len(keys)), name),
    )
    flags = [[float(name in families.get(key, ())) for key in keys] for name in telling]
    return np.column_stack([np.log1p(mean), *(np.array(flag) for flag in flags)])
