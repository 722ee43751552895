"""A page in headless Chromium: what it shows, asks for and complains about. Needs the `chromium` command."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
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

_PROBE = """(() => {
  const root = document.documentElement, view = root.clientWidth;
  const shown = e => e.getClientRects().length;
  const signed = e => e.matches(".plot, .matrix") && getComputedStyle(e, "::before").content.includes("swipe");
  const name = e => e.tagName + "." + e.className;
  const wide = [...document.body.querySelectorAll("*")].filter(e => !e.closest(".scroll, .plot") && !e.closest("svg")
    && shown(e) && e.getBoundingClientRect().right > view + 1).map(name);
  const cut = [...document.body.querySelectorAll("*")].filter(e => shown(e) && e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).overflowX !== "visible" && !signed(e)).map(e => name(e) + " " + e.innerText.slice(0, 40));
  return { width: view, scroll: root.scrollWidth, height: root.scrollHeight, wide, cut,
    broken: [...document.images].filter(i => !i.naturalWidth).length,
    pictures: [...document.querySelectorAll("svg")].map(
      e => [e.getAttribute("aria-label"), e.getBoundingClientRect().height]),
    dead: [...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.hash.slice(1))).length,
    requests: performance.getEntriesByType("resource").map(e => e.name) };
})()"""


@dataclass(frozen=True)
class Seen:
    """What a page was found to be at one width; `cut` is what hides a part of itself without saying so."""

    width: int
    scroll: int
    height: int
    wide: list[str]
    cut: list[str]
    broken: int
    pictures: list[tuple[str | None, float]]
    dead: int
    requests: list[str]
    errors: list[str]
    console: list[str]


def look(page: str, folder: Path, width: int, *, unfolded: bool = False) -> Seen:
    """Load a page in a window of `width` pixels, as a phone or a desk would; details unfolded where asked for.

    Skips without Chromium, but under CI=true, where .ci/run installs it.
    """
    (folder / "page.html").write_text(page, encoding="utf-8")
    with served(folder) as address, tab(folder) as opened:
        opened.narrow(width)
        opened.open(f"{address}/page.html")
        opened.until("document.readyState === 'complete'")
        if unfolded:
            opened.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        opened.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen = opened.run(_PROBE)
        complaints = [event["params"] for event in opened.events]
    errors = [each["exceptionDetails"]["text"] for each in complaints if "exceptionDetails" in each]
    console = [str(each["entry"]["text"]) for each in complaints if "entry" in each]
    pictures = [tuple(each) for each in seen["pictures"]]
    return Seen(**{**seen, "pictures": pictures}, errors=errors, console=console)


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

    def narrow(self, width: int, height: int = 1000) -> None:
        """Give the window a size in pixels; a headless one of its own cannot be narrower than 500."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

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
    profile = Path(tempfile.mkdtemp(dir=folder))
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
                for part in ("Page", "Network", "Runtime", "Log"):
                    opened.do(f"{part}.enable")
                yield opened
        finally:
            process.kill()
