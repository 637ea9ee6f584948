"""The names that the code has, as this folder's tests see them. What only a comment or a docstring says is none."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FACADE = ROOT / "backend" / "utils" / "llm"
WORD = re.compile(r"\w+")


def sources(folder: Path) -> Iterator[Path]:
    """Every file of Python below ``folder``."""
    return (file for file in folder.rglob("*.py") if "__pycache__" not in file.parts)


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a file defines, reads, imports or passes by name, and the words of the texts that it uses."""
    code = compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True, optimize=2)
    return frozenset({file.stem, *_names(code)})


def _names(value: object) -> Iterator[str]:
    match value:
        case CodeType():
            yield value.co_name
            for more in (value.co_names, value.co_varnames, value.co_cellvars, value.co_consts):
                yield from _names(more)
        case str():
            yield from WORD.findall(value)
        case tuple() | frozenset():
            for one in value:
                yield from _names(one)
        case _:
            pass


@cache
def members() -> dict[str, frozenset[str]]:
    """Each class of the application to the names in it and in its bases; what several of one name have, together."""
    own: defaultdict[str, set[str]] = defaultdict(set)
    bases: defaultdict[str, set[str]] = defaultdict(set)
    for file in sources(ROOT / "backend"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                own[node.name].update(WORD.findall(" ".join(map(ast.unparse, node.body))))
                bases[node.name].update(WORD.findall(" ".join(map(ast.unparse, node.bases))))
    return {
        name: frozenset(own[name].union(*(own[base] for base in bases[name] & own.keys()))) for name in own
    }


def defined_in(file: Path) -> frozenset[str]:
    """The module, classes, functions, parameters, variables and attributes that a file makes."""
    found = {file.stem}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return frozenset(found)
