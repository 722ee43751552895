import html
import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support.pages import fits, needs_nothing
from toy import START, SYMBOLS, Broken, Momentum, ToyManager, toy_source

from backtester import Costs, evaluate
from backtester.evaluation.robustness import gather
from backtester.page import MOST_TRADES, backtest_page
from backtester.statistics.overfitting import episodes_of, sharpe_evidence

END = START + timedelta(days=2)


def test_the_page_shows_the_result_and_needs_no_network() -> None:
    source = toy_source(2)
    manager = ToyManager(source)
    result = evaluate([Momentum()], manager, SYMBOLS, START, END)[0]
    candles = source.candles(SYMBOLS, "5m", None, END)
    texts = [
        backtest_page(
            result,
            candles,
            evidence=gather(result, seed=1, draws=5),
            sharpe=sharpe_evidence(result.pooled.returns, episodes_of(result.scored_trades), 20),
            market="sample (synthetic)",
            notes=["a <b>note</b>"],
        )
        for _ in range(2)
    ]
    page = texts[0]
    assert page == texts[1]
    assert "sample (synthetic)" in page
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert f"<dd>{result.pooled.score:,.2f}</dd>" in page
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 2 + 4
    for plot in plots:
        ET.fromstring(plot)  # noqa: S314 - our own drawing
    needs_nothing(page)


@pytest.mark.slow
def test_the_page_fits_a_desk_and_a_phone_and_lists_the_trades(tmp_path: Path) -> None:
    source = toy_source(2)
    result = evaluate([Momentum()], ToyManager(source), SYMBOLS, START, END)[0]
    evidence, episodes = gather(result, seed=1, draws=5), episodes_of(result.scored_trades)
    sharpe = sharpe_evidence(result.pooled.returns, episodes, 20)
    idea = "Buy <what> rose.\n\nEdge: it lasts."
    page = backtest_page(result, source.candles(SYMBOLS, "5m", None, END), evidence=evidence, sharpe=sharpe, idea=idea)
    fits(page, tmp_path)
    assert html.escape(idea) in page
    last = result.scored_trades.sort("exit_ts", "entry_ts", "symbol", "timeframe").tail(1).to_dicts()[0]
    shown = page[page.index(">entered<") :]
    assert shown.index(f"{last['entry_ts']:%Y-%m-%d %H:%M}") < shown.index(f"{last['exit_ts']:%Y-%m-%d %H:%M}")
    told = "All" if result.scored_trades.height <= MOST_TRADES else f"The last {MOST_TRADES} of"
    assert f"<summary>{told} {result.scored_trades.height:,} trades</summary>" in page
    assert shown.count("<tr><td") >= min(MOST_TRADES, result.scored_trades.height)


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        (Costs(), "slippage 2.0 bp a side; resting orders pay 6.0 bp;"),
        (
            Costs(maker_targets=True, impact=0.02),
            (
                "slippage 2.0 bp a side, and 200.0 bp times the root of a fill's share of its bar's volume; "
                "resting orders pay 2.0 bp;"
            ),
        ),
    ],
)
def test_the_page_says_by_which_costs_it_was_made(costs: Costs, said: str) -> None:
    manager = ToyManager(toy_source(2))
    result = evaluate([Momentum()], manager, SYMBOLS, START, END, costs=costs)[0]
    page = backtest_page(result, manager.source.candles(SYMBOLS, "5m", None, END))
    assert said in html.unescape(" ".join(page.split()))


def test_a_strategy_that_never_trades_has_a_page_too() -> None:
    manager = ToyManager(toy_source(2))

    class Idle(Momentum):
        def signals(self, frame):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as its parent's
            return super().signals(frame).with_columns(long_entry=False, short_entry=False)

    result = evaluate([Idle("idle")], manager, SYMBOLS, START, END)[0]
    nothing = sharpe_evidence(np.zeros(9), np.empty(0), 1)
    candles = manager.source.candles(SYMBOLS, "60m", None, END)
    page = backtest_page(result, candles, evidence=gather(result, seed=1, draws=5), sharpe=nothing)
    assert "No trades." in page
    assert "below zero without it" not in page, "it lost nothing"
    assert page.count(">no trades</td>") == 2
    assert "No probability: returns do not vary." in page
    assert "0 trades: too little data" in page


def test_a_failed_evaluation_has_none() -> None:
    manager = ToyManager(toy_source(2))
    failed = evaluate([Broken("broken")], manager, SYMBOLS, START, END, on_error="report")[0]
    with pytest.raises(ValueError, match="broken has no result to show: its evaluation failed with SignalError"):
        backtest_page(failed, manager.source.candles(SYMBOLS, "5m", None, END))
