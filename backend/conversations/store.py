"""A conversation as stored, and the Protocol of its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from backend.utils.llm.conversation_folder import ValidationStatus

from .action_items import ActionItem
from .categories import Category
from .transcript import AwareTime, Transcript

if TYPE_CHECKING:
    from backend.access import Owner

Status = Literal["completed", "partial", "failed", "discarded"]


class InvalidCursorError(ValueError):
    """The cursor was not issued by this store."""


class Filing(BaseModel):
    """The folder of a conversation, and the reason for it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    folder_id: str | None
    confidence: float
    reasoning: str
    validation_status: ValidationStatus


class Summary(BaseModel):
    """A conversation without its transcript.

    Attributes:
        status: ``partial`` if some steps failed, ``failed`` if no model answered any, ``discarded`` if it was not
            worth keeping.
        made_by: By part (``title``, ``overview``, ``category``, ``action_items``), the endpoint that made it;
            ``extract`` if it was cut from the transcript without a model. Empty for conversations of older versions.
        truncated: Whether the models saw the transcript without its middle.
        errors: The code of each failed feature's error.
        receipts: By feature, the receipt of the call that answered.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    user_id: str
    tenant_id: str = ""
    created_at: AwareTime
    started_at: AwareTime
    status: Status
    discard_reason: str | None = None
    title: str | None = None
    overview: str | None = None
    category: Category | None = None
    action_items: tuple[ActionItem, ...] = ()
    made_by: Mapping[str, str] = {}
    folder: Filing | None = None
    truncated: bool = False
    errors: Mapping[str, str] = {}
    receipts: Mapping[str, Mapping[str, Any]] = {}


class Conversation(Summary):
    """A conversation with everything that was said."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a user's conversations, the newest first. ``next_cursor`` is None on the last page."""

    items: tuple[Summary, ...]
    next_cursor: str | None = None


class ConversationStore(Protocol):
    """Stores conversations. A user is never given another's."""

    async def add(self, conversation: Conversation) -> None:
        """Store ``conversation``, unless its id is taken. Once this returns, it survives a crash.

        Raises:
            StorageUnavailableError: Nothing can be stored now.
        """
        ...

    async def get(self, owner: Owner, conversation_id: str) -> Conversation | None:
        """The conversation with the given id; None if there is none, or if it is another user's."""
        ...

    async def page(self, owner: Owner, *, limit: int, cursor: str | None = None) -> Page:
        """At most ``limit`` of the user's conversations after ``cursor``, the newest first.

        Raises:
            InvalidCursorError: The cursor was not issued by this store.
        """
        ...

    async def add_action_item(self, owner: Owner, conversation_id: str, item: ActionItem) -> bool:
        """Add a task to the conversation; False if there is none with the given id, or if it is another user's."""
        ...

    async def delete(self, owner: Owner, conversation_id: str) -> bool:
        """Delete the conversation for good; False if there is none with the given id, or if it is another user's."""
        ...
