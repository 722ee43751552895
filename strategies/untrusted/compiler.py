"""Strategies from untrusted text: compiled from an allow-list, never imported, never executed.

Belongs here: reading the text of one class and giving the same `Strategy` or `Book` that importing it would give.
Does not belong here: the first evaluation in a child process (`strategies.untrusted.sandbox`), evaluating its results.

The text is parsed, and each node of the tree is interpreted by a method of this module or refused. The only names are
those of the language, the parameters behind `self`, the features behind `f` and the author's own local values; the
only things a name can hold are numbers and `Value`s, which have no attributes in the language. So there is no path
from the text to a file, a socket or the interpreter, and nothing in it can run for long: no loop, no recursion, and
sizes are limited before they are built.
"""

import ast
import io
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, cast

from strategies.language.across import ACROSS
from strategies.language.book import TEXTS, Book, Weights
from strategies.language.columns import Program
from strategies.language.strategy import (
    CANDLE_COLUMNS,
    Features,
    Param,
    Signal,
    Strategy,
    StrategyError,
    Written,
    feature_kind,
)
from strategies.language.values import FUNCTIONS, LanguageError, Value, constant
from strategies.untrusted.source_text import (
    SourceTextError,
    cut_lines,
    decoded,
    plain_text,
    strange_character,
    why_strange,
)
from strategies.untrusted.spans import ANYTHING, Span, bars_of, spanned, too_dear

MAX_TEXT: Final = 20_000
"""Longest text, in characters."""
MAX_BYTES: Final = 4 * MAX_TEXT
"""Longest file: no character takes more than four bytes."""
_TOO_LONG: Final = f"a strategy is a text of at most {MAX_TEXT} characters"
MAX_TREE: Final = 3_000
"""Most nodes of the syntax tree."""
MAX_DEPTH: Final = 60
"""Deepest nesting of an expression."""

_CLASSES: Final = frozenset({"Book", "Features", "Param", "Signal", "Strategy", "Weights"})
IMPORTS: Final[dict[str, frozenset[str]]] = {
    "strategies": _CLASSES | {"across"},
    "strategies.base": _CLASSES - {"Book", "Weights"},
    "strategies.language": frozenset(FUNCTIONS) | {"Value", "across"},
}
"""Import lines that a text may carry; they are read over, since the language's names are there anyway."""

RESERVED: Final = _CLASSES | frozenset({"self", "f", "Value", "across", *FUNCTIONS})
"""Names that a text cannot give another meaning."""

Held: TypeAlias = int | float | Value


@dataclass(frozen=True)
class _Form:
    """How a class of one kind is written: its base, its function, what that returns, and its plain attributes."""

    base: type[Written]
    function: str
    answer: type[Signal] | type[Weights]
    texts: tuple[str, ...]


_FORMS: Final = {
    "Strategy": _Form(Strategy, "detect", Signal, ()),
    "Book": _Form(Book, "weigh", Weights, ("timeframe", "rebalance")),
}

BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Pow: lambda a, b: a**b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
}
"""Every operator between two values."""
COMPARISON: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
"""Every comparison of two values."""
UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: +a,
    ast.Invert: lambda a: ~a,
}
"""Every operator before one value."""
HINTS: Final[dict[type[ast.AST], str]] = {
    ast.BoolOp: "write & and | between values in place of and, or",
    ast.Not: "write ~ in place of not",
    ast.IfExp: "write where(condition, a, b)",
    ast.If: "write where(condition, a, b)",
    ast.For: "there are no loops; use highest, mean, held, happened over a window",
    ast.While: "there are no loops; use highest, mean, held, happened over a window",
    ast.Import: "the language's names are there without import",
    ast.Lambda: "there are no functions inside a strategy",
    ast.JoinedStr: "texts stand only as names of features",
}
"""What to write in place of syntax that the language does not have."""


