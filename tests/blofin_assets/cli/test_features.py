"""`blofin features` as a user meets it: the list, tear sheets of features, groups and texts, and what is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from support.command import blofin, refused
from support.pages import fits, needs_nothing
from support.platform import AS_OF, Platform

from backtester.evaluation.feature_sheet import HORIZONS
from blofin_assets.cli.feature_names import names_of
from blofin_assets.cli.features import Request, run_features
from blofin_assets.cli.features_text import Looked
from blofin_assets.cli.stored import Span
from blofin_assets.shared.deep_source import DeepSource
from blofin_assets.shared.vocabulary import FEATURE
from blofin_resources.errors import BlofinError
from features.definition import GROUPS
from features.feature_manager import FeatureManager
from features.registry import Registry, standard_registry

BEGIN = datetime(2026, 2, 1, tzinfo=UTC)
END = datetime(2026, 3, 12, tzinfo=UTC)
ASKED = Request("returns", None, None, "60m", Span(AS_OF))


@pytest.fixture
def there(deep: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name in ("warehouse", "market", "universe"):
        monkeypatch.setenv(f"BLOFIN_{name.upper()}", str(getattr(deep.settings, name)))
    monkeypatch.setenv("BLOFIN_SYMBOLS", ",".join(deep.settings.symbols))
    monkeypatch.setenv("DAGSTER_HOME", deep.instance.root_directory)
    monkeypatch.setenv("COLUMNS", "80")
    return deep


def tries(platform: Platform) -> pl.DataFrame:
    return platform.warehouse.read("SELECT * FROM research.trials WHERE kind = ? ORDER BY name, version", [FEATURE])


def test_without_a_name_every_feature_has_a_line_in_its_group() -> None:
    done = blofin("features")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines) <= 100
    heads = [line.split(" (")[0] for line in lines if not line.startswith((" ", "*"))]
    assert heads == list(GROUPS)
    assert any(line.startswith(" *rsi_<n> ") and "Relative strength" in line for line in lines)
    document = json.loads(blofin("features", "--json").stdout)
    assert len(document["features"]) == len(lines) - len(heads) - 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("rsy_14",), ("no feature or group 'rsy_14'", "nearest: rsi_14")),
        (("momentun",), ("nearest: momentum",)),
        (("qqqq",), ("no feature or group 'qqqq'", "blofin features lists all")),
        (("rsi_99999",), ("n = 99999 is out of range", "2 to 10000")),
        (("rsi_14", "--file", "x.txt"), ("give a name or a file, not both",)),
        (("--file", "none.txt"), ("--file none.txt: no such file",)),
        (("--file", "import.txt"), ("--file import.txt", "one expression over features")),
        (("--file", "truth.txt"), ("is a number", "where(condition, 1, 0)")),
        (("--file", "latin.txt"), ("0xe9 is not UTF-8",)),
        (("rsi_14", "--start", "2026-03-02", "--end", "2026-03-01"), ("the window is empty",)),
    ],
)
def test_a_wrong_name_or_text_is_answered_before_the_warehouse_is_opened(
    changed: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("import.txt").write_text("import os", encoding="utf-8")
    Path("truth.txt").write_text("f.rsi_14 > 50", encoding="utf-8")
    Path("latin.txt").write_bytes(b"caf\xe9")
    refused(blofin("features", *changed), *words)
    assert not Path("warehouse").exists()


def test_an_empty_group_names_those_that_have_features() -> None:
    registry = Registry(each for each in standard_registry() if each.group in {"macd", "trend"})
    with pytest.raises(BlofinError, match="the group regime has no features; those that have some are trend, macd"):
        names_of(registry, "Regime")
    assert names_of(registry, "macd") == registry.group("macd")


def test_more_looks_need_a_larger_t() -> None:
    assert Looked(1, 1).needed == pytest.approx(stats.norm.ppf(0.975))
    assert Looked(6, 6).needed == pytest.approx(stats.norm.ppf(1 - 0.05 / 12))


@pytest.mark.slow
def test_the_universe_is_measured_between_symbols_and_each_horizon_is_a_trial(
    there: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    run_features(ASKED)
    text = capsys.readouterr().out
    assert " of the universe on 60m · sample:edge (synthetic)" in text
    assert "between symbols at each bar" in text
    tables = text[text.index("known on") : text.index("Information coefficient")].splitlines()
    assert max(len(line) for line in tables) <= 80
    assert "…" not in "".join(tables), "no cell is cut"
    page = (there.settings.warehouse / "backtests").glob("feature_returns_*.html")
    assert "<title>Tear sheet of returns</title>" in next(page).read_text(encoding="utf-8")
    rows = tries(there).filter(pl.col("name") == "returns")
    assert {json.loads(each)["horizon"] for each in rows["params"]} == set(HORIZONS[:5])
    assert rows["author"].unique().to_list() == ["user"]
    run_features(ASKED)
    assert tries(there).filter(pl.col("name") == "returns").height == rows.height, "the same look is the same trial"
    capsys.readouterr()
    run_features(replace(ASKED, name="rsi_14", as_json=True))
    now = json.loads(capsys.readouterr().out)
    assert now["looks"] >= rows.height + len(now["sheets"][0]["horizons"]), "what was looked at before counts, too"


@pytest.mark.slow
def test_the_quantile_book_pays_the_costs_asked_for(there: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    del there
    found = []
    for fee, slippage in ((None, None), (0.0001, 0.0003), (0.0, 0.0)):
        run_features(replace(ASKED, fee=fee, slippage=slippage, as_json=True))
        found.append(json.loads(capsys.readouterr().out))
    usual, half, free = (pl.DataFrame(each["sheets"][0]["horizons"]) for each in found)
    assert usual["costs_pct"].to_list() == pytest.approx((2.0 * half["costs_pct"]).to_list())
    assert free["costs_pct"].to_list() == [0.0] * free.height
    paid = pl.col("gross_pct") - pl.col("funding_pct")
    for each in (usual, half, free):
        assert each["net_pct"].to_list() == pytest.approx(each.select(paid - pl.col("costs_pct")).to_series().to_list())
    assert found[1]["costs"]["taker_fee"] == 0.0001
    assert len({each["page"] for each in found}) == 3
    assert len({each["looks"] for each in found}) == 1, "what a book pays is no other look at the feature"
    with pytest.raises(ValueError, match=r"taker_fee is 2\.0"):
        run_features(replace(ASKED, fee=2.0))


@pytest.mark.slow
def test_the_coefficient_is_that_of_scipy_on_stored_bars(there: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    symbols = there.warehouse.read("SELECT DISTINCT symbol FROM market.deep_60m ORDER BY symbol")["symbol"].to_list()[
        :7
    ]
    asked = Request(
        "rate_of_change_12", None, ",".join(symbols), "60m", Span(AS_OF, BEGIN + timedelta(days=3), END), as_json=True
    )
    run_features(asked)
    document = json.loads(capsys.readouterr().out)
    (sheet,) = document["sheets"]
    assert (sheet["across"], document["symbols"]) == (True, symbols)
    manager = FeatureManager(DeepSource(there.warehouse, END), END)
    bars = manager.window(symbols, "60m", ["rate_of_change_12"], BEGIN + timedelta(days=3), END)
    paid = manager.source.funding(symbols, BEGIN, END)
    found = []
    by_symbol = {symbol: bars.filter(pl.col("symbol") == symbol) for symbol in symbols}
    opens = {symbol: frame["open"].to_list() for symbol, frame in by_symbol.items()}
    times = by_symbol[symbols[0]]["ts"].to_list()
    due = {(symbol, ts): rate for symbol, ts, rate in paid.iter_rows()}
    horizon = 4
    for row in range(len(times) - 1 - horizon):
        values = [by_symbol[symbol]["rate_of_change_12"][row] for symbol in symbols]
        held = []
        for symbol in symbols:
            entry = opens[symbol][row + 1]
            fees = sum(
                due.get((symbol, times[at]), 0.0) * opens[symbol][at] for at in range(row + 2, row + 2 + horizon)
            )
            held.append((opens[symbol][row + 1 + horizon] - fees) / entry - 1.0)
        found.append(stats.spearmanr(values, held).statistic)
    told = next(each for each in sheet["horizons"] if each["horizon"] == horizon)
    assert (told["times"], told["ic"]) == (len(found), pytest.approx(float(np.mean(found)), abs=1e-9))


@pytest.mark.slow
def test_a_group_has_a_line_for_each_feature_and_leaves_out_what_is_unknown(
    there: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    run_features(Request("macd", None, None, "60m", Span(AS_OF, days=20)))
    text = capsys.readouterr().out
    assert "macd: 7 features, over 24 bars" in text
    page = next((there.settings.warehouse / "backtests").glob("feature_macd_*.html")).read_text(encoding="utf-8")
    assert "How alike they are" in page
    with pytest.raises(BlofinError, match="no feature of the group positioning is known on any bar"):
        run_features(Request("positioning", None, None, "60m", Span(AS_OF, days=20)))


@pytest.mark.slow
def test_a_text_is_compiled_and_never_executed(
    there: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "idea.txt"
    file.write_text("zscore(f.rsi_14, 60) * f.volume_ratio_20\n", encoding="utf-8")
    run_features(Request(None, file, None, "60m", Span(AS_OF), as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert document["about"] == "zscore(f.rsi_14, 60) * f.volume_ratio_20"
    assert document["sheets"][0]["name"].startswith("written_")
    assert Path(document["page"]).name.startswith("feature_idea_")
    assert document["looks"] >= tries(there).filter(pl.col("name").str.starts_with("written_")).height > 0


@pytest.mark.slow
@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"symbols": "NOPE-USDT"}, ("no candles of NOPE-USDT",)),
        ({"timeframe": "7m"}, ("--timeframe 7m", "there are 1m, 5m")),
        ({"span": Span(AS_OF, datetime(2025, 1, 1, tzinfo=UTC))}, ("--start 2025-01-01", "begin at 2026-02-01")),
        ({"span": Span(AS_OF, days=0)}, ("--days 0: give at least one day",)),
        ({"span": Span(AS_OF, end=AS_OF + timedelta(days=3))}, ("is after what is stored",)),
        ({"name": "model:direction"}, ("knows no models",)),
        ({"name": "taker_imbalance"}, ("is known on no bar",)),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((BlofinError, ValueError, LookupError)) as error:
        run_features(replace(ASKED, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_without_deep_history_the_traded_symbols_are_measured(
    here: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    run_features(Request("rsi_14", None, "BTC-USDT", "5m", Span(AS_OF, days=6), as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert document["sheets"][0]["across"] is False
    assert document["symbols"] == ["BTC-USDT"]
    run_features(Request("rsi_14", None, None, "60m", Span(AS_OF, days=6)))
    assert "BTC-USDT, ETH-USDT of the traded symbols on 60m" in capsys.readouterr().out
    assert tries(here).height == 6 + 3


@pytest.mark.slow
def test_the_pages_fit_a_desk_and_a_phone_and_need_no_network(there: Platform, tmp_path: Path) -> None:
    for name in ("rsi_14", "macd"):
        run_features(Request(name, None, None, "60m", Span(AS_OF, days=20)))
        page = next((there.settings.warehouse / "backtests").glob(f"feature_{name}_*.html"))
        needs_nothing(page.read_text(encoding="utf-8"))
        fits(page.read_text(encoding="utf-8"), tmp_path)
