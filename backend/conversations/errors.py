"""Errors of creating and storing conversations.

::

    LLMError
    └── ConversationError
        ├── IdempotencyKeyReusedError             an idempotency key came with another transcript than before
        ├── CreationInProgressError              another request is still making the conversation of an idempotency key
        └── StorageUnavailableError    conversations cannot be read or stored now
"""

from __future__ import annotations

from backend.utils.llm.errors import LLMError


class ConversationError(LLMError):
    """Base class of the errors of creating and storing conversations."""

    code = "conversation"


class IdempotencyKeyReusedError(ConversationError):
    """An idempotency key was sent again with a different transcript."""

    code = "idempotency_key_reused"
    http_status = 422

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key came with another transcript before. Send the same transcript, or another key."
        )


class CreationInProgressError(ConversationError):
    """An earlier request with the same idempotency key is still creating the conversation."""

    code = "under_way"
    http_status = 409
    retryable = True

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(
            "An earlier request with this idempotency key is still under way. Ask again with the same key.",
            retry_after=retry_after,
        )


class StorageUnavailableError(ConversationError):
    """Conversations cannot be read or stored now, for example because the database is down."""

    code = "storage_unavailable"
    http_status = 503
    retryable = True

    def __init__(self) -> None:
        super().__init__("What is stored cannot be had now. Try again.", retry_after=1)
