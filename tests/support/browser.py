"""A page in headless Chromium: what it shows, asks for and complains about. Needs the `chromium` command."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium: .ci/run installs it")
        pytest.skip("no chromium")
    probed = page.replace("<head>", f"<head>{_ERRORS}", 1).replace("</body>", f"{_PROBE}</body>", 1)
    (folder / "page.html").write_text(probed, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        f'<!doctype html><link rel="icon" href="data:,"><body style="margin:0"><iframe id="f" src="page.html" '
        f'style="border:0;width:{width}px;height:2000px"></iframe><script>addEventListener("load", () => '
        '{ document.body.dataset.seen = document.getElementById("f").contentDocument.body.dataset.seen; });</script>',
        encoding="utf-8",
    )
    with _served(folder) as address:
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


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has
        """Stay silent."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine: a browser keeps no record of what a page read from disk asks for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
