"""Progress of a pass: bars in a terminal, lines in a file.

Belongs here: showing the progress of stages. Does not belong here: running them (`runner`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Stages(Protocol):
    """Receives the progress of one stage after the other."""

    def begin(self, label: str, assets: int) -> None:
        """Begin a stage of so many assets and checks."""

    def advance(self) -> None:
        """One of them has ended."""

    def end(self, *, failed: bool) -> None:
        """The stage has ended."""


@contextmanager
def shown_stages(out: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[Stages]:
    """Show stages on a console: progress bars on a terminal, else a line when each begins and ends.

    Parameters
    ----------
    out
        The console.
    clock
        Monotonic clock, in seconds.

    Yields
    ------
    Stages
        Receiver of the progress.
    """
    if not out.is_terminal:
        yield _Lines(out, clock)
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=out,
    ) as bars:  # fmt: skip
        yield _Bars(bars)


class _Lines:
    def __init__(self, out: Console, clock: Callable[[], float]) -> None:
        self._out = out
        self._clock = clock
        self._label = ""
        self._begun = 0.0

    def begin(self, label: str, assets: int) -> None:
        self._label, self._begun = label, self._clock()
        self._say(f"begins, {assets} assets and checks")

    def advance(self) -> None:
        pass

    def end(self, *, failed: bool) -> None:
        self._say(f"{'failed' if failed else 'done'} after {self._clock() - self._begun:.1f} s")

    def _say(self, text: str) -> None:
        self._out.print(f"{self._label}: {text}", markup=False, highlight=False, soft_wrap=True)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = TaskID(0)

    def begin(self, label: str, assets: int) -> None:
        self._task = self._bars.add_task(label, total=assets)

    def advance(self) -> None:
        self._bars.advance(self._task)

    def end(self, *, failed: bool) -> None:
        if failed:
            self._bars.stop_task(self._task)
