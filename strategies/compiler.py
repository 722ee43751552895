"""Strategies from text that nobody has read: compiled from an allow-list, never imported, never executed.

Belongs here: reading the text of one strategy class and giving the same `Strategy` that importing it would give.
Does not belong here: the first evaluation in a child process (`strategies.sandbox`), judging what it earns.

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
from typing import Any, Final, NoReturn, TypeAlias, cast

from strategies.base import Features, Param, Signal, Strategy, StrategyError, feature_kind
from strategies.language import FUNCTIONS, LanguageError, Value, constant

MAX_TEXT: Final = 20_000
"""Longest text, in characters."""
MAX_TREE: Final = 3_000
"""Most nodes of the syntax tree."""
MAX_DEPTH: Final = 60
"""Deepest nesting of an expression."""

IMPORTS: Final[dict[str, frozenset[str]]] = {
    "strategies.base": frozenset({"Features", "Param", "Signal", "Strategy"}),
    "strategies.language": frozenset(FUNCTIONS) | {"Value"},
}
"""Import lines that a text may carry; they are read over, since the language's names are there anyway."""

RESERVED: Final = frozenset({"self", "f", "Signal", "Param", "Strategy", "Features", "Value", *FUNCTIONS})
"""Names that a text cannot give another meaning."""

Held: TypeAlias = int | float | Value

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
        super().__init__(f"{origin}:{line}: {node}: {reason}")
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
    try:
        tree = _parsed(text)
        node = _the_class(tree)
        return _made(node, text, origin)(**parameters)
    except _At as refusal:
        raise RefusedError(origin, refusal.line, refusal.node, refusal.reason) from None


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
        tree = _parsed(text.strip())
        if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
            _refuse(tree.body[0] if tree.body else tree, "one expression over features, and nothing else")
        found = _Reader({}, Features(feature_kind)).value(tree.body[0].value)
        if not isinstance(found, Value):
            _refuse(tree.body[0], "a plain number is the same on every bar; write an expression over features")
    except _At as refusal:
        raise RefusedError(origin, refusal.line, refusal.node, refusal.reason) from None
    return found


def _refuse(node: ast.AST, reason: str) -> NoReturn:
    raise _At(node, reason)


def _parsed(text: str) -> ast.Module:
    nowhere = ast.Module(body=[], type_ignores=[])
    if len(text) > MAX_TEXT:
        _refuse(nowhere, f"a strategy is a text of at most {MAX_TEXT} characters")
    try:
        tree = ast.parse(text)
        if not text.isascii():
            _check_names(text)
    except SyntaxError as error:
        at = ast.Pass(lineno=error.lineno or 1, col_offset=0)
        _refuse(at, f"not Python: {error.msg}")
    except (ValueError, MemoryError, RecursionError, OverflowError, tokenize.TokenError) as error:
        _refuse(nowhere, f"not readable: {type(error).__name__} {error}")
    for count, _ in enumerate(_walk(tree)):
        if count > MAX_TREE:
            _refuse(nowhere, f"more than {MAX_TREE} syntax nodes; make it simpler")
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


def _the_class(tree: ast.Module) -> ast.ClassDef:
    classes = []
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef):
            classes.append(node)
        elif isinstance(node, ast.ImportFrom):
            _check_import(node)
        elif place or not _is_text(node):
            _refuse(node, HINTS.get(type(node), "a strategy file holds one class and nothing else"))
    if len(classes) != 1:
        _refuse(classes[1] if classes else tree, f"exactly one class, not {len(classes)}")
    return classes[0]


