"""Trial load: an untrusted model is first loaded in a child process, which may crash.

Belongs here: the parent's side: starting, timing and ending the child, and what its end means. Does not belong here:
the child's side (`trial_child`), what is loaded and asked (`artifacts`).

The checks before it (`model_zoo.serving.artifacts`, each model's `read`) reject every file known to crash a process.
The child is the second line of defence, against cases that these checks miss. It has limits on CPU, memory and files,
an empty environment and a session of its own, and is killed as a group.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

SECONDS: Final = 60
"""Of processor time, and as long again by the clock; loading takes two or three."""
MEMORY: Final = 4_000_000_000
"""Address space in bytes, that of the libraries included."""
LONGEST: Final = 2_000
"""Most bytes of the child's output."""
REFUSED: Final = 3
"""The child's exit code where it reports a reason."""


def try_load(folder: Path) -> str:
    """Return why the model of a folder cannot be loaded and asked; '' where it can.

    Parameters
    ----------
    folder : Path
        A private copy.
    """
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-I", "-m", "model_zoo.serving.trial_child", str(folder)],
        cwd=folder,
        env={"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.stdout is not None  # noqa: S101  # a pipe was requested
    try:
        with child.stdout as pipe:
            code = child.wait(2 * SECONDS)  # one that says more than a pipe holds waits until it is killed
            reason = os.read(pipe.fileno(), LONGEST).decode(errors="replace")
    except subprocess.TimeoutExpired:
        return f"its first loading, in a process of its own, did not end within {2 * SECONDS} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if code in {0, REFUSED}:
        return reason if code else ""
    ended = signal.Signals(-code).name if code < 0 else f"code {code}"
    return f"its first loading ended the process that did it ({ended})"
