"""Fitted scikit-learn objects as files without pickle, the same bytes for the same fit.

Belongs here: writing and reading skops files, the list of types that may be in one. Does not belong here: what is
fitted (each model), hashes (`model_zoo.serving.artifacts`).

skops names the parts of a file after memory addresses and stamps them with the time; both are replaced by counters,
so that two fits can be compared by their files. Meaningless bytes are zeroed for the same reason.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from model_zoo.models.base import ModelError

_SCHEMA: Final = "schema.json"
_MISSING: Final = "missing_go_to_left"
MOST_PARTS: Final = 10_000
MOST_BYTES: Final = 200_000_000
"""Of a file, unpacked."""


def write_skops(path: Path, fitted: dict[str, Any]) -> None:
    """Write a mapping of fitted objects and arrays."""
    import skops.io  # noqa: PLC0415 - takes seconds to import; not every use of a model needs it

    path.write_bytes(_canonical(skops.io.dumps(fitted)))


@dataclass(frozen=True)
class Part:
    """An object of a file before it is made: what it will be and what it will hold.

    Attributes
    ----------
    kind : str
        Full name of its type.
    content : dict
        Its attributes; of a tree, its state.
    arguments : tuple
        Of its constructor, where it has some.
    """

    kind: str
    content: dict[str, Any]
    arguments: tuple[Any, ...] = ()


def read_skops(
    path: Path, wanted: str, trusted: Collection[str], check: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return what `write_skops` wrote; the file is checked before any object is created.

    Parameters
    ----------
    path : Path
        The file.
    wanted : str
        What it must be, in words.
    trusted : collection of str
        Full names of the types that may be in it, beside mappings, lists, texts, numbers and arrays of numbers.
    check : callable
        Raises `ValueError` where what the file holds is no such model; objects are `Part`.

    Returns
    -------
    dict of str to object
        The attributes that were written.

    Raises
    ------
    ModelError
        If it is not such a file, holds another type, or fails the check.
    """
    import skops.io  # noqa: PLC0415 - as above

    try:
        check(_looked_at(path, trusted))
        loaded: dict[str, Any] = skops.io.load(path, trusted=sorted(trusted))
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        msg = f"{path}: not a skops file of {wanted}: {kind}{error}"
        raise ModelError(msg) from error
    return loaded


