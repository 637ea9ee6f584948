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
    from backend.access import DataOwner

Status = Literal["completed", "partial", "failed", "discarded"]


class InvalidCursorError(ValueError):
    """The pagination cursor was not issued by this store."""


class FolderChoice(BaseModel):
    """The folder that was chosen for a conversation, with confidence and reasoning."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    folder_id: str | None
    confidence: float
    reasoning: str
    validation_status: ValidationStatus


class ConversationSummary(BaseModel):
    """A conversation without its transcript.

    Attributes:
        status: ``completed``; ``partial`` if some steps failed; ``failed`` if all steps after the decision
            to keep the recording failed; ``discarded`` if the recording is not worth keeping.
        made_by: Which endpoint made each part (``title``, ``overview``, ``category``, ``action_items``);
            ``extract`` if the part was taken from the transcript without a model. Empty for conversations of
            older versions.
        truncated: Whether the models saw the transcript without its middle.
        errors: The error code of each feature whose model call failed.
        receipts: The receipt of each feature whose model answered.
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
    folder: FolderChoice | None = None
    truncated: bool = False
    errors: Mapping[str, str] = {}
    receipts: Mapping[str, Mapping[str, Any]] = {}


class Conversation(ConversationSummary):
    """A conversation with its transcript."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """One page of a user's conversations, the newest first. ``next_cursor`` is None on the last page."""

    items: tuple[ConversationSummary, ...]
    next_cursor: str | None = None


class ConversationStore(Protocol):
    """Stores conversations. A conversation is only returned to its owner."""

    async def add(self, conversation: Conversation) -> None:
        """Store ``conversation``, unless its id already exists. It is durable when this returns.

        Raises:
            StorageUnavailableError: Conversations cannot be stored now.
        """
        ...

    async def get(self, owner: DataOwner, conversation_id: str) -> Conversation | None:
        """Return the conversation with this id; None if it does not exist or belongs to another user."""
        ...

    async def list_page(self, owner: DataOwner, *, limit: int, cursor: str | None = None) -> ConversationPage:
        """Return at most ``limit`` conversations of a user, the newest first.

        Args:
            owner: The user.
            limit: The maximum number of conversations.
            cursor: The ``next_cursor`` of the previous page; None for the first page.

        Raises:
            InvalidCursorError: The cursor was not issued by this store.
        """
        ...

    async def add_action_item(self, owner: DataOwner, conversation_id: str, item: ActionItem) -> bool:
        """Add a task to a conversation; False if the conversation does not exist or belongs to another user."""
        ...

    async def delete(self, owner: DataOwner, conversation_id: str) -> bool:
        """Delete a conversation permanently; False if it does not exist or belongs to another user."""
        ...