class RefusedError(StrategyError):
    """Text that is not a strategy in the language; the message begins with origin and line.

    Attributes
    ----------
    line : int
        Where, from 1.
    node : str
        What, as the syntax tree calls it.
    reason : str
        Why, and the way out.
    """

    def __init__(self, origin: str, line: int, node: str, reason: str) -> None:
        what = "" if node in {"Module", "Pass"} else f"{node}: "  # where there is nothing to name
        super().__init__(f"{origin}:{line}: {what}{reason}")
        self.line = line
        self.node = node
        self.reason = reason


class _At(Exception):  # noqa: N818  # carries a refusal to where the origin is known; never leaves this module
    def __init__(self, node: ast.AST, reason: str) -> None:
        super().__init__(reason)
        self.line = getattr(node, "lineno", 1)
        self.node = type(node).__name__
        self.reason = reason


def compile_strategy(text: str, origin: str = "<text>", /, **parameters: float) -> Strategy:
    """Return the strategy that a text describes, without importing or executing it.

    Parameters
    ----------
    text : str
        One strategy class, as a file of the library holds it; import lines of the language are allowed.
    origin : str
        What the messages call the text.
    **parameters : int or float
        Parameters that differ from their defaults.

    Returns
    -------
    Strategy
        With the same version and the same signals as the imported class would have.

    Raises
    ------
    RefusedError
        If the text is anything else; the message names line, node and reason. In bounded time and memory.
    StrategyError
        If the class is malformed as a strategy (no docstring, a parameter out of range, an unknown feature).
    """
    return cast("Strategy", _compiled(text, origin, "Strategy", parameters))


def compile_book(text: str, origin: str = "<text>", /, **parameters: float) -> Book:
    """Return the book that a text describes, without importing or executing it.

    Parameters
    ----------
    text : str
        One book class, as a file of the library holds it; import lines of the language are allowed.
    origin : str
        What the messages call the text.
    **parameters : int or float
        Parameters that differ from their defaults.

    Returns
    -------
    Book
        With the same version and the same scores as the imported class would have.

    Raises
    ------
    RefusedError
        If the text is anything else; the message names line, node and reason. In bounded time and memory.
    StrategyError
        If the class is malformed as a book (no docstring, a parameter out of range, an unknown feature).
    """
    return cast("Book", _compiled(text, origin, "Book", parameters))


def compile_any(text: str, origin: str = "<text>", /, **parameters: float) -> Strategy | Book:
    """Return what `compile_strategy` or `compile_book` makes of a text, by the base of its class.

    Parameters
    ----------
    text : str
        One class.
    origin : str
        What the messages call the text.
    **parameters : int or float
        Parameters that differ from their defaults.

    Returns
    -------
    Strategy or Book
        As the two give it.

    Raises
    ------
    RefusedError, StrategyError
        As for both.
    """
    return cast("Strategy | Book", _compiled(text, origin, "", parameters))


def _compiled(text: str, origin: str, kind: str, parameters: Mapping[str, float]) -> Written:
    try:
        plain = _plain(text)
        node = _the_class(_parsed(plain), kind)
        code = cut_lines(plain, node.lineno, node.end_lineno)
        # the class is compiled from its own lines, as it will be when the stored lines are loaded
        alone = _parsed(code)
        ast.increment_lineno(alone, node.lineno - 1)
        return _made(_the_class(alone, kind), code, origin)(**parameters)
    except _At as refusal:
        raise RefusedError(origin, refusal.line, refusal.node, refusal.reason) from None


