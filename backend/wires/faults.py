"""What went wrong, as a value that each wire has words of its own for. No stack, no secret, no input in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.utils.llm.nearest import LONGEST

if TYPE_CHECKING:
    from backend.utils.llm.errors import LLMError


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong.

    Attributes:
        status: The HTTP status.
        code: A stable name: of `LLMError.code`, or one of the edge's.
        message: Safe to show.
        param: Where in the request it is, by the wire's own names; None if it is no fault of one place.
        retry_after: In how many seconds it makes sense to ask again, if that is known.
        call_id: The call that failed; None if there was none.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    call_id: str | None = None


class FaultError(Exception):
    """A request that is refused before anybody is asked. Holds the `Fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class InvalidRequestError(FaultError):
    """A request that is not what its wire takes."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_request") -> None:
        super().__init__(Fault(400, code, message, param))


class UnknownModelError(FaultError):
    """A model that nobody answers for."""

    def __init__(self, model: str, nearest: str = "") -> None:
        hint = f" Did you mean `{nearest}`?" if nearest else ""
        told = f"The model `{model[:LONGEST]}` does not exist.{hint} Models are features here: GET /v1/models lists them."
        super().__init__(Fault(404, "unknown_feature", told, "model"))


INTERNAL = Fault(500, "internal_error", "Something went wrong here. The log of the server knows more.")


def fault_of(error: LLMError) -> Fault:
    """What a call's error says."""
    return Fault(
        error.http_status,
        error.code,
        error.message,
        retry_after=error.retry_after,
        call_id=error.call_id,
    )