def _check_import(node: ast.ImportFrom) -> None:
    known = IMPORTS.get(node.module or "", frozenset())
    strange = [each.name for each in node.names if each.name not in known or each.asname]
    if node.level or not known or strange:
        _refuse(node, f"only the language may be imported, from {' and '.join(IMPORTS)}, under its own names")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _made(node: ast.ClassDef, text: str, origin: str) -> type[Strategy]:
    plain = len(node.bases) == 1 and isinstance(node.bases[0], ast.Name) and node.bases[0].id == "Strategy"
    if not plain or node.keywords:
        _refuse(node, "the class has exactly one base, Strategy, and no keywords")
    if node.decorator_list:
        _refuse(node.decorator_list[0], "no decorators")
    _check_new(node, node.name)
    parts: dict[str, Any] = {
        "__doc__": ast.get_docstring(node, clean=False),
        "code": "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno]),
        "location": f"{origin}:{node.lineno}",
    }
    seen: set[str] = set()
    for place, item in enumerate(node.body):
        if place == 0 and _is_text(item):
            continue
        if isinstance(item, ast.Assign):
            name, value = _attribute(item)
        elif isinstance(item, ast.FunctionDef):
            name, value = "detect", _detect(item, origin)
        else:
            _refuse(item, HINTS.get(type(item), "a class holds name, timeframes, parameters and detect, nothing else"))
        if name in seen:
            _refuse(item, f"{name} is given twice")
        seen.add(name)
        parts[name] = value
    if "detect" not in seen:
        _refuse(node, "the class has no detect")
    return type(node.name, (Strategy,), parts)


def _check_new(node: ast.AST, name: str) -> None:
    if name.startswith("_") or name in RESERVED:
        _refuse(node, f"{name} cannot be given a meaning here; choose another name")


def _attribute(item: ast.Assign) -> tuple[str, object]:
    if len(item.targets) != 1 or not isinstance(item.targets[0], ast.Name):
        _refuse(item, "one name on the left of =")
    name = item.targets[0].id
    _check_new(item, name)
    if name == "name":
        if not isinstance(item.value, ast.Constant) or not isinstance(item.value.value, str):
            _refuse(item.value, "name is a plain text")
        return name, item.value.value
    if name == "timeframes":
        if not isinstance(item.value, ast.Tuple):
            _refuse(item.value, 'timeframes is a tuple of texts, as ("5m", "60m")')
        texts = [each.value if isinstance(each, ast.Constant) else None for each in item.value.elts]
        if not all(isinstance(each, str) for each in texts):
            _refuse(item.value, 'timeframes is a tuple of texts, as ("5m", "60m")')
        return name, tuple(texts)
    if hasattr(Strategy, name):
        _refuse(item, f"{name} is a part of every strategy; choose another name")
    return name, _param(item.value)


def _param(node: ast.expr) -> Param[Any]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Param":
        _refuse(node, "an attribute of the class is a parameter: Param(default, low, high)")
    numbers = [_literal(each) for each in node.args]
    named = {each.arg: _literal(each.value) for each in node.keywords if each.arg}
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


def _detect(item: ast.FunctionDef, origin: str) -> Callable[[Strategy, Features], Signal]:
    _check_head(item)
    body = item.body[1:] if _is_text(item.body[0]) else item.body
    if not body or not isinstance(body[-1], ast.Return):
        _refuse(item, "detect ends with return Signal(...)")
    for statement in body[:-1]:
        if not isinstance(statement, ast.Assign):
            _refuse(statement, HINTS.get(type(statement), "detect holds name = expression lines and one return"))
        if len(statement.targets) != 1 or not isinstance(statement.targets[0], ast.Name):
            _refuse(statement, "one name on the left of =")
        _check_new(statement, statement.targets[0].id)

    def detect(self: Strategy, f: Features) -> Signal:
        try:
            return _Reader(self.parameters, f).run(body)
        except _At as refusal:
            raise RefusedError(origin, refusal.line, refusal.node, refusal.reason) from None

    return detect


def _check_head(item: ast.FunctionDef) -> None:
    arguments = item.args
    names = [each.arg for each in arguments.args]
    more = [arguments.posonlyargs, arguments.kwonlyargs, arguments.defaults, arguments.kw_defaults]
    if item.name != "detect" or names != ["self", "f"] or any(more) or arguments.vararg or arguments.kwarg:
        _refuse(item, "the only function is detect(self, f)")
    if item.decorator_list:
        _refuse(item.decorator_list[0], "no decorators")
    notes = {"f": arguments.args[1].annotation, "return": item.returns, "self": arguments.args[0].annotation}
    allowed = {"f": "Features", "return": "Signal", "self": None}
    for where_used, note in notes.items():
        if note is not None and not (isinstance(note, ast.Name) and note.id == allowed[where_used]):
            _refuse(note, "annotations are f: Features and -> Signal")


