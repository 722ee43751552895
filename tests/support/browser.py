"""A page in headless Chromium: what it shows, asks for and complains about. Needs the `chromium` command."""

import base64
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip

_PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement, view = root.clientWidth;
  const wide = [...document.body.querySelectorAll("*")].filter(e => !e.closest(".scroll") && !e.closest("svg")
    && e.getClientRects().length && e.getBoundingClientRect().right > view + 1).map(e => e.tagName + "." + e.className);
  document.body.dataset.seen = JSON.stringify({ width: view, scroll: root.scrollWidth, wide,
    broken: [...document.images].filter(i => !i.naturalWidth).length,
    pictures: [...document.querySelectorAll("svg")].map(
      e => [e.getAttribute("aria-label"), e.getBoundingClientRect().height]),
    dead: [...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.hash.slice(1))).length,
    requests: performance.getEntriesByType("resource").map(e => e.name), errors: window.__errors });
});</script>"""

_ERRORS = (
    "<script>window.__errors = []; addEventListener('error', e => window.__errors.push(String(e.message)));</script>"
)


@dataclass(frozen=True)
class Seen:
    """What a page was found to be at one width."""

    width: int
    scroll: int
    wide: list[str]
    broken: int
    pictures: list[tuple[str | None, float]]
    dead: int
    requests: list[str]
    errors: list[str]
    console: list[str]


def look(page: str, folder: Path, width: int) -> Seen:
    """Load a page in a frame of `width` pixels, since a headless window cannot be narrower than 500.

    Skips without Chromium, but under CI=true, where .ci/run installs it.
    """
    chromium = _chromium()
    probed = page.replace("<head>", f"<head>{_ERRORS}", 1).replace("</body>", f"{_PROBE}</body>", 1)
    (folder / "page.html").write_text(probed, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        f'<!doctype html><link rel="icon" href="data:,"><body style="margin:0"><iframe id="f" src="page.html" '
        f'style="border:0;width:{width}px;height:2000px"></iframe><script>addEventListener("load", () => '
        '{ document.body.dataset.seen = document.getElementById("f").contentDocument.body.dataset.seen; });</script>',
        encoding="utf-8",
    )
    with served(folder) as address:
        done = subprocess.run(
            [
                chromium, *_QUIET, "--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}",
                "--window-size=1400,2000", "--dump-dom", f"{address}/frame.html",
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    seen = json.loads(found.group(1).replace("&quot;", '"').replace("&amp;", "&").replace("&gt;", ">"))
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(**{**seen, "pictures": [tuple(each) for each in seen["pictures"]]}, console=console)


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium: .ci/run installs it")
        pytest.skip("no chromium")
    return found


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has
        """Stay silent."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine: a browser keeps no record of what a page read from disk asks for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Tab:
    """A tab that is driven from here, over the browser's own [protocol](https://chromedevtools.github.io/)."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def do(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask for something and return the answer; what happens meanwhile is kept in `events`."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._connection.recv(timeout=60))
            if told.get("id") == self._number:
                assert "error" not in told, told
                return dict(told["result"])
            self.events.append(told)

    def run(self, script: str) -> Any:
        """Return what a script comes to, promises awaited."""
        answer = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Load a page."""
        self.do("Page.navigate", url=address)

    def until(self, script: str, seconds: float = 60) -> Any:
        """Return what a script comes to once that is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} never held; the page says: {self.run(_BODY)}"
            time.sleep(0.2)
        return value

    def picture(self, path: Path) -> None:
        """Keep what is seen."""
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot")["data"]))


_BODY = "document.body ? document.body.innerText.slice(0, 2000) : ''"


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    """Give an empty tab; skips without Chromium, but under CI=true."""
    profile = folder / "profile"
    command = [
        _chromium(),
        *_QUIET,
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
    ]
    with subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not (profile / "DevToolsActivePort").exists() or not (profile / "DevToolsActivePort").read_text():
                assert time.monotonic() < deadline, "the browser did not start"
                time.sleep(0.1)
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            pages = httpx.get(f"http://127.0.0.1:{port}/json", timeout=60).json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            with connect(address, max_size=None) as connection:
                opened = Tab(connection)
                for part in ("Page", "Network", "Runtime"):
                    opened.do(f"{part}.enable")
                yield opened
        finally:
            process.kill()
