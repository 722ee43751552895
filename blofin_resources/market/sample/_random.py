"""Random numbers that are a function of (key, counter): any one can be had without the ones before it.

Belongs here: the hash, uniforms, normals and the table of heavy-tailed variances. Does not belong here: what they
drive. The generator is SplitMix64 (Steele, Lea & Flood 2014) read at a counter, so a minute's numbers depend on the
seed, the symbol, the purpose and the minute alone: the same whether a day is made by itself or in a range.

Numba notices a change of a compiled function's own file only: after a change here, clear the `__pycache__` folder
beside it, or the compiled `_process` and `_path` go on with the old numbers.
"""

import hashlib
import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from features.jit import kept

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_S30: Final = np.uint64(30)
_S27: Final = np.uint64(27)
_S31: Final = np.uint64(31)
_S32: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
_SIXTEEN: Final = np.uint64(0xFFFF)
_S16: Final = np.uint64(16)
_S48: Final = np.uint64(48)

TAIL_LEVELS: Final = 256


def key(*parts: object) -> np.uint64:
    """Return the 64-bit key of a stream of random numbers, named by its parts (seed, symbol, purpose)."""
    text = "|".join(str(part) for part in parts)
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def tail_table(degrees: float) -> npt.NDArray[np.float64]:
    """Return `TAIL_LEVELS` equally likely variance multipliers with mean one, bounded.

    A normal whose variance is multiplied by these has the tails of Student's t with `degrees` of freedom, cut where
    the last level lies; since every level is finite, so is the expectation of its exponential.
    """
    levels = (np.arange(TAIL_LEVELS) + 0.5) / TAIL_LEVELS
    multipliers = (degrees / 2) / special.gammainccinv(degrees / 2, levels)
    table: npt.NDArray[np.float64] = multipliers / multipliers.mean()
    return table


@kept(inline="always")
def draw(stream: np.uint64, counter: int) -> np.uint64:
    """Return 64 random bits for place `counter` of a stream."""
    x = stream + np.uint64(counter) * _GOLDEN
    x = (x ^ (x >> _S30)) * _FIRST
    x = (x ^ (x >> _S27)) * _SECOND
    return x ^ (x >> _S31)


@kept(inline="always")
def uniform(bits: np.uint64) -> float:
    """Return a uniform number in (0, 1] from the upper 32 of 64 random bits."""
    return (np.float64(bits >> _S32) + 1.0) * 2.0**-32


@kept(inline="always")
def normal(bits: np.uint64) -> float:
    """Return a standard normal number (Box & Muller 1958) from 64 random bits; its size is below 6.7."""
    turn = np.float64(bits & _LOW) * 2.0**-32
    return math.sqrt(-2.0 * math.log(uniform(bits))) * math.cos(2.0 * math.pi * turn)


@kept(inline="always")
def rough_normal(bits: np.uint64) -> float:
    """Return a centred number of variance one: the sum of four uniforms of 16 bits each.

    For the sub-steps of a minute only, where sixty of these are summed and nothing depends on the tails of one.
    """
    total = (bits & _SIXTEEN) + ((bits >> _S16) & _SIXTEEN) + ((bits >> _S32) & _SIXTEEN) + (bits >> _S48)
    return (np.float64(total) - 131070.0) * (math.sqrt(3.0) / 65536.0)
