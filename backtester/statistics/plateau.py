"""Whether the best of many parameter values stands among good neighbours, or alone.

Belongs here: who is a neighbour, and how many of them do as well. Does not belong here: running the points
(`strategies.search.sweep`), how much of the best is luck (`backtester.statistics.overfitting`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.array_types import FloatArray, IntArray

NEAREST: Final = 8
"""Neighbours of a point that is on no grid: as many as a point of a grid of two parameters has."""
ALONE: Final = 0.5
"""Share of neighbours within a standard error below which the best stands alone."""


@dataclass(frozen=True)
class Plateau:
    """The neighbours of the best point.

    Attributes
    ----------
    neighbours : int
        Points around it, those that never traded included.
    within : int
        Those whose value is at most one standard error below the best's.
    mean : float, optional
        Mean of their values; null where none has one.
    """

    neighbours: int
    within: int
    mean: float | None

    @property
    def share(self) -> float | None:
        """Share of the neighbours within one standard error; null without neighbours."""
        return self.within / self.neighbours if self.neighbours else None

    @property
    def alone(self) -> bool:
        """Whether fewer than half of the neighbours are within one standard error."""
        return self.share is not None and self.share < ALONE


def plateau(values: FloatArray, neighbours: IntArray, best: int, error: float) -> Plateau:
    """Return how the neighbours of the best point do.

    Parameters
    ----------
    values : ndarray of shape (n_points,)
        What is compared; NaN where a point has none, which is not within anything.
    neighbours : ndarray of shape (n_neighbours,), int64
        Their places in `values`.
    best : int
        The best point's place.
    error : float
        Standard error of its value.

    Returns
    -------
    Plateau
        Counts, and the mean of the neighbours that have a value.
    """
    around = values[neighbours]
    known = around[~np.isnan(around)]
    within = int(np.count_nonzero(known >= values[best] - error))
    return Plateau(len(around), within, float(known.mean()) if len(known) else None)


def neighbours_on_grid(places: IntArray, best: int) -> IntArray:
    """Return the points that differ from the best by at most one step on every axis.

    Parameters
    ----------
    places : ndarray of shape (n_points, n_axes), int64
        Each point's place on each axis.
    best : int
        A row of it.

    Returns
    -------
    ndarray of shape (n_neighbours,), int64
        Rows, the best's own left out.
    """
    near = (np.abs(places - places[best]) <= 1).all(axis=1)
    near[best] = False
    return np.flatnonzero(near)


def nearest(places: IntArray, best: int, count: int = NEAREST) -> IntArray:
    """Return the points nearest to the best, where every axis counts as long as the range that the points cover.

    Parameters
    ----------
    places : ndarray of shape (n_points, n_axes), int64
        Each point's place on each axis.
    best : int
        A row of it.
    count : int
        How many at most.

    Returns
    -------
    ndarray of shape (n_neighbours,), int64
        Rows, nearest first; of equal distances the first rows.
    """
    spans = np.maximum(np.ptp(places, axis=0), 1)
    distances = np.square((places - places[best]) / spans).sum(axis=1)
    order = np.argsort(distances, kind="stable")
    rows: IntArray = order[order != best][:count]
    return rows