def compile_file(path: Path) -> Strategy | Book:
    """Return what `compile_any` makes of a file in UTF-8, with or without a byte-order mark.

    Raises
    ------
    RefusedError
        As for `compile_any`, and if the file is not UTF-8.
    StrategyError
        As for `compile_any`.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        text = "" if len(data) > MAX_BYTES else decoded(data)
    except SourceTextError as error:
        raise RefusedError(str(path), error.line, "text", str(error)) from None
    if len(data) > MAX_BYTES:
        raise RefusedError(str(path), 1, "text", _TOO_LONG)
    return compile_any(text, str(path))


def compile_expression(text: str, origin: str = "<text>") -> Value:
    """Return what one expression over features means, without executing it.

    Parameters
    ----------
    text : str
        As it would stand in `detect`: features, constants, operators and functions of the language; no parameters.
    origin : str
        What the messages call the text.

    Raises
    ------
    RefusedError
        If the text is anything else; the message names line, node and reason. In bounded time and memory.
    """
    try:
        tree = _parsed(_plain(text).strip())
        if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
            _refuse(tree.body[0] if tree.body else tree, "one expression over features, and nothing else")
        reader = _Reader({}, {}, Features(feature_kind))
        value = reader.value(tree.body[0].value)
        if not isinstance(value, Value):
            _refuse(tree.body[0], "a plain number is the same on every bar; write an expression over features")
        reader.check_features(tree.body[0])
        if Program([value]).crosses:
            _refuse(tree.body[0], "across compares symbols, and a feature is of one")
    except _At as refusal:
        raise RefusedError(origin, refusal.line, refusal.node, refusal.reason) from None
    return value


def _refuse(node: ast.AST, reason: str) -> NoReturn:
    raise _At(node, reason)


def _plain(text: str) -> str:
    """Return a text in its one form, or refuse it by the character that has no place in it."""
    if len(text) > MAX_TEXT:
        _refuse(ast.Module(body=[], type_ignores=[]), _TOO_LONG)
    try:
        return plain_text(text)
    except SourceTextError as error:
        _refuse(ast.Pass(lineno=error.line, col_offset=0), str(error))


def _parsed(text: str) -> ast.Module:
    nowhere = ast.Module(body=[], type_ignores=[])
    try:
        tree = ast.parse(text)
        if not text.isascii():
            _check_names(text)
    except SyntaxError as error:
        at = ast.Pass(lineno=error.lineno or 1, col_offset=0)
        _refuse(at, f"not Python: {error.msg}")
    except (ValueError, MemoryError, RecursionError, OverflowError, tokenize.TokenError) as error:
        _refuse(nowhere, f"not readable: {type(error).__name__} {error}")
    for count, node in enumerate(_walk(tree)):
        if count > MAX_TREE:
            _refuse(nowhere, f"more than {MAX_TREE} syntax nodes; make it simpler")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = strange_character(node.value)  # an escape such as \x1b writes it in plain letters
            if place is not None:
                _refuse(node, why_strange(node.value[place]))
    return tree


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            _refuse(node, f"nested more than {MAX_DEPTH} deep; give parts names of their own")
        yield node
        waiting.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


def _check_names(text: str) -> None:
    """Refuse letters of other alphabets in names: Python would fold some of them into plain ones."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not token.string.isascii():
            at = ast.Name(id=token.string, lineno=token.start[0], col_offset=token.start[1])
            _refuse(at, f"the name {token.string!r} holds letters beyond a to z")


def _the_class(tree: ast.Module, kind: str) -> ast.ClassDef:
    classes = []
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef):
            classes.append(node)
        elif isinstance(node, ast.ImportFrom):
            _check_import(node)
        elif place or not _is_text(node):
            _refuse(node, HINTS.get(type(node), "a strategy file holds one class and nothing else"))
    if len(classes) != 1:
        _refuse(
            classes[1] if classes else tree,
            f"exactly one class, not {len(classes)}",
        )
    _check_class(classes[0], kind)
    return classes[0]


def _check_class(node: ast.ClassDef, kind: str) -> None:
    """Refuse a class that its own lines, from the word `class` on, do not hold whole, or that is no plain one."""
    kinds = (kind,) if kind else tuple(_FORMS)
    plain = len(node.bases) == 1 and isinstance(node.bases[0], ast.Name) and node.bases[0].id in kinds
    if not plain or node.keywords:
        _refuse(node, f"the class has exactly one base, {' or '.join(kinds)}, and no keywords")
    if node.decorator_list:
        _refuse(node.decorator_list[0], "no decorators")
    _check_new(node, node.name)


