"""Fitted scikit-learn objects as files without pickle, the same bytes for the same fit.

Belongs here: writing and reading skops files, the list of types that may be in one. Does not belong here: what is
fitted (each model), hashes (`model_zoo.artifacts`).

skops names the parts of a file after memory addresses and stamps them with the time; both are replaced by counters,
so that two fits can be compared by their files. Bytes that say nothing are zeroed for the same reason.
"""

import io
import json
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import numpy as np

from model_zoo.base import ModelError

_SCHEMA: Final = "schema.json"
_MISSING: Final = "missing_go_to_left"


def write_skops(path: Path, fitted: dict[str, Any]) -> None:
    """Write a mapping of fitted objects and arrays."""
    import skops.io  # noqa: PLC0415 - takes seconds to import; not every use of a model needs it

    path.write_bytes(_canonical(skops.io.dumps(fitted)))


def read_skops(path: Path, trusted: Collection[str]) -> dict[str, Any]:
    """Return what `write_skops` wrote.

    Parameters
    ----------
    path : Path
        The file.
    trusted : collection of str
        Full names of the types that may be in it beside those that skops knows to be harmless.

    Raises
    ------
    ModelError
        If it is not such a file, or holds another type.
    """
    import skops.io  # noqa: PLC0415 - as above

    foreign: set[str] = set()
    loaded = None
    try:
        foreign = set(skops.io.get_untrusted_types(file=path)) - set(trusted)
        if not foreign:
            loaded = skops.io.load(path, trusted=sorted(trusted))
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        msg = f"{path}: not a readable skops file: {type(error).__name__}: {error}"
        raise ModelError(msg) from error
    if foreign:
        msg = f"{path}: holds {', '.join(sorted(foreign))}, which no model of this kind needs; not loaded"
        raise ModelError(msg)
    if not isinstance(loaded, dict):
        msg = f"{path}: holds a {type(loaded).__name__}, not a mapping"
        raise ModelError(msg)
    return loaded


def _canonical(content: bytes) -> bytes:
    """Return a skops file with counters for memory addresses, no times and no unused bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as given:
        parts = {name: given.read(name) for name in given.namelist()}
    schema = json.loads(parts.pop(_SCHEMA))
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(each) for each in node]
        if not isinstance(node, dict):
            return node
        made = {key: renamed(each) for key, each in node.items()}
        if isinstance(node.get("__id__"), int):
            made["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
        if node.get("file") in parts:
            made["file"] = names.setdefault(node["file"], re.sub(r"^[^.]*", str(len(names)), node["file"]))
        return made

    text = json.dumps(renamed(schema), indent=1)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for old, new in names.items():
            made.writestr(zipfile.ZipInfo(new), _clean(parts[old]), zipfile.ZIP_DEFLATED)
        made.writestr(zipfile.ZipInfo(_SCHEMA), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _clean(part: bytes) -> bytes:
    """Return a stored array with zeros in the gaps between the fields of its records."""
    if not part.startswith(b"\x93NUMPY"):
        return part
    array = np.load(io.BytesIO(part), allow_pickle=False)
    if array.dtype.names is None:
        return part
    fresh = np.zeros(array.shape, array.dtype)  # zeros_like would leave the gaps as they are
    for name in array.dtype.names:
        fresh[name] = array[name]
    if _MISSING in array.dtype.names:  # never set in leaves
        fresh[_MISSING] = np.where(array["left_child"] < 0, 0, array[_MISSING])
    content: bytes = fresh.tobytes()
    return part[: len(part) - len(content)] + content  # np.save would copy through a buffer that is not zeroed
