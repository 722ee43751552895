"""Every way in which a stranger may change a model's folder and sign it anew, each tried in this process.

Belongs here: the changes, and a command that walks them: whoever starts it sees its process end where a change ends
it. Does not belong here: what is expected of a folder (`test_tampering`).

Run as ``python -m tests.model_zoo.tampering ROOT WORK SEED COUNT STEP``: ROOT holds saved models, WORK is overwritten;
COUNT random changes of bytes follow the systematic ones of each; of all, every STEPth is tried. Each line says what
came of one: `refused` or `harmless`.
"""

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from model_zoo.models.base import ModelError
from model_zoo.serving import artifacts

Change = Callable[[Path], None]
NUMBERS = (
    "",
    "-1",
    "0",
    "3",
    "99",
    "4097",
    "2147483648",
    "9223372036854775808",
    "1e400",
    "nan",
    "inf",
    "0x10",
    "1 2",
    "-",
)
JSON_VALUES = (None, True, -1, 0, 1e308, 2**70, "", "x", "../x", [], {}, [[]], float("nan"), float("inf"))


def signed(folder: Path) -> str:
    """Sign a changed folder anew, as anybody can; return its fingerprint."""
    path = folder / "metadata.json"
    said = json.loads(path.read_text())
    said["sha256"] = {name: _sha(folder / name) for name in said["sha256"]}
    model = model_file(folder).name
    fingerprint = hashlib.sha256((_sha(folder / model) + _sha(folder / "config.json")).encode()).hexdigest()
    path.write_text(json.dumps({**said, "version": fingerprint[:12]}))
    return fingerprint


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_file(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name.startswith("model"))


def of_json(folder: Path) -> Iterator[tuple[str, Change]]:
    """Replace and leave out every value of `config.json` and `metadata.json`."""
    for file in ("config.json", "metadata.json"):
        whole = json.loads((folder / file).read_text())
        for place in _places(whole):
            for value in (*JSON_VALUES, _places):
                name = "left out" if value is _places else repr(value)
                yield f"{file} {place} {name}", _writes(file, partial(_changed, whole, place, value))
        yield f"{file} an unknown key", _writes(file, json.dumps({**whole, "strange": 1}).encode())
        yield f"{file} deep", _writes(file, b'{"spec":' * 100_000)
        yield f"{file} of lists", _writes(file, b"[" * 200_000)
        yield f"{file} a list", _writes(file, b"[1]")
        yield f"{file} no UTF-8", _writes(file, b"\xff{}")
        yield f"{file} large", _writes(file, b" " * 11_000_000)


