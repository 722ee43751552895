"""The guard before the UI: no page of anybody else drives it; its own pages and programs do."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message, Scope
from support.browser import Tab, served, tab
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from blofin_assets.cli import ui
from blofin_assets.cli.guard import Guard
from blofin_assets.cli.webserver import with_pages
from blofin_resources.errors import BlofinError

HERE = "127.0.0.1:3000"
PROXY = "https://ui.example"
JSON = {"content-type": "application/json"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def asked(headers: dict[str, str], method: str = "GET", target: str = "/", kind: str = "http") -> str | None:
    """Return why a request is refused."""
    path, _, query = target.partition("?")
    scope: Scope = {
        "type": kind, "method": method, "path": path, "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }  # fmt: skip
    return Guard(Starlette(), [PROXY]).refusal(scope)


def test_pages_of_the_warehouse_are_shown_behind_the_guard_and_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "2026-03-12.html").write_text("the report", encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    app = Guard(with_pages(Starlette(), tmp_path))
    with TestClient(app, base_url="http://127.0.0.1:3000") as client:
        assert client.get("/reports/2026-03-12.html").text == "the report"
        told = {
            path: client.get(path).status_code
            for path in (
                "/reports/none.html",
                "/backtests/none.html",
                "/reports/%2e%2e/secret",
                "/reports/../secret",
                "/secret",
            )
        }
        assert set(told.values()) == {404}
        assert client.get("/reports/2026-03-12.html", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "method", "target"),
    [
        ({"host": HERE}, "GET", "/"),
        ({"host": "localhost:3000"}, "GET", "/runs"),
        ({"host": "[::1]:3000"}, "HEAD", "/runs"),
        ({"host": HERE, **JSON}, "POST", "/graphql"),
        ({"host": HERE, "content-type": "application/json; charset=utf-8"}, "POST", "/graphql"),
        ({"host": HERE, "origin": f"http://{HERE}", "sec-fetch-site": "same-origin", **JSON}, "POST", "/graphql"),
        ({"host": "localhost:8080", "origin": "http://localhost:8080", **JSON}, "POST", "/graphql"),  # a tunnel
        ({"host": "ui.example", "origin": PROXY, **JSON}, "POST", "/graphql"),
        ({"host": "ui.example:443", "origin": PROXY, **JSON}, "POST", "/graphql"),
        ({"host": HERE, "origin": PROXY, **JSON}, "POST", "/graphql"),  # a proxy that asks in its own name
        ({"host": HERE, "accept": "text/html,*/*"}, "GET", "/graphql"),
        ({"host": HERE, **LINK}, "GET", "/runs/abc"),
    ],
)
def test_its_own_pages_programs_and_links_are_let_through(headers: dict[str, str], method: str, target: str) -> None:
    assert asked(headers, method, target) is None


@pytest.mark.parametrize(
    ("headers", "method", "target", "reason"),
    [
        ({}, "GET", "/", "names"),
        ({"host": "evil.example"}, "GET", "/", "names"),
        ({"host": "evil.example:3000", "origin": "http://evil.example:3000", **JSON}, "POST", "/graphql", "names"),
        ({"host": "127.0.0.1.evil.example:3000"}, "GET", "/", "names"),
        ({"host": "localhost.evil.example"}, "GET", "/", "names"),
        ({"host": "127.0.0.1@evil.example"}, "GET", "/", "names"),
        ({"host": "evil.example/127.0.0.1"}, "GET", "/", "names"),
        ({"host": "0.0.0.0:3000"}, "GET", "/", "names"),
        ({"host": "ui.example:81"}, "GET", "/", "names"),
        ({"host": "127.0.0.1:x"}, "GET", "/", "names"),
        ({"host": HERE, "origin": "https://evil.example"}, "GET", "/", "page"),
        ({"host": HERE, "origin": "https://evil.example", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "null", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "http://127.0.0.1:8000", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "http://localhost:3000", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "https://127.0.0.1:3000", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "https://ui.example.evil.example", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "origin": "http://ui.example", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "sec-fetch-site": "cross-site", **JSON}, "POST", "/graphql", "page"),
        ({"host": HERE, "sec-fetch-site": "same-site", "sec-fetch-dest": "image"}, "GET", "/logs/a.err", "page"),
        ({"host": HERE, **LINK, "sec-fetch-dest": "iframe"}, "GET", "/", "page"),
        ({"host": HERE, **LINK}, "POST", "/graphql", "page"),
        ({"host": HERE}, "GET", "/graphql?query=mutation{setNuxSeen}", "GraphQL"),
        ({"host": HERE}, "GET", "/graphql?query={version}", "GraphQL"),
        ({"host": HERE}, "GET", "/graphql/?query={version}", "GraphQL"),
        ({"host": HERE, "accept": "text/html"}, "GET", "/graphql?query=mutation{setNuxSeen}", "GraphQL"),
        ({"host": HERE}, "GET", '/graphql?extensions={"persistedQuery":{}}', "GraphQL"),
        ({"host": HERE}, "POST", "/graphql?query=mutation{setNuxSeen}", "JSON"),
        ({"host": HERE, "content-type": "application/graphql"}, "POST", "/graphql", "JSON"),
        ({"host": HERE, "content-type": "text/plain; application/json"}, "POST", "/graphql", "JSON"),
        ({"host": HERE, "content-type": "multipart/form-data; boundary=x"}, "POST", "/graphql", "JSON"),
        ({"host": HERE, "content-type": "application/x-www-form-urlencoded"}, "POST", "/graphql", "JSON"),
        ({"host": HERE}, "POST", "/report_asset_materialization/candles_1m", "JSON"),
        ({"host": HERE, **JSON}, "PUT", "/graphql", "PUT"),
        ({"host": HERE}, "OPTIONS", "/graphql", "OPTIONS"),
        ({"host": HERE}, "DELETE", "/", "DELETE"),
    ],
)
def test_everything_else_is_refused_with_the_reason(
    headers: dict[str, str], method: str, target: str, reason: str
) -> None:
    told = asked(headers, method, target)
    assert told is not None
    words = {
        "names": "not a host name of this UI",
        "page": "it comes from",
        "JSON": "needs content-type application/json",
    }
    assert words.get(reason, reason) in told


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"host": HERE, "origin": f"http://{HERE}"}, False),
        ({"host": "ui.example", "origin": PROXY}, False),
        ({"host": HERE}, False),
        ({"host": HERE, "origin": "https://evil.example"}, True),
        ({"host": HERE, "origin": "http://127.0.0.1:8000"}, True),
        ({"host": "evil.example", "origin": "http://evil.example"}, True),
        ({"host": HERE, "sec-fetch-site": "cross-site"}, True),
    ],
)
def test_the_websocket_takes_its_own_pages_alone(headers: dict[str, str], refused: bool) -> None:
    assert (asked(headers, kind="websocket") is not None) == refused


@given(st.text(st.characters(codec="latin-1"), max_size=30), st.text(st.characters(codec="latin-1"), max_size=30))
def test_no_text_in_a_header_is_an_error_or_opens_the_door(host: str, origin: str) -> None:
    told = asked({"host": HERE, "origin": origin, **JSON}, "POST", "/graphql")
    assert told is not None or origin in (f"http://{HERE}", PROXY)
    told = asked({"host": host})
    assert told is not None or host.lower().strip("[]").startswith(("127.0.0.1", "localhost", "::1", "ui.example"))


def test_two_names_are_none() -> None:
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    for name in ("host", "origin"):
        rest = [] if name == "host" else [(b"host", HERE.encode())]
        scope["headers"] = [*rest, (name.encode(), HERE.encode()), (name.encode(), b"evil.example")]
        assert Guard(Starlette()).refusal(scope) is not None


def test_no_other_page_may_frame_it() -> None:
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    async def page(_scope: Scope, _receive: object, send: Callable[..., Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

    scope: Scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", HERE.encode())]
    }  # fmt: skip
    asyncio.run(Guard(page)(scope, None, keep))  # type: ignore[arg-type]  # nothing is received
    assert sent[0]["headers"] == [(b"a", b"b"), (b"x-frame-options", b"SAMEORIGIN")]


def test_a_port_that_cannot_be_used_is_told_before_anything_else() -> None:
    for port in (0, -1, 65536, 99999):
        with pytest.raises(BlofinError, match=rf"--port {port}: ports are numbers from 1 to 65535"):
            ui.serve(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BlofinError, match=rf"--port {port} of 127.0.0.1 cannot be used: another program uses it"):
            ui.serve(port)
    assert not Path("warehouse").exists(), "nothing was opened"


def test_only_an_address_that_is_set_is_on_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    from blofin_resources.settings import Settings  # noqa: PLC0415

    assert ui._addresses(Settings()) == [], "another program may have the usual port"
    monkeypatch.setenv("BLOFIN_UI_URL", f"{PROXY}/")
    assert ui._addresses(Settings()) == [PROXY]


EVIL = """<!doctype html><html><head></head><body><iframe name="sink"></iframe><script>
const ui = "%s", mutation = key => `mutation{setConcurrencyLimit(concurrencyKey:"${key}",limit:3)}`;
const json = key => JSON.stringify({query: mutation(key)});
const tried = async (name, what) => { try { await what(); return name + ": sent"; }
  catch (error) { return name + ": " + error.name; } };
