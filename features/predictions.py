"""Predictions of models as features: their names, and how they are read.

Belongs here: what `model:direction` and `ensemble:voting_direction_price` mean as features. Does not belong here:
making predictions (`model_zoo`), which model applied when (the `PredictionSource`).

A prediction is an external fact like a funding payment: the source provides it, and all rules of features (flagged
bars, other symbols, higher timeframes) apply to it. Its value at a bar is that of the latest model trained before the
bar's close, and null before the first one.
"""

import functools
import re
from typing import Final

import polars as pl

from features.bars import TIMEFRAMES
from features.definition import Definition, Feature, feature

PREDICTORS: Final = ("model", "ensemble")
"""Prefixes of predictions; the rest of the name is the model, without its timeframe."""

SAID: Final = "said:"
"""Prefix of the columns of bars that hold predictions as the source returned them."""

_NAME: Final = re.compile(r"(model|ensemble):[a-z][a-z0-9_]*")


def is_prediction(name: str) -> bool:
    """Return whether a name without symbol and timeframe is that of a prediction.

    Examples
    --------
    >>> is_prediction("model:direction"), is_prediction("rsi_14")
    (True, False)
    """
    return name.partition(":")[0] in PREDICTORS


@functools.cache
def prediction(name: str) -> Feature:
    """Return the feature of a prediction.

    Parameters
    ----------
    name : str
        As `model:direction`, `ensemble:stacking_direction_price`.

    Raises
    ------
    LookupError
        If it names no model.
    """
    if not _NAME.fullmatch(name) or name.rpartition("_")[2] in TIMEFRAMES:
        msg = (
            f"feature {name!r} is not a prediction; write model:direction or ensemble:voting_direction_price, the "
            "timeframe before it where it is not that of the bars: 60m:model:direction"
        )
        raise LookupError(msg)
    return Feature(name, _definition(name), ())


def _definition(name: str) -> Definition:
    column = SAID + name

    def said() -> pl.Expr:
        return pl.col(column)

    said.__doc__ = (
        "Probability of the model's event (of directional models: that the price will be higher), by the latest "
        "version trained before the bar's close."
    )
    return feature(
        name,
        unit="ratio",
        warmup=0,
        bounds=(0, 1),
        nulls="no model of that name had been trained, or it lacks its inputs",
    )(said)
