from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import PrivateAttr
from typing_extensions import override

from backend.access import DataOwner
from backend.conversations.processing import ConversationIdentity, build_conversation
from backend.conversations.sample import SAMPLE
from backend.conversations.transcript import Segment, Transcript
from backend.tests.fakes.models import ACTION_ITEMS, STRUCTURE, ScriptedModels
from backend.utils.llm.errors import InvalidOutputError, MissingCredentialError, ProviderDownError
from backend.utils.llm.testing import ScriptedChatModel
from backend.utils.llm.testing.wire import estimate_tokens

if TYPE_CHECKING:
    from langchain_core.outputs import ChatResult

    from backend.conversations.store import Conversation

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ENTRY = ConversationIdentity("c1", DataOwner("ann"), NOON)
STEPS = {"conv_structure", "conv_action_items", "conv_folder"}


def spoken(*texts: str, language: str | None = None) -> Transcript:
    segments = tuple(Segment(text=text, start=0, end=1) for text in texts)
    return Transcript(segments=segments, started_at=NOON, language=language)


async def made(transcript: Transcript = SAMPLE, **scripts: list[Any]) -> tuple[Conversation, ScriptedModels]:
    models = ScriptedModels(**scripts)
    return await build_conversation(transcript, ENTRY, models), models


async def test_a_transcript_becomes_a_conversation() -> None:
    conversation, _ = await made()

    assert conversation.status == "completed"
    assert (conversation.title, conversation.category) == ("Budget", "finance")
    assert [item.description for item in conversation.action_items] == ["Send the budget"]
    assert conversation.folder is not None
    assert conversation.folder.folder_id == "work"
    assert (conversation.id, conversation.user_id, conversation.created_at) == ("c1", "ann", NOON)


async def test_a_long_enough_recording_is_kept_without_asking() -> None:
    _, models = await made()

    assert models.asked == STEPS


async def test_a_short_recording_is_asked_about() -> None:
    conversation, models = await made(spoken("Remember the milk."))

    assert "conv_discard" in models.asked
    assert conversation.status == "completed"


async def test_a_discarded_recording_costs_no_further_call() -> None:
    noise = {"reason": "Only noise.", "discard": True}
    conversation, models = await made(spoken("Hm."), conv_discard=[noise])

    assert (conversation.status, conversation.discard_reason) == ("discarded", "Only noise.")
    assert models.asked == {"conv_discard"}


@pytest.mark.parametrize("transcript", [spoken(), spoken("", "  \n")], ids=["no segments", "blank segments"])
async def test_an_empty_recording_is_discarded_without_a_call(transcript: Transcript) -> None:
    conversation, models = await made(transcript)

    assert (conversation.status, conversation.discard_reason) == ("discarded", "Nothing was said.")
    assert models.asked == set()


async def test_a_failed_decision_is_no_discard() -> None:
    conversation, _ = await made(spoken("Buy milk."), conv_discard=[ProviderDownError("down")])

    assert (conversation.status, conversation.title) == ("partial", "Budget")
    assert conversation.errors == {"conv_discard": "provider_down"}


async def test_a_failed_step_costs_only_its_own_result() -> None:
    conversation, _ = await made(conv_action_items=[InvalidOutputError("unfit")])

    assert (conversation.status, conversation.title) == ("partial", "Budget")
    assert conversation.errors == {"conv_action_items": "invalid_output"}


async def test_without_a_models_structure_it_is_cut_from_the_transcript_and_the_error_kept() -> None:
    conversation, models = await made(conv_structure=[ProviderDownError("down")])

    assert (conversation.title, conversation.category) == ("new booking page goes live", "work")
    assert (conversation.status, conversation.errors) == ("partial", {"conv_structure": "provider_down"})
    assert "new booking page" in models.prompt("conv_folder")


async def test_every_part_says_who_made_it() -> None:
    receipt = {"feature": "conv_structure", "endpoint": "openai:gpt-6-luna"}
    answer = AIMessage(json.dumps(STRUCTURE), response_metadata={"receipt": receipt})
    down = ProviderDownError("down")
    conversation, _ = await made(conv_structure=[answer], conv_action_items=[down])

    by_model = dict.fromkeys(("title", "overview", "category"), "openai:gpt-6-luna")
    assert conversation.made_by == {**by_model, "action_items": "extract"}


async def test_what_was_cut_from_the_transcript_never_bears_a_models_name() -> None:
    unfit = AIMessage("{}", response_metadata={"receipt": {"endpoint": "openai:gpt-6-luna"}})
    conversation, _ = await made(conv_structure=[unfit])

    assert {conversation.made_by[part] for part in ("title", "overview", "category")} == {"extract"}


async def test_the_demo_model_is_asked_for_the_folder_alone_and_not_relied_on() -> None:
    models = ScriptedModels(conv_folder=[{"reasoning": "So social.", "folder_id": "3", "confidence": 1}])

    conversation = await build_conversation(SAMPLE, ENTRY, models, is_demo=lambda _: True)

    assert (models.asked, conversation.status, conversation.errors) == ({"conv_folder"}, "completed", {})
    assert set(conversation.made_by.values()) == {"extract"}
    assert conversation.folder is not None
    assert (conversation.folder.folder_id, conversation.folder.reasoning[:8]) == ("work", "The demo")


