"""A conversation as it is kept, and what a keeper of conversations promises."""

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
    """A cursor that was not given out by the store."""


class Filing(BaseModel):
    """The folder a conversation was put into, and why."""

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
            ``extract`` if it was cut from the transcript without a model. Empty in what was kept by older versions.
        truncated: Whether the models saw the transcript without its middle.
        errors: By feature, the code of what went wrong.
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
    """Some of a user's conversations, newest first. ``next_cursor`` is missing on the last page."""

    items: tuple[Summary, ...]
    next_cursor: str | None = None


class ConversationStore(Protocol):
    """Keeps conversations. Nobody is ever given another user's."""

    async def add(self, conversation: Conversation) -> None:
        """Keep ``conversation``, if there is none of that id; once this returns, it survives a crash.

        Raises:
            StorageUnavailableError: If nothing can be kept now.
        """
        ...

    async def get(self, owner: Owner, conversation_id: str) -> Conversation | None:
        """The conversation, if there is one of that id and it is this user's."""
        ...

    async def page(self, owner: Owner, *, limit: int, cursor: str | None = None) -> Page:
        """The user's conversations after ``cursor``, newest first.

        Raises:
            InvalidCursorError: If the cursor was not given out by this store.
        """
        ...

    async def add_action_item(self, owner: Owner, conversation_id: str, item: ActionItem) -> bool:
        """Add a task to the conversation; False if there is none of that id, or it is not this user's."""
        ...

    async def delete(self, owner: Owner, conversation_id: str) -> bool:
        """Remove the conversation for good; False if there is none of that id, or it is not this user's."""
        ...
