"""`blofin ui` and `blofin daemon`: Dagster's UI and daemon on this warehouse.

Belongs here: starting them once, on loopback, on the right instance. Does not belong here: anything shown there.

The lock named `daemon` is held as long as a daemon runs: two on one instance would both launch what is due.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import typer

from blofin_assets.cli.session import open_session
from blofin_assets.instance import PROJECT
from blofin_resources.errors import BlofinError
from blofin_resources.processes import exclusive, exclusive_for_life

DAEMON: Final = "daemon"
"""Name of the lock that whoever runs a daemon holds."""

_WORKSPACE: Final = ["-w", str(PROJECT / "workspace.yaml")]


def serve(port: int, *, daemon: bool = True) -> None:
    """Run the UI until it is stopped, with the daemon unless that runs elsewhere; a second daemon is refused."""
    folder = _prepared()
    if not daemon:
        typer.echo(f"Dagster UI without a daemon: http://127.0.0.1:{port}")
        _become(["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *_WORKSPACE], folder)
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port), *_WORKSPACE]
    with exclusive(folder, DAEMON, wait_seconds=0):
        typer.echo(f"Dagster UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
        process = subprocess.Popen(command, env=_environment(folder))  # noqa: S603 - our own command
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            code = process.wait()
    if code not in (0, -signal.SIGTERM, 130):
        msg = f"dagster dev ended with exit code {code}; its output above says why"
        raise BlofinError(msg)


def run_daemon() -> None:
    """Become Dagster's daemon, unless one runs on this warehouse; the lock goes with the process, however it ends."""
    folder = _prepared()
    exclusive_for_life(folder, DAEMON)
    typer.echo(f"Dagster daemon on {folder}")
    _become(["dagster._daemon", "run", *_WORKSPACE], folder)


def _prepared() -> Path:
    """Open the warehouse once, so that whatever is wrong with it is one line, and return its folder."""
    session = open_session()
    session.instance.dispose()
    folder = session.settings.warehouse.resolve()
    session.warehouse.close()
    return folder


def _become(module: list[str], folder: Path) -> None:
    """Replace this process by a Python module."""
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", *module], _environment(folder))  # noqa: S606 - our own command


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "BLOFIN_WAREHOUSE": str(folder)}
