"""The page "Conversations": the user's last conversations, and how to create one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backend.conversations.categories import SYSTEM_FOLDERS
from backend.conversations.outcome import EXTRACT
from backend.conversations.store import ConversationPage, ConversationSummary
from backend.conversations.text import collapse_to_one_line

_FOLDER_NAMES: Final = {folder["id"]: folder["name"] for folder in SYSTEM_FOLDERS}
_EXAMPLE: Final = {
    "time_zone": "Europe/Vienna",
    "started_at": "2026-11-21T09:00:00+01:00",
    "segments": [{"speaker": "Ann", "text": "I will send you the contract by Friday.", "start": 0, "end": 3}],
}


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """One model call of a conversation, with the tokens and time of all its attempts together. None means unknown."""

    feature: str
    endpoint: str
    served_model: str | None
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class ConversationView:
    """One conversation in the list of conversations.

    Attributes:
        tasks: The owner (None if there is no particular one) and the text of each task.
        cut: The parts that were taken from the transcript without a model, such as ``action items``.
        errors: The feature and the error code of each failed model call.
    """

    title: str
    overview: str | None
    category: str | None
    tasks: tuple[tuple[str | None, str], ...]
    cut: tuple[str, ...]
    folder: str | None
    status: str
    at: datetime
    errors: tuple[tuple[str, str], ...]
    receipts: tuple[ReceiptView, ...]


@dataclass(frozen=True, slots=True)
class ConversationsView:
    """The data of the page "Conversations": the last conversations of a user.

    Attributes:
        more: Whether there are older conversations.
        curl: An example curl command that creates a conversation.
    """

    conversations: tuple[ConversationView, ...]
    more: bool
    curl: str


def make_conversations_view(recent: ConversationPage, *, base_url: str) -> ConversationsView:
    """Make the data of the page "Conversations" from the user's last conversations.

    ``base_url`` is the URL of the service without a trailing slash, for the curl command.
    """
    return ConversationsView(
        conversations=tuple(_conversation(summary) for summary in recent.items),
        more=recent.next_cursor is not None,
        curl=_curl(base_url),
    )


def _conversation(summary: ConversationSummary) -> ConversationView:
    return ConversationView(
        title=collapse_to_one_line(summary.title or "") or "Untitled",
        overview=summary.overview and collapse_to_one_line(summary.overview),
        category=summary.category,
        tasks=tuple((item.owner, item.description) for item in summary.action_items),
        cut=tuple(part.replace("_", " ") for part, by in summary.made_by.items() if by == EXTRACT),
        folder=_folder(summary),
        status=summary.status,
        at=summary.created_at,
        errors=tuple(summary.errors.items()),
        receipts=tuple(_receipt(feature, receipt) for feature, receipt in summary.receipts.items()),
    )


def _folder(summary: ConversationSummary) -> str | None:
    folder_id = summary.folder.folder_id if summary.folder else None
    return folder_id and _FOLDER_NAMES.get(folder_id, folder_id)


def _receipt(feature: str, receipt: Mapping[str, Any]) -> ReceiptView:
    attempts = receipt.get("attempts", ())
    usages = [attempt["usage"] for attempt in attempts if attempt.get("usage")]
    return ReceiptView(
        feature=feature,
        endpoint=receipt.get("endpoint") or "unknown",
        served_model=receipt.get("served_model"),
        attempts=len(attempts),
        input_tokens=sum(usage["input"] for usage in usages) if usages else None,
        output_tokens=sum(usage["output"] for usage in usages) if usages else None,
        milliseconds=round(sum(attempt["duration_ms"] for attempt in attempts)),
    )


def _curl(base_url: str) -> str:
    return (
        f"curl {base_url}/v1/conversations \\\n"
        '  -H "Authorization: Bearer $PATCHBAY_TOKEN" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{json.dumps(_EXAMPLE)}'"
    )
