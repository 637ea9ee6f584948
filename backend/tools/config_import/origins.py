"""The systems whose configurations can be imported, with their default settings."""

from __future__ import annotations

from dataclasses import dataclass

_REQUESTS = "`attempts` is the number of requests sent, the first among them."
_WHOLE = "`timeout` is for a whole attempt."
_SHORTER = "`deadline` is what all attempts may take together"


@dataclass(frozen=True)
class SourceSystem:
    """A system whose configurations can be imported, with its default settings.

    Attributes:
        title: The system's name in the table's first line and in the report.
        timeout: The system's default timeout of an attempt in seconds; None to use the table's default.
        attempts: The system's default number of attempts per model; None to use the table's default.
        refusals_fall_over: Whether the system calls the next model of a chain after a refusal.
        notes: Messages for the report of every import from this system.
    """

    title: str
    timeout: float | None = None
    attempts: int | None = None
    refusals_fall_over: bool = False
    notes: tuple[str, ...] = ()


LMI = SourceSystem(
    "LMI",
    timeout=60.0,
    attempts=4,
    refusals_fall_over=True,
    notes=(
        f"{_REQUESTS} LMI sent up to three times as many: OpenAI's SDK retried below it.",
        f"{_WHOLE[:-1]}; LMI's was for the time between two bytes.",
        f"{_SHORTER}; LMI had none. Choose a shorter one.",
    ),
)
LITELLM = SourceSystem(
    "LiteLLM",
    attempts=3,
    notes=(
        "each model_name is a feature. Name it by what product code does with it, and give two uses two features.",
        f"{_REQUESTS} Where nothing was said they are LiteLLM's three.",
        "where no timeout was said ours holds, 120 seconds; LiteLLM's was 6000.",
        "retries and cooldowns follow from the kind of the failure: see docs/reference/attempts.md.",
    ),
)
TENSORZERO = SourceSystem(
    "TensorZero",
    attempts=1,
    notes=(
        "each function is a feature. Prompts, schemas and tools stay in product code.",
        f"{_REQUESTS} Where nothing was said it is one, as in TensorZero.",
    ),
)
CODE = SourceSystem(
    "the code",
    notes=(
        "each call is a feature, named after the function, class or variable that it stands in. Rename as you see fit.",
        "`attempts`, `timeout` and `deadline` are ours where the code said nothing: see docs/reference/table.md.",
    ),
)
