"""The result of one model call for a conversation: a value or an error code, and the receipt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_core.language_models import BaseChatModel

from backend.utils.llm.errors import LLMError

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)

Models = Callable[[str], BaseChatModel]
"""Returns the chat model of a feature, as `get_llm` does."""

T = TypeVar("T")
S = TypeVar("S", bound="BaseModel")


EXTRACT = "extract"
"""The maker of a part that was cut from the transcript without a model."""

UNNAMED = "model"
"""The maker of a part if the model gives no receipt, such as a fake in a test."""


@dataclass(frozen=True, slots=True)
class StepOutcome(Generic[T]):
    """The result of one step of creating a conversation. A failed step has an ``error``, which is not raised.

    Attributes:
        feature: The feature whose model was asked.
        value: The result; None if there is none.
        error: The code of the error; None if the model call succeeded or was not needed. With an error,
            ``value`` is None or was found without a model.
        receipt: The receipt of the model call; None if there is none.
        made_by: The endpoint that made ``value``; `EXTRACT` if it was found without a model.
    """

    feature: str
    value: T | None = None
    error: str | None = None
    receipt: Mapping[str, Any] | None = None
    made_by: str = EXTRACT


async def ask_model(
    models: Models,
    feature: str,
    schema: type[S],
    instructions: str,
    text: str,
    accept: Callable[[S], None] | None = None,
) -> StepOutcome[S]:
    """Ask the model of ``feature`` for an answer that fits ``schema``. An error is returned, not raised.

    Args:
        models: Returns the chat model of a feature.
        feature: The feature.
        schema: The pydantic model of the answer.
        instructions: The system prompt.
        text: The user's message.
        accept: Checks an answer. If it raises a ``ValueError``, the model is asked to repair the answer, and
            then the next endpoint is asked.
    """
    messages = [("system", instructions), ("human", text)]
    try:
        model = models(feature).with_structured_output(schema, include_raw=True, accept=accept)
        answer: Any = await model.ainvoke(messages)
    except LLMError as error:
        return _failed(feature, error.code)
    except Exception:  # one step's bug must not lose what the other steps found
        log.exception("conversations.step_broke", extra={"feature": feature})
        return StepOutcome(feature, error="internal_error")
    receipt = answer["raw"].response_metadata.get("receipt")
    if not isinstance(answer["parsed"], schema):
        return _failed(feature, "invalid_output", receipt)
    made_by = (receipt or {}).get("endpoint") or UNNAMED
    return StepOutcome(feature, answer["parsed"], receipt=receipt, made_by=made_by)


def _failed(feature: str, code: str, receipt: Mapping[str, Any] | None = None) -> StepOutcome[Any]:
    log.warning("%s failed: %s", feature, code)
    return StepOutcome(feature, error=code, receipt=receipt)
