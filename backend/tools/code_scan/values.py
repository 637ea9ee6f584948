"""Evaluates expressions as far as that is possible without running the code."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.tools.config_import import UnknownValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backend.tools.code_scan.modules import ParsedModule

VARIABLE: Final = "os.environ/"
"""The prefix of an environment variable's name in LiteLLM's notation."""
_GETTERS = {"os.getenv", "os.environ.get", "getenv", "environ.get"}
_WRAPPERS = {"SecretStr", "Path", "str", "Decimal", "float", "int", "HttpUrl"}
_DEEPEST = 20
_LONGEST = 1000
"""Letters of a text that is put together: a model's name or an address."""


class StaticValue(NamedTuple):
    """The value of an expression in the scanned code, determined without running the code.

    Attributes:
        value: The value; `UnknownValue` if it is known only at run time.
        note: A warning that the value may differ at run time, and why; empty if the value is certain.
    """

    value: object
    note: str = ""


class CodeBase:
    """All parsed modules of a code base, in which expressions can be evaluated across files without running the code."""

    def __init__(self, modules: Iterable[ParsedModule]) -> None:
        self.modules = {_dotted(module.name): module for module in modules}
        self._known: dict[int, StaticValue] = {}
        self._classes = _classes(self.modules)
        self._fields = _fields(self.modules.values())

    def evaluate_expression(self, node: ast.AST, module: ParsedModule, depth: int = 0) -> StaticValue:
        """Evaluate the expression ``node`` without running it; `UnknownValue` if the result depends on the run.

        Names are resolved through assignments and imports. ``depth`` is the depth of the recursion, which is
        limited.
        """
        if depth > _DEEPEST:
            return StaticValue(UnknownValue())
        if id(node) not in self._known:
            # What leads to itself is not known.
            self._known[id(node)] = StaticValue(UnknownValue())
            self._known[id(node)] = self._found(node, module, depth)
        return self._known[id(node)]

    def _found(self, node: ast.AST, module: ParsedModule, depth: int) -> StaticValue:
        if isinstance(node, ast.Name | ast.Attribute):
            return self._named(node, module, depth)
        if isinstance(node, ast.Call):
            return self._called(node, module, depth)
        if isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Constant):
            return StaticValue(self._literal(node, module, depth))
        return self._computed(node, module, depth)

    def _literal(
        self, node: ast.List | ast.Tuple | ast.Dict | ast.Constant, module: ParsedModule, depth: int
    ) -> object:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Dict):
            return self._mapping(node, module, depth)
        return [self.evaluate_expression(elt, module, depth + 1).value for elt in node.elts]

    def _mapping(self, node: ast.Dict, module: ParsedModule, depth: int) -> dict[object, object]:
        made: dict[object, object] = {}
        for key, expr in zip(node.keys, node.values, strict=True):
            value = self.evaluate_expression(expr, module, depth + 1).value
            if key is None:
                made |= value if isinstance(value, dict) else {}
            elif isinstance(name := self.evaluate_expression(key, module, depth + 1).value, str):
                made[name] = value
        return made

    def _computed(self, node: ast.AST, module: ParsedModule, depth: int) -> StaticValue:
        """The value of joined texts, of a default after ``or``, of a signed number, or of an item of a mapping."""
        if isinstance(node, ast.Subscript):
            return self._subscript(node, module, depth)
        if isinstance(node, ast.JoinedStr | ast.BinOp):
            return self._joined(node, module, depth)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            last = self.evaluate_expression(node.values[-1], module, depth + 1)
            return StaticValue(last.value, last.note or "something else may come before it")
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.evaluate_expression(node.operand, module, depth + 1).value
            return StaticValue(-inner if isinstance(inner, int | float) else UnknownValue())
        return StaticValue(UnknownValue())

    def _joined(self, node: ast.JoinedStr | ast.BinOp, module: ParsedModule, depth: int) -> StaticValue:
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Add):
            return StaticValue(UnknownValue())
        nodes = node.values if isinstance(node, ast.JoinedStr) else [node.left, node.right]
        parts = [node.value if isinstance(node, ast.FormattedValue) else node for node in nodes]
        found = [self.evaluate_expression(part, module, depth + 1) for part in parts]
        texts = [value.value for value in found if isinstance(value.value, str)]
        is_text = len(texts) == len(found) and not any(text.startswith(VARIABLE) for text in texts)
        if is_text and sum(map(len, texts)) <= _LONGEST:
            return StaticValue(
                "".join(str(value.value) for value in found), "".join(value.note for value in found)
            )
        return StaticValue(UnknownValue())

    def _named(self, node: ast.Name | ast.Attribute, module: ParsedModule, depth: int) -> StaticValue:
        dotted = module.resolve_dotted_name(node) or ""
        if isinstance(node, ast.Name):
            if (assigned := module.find_assignment(node.id, node)) is not None:
                return self.evaluate_expression(assigned, module, depth + 1)
            if (default := module.find_parameter_default(node.id, node)) is not None:
                found = self.evaluate_expression(default, module, depth + 1)
                return StaticValue(found.value, f"it is the default of the argument {node.id}")
        if (elsewhere := self._imported(dotted)) is not None:
            other, expression = elsewhere
            return self.evaluate_expression(expression, other, depth + 1)
        return self._held(node, module, dotted, depth) or StaticValue(UnknownValue(_plain(node)))

    def _held(
        self, node: ast.Name | ast.Attribute, module: ParsedModule, dotted: str, depth: int
    ) -> StaticValue | None:
        """A text held by a class or an instance: a member of an enumeration, an argument, or a field's default."""
        owner, _, name = dotted.removesuffix(".value").rpartition(".")
        if (held := self._class(owner, module)) is not None and name in held:
            return StaticValue(held[name])
        if not isinstance(node, ast.Attribute):
            return None
        made, place = self._making(node.value, module, depth + 1)
        if isinstance(made, ast.Call):
            given = next((keyword.value for keyword in made.keywords if keyword.arg == node.attr), None)
            if given is not None:
                return self.evaluate_expression(given, place, depth + 1)
        named = made.func if isinstance(made, ast.Call) else made
        fields = self._class(place.resolve_dotted_name(named) or "", place) if named is not None else None
        default = self._fields.get(node.attr) if fields is None else fields.get(node.attr)
        return (
            StaticValue(default, f"it is the default of the field {node.attr}")
            if default is not None
            else None
        )

    def _item(
        self, node: ast.Subscript, module: ParsedModule, depth: int
    ) -> tuple[ast.expr, ParsedModule] | None:
        """The value under a key of a literal mapping, and its place."""
        mapping, place = self._making(node.value, module, depth + 1)
        key = self.evaluate_expression(node.slice, module, depth + 1).value
        keys = mapping.keys if isinstance(mapping, ast.Dict) else []
        found = [at for at, expr in enumerate(keys) if isinstance(expr, ast.Constant) and expr.value == key]
        return (mapping.values[found[-1]], place) if found and isinstance(mapping, ast.Dict) else None

    def _making(self, node: ast.AST, module: ParsedModule, depth: int) -> tuple[ast.AST | None, ParsedModule]:
        """The expression that made ``node``, or the annotation with its class, and the place of either."""
        if isinstance(node, ast.Call):
            return node, module
        made = None
        if isinstance(node, ast.Name):
            made = module.find_assignment(node.id, node) or module.find_parameter_annotation(node.id, node)
        if made is None and (elsewhere := self._imported(module.resolve_dotted_name(node) or "")) is not None:
            module, made = elsewhere
        if isinstance(made, ast.Subscript) and depth <= _DEEPEST:
            made, module = self._item(made, module, depth) or (made, module)
        return made, module

    def _class(self, dotted: str, module: ParsedModule) -> Mapping[str, str] | None:
        """The texts of the class ``dotted``, or of the class whose method it is."""
        names = dotted.split(".")
        for end in range(len(names), 0, -1):
            source = ".".join(names[: end - 1]) or _dotted(module.name)
            found = [
                texts
                for (place, name), texts in self._classes.items()
                if name == names[end - 1] and (f".{place}".endswith(f".{source}"))
            ]
            if len(found) == 1:
                return found[0]
        return None

    def _imported(self, dotted: str) -> tuple[ParsedModule, ast.expr] | None:
        """The expression that ``package.module.NAME`` stands for."""
        source, _, name = dotted.rpartition(".")
        matching = [
            module
            for known, module in self.modules.items()
            if known == source or known.endswith(f".{source}")
        ]
        if len(matching) != 1:
            return None
        found = matching[0].values.get((id(matching[0].tree), name))
        return (matching[0], found) if found is not None else None

    def _subscript(self, node: ast.Subscript, module: ParsedModule, depth: int) -> StaticValue:
        """An environment variable's value, or the item of a literal mapping."""
        if (item := self._item(node, module, depth)) is not None:
            return self.evaluate_expression(*item, depth + 1)
        name = self.evaluate_expression(node.slice, module, depth + 1).value
        is_variable = (module.resolve_dotted_name(node.value) or "").endswith("environ")
        return StaticValue(f"{VARIABLE}{name}" if is_variable and isinstance(name, str) else UnknownValue())

    def _called(self, node: ast.Call, module: ParsedModule, depth: int) -> StaticValue:
        called = module.resolve_dotted_name(node.func) or ""
        if called in _GETTERS and node.args:
            return self._variable(node, module, depth)
        if called.rpartition(".")[2] in _WRAPPERS and node.args:
            return self.evaluate_expression(node.args[0], module, depth + 1)
        if called.rpartition(".")[2] == "dict" and not node.args:
            pairs = {
                keyword.arg: self.evaluate_expression(keyword.value, module, depth + 1).value
                for keyword in node.keywords
                if keyword.arg
            }
            return StaticValue(pairs)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get_secret_value":
            return self.evaluate_expression(node.func.value, module, depth + 1)
        return StaticValue(UnknownValue(_plain(node.func)))

    def _variable(self, node: ast.Call, module: ParsedModule, depth: int) -> StaticValue:
        """An environment variable's value or default; the name of the variable if there is no default."""
        name = self.evaluate_expression(node.args[0], module, depth + 1).value
        others = [*node.args[1:], *(keyword.value for keyword in node.keywords if keyword.arg == "default")]
        default = self.evaluate_expression(others[0], module, depth + 1).value if others else None
        if isinstance(default, str) and default:
            return StaticValue(default, f"the variable {name} decides; this is its default")
        return StaticValue(f"{VARIABLE}{name}" if isinstance(name, str) else UnknownValue())


