"""Plots of Dagster's metadata: what is stored is what was drawn."""

import base64
import io
import re

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from blofin_assets.shared import plots


def _pixels(png: bytes) -> npt.NDArray[np.int16]:
    """Return a picture's red, green and blue."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int16)


def _drawn(figure: Figure) -> bytes:
    """Return a figure in all its colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return drawn.getvalue()


def _stored(figure: Figure) -> bytes:
    """Return a figure as it is kept in the metadata."""
    found = re.fullmatch(r"!\[a map]\(data:image/png;base64,(.+)\)", plots.markdown_png(figure, "a map"))
    assert found is not None
    return base64.b64decode(found[1])


def test_stored_picture_has_the_colours_that_were_drawn() -> None:
    """A map of correlations has every shade of red and blue; none of them may turn into another in fewer colours."""
    names = [f"strategy_{at}" for at in range(12)]
    correlation = np.asarray(np.corrcoef(np.random.default_rng(3).normal(size=(12, 20))))
    correlation[2, 5] = np.nan
    drawn = _drawn(plots.correlation_figure(names, correlation))  # anew each time: drawing moves a figure's margins
    stored = _stored(plots.correlation_figure(names, correlation))
    assert np.abs(_pixels(drawn) - _pixels(stored)).max() <= 16  # of 255: not to be seen
    assert len(stored) < len(drawn) / 2
    assert stored == _stored(plots.correlation_figure(names, correlation)), "the same bytes for the same data"
