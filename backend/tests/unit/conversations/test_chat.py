from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

from backend.conversations.chat import AnswerChunk, AnswerFinished, stream_answer
from backend.conversations.sample import SAMPLE
from backend.conversations.store import Conversation
from backend.tests.fakes.models import ScriptedModels
from backend.tests.fakes.streams import EndlessModel
from backend.utils.llm.errors import ProviderDownError

if TYPE_CHECKING:
    from backend.conversations.transcript import Transcript

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def conversation(transcript: Transcript = SAMPLE) -> Conversation:
    return Conversation(
        id="c1",
        user_id="ann",
        created_at=NOON,
        started_at=NOON,
        status="completed",
        title="Going live",
        transcript=transcript,
    )


async def pieces(models: ScriptedModels, question: str = "When?") -> list[AnswerChunk | AnswerFinished]:
    return [piece async for piece in stream_answer(conversation(), question, models)]


async def test_the_answer_comes_in_pieces_and_ends_with_its_receipt() -> None:
    said: Any = AIMessage("On Monday at nine.", response_metadata={"receipt": {"feature": "chat_responses"}})

    *deltas, last = await pieces(ScriptedModels(chat_responses=[said]))

    assert len(deltas) > 1
    assert "".join(piece.text for piece in deltas if isinstance(piece, AnswerChunk)) == "On Monday at nine."
    assert last == AnswerFinished({"feature": "chat_responses"})


async def test_title_transcript_and_question_are_in_the_prompt() -> None:
    models = ScriptedModels()

    await pieces(models, "When do we go live?")

    prompt = models.prompt("chat_responses")
    assert all(part in prompt for part in ("Going live", "Jonas: The page itself", "When do we go live?"))


async def test_the_prompt_is_bounded_however_long_the_question() -> None:
    models = ScriptedModels()

    await pieces(models, "why " * 10_000)

    assert len(models.prompt("chat_responses")) < 4_500


async def test_a_failed_call_is_raised() -> None:
    with pytest.raises(ProviderDownError):
        await pieces(ScriptedModels(chat_responses=[ProviderDownError("down")]))


async def test_closing_the_answer_closes_the_models_stream() -> None:
    model = EndlessModel()
    stream = stream_answer(conversation(), "When?", lambda _: model)
    await anext(stream)

    await stream.aclose()

    await asyncio.wait_for(model.closed.wait(), 30)
