"""How the numeric kernels of this package are compiled.

Belongs here: the one decorator that compiles, with its choice of flags. Does not belong here: kernels (`kernels`).
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

FLAGS: dict[str, Any] = {
    "nogil": True,  # columns are computed on several threads at once
    "error_model": "numpy",  # x / 0 is a value that the engine turns into null, not an exception inside a loop
    "fastmath": {"contract"},  # fused multiply-add; nothing that reorders sums or forgets NaN
}


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on first use and keep the machine code on disk where a folder for it can be written.

    Without a writable cache folder the function is compiled anew in each process, which takes seconds, not results.
    """
    compiled: Callable[P, R]
    try:
        compiled = njit(cache=True, **FLAGS)(function)
    except RuntimeError:
        compiled = njit(**FLAGS)(function)
    return compiled
