"""`blofin backtest` of a book as a user meets it: on the stored universe of the sample market."""

import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import polars as pl
import pytest
from support.command import QUICK, blofin, refused
from support.platform import AS_OF, Platform

from backtester import TRADE_SCHEMA
from backtester.evaluation.book_breakdown import on_fixed_capital
from blofin_assets.shared.deep_market import deep_market
from blofin_assets.shared.vocabulary import Kind
from strategies import compile_book, load_books

pytestmark = pytest.mark.slow

WEEKLY = '''class Weekly(Book):
    """Buys what rose.

    Edge: flows.
    Fails: often.
    """

    name = "weekly"
    timeframe, rebalance = "{timeframe}", "7d"

    def weigh(self, f):
        return Weights(rank_by=f["{read}"], long=0.3, short=0.3)
'''


def backtest(platform: Platform, *arguments: str) -> CompletedProcess[str]:
    settings = {
        "BLOFIN_WAREHOUSE": str(platform.settings.warehouse),
        "BLOFIN_MARKET": platform.settings.market,
        "BLOFIN_UNIVERSE": platform.settings.universe,
        "BLOFIN_SYMBOLS": ",".join(platform.settings.symbols),
        "COLUMNS": "80",
    }
    return blofin("backtest", *arguments, **settings)


def tries(platform: Platform) -> pl.DataFrame:
    return platform.warehouse.read("SELECT * FROM research.trials WHERE kind = ? ORDER BY name", [Kind.BOOK])


def line(text: str, name: str) -> str:
    return next(each for each in text.splitlines() if each.strip().startswith(name)).split(name)[1].strip()


def test_a_book_is_printed_with_its_costs_capacity_and_symbols_and_counted_once(deep: Platform) -> None:
    before = tries(deep)
    asked = ("short_term_reversal", "--start", "2026-03-06", "--end", "2026-03-12", "--param", "hours=12")
    done = backtest(deep, *asked, "--capital", "50000")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert text.startswith("short_term_reversal, 2026-03-06 to 2026-03-12\non the sample:edge (synthetic) market\n")
    assert max(len(each) for each in text.splitlines()[:-5]) <= 80
    page = Path(text.splitlines()[-1].removeprefix("page: "))
    assert f"<title>Backtest of the book {asked[0]}</title>" in page.read_text(encoding="utf-8")
    (book,) = (each for each in load_books() if each.name == "short_term_reversal")
    market = deep_market(deep.warehouse, book.with_parameters(hours=12), *(AS_OF.replace(day=day) for day in (6, 12)))
    found = market.prepared.backtest(book.with_parameters(hours=12), start=market.start, capital=50_000.0)
    metrics = found.metrics()
    assert metrics["trades"]
    assert line(text, "capital") == "50,000"
    assert line(text, "net return") == f"{metrics['total_pnl_pct']:+.2f} %"
    assert line(text, "Sharpe ratio") == f"{metrics['sharpe']:+.2f} ±{metrics['sharpe_se']:.2f}"
    for name, metric in (("fees", "fees_pct"), ("slippage", "slippage_pct")):
        assert line(text, name) == f"{metrics[metric]:.2f} %"
    shares = re.findall(r"^ (10,000|100,000|1,000,000) +([\d.]+) ", text, re.MULTILINE)
    assert [float(share) for _, share in shares] == [
        pytest.approx(100 * (each.median or 0.0), abs=5e-4) for each in found.capacity()
    ]
    earned = found.result.by_symbol()
    assert all(f"\n {symbol} " in text for symbol in (earned["symbol"][0], earned["symbol"][-1]))
    assert "universe top:8: 8 members a day" in text
    (row,) = tries(deep).join(before, on="id", how="anti").rows(named=True)
    assert row["name"] == "short_term_reversal"
    assert (row["author"], row["lanes"], row["trades"]) == ("user", "top:8 60m", metrics["trades"])
    assert row["sharpe"] == pytest.approx(metrics["sharpe"])
    (document,) = json.loads(backtest(deep, *asked, "--capital", "50000", "--json").stdout)["backtests"]
    assert document["metrics"] == metrics, "every metric, not rounded"
    assert document["members"] == [8, 8]
    assert [each["symbol"] for each in document["by_symbol"]] == earned["symbol"].to_list()
    assert document["page"] == str(page.resolve())
    backtest(deep, *asked)
    assert tries(deep).height == before.height + 1, "the same configuration is no new try"


