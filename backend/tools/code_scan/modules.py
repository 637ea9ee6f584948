"""Parses a Python file without importing it, and finds the values of its names."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class UnparsableFileError(Exception):
    """A file cannot be parsed as Python by this interpreter. The message says where, and quotes nothing from the file."""


@dataclass(frozen=True)
class ParsedModule:
    """A parsed Python file, which is never executed.

    Attributes:
        name: The path within the code base.
        nodes: All nodes of the syntax tree, parents before their children.
        imports: For each imported name, the full dotted name that it stands for.
        values: The expression assigned to each name. The key is the id of the scope's node and the name.
            Names that are assigned more than once are left out.
        scopes: The scopes around each node, by the id of the node; the innermost scope is the last.
        parents: The parent of each node, by the id of the node.
    """

    name: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...] = field(repr=False)
    imports: Mapping[str, str] = field(repr=False)
    values: Mapping[tuple[int, str], ast.expr] = field(repr=False)
    scopes: Mapping[int, tuple[Scope, ...]] = field(repr=False)
    parents: Mapping[int, ast.AST] = field(repr=False)

    def location(self, node: ast.AST) -> str:
        """The location of ``node`` in the code base, as ``file:line``."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"

    def resolve_dotted_name(self, node: ast.AST) -> str | None:
        """Resolve ``node`` to a full dotted name by means of the file's imports.

        With ``from langchain_openai import ChatOpenAI``, the name ``ChatOpenAI`` gives
        ``langchain_openai.ChatOpenAI``. Returns None if ``node`` is neither a name nor an attribute of a name.
        """
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        return ".".join([self.imports.get(node.id, node.id), *reversed(names)])

    def find_assignment(self, name: str, at: ast.AST) -> ast.expr | None:
        """Find the expression assigned to the variable ``name`` that is visible at the node ``at``.

        None if there is no assignment, or more than one.
        """
        for scope in reversed(self.scopes[id(at)]):
            if (found := self.values.get((id(scope), name))) is not None:
                return found
        return None

    def find_parameter_default(self, name: str, at: ast.AST) -> ast.expr | None:
        """Find the default value of the parameter ``name`` of the function around the node ``at``; None if there is none."""
        arguments = self._arguments(at)
        return _defaults(arguments).get(name) if arguments else None

    def find_parameter_annotation(self, name: str, at: ast.AST) -> ast.expr | None:
        """Find the type annotation of the parameter ``name`` of the function around the node ``at``; None if absent."""
        arguments = self._arguments(at)
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs] if arguments else []
        return next((arg.annotation for arg in named if arg.arg == name), None)

    def _arguments(self, at: ast.AST) -> ast.arguments | None:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        scopes = (scope for scope in reversed(self.scopes[id(at)]) if isinstance(scope, functions))
        found = next(scopes, None)
        return found.args if found else None


def parse_module(name: str, path: Path) -> ParsedModule:
    """Read and parse the Python file at ``path``, without executing it.

    Args:
        name: The path within the code base, for reports.
        path: The file.

    Raises:
        UnparsableFileError: The file cannot be parsed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise UnparsableFileError(
            f"line {error.lineno or 1} is no Python that this interpreter reads"
        ) from None
    except (ValueError, RecursionError, MemoryError, OSError) as error:
        raise UnparsableFileError(f"it cannot be parsed ({type(error).__name__})") from None
    scopes, parents = _places(tree)
    nodes = tuple(ast.walk(tree))
    return ParsedModule(name, tree, nodes, _imports(nodes, name), _values(nodes, scopes), scopes, parents)


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
    yield from ((name, value) for target, value in pairs if (name := assignment_target_name(target)))


def assignment_target_name(target: ast.AST) -> str | None:
    """Get the name that an assignment sets: ``a`` for the target ``a``, ``b`` for the target ``self.b``.

    None for other targets.
    """
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) else None


def _defaults(arguments: ast.arguments) -> dict[str, ast.expr]:
    usual = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(usual), reversed(arguments.defaults), strict=False)]
    pairs += [
        (arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
    ]
    return {argument.arg: value for argument, value in pairs}
