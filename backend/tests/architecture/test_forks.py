"""What a fork would break is made where a forked child makes it anew."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
CODE = [
    path
    for path in sorted((ROOT / "backend").rglob("*.py"))
    if not {"__pycache__", "tests"} & set(path.relative_to(ROOT).parts)
]
LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "SimpleQueue"}
WORKERS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor"}
HOMES = {"threading", "queue", "concurrent.futures", "multiprocessing"}
SHORT_LIVED = {
    "execution/own_thread.py _begun": "one question to the application; only the call that asked it waits for it",
    "shared/awaited.py SingleWaiterFuture.wait": "one answer; only the call that asked for it waits",
    "backend/serve.py _Run.stop": "nobody waits for it",
    "local_model/process.py LocalModel.start": "of the run, which a forked child has none of",
    "local_model/process.py _Run": "one run of the model; a forked child has none",
    "local_model/child.py ChildProcess": "follows the model's process, whose parent is another one after a fork",
    "local_model/server.py exit_with_parent": "of the model's process, which runs nothing else",
    "local_model/server.py _end_after": "the same",
    "workers/worker.py _serve": "follows the supervisor, whose worker a forked child is not",
    "tools/example.py main": "of a command that forks nobody",
    "testing/server.py LoopbackServer": "the test kit's: it serves where it was started, and stands by itself",
    "testing/loopback.py LoopbackProvider": "the same",
    "testing/scripted.py ScriptedChatModel": "the same",
}
"""Where else something is made that does not outlive a fork, and why nobody in a child comes to wait for it."""


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Made(NamedTuple):
    """A lock or a thread: what, where, and whether in a `_begin`, or somewhere in a `ForkSafe`."""

    what: str
    place: str
    is_begun: bool
    is_owned: bool


def made_in(path: Path) -> Iterator[Made]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in HOMES
        for alias in node.names
    }
    yield from _made(tree, [], names, path)


def _made(node: ast.AST, within: list[Scope], names: dict[str, str], path: Path) -> Iterator[Made]:
    if isinstance(node, ast.Attribute | ast.Name) and (what := _kind(node, names)) in LOCKS | WORKERS:
        classes = [scope for scope in within if isinstance(scope, ast.ClassDef)]
        methods = [scope.name for scope in within if isinstance(scope, FUNCTIONS)]
        is_owned = any(ast.unparse(base) == "ForkSafe" for cls in classes for base in cls.bases)
        is_begun = is_owned and methods == ["_begin"]
        place = f"{'/'.join(path.parts[-2:])} {'.'.join(scope.name for scope in within)}"
        yield Made(what, place, is_begun, is_owned)
    below = [*within, node] if isinstance(node, Scope) else within
    for child in _evaluated(node):
        yield from _made(child, below, names, path)


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """What is below ``node``, without annotations: those make nothing."""
    for name, value in ast.iter_fields(node):
        if name not in {"annotation", "returns"}:
            yield from (
                one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST)
            )


def _kind(node: ast.Attribute | ast.Name, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    return node.attr if ast.unparse(node.value) in HOMES else ""


def is_excused(one: Made) -> bool:
    return any(one.place == known or one.place.startswith(f"{known}.") for known in SHORT_LIVED)


def test_locks_are_made_where_a_forked_child_makes_them_anew() -> None:
    made = [one for path in CODE for one in made_in(path) if one.what in LOCKS and not is_excused(one)]

    assert made
    assert [one for one in made if not one.is_begun] == []


def test_threads_are_started_by_what_a_forked_child_makes_anew() -> None:
    made = [one for path in CODE for one in made_in(path) if one.what in WORKERS and not is_excused(one)]

    assert made
    assert [one for one in made if not one.is_owned] == []


def test_every_excuse_is_needed() -> None:
    places = [made.place for path in CODE for made in made_in(path)]

    assert [one for one in SHORT_LIVED if not any(place.startswith(one) for place in places)] == []


def test_nothing_is_cached_behind_a_lock_that_a_class_shares() -> None:
    """`functools.cached_property` has one before Python 3.12."""
    taken = [
        path.name
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "functools"
        if "cached_property" in {alias.name for alias in node.names}
    ]

    assert taken == ["cached.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nlock = threading.Lock()",
        "from threading import RLock as Mine\nclass A:\n  def __init__(self):\n    self.lock = Mine()",
        "import threading\nclass A(ForkSafe):\n  def other(self):\n    self.lock = threading.Condition()",
        "import threading\nclass A:\n  lock: object = field(default_factory=threading.Lock)",
    ],
)
def test_a_lock_that_is_made_elsewhere_is_found(source: str, tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text(source)

    assert [made.is_begun for made in made_in(tmp_path / "new.py")] == [False]