def test_a_book_is_exported_as_strategies_are(deep: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    window = ("--start", "2026-03-02", "--end", "2026-03-12")
    asked = ("low_volatility", *window, "--param", "hours=48", "--export", str(folder), "--json")
    (document,) = json.loads(backtest(deep, *asked).stdout)["backtests"]
    names = ("trades", "equity", "returns", "positions")
    assert document["exported"] == [str(folder / f"low_volatility_{each}.parquet") for each in names]
    trades, equity, returns, positions = (pl.read_parquet(path) for path in document["exported"])
    metrics = document["metrics"]
    assert trades.height == metrics["trades"] > 0
    assert set(TRADE_SCHEMA) - set(trades.columns) == {"leverage", "equity"}
    assert trades["pnl"].sum() == pytest.approx(sum(each["net"] for each in document["by_symbol"]))
    assert set(trades["side"]) == {"long", "short"}
    assert equity.columns == ["ts", "equity", "with_bars", "holding"]
    assert 100.0 * (equity["equity"][-1] - 1.0) == pytest.approx(metrics["total_pnl_pct"])
    assert returns.height == 10
    assert 100.0 * ((1.0 + returns["return"]).product() - 1.0) == pytest.approx(metrics["total_pnl_pct"])
    assert positions.height == 9 * 10 * 24, "each symbol at each bar"
    gross = positions.group_by("ts").agg(pl.col("weight").abs().sum())["weight"].mean()
    assert gross == pytest.approx(metrics["gross_exposure"])
    fills = positions.sort("symbol", "ts").with_columns(before=pl.col("quantity").shift(1, fill_value=0).over("symbol"))
    first = trades.filter(pl.col("tranche") == 0).sort("entry_ts").row(0, named=True)
    (entered,) = fills.filter(symbol=first["symbol"], ts=first["entry_ts"]).rows(named=True)
    assert entered["before"] == 0.0
    assert (entered["quantity"] > 0.0) == (first["side"] == "long")
    whole = trades.filter(pl.col("exit_reason") != "open").row(0, named=True)
    inside = pl.col("ts").is_between(whole["entry_ts"], whole["exit_ts"], closed="left")
    held = positions.filter(inside, pl.col("symbol") == whole["symbol"])["quantity"]
    assert held.abs().max() == pytest.approx(whole["quantity"]), "base units, not their value"
    refused(backtest(deep, *asked), "low_volatility_trades.parquet is there already", "another folder")
    printed = backtest(deep, *asked[:-2], str(folder), "--format", "csv").stdout
    assert printed.splitlines()[-1] == "exported: out/low_volatility_positions.csv"
    assert pl.read_csv(folder / "low_volatility_trades.csv").height == trades.height


def test_a_slow_book_of_a_file_shows_its_tranches(deep: Platform, tmp_path: Path) -> None:
    mine = tmp_path / "weekly.py"
    mine.write_text(WEEKLY.format(timeframe="4h", read="returns_6"), encoding="utf-8")
    done = backtest(deep, str(mine), "--days", "5")
    assert done.returncode == 0, done.stderr
    assert "2026-03-08 to 2026-03-13" in done.stdout
    assert [f"day {day} " in done.stdout for day in range(7)] == [True] * 7
    mine.write_text(WEEKLY.format(timeframe="60m", read="open_interest_change_8"), encoding="utf-8")
    assert "it never traded" in backtest(deep, str(mine), "--days", "2").stdout


def test_what_a_book_cannot_be_asked_is_refused(deep: Platform, tmp_path: Path) -> None:
    refused(backtest(deep, "funding_carry", "--symbols", "BTC-USDT"), "--symbols", "is a book")
    refused(backtest(deep, "funding_carry", "--days", "3", "--start", "2026-03-01"), "--start", "--days")
    refused(backtest(deep, "funding_carry", "--end", "2025-01-01"), "no deep history up to 2025-01-01")
    refused(backtest(deep, "funding_carry", "--start", "2026-03-20"), "stored bars begin at 2026-02-01 00:00")
    refused(backtest(deep, "funding_carry", "--start", "soon"), "--start", "not a valid time")
    refused(backtest(deep, "funding_carry", "--capital", "0"), "--capital 0", "above zero")
    refused(backtest(deep, "funding_cary"), "no strategy or book", "did you mean funding_carry")
    refused(backtest(deep, "funding_carry", "--leverage", "2"), "--leverage", "is a book")
    mine = tmp_path / "weekly.py"
    mine.write_text(WEEKLY.format(timeframe="5m", read="returns"), encoding="utf-8")
    refused(backtest(deep, str(mine)), "a book on 5m", "60m, 4h or 1d")
    mine.write_text(WEEKLY.format(timeframe="60m", read="model:direction"), encoding="utf-8")
    refused(backtest(deep, str(mine)), "reads predictions of models")


def test_what_is_read_ends_with_the_window(deep: Platform) -> None:
    book = compile_book(WEEKLY.format(timeframe="60m", read="BTC-USDT:1d:returns").replace('"7d"', '"24h"'))
    early, late = AS_OF.replace(day=6), AS_OF.replace(day=10)
    whole, cut = (deep_market(deep.warehouse, book, early, end) for end in (late, late.replace(day=8)))
    assert cut.prepared.market.time_of(-1).day == 7
    one, other = (each.prepared.columns(book.features())[book.features()[0]] for each in (whole, cut))
    shared = [whole.prepared.market.symbols.index(name) for name in cut.prepared.market.symbols]
    rows = len(other)
    assert pl.Series(one[:rows, shared].ravel()).equals(pl.Series(other.ravel()))
    assert pl.Series(other.ravel()).is_finite().any()


def bench(platform: Platform, *arguments: str) -> dict[str, Any]:
    settings = {
        "BLOFIN_WAREHOUSE": str(platform.settings.warehouse),
        "BLOFIN_MARKET": platform.settings.market,
        "BLOFIN_UNIVERSE": platform.settings.universe,
        "BLOFIN_SYMBOLS": ",".join(platform.settings.symbols),
    }
    done = blofin(*arguments, "--json", **settings)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_sweep_gives_each_point_of_a_book_the_numbers_that_it_has_alone(deep: Platform) -> None:
    ranges = ("--param", "hours=12:36:12", "--param", "share=0.2:0.3:0.1")
    found = bench(deep, "sweep", "short_term_reversal", *ranges, "--days", "9", "--end", "2026-03-12")
    assert (found["start"][:10], found["end"][:10]) == ("2026-03-03", "2026-03-12")
    assert len(found["points"]) == 6
    point = found["points"][3]
    assert (point["hours"], point["share"]) == (24.0, 0.3)
    params = ("--param", "hours=24", "--param", "share=0.3")
    window = ("--start", "2026-03-03", "--end", "2026-03-12")
    (alone,) = bench(deep, "backtest", "short_term_reversal", *params, *window)["backtests"]
    same = ("score", "sharpe", "sharpe_se", "trades", "win_rate", "avg_pnl_pct", "total_pnl_pct", "max_drawdown")
    assert {name: point[name] for name in same} == {name: alone["metrics"][name] for name in same}
    assert point["version"] == alone["version"]
    tried = tries(deep).filter(name="short_term_reversal", window_start=AS_OF.replace(day=3))
    assert set(tried["version"]) >= {each["version"] for each in found["points"]}
    assert set(tried["lanes"]) == {"top:8 60m"}, "the same configuration, however it was run"
    assert found["tries"] >= 6
    text = Path(found["page"]).read_text(encoding="utf-8")
    assert "universe top:8 on 60m" in text


def test_a_walk_chooses_a_book_by_the_past_alone(deep: Platform, tmp_path: Path) -> None:
    mine = tmp_path / "quick.py"
    mine.write_text(QUICK, encoding="utf-8")
    lengths = ("--train", "4d", "--test", "2d", "--budget", "4", "--end", "2026-03-13")
    found = bench(deep, "walk-forward", str(mine), *lengths, "--start", "2026-03-05")
    tests = [(each["train_start"][:10], each["start"][:10], each["end"][:10]) for each in found["windows"]]
    assert tests == [("2026-03-05", "2026-03-09", "2026-03-11"), ("2026-03-07", "2026-03-11", "2026-03-13")]
    assert found["joined_pct"] == pytest.approx(sum(each["test_pct"] for each in found["windows"]))
    first = found["windows"][0]
    version = compile_book(QUICK).with_parameters(**first["parameters"])
    market = deep_market(deep.warehouse, version, *(AS_OF.replace(day=day) for day in (9, 11)))
    alone = on_fixed_capital(market.prepared.backtest(version, start=market.start))
    assert first["test_pct"] == pytest.approx(alone.total_pnl_pct)
    assert first["trades"] == alone.trades > 0
    windows = tries(deep).filter(name="quick").group_by("window_start", "window_end").len().sort("window_start")
    days = [(start.day, end.day) for start, end, _ in windows.rows()]
    assert days == [(5, 9), (7, 11), (9, 11), (11, 13)]
    assert windows["len"].to_list()[:2] == [4, 4], "each version that was tried in training"
    assert "universe top:8 on 60m" in Path(found["page"]).read_text(encoding="utf-8")
    earlier = bench(deep, "walk-forward", str(mine), *lengths[:-1], "2026-03-11", "--start", "2026-03-05")
    assert earlier["windows"][0]["parameters"] == first["parameters"], "what came later changed no choice"
    assert earlier["windows"][0]["test_pct"] == first["test_pct"]
