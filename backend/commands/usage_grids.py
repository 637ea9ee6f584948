"""Formats usage and attempts as tables for the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.commands.terminal import out
from backend.ledger.usage import format_dollars
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.ledger.usage import Dimension, GroupSums, LedgerRequest, UsageSums
    from backend.utils.llm.ledger.record import AttemptRecord

_BAR = 20
"""Signs of the longest bar."""
_HEADS = ("calls", "attempts", "failed", "degraded", "input", "cached", "output", "USD", "unpriced")


def make_usage_grid(dimension: Dimension, groups: Sequence[GroupSums], total: UsageSums) -> TextTable:
    """Make a table of usage for the terminal, with one line per group and a line for the total.

    Each line ends with a bar whose length shows its cost, or its tokens if no cost is known.

    Args:
        dimension: What the usage is grouped by, such as the model.
        groups: The sums of each group.
        total: The sums of all groups.
    """
    weights = [each.total.cost if total.cost else each.total.input + each.total.output for each in groups]
    rows = [
        (each.key or "-", *_cells(each.total), _bar(weight, max(weights)))
        for each, weight in zip(groups, weights, strict=True)
    ]
    return TextTable(
        (dimension, *_HEADS, ""), [*rows, ("total", *_cells(total), "")], range(1, len(_HEADS) + 1)
    )


def make_attempts_grid(requests: Sequence[LedgerRequest]) -> TextTable:
    """Make a table for the terminal with one line for each attempt of the calls in ``requests``.

    Unknown tokens and costs are shown as ``?``.
    """
    heads = ("call", "at", "feature", "endpoint", "user", "outcome", "ms", "tokens", "USD")
    return TextTable(heads, [_facts(record) for request in requests for record in request.attempts])


def _facts(record: AttemptRecord) -> Sequence[str]:
    at = datetime.fromtimestamp(record.at / 1e6, UTC)
    return (
        record.call,
        f"{at:%Y-%m-%d %H:%M:%S}Z",
        record.feature,
        record.endpoint,
        record.user or "-",
        record.category or record.outcome,
        str(record.duration // 1_000),
        f"{_known(record.input)} -> {_known(record.output)}",
        "?" if record.cost is None else format_dollars(record.cost),
    )


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _cells(total: UsageSums) -> list[str]:
    counts = (
        total.calls,
        total.attempts,
        total.failures,
        total.degraded,
        total.input,
        total.cached,
        total.output,
    )
    return [*(f"{count:,}" for count in counts), total.cost_usd, f"{total.unpriced:,}"]


def _bar(part: int, longest: int) -> str:
    sign = "█" if out.encoding.lower().startswith("utf") else "#"
    return sign * max(1, round(_BAR * part / longest)) if part > 0 else ""
