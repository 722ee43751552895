"""What runs in the child process of `strategies.sandbox`: give everything up, then look at the text.

Belongs here: dropping the child's rights and writing the verdict as one line of JSON. Does not belong here: reaching
the verdict (`strategies.sandbox_verdict`), the parent's side.

Run as ``python -I -m strategies.sandbox_child FOLDER CPU_SECONDS MEMORY_BYTES``. Only the standard library is
imported before the rights are gone.
"""

import ctypes
import json
import os
import resource
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def give_up_rights(cpu_seconds: int, memory_bytes: int) -> None:
    """Set the limits; they cannot be raised again."""
    without_network()
    for kind, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 64),
    ):
        resource.setrlimit(kind, (most, most))


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
    give_up_rights(int(sys.argv[2]), int(sys.argv[3]))
    # each thread reserves address space
    os.environ["POLARS_MAX_THREADS"] = "1"
    os.environ["NUMBA_NUM_THREADS"] = "1"
    from strategies.sandbox_verdict import verdict  # noqa: PLC0415  # only now may anything else be imported

    said = {**verdict(folder), "network": has_network()}
    sys.stdout.write(json.dumps(said)[:60_000])


if __name__ == "__main__":
    main()
