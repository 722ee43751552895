"""The `blofin` command within the test's process: the same entry point, without the seconds that a process costs."""

import os
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.platform import Platform

from blofin_assets.cli.main import main

QUICK = '''class Quick(Book):
    """Buys what fell.

    Edge: flows.
    Fails: often.
    """

    name = "quick"
    timeframe, rebalance = "60m", "8h"
    hours = Param(12, 6, 36)
    share = Param(0.3, 0.2, 0.5)

    def weigh(self, f):
        return Weights(rank_by=-f.feature("returns", self.hours), long=self.share, short=self.share)
'''
"""A book of a person's own, on hourly bars."""


def found_by_commands(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment so that commands work on a platform, with a terminal of 80 columns."""
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(platform.settings.warehouse))
    monkeypatch.setenv("BLOFIN_SYMBOLS", ",".join(platform.settings.symbols))
    monkeypatch.setenv("DAGSTER_HOME", platform.instance.root_directory)
    monkeypatch.setenv("COLUMNS", "80")


def refused(done: CompletedProcess[str], *words: str) -> None:
    """Check that the command said in one line what is wrong, and failed."""
    assert done.returncode == 1, done
    line = done.stderr.strip()
    assert "\n" not in line, line
    assert line.startswith("blofin: ")
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in line, line


def blofin(*arguments: str, **settings: str) -> CompletedProcess[str]:
    """Run the command on the folder `warehouse`, with settings beside those of the environment."""
    surroundings, argv = dict(os.environ), sys.argv
    out, err = StringIO(), StringIO()
    sys.argv = ["blofin", *arguments]
    os.environ.update({"BLOFIN_WAREHOUSE": str(Path.cwd() / "warehouse"), "BLOFIN_UNIVERSE": "off", **settings})
    code: object = 0
    try:
        with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(surroundings)
    return CompletedProcess(["blofin", *arguments], int(str(code or 0)), out.getvalue(), err.getvalue())
