"""Builds a conversation from a transcript: decides whether to keep it, then finds structure, action items and folder.

Each step calls the model of its own feature. If that fails, title, overview, category or action items are
quoted from the transcript instead, and `made_by` says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import TypeAdapter

from backend.utils.llm.conversation_folder import (
    FolderAssignment,
    aassign_conversation_to_folder,
    get_default_folder_id,
    validate_folder_assignment,
)
from backend.utils.llm.errors import LLMError

from . import action_items, discard, structure
from .action_items import ActionItem, ActionItems
from .answers import UncachedStepRunner
from .categories import FOLDER_OF, SYSTEM_FOLDERS, Category
from .discard import Discard
from .extract import extract_summary
from .grounding import GroundingFacts
from .outcome import StepOutcome
from .store import Conversation, FolderChoice
from .structure import Structure
from .transcript import run_in_thread_if_long

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from backend.access import DataOwner
    from backend.utils.llm.conversation_folder import FolderAssignmentResult

    from .answers import StepRunner
    from .extract import ExtractedSummary
    from .outcome import Models
    from .store import Status
    from .transcript import RenderedTranscript, Transcript

FOLDER_FEATURE = "conv_folder"
_SNIPPET = 300
_NO_CHOICE = FolderAssignment(folder_id=SYSTEM_FOLDERS[0]["id"], confidence=0.0)

T = TypeVar("T")

_DISCARD: Final = TypeAdapter(StepOutcome[Discard])
_STRUCTURE: Final = TypeAdapter(StepOutcome[Structure])
_ACTION_ITEMS: Final = TypeAdapter(StepOutcome[ActionItems])
_FOLDER: Final = TypeAdapter(StepOutcome[FolderChoice])


@dataclass(frozen=True, slots=True)
class ConversationIdentity:
    """The id, owner and creation time of a conversation, which are decided before its content is made."""

    id: str
    owner: DataOwner
    created_at: datetime


def _never(_feature: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks the model of each feature, unless it is the demo model or the answer is known already."""

    models: Models
    is_demo: Callable[[str], bool]
    answers: StepRunner

    async def discard(self, transcript: Transcript, text: str) -> StepOutcome[Discard]:
        """Whether to discard the conversation. Without a model, every conversation with a word in it is kept."""
        if self.is_demo(discard.FEATURE) and not transcript.is_empty:
            return StepOutcome(discard.FEATURE, Discard(reason="There is no model to ask.", discard=False))
        return discard.decide_discard_by_length(transcript) or await self.answers.get_or_run_step(
            discard.FEATURE,
            _DISCARD,
            lambda: discard.ask_whether_to_discard(transcript, text, self.models),
        )

    async def structure(
        self, transcript: Transcript, text: str, grounds: GroundingFacts
    ) -> StepOutcome[Structure]:
        """Title, overview and category."""
        if self.is_demo(structure.FEATURE):
            return StepOutcome(structure.FEATURE)
        return await self.answers.get_or_run_step(
            structure.FEATURE,
            _STRUCTURE,
            lambda: structure.ask_for_structure(transcript, text, self.models, grounds),
        )

    async def action_items(
        self, transcript: Transcript, text: str, grounds: GroundingFacts
    ) -> StepOutcome[ActionItems]:
        """The tasks."""
        if self.is_demo(action_items.FEATURE):
            return StepOutcome(action_items.FEATURE)
        return await self.answers.get_or_run_step(
            action_items.FEATURE,
            _ACTION_ITEMS,
            lambda: action_items.ask_for_action_items(transcript, text, self.models, grounds),
        )

    async def folder(
        self, found: Structure | None, rendered: RenderedTranscript
    ) -> StepOutcome[FolderChoice]:
        """The folder, chosen by title and overview, or else by the beginning of the transcript."""
        return await self.answers.get_or_run_step(
            FOLDER_FEATURE, _FOLDER, lambda: self._folder(found, rendered)
        )

    async def _folder(
        self, found: Structure | None, rendered: RenderedTranscript
    ) -> StepOutcome[FolderChoice]:
        category = found.category if found else Category.OTHER
        try:
            llm = self.models(FOLDER_FEATURE)
        except LLMError as error:
            return StepOutcome(FOLDER_FEATURE, error=error.code)
        result = await aassign_conversation_to_folder(
            found.title if found else "",
            found.overview if found else rendered.text[:_SNIPPET],
            category,
            SYSTEM_FOLDERS,
            FOLDER_OF[category],
            llm=llm,
        )
        if self.is_demo(FOLDER_FEATURE) and result.error is None:
            result = _by_category(result, FOLDER_OF[category])
        # A folder was found also when the model could not be asked; the error stands beside it.
        return StepOutcome(FOLDER_FEATURE, FolderChoice.model_validate(result), result.error, result.receipt)


