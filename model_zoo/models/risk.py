"""Risk: a random forest on the maximum adverse excursion over the horizon.

Belongs here: this model. Does not belong here: the label's definition (`model_zoo.datasets.labels`), folds, files
around the model.

How far a price strays grows with volatility, which clusters, so this is predictable on every market: that it beats a
constant says nothing about profit.
"""

from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestRegressor

from features.array_types import FloatArray
from model_zoo.models._skops_io import Part, read_skops, require_numbers, require_part, write_skops
from model_zoo.models.base import ModelSpec, Range, Regressor, spread_of, thinned, weights_of
from model_zoo.models.calibration import USUAL

TRUSTED: Final = (
    "sklearn.ensemble._forest.RandomForestRegressor",
    "sklearn.tree._classes.DecisionTreeRegressor",
    "sklearn.tree._tree.Tree",
)
MOST_TREES: Final = 10_000
LEAF: Final = -1
"""Child of a leaf, as scikit-learn writes it."""
FLOOR: Final = 0.05
"""An excursion below this share of the expected move counts as this share, so that its logarithm exists."""


class RiskModel(Regressor):
    """Random forest regression of the maximum adverse excursion, relative to the move usual for the horizon."""

    type = "risk"
    file = "model.skops"
    library = "scikit-learn"
    directional = False
    gate_above = False
    event = "the maximum adverse excursion over the bars ahead is above one usual move"
    unit = "log ratio to one standard deviation of the last day's moves over the horizon"
    honest_accuracy: ClassVar[float] = 0.90
    honest_auc: ClassVar[float] = 0.95
    prior = USUAL
    defaults: ClassVar = {"trees": 40.0, "depth": 6.0, "leaf_share": 0.01, "features": 0.4, "most_rows": 3_000.0}
    ranges: ClassVar = {
        "depth": Range(3, 10, whole=True), "leaf_share": Range(0.002, 0.05, log=True), "features": Range(0.2, 1.0),
    }  # fmt: skip

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._forest: RandomForestRegressor | None = None

    @classmethod
    def value(cls, spec: ModelSpec) -> pl.Expr:
        """See `Model.value`: ln(label_adverse / (scale sqrt(horizon)))."""
        return (pl.col("label_adverse") / (pl.col(spec.scale) * sqrt(spec.horizon))).clip(FLOOR).log()

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`: thinned rows, large leaves."""
        kept = thinned(rows, int(self.hyper["most_rows"]))
        values = kept["label_value"].to_numpy()
        self.spread = spread_of(values)
        forest = RandomForestRegressor(
            n_estimators=int(self.hyper["trees"]),
            max_depth=int(self.hyper["depth"]),
            min_samples_leaf=max(5, int(self.hyper["leaf_share"] * kept.height)),
            max_features=self.hyper["features"],
            random_state=self.spec.seed,
            n_jobs=1,
        )
        self._forest = forest.fit(self.matrix(kept), values, sample_weight=weights_of(kept))

    def estimate(self, matrix: FloatArray) -> FloatArray:
        """See `Regressor.estimate`."""
        if self._forest is None:
            raise self.untrained()
        if not matrix.shape[0]:
            return np.empty(0)
        return np.asarray(self._forest.predict(matrix), dtype=np.float64)

    def write(self, path: Path) -> None:
        """See `Model.write`: skops."""
        if self._forest is None:
            raise self.untrained()
        write_skops(path, {"forest": self._forest})

    def read(self, path: Path) -> None:
        """See `Model.read`: nothing but the types of this model is loaded."""
        self._forest = read_skops(path, f"a forest of {len(self.spec.inputs)} inputs", TRUSTED, self._check)["forest"]

    def _check(self, parts: dict[str, Any]) -> None:
        """Refuse what is no forest of this model's inputs: scikit-learn follows the numbers of nodes unchecked."""
        if set(parts) != {"forest"}:
            msg = f"it holds {', '.join(sorted(parts))}"
            raise ValueError(msg)
        like, inputs = _example(), len(self.spec.inputs)
        shape = {"n_features_in_": inputs, "n_outputs_": 1, "monotonic_cst": None}
        within = ("estimator", "estimator_", "estimators_")
        held = require_part(parts["forest"], like, within, **shape, n_jobs=1, verbose=0)
        for name in within[:2]:
            require_part(held[name], like.estimator_)
        trees = held["estimators_"]
        if not isinstance(trees, list) or not 1 <= len(trees) <= MOST_TREES:
            msg = f"estimators_ are not a list of 1 to {MOST_TREES} trees"
            raise ValueError(msg)
        for number, tree in enumerate(trees):
            own = require_part(tree, like.estimators_[0], ("tree_",), **shape)
            _check_tree(f"tree {number}", own["tree_"], inputs)


def _check_tree(where: str, tree: Any, inputs: int) -> None:
    node_type = _example().estimators_[0].tree_.__getstate__()["nodes"].dtype
    if not isinstance(tree, Part) or tree.kind != TRUSTED[-1] or len(tree.arguments) != 3:  # noqa: PLR2004
        msg = f"{where} is not a scikit-learn tree"
        raise ValueError(msg)
    features, classes, outputs = tree.arguments
    one = isinstance(classes, np.ndarray) and classes.dtype == np.intp and classes.tolist() == [1]
    if (features, outputs) != (inputs, 1) or not one:
        msg = f"{where} is not one of {inputs} inputs and one value"
        raise ValueError(msg)
    state = tree.content
    nodes = state.get("nodes")
    if set(state) != {"max_depth", "node_count", "nodes", "values"} or getattr(nodes, "dtype", None) != node_type:
        msg = f"{where} has no nodes"
        raise ValueError(msg)
    assert isinstance(nodes, np.ndarray)  # noqa: S101  # it has their type
    count = len(nodes) if nodes.ndim == 1 else 0
    require_numbers(f"values of {where}", state["values"], (count, 1, 1))
    left, right = nodes["left_child"], nodes["right_child"]
    inner = left != LEAF
    # a child comes after its parent, so there is no circle, and every node but the root is the child of one
    children, parents = np.concatenate([left[inner], right[inner]]), np.tile(np.flatnonzero(inner), 2)
    sound = (
        0 < count == state["node_count"]
        and isinstance(state["max_depth"], int)
        and 0 <= state["max_depth"] < count
        and np.array_equal(right[~inner], left[~inner])
        and np.array_equal(np.sort(children), np.arange(1, count))
        and bool((children > parents).all())
        and bool(((nodes["feature"][inner] >= 0) & (nodes["feature"][inner] < inputs)).all())
        and not np.isnan(nodes["threshold"]).any()
    )
    if not sound:
        msg = f"{where} is not a tree: a node is reached twice, never or by itself, or splits on an unknown input"
        raise ValueError(msg)


@cache
def _example() -> RandomForestRegressor:
    """Return a fitted forest: what attributes it has, and how its nodes are stored."""
    return RandomForestRegressor(n_estimators=1, n_jobs=1, random_state=0).fit([[0.0], [1.0]], [0.0, 1.0])