def _plain(node: ast.AST) -> str:
    """``a.b`` as written; empty if ``node`` is more than names."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def _dotted(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _fields(modules: Iterable[ParsedModule]) -> Mapping[str, str]:
    """The fields of settings classes that have a text as default and a unique name."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and _holds_settings(node, module):
                for name, value in _texts(node):
                    found[name].add(value)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _holds_settings(node: ast.ClassDef, module: ParsedModule) -> bool:
    names = [node.name, *((module.resolve_dotted_name(base) or "") for base in node.bases)]
    return any(word in name for name in names for word in ("Settings", "Config"))


def _classes(modules: Mapping[str, ParsedModule]) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """The texts in the attributes of each class, by module and class name."""
    return {
        (place, node.name): texts
        for place, module in modules.items()
        for node in module.nodes
        if isinstance(node, ast.ClassDef) and (texts := dict(_texts(node)))
    }


def _texts(node: ast.ClassDef) -> Iterable[tuple[str, str]]:
    for line in node.body:
        if not isinstance(line, ast.AnnAssign | ast.Assign):
            continue
        target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0]
        value = _default(line.value)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield target.id, value.value


def _default(value: ast.expr | None) -> ast.expr | None:
    """``value``, or the default of a ``Field(…)``."""
    if not isinstance(value, ast.Call):
        return value
    given = [*value.args[:1], *(keyword.value for keyword in value.keywords if keyword.arg == "default")]
    return given[0] if given else None
