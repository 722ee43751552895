"""Memory of this process.

Belongs here: giving back what is free. Does not belong here: what holds memory, and for how long.
"""

import ctypes
import gc


def give_back_memory() -> None:
    """Return free memory to the operating system where the C library can: it would keep hundreds of megabytes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