def _check_import(node: ast.ImportFrom) -> None:
    importable = IMPORTS.get(node.module or "", frozenset())
    strange = [alias.name for alias in node.names if alias.name not in importable or alias.asname]
    if node.level or not importable or strange:
        _refuse(node, f"only the language may be imported, under its own names, from: {', '.join(IMPORTS)}")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _made(node: ast.ClassDef, code: str, origin: str) -> type[Written]:
    base = node.bases[0]
    assert isinstance(base, ast.Name)  # noqa: S101  # checked when it was read
    form = _FORMS[base.id]
    parts: dict[str, Any] = {
        "__doc__": ast.get_docstring(node, clean=False),
        "code": code,
        "location": f"{origin}:{node.lineno}",
    }
    seen: set[str] = set()
    for place, item in enumerate(node.body):
        if place == 0 and _is_text(item):
            continue
        if isinstance(item, ast.Assign):
            given = [_attribute(target, value, item, form) for target, value in _assigned(item, form)]
        elif isinstance(item, ast.FunctionDef):
            given = [(form.function, _function(item, origin, form))]
        else:
            kept = "name, timeframe, rebalance" if form.texts else "name, timeframes"
            way = f"a class holds {kept}, parameters and {form.function}, nothing else"
            _refuse(item, HINTS.get(type(item), way))
        for name, value in given:
            if name in seen:
                _refuse(item, f"{name} is given twice")
            seen.add(name)
            parts[name] = value
    if form.function not in seen:
        _refuse(node, f"the class has no {form.function}")
    return type(node.name, (form.base,), parts)


def _assigned(item: ast.Assign, form: _Form) -> list[tuple[ast.expr, ast.expr]]:
    """Return the names and values of a line; a book may give several at once, as in `timeframe, rebalance = …`."""
    target, value = item.targets[0], item.value
    pairs = form.texts and isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    if len(item.targets) != 1 or not pairs:
        return [(target if len(item.targets) == 1 else item, value)]  # type: ignore[list-item]  # refused below
    assert isinstance(target, ast.Tuple)  # noqa: S101  # as `pairs` says
    assert isinstance(value, ast.Tuple)  # noqa: S101  # same
    if len(target.elts) != len(value.elts):
        _refuse(item, "as many values as names")
    return list(zip(target.elts, value.elts, strict=True))


def _check_new(node: ast.AST, name: str) -> None:
    if name.startswith("_") or name in RESERVED:
        _refuse(node, f"{name} cannot be given a meaning here; choose another name")


def _attribute(target: ast.expr, given: ast.expr, item: ast.Assign, form: _Form) -> tuple[str, object]:
    if not isinstance(target, ast.Name):
        _refuse(item, "one name on the left of =")
    name = target.id
    _check_new(item, name)
    if name == "name" or name in form.texts:
        if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
            _refuse(given, f"{name} is a plain text")
        return name, given.value
    if name == "timeframes" and form.base is Strategy:
        if not isinstance(given, ast.Tuple):
            _refuse(given, 'timeframes is a tuple of texts, as ("5m", "60m")')
        texts = [element.value if isinstance(element, ast.Constant) else None for element in given.elts]
        if not all(isinstance(element, str) for element in texts):
            _refuse(given, 'timeframes is a tuple of texts, as ("5m", "60m")')
        return name, tuple(texts)
    if hasattr(form.base, name):
        _refuse(item, f"{name} is a part of every {form.base.__name__.lower()}; choose another name")
    return name, _param(given)


def _param(node: ast.expr) -> Param[Any]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Param":
        _refuse(node, "an attribute of the class is a parameter: Param(default, low, high)")
    numbers = [_literal(argument) for argument in node.args]
    named = {argument.arg: _literal(argument.value) for argument in node.keywords if argument.arg}
    if len(named) != len(node.keywords):
        _refuse(node, "no ** in a call")
    try:
        return Param(*numbers, **named)
    except (TypeError, LanguageError) as error:
        _refuse(node, str(error) if isinstance(error, LanguageError) else "Param(default, low, high) or with step=")


