"""Returns of which the truth is known: without an edge, with a standard deviation of 1.

Belongs here: drawing them. Does not belong here: what is measured on them (`run_sharpe`, `run_e_process`).
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from features.array_types import FloatArray

Draw = Callable[[np.random.Generator, int, int], FloatArray]
"""Draws some records of some periods; shape (records, periods)."""

_WARM: Final = 100
"""Periods drawn and dropped, so that a series does not begin at rest."""


def gaussian(rng: np.random.Generator, records: int, periods: int) -> FloatArray:
    """Return normal returns.

    Parameters
    ----------
    rng : Generator
        Where they are drawn from.
    records, periods : int
        Numbers of rows and columns.

    Returns
    -------
    FloatArray of shape (records, periods)
        Mean 0, standard deviation 1.
    """
    return rng.standard_normal((records, periods))


def heavy(rng: np.random.Generator, records: int, periods: int) -> FloatArray:
    """Return Student's t with three degrees of freedom, scaled to a standard deviation of 1.

    Parameters
    ----------
    rng, records, periods
        As in `gaussian`.

    Returns
    -------
    FloatArray of shape (records, periods)
        Mean 0, standard deviation 1.
    """
    return rng.standard_t(3, (records, periods)) / np.sqrt(3.0)


def garch(rng: np.random.Generator, records: int, periods: int) -> FloatArray:
    """Return normal returns whose variance follows GARCH(1, 1) with 0.05, 0.1 and 0.85.

    Parameters
    ----------
    rng, records, periods
        As in `gaussian`.

    Returns
    -------
    FloatArray of shape (records, periods)
        Mean 0, standard deviation 1.
    """
    shocks = rng.standard_normal((records, periods + _WARM))
    returns, variance = np.zeros_like(shocks), np.ones(records)
    for at in range(1, periods + _WARM):
        variance = 0.05 + 0.1 * returns[:, at - 1] ** 2 + 0.85 * variance
        returns[:, at] = np.sqrt(variance) * shocks[:, at]
    return returns[:, _WARM:]


def autoregressive(phi: float) -> Draw:
    """Return a draw of AR(1) returns with coefficient `phi`."""

    def draw(rng: np.random.Generator, records: int, periods: int) -> FloatArray:
        shocks = rng.standard_normal((records, periods + _WARM)) * np.sqrt(1.0 - phi**2)
        returns = np.zeros_like(shocks)
        for at in range(1, periods + _WARM):
            returns[:, at] = phi * returns[:, at - 1] + shocks[:, at]
        return returns[:, _WARM:]

    return draw