def _looked_at(path: Path, trusted: Collection[str]) -> dict[str, Any]:
    """Return what a file holds without making any object of it."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if len(infos) > MOST_PARTS or len({info.filename for info in infos}) < len(infos):
            msg = f"{len(infos)} parts; at most {MOST_PARTS} are allowed, each once"
            raise ValueError(msg)
        size = sum(info.file_size for info in infos)
        if size > MOST_BYTES:
            msg = f"{size} bytes unpacked; at most {MOST_BYTES} are allowed"
            raise ValueError(msg)
        parts = {info.filename: archive.read(info) for info in infos}
    schema = json.loads(parts.pop(_SCHEMA))
    _same_by_number(schema)
    part = _Reader(parts, trusted).value(schema)
    if not isinstance(part, dict):
        msg = "it is not a mapping"
        raise ValueError(msg)  # noqa: TRY004  # of the file, not of an argument
    return part


def _same_by_number(schema: Any) -> None:
    """Refuse a schema whose numbers lie: skops makes what has a number once, and takes it for every other of it."""
    seen: dict[Any, str] = {}

    def digest(node: Any) -> str:
        if isinstance(node, dict):
            parts = [(key, digest(child)) for key, child in sorted(node.items()) if key != "__id__"]
            text = hashlib.sha256(repr(parts).encode()).hexdigest()
            if seen.setdefault(node.get("__id__", text), text) != text:
                msg = f"two objects have the number {node['__id__']}"
                raise ValueError(msg)
            return text
        if isinstance(node, list):
            return hashlib.sha256(repr([digest(child) for child in node]).encode()).hexdigest()
        return repr(node)

    digest(schema)


class _Reader:
    """Turns a schema into plain values: what is not listed here is in no file of ours."""

    def __init__(self, parts: Mapping[str, bytes], trusted: Collection[str]) -> None:
        self._parts = parts
        self._trusted = trusted

    def value(self, node: Any) -> Any:
        loader = f"{node['__loader__']} {node['__module__']}.{node['__class__']}"
        reading = {
            "DictNode builtins.dict": self._mapping,
            "ListNode builtins.list": lambda node_of: [self.value(one) for one in node_of["content"]],
            "TupleNode builtins.tuple": lambda node_of: tuple(self.value(one) for one in node_of["content"]),
            "JsonNode builtins.str": lambda node_of: json.loads(node_of["content"]),
            "NdArrayNode numpy.ndarray": self._array,
        }.get(loader)
        if reading is not None:
            return reading(node)
        kind = f"{node['__module__']}.{node['__class__']}"
        if kind not in self._trusted or node["__loader__"] not in {"ObjectNode", "TreeNode"}:
            msg = f"it holds {kind}, which no model of this kind needs"
            raise ValueError(msg)
        arguments = self.value(node["__reduce__"]["args"]) if node["__loader__"] == "TreeNode" else ()
        return Part(kind, self._mapping(node["content"]), arguments)

    def _mapping(self, node: Any) -> dict[str, Any]:
        kinds = node["key_types"]["content"]
        if not all((child["__module__"], child["__class__"]) == ("builtins", "str") for child in kinds):
            msg = "a mapping has keys that are not text"
            raise ValueError(msg)
        return {key: self.value(child) for key, child in node["content"].items()}

    def _array(self, node: Any) -> Any:
        if node["type"] != "numpy":
            msg = "an array holds objects"
            raise ValueError(msg)
        return np.load(io.BytesIO(self._parts[node["file"]]), allow_pickle=False)


def require_numbers(name: str, array: Any, shape: tuple[int | None, ...]) -> None:
    """Reject anything but an array of finite Float64 numbers of a given shape.

    Parameters
    ----------
    name : str
        Name of the array in the error.
    array : object
        What the file holds.
    shape : tuple of int or None
        Wanted shape; None stands for any length.

    Raises
    ------
    ValueError
        Naming the array.
    """
    fits = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.ndim == len(shape)
    if not fits or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        msg = f"{name} is not an array of {wanted} numbers"
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = f"{name} holds a value that is not finite"
        raise ValueError(msg)


def require_part(part: Any, like: object, within: Collection[str] = (), **values: Any) -> dict[str, Any]:
    """Return the attributes of an object that has not been created yet, or reject it.

    Parameters
    ----------
    part : object
        As `_looked_at` read it.
    like : object
        A fitted object of the wanted type; the part must have exactly its attributes, so that none replaces a method.
    within : collection of str
        Attributes that are or hold objects, which the caller checks; no other may.
    **values : object
        Attributes that must have these values.

    Returns
    -------
    dict of str to object
        The attributes.

    Raises
    ------
    ValueError
        If anything differs; the message names it.
    """
    kind = f"{type(like).__module__}.{type(like).__qualname__}"
    if not isinstance(part, Part) or part.kind != kind:
        msg = f"it holds {part.kind if isinstance(part, Part) else type(part).__name__} where {kind} belongs"
        raise ValueError(msg)
    strange = sorted(set(part.content) ^ {*vars(like), "_sklearn_version"})
    if strange:
        msg = f"{kind} has or lacks {', '.join(strange)}"
        raise ValueError(msg)
    for name, held in part.content.items():
        if name not in within and _has_part(held):
            msg = f"{kind} has an object for {name}"
            raise ValueError(msg)
    for name, value in values.items():
        held_value = part.content[name]
        if type(held_value) is not type(value) or held_value != value:
            msg = f"{kind} has {name} {str(held_value)[:40]}, not {value}"
            raise ValueError(msg)
    return part.content


def _has_part(value: Any) -> bool:
    if isinstance(value, Part):
        return True
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_has_part(child) for child in held)


def _canonical(content: bytes) -> bytes:
    """Return a skops file with counters for memory addresses, no times and no unused bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts.pop(_SCHEMA))
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(child) for child in node]
        if not isinstance(node, dict):
            return node
        copy = {key: renamed(child) for key, child in node.items()}
        if isinstance(node.get("__id__"), int):
            copy["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
        if node.get("file") in parts:
            copy["file"] = names.setdefault(node["file"], re.sub(r"^[^.]*", str(len(names)), node["file"]))
        return copy

    text = json.dumps(renamed(schema), indent=1)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as rewritten:
        for old, new in names.items():
            rewritten.writestr(zipfile.ZipInfo(new), _clean(parts[old]), zipfile.ZIP_DEFLATED)
        rewritten.writestr(zipfile.ZipInfo(_SCHEMA), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _clean(part: bytes) -> bytes:
    """Return a stored array with zeros in the gaps between the fields of its records."""
    if not part.startswith(b"\x93NUMPY"):
        return part
    array = np.load(io.BytesIO(part), allow_pickle=False)
    if array.dtype.names is None:
        return part
    cleaned = np.zeros(array.shape, array.dtype)  # zeros_like would leave the gaps as they are
    for name in array.dtype.names:
        cleaned[name] = array[name]
    if _MISSING in array.dtype.names:  # never set in leaves
        cleaned[_MISSING] = np.where(array["left_child"] < 0, 0, array[_MISSING])
    content: bytes = cleaned.tobytes()
    return part[: len(part) - len(content)] + content  # np.save would copy through a buffer that is not zeroed
