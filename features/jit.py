"""Compilation of numeric loops, here and in the packages above, and the cache of their machine code.

Belongs here: the decorators that compile, their flags, and what happens if cached code cannot be read or written. Does
not belong here: loops (`kernels`).
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.core.caching import FunctionCache

P = ParamSpec("P")
R = TypeVar("R")

FLAGS: dict[str, Any] = {
    "nogil": True,  # columns are computed on several threads at once
    "error_model": "numpy",  # x / 0 is a value that the engine turns into null, not an exception inside a loop
    "fastmath": {"contract"},  # fused multiply-add; nothing that reorders sums or forgets NaN
}

_log = logging.getLogger(__name__)
_NumbaCache: Any = FunctionCache


class _Cache(_NumbaCache):  # type: ignore[misc] # Numba has no types
    """Numba's cache of one function, hardened: unreadable code is recompiled.

    A full disk, or a process killed while writing, leaves truncated files, and Numba alone would fail on them forever.
    Files are replaced as a whole, so processes may find the same damage at the same time: each compiles, the last one
    stays.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the cached code for a signature, or None if there is none or it cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 - damaged bytes can raise anything: EOFError, UnpicklingError, ValueError
            _log.warning("compiled code of %s cannot be read and is recompiled: %s", self._place, _told(error))
        try:
            self.flush()
        except OSError as error:
            self._lost(error)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Cache the code for a signature, if it can be written."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._lost(error)

    @property
    def _place(self) -> str:
        return f"{self._py_func.__module__}.{self._py_func.__qualname__} in {self.cache_path}"

    def _lost(self, error: OSError) -> None:
        self.disable()
        _log.warning("compiled code of %s cannot be cached; each process compiles it: %s", self._place, _told(error))


def kept(*signatures: Any, **flags: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that compiles a function and caches its machine code on disk if a folder for it is writable.

    Parameters
    ----------
    *signatures
        Numba signatures, compiled or loaded at once; without any, each is compiled on its first call.
    **flags
        Flags of `numba.njit`.

    Notes
    -----
    Without a writable cache folder each process compiles the function, which takes seconds and changes no results.
    Cached code that cannot be read is recompiled, with one line in the log.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        made = njit(**flags)(function)
        with suppress(RuntimeError):  # there is no folder to keep it in
            made._cache = _Cache(function)  # noqa: SLF001 - as `enable_caching` does with Numba's own
        for signature in signatures:
            made.compile(signature)
        if signatures:
            made.disable_compile()
        compiled: Callable[P, R] = made
        return compiled

    return decorate


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over columns on first use, as `kept` does, with the flags of this package."""
    return kept(**FLAGS)(function)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
