"""A parsed Python file, never imported, with the values of its names."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class UnreadableError(Exception):
    """A file cannot be parsed as Python by this interpreter. The message has the place, and no content."""


@dataclass(frozen=True)
class Module:
    """A parsed Python file.

    Attributes:
        name: The path within the code base.
        imports: The full dotted name of what each imported name stands for.
        values: The expression assigned to each name, by the id of its scope's node and the name. Names that are assigned more
            than once are left out.
        nodes: All nodes of the tree, parents first.
        scopes: The scopes around each node, by the node's id, the innermost last.
        parents: The parent of each node, by the node's id.
    """

    name: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...] = field(repr=False)
    imports: Mapping[str, str] = field(repr=False)
    values: Mapping[tuple[int, str], ast.expr] = field(repr=False)
    scopes: Mapping[int, tuple[Scope, ...]] = field(repr=False)
    parents: Mapping[int, ast.AST] = field(repr=False)

    def place(self, node: ast.AST) -> str:
        """Where ``node`` is in the code base, as ``file:line``."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"

    def dotted(self, node: ast.AST) -> str | None:
        """The full dotted name of ``node``, such as ``langchain_openai.ChatOpenAI`` for the name ``ChatOpenAI`` that was imported from there.

        None if ``node`` is no name or attribute of a name.
        """
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        return ".".join([self.imports.get(node.id, node.id), *reversed(names)])

    def assigned(self, name: str, at: ast.AST) -> ast.expr | None:
        """The expression that was assigned to ``name``, as seen from the node ``at``; None if there is none, or several."""
        for scope in reversed(self.scopes[id(at)]):
            if (found := self.values.get((id(scope), name))) is not None:
                return found
        return None

    def default(self, name: str, at: ast.AST) -> ast.expr | None:
        """The default value of the argument ``name`` of the function around ``at``; None if it has none."""
        arguments = self._arguments(at)
        return _defaults(arguments).get(name) if arguments else None

    def annotation(self, name: str, at: ast.AST) -> ast.expr | None:
        """The type annotation of the argument ``name`` of the function around ``at``; None if it has none."""
        arguments = self._arguments(at)
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs] if arguments else []
        return next((one.annotation for one in named if one.arg == name), None)

    def _arguments(self, at: ast.AST) -> ast.arguments | None:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        scopes = (scope for scope in reversed(self.scopes[id(at)]) if isinstance(scope, functions))
        found = next(scopes, None)
        return found.args if found else None


def parse(name: str, path: Path) -> Module:
    """Read and parse the Python file ``path``; nothing of it is run.

    Raises:
        UnreadableError: The file cannot be parsed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise UnreadableError(f"line {error.lineno or 1} is no Python that this interpreter reads") from None
    except (ValueError, RecursionError, MemoryError, OSError) as error:
        raise UnreadableError(f"it cannot be parsed ({type(error).__name__})") from None
    scopes, parents = _places(tree)
    nodes = tuple(ast.walk(tree))
    return Module(name, tree, nodes, _imports(nodes, name), _values(nodes, scopes), scopes, parents)


def _places(tree: ast.Module) -> tuple[dict[int, tuple[Scope, ...]], dict[int, ast.AST]]:
    scopes: dict[int, tuple[Scope, ...]] = {id(tree): (tree,)}
    parents: dict[int, ast.AST] = {}
    left: list[tuple[ast.AST, tuple[Scope, ...]]] = [(tree, (tree,))]
    while left:
        node, within = left.pop()
        for child in ast.iter_child_nodes(node):
            inner = (*within, child) if isinstance(child, Scope) else within
            scopes[id(child)], parents[id(child)] = inner, node
            left.append((child, inner))
    return scopes, parents


def _imports(nodes: Iterable[ast.AST], name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    package = name.removesuffix("/__init__.py").removesuffix(".py").split("/")
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            # Relative to this file's package: one level up is the folder that it lies in.
            above = package[: len(package) - node.level] if node.level else []
            source = ".".join([*above, node.module] if node.module else above)
            found |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
    return found


def _values(
    nodes: Iterable[ast.AST], scopes: Mapping[int, tuple[Scope, ...]]
) -> dict[tuple[int, str], ast.expr]:
    found: dict[tuple[int, str], ast.expr] = {}
    twice: set[tuple[int, str]] = set()
    for node in nodes:
        for target, value in _assignments(node):
            key = (id(scopes[id(node)][-1]), target)
            twice |= {key} if key in found else set()
            found[key] = value
    return {key: value for key, value in found.items() if key not in twice}


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        pairs = [(node.target, node.value)]
    else:
        return
    yield from ((name, value) for target, value in pairs if (name := target_name(target)))


def target_name(target: ast.AST) -> str | None:
    """The name of an assignment's target: ``a``, or ``b`` of ``self.b``."""
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) else None


def _defaults(arguments: ast.arguments) -> dict[str, ast.expr]:
    usual = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(usual), reversed(arguments.defaults), strict=False)]
    pairs += [
        (one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
    ]
    return {argument.arg: value for argument, value in pairs}
