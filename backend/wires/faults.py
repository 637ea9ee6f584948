"""Errors as clients are told of them, without stack traces, secrets or input. Each protocol has its own form of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.utils.llm.nearest import LONGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.errors import LLMError


@dataclass(frozen=True, slots=True)
class RequestFault:
    """An error as it is told to a client, before it is written in the form of the client's protocol.

    Attributes:
        status: The HTTP status.
        code: A stable error code: the `LLMError.code` of a failed call, or a code of the HTTP API's own.
        message: A message that is safe to show to the client.
        param: The name of the invalid field in the client's request; None if no single field is invalid.
        retry_after: Seconds after which to try again; None if unknown.
        call_id: The id of the failed call; None if there was no call.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    call_id: str | None = None


class RequestFaultError(Exception):
    """A request is rejected before any provider is called. ``fault`` describes the error for the client."""

    def __init__(self, fault: RequestFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class InvalidRequestError(RequestFaultError):
    """The request is invalid in its protocol: HTTP status 400. ``param`` names the invalid field."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_request") -> None:
        super().__init__(RequestFault(400, code, message, param))


class UnsupportedParameterError(InvalidRequestError):
    """A strict request asks for features that this service does not support. Otherwise, they would be ignored.

    Args:
        names: The names of these features, at least one.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Not served here: {', '.join(names)}.", names[0], "unsupported_parameter")


class UnknownModelError(RequestFaultError):
    """The model name of the request is no feature, group or agent: HTTP status 404.

    Args:
        model: The requested name.
        nearest: A similar existing name, which the message suggests; empty for none.
    """

    def __init__(self, model: str, nearest: str = "") -> None:
        hint = f" Did you mean `{nearest}`?" if nearest else ""
        message = f"The model `{model[:LONGEST]}` does not exist.{hint} Models are features here: GET /v1/models lists them."
        super().__init__(RequestFault(404, "unknown_feature", message, "model"))


INTERNAL = RequestFault(500, "internal_error", "Something went wrong here. The log of the server knows more.")


def fault_from_error(error: LLMError) -> RequestFault:
    """Translate the error of a failed LLM call into a `RequestFault`, to be told to the client."""
    return RequestFault(
        error.http_status,
        error.code,
        error.message,
        retry_after=error.retry_after,
        call_id=error.call_id,
    )
