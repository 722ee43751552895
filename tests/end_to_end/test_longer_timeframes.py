"""A strategy on 15m goes the whole way: scored, held out, ranked, followed forward and reported."""

from datetime import timedelta
from pathlib import Path

import pytest
from support.platform import AS_OF, Make

from blofin_assets.shared.cadences import FORWARD, MARKET_DATA, REPORT, STRATEGY_CYCLE
from features.bars import MINUTES, Timeframe
from strategies import registry
from strategies.registry import LIBRARY, library_files

OWN = '''"""A strategy of this test."""

from strategies import Features, Param, Signal, Strategy


class {title}(Strategy):
    """Fade a move on bars of {timeframe}.

    Edge: moves overshoot. Fails: when they go on.
    """

    name = "{name}"
    timeframes = ("{timeframe}",)
    level = Param(0.4, 0.1, 2.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        return Signal(long_entry=f.zscore_20 < -self.level, short_entry=f.zscore_20 > self.level, time_stop=2)
'''
ON: dict[str, Timeframe] = {"fade_quarter": "15m"}


@pytest.mark.long
def test_it_is_scored_ranked_followed_and_reported(
    make_platform: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [path for path in library_files() if path.stem == "ema_crossover"]
    for name, timeframe in ON.items():
        title = name.title().replace("_", "")
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(OWN.format(title=title, name=name, timeframe=timeframe), encoding="utf-8")
    given = {LIBRARY: files}
    monkeypatch.setattr(registry, "library_files", lambda folder: given.get(folder) or library_files(folder))
    platform = make_platform()
    platform.run(jobs=(MARKET_DATA, STRATEGY_CYCLE, FORWARD, REPORT))
    store, names = platform.warehouse, list(ON)

    lanes = store.read(
        "SELECT strategy_name, timeframe, total_trades FROM research.strategy_backtest_results "
        "WHERE list_contains(?, strategy_name) AND scored AND symbol <> '*'",
        [names],
    )
    assert {(name, timeframe) for name, timeframe, _ in lanes.iter_rows()} == {*ON.items()}
    assert lanes["total_trades"].min() > 0
    scores = store.read(
        "SELECT DISTINCT strategy FROM research.strategy_scores WHERE list_contains(?, strategy)", [names]
    )
    assert set(scores["strategy"]) == set(ON)
    ranked = store.read("SELECT name, score FROM research.ranking_history WHERE kind = 'strategy'")
    assert set(ON) <= set(ranked["name"])
    assert ranked["score"].null_count() == 0
    trades = store.read(
        "SELECT name, timeframe, entry_ts FROM research.forward_trades WHERE list_contains(?, name)", [names]
    )
    assert set(trades.select("name", "timeframe").rows()) == {*ON.items()}
    for _, timeframe, entry in trades.iter_rows():
        assert (entry - AS_OF) % timedelta(minutes=MINUTES[timeframe]) == timedelta()
        assert AS_OF - timedelta(days=1) <= entry < AS_OF
    document = (platform.settings.warehouse / "reports" / "2026-03-12.json").read_text(encoding="utf-8")
    page = (platform.settings.warehouse / "reports" / "2026-03-12.html").read_text(encoding="utf-8")
    assert all(name in document and name in page for name in ON)