def _literal(node: ast.expr) -> int | float:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    if not isinstance(node, ast.Constant):
        _refuse(node, "a plain number stands here")
    return _number(node)


def _number(node: ast.Constant) -> int | float:
    try:
        constant(node.value)
    except LanguageError as error:
        _refuse(node, str(error) if isinstance(node.value, int | float) else "only numbers stand in an expression")
    return cast("int | float", node.value)


def _function(item: ast.FunctionDef, origin: str, form: _Form) -> Callable[[Written, Features], Signal | Weights]:
    _check_head(item, form)
    body = item.body[1:] if _is_text(item.body[0]) else item.body
    if not body or not isinstance(body[-1], ast.Return):
        _refuse(item, f"{form.function} ends with return {form.answer.__name__}(...)")
    for statement in body[:-1]:
        if not isinstance(statement, ast.Assign):
            way = f"{form.function} holds name = expression lines and one return"
            _refuse(statement, HINTS.get(type(statement), way))
        if len(statement.targets) != 1 or not isinstance(statement.targets[0], ast.Name):
            _refuse(statement, "one name on the left of =")
        _check_new(statement, statement.targets[0].id)

    def function(self: Written, f: Features) -> Signal | Weights:
        try:
            return _Reader(self.parameters, self.ranges(), f).run(body, form)
        except _At as refusal:
            raise RefusedError(origin, refusal.line, refusal.node, refusal.reason) from None

    return function


def _check_head(item: ast.FunctionDef, form: _Form) -> None:
    arguments = item.args
    names = [argument.arg for argument in arguments.args]
    more = [arguments.posonlyargs, arguments.kwonlyargs, arguments.defaults, arguments.kw_defaults]
    if item.name != form.function or names != ["self", "f"] or any(more) or arguments.vararg or arguments.kwarg:
        _refuse(item, f"the only function is {form.function}(self, f)")
    if item.decorator_list:
        _refuse(item.decorator_list[0], "no decorators")
    notes = {"f": arguments.args[1].annotation, "return": item.returns, "self": arguments.args[0].annotation}
    allowed = {"f": "Features", "return": form.answer.__name__, "self": None}
    for where_used, note in notes.items():
        if note is not None and not (isinstance(note, ast.Name) and note.id == allowed[where_used]):
            _refuse(note, f"annotations are f: Features and -> {form.answer.__name__}")


