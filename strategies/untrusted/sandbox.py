"""The first evaluation of untrusted text, in a child process that can only compute, for a limited time.

Belongs here: the parent's side: starting, feeding, timing and killing the child, reading its verdict. Does not belong
here: what the child does (`strategies.untrusted.sandbox_child`), which text is language at all
(`strategies.untrusted.compiler`).

The compiler already gives the text no name that reaches anything. The child is the second line of defence, against
errors in the compiler. Its limits: processor seconds from when it looks at the text, address
space, size of any file it might write (0), open files, no core dump, no further process or thread; an empty
environment; a session of its own, killed as a group; and, where the kernel lets an ordinary user have one, a network
namespace without interfaces. Where it does not, the verdict says so. That no process is started does not bind the
superuser. Wall-clock time is the last resort alone: by the clock a text takes longer where more else runs.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.bars import Timeframe
from features.market import Market

LONGEST_REPLY: Final = 64_000
"""Most bytes that are read from a child."""


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Attributes
    ----------
    cpu_seconds : int
        Processor time for the text, without the start of the child.
    wall_seconds : float
        Wall-clock time for everything; generous, since the machine may be busy.
    memory_bytes : int
        Address space, that of the libraries included.
    """

    cpu_seconds: int = 20
    wall_seconds: float = 900
    memory_bytes: int = 4_000_000_000


@dataclass(frozen=True)
class Verdict:
    """Result of a first evaluation.

    Attributes
    ----------
    accepted : bool
        Whether the text may be compiled in the parent and ranked.
    reason : str
        Why not; empty where accepted.
    name, version : str
        Of the strategy or book; empty where refused.
    entries : dict of Timeframe to int
        Bars with an entry signal on each timeframe that it declares; of a book, bars with a score.
    network : bool or None
        Whether the child still had a network; None where it did not get so far.
    """

    accepted: bool
    reason: str
    name: str
    version: str
    entries: Mapping[Timeframe, int]
    network: bool | None


def first_evaluation(text: str, market: Market, limits: Limits | None = None, *, seed: int = 0) -> Verdict:
    """Compile and evaluate untrusted text in a child process.

    Parameters
    ----------
    text : str
        One strategy or book class.
    market : Market
        Candles of every timeframe and funding on which it is evaluated and checked for look-ahead and price memory;
        a few thousand bars suffice.
    limits : Limits, optional
        Of the child.
    seed : int
        Of the checks.

    Returns
    -------
    Verdict
        Never an exception for anything that the text does; within `wall_seconds` and a moment.
    """
    bounds = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="strategy-") as name:
        folder = Path(name)
        for timeframe, frame in market.candles.items():
            frame.write_ipc(folder / f"candles_{timeframe}.arrow")
        market.funding.write_ipc(folder / "funding.arrow")
        market.positioning.write_ipc(folder / "positioning.arrow")
        for timeframe, frame in market.predictions.items():
            frame.write_ipc(folder / f"predictions_{timeframe}.arrow")
        order = {
            "text": text,
            "seed": seed,
            "timeframes": list(market.candles),
            "predictions": list(market.predictions),
        }
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        code, reply = _run(folder, bounds)
    return _read(code, reply, bounds)


def _run(folder: Path, limits: Limits) -> tuple[int | None, bytes]:
    """Return the child's exit code (None where it ran out of time) and its reply."""
    numbers = [str(limits.cpu_seconds), str(limits.memory_bytes)]
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-I", "-m", "strategies.untrusted.sandbox_child", str(folder), *numbers],
        cwd=folder,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + limits.wall_seconds
    try:
        reply = _listen(child, deadline)
        return child.wait(max(0.0, deadline - time.monotonic())), reply
    except subprocess.TimeoutExpired:
        return None, b""
    finally:
        _kill_group(child)


def _listen(child: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return the child's output until it stops, exceeds the limit, or runs out of time."""
    assert child.stdout is not None  # noqa: S101  # a pipe was requested
    reply = b""
    while len(reply) < LONGEST_REPLY:
        ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(child.stdout.fileno(), LONGEST_REPLY) if ready else b""
        if not part:
            break
        reply += part
    return reply


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _read(code: int | None, reply: bytes, limits: Limits) -> Verdict:
    if code is None:
        return _refused(f"it ran longer than {limits.wall_seconds:g} s and was killed")
    if code == -signal.SIGXCPU:
        return _refused(f"it used more than {limits.cpu_seconds} s of processor and was killed")
    if code == -signal.SIGKILL:
        return _refused("its process was killed from outside, as a system does that runs out of memory; try again")
    try:
        answer = json.loads(reply)
        return Verdict(
            bool(answer["accepted"]),
            str(answer["reason"]),
            str(answer["name"]),
            str(answer["version"]),
            {timeframe: int(count) for timeframe, count in answer["entries"].items()},
            answer["network"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _refused(
            f"its process ended with code {code} and no verdict, as one does beyond its {limits.memory_bytes} bytes"
        )


def _refused(reason: str) -> Verdict:
    return Verdict(False, reason, "", "", {}, None)
