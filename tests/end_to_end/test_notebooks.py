"""Every notebook runs from its first cell to its last, on a warehouse after a pass, and counts what it looks at."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from support.command import found_by_commands
from support.platform import Make, Platform
from support.sample_universe import store_universe

from blofin_assets import bench
from blofin_assets.shared.code_version import PROJECT
from blofin_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

NOTEBOOKS: Final = PROJECT / "notebooks"


def shown(name: str) -> tuple[str, Mapping[str, Any]]:
    """Run a notebook; return what its cells show, as text, and the names that they define."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, NOTEBOOKS / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    outputs, names = module.app.run()
    return "\n".join(str(getattr(each, "text", each)) for each in outputs if each is not None), names


def tries(store: Warehouse) -> int:
    return int(store.read("SELECT count(*) FROM research.trials").item())


@pytest.fixture
def here(done: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    found_by_commands(done, monkeypatch)
    monkeypatch.setenv("BLOFIN_UNIVERSE", "off")
    return done


@pytest.fixture
def deep(make_platform: Make, monkeypatch: pytest.MonkeyPatch) -> Platform:
    platform = make_platform(universe="top:8", market="sample:edge")
    store_universe(platform.warehouse, datetime(2026, 2, 1, tzinfo=UTC), "edge")
    found_by_commands(platform, monkeypatch)
    monkeypatch.setenv("BLOFIN_UNIVERSE", "top:8")
    monkeypatch.setenv("BLOFIN_MARKET", "sample:edge")
    return platform


def test_a_first_look_and_a_report_are_read_and_nothing_is_written(here: Platform) -> None:
    before = here.warehouse.snapshot_id()
    text, names = shown("first_look.py")
    assert f"Stored hours: {names['hours'].height:,}" in text
    assert names["leaders"].height > 10
    assert set(names["hours"]["symbol"]) == {"BTC-USDT", "ETH-USDT"}
    text, names = shown("read_a_report.py")
    assert names["report"]["summary"] in text
    assert names["best"].height == 5
    assert here.warehouse.snapshot_id() == before


def test_a_strategy_is_a_counted_trial_once(here: Platform) -> None:
    before = tries(here.warehouse)
    text, names = shown("one_strategy.py")
    assert tries(here.warehouse) == before + 1
    numbers = names["numbers"]
    earned = f"{numbers['pooled']['total_pnl_pct']:+.2f} %"
    assert earned in text
    equity = names["found"].frames["equity"]["equity"]
    assert f"{100.0 * (equity[-1] - 1.0):+.2f} %" == earned
    assert Path(numbers["page"]).is_file()
    shown("one_strategy.py")
    assert tries(here.warehouse) == before + 1, "the same version on the same days is one trial"


def test_a_feature_counts_each_horizon(here: Platform) -> None:
    before = tries(here.warehouse)
    text, names = shown("a_feature.py")
    assert tries(here.warehouse) == before + names["sheet"].horizons.height
    assert f"{names['found']['looks']:,} looks at these days" in text


def test_a_book_is_shown_with_what_it_holds(deep: Platform) -> None:
    text, names = shown("a_book.py")
    assert tries(deep.warehouse) == 1
    assert names["numbers"]["metrics"]["trades"] > 0
    assert names["held"].height > 0
    assert "8 members a day" in text


def test_without_what_it_needs_a_notebook_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_platform: Make
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "none"))
    with pytest.raises(Exception, match="make one with: blofin run"):
        bench.warehouse()
    found_by_commands(make_platform(), monkeypatch)
    text, names = shown("read_a_report.py")
    assert "run <code>blofin run</code>" in text
    assert "report" not in names


def test_a_notebook_is_a_script_too(here: Platform) -> None:
    del here
    done = subprocess.run([sys.executable, NOTEBOOKS / "first_look.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_guide_runs_as_it_is_written(here: Platform) -> None:
    page = (PROJECT / "docs" / "guides" / "NOTEBOOK_GUIDE.md").read_text(encoding="utf-8")
    on_store, on_frames = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    before, names = tries(here.warehouse), {}
    exec(on_store, names)  # noqa: S102 - our own page
    assert {"trades", "equity", "returns", "positions", "signals"} == set(names["found"].frames)
    assert tries(here.warehouse) == before + 1 + names["sheet"].horizons.height
    exec(on_frames, names)  # noqa: S102 - our own page
    assert names["values"].height == 24
    assert names["engine"].calculate_metrics()["trades"] > 0
    with pytest.raises(TypeError, match="wrap it: FrameSource"):
        names["FeatureManager"](names["minutes"], as_of=names["end"])


def test_every_notebook_is_run_here_and_has_no_fault_that_marimo_knows() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS.glob("*.py") if f'"{path.name}"' not in text] == []
    done = subprocess.run(
        [Path(sys.executable).with_name("marimo"), "check", "--strict", NOTEBOOKS], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
