"""The catalogue of model types, and the number of each model.

Belongs here: the list of types, each identity's number. Does not belong here: the models themselves.
"""

from typing import Final

from features.bars import DEFAULT_TIMEFRAMES, Timeframe
from model_zoo.models.base import Model, ModelError, ModelSpec
from model_zoo.models.direction import DirectionModel
from model_zoo.models.momentum import MomentumModel
from model_zoo.models.price import PriceModel
from model_zoo.models.risk import RiskModel
from model_zoo.models.volatility import VolatilityModel

MODELS: Final[dict[str, type[Model]]] = {
    model.type: model for model in (DirectionModel, RiskModel, PriceModel, MomentumModel, VolatilityModel)
}
"""Every type, in the order that numbers the artifacts; never reorder, only append."""

HORIZON_MINUTES: Final = 60
"""How far every model looks ahead."""


def names() -> list[str]:
    """Return the names of all identities: each type on each timeframe, in the order of their numbers."""
    return [f"{type_name}_{timeframe}" for type_name in MODELS for timeframe in DEFAULT_TIMEFRAMES]


def number(type_name: str, timeframe: Timeframe) -> int:
    """Return the number of a model's identity, from 1: the same in every cycle and every warehouse."""
    if type_name not in MODELS or timeframe not in DEFAULT_TIMEFRAMES:
        msg = f"no model {type_name}_{timeframe}; types are {', '.join(MODELS)} on {', '.join(DEFAULT_TIMEFRAMES)}"
        raise ModelError(msg)
    return list(MODELS).index(type_name) * len(DEFAULT_TIMEFRAMES) + DEFAULT_TIMEFRAMES.index(timeframe) + 1


def make(spec: ModelSpec) -> Model:
    """Return an untrained model of the specification's type."""
    if spec.type not in MODELS:
        msg = f"no model type {spec.type}; there is {', '.join(MODELS)}"
        raise ModelError(msg)
    return MODELS[spec.type](spec)
