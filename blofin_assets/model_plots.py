"""Pictures of one model for Dagster's metadata: what it got right, and whether its probabilities mean what they say.

Belongs here: pictures made from predictions out of sample. Does not belong here: plots of the report
(`reporting.plots`), measuring (`model_zoo.validation`).
"""

import polars as pl
from matplotlib.figure import Figure

from model_zoo.validation import Reliability


def model_figure(predictions: pl.DataFrame, found: Reliability, event: str) -> Figure:
    """Return the confusion matrix beside the calibration curve.

    Parameters
    ----------
    predictions : DataFrame
        `probability` and `label_event`; rows without either are left out.
    found : Reliability
        Of the same predictions.
    event : str
        What the probability is of, in words.
    """
    figure = Figure(figsize=(9, 4))  # placed by hand: finding the places takes as long as drawing
    left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.09, "right": 0.98, "top": 0.84, "bottom": 0.13})
    counts = confusion(predictions)
    left.imshow(counts, cmap="Blues", vmin=0)
    largest = max(1, *map(max, counts))
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            ink = "white" if 2 * count > largest else "black"
            left.text(column, row, f"{count:,}", ha="center", va="center", color=ink)
    left.set_xticks([0, 1], ["said no", "said yes"])
    left.set_yticks([0, 1], ["was not", "was"])
    left.set_title("confusion matrix, holdout", fontsize=9)
    right.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, label="calibrated")
    if found.bins:
        right.plot([said for said, _, _ in found.bins], [share for _, share, _ in found.bins], "o-", color="#2563eb")
        said = [each for each, _, _ in found.bins]
        room = max(0.02, (max(said) - min(said)) / 10)
        right.set_xlim(min(said) - room, max(said) + room)
    error = "" if found.error is None else f", mean distance {found.error:.3f}"
    right.set_title(f"calibration, holdout{error}", fontsize=9)
    right.set_xlabel("probability said")
    right.set_ylabel("share that happened")
    right.grid(alpha=0.25)
    figure.suptitle(f"probability that {event}", fontsize=9)
    return figure


def confusion(predictions: pl.DataFrame) -> list[list[int]]:
    """Return counts of [what happened][what was said], no before yes."""
    known = predictions.drop_nulls(["probability", "label_event"])
    said = known["probability"] > 0.5  # noqa: PLR2004 - the more likely class
    event = known["label_event"].cast(pl.Boolean)
    return [[int(((event == was) & (said == yes)).sum()) for yes in (False, True)] for was in (False, True)]
