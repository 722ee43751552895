"""Importance of each input of a model, and its stability across folds.

Belongs here: permutation importance on validation folds (L. Breiman 2001, "Random forests"), its stability, what might
be dropped. Does not belong here: dropping anything (a person or `model_zoo.training.tuning` does).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.array_types import FloatArray
from model_zoo.models.base import Model, thinned

MOST_ROWS: Final = 2_000
"""Most rows of a fold that are used; labels of neighbours overlap almost completely."""
SHUFFLES: Final = 3
"""Permutations of each input and fold, whose mean is taken."""
SCHEMA: Final = pl.Schema(
    {
        "feature": pl.String(),
        "importance": pl.Float64(),
        "importance_sd": pl.Float64(),
        "folds": pl.Int32(),
        "folds_positive": pl.Int32(),
        "rank": pl.Int32(),
        "suggestion": pl.String(),
        "reason": pl.String(),
    }
)


class Suggestion(StrEnum):
    """What is suggested about an input; nothing is dropped by it alone."""

    KEEP = "keep"
    DROP = "drop"


def permutation_importance(folds: Sequence[tuple[Model, pl.DataFrame]], seed: int) -> pl.DataFrame:
    """Return how much shuffling each input increases the log-loss on rows that the model of a fold has not seen.

    Parameters
    ----------
    folds : sequence of (Model, DataFrame)
        At least one: the model of a fold, calibrated, and the fold's evaluation rows (its inputs, `ts`, `label_event`).
    seed : int
        Of the permutations.

    Returns
    -------
    DataFrame of shape (n_inputs, 8)
        `SCHEMA`, most important first. `importance` is the mean over folds of the rise in log-loss (nats) when the
        input's values change places among the fold's rows, `importance_sd` its standard deviation over folds,
        `folds_positive` the folds in which it rose. `suggestion` is 'drop' where the mean is not above 0 and it rose
        in at most half of the folds, else 'keep'. Redundant inputs share their importance: each of two may look
        worthless.
    """
    names = folds[0][0].spec.inputs
    rises = np.array([_rises(model, rows, seed) for model, rows in folds])
    frames = []
    for column, name in enumerate(names):
        rise = rises[:, column]
        mean, positive = float(rise.mean()), int((rise > 0).sum())
        useless = mean <= 0 and 2 * positive <= len(rise)
        frames.append(
            {
                "feature": name,
                "importance": mean,
                "importance_sd": float(rise.std(ddof=1)) if len(rise) > 1 else 0.0,
                "folds": len(rise),
                "folds_positive": positive,
                "suggestion": Suggestion.DROP if useless else Suggestion.KEEP,
                "reason": f"shuffled, log-loss changes by {mean:+.6f}; worse in {positive} of {len(rise)} folds",
            }
        )
    frames.sort(key=lambda row: (-float(str(row["importance"])), str(row["feature"])))
    return pl.DataFrame([{**row, "rank": place} for place, row in enumerate(frames, 1)], schema=SCHEMA)


def _rises(model: Model, rows: pl.DataFrame, seed: int) -> FloatArray:
    """Return the rise in log-loss for each input of one fold."""
    kept = thinned(rows.filter(pl.col("label_event").is_not_null()), MOST_ROWS)
    matrix, event = model.matrix(kept), kept["label_event"].to_numpy().astype(np.bool_)
    if not kept.height:
        return np.zeros(matrix.shape[1])
    plain = _losses(model, matrix, event)[0]
    rng = np.random.default_rng(seed)
    rises = np.zeros(matrix.shape[1])
    for _ in range(SHUFFLES):
        order = rng.permutation(kept.height)
        rises += (_losses(model, _shuffled(matrix, order), event) - plain) / SHUFFLES
    return rises


def _shuffled(matrix: FloatArray, order: npt.NDArray[np.int64]) -> FloatArray:
    """Return the matrix once for each of its columns, one below the other, with that column in another order."""
    rows, columns = matrix.shape
    copies = np.broadcast_to(matrix, (columns, rows, columns)).copy()
    for column in range(columns):
        copies[column, :, column] = matrix[order, column]
    return copies.reshape(-1, columns)


def _losses(model: Model, matrix: FloatArray, event: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the log-loss of each part of the matrix that has as many rows as there are events.

    All parts go through the model at once: what a call costs whatever its rows are would be most of the work.
    """
    probabilities = model.calibration.apply(model.raw(matrix)).reshape(-1, len(event))
    losses: FloatArray = -np.log(np.where(event, probabilities, 1 - probabilities)).mean(axis=1)
    return losses
