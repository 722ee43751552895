"""What runs in the child process of `strategies.untrusted.sandbox`: give everything up, then look at the text.

Belongs here: dropping the child's rights and writing the verdict as one line of JSON. Does not belong here: reaching
the verdict (`strategies.untrusted.sandbox_verdict`), the parent's side.

Run as ``python -I -m strategies.untrusted.sandbox_child FOLDER CPU_SECONDS MEMORY_BYTES``. Rights go in two steps.
Before anything but the standard library is imported: network, files, memory. Once the libraries are loaded and have
started the threads that they need, but before the text is read: every further process and thread, and the time. The
kernel counts processes by user, so a limit above 0 would depend on what else this user runs; 0 depends on nothing.
"""

import ctypes
import json
import math
import os
import resource
import sys
import time
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


KILL_AFTER = 2
"""Seconds of processor from the signal that the time is over, which the parent can tell, to the kernel's kill."""


def give_up_rights(memory_bytes: int) -> None:
    """Set the limits that hold while the libraries are loaded; they cannot be raised again."""
    without_network()
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def give_up_time_and_processes(cpu_seconds: int) -> None:
    """Allow so much processor time from now on, and no further process or thread; cannot be raised again."""
    until = math.ceil(time.process_time()) + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + KILL_AFTER))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def without_network() -> None:
    """Move into a network namespace without interfaces where the kernel allows it; must come before any thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def has_network() -> bool:
    """Return whether the process sees any interface beside the loopback."""
    lines = Path("/proc/self/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    return any(line.split(":")[0].strip() != "lo" for line in lines)


def main() -> None:
    """Give up the rights, then write the verdict to standard output."""
    folder = Path(sys.argv[1])
    give_up_rights(int(sys.argv[3]))
    # each thread reserves address space, and none can be started later: OpenBLAS, which may be loaded only when a
    # feature's loop is compiled, ends the process that gives it none
    for library in ("POLARS_MAX", "NUMBA_NUM", "OPENBLAS_NUM", "OMP_NUM"):
        os.environ[f"{library}_THREADS"] = "1"
    from strategies.untrusted.sandbox_verdict import read_order, start_threads, verdict  # noqa: PLC0415  # only now

    order, market = read_order(folder)
    start_threads()
    give_up_time_and_processes(int(sys.argv[2]))
    answer = {**verdict(order, market), "network": has_network()}
    sys.stdout.write(json.dumps(answer)[:60_000])


if __name__ == "__main__":
    main()
