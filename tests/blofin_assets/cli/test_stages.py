"""How far a pass is, in a terminal and in a file."""

import io

from rich.console import Console

from blofin_assets.cli.stages import Stages, shown_stages


def drive(stages: Stages) -> None:
    stages.begin("market_data 2026-03-12", 2)
    stages.advance()
    stages.advance()
    stages.end(failed=False)
    stages.begin("report [2026-03-12]", 1)
    stages.end(failed=True)


class Slow(io.StringIO):
    """A file that remembers what was on disk by then: what was flushed."""

    flushed = ""

    def flush(self) -> None:
        self.flushed = self.getvalue()


def test_without_a_terminal_each_stage_has_a_line_when_it_begins_and_when_it_ends() -> None:
    file, times = Slow(), iter([100.0, 112.34, 200.0, 201.0])
    with shown_stages(Console(file=file, width=20), lambda: next(times)) as stages:
        stages.begin("market_data 2026-03-12", 2)
        assert file.flushed == "market_data 2026-03-12: begins, 2 assets and checks\n", "at once, not at the end"
        stages.advance()
        stages.end(failed=False)
        assert file.flushed.splitlines()[1:] == ["market_data 2026-03-12: done after 12.3 s"]
        stages.begin("report [2026-03-12]", 1)
        stages.end(failed=True)
    assert file.getvalue().splitlines()[2:] == [
        "report [2026-03-12]: begins, 1 assets and checks",
        "report [2026-03-12]: failed after 1.0 s",
    ]


def test_in_a_terminal_there_are_bars() -> None:
    file = io.StringIO()
    with shown_stages(Console(file=file, force_terminal=True, width=80)) as stages:
        drive(stages)
    assert "2/2" in file.getvalue()
    assert "begins" not in file.getvalue()
