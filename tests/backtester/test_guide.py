"""The worked example of docs/BACKTEST_GUIDE.md is computed, not asserted: its tables are read from the page."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from backtester import Bars, Costs, Lane, Signals, pool, run_lanes

GUIDE = Path(__file__).parents[2] / "docs" / "BACKTEST_GUIDE.md"
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
    result = run_lanes([lane], trades=True, equity=True)[0]
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
            ("pnl", "PnL", 2),
            ("fees", "fees", 2),
            ("funding", "funding", 2),
            ("pnl_pct", "net %", 4),
        ):
            assert number(row[column]) == pytest.approx(trade[name], abs=0.5 * 10**-digits + 1e-9), column
    marks = [number(row["equity"]) for row in table("The equity")]
    assert marks == pytest.approx((result.equity * 10_000).tolist(), abs=0.005 + 1e-9)
    totals = {row["metric"]: number(row["value"]) for row in table("The metrics")}
    pooled = pool([result])
    assert totals["win_rate"] == pytest.approx(result.win_rate, abs=5e-5)
    assert totals["avg_pnl_pct"] == pytest.approx(result.avg_pnl_pct, abs=5e-5)
    assert totals["total_pnl_pct"] == pytest.approx(result.total_pnl_pct, abs=5e-5)
    assert totals["max_drawdown"] == pytest.approx(result.max_drawdown, abs=5e-6)
    assert totals["fees_pct"] == pytest.approx(result.fees_pct, abs=5e-5)
    assert totals["funding_pct"] == pytest.approx(result.funding_pct, abs=5e-5)
    assert totals["sharpe"] == pytest.approx(pooled.sharpe, abs=0.005)
    assert totals["score"] == pytest.approx(pooled.score, abs=0.005)
