"""One constant says how long the holdout is: made longer, nothing before it may see the days that it gained."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.platform import AS_OF, Make

from blofin_assets.shared.cadences import CADENCES, MARKET_DATA, STRATEGY_CYCLE
from strategies import registry
from strategies.registry import LIBRARY, library_files

SLOW = '''"""A fade of days."""

from strategies import Param, Signal, Strategy


class SlowTrend(Strategy):
    """Fade moves of four-hour bars.

    Edge: moves overshoot. Fails: when they go on.
    """

    name = "slow_trend"
    timeframes = ("4h",)
    level = Param(0.4, 0.1, 2.0)

    def detect(self, f):
        return Signal(long_entry=f.zscore_20 < -self.level, short_entry=f.zscore_20 > self.level, time_stop=2)
'''

TEN_DAYS = """
import sys
from datetime import timedelta
from pathlib import Path

import backtester.statistics.windows as windows

windows.HOLDOUT_LENGTH = timedelta(days=10)

from support.platform import AS_OF, platforms

from blofin_assets.strategy_cycle.evaluation import STEPS_BACK
from blofin_assets.strategy_cycle.prompt_context import lessons
from blofin_assets.shared.cadences import CADENCES, MARKET_DATA, STRATEGY_CYCLE
from blofin_assets.drift.performance import EXPECTED_REACH
from blofin_assets.reporting.sections import data

TEN = timedelta(days=10)
assert EXPECTED_REACH == data.RECENT == TEN
assert STEPS_BACK == 5
assert "last 10 days" in [column.header for column in data._COVERAGE]

with platforms(Path(sys.argv[1])) as make:
    platform = make(start=(AS_OF - timedelta(days=27)).date().isoformat())
    platform.run(jobs=(MARKET_DATA, STRATEGY_CYCLE))
    store, cycle = platform.warehouse, next(each for each in CADENCES if each.job == STRATEGY_CYCLE).floor(AS_OF)
    begins = cycle - TEN
    searched = store.read("SELECT DISTINCT window_end FROM research.trials WHERE purpose = 'search'")
    assert searched["window_end"].to_list() == [begins], searched
    judged = store.read("SELECT DISTINCT window_start, window_end FROM research.strategy_backtest_results")
    assert judged.rows() == [(begins, cycle)], judged
    names = store.read('SELECT DISTINCT "window" FROM research.strategy_scores ORDER BY ALL')["window"].to_list()
    assert len(names) == 2 and names[0] == "holdout" and names[1].startswith("search_"), names
    told = store.read("SELECT DISTINCT usable_from FROM research.knowledge_entries WHERE window_end = ?", [cycle])
    assert told["usable_from"].to_list() == [cycle + TEN], told
    with store.transaction("old") as tx:
        row = store.read("SELECT * EXCLUDE (run_id) FROM research.knowledge_entries LIMIT 1")
        old = row.with_columns(id=row["id"] + "-old", usable_from=None, as_of=None, content=row["content"] + " (old)")
        tx.append("research.knowledge_entries", old.cast(row.schema), key=["id"])
    stamp = row["timestamp"][0]
    seen = [each for day in (9, 10) for each in lessons(store, stamp + timedelta(days=day)) if "(old)" in each.content]
    assert len(seen) == 1, "a lesson without a date may be read once the holdout that it may rest on is over"
print("ten days everywhere")
"""


@pytest.mark.long
def test_a_longer_holdout_is_longer_everywhere(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    paths = f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'tests')!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", paths + TEN_DAYS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("ten days everywhere")


@pytest.mark.long
def test_who_holds_for_days_has_a_longer_holdout_and_is_searched_only_before_it(
    make_platform: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "library"
    folder.mkdir()
    for name in ("ema_crossover", "rsi_reversion"):
        shutil.copy(LIBRARY / f"{name}.py", folder)
    (folder / "slow_trend.py").write_text(SLOW)
    given = {LIBRARY: folder}
    monkeypatch.setattr(registry, "library_files", lambda asked: library_files(given.get(asked, asked)))
    days = timedelta(days=1)
    platform = make_platform(start=(AS_OF - 76 * days).date().isoformat(), symbols="BTC-USDT", search_budget=0)
    platform.run(jobs=(MARKET_DATA, STRATEGY_CYCLE))
    store, cycle = platform.warehouse, next(each for each in CADENCES if each.job == STRATEGY_CYCLE).floor(AS_OF)
    result = "research.strategy_backtest_results"
    held = f"SELECT DISTINCT strategy_name, window_start, window_end FROM {result} ORDER BY ALL"
    short, long = cycle - 7 * days, cycle - 28 * days
    assert store.read(held).rows() == [
        ("ema_crossover", short, cycle), ("rsi_reversion", short, cycle), ("slow_trend", long, cycle),
    ]  # fmt: skip
    tried = "SELECT name, max(window_end) FROM research.trials WHERE purpose = 'search' GROUP BY ALL ORDER BY ALL"
    searched = store.read(tried)
    assert searched.rows() == [("ema_crossover", short), ("rsi_reversion", short), ("slow_trend", long)]
    windows = store.read('SELECT strategy, "window" FROM research.strategy_scores ORDER BY ALL').rows()
    assert [name for _, name in windows].count("holdout") == 3
    assert store.read("SELECT count(DISTINCT name) FROM research.evidence WHERE kind = 'strategy'").item() == 3
    hours = store.read("SELECT min(ts) AS first FROM research.active_set")["first"][0]
    assert hours == short, "the active set is held together over the days that all have"
