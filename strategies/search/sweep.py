"""Every point of a grid of parameters, or a sample of it, on one panel, or of a book on one market.

Belongs here: which points there are, and running them, many in one call of the kernel. Does not belong here: what a
range may be and how it is typed (`blofin_assets.cli.idea`), who is a neighbour (`backtester.statistics.plateau`), a
search that learns from what it saw (`strategies.search.tuning`).
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from backtester.evaluation.book_evaluation import PreparedMarket
from backtester.evaluation.pooling import PooledResult, pool
from backtester.evaluation.ranking import best_row
from backtester.simulation.lanes import Lane, run_arrays
from features.array_types import FloatArray, IntArray
from strategies.language.book import Book
from strategies.language.strategy import Param, Strategy
from strategies.search.panel import Panel
from strategies.search.tuning import GRID, S, Tunable

BATCH: Final = 64
"""Points whose lanes share one call of the kernel."""

METRICS: Final = (
    "score", "sharpe", "sharpe_se", "trades", "win_rate", "avg_pnl_pct", "total_pnl_pct", "max_drawdown",
)  # fmt: skip
"""Of each point, with the meaning of `backtester.PooledResult`."""


@dataclass(frozen=True)
class Axis:
    """One parameter and the values that it takes.

    Attributes
    ----------
    name : str
        The parameter.
    values : tuple of float
        Ascending; one where it is fixed.
    """

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Swept:
    """The points that were run.

    Attributes
    ----------
    axes : tuple of Axis
        Parameters with several values, then those that were fixed.
    places : ndarray of shape (n_points, n_axes), int64
        Each point's place on each axis.
    frame : DataFrame of n_points rows
        A column for each axis, `version`, `params` (all of them, as JSON), and `METRICS`, null where undefined.
    refused : dict of str to int
        Why other points could not be run, and how many.
    """

    axes: tuple[Axis, ...]
    places: IntArray
    frame: pl.DataFrame
    refused: Mapping[str, int]

    @property
    def moving(self) -> tuple[Axis, ...]:
        """The axes with several values."""
        return tuple(axis for axis in self.axes if len(axis.values) > 1)

    @property
    def sharpe(self) -> FloatArray:
        """Annualised Sharpe ratio of each point, shape (n_points,); NaN where it is undefined."""
        return self.frame["sharpe"].to_numpy()

    @property
    def best(self) -> int | None:
        """Row of the highest Sharpe ratio with enough trades; None where no point has both."""
        return best_row(self.sharpe, self.frame["trades"].to_numpy())

    def parameters(self, row: int) -> dict[str, float]:
        """Return the values of a point by name."""
        return {axis.name: axis.values[place] for axis, place in zip(self.axes, self.places[row], strict=True)}


def step_of(param: Param[Any]) -> float:
    """Return the step of a range whose step was not given: the parameter's own, else as tuning cuts its range."""
    span = float(param.high - param.low)
    return float(param.step or (math.ceil(span / GRID) if param.whole else span / GRID)) or 1.0


def grid(axes: Sequence[Axis]) -> IntArray:
    """Return every point, the last axis running fastest.

    Parameters
    ----------
    axes : sequence of Axis
        At least one.

    Returns
    -------
    ndarray of shape (n_points, n_axes), int64
        Places on the axes.
    """
    places: IntArray = np.indices([len(axis.values) for axis in axes]).reshape(len(axes), -1).T.astype(np.int64)
    return places


def sobol(axes: Sequence[Axis], points: int, seed: int) -> IntArray:
    """Return points of a scrambled Sobol sequence, each once.

    Parameters
    ----------
    axes : sequence of Axis
        At least one.
    points : int
        How many are drawn; fewer are returned where several fall on the same values.
    seed : int
        Of the scrambling.

    Returns
    -------
    ndarray of shape (n_points, n_axes), int64
        Places on the axes, in order of drawing.
    """
    from scipy.stats import qmc  # noqa: PLC0415 - a second of imports that a grid does not need

    counts = np.array([len(axis.values) for axis in axes])
    drawn = qmc.Sobol(len(axes), scramble=True, rng=np.random.default_rng(seed))
    unit = drawn.random_base2(max(points - 1, 1).bit_length())[:points]  # balanced only in powers of two
    places = np.minimum((unit * counts).astype(np.int64), counts - 1)
    _, first = np.unique(places, axis=0, return_index=True)
    distinct: IntArray = places[np.sort(first)]
    return distinct


