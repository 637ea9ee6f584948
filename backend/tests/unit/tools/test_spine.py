"""What `make spine` counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.tools.spine import (
    ARCHITECTURE,
    FACADE,
    BoundedMetric,
    CallTrace,
    collect_backend_imports,
    count_lines,
    find_import_cycles,
    parse_documented_files,
    trace_calls,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run_in(folder: Path, **sources: str) -> dict[str, Callable[..., Any]]:
    """Functions defined in files of ``folder``, which see each other."""
    names: dict[str, Any] = {}
    for name, source in sources.items():
        file = folder / f"{name}.py"
        file.write_text(source)
        exec(compile(source, str(file), "exec"), names)  # noqa: S102 - our own source
    return names


def test_calls_functions_files_and_moves_are_counted_apart() -> None:
    traced = CallTrace((("a.py", "f"), ("b.py", "g"), ("b.py", "g"), ("a.py", "f")))

    assert (len(traced.calls), traced.function_count, traced.file_count, traced.file_switch_count) == (
        4,
        2,
        2,
        2,
    )


def test_a_trace_holds_every_call_below_its_root_in_order(tmp_path: Path) -> None:
    made = run_in(
        tmp_path, upper="def outer(): return [inner(), inner()]", lower="def inner(): return len('')"
    )

    traced = trace_calls(made["outer"], tmp_path, tmp_path / "kit")

    assert traced.calls == (("upper.py", "outer"), ("lower.py", "inner"), ("lower.py", "inner"))


def test_the_testing_kit_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    made = run_in(tmp_path / "kit", double="def outer(): return 1")

    assert trace_calls(made["outer"], tmp_path, tmp_path / "kit").calls == ()


def test_tracing_ends_when_what_is_traced_raises(tmp_path: Path) -> None:
    made = run_in(tmp_path, broken="def broken(): raise LookupError")

    with pytest.raises(LookupError):
        trace_calls(made["broken"], tmp_path)

    assert trace_calls(lambda: None, tmp_path).calls == ()


def test_a_circle_holds_the_modules_that_reach_each_other_and_no_other() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"f"}, "top": {"a"}}

    assert find_import_cycles(imports) == [["a", "b", "c"], ["f"]]


def test_what_only_types_need_is_an_import_too() -> None:
    imports = collect_backend_imports()

    assert "backend.utils.llm.chat_model" in imports["backend.utils.llm.patchbay"]
    assert not any(module.startswith("backend.tests") for module in imports)


def test_lines_are_those_of_all_the_files(tmp_path: Path) -> None:
    for name, text in (("one.py", "a\n\nb\n"), ("two.py", "c")):
        (tmp_path / name).write_text(text)

    assert count_lines(tmp_path.glob("*.py")) == 4


def test_the_page_lists_a_spine_of_files_that_exist() -> None:
    listed = parse_documented_files(ARCHITECTURE.read_text(encoding="utf-8"))

    assert len(listed) == len(set(listed)) > 10
    assert [file for file in listed if not (FACADE / file).is_file()] == []


def test_a_figure_is_kept_up_to_its_bound() -> None:
    assert BoundedMetric("calls", 3, 3).is_within_bound
    assert not BoundedMetric("calls", 4, 3).is_within_bound
