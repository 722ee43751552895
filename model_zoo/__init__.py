"""Models: their data sets, the models themselves, training, evaluation, serving and ensembles.

Belongs here: everything that is fitted to data. Does not belong here: features (`features`), fills and costs
(`backtester`), anything that reads a database or a network.

Names are fetched from their modules on first use: whoever needs the registry of models does not wait for training.
"""

from typing import TYPE_CHECKING, Final

from features.front_door import front_door

if TYPE_CHECKING:
    from model_zoo.ensembles import Ensemble
    from model_zoo.models.base import Model, ModelError, ModelSpec, Range, Regressor
    from model_zoo.models.calibration import Calibration
    from model_zoo.models.catalog import MODELS, make
    from model_zoo.serving.artifacts import load_artifact, save_artifact
    from model_zoo.training.trainer import Trained, default_spec, train_cycle

__all__ = [
    "MODELS",
    "Calibration",
    "Ensemble",
    "Model",
    "ModelError",
    "ModelSpec",
    "Range",
    "Regressor",
    "Trained",
    "default_spec",
    "load_artifact",
    "make",
    "save_artifact",
    "train_cycle",
]

_HOMES: Final = {
    "MODELS": "model_zoo.models.catalog",
    "Calibration": "model_zoo.models.calibration",
    "Ensemble": "model_zoo.ensembles",
    "Model": "model_zoo.models.base",
    "ModelError": "model_zoo.models.base",
    "ModelSpec": "model_zoo.models.base",
    "Range": "model_zoo.models.base",
    "Regressor": "model_zoo.models.base",
    "Trained": "model_zoo.training.trainer",
    "default_spec": "model_zoo.training.trainer",
    "load_artifact": "model_zoo.serving.artifacts",
    "make": "model_zoo.models.catalog",
    "save_artifact": "model_zoo.serving.artifacts",
    "train_cycle": "model_zoo.training.trainer",
}

__getattr__: Final = front_door(__name__, _HOMES)
