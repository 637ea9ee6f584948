"""The steps of a run, in order. Steps are only appended; the run's state is computed from them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Verdict = Literal["run", "record", "ask", "delegate", "refuse", "over"]
"""What happens to a call: ``run``: executed. ``record``: recorded first, then executed once. ``ask``: a person confirms it.
``delegate``: another agent executes it. ``refuse``: invalid, not executed. ``over``: beyond the run's budget, not executed."""
Status = Literal["ok", "error", "timed_out", "refused", "declined", "expired", "superseded", "unknown"]
"""The status of a result. ``refused``, ``declined``, ``expired`` and ``superseded`` calls were not executed; ``unknown`` ones may
have been."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class RunUsage(_Value):
    """What a run, or one step of a run, has used.

    Attributes:
        turns: The number of model calls.
        tool_calls: The number of executed tool calls.
        input: The number of input tokens.
        output: The number of output tokens.
        pico_usd: The cost in pico-dollars (10⁻¹² dollars). Answers of unknown price are not included.
        unpriced: The number of answers of unknown price.
        seconds: The working time, without waiting for a person.
    """

    turns: int = 0
    tool_calls: int = 0
    input: int = 0
    output: int = 0
    pico_usd: int = 0
    unpriced: int = 0
    seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """The sum of input and output tokens."""
        return self.input + self.output

    def __add__(self, other: RunUsage) -> RunUsage:
        return RunUsage(
            turns=self.turns + other.turns,
            tool_calls=self.tool_calls + other.tool_calls,
            input=self.input + other.input,
            output=self.output + other.output,
            pico_usd=self.pico_usd + other.pico_usd,
            unpriced=self.unpriced + other.unpriced,
            seconds=self.seconds + other.seconds,
        )


class JudgedToolCall(_Value):
    """A tool call in a model's answer, with the decision whether it is executed.

    Attributes:
        key: The key of the call, unique in the run: the number of the answer's step, a dot, and the index of
            the call in the answer.
        id: The id of the call in the message history.
        name: The name of the tool, as the model wrote it.
        verdict: What happens to the call: executed, confirmed first, delegated or refused.
        arguments: The arguments as canonical JSON; for a delegated call, the task as text. Empty if the
            arguments are invalid.
        fault: Why the call is refused, as JSON for the model; empty if it is not refused.
        definition: The hash of the tool's definition when the call was made.
        terms: The tool's risk and policy when the call was made, such as ``write/ask``.
    """

    key: str
    id: str
    name: str
    verdict: Verdict
    arguments: str = ""
    fault: str = ""
    definition: str = ""
    terms: str = ""


class OpeningStep(_Value):
    """The first step of a run: the earlier messages of the conversation, and the user's question.

    Attributes:
        messages: The messages, as JSON of LangChain messages.
    """

    kind: Literal["opened"] = "opened"
    messages: tuple[dict[str, Any], ...]


class AnswerStep(_Value):
    """A step of a run: the model has answered with text, tool calls or both.

    Attributes:
        message: The answer, as JSON of a LangChain message.
        text: The text of the answer.
        calls: The tool calls of the answer.
        spent: What the model call used.
        call_id: The id of the model call in the ledger.
        endpoint: The endpoint that answered.
    """

    kind: Literal["answered"] = "answered"
    message: dict[str, Any]
    text: str
    calls: tuple[JudgedToolCall, ...] = ()
    spent: RunUsage = RunUsage()
    call_id: str | None = None
    endpoint: str | None = None


class ModelFailureStep(_Value):
    """A step of a run: a model call has failed or exceeded the time limit of the run.

    Attributes:
        code: The code of the error; ``seconds`` for the time limit.
        spent: What the failed attempts used.
        call_id: The id of the model call in the ledger.
    """

    kind: Literal["failed"] = "failed"
    code: str
    spent: RunUsage = RunUsage()
    call_id: str | None = None


class ToolResultStep(_Value):
    """A step of a run: a tool call has a result. A rejection by a person is a result, too.

    Attributes:
        call: The key of the call.
        name: The name of the tool.
        content: The result, as the model receives it.
        confirmation: The id of the `Confirmation` of the call; None for a call without one, such as one that
            only reads.
        spent: What the call used; for a delegated call, what the other agent's run used.
    """

    kind: Literal["observed"] = "observed"
    call: str
    name: str
    status: Status
    content: str
    confirmation: str | None = None
    spent: RunUsage = RunUsage()


Step = OpeningStep | AnswerStep | ModelFailureStep | ToolResultStep
STEP: Final[TypeAdapter[Step]] = TypeAdapter(Annotated[Step, Field(discriminator="kind")])