class _Reader:
    """Interprets the body of one `detect` or `weigh`."""

    def __init__(
        self, parameters: Mapping[str, int | float], ranges: Mapping[str, Param[Any]], features: Features
    ) -> None:
        self._parameters = parameters
        self._ranges = ranges
        self._features = features
        self._locals: dict[str, Held] = {}
        self._spans: dict[str, Span] = {}
        self._bars: dict[str | ast.Call, int] = {}

    def run(self, body: list[ast.stmt], form: _Form) -> Signal | Weights:
        for statement in body[:-1]:
            assert isinstance(statement, ast.Assign)  # noqa: S101  # checked when it was read
            target = statement.targets[0]
            assert isinstance(target, ast.Name)  # noqa: S101  # same
            value = self.value(statement.value)
            if not isinstance(value, Value):
                self._spans[target.id] = self._span(statement.value)
            self._locals[target.id] = value
        last = body[-1]
        assert isinstance(last, ast.Return)  # noqa: S101  # same
        answer = self._answer(last, form)
        self.check_features(last)
        return answer

    def check_features(self, node: ast.AST) -> None:
        """Refuse more features, or longer windows at the largest values of the parameters, than a text may have."""
        reason = too_dear(list(self._bars.values()))
        if reason:
            _refuse(node, reason)

    def value(self, node: ast.expr) -> Held:
        readings: dict[type[ast.expr], Callable[[Any], Held]] = {
            ast.Constant: _number,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.Call: self._call,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.Compare: self._compare,
        }
        reading = readings.get(type(node))
        if reading is None:
            _refuse(node, HINTS.get(type(node), "no such thing in the language"))
        try:
            return reading(node)
        except LanguageError as error:
            _refuse(node, str(error))

    def _answer(self, node: ast.Return, form: _Form) -> Signal | Weights:
        call, word = node.value, form.answer.__name__
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != word:
            _refuse(node, f"{form.function} returns {word}(...)")
        if call.args or any(keyword.arg is None for keyword in call.keywords):
            example = "long_entry=..., stop=..." if form.answer is Signal else "rank_by=..., long=..."
            _refuse(call, f"{word} takes its parts by name: {word}({example})")
        named: dict[str, Any] = {
            str(keyword.arg): _text(keyword.value, str(keyword.arg))
            if form.answer is Weights and keyword.arg in TEXTS
            else self.value(keyword.value)
            for keyword in call.keywords
        }
        try:
            return form.answer(**named)
        except TypeError:
            unknown = sorted(set(named) - set(form.answer.__dataclass_fields__))
            _refuse(call, f"{word} has no part {', '.join(unknown)}")
        except LanguageError as error:
            _refuse(call, str(error))

    def _name(self, node: ast.Name) -> Held:
        if node.id not in self._locals:
            hint = {"max": "maximum", "min": "minimum"}.get(node.id)
            _refuse(node, f"unknown name {node.id}" + (f"; write {hint}" if hint else ""))
        return self._locals[node.id]

    def _attribute(self, node: ast.Attribute) -> Held:
        owner = node.value.id if isinstance(node.value, ast.Name) else None
        if owner not in {"self", "f"} or node.attr.startswith("_"):
            _refuse(node, "a dot stands only in self.<parameter> and f.<feature>")
        if owner == "f":
            return self._feature(node.attr)
        if node.attr not in self._parameters:
            _refuse(node, f"no parameter {node.attr}; there is {', '.join(self._parameters) or 'none'}")
        return self._parameters[node.attr]

    def _subscript(self, node: ast.Subscript) -> Held:
        if not isinstance(node.value, ast.Name) or node.value.id != "f":
            _refuse(node, 'brackets stand only in f["<feature>"]')
        return self._feature(_text(node.slice))

    def _call(self, node: ast.Call) -> Held:
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
            argument.arg is None for argument in node.keywords
        ):
            _refuse(node, "no * or ** in a call")
        if isinstance(node.func, ast.Attribute):
            return self._family(node, node.func)
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            called = node.func.id if isinstance(node.func, ast.Name) else type(node.func).__name__
            hint = {"max": "maximum", "min": "minimum"}.get(called)
            way = f"write {hint}" if hint else f"there are {', '.join(sorted(FUNCTIONS))}"
            _refuse(node, f"{called} is no function of the language; {way}")
        function: Callable[..., Any] = FUNCTIONS[node.func.id]
        arguments = [self.value(argument) for argument in node.args]
        named = {str(argument.arg): self.value(argument.value) for argument in node.keywords}
        if function is abs and not any(isinstance(argument, Value) for argument in arguments):
            _refuse(node, "abs needs a value over features")
        try:
            result = function(*arguments, **named)
        except TypeError:
            _refuse(node, f"{node.func.id} does not take these arguments")
        if not isinstance(result, Value):
            _refuse(node, f"{node.func.id} needs a value over features")
        return result

    def _across(self, node: ast.Call, word: str) -> Held:
        if word not in ACROSS:
            _refuse(node, f"across has no word {word}; it has {', '.join(ACROSS)}")
        arguments = [self.value(argument) for argument in node.args]
        if node.keywords or not arguments or not isinstance(arguments[0], Value):
            _refuse(node, f"across.{word} needs a value over features: across.{word}(f.returns_24)")
        try:
            return cast("Value", ACROSS[word](*arguments))
        except TypeError:
            _refuse(node, f"across.{word} does not take these arguments")

    def _family(self, node: ast.Call, called: ast.Attribute) -> Held:
        owner = called.value.id if isinstance(called.value, ast.Name) else None
        if owner == "across":
            return self._across(node, called.attr)
        if owner != "f" or called.attr != "feature":
            _refuse(called, "a dot stands only in self.<parameter>, f.<feature> and f.feature(...)")
        if not node.args or node.keywords:
            _refuse(node, 'f.feature takes a family and its numbers: f.feature("ema", self.length)')
        numbers = [self.value(number) for number in node.args[1:]]
        plain = [number for number in numbers if not isinstance(number, Value)]
        if len(plain) != len(numbers):
            _refuse(node, "the numbers of a feature are parameters or constants")
        family = _text(node.args[0])
        feature = self._features.feature(family, *plain)
        if plain:
            self._bars[node] = bars_of(str(feature.given), tuple(self._span(number) for number in node.args[1:]))
            return feature
        return self._feature(family)

    def _feature(self, name: str) -> Held:
        feature = self._features[name]
        if name not in CANDLE_COLUMNS:
            self._bars[name] = bars_of(name)
        return feature

    def _span(self, node: ast.expr) -> Span:
        """Return between what a plain number lies over the ranges of the parameters; its node has been read before."""
        if isinstance(node, ast.Attribute):
            param = self._ranges[node.attr]
            return Span(param.low, param.high)
        if isinstance(node, ast.Name):
            return self._spans[node.id]
        if isinstance(node, ast.UnaryOp):
            low, high = self._span(node.operand)
            return Span(-high, -low) if isinstance(node.op, ast.USub) else Span(low, high)
        if isinstance(node, ast.BinOp):
            return spanned(node.op, BINARY[type(node.op)], self._span(node.left), self._span(node.right))
        value = node.value if isinstance(node, ast.Constant) else None
        return Span(value, value) if isinstance(value, int | float) else ANYTHING

    def _binary(self, node: ast.BinOp) -> Held:
        operation = BINARY.get(type(node.op))
        if operation is None:
            _refuse(node, f"no operator {type(node.op).__name__} in the language")
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, Value) or isinstance(right, Value):
            if isinstance(node.op, ast.FloorDiv):
                _refuse(node, "// is for plain numbers; write / for values")
            if isinstance(node.op, ast.Pow) and isinstance(right, Value):
                _refuse(node, "the exponent of ** must be a number")
            return _held(node, operation(left, right))
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            _refuse(node, "& and | are for truth values; put comparisons in parentheses")
        if isinstance(node.op, ast.Pow) and abs(right) > 8:  # noqa: PLR2004  # as for values
            _refuse(node, "exponent beyond 8")
        try:
            result = operation(left, right)
        except (ZeroDivisionError, OverflowError) as error:
            _refuse(node, str(error))
        constant(result)
        return _held(node, result)

    def _unary(self, node: ast.UnaryOp) -> Held:
        inner = self.value(node.operand)
        operation = UNARY.get(type(node.op))
        if operation is not None and (isinstance(inner, Value) or not isinstance(node.op, ast.Invert)):
            return _held(node, operation(inner))
        _refuse(node, HINTS.get(type(node.op), "~ is for truth values"))

    def _compare(self, node: ast.Compare) -> Held:
        operation = COMPARISON.get(type(node.ops[0]))
        if len(node.ops) != 1 or operation is None:
            _refuse(node, "one of < <= > >= == != between two values; write (a < b) & (b < c)")
        left, right = self.value(node.left), self.value(node.comparators[0])
        if not isinstance(left, Value) and not isinstance(right, Value):
            _refuse(node, "a comparison of two plain numbers is the same on every bar")
        return _held(node, operation(left, right))


def _held(node: ast.AST, result: object) -> Held:
    if isinstance(result, bool) or not isinstance(result, int | float | Value):
        _refuse(node, "no meaning in the language")
    return result


def _text(node: ast.expr, what: str = "the name of a feature") -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        _refuse(node, f"{what} is a plain text")
    return node.value
