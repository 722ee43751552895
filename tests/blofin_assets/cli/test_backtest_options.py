"""Costs, capital, leverage, windows, exports and JSON of `blofin backtest`."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from support.platform import AS_OF, Platform

from blofin_assets.cli.backtest import Request, run_backtest
from blofin_resources.errors import BlofinError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("here")]

ASKED = Request("ema_crossover", None, "60m", None, [], AS_OF, AS_OF - timedelta(days=10), AS_OF - timedelta(days=1))


def found(capsys: pytest.CaptureFixture[str], request: Request) -> list[dict]:  # type: ignore[type-arg]
    run_backtest(replace(request, as_json=True))
    documents: list[dict] = json.loads(capsys.readouterr().out)["backtests"]  # type: ignore[type-arg]
    return documents


def test_costs_capital_and_leverage_are_those_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    (usual,) = found(capsys, ASKED)
    assert (usual["start"][:10], usual["end"][:10]) == ("2026-03-03", "2026-03-12")
    assert usual["costs"]["taker_fee"] == 0.0006
    (free,) = found(capsys, replace(ASKED, fee=0.0, slippage=0.0, maker=0.0))
    assert free["pooled"]["fees_pct"] == 0.0
    assert free["pooled"]["total_pnl_pct"] > usual["pooled"]["total_pnl_pct"]
    assert free["page"] != usual["page"]
    (levered,) = found(capsys, replace(ASKED, leverage=3.0))
    assert levered["pooled"]["total_pnl_pct"] == pytest.approx(usual["pooled"]["total_pnl_pct"])
    assert levered["pooled"]["declared_pnl_pct"] != pytest.approx(usual["pooled"]["declared_pnl_pct"])
    total = sum(each["return_pct"] for each in usual["by_quarter"])
    assert total == pytest.approx(usual["pooled"]["total_pnl_pct"])
    assert len(usual["by_symbol"]) == 2
    assert len(usual["by_session"]) == 3


def test_at_a_stated_capital_quantities_are_whole_lots(
    here: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = here.warehouse.read("SELECT symbol, lot_size * contract_value AS lot FROM market.instruments")
    lots = dict(terms.iter_rows())
    assert min(lots.values()) > 0.0
    (usual,) = found(capsys, ASKED)
    (rich,) = found(capsys, replace(ASKED, capital=1e9))
    (poor,) = found(capsys, replace(ASKED, capital=300.0, folder=tmp_path / "out"))
    assert usual["pooled"]["rounded_away_pct"] is None
    assert rich["pooled"]["rounded_away_pct"] == pytest.approx(0.0, abs=1e-3)
    assert rich["pooled"]["total_pnl_pct"] == pytest.approx(usual["pooled"]["total_pnl_pct"], abs=1e-3)
    assert 0.01 < poor["pooled"]["rounded_away_pct"] < 100.0
    trades = pl.read_parquet(tmp_path / "out" / "ema_crossover_trades.parquet")
    assert trades.height == poor["pooled"]["trades"] > 0
    for symbol, quantity in trades.select("symbol", "quantity").iter_rows():
        assert quantity / lots[symbol] == pytest.approx(round(quantity / lots[symbol]), abs=1e-6)
        assert quantity > 0.0
    lanes = poor["lanes"]
    assert sum(lane["trades"] + lane["too_small"] for lane in lanes if lane["scored"]) >= poor["pooled"]["trades"]
    run_backtest(replace(ASKED, capital=300.0))
    told = " ".join(capsys.readouterr().out.split())
    assert f"lots and smallest orders left out {poor['pooled']['rounded_away_pct']:.2f} % of what was asked for" in told
    assert "Left out by lots and smallest orders" in Path(poor["page"]).read_text(encoding="utf-8")


def test_an_export_holds_what_was_traded_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    (document,) = found(capsys, replace(ASKED, folder=folder))
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(path).name for path in document["exported"])
    trades, equity, returns, positions, signals = (
        pl.read_parquet(folder / f"ema_crossover_{what}.parquet")
        for what in ("trades", "equity", "returns", "positions", "signals")
    )
    assert trades.height == document["pooled"]["trades"] > 0
    assert 100.0 * (equity["equity"][-1] - 1.0) == pytest.approx(document["pooled"]["total_pnl_pct"])
    assert 100.0 * (equity["holding"][-1] - 1.0) == pytest.approx(document["holding_pct"])
    assert 100.0 * returns["return"].sum() == pytest.approx(document["pooled"]["total_pnl_pct"])
    assert returns.height == 9
    assert sum(each["return_pct"] for each in document["by_month"]) == pytest.approx(100.0 * returns["return"].sum())
    assert positions.height == signals.height == 2 * 9 * 24
    for row in trades.rows(named=True):
        held = positions.filter(
            pl.col("symbol") == row["symbol"], pl.col("ts") >= row["entry_ts"], pl.col("ts") < row["exit_ts"]
        )["quantity"]
        sign = 1.0 if row["side"] == "long" else -1.0
        assert (held == sign * row["quantity"]).all()
        entered = signals.filter(
            pl.col("symbol") == row["symbol"], pl.col("ts") == row["entry_ts"] - timedelta(hours=1)
        )
        assert entered[f"{row['side']}_entry"].to_list() == [True]
    with pytest.raises(BlofinError, match=r"ema_crossover_trades\.parquet is there already"):
        run_backtest(replace(ASKED, folder=folder))
    found(capsys, replace(ASKED, folder=folder, form="csv"))
    assert pl.read_csv(folder / "ema_crossover_trades.csv").height == trades.height
    for told in (
        pd.read_csv(folder / "ema_crossover_returns.csv", index_col="date", parse_dates=True)["return"],
        pd.read_parquet(folder / "ema_crossover_returns.parquet").set_index("date")["return"],
    ):
        daily = told.set_axis(pd.DatetimeIndex(told.index))
        assert daily.index.freq is None
        assert daily.index.is_monotonic_increasing
        assert daily.to_list() == pytest.approx(returns["return"].to_list())


def test_several_at_once_each_have_their_page(here: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = found(capsys, replace(ASKED, others=["macd_momentum"]))
    assert (one["name"], two["name"]) == ("ema_crossover", "macd_momentum")
    assert Path(one["page"]).is_file()
    assert Path(two["page"]).parent == here.settings.warehouse / "backtests"
    page = Path(one["page"]).read_text(encoding="utf-8")
    for words in ("holding the same lanes", "By quarter", "By session", "By symbol", "in 90 % of them"):
        assert words in page


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fee": 2.0}, ("taker_fee is 2.0", "0.0006")),
        ({"slippage": -0.1}, ("slippage is -0.1",)),
        ({"symbols": " , "}, ("--symbols ' , ' names no symbol", "leave the option out")),
        ({"capital": 0.0}, ("--capital 0", "above zero")),
        ({"leverage": 0.5}, ("--leverage 0.5", "1 to 100")),
        ({"others": ["macd_momentum"], "params": ["fast=8"]}, ("--param fast=8", "several", "one at a time")),
        ({"others": ["ema_crossover"]}, ("named twice", "blofin compare")),
        ({"others": ["funding_carry"]}, ("funding_carry is a book", "by itself")),
        ({"strategy": "funding_carry", "timeframes": None, "leverage": 2.0}, ("--leverage", "leave it out")),
        ({"strategy": "funding_carry", "timeframes": None, "maker": 0.0}, ("--maker", "leave it out")),
        ({"folder": Path("x"), "form": "xls"}, ("--format 'xls'", "parquet, csv")),
        ({"days": 3}, ("--start and --days 3",)),
        ({"end": AS_OF - timedelta(days=11)}, ("the window is empty",)),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((BlofinError, ValueError)) as error:
        run_backtest(replace(ASKED, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlofinError, match="is a file; give a folder"):
        run_backtest(replace(ASKED, folder=tmp_path / "file"))


PATIENT = """
from strategies import Features, Signal, Strategy


class Patient(Strategy):
    \"\"\"Buy after a rise, a little lower.\"\"\"

    name = "patient"
    timeframes = ("60m",)

    def detect(self, f: Features) -> Signal:
        return Signal(long_entry=f.returns > 0, long_exit=f.returns < 0, entry_limit=0.3 * f.atr_14 / f.close)
"""


def test_the_share_of_limit_orders_that_were_filled_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "patient.py"
    path.write_text(PATIENT, encoding="utf-8")
    asked = replace(ASKED, strategy=str(path))
    (document,) = found(capsys, asked)
    orders, fills = document["pooled"]["limit_orders"], document["pooled"]["limit_fills"]
    assert 0 < fills < orders
    assert fills == document["pooled"]["trades"]
    run_backtest(asked)
    told = " ".join(capsys.readouterr().out.split())
    assert f"limit orders filled: {fills} of {orders} ({100 * fills / orders:.0f} %)" in told
    assert "Limit orders filled" in Path(document["page"]).read_text(encoding="utf-8")
