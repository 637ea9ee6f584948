"""What is private to a vendor is entered where decision 14 says so, and nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FACADE = ROOT / "backend/utils/llm"
DECISION = ROOT / "docs/decisions/0014-past-the-sdk.md"
VENDORS = {"google", "langchain_google_genai", "langchain_openai", "openai"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def imported(node: ast.AST) -> list[str]:
    """The modules that ``node`` imports, and the names that it takes out of them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def vendors_names(tree: ast.Module) -> set[str]:
    found = {name for node in ast.walk(tree) for name in imported(node)}
    return {name for name in found if name.split(".")[0] in VENDORS}


def entered(source: str) -> Iterator[str]:
    """The private names of vendors that ``source`` uses: imported, looked up on somebody else's object, or overridden."""
    tree = ast.parse(source)
    names = vendors_names(tree)
    if not names:
        return
    yield from (part for name in names for part in name.split(".") if is_private(part))
    yield from (name for node in ast.walk(tree) for name in touched(node) if is_private(name))


def touched(node: ast.AST) -> list[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return []
        case ast.Attribute(attr=name):
            return [name]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
            return [node.name] if "override" in marks else []
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]):
            return [name]
        case _:
            return []


def test_the_decision_lists_every_private_name_of_a_vendor() -> None:
    section = DECISION.read_text().partition("## Private names")[2].partition("\n## ")[0]
    bullets = " ".join(line for line in section.splitlines() if line.startswith(("-", " ")))
    listed = {
        part for quoted in re.findall(r"`([^`]+)`", bullets) for part in quoted.split(".") if is_private(part)
    }

    assert {name for file in FACADE.rglob("*.py") for name in entered(file.read_text())} == listed


def test_a_private_name_is_found_however_it_is_entered() -> None:
    source = """
from openai._types import NOT_GIVEN
from langchain_openai import ChatOpenAI
class Chat(ChatOpenAI):
    @override
    def _stream(self): return self._own
client._headers = {}
getattr(client, "_hidden")
"""

    assert set(entered(source)) == {"_types", "_stream", "_headers", "_hidden"}
