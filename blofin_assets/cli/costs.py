"""What each stage of a pass took: wall time, processor time, peak memory.

Belongs here: measuring this process and its children, and the table of it. Does not belong here: running the stages
(`run`), comparing passes of different size (`benchmarks/bench_lanes.py`).
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.table import Table

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_CLEAR_PEAK: Final = "5"
"""What Linux takes to set a process's peak memory back to what it has now."""

_MB: Final = 1e6


@dataclass
class Cost:
    """What one thing took.

    Attributes
    ----------
    runs
        How often it ran.
    wall, cpu
        Seconds by the clock, and of the processor, children that ended included.
    peak
        Highest resident memory of this process meanwhile, bytes, what it held before included.
    """

    runs: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0

    def add(self, other: "Cost") -> None:
        """Add another run."""
        self.runs += other.runs
        self.wall += other.wall
        self.cpu += other.cpu
        self.peak = max(self.peak, other.peak)


@dataclass
class Costs:
    """The costs of a pass, by stage and by asset or check.

    Attributes
    ----------
    stages
        By job, in the order in which they first ran.
    assets
        By job and asset or check.
    """

    stages: dict[str, Cost] = field(default_factory=dict)
    assets: dict[tuple[str, str], Cost] = field(default_factory=dict)

    @contextmanager
    def stage(self, job: str) -> Iterator["StageMeter"]:
        """Measure one run of a stage; the meter takes the begin and end of each of its assets and checks.

        Yields
        ------
        StageMeter
            Takes the events.
        """
        meter, begun = StageMeter(), _now()
        try:
            yield meter
        finally:
            whole = _since(begun)
            whole.peak = max(whole.peak, meter.peak)
            self.stages.setdefault(job, Cost()).add(whole)
            for name, cost in meter.assets.items():
                self.assets.setdefault((job, name), Cost()).add(cost)

    def table(self) -> Table:
        """Return a row for each stage with the asset or check that took most of its processor time, and their sum."""
        table = Table(title="What each stage took")
        for name in ("stage", "runs", "wall s", "CPU s", "peak MB", "most of it"):
            table.add_column(name, justify="left" if name in ("stage", "most of it") else "right")
        whole = Cost()
        for job, cost in self.stages.items():
            whole.add(cost)
            table.add_row(job, *_numbers(cost), self._most(job))
        if len(self.stages) > 1:
            table.add_section()
            table.add_row("all", *_numbers(whole), "")
        return table

    def _most(self, job: str) -> str:
        own = {name: cost for (stage, name), cost in self.assets.items() if stage == job}
        if not own:
            return ""
        name = max(own, key=lambda each: own[each].cpu)
        return f"{name} {own[name].cpu:.1f} s"


class StageMeter:
    """Measures the assets and checks of one run.

    Attributes
    ----------
    assets
        What has ended, by name.
    peak
        Highest resident memory until the last asset or check began, bytes.
    """

    def __init__(self) -> None:
        self.assets: dict[str, Cost] = {}
        self.peak = 0
        self._begun: dict[str, tuple[float, float]] = {}

    def begin(self, name: str) -> None:
        """An asset or check begins."""
        self.peak = max(self.peak, _peak())
        self._begun[name] = _now()

    def end(self, name: str) -> None:
        """It has ended."""
        begun = self._begun.pop(name, None)
        if begun is not None:
            self.assets.setdefault(name, Cost()).add(_since(begun))


def _numbers(cost: Cost) -> tuple[str, str, str, str]:
    return str(cost.runs), f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{cost.peak / _MB:,.0f}"


def _now() -> tuple[float, float]:
    """Return wall and processor time, seconds, and begin to measure the peak memory anew where the system can."""
    with suppress(OSError):
        _CLEAR.write_text(_CLEAR_PEAK)
    return time.perf_counter(), _cpu()


def _since(begun: tuple[float, float]) -> Cost:
    return Cost(1, time.perf_counter() - begun[0], _cpu() - begun[1], _peak())


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak() -> int:
    """Return the highest resident memory since `_now`, or of the whole life of the process where not Linux."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
