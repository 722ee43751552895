"""MAP-Elites: one elite for each way of trading, so that the search keeps many different strategies.

Belongs here: the cells, which trial lives in a cell, which elites are alike. Does not belong here: making genomes
(`strategies.search.map_elites.genome`), their fitness (`strategies.search.map_elites.fitness`).

Source: Mouret & Clune, "Illuminating search spaces by mapping elites" (2015).
"""

import math
from bisect import bisect_right
from typing import Final, TypeAlias

import numpy as np

from features.array_types import FloatArray
from features.bars import DEFAULT_TIMEFRAMES
from strategies.search.map_elites.fitness import Trial
from strategies.search.map_elites.genome import DIRECTIONS

Cell: TypeAlias = tuple[int, int, int, int]
"""Timeframe (the shortest of those scored), turnover, direction, holding time."""

TURNOVER: Final = (0.5, 2.0, 6.0)
"""Edges of turnover: trades a day and lane."""
HOLDING: Final = (0.5, 1.5, 6.0)
"""Edges of holding time: hours of a mean trade."""
CELLS: Final = len(DEFAULT_TIMEFRAMES) * (len(TURNOVER) + 1) * len(DIRECTIONS) * (len(HOLDING) + 1)
ALIKE: Final = 0.97
"""Correlation of hourly returns from which two elites count as one; the fitter one stays."""


def cell_of(trial: Trial) -> Cell:
    """Return the way of trading of a trial."""
    genome = trial.genome
    return (
        min(DEFAULT_TIMEFRAMES.index(timeframe) for timeframe in genome.timeframes),
        bisect_right(TURNOVER, trial.trades_a_day),
        DIRECTIONS.index(genome.direction),
        bisect_right(HOLDING, trial.held_hours),
    )


class Archive:
    """The elites of a search, by cell."""

    def __init__(self) -> None:
        self._elites: dict[Cell, Trial] = {}
        self._forms: dict[Cell, FloatArray] = {}

    def __len__(self) -> int:
        return len(self._elites)

    @property
    def coverage(self) -> float:
        """Share of the cells that hold an elite."""
        return len(self._elites) / CELLS

    def elites(self) -> list[tuple[Cell, Trial]]:
        """Return cells and elites, in the order of the cells."""
        return sorted(self._elites.items(), key=lambda pair: pair[0])

    def offer(self, trial: Trial) -> bool:
        """Keep a trial if it is the fittest of its cell and of all similar elites; return whether it was kept."""
        if not math.isfinite(trial.fitness):
            return False
        cell, form = cell_of(trial), _standardised(trial.returns)
        if form is None or not _fitter(trial, self._elites.get(cell)):
            return False
        alike = [other for other, held in self._forms.items() if other != cell and float(held @ form) >= ALIKE]
        if any(not _fitter(trial, self._elites[other]) for other in alike):
            return False
        for other in alike:
            del self._elites[other], self._forms[other]
        self._elites[cell], self._forms[cell] = trial, form
        return True


def _fitter(trial: Trial, than: Trial | None) -> bool:
    """Whether a trial is fitter; of equals the first stays."""
    return than is None or trial.fitness > than.fitness


def _standardised(returns: FloatArray) -> FloatArray | None:
    """Return the returns with mean 0 and length 1, so that a product of two is their correlation."""
    centred = returns - returns.mean()
    length = float(np.sqrt(centred @ centred))
    return centred / length if length > 0.0 else None
