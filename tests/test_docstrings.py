"""What public docstrings say: parameters, returns and shapes where there is something to say, and examples that run.

ruff's D417 and DOC rules compare the rest.
"""

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "backtester",
    "blofin_assets",
    "blofin_resources",
    "calibration",
    "features",
    "model_zoo",
    "strategies",
)
MANY = 3
"""Arguments from which a function needs a description of each."""


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield f"{owner}{node.name}", node


def arguments(function: ast.FunctionDef) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [
        *(argument.arg for argument in named if argument.arg not in ("self", "cls")),
        *(argument.arg for argument in (given.vararg, given.kwarg) if argument),
    ]


def sections(docstring: str) -> dict[str, str]:
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", docstring, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(section: str) -> set[str]:
    headings = re.findall(r"^(\S[^:\n]*?)(?: :.*)?$", section, flags=re.MULTILINE)
    return {name.strip().lstrip("*") for heading in headings for name in heading.split(",")}


def described_elsewhere(path: Path, function: ast.FunctionDef) -> bool:
    """Tell methods of a protocol, what Dagster's UI or the features' page shows as one line, and private modules."""
    shown = {name.id for line in function.decorator_list for name in ast.walk(line) if isinstance(name, ast.Name)}
    refers = (ast.get_docstring(function) or "").startswith("See `")
    return refers or path.name.startswith("_") or not shown.isdisjoint(("feature", "stage_asset", "dg", "app"))


def faults(path: Path) -> Iterator[str]:
    for name, function in functions(ast.parse(path.read_text()).body):
        where = f"{path.relative_to(ROOT)}:{function.lineno} {name}"
        docstring = sections(ast.get_docstring(function) or "")
        returned = "" if function.returns is None else ast.unparse(function.returns)
        wanted = arguments(function)
        if described_elsewhere(path, function):
            continue
        if len(wanted) < MANY:
            annotated = " ".join(ast.unparse(a.annotation) for a in function.args.args if a.annotation)
            if re.search(r"Array|\bND", f"{annotated} {returned}") and "shape" not in (
                ast.get_docstring(function) or ""
            ):
                yield f"{where}: no shape of an array"
            continue
        missing = set(wanted) - described(docstring.get("Parameters", ""))
        if missing:
            yield f"{where}: Parameters lack {', '.join(sorted(missing))}"
        if returned not in ("", "None") and not {"Returns", "Yields"} & docstring.keys():
            yield f"{where}: no Returns"
        elif "Array" in returned and "shape" not in docstring["Returns"]:
            yield f"{where}: Returns give no shape of the array"
        arrays = [a.arg for a in function.args.args if a.annotation and "Array" in ast.unparse(a.annotation)]
        if arrays and "shape" not in docstring.get("Parameters", ""):
            yield f"{where}: Parameters give no shape of {', '.join(arrays)}"


def test_functions_of_many_arguments_describe_each_their_result_and_shapes() -> None:
    assert [fault for path in modules(*PACKAGES) for fault in faults(path)] == []


def test_a_missing_parameter_result_or_shape_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_docstrings.ROOT", tmp_path)
    (tmp_path / "module.py").write_text(
        'def f(a: FloatArray, b: int, c: int) -> int:\n    """Add.\n\n    Parameters\n    ----------'
        '\n    a, b : int\n        Two.\n    """\n'
    )
    assert [fault.split(": ", 1)[1] for fault in faults(tmp_path / "module.py")] == [
        "Parameters lack c",
        "no Returns",
        "Parameters give no shape of a",
    ]
    (tmp_path / "module.py").write_text('def f(a: FloatArray) -> float:\n    """Return the sum."""\n')
    assert [fault.split(": ", 1)[1] for fault in faults(tmp_path / "module.py")] == ["no shape of an array"]


EXAMPLES = [path for path in modules(*PACKAGES) if ">>>" in path.read_text()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_in_docstrings_run(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    assert doctest.testmod(module).failed == 0
