"""Errors as values, which each wire writes in its own form. They hold no stack trace, secret or input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.utils.llm.nearest import LONGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.errors import LLMError


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of a request.

    Attributes:
        status: The HTTP status.
        code: A stable code: an `LLMError.code`, or one of the HTTP edge.
        message: A message that is safe to show.
        param: The faulty field of the request, by the wire's name; None if no single field is at fault.
        retry_after: Seconds after which to try again; None if unknown.
        call_id: The id of the failed call; None if there was no call.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    call_id: str | None = None


class FaultError(Exception):
    """The request is refused before any provider is called. The attribute ``fault`` holds what the client is told."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class InvalidRequestError(FaultError):
    """The request is not valid for the protocol it came over: status 400. ``param`` names the field."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_request") -> None:
        super().__init__(Fault(400, code, message, param))


class NotServedError(InvalidRequestError):
    """A strict request asks for something that is not served. ``names`` says what, at least one."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Not served here: {', '.join(names)}.", names[0], "unsupported_parameter")


class UnknownModelError(FaultError):
    """The requested model name is no feature, group or agent: status 404. The message may suggest a similar name."""

    def __init__(self, model: str, nearest: str = "") -> None:
        hint = f" Did you mean `{nearest}`?" if nearest else ""
        told = f"The model `{model[:LONGEST]}` does not exist.{hint} Models are features here: GET /v1/models lists them."
        super().__init__(Fault(404, "unknown_feature", told, "model"))


INTERNAL = Fault(500, "internal_error", "Something went wrong here. The log of the server knows more.")


def fault_of(error: LLMError) -> Fault:
    """Translate an error of an LLM call into the `Fault` that a wire sends to the client."""
    return Fault(
        error.http_status,
        error.code,
        error.message,
        retry_after=error.retry_after,
        call_id=error.call_id,
    )
