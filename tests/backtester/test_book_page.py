import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from book_cases import book_of, universe
from support.pages import fits, needs_nothing

from backtester import BookEvaluation, BookRules
from backtester.book_page import book_page

WEEKLY = BookRules(timedelta(days=7), long=0.3, short=0.3)


def evaluation(rules: BookRules, *, volume: float = 1e9, capital: float = 10_000.0) -> BookEvaluation:
    drawn = universe(3, 800, 9, move=0.004, silences=0.0, ends=0.0, payments=8)
    market = replace(drawn.market, quote_volume=np.full_like(drawn.market.close, volume), _measured={})
    return BookEvaluation("a_book", book_of(replace(drawn, market=market), rules, capital=capital))


def test_the_page_shows_the_book_and_needs_no_network() -> None:
    found = evaluation(WEEKLY)
    texts = [book_page(found, market="sample (synthetic)", notes=["a <b>note</b>"]) for _ in range(2)]
    page = texts[0]
    assert page == texts[1]
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert f"<dd>{found.metrics()['total_pnl_pct']:+.2f} %</dd>" in page
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 7
    for plot in plots:
        ET.fromstring(plot)  # noqa: S314 - our own drawing
    needs_nothing(page)
    assert [f">day {day}</td>" in page for day in range(7)] == [True] * 7
    assert ">2025 Q2</td>" in page
    assert "<h2>By month</h2>" in page
    assert "<h2>Sharpe ratio of the 30 days before</h2>" in page
    assert page.index("<h2>Worst drawdowns</h2>") < page.index("<h2>Tranches</h2>")
    assert [f">market {name}</td>" in page for name in ("up", "down", "calm", "wild")] == [True] * 4
    assert "Survivors" not in page
    assert "Too large" not in page


@pytest.mark.slow
def test_the_page_fits_a_desk_and_a_phone_and_has_idea_parameters_trades_and_the_universe(tmp_path: Path) -> None:
    found = evaluation(WEEKLY)
    page = book_page(found, parameters={"hours": 168, "share": 0.3}, idea="Buy <what> rose.")
    fits(page, tmp_path)
    assert "parameters: hours = 168, share = 0.3" in page
    assert "Buy &lt;what&gt; rose." in page
    assert f"{found.result.trades.height:,} trades</summary>" in page
    chart = re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    lines = {line["label"]: line["y"] for line in json.loads(chart[1])["panels"][0]["lines"]}
    average = np.nan_to_num(found.result.market.average[found.result.begin :])
    assert lines["universe"][-1] == pytest.approx(100 * (np.prod(1 + average) - 1), rel=1e-5)
    assert lines["book"][-1] == pytest.approx(100 * (found.result.equity[-1] / found.result.capital - 1), rel=1e-5)


def test_survivors_and_fills_too_large_for_their_market_are_said_first() -> None:
    page = book_page(evaluation(BookRules(timedelta(days=1)), volume=1e4), chosen_today=True)
    assert page.index("Survivors: the universe was chosen today") < page.index("<dl>")
    assert page.index("Too large for its market: with a capital of 10,000, ") < page.index("<dl>")
    assert re.search(r"\d %\sof the fills are above 1 % of what was traded in their bar", page)


def test_a_book_that_never_trades_has_a_page_too() -> None:
    idle = BookRules(timedelta(days=1), given_weights=True, neutral="none")
    drawn = universe(3, 100, 6, silences=0.0, ends=0.0)
    found = BookEvaluation("idle", book_of(replace(drawn, values=np.full_like(drawn.values, np.nan)), idle))
    page = book_page(found)
    assert "No trades." in page
    assert ">–</td>" in page
