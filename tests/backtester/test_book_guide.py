"""The example of the guide on books, and the book that it shows, are computed from the page."""

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support.invented_universe import invented

from backtester import BookMarket, BookRules, Contract, Costs, backtest_book, run_book
from backtester.evaluation.book_evaluation import BookEvaluation
from backtester.simulation import book_kernel as kernel
from backtester.simulation.book_market import LARGEST_VALUE
from backtester.simulation.costs import LARGE_SHARE
from features.bars import FUNDING_SETTLES
from strategies import Weights, compile_book
from strategies.language.across import ACROSS

PAGE = (Path(__file__).parents[2] / "docs/guides/BOOK_GUIDE.md").read_text(encoding="utf-8")
SYMBOLS = ("A", "B", "C")
HOUR = 3_600_000_000


def table(heading: str) -> list[dict[str, str]]:
    section = re.split(rf"^##+ {heading}$", PAGE, maxsplit=1, flags=re.MULTILINE)[1]
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in re.search(r"(^\|.*\n)+", section, re.MULTILINE).group(0).splitlines()  # type: ignore[union-attr]
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def example() -> BookEvaluation:
    bars, weights = table("Bars"), table("Weights")
    opens, closes = (
        np.array([[float(bar[f"{symbol} {price}"]) for symbol in SYMBOLS] for bar in bars])
        for price in ("open", "close")
    )
    funding = np.zeros(opens.shape)
    funding[2, 0] = 0.001
    market = BookMarket(
        SYMBOLS,
        "60m",
        4 * 24 * HOUR + HOUR * np.arange(len(bars)),
        open=opens,
        high=np.maximum(opens, closes),
        low=np.minimum(opens, closes),
        close=closes,
        quote_volume=np.full(opens.shape, 1e6),
        member=np.ones(opens.shape, dtype=bool),
        funding=funding,
        contracts=(Contract(lot=0.1),) * 3,
    )
    values = np.full(opens.shape, np.nan)
    for row in weights:
        values[int(row["Bar"])] = [float(row[symbol]) for symbol in SYMBOLS]
    rules = BookRules(timedelta(hours=2), neutral="none", band=0.05, given_weights=True)
    costs = Costs(taker_fee=0.001, slippage=0.01)
    return BookEvaluation("pencil", run_book(market, rules, values, costs=costs, capital=1_000.0))


def test_the_equity_of_the_example_is_that_of_the_page() -> None:
    assert example().result.equity == pytest.approx([float(row["Equity"]) for row in table("Equity")], abs=1e-9)


def test_the_trades_of_the_example_are_those_of_the_page() -> None:
    trades = {trade["symbol"]: trade for trade in example().result.trades.iter_rows(named=True)}
    names = {"Side": "side", "Entry": "entry_price", "Exit": "exit_price", "Quantity": "quantity", "PnL": "pnl",
             "Fees": "fees", "Funding": "funding", "Net": "net", "Net %": "pnl_pct"}  # fmt: skip
    assert len(trades) == len(table("Trades"))
    for row in table("Trades"):
        trade = trades[row["Symbol"]]
        assert trade["reason"] == row["Reason"]
        for column, name in names.items():
            assert trade[name] == pytest.approx(float(row[column]), abs=1e-6), (row["Symbol"], column)


def test_the_constants_of_the_page_are_those_of_the_code() -> None:
    constants = (kernel.FEWEST, kernel.ENDED_SLIPPAGE, LARGEST_VALUE, FUNDING_SETTLES.seconds)
    assert constants == (5, 10.0, 1e100, 5), "five symbols, ten times, 10^100 and five seconds"
    share, hours = f"{100 * LARGE_SHARE:g} %", kernel.ENDED_AFTER // HOUR
    for said in (f"{hours} hours old", f"over {kernel.WINDOW} bars", f"last {kernel.WINDOW} bars", f"above {share}"):
        assert said in PAGE, said


def test_the_book_of_the_page_compiles_and_runs() -> None:
    text = next(code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "(Book)" in code)
    book = compile_book(text, hours=24)
    market = invented(hours=200)
    assert backtest_book(book, market.candles["60m"], market.funding).result.trades.height > 5


def test_the_tables_name_every_metric_part_and_word() -> None:
    metrics = {name.strip("` ") for row in table("What the numbers mean") for name in row["Metric"].split(",")}
    assert metrics == set(example().metrics())
    parts = {name.strip("` ") for row in table("Parts of `Weights`") for name in row["Part"].split(",")}
    assert parts == set(Weights.__dataclass_fields__)
    assert {row["Word"].split("(")[0] for row in table("Words that compare symbols")} == {f"across.{w}" for w in ACROSS}