class _Reader:
    """Interprets the body of one `detect`."""

    def __init__(self, parameters: Mapping[str, int | float], features: Features) -> None:
        self._parameters = parameters
        self._features = features
        self._locals: dict[str, Held] = {}

    def run(self, body: list[ast.stmt]) -> Signal:
        for statement in body[:-1]:
            assert isinstance(statement, ast.Assign)  # noqa: S101  # checked when it was read
            target = statement.targets[0]
            assert isinstance(target, ast.Name)  # noqa: S101  # same
            self._locals[target.id] = self.value(statement.value)
        last = body[-1]
        assert isinstance(last, ast.Return)  # noqa: S101  # same
        return self._signal(last)

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

    def _signal(self, node: ast.Return) -> Signal:
        call = node.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Signal":
            _refuse(node, "detect returns Signal(...)")
        if call.args or any(each.arg is None for each in call.keywords):
            _refuse(call, "Signal takes its parts by name: Signal(long_entry=..., stop=...)")
        named: dict[str, Any] = {str(each.arg): self.value(each.value) for each in call.keywords}
        try:
            return Signal(**named)
        except TypeError:
            _refuse(call, f"Signal has no part {', '.join(sorted(set(named) - set(Signal.__dataclass_fields__)))}")
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
            return self._features[node.attr]
        if node.attr not in self._parameters:
            _refuse(node, f"no parameter {node.attr}; there is {', '.join(self._parameters) or 'none'}")
        return self._parameters[node.attr]

    def _subscript(self, node: ast.Subscript) -> Held:
        if not isinstance(node.value, ast.Name) or node.value.id != "f":
            _refuse(node, 'brackets stand only in f["<feature>"]')
        return self._features[_text(node.slice)]

    def _call(self, node: ast.Call) -> Held:
        if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
            _refuse(node, "no * or ** in a call")
        if isinstance(node.func, ast.Attribute):
            return self._family(node, node.func)
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            called = node.func.id if isinstance(node.func, ast.Name) else type(node.func).__name__
            hint = {"max": "maximum", "min": "minimum"}.get(called)
            way = f"write {hint}" if hint else f"there are {', '.join(sorted(FUNCTIONS))}"
            _refuse(node, f"{called} is no function of the language; {way}")
        function: Callable[..., Any] = FUNCTIONS[node.func.id]
        given = [self.value(each) for each in node.args]
        named = {str(each.arg): self.value(each.value) for each in node.keywords}
        if function is abs and not any(isinstance(each, Value) for each in given):
            _refuse(node, "abs needs a value over features")
        try:
            found = function(*given, **named)
        except TypeError:
            _refuse(node, f"{node.func.id} does not take these arguments")
        if not isinstance(found, Value):
            _refuse(node, f"{node.func.id} needs a value over features")
        return found

    def _family(self, node: ast.Call, called: ast.Attribute) -> Held:
        owner = called.value.id if isinstance(called.value, ast.Name) else None
        if owner != "f" or called.attr != "feature":
            _refuse(called, "a dot stands only in self.<parameter>, f.<feature> and f.feature(...)")
        if not node.args or node.keywords:
            _refuse(node, 'f.feature takes a family and its numbers: f.feature("ema", self.length)')
        numbers = [self.value(each) for each in node.args[1:]]
        plain = [each for each in numbers if not isinstance(each, Value)]
        if len(plain) != len(numbers):
            _refuse(node, "the numbers of a feature are parameters or constants")
        return self._features.feature(_text(node.args[0]), *plain)

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
            found = operation(left, right)
        except (ZeroDivisionError, OverflowError) as error:
            _refuse(node, str(error))
        constant(found)
        return _held(node, found)

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


def _held(node: ast.AST, found: object) -> Held:
    if isinstance(found, bool) or not isinstance(found, int | float | Value):
        _refuse(node, "no meaning in the language")
    return found


def _text(node: ast.expr) -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        _refuse(node, "the name of a feature is a plain text")
    return node.value
