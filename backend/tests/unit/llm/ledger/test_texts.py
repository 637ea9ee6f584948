"""Prompts and answers are kept for the features whose row says so, for as many days, and for no others."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from backend.utils.llm import AttemptText, Caller, LLMError, MemorySink, TextFolder
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.execution.texts import MOST_CHARACTERS
from backend.utils.llm.testing import Status, Text, ToolCalls
from backend.utils.llm.testing.virtual_time import VirtualTime

from ..drivers import invoke

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

    from ..conftest import Make
    from ..drivers import Driver

OPENAI = "openai:gpt-6-luna"
KEPT = "[features.f]\nkeep_text_days = 7"
TODAY = date(2026, 11, 29)


@pytest.fixture
def folder(tmp_path: Path) -> TextFolder:
    return TextFolder(tmp_path / "texts")


def all_of(folder: TextFolder, sink: MemorySink) -> list[AttemptText]:
    """The texts of all calls, in the order of their records."""
    return [
        text
        for call in dict.fromkeys(record.call for record in sink.records)
        for text in folder.find_texts(call)
    ]


def text(call: str = "call", until: str = "2026-12-06") -> AttemptText:
    return AttemptText(call, 1, until, "f", None, None, [["human", "hi\n"]], "well", [])


def test_what_was_asked_and_answered_is_kept_beside_its_record(
    make: Make, call: Driver, provider: LoopbackProvider, folder: TextFolder
) -> None:
    sink = MemorySink()
    provider.script(Text("the answer"))
    caller = Caller(user_id="u", tenant_id="t")

    model = make(OPENAI, KEPT, ledger=sink, texts=folder).get_llm("f", caller=caller)
    call(model, [SystemMessage("be brief"), HumanMessage([{"type": "text", "text": "the question"}])])

    (kept,), (record,) = all_of(folder, sink), sink.records
    assert kept.messages == [["system", "be brief"], ["human", "the question"]]
    assert (kept.answer, kept.tool_calls) == ("the answer", [])
    assert kept[:2] == (record.call, record.number)
    assert (kept.feature, kept.user, kept.tenant) == ("f", "u", "t")
    began = datetime.fromtimestamp(record.at / 1e6, UTC).date()
    assert date.fromisoformat(kept.until) == began + timedelta(days=7)


@pytest.mark.parametrize("row", ["", "[features.f]\ndeadline = 30"])
def test_a_feature_that_does_not_say_so_keeps_nothing(
    make: Make, call: Driver, folder: TextFolder, tmp_path: Path, row: str
) -> None:
    call(make(OPENAI, row, ledger=MemorySink(), texts=folder).get_llm("f"), "the question")

    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_texts_none_are_kept(make: Make, call: Driver) -> None:
    assert call(make(OPENAI, KEPT, ledger=MemorySink()).get_llm("f"), "hi").text


def test_an_attempt_that_failed_has_its_question_and_one_that_was_left_has_a_part_of_the_answer(
    make: Make, provider: LoopbackProvider, folder: TextFolder
) -> None:
    sink = MemorySink()
    model = make(OPENAI, KEPT, ledger=sink, texts=folder).get_llm("f")
    provider.script(Status(400), Text("one two three"))

    with pytest.raises(LLMError):
        model.invoke("the question")
    chunks = model.stream("the other question")
    part = next(chunk.text for chunk in chunks if chunk.text)
    chunks.close()  # type: ignore[attr-defined]

    failed, left = all_of(folder, sink)
    assert (failed.messages, failed.answer) == ([["human", "the question"]], None)
    assert (left.messages, left.answer) == ([["human", "the other question"]], part)


def test_each_attempt_of_a_call_has_its_own(
    make: Make, provider: LoopbackProvider, folder: TextFolder
) -> None:
    sink = MemorySink()
    provider.script(Status(503), Text("well"))

    invoke(make(OPENAI, KEPT, ledger=sink, texts=folder, time=VirtualTime().time).get_llm("f"), "hi")

    assert [(one.number, one.answer) for one in all_of(folder, sink)] == [(1, None), (2, "well")]


def test_calls_of_tools_are_kept(make: Make, provider: LoopbackProvider, folder: TextFolder) -> None:
    sink = MemorySink()
    provider.script(ToolCalls((("add", {"first": 1, "second": 2}),)))

    model = make(OPENAI, KEPT, ledger=sink, texts=folder).get_llm("f")
    model.invoke([HumanMessage("hi"), AIMessage("well"), HumanMessage("add")])

    (kept,) = all_of(folder, sink)
    assert kept.tool_calls == [["add", {"first": 1, "second": 2}]]


def test_a_long_prompt_is_cut_at_its_beginning(make: Make, folder: TextFolder) -> None:
    sink = MemorySink()
    early, late = "early " * MOST_CHARACTERS, "late"

    make(OPENAI, KEPT, ledger=sink, texts=folder).get_llm("f").invoke(
        [HumanMessage(early), HumanMessage(late)]
    )

    (kept,) = all_of(folder, sink)
    assert [len(said) for _, said in kept.messages] == [MOST_CHARACTERS - len(late), len(late)]


def test_a_text_that_cannot_be_kept_changes_no_outcome(
    make: Make, call: Driver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "texts").write_text("no folder", encoding="utf-8")
    model = make(OPENAI, KEPT, texts=TextFolder(tmp_path / "texts")).get_llm("f")

    answers = [call(model, "a question for nobody") for _ in range(3)]

    assert all(answer.text for answer in answers)
    assert caplog.text.count("a text could not be kept") == 1
    assert "a question for nobody" not in caplog.text


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "4000"])
def test_so_many_days_no_text_is_kept(make: Make, days: str) -> None:
    with pytest.raises(ConfigError, match="keep_text_days"):
        make(OPENAI, f"[features.f]\nkeep_text_days = {days}")


def test_texts_go_when_their_day_has_come_and_nothing_else_does(folder: TextFolder, tmp_path: Path) -> None:
    for until in ("2026-11-28", "2026-11-29", "2026-11-30"):
        folder.keep(text(call=until, until=until))
    (tmp_path / "texts" / "until-then.jsonl").write_text("{}", encoding="utf-8")

    assert folder.prune(TODAY) == 2
    assert folder.prune(TODAY) == 0

    assert [list(folder.find_texts(day)) for day in ("2026-11-28", "2026-11-29")] == [[], []]
    assert [one.until for one in folder.find_texts("2026-11-30")] == ["2026-11-30"]
    assert (tmp_path / "texts" / "until-then.jsonl").exists()


def test_a_folder_of_texts_is_for_its_owner_alone(folder: TextFolder, tmp_path: Path) -> None:
    folder.keep(text())

    places = [tmp_path / "texts", *(tmp_path / "texts").iterdir()]
    assert {place.stat().st_mode & 0o077 for place in places} == {0}
    assert list(folder.find_texts("call")) == [text()]
