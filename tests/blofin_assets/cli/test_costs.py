"""What a stage took: by stage and by asset, without the memory of the stages before it."""

import io
import subprocess
import sys
import time

import pytest
from rich.console import Console

from blofin_assets.cli.costs import Costs


def work() -> None:
    """Use the processor for a while."""
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass


def test_a_stage_is_the_sum_of_its_runs_and_names_its_costliest_asset() -> None:
    costs = Costs()
    for _ in range(2):
        with costs.stage("market_data") as meter:
            meter.begin("idle")
            meter.end("idle")
            meter.begin("busy")
            work()
            meter.end("busy")
    with costs.stage("report") as meter:
        meter.end("never begun")
    assert list(costs.stages) == ["market_data", "report"]
    assert costs.stages["market_data"].runs == 2
    assert costs.stages["market_data"].cpu >= costs.assets["market_data", "busy"].cpu > 0
    assert ("report", "never begun") not in costs.assets
    file = io.StringIO()
    Console(file=file, width=100).print(costs.table())
    assert "market_data" in file.getvalue()
    assert "busy" in file.getvalue()
    assert "idle" not in file.getvalue()


def test_a_stage_that_fails_is_measured() -> None:
    costs = Costs()
    with pytest.raises(KeyError), costs.stage("market_data"):
        raise KeyError
    assert costs.stages["market_data"].runs == 1


ALONE = """
import numpy as np
from blofin_assets.cli.costs import Costs, _now, _peak

np.ones(80_000_000 // 8)
high = _peak()
_now()
if _peak() > high - 40_000_000:
    raise SystemExit("not set back")
costs = Costs()
with costs.stage("large") as meter:
    meter.begin("asset")
    np.ones(40_000_000 // 8)
    meter.end("asset")
    meter.begin("later")
    meter.end("later")
with costs.stage("small"):
    pass
print(costs.stages["large"].peak, costs.stages["small"].peak)
print(costs.assets["large", "asset"].peak, costs.assets["large", "later"].peak)
"""
"""A process of its own: one that has done much else has room for all of it without asking the system."""


def test_the_peak_of_a_stage_is_its_own() -> None:
    program = [sys.executable, "-c", ALONE]
    answer = subprocess.run(program, capture_output=True, text=True, check=False)
    if "not set back" in answer.stderr:
        pytest.skip("this system does not set the peak of a process back")
    assert answer.returncode == 0, answer.stderr
    large, small, asset, later = (int(number) for number in answer.stdout.split())
    assert large == asset
    assert large - small > 30_000_000
    assert later < asset
