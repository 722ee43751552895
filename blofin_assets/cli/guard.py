"""The guard in front of Dagster's UI, which has no passwords: it rejects cross-origin requests and foreign host names.

Belongs here: which requests are allowed. Does not belong here: answering them (Dagster), starting the server
(`webserver`).

Dagster's webserver accepts any host name, accepts mutations by GET and as plain text, and opens its websocket to any
origin. So any page in the user's browser could start and delete runs. Allowed are:

- requests for a host name of the loopback interface, or that of `BLOFIN_UI_URL`;
- requests from pages of the same origin, or from programs, which send no origin; a link from elsewhere may open a page;
- GET for reading, and POST with JSON, which a browser sends cross-origin only if the server agrees.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blofin_resources.texts import for_terminal

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_NAME: Final = re.compile(r"[A-Za-z0-9.:\[\]-]+")
"""A host with an optional port."""

_PORTS: Final = {"http": 80, "https": 443}

_FOREIGN: Final = frozenset({"cross-site", "same-site"})
"""Values of Sec-Fetch-Site for requests of a page of another origin."""

_REFUSED: Final = 1008
"""WebSocket's code for a policy violation; before the connection is open it becomes HTTP 403."""

Address = tuple[str, str, int]
"""Scheme, host and port."""


class Guard:
    """An ASGI application that forwards allowed requests, and refuses others with 403 and the reason.

    Parameters
    ----------
    app : ASGIApp
        The application behind the guard.
    urls : iterable of str
        Further public addresses, such as `https://blofin.example`.
    """

    def __init__(self, app: ASGIApp, urls: Iterable[str] = ()) -> None:
        self._app = app
        self._addresses = {address for url in urls if (address := _address(url)) is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        reason = self.refusal(scope)
        if reason is None:
            await self._app(scope, receive, _framed_by_nobody(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _REFUSED, "reason": ""})
        else:
            text = f"refused: {for_terminal(reason)}\n"
            await PlainTextResponse(text, status_code=403, headers={"Cache-Control": "no-store"})(scope, receive, send)

    def refusal(self, scope: Scope) -> str | None:
        """Return why a request is refused; None if it is allowed."""
        headers = Headers(scope=scope)
        return (
            self._wrong_name(headers)
            or self._wrong_page(scope, headers)
            or (_wrong_form(scope, headers) if scope["type"] == "http" else None)
        )

    def _wrong_name(self, headers: Headers) -> str | None:
        """Refuse an unknown host name: its owner could point it here (DNS rebinding)."""
        hosts = headers.getlist("host")
        here = _address(f"http://{hosts[0]}") if len(hosts) == 1 and _NAME.fullmatch(hosts[0]) else None
        if here is not None and (here[1] in _LOOPBACK or self._own(here)):
            return None
        return (
            f"{', '.join(hosts) or 'no name'} is not a host name of this UI; if it should be, set BLOFIN_UI_URL to it"
        )

    def _own(self, here: Address) -> bool:
        """Return whether a host is that of a further address; a proxy may have terminated TLS."""
        return any(here[1] == host and here[2] in (port, _PORTS["http"]) for _, host, port in self._addresses)

    def _wrong_page(self, scope: Scope, headers: Headers) -> str | None:
        """Refuse requests of pages of another origin; opening a link is a choice of the user."""
        site = headers.get("sec-fetch-site", "")
        origins = headers.getlist("origin")
        if not origins:
            followed = (
                scope["type"] == "http"
                and scope["method"] == "GET"
                and headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest") == "document"
            )
            return f"it comes from another page ({site})" if site in _FOREIGN and not followed else None
        page = _address(origins[0]) if len(origins) == 1 else None
        if page is not None and (page in self._addresses or page == _address(f"http://{headers['host']}")):
            return None
        return f"it comes from a page of {', '.join(origins)}; if that is this UI, set BLOFIN_UI_URL to it"


def _wrong_form(scope: Scope, headers: Headers) -> str | None:
    """Refuse everything but GET for pages and POST with JSON."""
    method = scope["method"]
    if method == "POST":
        kinds = headers.getlist("content-type")
        if len(kinds) == 1 and kinds[0].partition(";")[0].strip().lower() == "application/json":
            return None
        return "POST needs content-type application/json"
    if method not in {"GET", "HEAD"}:
        return f"{method} is not allowed"
    asks = "query" in Request(scope).query_params or "text/html" not in headers.get("accept", "")
    if scope["path"].rstrip("/").endswith("/graphql") and asks:
        return "GraphQL needs POST with content-type application/json"
    return None


def _address(url: str) -> Address | None:
    """Return scheme, host and port of a URL; None if it is not one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port


def _framed_by_nobody(send: Send) -> Send:
    """Return `send` with headers that forbid other pages to embed this one."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"x-frame-options", b"SAMEORIGIN")]}
        await send(message)

    return guarded
