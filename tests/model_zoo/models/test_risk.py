"""The trees of a forest from a file: looked at before scikit-learn follows their numbers unchecked."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from model_zoo.models._skops_io import Part
from model_zoo.models.risk import LEAF, TRUSTED, _check_tree


def tree(inputs: int = 2) -> Part:
    """Return a tree as a file holds it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, inputs))
    forest = RandomForestRegressor(n_estimators=1, max_depth=3, random_state=0).fit(rows, rows.sum(axis=1))
    state = forest.estimators_[0].tree_.__getstate__()
    return Part(TRUSTED[-1], state, (inputs, np.array([1], dtype=np.intp), 1))


def test_a_tree_of_scikit_learn_is_one() -> None:
    _check_tree("it", tree(), 2)


@pytest.mark.parametrize(
    ("column", "leaf", "value"),
    [
        ("left_child", False, 10**6), ("right_child", False, -5), ("left_child", False, 0), ("left_child", True, 1),
        ("right_child", True, 1), ("feature", False, 2), ("feature", False, -1), ("threshold", False, np.nan),
    ],
)  # fmt: skip
def test_a_tree_that_leads_out_of_itself_is_refused(column: str, leaf: bool, value: Any) -> None:
    given = tree()
    nodes = given.content["nodes"]
    place = int(np.flatnonzero((nodes["left_child"] == LEAF) == leaf)[0])
    nodes[column][place] = value
    with pytest.raises(ValueError, match="it is not a tree"):
        _check_tree("it", given, 2)


def test_a_node_that_is_reached_by_itself_alone_is_refused() -> None:
    given = tree()
    left = given.content["nodes"]["left_child"]
    apart = left[0]
    left[0], left[apart] = left[apart], apart
    with pytest.raises(ValueError, match="a node is reached twice, never or by itself"):
        _check_tree("it", given, 2)


def test_a_tree_of_other_inputs_or_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of 3 inputs"):
        _check_tree("it", tree(), 3)
    short = tree()
    short.content["values"] = short.content["values"][:-1]
    with pytest.raises(ValueError, match="values of it"):
        _check_tree("it", short, 2)