def _by_category(chosen: FolderAssignmentResult, home: str | None) -> FolderAssignmentResult:
    """The category's folder instead of the ``chosen`` one, which is unreliable."""
    fallback = validate_folder_assignment(
        _NO_CHOICE, SYSTEM_FOLDERS, get_default_folder_id(SYSTEM_FOLDERS), home
    )
    reasoning = "The demo model's choice is not relied on; the folder goes by the category."
    return replace(fallback, reasoning=reasoning, receipt=chosen.receipt, error=chosen.error)


async def build_conversation(
    transcript: Transcript,
    identity: ConversationIdentity,
    models: Models,
    *,
    is_demo: Callable[[str], bool] = _never,
    step_runner: StepRunner | None = None,
) -> Conversation:
    """Build a conversation from ``transcript`` with several model calls.

    Failures of models are not raised: they are listed in the conversation's ``errors``.

    Args:
        transcript: The transcript.
        identity: The id, owner and creation time of the conversation.
        models: Returns the chat model of a feature.
        is_demo: Whether the built-in demo model serves a feature. It cannot summarize, so it is only asked
            for the folder.
        step_runner: Runs the model calls, and reuses stored results; None to store nothing.
    """
    asking = _Asking(models, is_demo, step_runner or UncachedStepRunner())
    rendered = await run_in_thread_if_long(transcript, transcript.render)
    kept = await asking.discard(transcript, rendered.text)
    if kept.value and kept.value.discard:
        return _conversation(
            transcript, identity, status="discarded", steps=[kept], discard_reason=kept.value.reason
        )
    grounds = GroundingFacts.from_transcript(transcript, rendered.text)
    topic, tasks = await asyncio.gather(
        asking.structure(transcript, rendered.text, grounds),
        asking.action_items(transcript, rendered.text, grounds),
    )
    if topic.value is None or tasks.value is None:
        found = await run_in_thread_if_long(transcript, lambda: extract_summary(transcript))
        topic, tasks = _or(topic, _structure(found)), _or(tasks, _action_items(found))
    folder = await asking.folder(topic.value, rendered)
    steps: list[StepOutcome[Any]] = [kept, topic, tasks, folder]
    return _conversation(
        transcript,
        identity,
        status=_status(steps),
        steps=steps,
        **(topic.value.model_dump() if topic.value else {}),
        action_items=tasks.value.items if tasks.value else (),
        made_by=_made_by(topic, tasks),
        folder=folder.value,
        truncated=rendered.truncated,
    )


def _or(outcome: StepOutcome[T], found: T | None) -> StepOutcome[T]:
    """``outcome``, with ``found`` as its value if the model gave none. Its error stays."""
    return outcome if outcome.value is not None else replace(outcome, value=found)


def _structure(found: ExtractedSummary | None) -> Structure | None:
    if found is None:
        return None
    return Structure(title=found.title, overview=found.overview, category=found.category)


def _action_items(found: ExtractedSummary | None) -> ActionItems | None:
    if found is None:
        return None
    items = (ActionItem(description=promise.description, owner=promise.owner) for promise in found.promises)
    return ActionItems(items=tuple(items))


def _made_by(topic: StepOutcome[Structure], tasks: StepOutcome[ActionItems]) -> Mapping[str, str]:
    """Which endpoint, or `extract`, made each part of the conversation."""
    made = dict.fromkeys(Structure.model_fields, topic.made_by) if topic.value else {}
    return {**made, "action_items": tasks.made_by} if tasks.value else made


def _status(steps: Sequence[StepOutcome[Any]]) -> Status:
    """The status by the errors of all steps; the first one, the discard, makes no part of the conversation."""
    if all(step.error for step in steps[1:]):
        return "failed"
    return "partial" if any(step.error for step in steps) else "completed"


def _conversation(
    transcript: Transcript,
    entry: ConversationIdentity,
    *,
    status: Status,
    steps: Sequence[StepOutcome[Any]],
    **found: Any,
) -> Conversation:
    return Conversation(
        id=entry.id,
        **entry.owner._asdict(),
        created_at=entry.created_at,
        started_at=transcript.started_at,
        transcript=transcript,
        status=status,
        errors={step.feature: step.error for step in steps if step.error},
        receipts={step.feature: step.receipt for step in steps if step.receipt},
        **found,
    )
