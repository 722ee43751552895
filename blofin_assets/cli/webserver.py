"""Dagster's webserver behind the guard, as a program: `python -m blofin_assets.cli.webserver <socket> <address>...`.

Belongs here: combining both on an open socket, and showing the warehouse's pages beside Dagster's. Does not
belong here: which requests are allowed (`guard`), starting this program and its environment (`ui`).
"""

import signal
import socket
import sys
from pathlib import Path
from typing import Final

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Mount, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from blofin_assets.cli.guard import Guard
from blofin_assets.shared.code_version import root_file

_POLL_MILLISECONDS: Final = 2000
"""Polling interval of the pages, as in Dagster's own command."""

_DATABASE: Final = (15_000, 3600, 20)
"""Database timeout in ms, lifetime of a connection in s, extra connections: Dagster's own values."""


class _Server(uvicorn.Server):
    """A server that prints its address once it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            host, port = listening.getsockname()[:2]
            print(f"Dagster UI: http://{host}:{port} (stop it with Ctrl-C)", flush=True)  # noqa: T201 - this is a program


def run(listening: socket.socket, urls: list[str]) -> None:
    """Serve until stopped, on the instance of `DAGSTER_HOME`, loopback names and further addresses."""
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(*_DATABASE)
        target = WorkspaceFileTarget([str(root_file("workspace.yaml"))])
        with WorkspaceProcessContext(
            instance,
            version=__version__,
            read_only=False,
            workspace_load_target=target,
            code_server_log_level="warning",
        ) as context:
            app = create_app_from_workspace_process_context(context, "", _POLL_MILLISECONDS)
            shown = with_pages(app, Path(instance.root_directory).parent)
            # headers of proxies are not trusted: the guard checks the request itself
            config = uvicorn.Config(Guard(shown, urls), log_level="warning", proxy_headers=False, lifespan="off")
            _Server(config).run(sockets=[listening])


def with_pages(app: ASGIApp, warehouse: Path) -> ASGIApp:
    """Return an application that also shows the pages of a warehouse, under `/reports` and `/backtests`."""
    shown = [warehouse / name for name in ("reports", "backtests")]
    for folder in shown:
        folder.mkdir(exist_ok=True)
    folders = [Mount(f"/{folder.name}", StaticFiles(directory=folder)) for folder in shown]
    return ExceptionMiddleware(Router(folders, default=app))


def _end(*_: object) -> None:
    """Exit normally, so that everything is closed, especially the processes that hold the definitions."""
    sys.exit(0)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    run(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
