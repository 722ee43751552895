"""Isolation of errors: if one of many items fails, its reason is recorded and the others continue.

Belongs here: which errors concern one item only, and their one-line text. Does not belong here: what a stage does with
a reason (a rejected proposal, a lost run, a line of metadata).

Errors that concern everything are not isolated: the warehouse, the market, the disk and the settings fail the whole
stage. Otherwise a cycle would run on less than it claims.
"""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, ParamSpec, TypeVar

import dagster as dg
import duckdb

from blofin_resources.errors import BlofinError

T = TypeVar("T")
K = TypeVar("K")
P = ParamSpec("P")

OF_ALL: Final = (BlofinError, OSError, duckdb.Error, dg.Failure, dg.RetryRequested, dg.DagsterError)
"""Errors that always stop the whole stage; the last three are Dagster's own."""


@dataclass(frozen=True)
class Failed:
    """An item that failed.

    Attributes
    ----------
    reason : str
        The error as one line, with its type first unless it is a refusal in words.
    """

    reason: str


def fenced(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Failed:
    """Return the result of the work on one item, or why it failed; the traceback goes to the log.

    Parameters
    ----------
    work : callable
        The work.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    T or Failed
        Its result.

    Raises
    ------
    Exception
        Errors that concern everything (`OF_ALL`), unchanged.
    """
    try:
        return work(*args, **kwargs)
    except OF_ALL:
        raise
    except Exception as error:  # noqa: BLE001  # whatever one thing does, the others go on; its reason is kept
        log = dg.get_dagster_logger()
        (log.debug if _plain(error) else log.warning)(traceback.format_exc())
        return Failed(one_line(error))


def one_line(error: BaseException) -> str:
    """Return an error as one line; the type comes first unless it is a refusal in words."""
    message = " ".join(str(error).split())
    return message if _plain(error) and message else f"{type(error).__name__}: {message}".rstrip(": ")


def _plain(error: BaseException) -> bool:
    """Return whether an error is a refusal in words, such as a strategy's, rather than a bug."""
    return isinstance(error, ValueError) or type(error) is LookupError


@dataclass(frozen=True)
class Sorted(Generic[K, T]):
    """Results of many items.

    Attributes
    ----------
    done : list of (item, result)
        In the given order.
    failed : list of (item, reason)
        The others.
    """

    done: list[tuple[K, T]]
    failed: list[tuple[K, str]]


def each_alone(things: Iterable[K], work: Callable[[K], T]) -> Sorted[K, T]:
    """Apply the same work to many items, each isolated; see `fenced`."""
    results: Sorted[K, T] = Sorted([], [])
    for thing in things:
        result = fenced(work, thing)
        if isinstance(result, Failed):
            results.failed.append((thing, result.reason))
        else:
            results.done.append((thing, result))
    return results