async def test_the_demo_model_discards_nothing() -> None:
    noise = {"reason": "Only noise.", "discard": True}
    models = ScriptedModels(conv_discard=[noise])

    conversation = await build_conversation(
        spoken("Remember the milk."), ENTRY, models, is_demo=lambda _: True
    )

    assert (conversation.status, "conv_discard" in models.asked) == ("completed", False)


async def test_text_without_a_letter_or_mark_comes_out_without_parts() -> None:
    models = ScriptedModels()

    conversation = await build_conversation(spoken("\x00\x07"), ENTRY, models, is_demo=lambda _: True)

    assert (conversation.title, conversation.made_by) == (None, {})


async def test_without_a_folder_model_the_categorys_folder_is_taken_and_the_error_kept() -> None:
    conversation, _ = await made(conv_folder=[ProviderDownError("down")])

    assert conversation.folder is not None
    assert conversation.folder.folder_id == "personal"
    assert conversation.errors == {"conv_folder": "provider_down"}


async def test_when_every_step_fails_the_transcript_is_still_kept() -> None:
    scripts: dict[str, Any] = {step: [MissingCredentialError("no key")] for step in STEPS}
    conversation, _ = await made(SAMPLE, **scripts)

    assert conversation.status == "failed"
    assert conversation.errors == dict.fromkeys(STEPS, "credential_missing")
    assert conversation.transcript == SAMPLE


async def test_a_bug_in_one_step_is_contained_and_not_revealed() -> None:
    conversation, _ = await made(conv_structure=[RuntimeError("the secret")])

    assert conversation.errors == {"conv_structure": "internal_error"}
    assert "the secret" not in conversation.model_dump_json()


async def test_an_answer_outside_the_schema_is_an_error_of_its_step() -> None:
    conversation, _ = await made(conv_structure=["this is no JSON"])

    assert conversation.errors == {"conv_structure": "invalid_output"}


async def test_a_feature_that_the_table_lacks_is_an_error_of_its_step() -> None:
    models = ScriptedModels()
    del models.models["conv_folder"], models.models["conv_action_items"]

    conversation = await build_conversation(SAMPLE, ENTRY, models)

    assert conversation.errors == dict.fromkeys(["conv_folder", "conv_action_items"], "unknown_feature")


async def test_receipts_are_kept_by_feature() -> None:
    def with_receipt(feature: str, answer: str) -> AIMessage:
        return AIMessage(answer, response_metadata={"receipt": {"feature": feature}})

    structure = with_receipt("conv_structure", '{"title": "t", "overview": "o", "category": "other"}')
    folder = with_receipt("conv_folder", '{"reasoning": "r", "folder_id": "1", "confidence": 1}')
    conversation, _ = await made(conv_structure=[structure], conv_folder=[folder])

    assert set(conversation.receipts) == {"conv_structure", "conv_folder"}


async def test_a_receipt_survives_an_answer_that_does_not_fit() -> None:
    unfit = AIMessage("{}", response_metadata={"receipt": {"feature": "conv_structure"}})
    conversation, _ = await made(conv_structure=[unfit])

    assert "conv_structure" in conversation.receipts


async def test_ten_thousand_segments_are_cut_and_the_cut_is_reported() -> None:
    conversation, models = await made(spoken(*["We talk and talk."] * 10_000))

    assert conversation.truncated
    assert len(models.prompt("conv_structure")) < 3_200
    assert len(conversation.transcript.segments) == 10_000


async def test_prompts_are_short_beside_the_transcript() -> None:
    _, models = await made(spoken("Remember the milk."))

    assert all(estimate_tokens(models.prompt(feature)) <= 250 for feature in models.asked)


async def test_another_language_is_named_and_asked_for() -> None:
    _, models = await made(spoken("Mañana compro la leche.", language="es"))

    for feature in ("conv_structure", "conv_action_items"):
        assert "Language: es" in models.prompt(feature)
        assert "in the language of the transcript" in models.prompt(feature)


async def test_an_action_item_that_is_repeated_is_listed_once() -> None:
    twice = {
        "items": [{"description": literal, "owner": None} for literal in ("Call Bob", "call bob", "Pay")]
    }
    conversation, _ = await made(conv_action_items=[twice])

    assert [item.description for item in conversation.action_items] == ["Call Bob", "Pay"]


class MeetingModel(ScriptedChatModel):
    """Answers only once everybody whom it waits for has been asked too."""

    _barrier: asyncio.Barrier = PrivateAttr()

    @override
    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.wait_for(self._barrier.wait(), 30)
        return await super()._agenerate(*args, **kwargs)


async def test_structure_and_action_items_are_asked_for_at_the_same_time() -> None:
    models, barrier = ScriptedModels(), asyncio.Barrier(2)
    for feature, answer in {"conv_structure": STRUCTURE, "conv_action_items": ACTION_ITEMS}.items():
        model = MeetingModel(script=[answer])
        model._barrier = barrier
        models.models[feature] = model

    conversation = await build_conversation(SAMPLE, ENTRY, models)

    assert conversation.status == "completed"
