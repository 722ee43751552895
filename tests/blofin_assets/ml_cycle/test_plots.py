"""The picture of a model counts what it shows, and is the same for the same predictions."""

import base64
import io

import polars as pl
from PIL import Image

from blofin_assets.ml_cycle.plots import confusion, model_figure
from blofin_assets.shared.plots import SHADES, markdown_png
from model_zoo.evaluation.metrics import reliability

SAID = pl.DataFrame(
    {"probability": [0.9, 0.8, 0.2, 0.1, 0.7, None, 0.6], "label_event": [True, True, False, True, False, True, None]}
)


def test_counts() -> None:
    assert confusion(SAID) == [[1, 1], [1, 2]]
    assert confusion(SAID.clear()) == [[0, 0], [0, 0]]


def test_a_picture_of_something_and_of_nothing() -> None:
    first = markdown_png(model_figure(SAID, reliability(SAID), "it rains"), "model")
    assert first == markdown_png(model_figure(SAID, reliability(SAID), "it rains"), "model")
    assert first.startswith("![model](data:image/png;base64,")
    assert markdown_png(model_figure(SAID.clear(), reliability(SAID.clear()), "it rains"), "model") != first
    data = base64.b64decode(first.rpartition(",")[2].rstrip(")"))
    with Image.open(io.BytesIO(data)) as kept:
        assert kept.size == (720, 320)
        assert len(kept.getcolors() or range(SHADES + 1)) <= SHADES, "each is kept for good"
