"""The text of boosted trees: looked at before LightGBM follows its numbers unchecked."""

from functools import cache

import lightgbm as lgb
import numpy as np
import pytest

from model_zoo.models._lightgbm_text import check_model_text
from tests.model_zoo.tampering import _fitting


@cache
def text() -> str:
    """Return two trees of four leaves over two inputs, as LightGBM writes them."""
    rows = np.random.default_rng(0).normal(size=(300, 2))
    settings = {"objective": "regression", "num_leaves": 4, "verbosity": -1, "seed": 0, "num_threads": 1}
    data = lgb.Dataset(rows, rows.prod(axis=1), params={"verbosity": -1})
    return str(lgb.train(settings, data, 2).model_to_string())


def changed(**lines: str) -> str:
    """Return the text with lines of its first tree replaced; the sizes of the trees fit."""
    made = text().split("\n")
    for name, value in lines.items():
        place = next(number for number, line in enumerate(made) if line.startswith(f"{name}="))
        made = _fitting(made, place, [f"{name}={value}"]).decode().split("\n")
    return "\n".join(made)


def test_what_lightgbm_writes_is_a_model() -> None:
    check_model_text(text(), 2, "regression")
    check_model_text(changed(left_child="1 2 -1", right_child="-2 -3 -4"), 2, "regression")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("0 2 -1", "-2 -3 -4"),  # the root is its own child
        ("2 1 -1", "-2 -3 -4"),  # a node that only reaches itself
        ("1 2 -1", "1 -3 -4"),  # a node of two parents
        ("1 2 -1", "-2 -2 -4"),  # a leaf of two parents
        ("1 2 99", "-2 -3 -4"),
        ("1 2 -1", "-2 -3 -99"),
    ],
)
def test_a_tree_that_leads_out_of_itself_is_refused(left: str, right: str) -> None:
    with pytest.raises(ValueError, match="a node is reached twice, never or by itself"):
        check_model_text(changed(left_child=left, right_child=right), 2, "regression")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({"split_feature": "0 1 2"}, "splits on an input that is not among the 2"),
        ({"split_feature": "0 1 -1"}, "splits on an input that is not among the 2"),
        ({"decision_type": "2 2 1"}, "a decision that does not compare numbers"),
        ({"threshold": "0.1 nan 0.2"}, "threshold of tree 0 holds a value that is not finite"),
        ({"leaf_value": "0.1 0.2 0.3"}, "leaf_value of tree 0 is not 4 numbers"),
        ({"num_leaves": "5000"}, "tree 0 has 5000 leaves"),
        ({"max_feature_idx": "7"}, "for 2 inputs it is 1"),
    ],
)
def test_lines_that_fit_no_tree_are_refused(lines: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_model_text(changed(**lines), 2, "regression")
