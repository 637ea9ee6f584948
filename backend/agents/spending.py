"""What a model call used, by its receipt, or by the attempts of its error."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .steps import Spent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage

    from backend.utils.llm.errors import LLMError

_PICO = 10**12


def of_answer(answer: AIMessage, seconds: float) -> Spent:
    """What ``answer`` used, all of its attempts together."""
    receipt: Mapping[str, Any] | None = answer.response_metadata.get("receipt")
    if receipt is None:
        usage: Mapping[str, Any] = answer.usage_metadata or {}
        return Spent(turns=1, tokens=usage.get("total_tokens", 0), unpriced=1, seconds=seconds)
    tokens = sum(used["input"] + used["output"] for each in receipt["attempts"] if (used := each["usage"]))
    costs = [each["cost_usd"] for each in receipt["attempts"]]
    return Spent(
        turns=1,
        tokens=tokens,
        pico_usd=sum(int(Decimal(cost) * _PICO) for cost in costs if cost is not None),
        unpriced=int(None in costs),
        seconds=seconds,
    )


def of_error(error: LLMError, seconds: float) -> Spent:
    """What a call used that came to nothing. An attempt that used nothing that is known is free."""
    used = [attempt.usage for attempt in error.attempts if attempt.usage]
    costs = [attempt.cost_usd for attempt in error.attempts if attempt.usage]
    return Spent(
        turns=1,
        tokens=sum(usage.total for usage in used),
        pico_usd=sum(int(cost * _PICO) for cost in costs if cost is not None),
        unpriced=int(None in costs),
        seconds=seconds,
    )
