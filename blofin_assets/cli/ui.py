"""`blofin ui` and `blofin daemon`: Dagster's UI and daemon on this warehouse.

Belongs here: starting them once, on loopback, on the right instance. Does not belong here: the content of the UI, the
requests that it accepts (`guard`).

The lock named `daemon` is held as long as a daemon runs: two daemons on one instance would both launch due runs.

In Dagster's programs `.env` of the working folder takes precedence over the environment. So they are started in the
instance's own folder, with every setting as it was read here in their environment.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

import typer

from blofin_assets.cli.session import open_session
from blofin_assets.shared.code_version import root_file
from blofin_resources.errors import BlofinError
from blofin_resources.processes import exclusive_for_life
from blofin_resources.settings import Settings, variables

DAEMON: Final = "daemon"
"""Name of the lock that a running daemon holds."""

HOST: Final = "127.0.0.1"
"""The UI has no passwords: it listens on this machine only, for local browsers and proxies."""

_WORKSPACE: Final = ["-w", str(root_file("workspace.yaml"))]

_LAST_PORT: Final = 65_535

_FIRST_FREE: Final = 1024
"""Ports below this need root."""

_PATIENCE_SECONDS: Final = 60
"""Time for Dagster's programs to end before they are killed."""


def serve(port: int, *, daemon: bool = True) -> None:
    """Run the UI until it is stopped, and the daemon unless that runs elsewhere; a second daemon is refused."""
    listening = _listen(port)
    settings = _prepared()
    web = ["blofin_assets.cli.webserver", str(listening.fileno()), *_addresses(settings)]
    if not daemon:
        os.set_inheritable(listening.fileno(), True)
        become(web, settings)
    # inherited by the daemon, which outlives this process if that is killed
    lock = exclusive_for_life(settings.warehouse.resolve(), DAEMON)
    _run_together(
        {
            "the webserver": _start(web, settings, listening.fileno()),
            "Dagster's daemon": _start(["dagster._daemon", "run", *_WORKSPACE], settings, lock),
        }
    )


def _listen(port: int) -> socket.socket:
    """Return a socket that listens on a port, or raise an error with the reason before anything starts."""
    if not 1 <= port <= _LAST_PORT:
        msg = f"--port {port}: ports are numbers from 1 to {_LAST_PORT}, such as 3000"
        raise BlofinError(msg)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        used = error.errno == errno.EADDRINUSE
        reason = "another program uses it" if used else (error.strerror or str(error))
        msg = f"--port {port} of {HOST} cannot be used: {reason}; choose another, such as --port {_other(port)}"
        raise BlofinError(msg) from None
    return listening


def _other(port: int) -> int:
    return port + 1 if _FIRST_FREE <= port < _LAST_PORT else 3001


def _addresses(settings: Settings) -> list[str]:
    """Return the addresses besides loopback: BLOFIN_UI_URL if it is set."""
    return [settings.ui_url] if "ui_url" in settings.model_fields_set else []


def _start(module: Sequence[str], settings: Settings, *handles: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", *module]
    return subprocess.Popen(command, env=_environment(settings), cwd=_home(), pass_fds=handles)  # noqa: S603 - our own


def _run_together(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait for a signal, or until one of the processes ends, and stop the others.

    Raises
    ------
    BlofinError
        If one ended by itself.
    """
    signals = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signals.append(True))
    ended: str | None = None
    while not signals and ended is None:
        time.sleep(0.2)
        ended = next((name for name, process in processes.items() if process.poll() is not None), None)
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if ended is not None and not signals:
        msg = f"{ended} ended with exit code {processes[ended].returncode}; see its output above"
        raise BlofinError(msg)


def run_daemon() -> None:
    """Become Dagster's daemon, unless one runs on this warehouse; the lock ends with the process."""
    settings = _prepared()
    folder = settings.warehouse.resolve()
    exclusive_for_life(folder, DAEMON)
    typer.echo(f"Dagster daemon on {folder}")
    become(["dagster._daemon", "run", *_WORKSPACE], settings)


def become(module: list[str], settings: Settings) -> None:
    """Replace this process by a program of Dagster on the opened warehouse, whatever `.env` contains."""
    sys.stdout.flush()
    environment = _environment(settings)  # before relative paths change their meaning
    os.chdir(_home())
    os.execve(sys.executable, [sys.executable, "-m", *module], environment)  # noqa: S606 - our own command


def _prepared() -> Settings:
    """Open the warehouse once, so that any problem is a one-line error, and return the settings."""
    session = open_session()
    session.instance.dispose()
    session.warehouse.close()
    return session.settings


def _home() -> str:
    """Return the folder of the warehouse's instance, which has no `.env`."""
    return os.environ["DAGSTER_HOME"]


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of this process with the settings as they were read, each in one spelling."""
    own = variables()
    return {**{name: value for name, value in os.environ.items() if name.upper() not in own}, **settings.environment()}
