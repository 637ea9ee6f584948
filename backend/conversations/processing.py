"""From a transcript to a conversation: discard? structure, action items, folder.

Each step goes through its own feature. A step that fails costs its own result and no other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.utils.llm.conversation_folder import aassign_conversation_to_folder
from backend.utils.llm.errors import LLMError

from .action_items import find_action_items
from .categories import FOLDER_OF, SYSTEM_FOLDERS, Category
from .discard import decide_discard
from .outcome import Outcome
from .store import Conversation, Filing
from .structure import find_structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.utils.llm.conversation_folder import FolderAssignmentResult

    from .outcome import Models
    from .store import Status
    from .structure import Structure
    from .transcript import Rendered, Transcript

FOLDER_FEATURE = "conv_folder"
_SNIPPET = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """Whose conversation is being made, when, and under which id."""

    id: str
    user_id: str
    created_at: datetime


async def process(transcript: Transcript, entry: Entry, models: Models) -> Conversation:
    """Make the conversation of ``transcript``. No model's failure is raised; ``errors`` tells of it."""
    # Of a long one, everything is read: not where the others wait.
    rendered = await asyncio.to_thread(transcript.render)
    discard = await decide_discard(transcript, rendered.text, models)
    if discard.value and discard.value.discard:
        return _conversation(
            transcript, entry, status="discarded", steps=[discard], discard_reason=discard.value.reason
        )
    structure, action_items = await asyncio.gather(
        find_structure(transcript, rendered.text, models),
        find_action_items(transcript, rendered.text, models),
    )
    folder = await _file(structure.value, rendered, models)
    steps: list[Outcome[Any]] = [discard, structure, action_items, folder]
    return _conversation(
        transcript,
        entry,
        status=_status(steps),
        steps=steps,
        **(structure.value.model_dump() if structure.value else {}),
        action_items=action_items.value.items if action_items.value else (),
        folder=Filing.model_validate(folder.value) if folder.value else None,
        truncated=rendered.truncated,
    )


async def _file(
    structure: Structure | None, rendered: Rendered, models: Models
) -> Outcome[FolderAssignmentResult]:
    """The folder; where there is no structure to go by, by the beginning of what was said."""
    category = structure.category if structure else Category.OTHER
    try:
        llm = models(FOLDER_FEATURE)
    except LLMError as error:
        return Outcome(FOLDER_FEATURE, error=error.code)
    result = await aassign_conversation_to_folder(
        structure.title if structure else "",
        structure.overview if structure else rendered.text[:_SNIPPET],
        category,
        SYSTEM_FOLDERS,
        FOLDER_OF[category],
        llm=llm,
    )
    # A folder was found also when the model could not be asked; the error stands beside it.
    return Outcome(FOLDER_FEATURE, result, result.error, result.receipt)


def _status(steps: Sequence[Outcome[Any]]) -> Status:
    """The first step is the discard, which finds nothing that could be kept."""
    if all(step.error for step in steps[1:]):
        return "failed"
    return "partial" if any(step.error for step in steps) else "completed"


def _conversation(
    transcript: Transcript, entry: Entry, *, status: Status, steps: Sequence[Outcome[Any]], **found: Any
) -> Conversation:
    return Conversation(
        id=entry.id,
        user_id=entry.user_id,
        created_at=entry.created_at,
        started_at=transcript.started_at,
        transcript=transcript,
        status=status,
        errors={step.feature: step.error for step in steps if step.error},
        receipts={step.feature: step.receipt for step in steps if step.receipt},
        **found,
    )
