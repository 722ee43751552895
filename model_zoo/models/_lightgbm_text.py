"""Whether a text is a LightGBM model that can be given to LightGBM.

Belongs here: the form of the text, line by line. Does not belong here: training and predicting
(`model_zoo.models._boosting`).

LightGBM believes a model file: an index out of range ends the process, a circle of nodes never returns. So the text is
read strictly first: every line is one that LightGBM writes for models of this package (no categories, no linear
leaves, one output), every number is finite, every node is reached from the root exactly once.
"""

import math
import re
from collections.abc import Sequence
from typing import Final

MOST_TREES: Final = 10_000
MOST_LEAVES: Final = 4_096
_END: Final = "end of trees\n"
_HEAD: Final = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
    "max_feature_idx": "",
    "objective": "",
    "feature_names": "",
    "feature_infos": "",
    "tree_sizes": "",
}
"""Lines of the head in their order, with the value where only one is possible."""
_SPLITS: Final = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_TREE: Final = (
    "Tree", "num_leaves", "num_cat", *_SPLITS, "leaf_value", "leaf_weight", "leaf_count", "internal_value",
    "internal_weight", "internal_count", "is_linear", "shrinkage",
)  # fmt: skip
_WHOLE: Final = re.compile(r"-?\d{1,10}")
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d{1,25})?(e[+-]?\d{1,3})?")
_RANGE: Final = re.compile(rf"none|\[{_NUMBER.pattern}:{_NUMBER.pattern}\]")
_TAIL: Final = re.compile(
    r"\nfeature_importances:\n(Column_\d{1,6}=[0-9.e+-]{1,30}\n)*"
    r"\nparameters:\n(\[[a-z0-9_]{1,60}: [ -~]{0,2000}\]\n)*\nend of parameters\n"
    r"(\npandas_categorical:null\n)?"
)
_DECISIONS: Final = frozenset({0, 2, 4, 6, 8, 10})
"""Numbers compared, not categories; the missing go left or right, and are nothing, zero or NaN."""


def check_model_text(text: str, features: int, objective: str) -> None:
    """Refuse a text that is not a sound LightGBM model.

    Parameters
    ----------
    text : str
        Of the model file.
    features : int
        Inputs that it must take.
    objective : str
        First word of LightGBM's name of the loss.

    Raises
    ------
    ValueError
        Saying what is wrong, and in which tree.
    """
    head, blank, rest = text.partition("\n\n")
    if not head.startswith("tree\n") or not blank:
        _refuse("not a LightGBM model")
    fields = _fields(head.removeprefix("tree\n"), tuple(_HEAD), "the head")
    for name, only in _HEAD.items():
        if only and fields[name] != only:
            _refuse(f"{name} is {fields[name]!r}, not {only}")
    if fields["max_feature_idx"] != str(features - 1):
        _refuse(f"max_feature_idx is {fields['max_feature_idx']!r}, for {features} inputs it is {features - 1}")
    if fields["objective"].split(" ")[0] != objective:
        _refuse(f"objective is {fields['objective']!r}, not {objective}")
    if fields["feature_names"].split(" ") != [f"Column_{place}" for place in range(features)]:
        _refuse(f"feature_names are not Column_0 to Column_{features - 1}")
    infos = fields["feature_infos"].split(" ")
    if len(infos) != features or not all(_RANGE.fullmatch(info) for info in infos):
        _refuse(f"feature_infos are not {features} ranges")
    _check_trees(rest, _whole(fields["tree_sizes"], None, "tree_sizes of the head"), features)


def _check_trees(rest: str, sizes: Sequence[int], features: int) -> None:
    if not 1 <= len(sizes) <= MOST_TREES:
        _refuse(f"{len(sizes)} trees; there are 1 to {MOST_TREES}")
    start = 0
    for number, size in enumerate(sizes):
        if not 0 < size <= len(rest) - start:
            _refuse(f"tree {number} has a size of {size} characters, {len(rest) - start} are left")
        _check_tree(rest[start : start + size], number, features)
        start += size
    if not rest.startswith(_END, start):
        _refuse("the trees do not end where their sizes say")
    if not _TAIL.fullmatch(rest, start + len(_END)):
        _refuse("the text after the trees is not from LightGBM")


def _check_tree(block: str, number: int, features: int) -> None:
    where = f"tree {number}"
    if not block.endswith("\n\n\n"):
        _refuse(f"{where} does not end where its size says")
    fields = _fields(block[:-3], _TREE, where)
    if fields["Tree"] != str(number) or fields["num_cat"] != "0" or fields["is_linear"] != "0":
        _refuse(f"{where} is named {fields['Tree']!r}, or has categories or linear leaves")
    [leaves] = _whole(fields["num_leaves"], 1, f"num_leaves of {where}")
    if not 1 <= leaves <= MOST_LEAVES:
        _refuse(f"{where} has {leaves} leaves; there are 1 to {MOST_LEAVES}")
    inner = leaves - 1
    for name in ("split_gain", "threshold", "internal_value", "internal_weight"):
        _numbers(fields[name], inner, f"{name} of {where}")
    _numbers(fields["leaf_value"], leaves, f"leaf_value of {where}")
    _numbers(fields["leaf_weight"], leaves if inner else None, f"leaf_weight of {where}")
    _numbers(fields["shrinkage"], 1, f"shrinkage of {where}")
    _whole(fields["leaf_count"], leaves, f"leaf_count of {where}")
    _whole(fields["internal_count"], inner, f"internal_count of {where}")
    if any(not 0 <= index < features for index in _whole(fields["split_feature"], inner, f"split_feature of {where}")):
        _refuse(f"{where} splits on an input that is not among the {features}")
    if not set(_whole(fields["decision_type"], inner, f"decision_type of {where}")) <= _DECISIONS:
        _refuse(f"{where} has a decision that does not compare numbers")
    left = _whole(fields["left_child"], inner, f"left_child of {where}")
    right = _whole(fields["right_child"], inner, f"right_child of {where}")
    # a child that is an inner node comes after its parent, so there is no circle; leaf k is written as -1 - k
    inner_of = [(parent, child) for parent, both in enumerate(zip(left, right, strict=True)) for child in both]
    if (
        any(0 <= child <= parent for parent, child in inner_of)
        or sorted(child for _, child in inner_of)
        != [
            *range(-leaves, 0),
            *range(1, inner),
        ][: 2 * inner]
    ):
        _refuse(f"{where} is not a tree: a node is reached twice, never or by itself")


def _fields(text: str, names: Sequence[str], where: str) -> dict[str, str]:
    lines = text.split("\n")
    pairs = [line.partition("=") for line in lines]
    if [name for name, _, _ in pairs] != list(names) or not all(sign for _, sign, _ in pairs):
        _refuse(f"{where} does not hold the lines {', '.join(names)}, in this order")
    return {name: value for name, _, value in pairs}


def _whole(text: str, count: int | None, what: str) -> list[int]:
    parts = text.split(" ") if text else []
    if (count is not None and len(parts) != count) or not all(_WHOLE.fullmatch(part) for part in parts):
        _refuse(f"{what} is not {'a list of' if count is None else count} whole numbers")
    return [int(part) for part in parts]


def _numbers(text: str, count: int | None, what: str) -> None:
    parts = text.split(" ") if text else []
    if count is not None and len(parts) != count:
        _refuse(f"{what} is not {count} numbers")
    if not all(_NUMBER.fullmatch(part) and math.isfinite(float(part)) for part in parts):
        _refuse(f"{what} holds a value that is not finite")


def _refuse(reason: str) -> None:
    raise ValueError(reason)
