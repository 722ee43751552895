"""`blofin ui`: Dagster's UI and daemon on this warehouse.

Belongs here: starting them once, on loopback, on the right instance. Does not belong here: anything shown there.
"""

import os
import signal
import subprocess
import sys

import typer

from blofin_assets.cli.session import open_session
from blofin_assets.instance import PROJECT
from blofin_resources.errors import BlofinError
from blofin_resources.processes import exclusive


def serve(port: int) -> None:
    """Run `dagster dev` until it is stopped; a second daemon on the same warehouse is refused."""
    session = open_session()
    session.instance.dispose()
    folder = session.settings.warehouse.resolve()
    command = [
        sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port),
        "-w", str(PROJECT / "workspace.yaml"),
    ]  # fmt: skip
    with exclusive(folder, "daemon", wait_seconds=0):
        typer.echo(f"Dagster UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
        process = subprocess.Popen(command, env={**os.environ, "BLOFIN_WAREHOUSE": str(folder)})  # noqa: S603 - our own command
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            code = process.wait()
    if code not in (0, -signal.SIGTERM, 130):
        msg = f"dagster dev ended with exit code {code}; its output above says why"
        raise BlofinError(msg)
