"""A stable fingerprint of the code behind a function.

Belongs here: reading a function's source and that of the functions it calls. Does not belong here: which functions
matter (`registry`).
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

_PLAIN = (int, float, str, bool, tuple, type(None))


def fingerprint(function: Callable[..., Any]) -> str:
    """Return a hash of a function's code, and of the functions and constants that it names; comments do not count.

    Followed are functions (compiled ones too) and plain constants of modules of the same top package, or of the
    function's own file. Equal in every process and on every platform with the same Python grammar.
    """
    texts: dict[str, str] = {}
    _collect(_plain(function), texts)
    lines = [f"{name}={text}" for name, text in sorted(texts.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _collect(function: FunctionType, texts: dict[str, str]) -> None:
    key = f"{function.__module__}.{function.__qualname__}"
    if key in texts:
        return
    texts[key] = _code_text(function)
    home = function.__module__.split(".")[0]
    for name, value in _named(function):
        target = _plain(value)
        if isinstance(target, FunctionType) and target.__module__.split(".")[0] == home:
            _collect(target, texts)
        elif isinstance(value, _PLAIN) and not name.startswith("__"):
            texts[f"{key}:{name}"] = repr(value)


def _named(function: FunctionType) -> list[tuple[str, Any]]:
    """Globals, closure values and attributes of modules that a function's code names."""
    names = _names(function.__code__)
    values: list[tuple[str, Any]] = []
    for name in names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            values += [(f"{name}.{inner}", vars(value)[inner]) for inner in names if inner in vars(value)]
        else:
            values.append((name, value))
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return values + [(name, cell.cell_contents) for name, cell in cells]


def _names(code: CodeType) -> list[str]:
    """Names that a code object and those inside it refer to, sorted."""
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return sorted({*code.co_names, *inner})


def _plain(value: Any) -> Any:
    """Return the Python function behind a compiled one."""
    return getattr(value, "py_func", value)


@lru_cache(maxsize=1024)
def _code_text(function: FunctionType) -> str:
    """Return what a function does as text, without its decorators and docstrings."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # a lambda within a longer line, or code without a file
        code = function.__code__
        return repr((code.co_code, code.co_names, [item for item in code.co_consts if isinstance(item, _PLAIN)]))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
