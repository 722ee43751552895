"""Charts of a page that answer the pointer, and tables that fit a phone.

Belongs here: giving a drawn figure's lines to the page as data, the script and style that every page embeds, the policy
under which a browser runs nothing else, headings for the cells of stacked tables. Does not belong here: drawing
figures, the content of pages.

A chart is the drawn picture and, beside it, its lines as JSON. With scripts the page shows
[uPlot](https://github.com/leeoniya/uPlot) (`templates/uplot`, MIT) in the picture's place: value and time under the
pointer, zoom by dragging. On paper and without scripts the picture stays. No network is needed, and the same figure
gives the same bytes.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from features.array_types import FloatArray, IntArray

MOST_POINTS: Final = 1500
"""Points of a line on a page; more would not be seen."""
DIGITS: Final = 6
"""Significant digits of a value in a chart."""

DASHES: Final[dict[str, list[int]]] = {"--": [6, 3], ":": [2, 3], "-.": [6, 3, 2, 3]}
"""Strokes and gaps, in pixels, of a line that is not solid."""

_FOLDER: Final = Path(__file__).parent / "templates"


def chart(figure: Figure, picture: Markup, colours: Mapping[str, str] | None = None) -> Markup:
    """Return a picture that answers the pointer.

    Parameters
    ----------
    figure : Figure
        As drawn. Its axes become panels, their lines in data coordinates become curves; one without a label of its own
        is drawn without a value. The name of a panel is that of its vertical axis.
    picture : Markup
        The figure as SVG, for paper and for readers without scripts.
    colours : dict of str to str, optional
        What stands for a colour in the page, by its `#rrggbb`.

    Returns
    -------
    Markup
        An element for a page that embeds `page_head`; the picture alone where nothing could be pointed at.
    """
    panels = [panel for axes in figure.axes if (panel := _panel(axes, colours or {}))["lines"]]
    if not any(len(panel["x"]) > 1 for panel in panels):
        return picture
    data = htmlsafe_json_dumps({"panels": panels}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(
        '<div class="chart"><div class="still">{}</div><script type="application/json">{}</script></div>'
    ).format(picture, data)


def seen_of(count: int) -> IntArray:
    """Return which of so many points are drawn, shape (n_drawn,): every n-th, the last among them."""
    step = max(1, -(-count // MOST_POINTS))
    return np.arange(count - 1, -1, -step)[::-1]


@cache
def page_head() -> Markup:
    """Return what the head of a page with charts holds: the policy, styles, and scripts that run after the page."""
    scripts = [_file("uplot/uPlot.iife.min.js"), _file("charts.js")]
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts
    )
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<style>\n{_file('uplot/uPlot.min.css')}\n{_file('charts.css')}</style>\n"
    )
    return Markup(head + "".join(f"<script>{each}</script>\n" for each in scripts))  # noqa: S704 - files of this package


def stackable(page: str) -> str:
    """Return a page whose cells know their headings, so that a narrow screen can stack them.

    Parameters
    ----------
    page : str
        HTML made by the templates of this project: the first row of a table holds its headings.

    Returns
    -------
    str
        The same with `data-label` on each cell, and names that break after an underscore alone.
    """
    return re.sub(r"<table>.*?</table>", lambda found: _labelled(found.group()), page, flags=re.DOTALL)


def _labelled(table: str) -> str:
    rows = re.split(r"(?=<tr\b)", table)
    if len(rows) < 2:  # noqa: PLR2004 - what is before the first row, and the headings
        return table
    names = [re.sub(r"<[^>]*>", "", name).strip() for name in re.findall(r"<th\b[^>]*>(.*?)</th>", rows[1], re.DOTALL)]

    def row(text: str) -> str:
        place = -1

        def cell(found: re.Match[str]) -> str:
            nonlocal place
            place += 1
            name = names[place] if place < len(names) else ""
            return f'<td data-label="{name}"' if found.group(1) == "td" else found.group()

        return re.sub(r"<(t[dh])\b", cell, text)

    joined = "".join([*rows[:2], *map(row, rows[2:])])
    return re.sub(r">[^<]+<", lambda text: re.sub(r"(?<=\w)_(?=\w)", "_<wbr>", text.group()), joined)


@cache
def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


def _panel(axes: Any, colours: Mapping[str, str]) -> dict[str, Any]:
    """Return axes as data: a common x of every line, and each line's values on it."""
    lines = [line for line in axes.lines if line.get_transform() == axes.transData and line.get_linestyle() != "None"]
    xs = [_x_of(line) for line in lines]
    every = np.unique(np.concatenate(xs)) if xs else np.empty(0)
    shown = every[seen_of(len(every))]
    return {
        "name": axes.get_ylabel(),
        "along": axes.get_xlabel() or axes.figure.axes[-1].get_xlabel(),
        "time": any(_timed(line) for line in lines),
        "log": axes.get_yscale() == "log",
        "x": [int(x) for x in shown],
        "lines": [_line(line, x, shown, colours) for line, x in zip(lines, xs, strict=True)],
    }


def _line(line: Line2D, x: FloatArray, shown: FloatArray, colours: Mapping[str, str]) -> dict[str, Any]:
    place = np.minimum(np.searchsorted(x, shown), len(x) - 1)
    values = np.where(x[place] == shown, np.asarray(line.get_ydata(orig=True), dtype=np.float64)[place], np.nan)
    colour = to_hex(line.get_color())
    return {
        "label": "" if str(line.get_label()).startswith("_") else str(line.get_label()),
        "colour": colours.get(colour, colour),
        "width": float(line.get_linewidth()),
        "dash": DASHES.get(str(line.get_linestyle()), []),
        "y": [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values],
    }


def _timed(line: Line2D) -> bool:
    return np.asarray(line.get_xdata(orig=True)).dtype.kind in "MO"


def _x_of(line: Line2D) -> FloatArray:
    """Return the x of a line as whole numbers: seconds since 1970 of times."""
    x = np.asarray(line.get_xdata(orig=True))
    if x.dtype.kind == "O":
        return np.array([round(each.timestamp()) for each in x], dtype=np.float64)
    return x.astype("datetime64[s]").astype(np.float64) if x.dtype.kind == "M" else x.astype(np.float64)