def sweep(
    panel: Panel,
    strategy: Strategy,
    axes: Sequence[Axis],
    places: IntArray,
    *,
    ran: Callable[[int], object] = lambda _: None,
) -> Swept:
    """Run every point on the panel's lanes that the strategy is scored on.

    Parameters
    ----------
    panel : Panel
        Of the window.
    strategy : Strategy
        Whose parameters are changed; those on no axis stay as they are.
    axes : sequence of Axis
        What the places mean.
    places : ndarray of shape (n_points, n_axes), int64
        As `grid` or `sobol` gives them.
    ran : callable
        Called after each batch with the number of its points.

    Returns
    -------
    Swept
        In the order of `places`; a point whose strategy cannot be run is left out and counted.

    Notes
    -----
    Each point gives the numbers of `Panel.run`: no result depends on the points beside it.
    """
    kinds = _kinds(axes)
    frames: list[pl.DataFrame] = []
    kept: list[int] = []
    refused: Counter[str] = Counter()
    for first in range(0, len(places), BATCH):
        batch = range(first, min(first + BATCH, len(places)))
        made = dict(_made(strategy, axes, places, batch, refused))
        with suppress(ValueError):  # each one that cannot be run says so below
            panel.warm(made.values())
        versions: list[tuple[int, Strategy, list[Lane]]] = []
        for row, version in made.items():
            try:
                versions.append((row, version, panel.packed(version)))
            except ValueError as error:  # such as a feature whose window these values make too long
                refused[str(error)] += 1
        rows = []
        for (row, version, _), pooled in zip(versions, _pooled(versions), strict=True):
            kept.append(row)
            rows.append(_point(axes, version, {name: getattr(pooled, name) for name in METRICS}))
        frames.append(pl.DataFrame(rows, schema=kinds))
        ran(len(batch))
    return Swept(tuple(axes), places[kept], pl.concat([pl.DataFrame(schema=kinds), *frames]), dict(refused))


def sweep_book(
    prepared: PreparedMarket,
    book: Book,
    axes: Sequence[Axis],
    places: IntArray,
    *,
    start: datetime,
    ran: Callable[[int], object] = lambda _: None,
) -> Swept:
    """Run every point of a book from `start` to the end of a market.

    Parameters
    ----------
    prepared : PreparedMarket
        Of the book's timeframe, from as early as the slowest point needs.
    book : Book
        Whose parameters are changed; those on no axis stay as they are.
    axes, ran
        As for `sweep`.
    places : ndarray of shape (n_points, n_axes), int64
        As for `sweep`.
    start : datetime
        Opening time of the first bar that may trade (UTC).

    Returns
    -------
    Swept
        As of `sweep`; each point gives the metrics of `PreparedMarket.backtest`.
    """
    rows: list[dict[str, Any]] = []
    kept: list[int] = []
    refused: Counter[str] = Counter()
    for first in range(0, len(places), BATCH):
        batch = range(first, min(first + BATCH, len(places)))
        made = dict(_made(book, axes, places, batch, refused))
        with suppress(ValueError, LookupError):  # each one that cannot be run says so below
            prepared.columns({name for version in made.values() for name in version.features()})
        for row, version in made.items():
            try:
                metrics = prepared.backtest(version, start=start).metrics()
            except (ValueError, LookupError) as error:
                refused[str(error)] += 1
                continue
            kept.append(row)
            rows.append(_point(axes, version, {name: metrics[name] for name in METRICS}))
        ran(len(batch))
    return Swept(tuple(axes), places[kept], pl.DataFrame(rows, schema=_kinds(axes)), dict(refused))


def _kinds(axes: Sequence[Axis]) -> dict[str, Any]:
    """Return the schema of `Swept.frame`."""
    kinds: dict[str, Any] = {axis.name: pl.Float64 for axis in axes}
    return kinds | {"version": pl.String, "params": pl.String, **dict.fromkeys(METRICS, pl.Float64), "trades": pl.Int64}


def _point(axes: Sequence[Axis], version: Tunable, metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """Return the row of a point."""
    values = {axis.name: version.parameters[axis.name] for axis in axes}
    params = json.dumps(version.parameters, sort_keys=True)
    return {**values, "version": version.version, "params": params, **metrics}


def _made(
    strategy: S, axes: Sequence[Axis], places: IntArray, rows: Iterable[int], refused: Counter[str]
) -> Iterator[tuple[int, S]]:
    """Give the versions of some rows; one that cannot be is counted."""
    for row in rows:
        values = {axis.name: axis.values[place] for axis, place in zip(axes, places[row], strict=True)}
        try:
            yield row, strategy.with_parameters(**values)
        except ValueError as error:
            refused[str(error)] += 1


def _pooled(versions: Sequence[tuple[int, Strategy, list[Lane]]]) -> Iterator[PooledResult]:
    """Run the lanes of some versions in one call, and pool the scored ones of each."""
    scored = [[lane for lane in lanes if lane.bars.timeframe in version.timeframes] for _, version, lanes in versions]
    output = run_arrays([lane for lanes in scored for lane in lanes])
    first = 0
    for lanes in scored:
        yield pool([output.result(index) for index in range(first, first + len(lanes))])
        first += len(lanes)
