"""`blofin ui` and `blofin daemon`: Dagster's UI and daemon on this warehouse.

Belongs here: starting them once, on loopback, on the right instance. Does not belong here: anything shown there.

The lock named `daemon` is held as long as a daemon runs: two on one instance would both launch what is due.

Dagster's programs let `.env` of their working folder win over the environment, and `make` writes a DAGSTER_HOME there.
So they are started in the instance's own folder, with every setting as it was read here in their environment.
"""

import os
import signal
import subprocess
import sys
from typing import Final

import typer

from blofin_assets.cli.session import open_session
from blofin_assets.instance import PROJECT
from blofin_resources.errors import BlofinError
from blofin_resources.processes import exclusive, exclusive_for_life
from blofin_resources.settings import Settings, variables

DAEMON: Final = "daemon"
"""Name of the lock that whoever runs a daemon holds."""

_WORKSPACE: Final = ["-w", str(PROJECT / "workspace.yaml")]


def serve(port: int, *, daemon: bool = True) -> None:
    """Run the UI until it is stopped, with the daemon unless that runs elsewhere; a second daemon is refused."""
    settings = _prepared()
    if not daemon:
        typer.echo(f"Dagster UI without a daemon: http://127.0.0.1:{port}")
        become(["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *_WORKSPACE], settings)
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port), *_WORKSPACE]
    with exclusive(settings.warehouse.resolve(), DAEMON, wait_seconds=0):
        typer.echo(f"Dagster UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
        process = subprocess.Popen(command, env=_environment(settings), cwd=_home())  # noqa: S603 - our own command
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
    settings = _prepared()
    folder = settings.warehouse.resolve()
    exclusive_for_life(folder, DAEMON)
    typer.echo(f"Dagster daemon on {folder}")
    become(["dagster._daemon", "run", *_WORKSPACE], settings)


def become(module: list[str], settings: Settings) -> None:
    """Replace this process by a program of Dagster, on the opened warehouse whatever `.env` here says."""
    sys.stdout.flush()
    environment = _environment(settings)  # before relative paths point elsewhere
    os.chdir(_home())
    os.execve(sys.executable, [sys.executable, "-m", *module], environment)  # noqa: S606 - our own command


def _prepared() -> Settings:
    """Open the warehouse once, so that whatever is wrong with it is one line, and return the settings."""
    session = open_session()
    session.instance.dispose()
    session.warehouse.close()
    return session.settings


def _home() -> str:
    """Return the folder of the opened warehouse's instance, where no `.env` is."""
    return os.environ["DAGSTER_HOME"]


def _environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment with the settings as they were read, each in one spelling."""
    own = variables()
    return {**{name: value for name, value in os.environ.items() if name.upper() not in own}, **settings.environment()}
