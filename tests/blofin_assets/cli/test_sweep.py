"""`blofin sweep` as a user meets it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.pages import fits
from support.platform import AS_OF, Platform

from blofin_assets.cli.stored import Span
from blofin_assets.cli.sweep import Request, run_sweep
from blofin_resources.errors import BlofinError

pytestmark = pytest.mark.slow

ASKED = Request("ema_crossover", ["fast=5:9:2", "ratio=2:3:1"], None, None, "60m", Span(AS_OF, days=10))


def tries(platform: Platform) -> int:
    return int(platform.warehouse.read("SELECT count(*) FROM research.trials WHERE author = 'user'").item())


def pages(platform: Platform) -> set[Path]:
    return set((platform.settings.warehouse / "backtests").glob("ema_crossover_sweep_*.html"))


def test_every_point_is_a_trial_once_and_the_page_holds_the_verdict(
    here: Platform, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before, earlier = tries(here), pages(here)
    run_sweep(ASKED)
    shown = capsys.readouterr().out
    assert tries(here) == before + 6
    assert "6 points, each a trial" in shown
    assert "Best: fast = " in shown
    assert "of its" in shown
    [page] = pages(here) - earlier
    text = page.read_text(encoding="utf-8")
    fits(text, tmp_path)
    assert "fast and ratio" in text
    assert "synthetic" in text
    assert text.count("<svg") == 2
    run_sweep(ASKED)
    assert tries(here) == before + 6, "the same points again are no new trials"
    assert page.read_text(encoding="utf-8") == text
    rows = here.warehouse.read(
        "SELECT DISTINCT lanes, window_end, purpose, kind FROM research.trials WHERE author = 'user'"
    ).rows()
    assert ("BTC-USDT:60m,ETH-USDT:60m", AS_OF, "holdout", "strategy") in rows


@pytest.mark.usefixtures("here")
def test_a_sample_and_one_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    run_sweep(replace(ASKED, params=["fast=5:30", "ratio=2:6", "stop_width=2"], points=5))
    assert "nearest points" in capsys.readouterr().out
    run_sweep(replace(ASKED, params=["fast=5:7:1"], symbols="ETH-USDT"))
    assert "3 points" in capsys.readouterr().out


def test_every_point_is_in_the_document_as_the_ledger_has_it(
    here: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sweep(replace(ASKED, as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert document["axes"] == {"fast": [5.0, 7.0, 9.0], "ratio": [2.0, 3.0]}
    assert len(document["points"]) == 6
    ledger = dict(
        here.warehouse.read(
            "SELECT version, sharpe FROM research.trials WHERE author = 'user' AND lanes = ?",
            [",".join(document["lanes"])],
        ).rows()
    )
    assert {each["version"]: each["sharpe"] for each in document["points"]}.items() <= ledger.items()
    highest = max(each["sharpe"] for each in document["points"] if each["trades"] >= 10)
    assert document["best"]["sharpe"] == highest
    assert document["tries"] >= 6
    assert Path(document["page"]).is_file()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"params": ["fast=5:50:1"]}, ("parameter fast = 50", "range 5 to 30")),
        ({"params": ["fast=5:6:0.5"]}, ("fast = 5.5 must be a whole number",)),
        (
            {"strategy": "funding_carry", "params": ["hours=24:48:24"], "timeframes": "60m"},
            ("--timeframes", "leave it"),
        ),
        ({"strategy": "funding_carry", "params": ["hours=24:48:24"], "timeframes": None}, ("no deep history",)),
        ({"strategy": "funding_carry", "params": ["halflife=1:2:1"]}, ("no parameter halflife",)),
        ({"strategy": "low_volatility", "params": []}, ("nothing to sweep",)),
        ({"span": Span(AS_OF, days=0)}, ("--days 0",)),
        ({"span": Span(AS_OF, start=AS_OF.replace(year=2020))}, ("--start 2020", "begin at 2026-03-01")),
        ({"span": Span(AS_OF, end=AS_OF.replace(day=14))}, ("--end 2026-03-14", "ends at 2026-03-13")),
        ({"span": Span(AS_OF, start=AS_OF.replace(day=9), days=3)}, ("--start and --days 3",)),
        ({"span": Span(AS_OF, start=AS_OF.replace(day=9), end=AS_OF.replace(day=2))}, ("the window is empty",)),
        ({"timeframes": "1m"}, ("none of 1m",)),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((BlofinError, ValueError)) as error:
        run_sweep(replace(ASKED, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
