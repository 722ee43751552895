"""What cannot be run or is refused stops itself alone, with the reason where people look, and never the stage."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.platform import Platform, platforms

from backtester import SignalError
from backtester.aggregator import aggregate
from backtester.windows import Window
from blofin_assets.assets.tuning import _judged
from blofin_assets.plan import FORWARD, STRATEGY_CYCLE
from blofin_assets.runner import CONSOLE
from blofin_resources.errors import BlofinError
from blofin_resources.market.factory import open_market
from features.bars import FrameSource
from features.feature_manager import FeatureManager
from strategies.compiler import compile_strategy
from strategies.evolution.panel import Panel
from strategies.registry import load_library

END = datetime(2025, 6, 12, tzinfo=UTC)
WINDOW = Window(END - timedelta(days=6), END)
SYMBOLS = ("BTC-USDT", "SOL-USDT")
WHY = "signals of BTC-USDT 5m: row 7 has stop 0; give a fraction of the entry price above 0"
CODE = '''class Follower(Strategy):
    """Follow the last bars. Edge: none. Fails: always."""

    name = "follower"
    timeframes = ("5m",)
    bars = Param(6, 2, 24)

    def detect(self, f):
        return Signal(long_entry=f.close > mean(f.close, self.bars), long_exit=f.close < mean(f.close, self.bars))
'''


def unfit(*_: object) -> pl.DataFrame:
    raise SignalError(WHY)


@pytest.fixture(scope="module")
def panel() -> Panel:
    source = open_market("sample", archive=None, api_url="", seed=7)
    minutes = source.candles_1m(SYMBOLS, END - timedelta(days=12), END)
    frames = FrameSource(
        {"1m": minutes, "5m": aggregate(minutes, "5m")}, source.funding(SYMBOLS, END - timedelta(days=12), END)
    )
    return Panel.read(FeatureManager(frames, END), SYMBOLS, WINDOW, timeframes=("5m",))


@pytest.fixture
def passed(first_pass: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform after one whole pass, for one test alone."""
    shutil.copytree(first_pass / "warehouse", tmp_path / "warehouse", symlinks=True)
    with platforms(tmp_path) as make:
        yield make()


def test_one_that_cannot_be_run_on_the_search_window_does_not_stop_the_others(panel: Panel) -> None:
    good, bad = compile_strategy(CODE), compile_strategy(CODE.replace('"follower"', '"broken"'))
    bad.signals = unfit  # type: ignore[method-assign]
    judged, failed = _judged(panel, [bad, good])
    assert [each.strategy.name for each in judged] == ["follower"]
    assert failed == {"broken": WHY}
    with pytest.raises(BlofinError, match="no strategy could be run on the search window: signals of BTC-USDT"):
        _judged(panel, [bad])


def test_one_that_cannot_be_run_leaves_ledger_and_exam_to_the_others(
    passed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = "SELECT name, state, detail FROM research.forward_runs WHERE kind = 'strategy' ORDER BY name"
    ranks = "SELECT name FROM research.ranking_history WHERE kind = 'strategy' ORDER BY rank"
    before, ranked = passed.warehouse.read(runs), passed.warehouse.read(ranks)["name"].to_list()
    name = before["name"][0]
    monkeypatch.setattr(type(next(each for each in load_library() if each.name == name)), "signals", unfit)

    made = {FORWARD: "2026-03-13-00:00", STRATEGY_CYCLE: "2026-03-12"}
    for job, key in made.items():
        result = passed.defs.resolve_job_def(job).execute_in_process(
            instance=passed.instance, partition_key=key, run_config=CONSOLE, raise_on_error=False
        )
        assert result.success, job
        if job == FORWARD:
            after = passed.warehouse.read(runs)
            assert after.row(0) == (name, "lost", f"SignalError: {WHY}")
            assert after[1:].equals(before[1:])
    assert passed.warehouse.read(ranks)["name"].to_list() == [each for each in ranked if each != name]
    events = "SELECT event, reason FROM research.strategy_events WHERE name = ? AND event IN ('failed', 'archived')"
    assert set(passed.warehouse.read(events, [name]).iter_rows()) == {
        ("failed", f"SignalError: {WHY}"),
        ("archived", f"SignalError: {WHY}"),
    }
