"""Sums the tokens and costs of a model call, from its receipt or from the attempts of its error."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .steps import RunUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage

    from backend.utils.llm.errors import LLMError

_PICO = 10**12


def usage_from_answer(answer: AIMessage, seconds: float) -> RunUsage:
    """Sum the tokens and costs of all attempts that led to ``answer``, as listed in its receipt.

    Args:
        answer: The model's answer. If it has no receipt, its cost counts as unknown.
        seconds: How long the model call took.
    """
    receipt: Mapping[str, Any] | None = answer.response_metadata.get("receipt")
    if receipt is None:
        usage: Mapping[str, Any] = answer.usage_metadata or {}
        counts = {"input": usage.get("input_tokens", 0), "output": usage.get("output_tokens", 0)}
        return RunUsage(turns=1, unpriced=1, seconds=seconds, **counts)
    used = [each["usage"] for each in receipt["attempts"] if each["usage"]]
    costs = [each["cost_usd"] for each in receipt["attempts"]]
    return RunUsage(
        turns=1,
        input=sum(each["input"] for each in used),
        output=sum(each["output"] for each in used),
        pico_usd=sum(int(Decimal(cost) * _PICO) for cost in costs if cost is not None),
        unpriced=int(None in costs),
        seconds=seconds,
    )


def usage_from_error(error: LLMError, seconds: float) -> RunUsage:
    """Sum the tokens and costs of all attempts of a failed model call. Attempts of unknown usage count as zero.

    Args:
        error: The error of the model call.
        seconds: How long the model call took.
    """
    used = [attempt.usage for attempt in error.attempts if attempt.usage]
    costs = [attempt.cost_usd for attempt in error.attempts if attempt.usage]
    return RunUsage(
        turns=1,
        input=sum(usage.input for usage in used),
        output=sum(usage.output for usage in used),
        pico_usd=sum(int(cost * _PICO) for cost in costs if cost is not None),
        unpriced=int(None in costs),
        seconds=seconds,
    )
