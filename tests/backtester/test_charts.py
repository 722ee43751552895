"""Charts in a browser: what the pointer is told, zoom, paper, no scripts, and that nothing else of a page runs."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from support.browser import Tab, served, tab

from backtester.charts import MOST_POINTS, chart, page_head, stackable
from backtester.page import axes_of, live

HOURS = np.datetime64("2026-03-01T00:00", "us") + np.arange(50) * np.timedelta64(1, "h")
VALUES = np.round(10.0 * np.sin(np.arange(50) / 7.0), 3)


def drawn(label: str = "strategy") -> Markup:
    figure, (top, bottom) = axes_of(3.0, 2)
    top.plot(HOURS, VALUES, color="#1f4e79", label=label)
    top.plot(HOURS[10:], VALUES[10:] / 2.0, color="#8a8f98", label="half")
    top.axhline(0.0)
    top.set_ylabel("PnL, %")
    bottom.plot(HOURS, -np.abs(VALUES), label="drawdown")
    return live(figure, "test")


def data_of(page: str) -> dict[str, object]:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_the_data_are_those_of_the_figure_and_the_same_each_time() -> None:
    first, second = data_of(drawn())["panels"]
    assert drawn() == drawn()
    assert [line["label"] for line in first["lines"]] == ["strategy", "half"], "the line of zero is no curve"
    assert first["lines"][0]["y"] == VALUES.tolist()
    assert first["lines"][1]["y"] == [None] * 10 + (VALUES[10:] / 2.0).tolist()
    assert first["x"] == HOURS.astype("datetime64[s]").astype(int).tolist() == second["x"]
    assert (first["time"], first["log"], first["name"]) == (True, False, "PnL, %")


def test_a_long_line_is_thinned_from_its_end() -> None:
    figure, (axes,) = axes_of(2.0)
    axes.plot(np.arange(5001), np.arange(5001) / 3.0, label="long")
    panel = data_of(chart(figure, Markup()))["panels"][0]
    assert len(panel["x"]) <= MOST_POINTS
    assert panel["x"][-1] == 5000
    assert panel["lines"][0]["y"] == [float(f"{x / 3.0:.6g}") for x in panel["x"]]


def test_a_label_cannot_end_the_script() -> None:
    page = drawn("</script><script>window.bad = 1</script>")
    assert page.lower().count("</script>") == 1
    assert data_of(page)["panels"][0]["lines"][0]["label"] == "</script><script>window.bad = 1</script>"


def test_cells_know_their_headings_and_names_break_after_underscores() -> None:
    table = '<table><tr><th>a <i>b</i></th><th>n_1</th></tr><tr><td class="x_y">long_name</td><td>1</td></tr></table>'
    assert stackable(f"x_y{table}") == (
        'x_y<table><tr><th>a <i>b</i></th><th>n_<wbr>1</th></tr><tr><td data-label="a b" class="x_y">long_<wbr>name'
        '</td><td data-label="n_1">1</td></tr></table>'
    )


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Tab]:
    head, bad = page_head(), "<script>window.bad = 1</script>"
    page = f"<!doctype html><html><head><meta charset='utf-8'>{head}</head><body>{drawn()}{bad}<img src='https://images.invalid/x.png'></body></html>"
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    with served(tmp_path) as address, tab(tmp_path) as browser:
        browser.narrow(900)
        browser.open(f"{address}/page.html")
        yield browser


def pointed(browser: Tab, place: int) -> list[str]:
    """Point at the value of a place of the first line, and return what the legend says of time and lines."""
    x = browser.run(
        f"(() => {{ const plot = document.querySelector('.chart').plots[0], over = plot.over.getBoundingClientRect();"
        f" return [over.left + plot.valToPos(plot.data[0][{place}], 'x'), over.top + over.height / 2]; }})()"
    )
    browser.do("Input.dispatchMouseEvent", type="mouseMoved", x=x[0], y=x[1])
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return browser.run("[...document.querySelectorAll('.u-value')].map(each => each.textContent)")


@pytest.mark.slow
def test_the_pointer_is_told_the_value_and_the_time(opened: Tab) -> None:
    opened.until("document.querySelector('.chart')?.plots?.length === 2", 10)
    for place in (3, 20, 41):
        time = str(HOURS[place])[:16].replace("T", " ")
        told = [each.replace("−", "-") for each in pointed(opened, place)]
        assert told[0] == told[3] == time
        assert float(told[1]) == pytest.approx(VALUES[place], rel=1e-4)
        assert told[2] == "–" if place < 10 else float(told[2]) == pytest.approx(VALUES[place] / 2.0, rel=1e-4)
        assert float(told[4]) == pytest.approx(-abs(VALUES[place]), rel=1e-4), "the panel below answers, too"


@pytest.mark.slow
def test_dragging_zooms_both_panels_and_a_double_click_shows_the_whole(opened: Tab) -> None:
    opened.until("document.querySelector('.chart')?.plots?.length === 2", 10)
    span = (
        "document.querySelector('.chart').plots.map(plot => Math.round((plot.scales.x.max - plot.scales.x.min) / 3600))"
    )
    left, right, middle = opened.run(
        "(() => { const over = document.querySelector('.chart').plots[0].over.getBoundingClientRect();"
        " return [over.left + over.width * 0.25, over.left + over.width * 0.75, over.top + 50]; })()"
    )
    whole = opened.run(span)
    for kind, x in (("mouseMoved", left), ("mousePressed", left), ("mouseMoved", right), ("mouseReleased", right)):
        opened.do("Input.dispatchMouseEvent", type=kind, x=x, y=middle, button="left", buttons=1, clickCount=1)
    opened.until(f"{span}[0] < {0.6 * whole[0]} && {span}[1] < {0.6 * whole[1]}", 5)
    for count in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            opened.do("Input.dispatchMouseEvent", type=kind, x=left, y=middle, button="left", clickCount=count)
    opened.until(f"{span}[0] === {whole[0]}", 5)


@pytest.mark.slow
def test_paper_and_readers_without_scripts_get_the_picture_and_nothing_else_runs(opened: Tab) -> None:
    heights = "['.still', '.live'].map(each => document.querySelector(each).getBoundingClientRect().height > 0)"
    opened.until("document.querySelector('.chart')?.plots?.length === 2", 10)
    assert opened.run(heights) == [False, True]
    assert opened.run("window.bad === undefined"), "a script that is not the page's own"
    assert opened.run("document.images[0].naturalWidth") == 0
    opened.do("Emulation.setEmulatedMedia", media="print")
    assert opened.run(heights) == [True, False]
    opened.do("Emulation.setEmulatedMedia", media="screen")
    opened.do("Emulation.setScriptExecutionDisabled", value=True)
    opened.events.clear()
    opened.do("Page.reload")
    deadline = time.monotonic() + 60
    while not any(event["method"] == "Page.loadEventFired" for event in opened.events):
        assert time.monotonic() < deadline, "the page did not load again"
        opened.do("Page.getLayoutMetrics")
        time.sleep(0.1)
    root = opened.do("DOM.getDocument")["root"]["nodeId"]
    still = opened.do("DOM.querySelector", nodeId=root, selector=".still svg")["nodeId"]
    assert opened.do("DOM.getBoxModel", nodeId=still)["model"]["height"] > 100
    assert opened.do("DOM.querySelector", nodeId=root, selector=".live")["nodeId"] == 0
