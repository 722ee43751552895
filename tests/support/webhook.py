"""A webhook that runs on this machine: it keeps what it was sent, and misbehaves on demand."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Webhook:
    """Answers each POST with `status`, after `stall` seconds; `trickle` answers a byte at a time, for ever."""

    status: int = 200
    stall: float = 0.0
    trickle: bool = False
    got: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append(json.loads(body))
                hook._ended.wait(hook.stall)
                while hook.trickle and not hook._ended.wait(0.05):
                    try:
                        self.wfile.write(b"H")
                    except OSError:
                        return
                self.send_response(hook.status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its address, with a token as real ones have it."""
        return f"http://127.0.0.1:{self._server.server_port}/hook/{TOKEN}"

    def wait(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many messages have come."""
        until = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < until:
            time.sleep(0.01)


TOKEN = "secret-part-of-the-path"  # noqa: S105 - opens nothing
