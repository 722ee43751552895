"""`blofin compare` as a user meets it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.command import found_by_commands
from support.pages import fits
from support.platform import AS_OF, Platform
from support.sample_universe import store_universe

from blofin_assets.cli.backtest import Request, run_backtest
from blofin_assets.cli.compare import Compared, run_compare
from blofin_assets.cli.stored import Span
from blofin_resources.errors import BlofinError

pytestmark = pytest.mark.slow

SLOW = '''class Slow(Book):
    """Buys what rose.

    Edge: flows.
    Fails: often.
    """

    name = "slow"
    timeframe, rebalance = "1d", "24h"

    def weigh(self, f):
        return Weights(rank_by=f.returns_3, long=0.3, short=0.3)
'''
BEGIN = datetime(2026, 2, 1, tzinfo=UTC)
ASKED = Compared(["ema_crossover", "ema_crossover:fast=20"], None, "60m", Span(AS_OF, days=10))


def test_versions_of_one_strategy_are_told_apart_or_not_and_each_is_a_trial(
    here: Platform, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_compare(ASKED)
    shown = capsys.readouterr().out
    assert "ema_crossover less ema_crossover:fast=20:" in shown
    assert "told apart; correlation" in shown
    [page] = (here.settings.warehouse / "backtests").glob("compare_*.html")
    assert "fast 20, ratio 3, stop_width 3" in page.read_text(encoding="utf-8").replace("<wbr>", "")
    fits(page.read_text(encoding="utf-8"), tmp_path)
    tried = here.warehouse.read("SELECT count(DISTINCT version) FROM research.trials WHERE author = 'user'").item()
    assert tried == 2
    run_compare(replace(ASKED, as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert document["names"] == ["ema_crossover", "ema_crossover:fast=20"]
    assert len(document["differences"]) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"named": ["ema_crossover"]}, ("1 named", "give 2 to 8")),
        ({"named": ["ema_crossover", "ema_crossover"]}, ("ema_crossover is named twice",)),
        ({"named": ["ema_crossover", "ema_crossover:fst=2"]}, ("no parameter fst", "did you mean fast?")),
        ({"named": ["ema_crossover", "ema_crossover:fast=99"]}, ("fast = 99", "range 5 to 30")),
        ({"named": ["low_volatility", "funding_carry"]}, ("--symbols and --timeframes are of strategies",)),
        ({"named": ["low_volatility", "funding_carry"], "timeframes": None}, ("no deep history",)),
        ({"named": ["ema_crossover", "nothing_here"]}, ("no strategy or book 'nothing_here'",)),
        ({"span": Span(AS_OF, days=1)}, ("fewer than two days",)),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((BlofinError, ValueError)) as error:
        run_compare(replace(ASKED, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def deep(passed: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform after one pass, with weeks of a universe."""
    found_by_commands(passed, monkeypatch)
    monkeypatch.setenv("BLOFIN_UNIVERSE", "top:8")
    store_universe(passed.warehouse, BEGIN)
    return passed


def found(capsys: pytest.CaptureFixture[str], asked: Compared) -> dict[str, Any]:
    capsys.readouterr()
    run_compare(replace(asked, as_json=True))
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_books_stand_beside_strategies_and_among_themselves(deep: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    books = ["short_term_reversal:hours=12", "cross_sectional_momentum:hours=24"]
    both = found(capsys, replace(ASKED, named=["ema_crossover", books[0]]))
    assert (both["start"][:10], both["end"][:10]) == ("2026-03-03", "2026-03-13")
    assert [row["name"] for row in both["costs"]] == ["ema_crossover", books[0]]
    (alone,) = found_backtests(capsys, "short_term_reversal", "hours=12", both)
    assert both["costs"][1]["trades"] == alone["metrics"]["trades"] > 0
    assert both["costs"][1]["turnover"] == pytest.approx(alone["metrics"]["turnover"])
    assert both["costs"][1]["total_pnl_pct"] == pytest.approx(alone["metrics"]["total_pnl_pct"], abs=0.5)
    text = Path(both["page"]).read_text(encoding="utf-8")
    assert "universe top:8 on 60m" in text
    assert "Correlation of hourly returns" in text
    only = found(capsys, Compared(books, None, None, Span(AS_OF)))
    assert only["start"][:10] == "2026-03-04", "books alone begin where each may decide: thirty days are stored before"
    assert only["notes"][0].startswith("universe top:8: 8 members a day")
    kinds = deep.warehouse.read(
        "SELECT kind, count(DISTINCT version) FROM research.trials WHERE author = 'user' GROUP BY 1"
    )
    assert dict(kinds.rows()) == {"strategy": 1, "book": 2}
    Path("slow.py").write_text(SLOW, encoding="utf-8")
    daily = found(capsys, replace(ASKED, named=["ema_crossover", "slow.py"]))
    assert daily["bar_hours"] == 24
    assert daily["start"].endswith("T00:00:00+00:00")
    with pytest.raises(BlofinError, match="no 60m bar from 2026-03-13"):
        run_compare(Compared(books, None, None, Span(AS_OF, start=AS_OF)))


def found_backtests(
    capsys: pytest.CaptureFixture[str], name: str, param: str, window: dict[str, Any]
) -> list[dict[str, Any]]:
    start, end = (datetime.fromisoformat(window[side]) for side in ("start", "end"))
    run_backtest(Request(name, None, None, None, [param], AS_OF, start, end, as_json=True))
    backtests: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["backtests"]
    return backtests
