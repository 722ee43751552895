"""The worked example of docs/guides/BACKTEST_GUIDE.md is computed, not asserted: its tables are read from the page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from lane_cases import START as FIRST
from lane_cases import frame_of, signals_frame
from reference import Bar, Replay, Signal

from backtester import Bars, Costs, Lane, MarginRules, Signals, pool, run_lanes

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "BACKTEST_GUIDE.md"
OUTCOMES = {
    "No position": {"nothing": [], "buy": [("long", "open")], "sell short": [("short", "open")]},
    "Long": {
        "nothing": [("long", "open")],
        "exit": [("long", "signal")],
        "reversal": [("long", "reversal"), ("short", "open")],
    },
    "Short": {
        "nothing": [("short", "open")],
        "exit": [("short", "signal")],
        "reversal": [("short", "reversal"), ("long", "open")],
    },
}
"""What the words of the table do: side and exit reason of each trade."""
START = datetime(2025, 6, 1, tzinfo=UTC)


def table(heading: str) -> list[dict[str, str]]:
    """The first table below a heading."""
    lines = GUIDE.read_text(encoding="utf-8").split(f"### {heading}\n", 1)[1].splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def number(text: str) -> float:
    return float(text.replace(",", "").replace("%", "").replace("−", "-"))


def at(clock: str) -> datetime:
    return START + timedelta(hours=int(clock.split(":", maxsplit=1)[0]))


@pytest.mark.parametrize("row", table("Signals and positions"), ids=lambda row: row["Signals at the close"])
def test_a_close_decides_what_the_table_says(row: dict[str, str]) -> None:
    """Every row against the kernel and the reference loop: a position is opened, the signals come three bars later."""
    said = row["Signals at the close"]
    given = {} if said == "none" else {name.replace(" ", "_"): True for name in said.split(", ")}
    bars = [Bar(FIRST + k * 60_000_000, 100.0, 100.0, 100.0, 100.0) for k in range(6)]
    made = Bars.from_frame(frame_of(bars), "1m")
    for held in ("No position", "Long", "Short"):
        signals = [Signal() for _ in bars]
        if held != "No position":
            signals[0] = Signal(**{f"{held.lower()}_entry": True})
        signals[3] = Signal(**given)
        expected = OUTCOMES[held][row[held]]
        lane = Lane(made, Signals.from_frame(signals_frame(bars, signals), made), Costs.free())
        trades = run_lanes([lane], trades=True)[0].trades_frame()
        assert list(zip(trades["side"], trades["exit_reason"], strict=True)) == expected, held
        slow = Replay(bars, signals, [], 60_000_000, Costs.free(), MarginRules(), 10_000.0).run()
        assert [(trade.side, trade.reason) for trade in slow.trades] == expected, held


def test_the_table_names_every_combination() -> None:
    names = {row["Signals at the close"] for row in table("Signals and positions")}
    signals = ("long entry", "short entry", "long exit", "short exit")
    assert names == {", ".join(some) or "none" for count in range(5) for some in combinations(signals, count)}


def test_the_worked_example_is_what_the_engine_says() -> None:
    given = table("The bars")
    frame = pl.DataFrame(
        {
            "symbol": ["EX-USDT"] * len(given),
            "ts": [at(row["bar"]) for row in given],
            **{name: [number(row[name]) for row in given] for name in ("open", "high", "low", "close")},
        }
    )
    funding = pl.DataFrame({"symbol": ["EX-USDT"] * 2, "ts": [START, START + timedelta(hours=8)], "rate": [1e-4, 1e-4]})
    bars = Bars.from_frame(frame, "60m", funding=funding)
    said = [row["signal at the close"] for row in given]
    signals = pl.DataFrame(
        {
            "ts": frame["ts"],
            **{
                f"{s}_{w}": [t.startswith(f"{s} {w}") for t in said]
                for s in ("long", "short")
                for w in ("entry", "exit")
            },
            "stop": [0.02 if "stop 2 %" in t else None for t in said],
            "target": [0.05 if "target 5 %" in t else None for t in said],
        }
    )
    lane = Lane(bars, Signals.from_frame(signals, bars), Costs(taker_fee=0.001, slippage=0.001))
    result, declared = run_lanes([replace(lane, fixed=True), lane], trades=True, equity=True)
    trades = result.trades_frame().to_dicts()
    expected = table("The three trades")
    assert len(trades) == len(expected) == 3
    for trade, row in zip(trades, expected, strict=True):
        assert trade["side"] == row["side"]
        assert (trade["entry_ts"], trade["exit_ts"]) == (at(row["entry bar"]), at(row["exit bar"]))
        assert trade["exit_reason"] == row["reason"]
        for name, column, digits in (
            ("entry_price", "entry fill", 4),
            ("exit_price", "exit fill", 4),
            ("quantity", "quantity", 4),
            ("pnl", "net PnL", 2),
            ("fees", "fees", 2),
            ("funding", "funding", 2),
            ("slippage", "slippage", 2),
            ("pnl_pct", "net %", 4),
        ):
            assert number(row[column]) == pytest.approx(trade[name], abs=0.5 * 10**-digits + 1e-9), column
    marks = [number(row["equity"]) for row in table("Capital and PnL")]
    assert marks == pytest.approx((result.equity * 10_000).tolist(), abs=0.005 + 1e-9)
    totals = {row["metric"]: number(row["value"]) for row in table("The metrics")}
    pooled = pool([replace(result, declared=declared)])
    assert totals["declared_pnl_pct"] == pytest.approx(pooled.declared_pnl_pct, abs=5e-5)
    assert totals["declared_drawdown"] == pytest.approx(pooled.declared_drawdown, abs=5e-6)
    assert totals["win_rate"] == pytest.approx(result.win_rate, abs=5e-5)
    assert totals["avg_pnl_pct"] == pytest.approx(result.avg_pnl_pct, abs=5e-5)
    assert totals["total_pnl_pct"] == pytest.approx(result.total_pnl_pct, abs=5e-5)
    assert totals["max_drawdown"] == pytest.approx(result.max_drawdown, abs=5e-6)
    assert totals["fees_pct"] == pytest.approx(result.fees_pct, abs=5e-5)
    assert totals["funding_pct"] == pytest.approx(result.funding_pct, abs=5e-5)
    assert totals["sharpe"] == pytest.approx(pooled.sharpe, abs=0.005)
    assert totals["score"] == pytest.approx(pooled.score, abs=0.005)