async function attack() {
  const socket = () => new Promise((done, failed) => { const s = new WebSocket(ui.replace("http", "ws") + "/graphql",
    "graphql-ws"); s.onopen = () => done("open"); s.onerror = () => failed(new Error("closed")); });
  const form = (kind, key) => { const f = document.createElement("form"); f.method = "POST"; f.target = "sink";
    f.enctype = kind; f.action = ui + "/graphql?query=" + encodeURIComponent(mutation(key)); document.body.append(f);
    f.submit(); };
  const results = [
    await tried("get", () => fetch(ui + "/graphql?query=" + encodeURIComponent(mutation("get")), {mode: "no-cors"})),
    await tried("image", () => new Promise(done => { const i = new Image(); i.onerror = i.onload = done;
      i.src = ui + "/graphql?query=" + encodeURIComponent(mutation("image")); })),
    await tried("plain", () => fetch(ui + "/graphql", {method: "POST", mode: "no-cors", body: json("plain"),
      headers: {"content-type": "text/plain; application/json"}})),
    await tried("json", () => fetch(ui + "/graphql", {method: "POST", body: json("json"),
      headers: {"content-type": "application/json"}})),
    await tried("read", async () => { const r = await fetch(ui + "/server_info"); await r.text(); }),
    await tried("report", () => fetch(ui + "/report_asset_materialization/candles_1m", {method: "POST",
      mode: "no-cors"})),
    await tried("socket", socket),
  ];
  form("text/plain", "form"); form("multipart/form-data", "multipart");
  await new Promise(done => setTimeout(done, 1500));
  return results;
}
</script></body></html>"""

KEYS = '{"query": "{instance{concurrencyLimits{concurrencyKey}}}"}'


def limits(address: str) -> list[str]:
    """Return what the attacks would have made."""
    answer = httpx.post(f"{address}/graphql", content=KEYS, headers=JSON, timeout=60).json()
    return sorted(each["concurrencyKey"] for each in answer["data"]["instance"]["concurrencyLimits"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real UI on a new warehouse."""
    folder = tmp_path_factory.mktemp("ui")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BLOFIN_", "DAGSTER_"))},
        "BLOFIN_WAREHOUSE": str(folder / "warehouse"), "BLOFIN_SYMBOLS": "BTC-USDT",
    }  # fmt: skip
    command = [Path(sys.executable).with_name("blofin"), "ui", "--no-daemon", "--port", str(port)]
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"Dagster UI: http://127.0.0.1:{port} (stop it with Ctrl-C)\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.mark.slow
def test_a_page_of_another_origin_can_do_nothing_and_the_ui_works(running: str, tmp_path: Path) -> None:
    (tmp_path / "evil.html").write_text(EVIL % running, encoding="utf-8")
    with served(tmp_path) as other, tab(tmp_path) as page:
        # of another port and of another name: `localhost` is another site than 127.0.0.1
        for address in (other, other.replace("127.0.0.1", "localhost")):
            page.open(f"{address}/evil.html")
            page.until("typeof attack === 'function'")
            results = page.run("attack()")
            assert "json: TypeError" in results
            assert "read: TypeError" in results
            assert "socket: Error" in results
        assert limits(running) == []
        _shows_the_ui(page, running, tmp_path)


