"""One rate limit and one circuit breaker for all processes of a machine.

Belongs here: the shared state and its file. Does not belong here: when to retry (`client`).

The exchange counts requests by address, so every process of this machine shares one limit. The state is a small file,
changed under a briefly held lock: the time of the next free slot, and the time until which the exchange blocks this
address. A process reserves its slot and sleeps outside the lock.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from filelock import FileLock

PER_SECOND: Final = 5.0
"""Requests a second that stay below both published limits (500 a minute, 1,500 in five minutes)."""

_FAR_AHEAD: Final = 600.0
_LOCK_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.002


class SharedLimiter:
    """Reserves start times for requests, evenly spaced over all processes that share the same file.

    Parameters
    ----------
    state : Path
        The shared file; its folder is created if absent.
    per_second : float, optional
        Requests a second over all processes; `math.inf` lifts the limit, not the breaker.
    clock : callable, optional
        Seconds since 1970, the same in every process.
    """

    def __init__(self, state: Path, per_second: float = PER_SECOND, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._spacing = 1.0 / per_second
        self._clock = clock
        state.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{state}.lock", timeout=_LOCK_SECONDS, poll_interval=_POLL_SECONDS)

    def now(self) -> float:
        """Return the clock's seconds since 1970."""
        return self._clock()

    def reserve(self) -> float:
        """Reserve the next free slot and return its time, which is after the end of any block."""
        with self._lock:
            slot, open_until = self._read()
            start = max(self._clock(), slot, open_until)
            self._write(start + self._spacing, open_until)
        return start

    def trip(self, seconds: float) -> None:
        """Open the circuit breaker for `seconds` from now, since the exchange blocks us; never shorten a block."""
        with self._lock:
            slot, open_until = self._read()
            self._write(slot, max(open_until, self._clock() + seconds))

    def open_until(self) -> float:
        """Return the time until which the breaker is open and no request may be sent; zero while it is closed."""
        # No lock: the file is only ever replaced as a whole.
        open_until = self._read()[1]
        return open_until if open_until > self._clock() else 0.0

    def _read(self) -> tuple[float, float]:
        """Return the next slot and the end of the block; an unreadable file counts as absent."""
        try:
            stored = json.loads(self._state.read_text(encoding="utf-8"))
            slot, open_until = float(stored["slot"]), float(stored["shut_until"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0, 0.0
        # A slot far ahead can only come from a clock that was set back since.
        sane = math.isfinite(slot) and slot < self._clock() + _FAR_AHEAD
        return (slot if sane else 0.0), open_until

    def _write(self, slot: float, open_until: float) -> None:
        fresh = self._state.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(json.dumps({"slot": slot, "shut_until": open_until}), encoding="utf-8")
        fresh.replace(self._state)


def default_state(url: str) -> Path:
    """Return the limiter's file for the exchange at `url`, in the user's cache folder or else the temporary folder."""
    name = f"limit-{sha256(url.encode()).hexdigest()[:12]}.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blofin"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = Path(tempfile.gettempdir()) / f"blofin-{os.getuid()}"
    return (cache if os.access(cache, os.W_OK) else Path(tempfile.gettempdir()) / f"blofin-{os.getuid()}") / name
