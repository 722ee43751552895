"""Plots of one model for Dagster's metadata: the confusion matrix and the calibration curve.

Belongs here: plots of out-of-sample predictions. Does not belong here: plots of the report
(`blofin_assets.reporting.pictures`), colours (`blofin_assets.shared.plots`), metrics
(`model_zoo.evaluation.metrics`).
"""

import polars as pl
from matplotlib.figure import Figure

from blofin_assets.shared.plots import COLOURS, GREY
from model_zoo.evaluation.metrics import Reliability


def model_figure(predictions: pl.DataFrame, reliability: Reliability, event: str) -> Figure:
    """Return the confusion matrix beside the calibration curve.

    Parameters
    ----------
    predictions : DataFrame
        `probability` and `label_event`; rows without one of them are left out.
    reliability : Reliability
        Of the same predictions.
    event : str
        The event whose probability is predicted, in words.

    Returns
    -------
    Figure
        Two panels.
    """
    figure = Figure(figsize=(9, 4))  # a fixed layout: computing one takes as long as drawing
    left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.09, "right": 0.98, "top": 0.84, "bottom": 0.13})
    counts = confusion(predictions)
    left.imshow(counts, cmap="Blues", vmin=0)
    largest = max(1, *map(max, counts))
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            ink = "white" if 2 * count > largest else "black"
            left.text(column, row, f"{count:,}", ha="center", va="center", color=ink)
    left.set_xticks([0, 1], ["predicted no", "predicted yes"])
    left.set_yticks([0, 1], ["was not", "was"])
    left.set_title("confusion matrix, holdout", fontsize=9)
    right.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, label="calibrated")
    if reliability.bins:
        right.plot(
            [predicted for predicted, _, _ in reliability.bins],
            [share for _, share, _ in reliability.bins],
            "o-",
            color=COLOURS[0],
        )
        predicted = [probability for probability, _, _ in reliability.bins]
        room = max(0.02, (max(predicted) - min(predicted)) / 10)
        right.set_xlim(min(predicted) - room, max(predicted) + room)
    error = "" if reliability.error is None else f", mean distance {reliability.error:.3f}"
    right.set_title(f"calibration, holdout{error}", fontsize=9)
    right.set_xlabel("predicted probability")
    right.set_ylabel("observed frequency")
    right.grid(alpha=0.25)
    figure.suptitle(f"probability that {event}", fontsize=9)
    return figure


def confusion(predictions: pl.DataFrame) -> list[list[int]]:
    """Return counts by true class (outer list) and predicted class (inner lists), no before yes."""
    labelled = predictions.drop_nulls(["probability", "label_event"])
    predicted = labelled["probability"] > 0.5  # noqa: PLR2004 - the more likely class
    event = labelled["label_event"].cast(pl.Boolean)
    return [[int(((event == was) & (predicted == yes)).sum()) for yes in (False, True)] for was in (False, True)]
