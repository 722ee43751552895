"""Momentum: a support vector machine on whether the price will be higher a horizon later.

Belongs here: this model. Does not belong here: labels, folds, calibration, files around the model.

An exact kernel machine takes minutes on a week of minutes, so the kernel is approximated by a few hundred random rows
(Nyström: C. Williams and M. Seeger 2001) and the rest is linear.
"""

from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import polars as pl
from sklearn.kernel_approximation import Nystroem
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from features.array_types import FloatArray
from model_zoo.models._scaling import Scaling
from model_zoo.models._skops_io import read_skops, require_numbers, require_part, write_skops
from model_zoo.models.base import Model, ModelSpec, Range, thinned, weights_of

MOST_COMPONENTS: Final = 10_000
TRUSTED: Final = ("sklearn.kernel_approximation.Nystroem", "sklearn.svm._classes.LinearSVC")


class MomentumModel(Model):
    """Support vector classifier (RBF kernel by Nyström features, linear) of the sign of the forward return."""

    type = "momentum"
    file = "model.skops"
    library = "scikit-learn"
    defaults: ClassVar = {"components": 100.0, "gamma": 0.02, "c": 0.003, "most_rows": 5_000.0}
    ranges: ClassVar = {
        "components": Range(50, 200, whole=True),
        "gamma": Range(0.004, 0.1, log=True),
        "c": Range(0.0003, 0.03, log=True),
    }

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._fitted: dict[str, Any] = {}

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`: scaling, kernel and plane from the training rows alone; classes balanced."""
        kept = thinned(rows, int(self.hyper["most_rows"]))
        matrix = self.matrix(kept)
        scaling = Scaling.of(matrix)
        kernel = Nystroem(
            gamma=self.hyper["gamma"],
            n_components=min(int(self.hyper["components"]), kept.height),
            random_state=self.spec.seed,
        )
        with threadpool_limits(1):
            mapped = kernel.fit_transform(scaling.apply(matrix))
        machine = LinearSVC(C=self.hyper["c"], dual=False, class_weight="balanced", random_state=self.spec.seed)
        machine.fit(mapped, kept["label_event"].to_numpy(), sample_weight=weights_of(kept))
        self._fitted = {
            "mean": scaling.mean, "deviation": scaling.deviation, "kernel": kernel, "machine": machine,
        }  # fmt: skip

    def raw(self, matrix: FloatArray) -> FloatArray:
        """See `Model.raw`: the distance from the plane, in margins."""
        if not self._fitted:
            raise self.untrained()
        if not matrix.shape[0]:
            return np.empty(0)
        scaled = Scaling(self._fitted["mean"], self._fitted["deviation"]).apply(matrix)
        with threadpool_limits(1):  # so that the sums do not depend on how many processors there are
            distance = self._fitted["machine"].decision_function(self._fitted["kernel"].transform(scaled))
        return np.asarray(distance, dtype=np.float64)

    def write(self, path: Path) -> None:
        """See `Model.write`: skops."""
        if not self._fitted:
            raise self.untrained()
        write_skops(path, self._fitted)

    def read(self, path: Path) -> None:
        """See `Model.read`: nothing but the types of this model is loaded."""
        self._fitted = read_skops(path, f"a machine of {len(self.spec.inputs)} inputs", TRUSTED, self._check)

    def _check(self, parts: dict[str, Any]) -> None:
        """Refuse what is no fitted machine of this model's inputs."""
        inputs = len(self.spec.inputs)
        if set(parts) != {"mean", "deviation", "kernel", "machine"}:
            msg = f"it holds {', '.join(sorted(parts))}"
            raise ValueError(msg)
        for name in ("mean", "deviation"):
            require_numbers(name, parts[name], (inputs,))
        kernel, machine = _example()
        fixed: dict[str, Any] = {"kernel": "rbf", "kernel_params": None, "coef0": None, "degree": None, "n_jobs": None}
        held = require_part(parts["kernel"], kernel, (), n_features_in_=inputs, **fixed)
        require_numbers("components_", held["components_"], (None, inputs))
        size = len(held["components_"])
        require_numbers("normalization_", held["normalization_"], (size, size))
        gamma = held["gamma"]
        if not isinstance(gamma, float) or not 0 < gamma < float("inf") or not 0 < size <= MOST_COMPONENTS:
            msg = f"a kernel of gamma {gamma!r} and {size} components"
            raise ValueError(msg)
        plane = require_part(parts["machine"], machine, n_features_in_=size)
        require_numbers("coef_", plane["coef_"], (1, size))
        require_numbers("intercept_", plane["intercept_"], (1,))
        classes = plane["classes_"]
        if not isinstance(classes, np.ndarray) or classes.dtype != np.bool_ or classes.tolist() != [False, True]:
            msg = "classes_ are not false and true"
            raise ValueError(msg)


@cache
def _example() -> tuple[Nystroem, LinearSVC]:
    """Return a fitted kernel and machine: what attributes they have."""
    rows, event = np.array([[0.0], [1.0]]), np.array([False, True])
    return Nystroem(n_components=2, random_state=0).fit(rows), LinearSVC(dual=False, random_state=0).fit(rows, event)
