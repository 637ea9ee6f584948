"""No function nests more blocks than every supported Python compiles."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
MOST = 14
"""Python 3.12.1 crashes while it compiles 19 `async with` of one another, and other versions refuse a few more."""


def deepest(node: ast.AST) -> int:
    """The blocks that are open at once inside ``node``; each item of a ``with`` is one."""
    inside = max(map(deepest, ast.iter_child_nodes(node)), default=0)
    if isinstance(node, ast.With | ast.AsyncWith):
        return inside + len(node.items)
    return inside + isinstance(node, ast.Try | ast.For | ast.AsyncFor | ast.While)


def test_every_function_can_be_compiled_by_every_supported_python() -> None:
    files = [*ROOT.glob("backend/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    depths = {str(file.relative_to(ROOT)): deepest(ast.parse(file.read_text("utf-8"))) for file in files}

    assert len(depths) > 500
    assert {name: depth for name, depth in depths.items() if depth > MOST} == {}