def _shows_the_ui(page: Tab, running: str, folder: Path) -> None:
    page.events.clear()
    page.open(f"{running}/assets")
    page.until("document.body && document.body.innerText.includes('candles_1m')")
    page.open(f"{running}/locations/blofin/jobs/maintenance/playground")
    page.until("document.body && document.body.innerText.includes('No errors')")
    page.picture(folder / "launchpad.png")
    answer = page.run(
        "fetch('/graphql', {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify("
        "{query: 'mutation{setConcurrencyLimit(concurrencyKey:\"own\",limit:3)}'})}).then(r => r.json())"
    )
    assert answer == {"data": {"setConcurrencyLimit": True}}
    assert limits(running) == ["own"]
    answers = [each["params"]["response"] for each in page.events if each["method"] == "Network.responseReceived"]
    assert {each["url"]: each["status"] for each in answers if each["status"] >= 400} == {}
    sockets = [each["params"]["response"]["status"] for each in page.events
               if each["method"] == "Network.webSocketHandshakeResponseReceived"]  # fmt: skip
    assert sockets
    assert set(sockets) == {101}


@pytest.mark.slow
def test_over_the_wire_the_same_is_refused(running: str) -> None:
    mutation = 'mutation{setConcurrencyLimit(concurrencyKey:"wire",limit:3)}'
    body = json.dumps({"query": mutation})
    far = {"origin": "https://evil.example"}
    with httpx.Client(base_url=running, timeout=60) as client:
        for answer in (
            client.get("/graphql", params={"query": mutation}),
            client.get("/graphql", params={"query": mutation}, headers=far),
            client.get("/", headers={"host": "evil.example"}),
            client.post("/graphql", content=body, headers={**JSON, **far}),
            client.post("/graphql", content=body, headers={**JSON, "host": "evil.example"}),
            client.post("/graphql", content=body, headers={"content-type": "text/plain; application/json"}),
            client.post("/graphql", content=mutation, headers={"content-type": "application/graphql"}),
            client.post("/graphql", params={"query": mutation}),
            client.post("/graphql", files={"operations": body.encode()}),
            client.post("/report_asset_materialization/candles_1m"),
            client.get("/download_debug/x", headers={"sec-fetch-site": "cross-site"}),
        ):
            assert answer.status_code == 403, answer.request
            assert answer.text.startswith("refused: ")
        config = {"resources": {"claude": {"config": {"budget_usd": 1e6}}}}
        launch = """mutation($p: ExecutionParams!){launchRun(executionParams: $p){__typename
            ... on RunConfigValidationInvalid {errors {message}}}}"""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": "blofin", "jobName": "maintenance"}
        asked = {"query": launch, "variables": {"p": {"selector": selector, "runConfigData": json.dumps(config)}}}
        answer = client.post("/graphql", json=asked).json()["data"]["launchRun"]
        assert answer["__typename"] == "RunConfigValidationInvalid", answer
        assert "unexpected config entry" in answer["errors"][0]["message"]
    # Dagster answers no list; the connection may end with its error, so it has one of its own
    assert httpx.post(f"{running}/graphql", content=f"[{body}]", headers=JSON, timeout=60).status_code >= 400
    assert "wire" not in limits(running)
    address = running.replace("http", "ws") + "/graphql"
    with connect(address, subprotocols=["graphql-ws"], origin=running) as own:  # type: ignore[arg-type]
        own.send('{"type": "connection_init"}')
        assert json.loads(own.recv(timeout=60))["type"] == "connection_ack"
    for origin in ("https://evil.example", "null"):
        with (
            pytest.raises(InvalidStatus, match="403"),
            connect(address, subprotocols=["graphql-ws"], origin=origin),  # type: ignore[arg-type]
        ):
            pytest.fail("open")