def _places(given: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    for key, each in inner:
        yield (*before, key)
        yield from _places(each, (*before, key))


def _changed(whole: Any, place: tuple[Any, ...], value: Any) -> bytes:
    """Return JSON with one value replaced, or left out."""
    changed = copy.deepcopy(whole)
    *way, last = place
    inner = changed
    for step in way:
        inner = inner[step]
    if value is _places:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(changed).encode()


def _writes(name: str, content: bytes | Callable[[], bytes]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content())

    return change


def of_trees_as_text(folder: Path) -> Iterator[tuple[str, Change]]:
    """Change every line of the head and of one tree of LightGBM's text, with sizes that fit and that do not."""
    text = (folder / "model.txt").read_text()
    lines = text.split("\n")
    tree = lines.index("Tree=1")
    for number in [*range(12), *range(tree, tree + 18)]:
        name, sign, value = lines[number].partition("=")
        for changed in [f"{name}{sign}{each}" for each in NUMBERS] + [_first(lines[number], each) for each in NUMBERS]:
            yield (
                f"{lines[number][:30]} -> {changed[:30]}",
                _writes("model.txt", partial(_fitting, lines, number, [changed])),
            )
        yield f"without {name}", _writes("model.txt", _fitting(lines, number, []))
        yield f"twice {name}", _writes("model.txt", _fitting(lines, number, [lines[number]] * 2))
        yield (
            f"{name} unfitting",
            _writes("model.txt", "\n".join([*lines[:number], f"{value}1", *lines[number:]]).encode()),
        )
    place = next(i for i in range(tree, len(lines)) if lines[i].startswith("left_child"))
    for left, right in (("0 0 0", "0 0 0"), ("1 0 -2", "2 -3 -4"), ("2 -1 -2", "1 2 -4"), ("1 -1 -1", "2 -3 -4")):
        both = [f"left_child={left}", f"right_child={right}"]
        yield f"children {left} {right}", _writes("model.txt", _fitting(lines, place, both, 2))
    for cut in (0, 5, 300, len(text) // 2, len(text) - 2_000, len(text) - 5):
        yield f"cut at {cut}", _writes("model.txt", text[:cut].encode())
    for end in ("\npandas_categorical:[[1]]\n", "\npandas_categorical:" + "[" * 100_000, "[a: \x1b]\n"):
        yield f"end {end[:30]!r}", _writes("model.txt", (text + end).encode())


def _first(line: str, number: str) -> str:
    name, sign, value = line.partition("=")
    return f"{name}{sign}{' '.join([number, *value.split(' ')[1:]])}"


def _fitting(lines: list[str], number: int, changed: list[str], count: int = 1) -> bytes:
    """Return the text with lines replaced, and the size of the tree they are in adapted."""
    made = "\n".join([*lines[:number], *changed, *lines[number + count :]])
    sizes = next((i for i, line in enumerate(lines) if line.startswith("tree_sizes=")), -1)
    if sizes < 0 or number <= sizes:
        return made.encode()
    blocks = ["Tree=" + each for each in made.split("end of trees")[0].split("\nTree=")[1:]]
    given = [len(each) + 1 for each in blocks]
    given[-1] -= 1
    return made.replace(lines[sizes], "tree_sizes=" + " ".join(map(str, given)), 1).encode()


def of_skops(folder: Path) -> Iterator[tuple[str, Change]]:
    """Change every kind of node of a skops file, and the arrays beside them."""
    with zipfile.ZipFile(folder / "model.skops") as given:
        parts = {name: given.read(name) for name in given.namelist()}
    schema = json.loads(parts["schema.json"])
    seen: set[str] = set()
    for place in _places(schema):
        kind = "/".join(str(each) for each in place if not isinstance(each, int))
        if place[-1] in {"key_types", "__id__", "is_json"} or "key_types" in place or kind in seen:
            continue
        seen.add(kind)
        for value in (*NODES.get(place[-1], ()), None, 7, "x", [], {}):
            changed = partial(_changed, schema, place, value)
            yield f"{kind} {str(value)[:20]!r}", _packs({**parts, "schema.json": changed})
    for name, content in parts.items():
        if name.endswith(".npy"):
            for what, changed_array in _arrays(np.load(io.BytesIO(content))):
                yield f"{name} {what}", _packs({**parts, name: changed_array})
            if int(name.removesuffix(".npy")) > LAST_ARRAY:
                break
    yield from _of_skops_as_a_whole(schema, parts)


NODES: dict[Any, tuple[str, ...]] = {
    "content": ('"x"', "1000000", "-1", "null", "[" * 100_000, '{"a": 1}', "1e999"),
    "__class__": ("system", "eval", "Popen", "object", "ndarray", "dict", "Tree", "LinearSVC"),
    "__module__": ("os", "builtins", "subprocess", "numpy", "sklearn.tree._tree", "joblib"),
    "__loader__": ("FunctionNode", "MethodNode", "OperatorFuncNode", "TypeNode", "PartialNode", "NdArrayNode"),
}
"""What is put in the place of each part of a node."""
LAST_ARRAY = 8


def _of_skops_as_a_whole(schema: Any, parts: Mapping[str, bytes]) -> Iterator[tuple[str, Change]]:
    shadow = copy.deepcopy(schema)
    one = next(iter(shadow["content"].values()))
    if one["__loader__"] == "ObjectNode":
        one["content"]["content"]["predict"] = {**one["content"]["content"]["n_jobs"]}
        one["content"]["key_types"]["content"].append(one["content"]["key_types"]["content"][0])
    yield "an attribute in place of a method", _packs({**parts, "schema.json": json.dumps(shadow).encode()})
    yield "a part less", _packs({name: each for name, each in parts.items() if name != "0.npy"})
    yield "no schema", _packs({name: each for name, each in parts.items() if name != "schema.json"})
    yield "many parts", _packs({**parts, **{f"x{i}": b"" for i in range(10_001)}})
    yield "large when unpacked", _packs({**parts, "x": partial(bytes, 201_000_000)})
    yield "no zip", _writes("model.skops", b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.")


def _arrays(array: Any) -> Iterator[tuple[str, bytes]]:
    names = array.dtype.names or ()
    for name in names:
        for value in (-5, -2, 0, 1, len(array), 2**31 - 1):
            for place in (0, len(array) // 2, len(array) - 1):
                changed = array.copy()
                if name != "missing_go_to_left":
                    changed[name][place] = value
                yield f"{name}[{place}] = {value}", _npy(changed)
        if array.dtype[name].kind == "f":
            changed = array.copy()
            changed[name][0] = np.nan
            yield f"{name} NaN", _npy(changed)
    if not names:
        yield "NaN", _npy(np.full(array.shape, np.nan))
        yield "infinite", _npy(np.full(array.shape, np.inf))
        yield "zero", _npy(np.zeros_like(array))
        yield "texts", _npy(np.full(array.shape, "x"))
    yield "shorter", _npy(array[:-1])
    yield "longer", _npy(np.concatenate([array, array]))
    yield "empty", _npy(array[:0])
    yield "flat", _npy(array.reshape(-1, 1))
    yield "small floats", _npy(np.zeros(array.shape, np.float32))
    yield (
        "objects",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128) + b"\n.",
    )
    yield "a huge shape", _npy(array).replace(b"(%d," % len(array), b"(%d," % 10**9)


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _packs(parts: Mapping[str, bytes | Callable[[], bytes]]) -> Change:
    def change(folder: Path) -> None:
        with zipfile.ZipFile(folder / "model.skops", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
            for name, content in parts.items():
                made.writestr(name, content if isinstance(content, bytes) else content())

    return change


def of_weights(folder: Path) -> Iterator[tuple[str, Change]]:
    """Change the header and the arrays of a safetensors file."""
    from safetensors.numpy import load, save  # noqa: PLC0415  # of this kind alone

    content = (folder / "model.safetensors").read_bytes()
    weights = load(content)
    size = int.from_bytes(content[:8], "little")
    for name, array in weights.items():
        for what, changed in {
            "NaN": np.full(array.shape, np.nan), "infinite": np.full(array.shape, -np.inf), "shorter": array[:-1],
            "longer": np.concatenate([array, array]), "of one more axis": array[None], "whole": array.astype(np.int64),
            "short floats": array.astype(np.float32), "empty": array[:0], "zero": np.zeros_like(array),
        }.items():  # fmt: skip
            yield f"{name} {what}", _writes("model.safetensors", save({**weights, name: np.ascontiguousarray(changed)}))
        yield f"without {name}", _writes("model.safetensors", save({k: v for k, v in weights.items() if k != name}))
    yield "one more", _writes("model.safetensors", save({**weights, "x": np.zeros(3)}))
    header = json.loads(content[8 : 8 + size])
    for place in _places(header):
        for value in (None, -1, 2**62, "BF16", [0, 2**40], {}):
            text = _changed(header, place, value)
            made = len(text).to_bytes(8, "little") + text + content[8 + size :]
            yield f"header {place} {value}", _writes("model.safetensors", made)
    for length in (0, 2**40, 2**64 - 1):
        yield f"header of {length}", _writes("model.safetensors", length.to_bytes(8, "little") + content[8:])


def of_files(folder: Path) -> Iterator[tuple[str, Change]]:
    """Put something else in the place of each file, without a new signature where there is nothing to sign."""
    for path in sorted(folder.iterdir()):
        name = path.name

        def gone(where: Path, name: str = name) -> None:
            (where / name).unlink()

        def pipe(where: Path, name: str = name) -> None:
            (where / name).unlink()
            os.mkfifo(where / name)

        def link(where: Path, name: str = name) -> None:
            (where / name).rename(where / "elsewhere")
            (where / name).symlink_to("elsewhere")

        def inner(where: Path, name: str = name) -> None:
            (where / name).unlink()
            (where / name).mkdir()

        def vast(where: Path, name: str = name) -> None:
            os.truncate(where / name, 10**12)

        for what, change in {"gone": gone, "a pipe": pipe, "a link": link, "a folder": inner, "vast": vast}.items():
            yield f"{name} {what}", change


def random_bytes(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Change]]:
    """Change some bytes of the model file or the configuration."""
    chance = random.Random(seed)  # noqa: S311  # nothing secret
    for number in range(count):
        path = chance.choice([model_file(folder), model_file(folder), folder / "config.json"])
        content = bytearray(path.read_bytes())
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            kind = chance.randrange(4)
            if kind == 0:
                content[place] ^= 1 << chance.randrange(8)
            elif kind == 1:
                content[place : place + chance.randint(1, 40)] = b""
            elif kind == 2:
                content[place:place] = chance.choice([b"9", b"-", b"e9", b"\n", b" ", chance.randbytes(3)])
            else:
                other = chance.randrange(len(content))
                content[place : place + 8] = content[other : other + 8]
        yield f"bytes {number} of {path.name}", _writes(path.name, bytes(content))


def outcome(folder: Path, fingerprint: str) -> str:
    """Load a folder without a child process of its own: the checks alone must hold."""
    try:
        found = artifacts.load_artifact(folder, fingerprint)
    except ModelError as error:
        said = str(error)
        if not said.startswith(f"{folder}: ") or "\n" in said:
            raise
        return "refused"
    inputs = found.model.spec.inputs
    values = np.random.default_rng(0).normal(size=(40, len(inputs))) * np.logspace(-30, 30, 40)[:, None]
    frame = pl.DataFrame(values, schema=list(inputs)).with_columns(flag=pl.lit(None, pl.String))
    assert found.model.predict(frame).is_between(0, 1).all()
    return "harmless"


def changes_of(folder: Path, seed: int, count: int) -> Iterator[tuple[bool, str, Change]]:
    """Return every change of a model's folder, and whether it is signed anew."""
    own = {"model.txt": of_trees_as_text, "model.skops": of_skops, "model.safetensors": of_weights}
    yield from ((False, *each) for each in of_files(folder))
    yield from ((True, *each) for each in own[model_file(folder).name](folder))
    if model_file(folder).name != "model.skops":  # the others are quicker, and the same code reads them all
        yield from ((True, *each) for each in of_json(folder))
    yield from ((True, *each) for each in random_bytes(folder, seed, count))


def main() -> None:
    """Walk the changes of all models."""
    root, work = Path(sys.argv[1]), Path(sys.argv[2])
    seed, count, step = map(int, sys.argv[3:])
    for folder in sorted(root.iterdir()):
        for signing, what, change in islice(changes_of(folder, seed, count), 0, None, step):
            print(folder.name, what.encode("unicode_escape").decode(), end=": ", flush=True)  # noqa: T201  # read by the test
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(folder, work)
            change(work)
            fingerprint = str(json.loads((folder / "metadata.json").read_text())["version"])
            if signing:
                with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
                    fingerprint = signed(work)  # but where what was changed is the signature itself
            print(outcome(work, fingerprint), flush=True)  # noqa: T201  # same


if __name__ == "__main__":
    main()
