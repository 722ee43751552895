"""MAP-Elites: one elite for each way of trading, so that the search keeps many different ones.

Belongs here: which trial lives in a cell, which elites are alike. Does not belong here: the cells
(`strategies.search.map_elites.styles`, `strategies.search.books.fitness`), making genomes and their fitness.

Source: Mouret & Clune, "Illuminating search spaces by mapping elites" (2015).
"""

import math
from typing import Final, Generic

import numpy as np

from features.array_types import FloatArray
from strategies.search.map_elites.trials import Cell, G, Trial

ALIKE: Final = 0.97
"""Correlation of returns from which two elites count as one; the fitter one stays."""


class Archive(Generic[G]):
    """The elites of a search, by cell.

    Parameters
    ----------
    cells : int
        How many there are.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._elites: dict[Cell, Trial[G]] = {}
        self._forms: dict[Cell, FloatArray] = {}

    def __len__(self) -> int:
        return len(self._elites)

    @property
    def coverage(self) -> float:
        """Share of the cells that hold an elite."""
        return len(self._elites) / self._cells

    def elites(self) -> list[tuple[Cell, Trial[G]]]:
        """Return cells and elites, in the order of the cells."""
        return sorted(self._elites.items(), key=lambda pair: pair[0])

    def offer(self, trial: Trial[G]) -> bool:
        """Keep a trial if it is the fittest of its cell and of all similar elites; return whether it was kept."""
        if not math.isfinite(trial.fitness):
            return False
        cell, form = trial.cell, standardised(trial.returns)
        if form is None or not _fitter(trial, self._elites.get(cell)):
            return False
        alike = [other for other, held in self._forms.items() if other != cell and float(held @ form) >= ALIKE]
        if any(not _fitter(trial, self._elites[other]) for other in alike):
            return False
        for other in alike:
            del self._elites[other], self._forms[other]
        self._elites[cell], self._forms[cell] = trial, form
        return True


def _fitter(trial: Trial[G], than: Trial[G] | None) -> bool:
    """Whether a trial is fitter; of equals the first stays."""
    return than is None or trial.fitness > than.fitness


def standardised(values: FloatArray) -> FloatArray | None:
    """Return values with mean 0 and length 1, so that a product of two is their correlation; None if all are equal.

    `values` has shape (n,).
    """
    centred = values - values.mean()
    length = float(np.sqrt(centred @ centred))
    return centred / length if length > 0.0 else None
