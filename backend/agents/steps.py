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
    """What a run has used so far, or what one step of it has used.

    Attributes:
        turns: Model calls.
        tool_calls: Executed tool calls.
        input: Input tokens.
        output: Output tokens.
        pico_usd: The cost of all answers of known price, in pico-dollars (10⁻¹² dollars).
        unpriced: The number of answers of unknown price.
        seconds: Seconds of work, without waiting for a person.
    """

    turns: int = 0
    tool_calls: int = 0
    input: int = 0
    output: int = 0
    pico_usd: int = 0
    unpriced: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
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


class Call(_Value):
    """A tool call in a model's answer, with the decision whether it is executed.

    Attributes:
        key: The call's key, unique in the run: the number of the answer's step, a dot, and the call's index in the
            answer.
        id: The call's id in the model's history.
        name: The name of the tool, as the model wrote it.
        verdict: How the call is handled: executed, confirmed first, delegated or refused.
        arguments: The arguments as canonical JSON; empty if they are invalid; for a delegated call, the task as text.
        fault: Why the call is refused, as the model is told; empty if it is not.
        definition: The hash of the tool's definition at the time of the call.
        terms: The tool's risk and policy at the time of the call.
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
    """The first step of a run: earlier messages of the conversation, and the user's question.

    Attributes:
        messages: LangChain's messages, as JSON.
    """

    kind: Literal["opened"] = "opened"
    messages: tuple[dict[str, Any], ...]


class AnswerStep(_Value):
    """A step: the model has answered, with text, tool calls or both.

    Attributes:
        message: LangChain's message, as JSON.
        text: The text of the answer.
        calls: The tool calls of the answer.
        spent: What the model call used.
        call_id: The id of the model call in the ledger.
        endpoint: The endpoint that answered.
    """

    kind: Literal["answered"] = "answered"
    message: dict[str, Any]
    text: str
    calls: tuple[Call, ...] = ()
    spent: RunUsage = RunUsage()
    call_id: str | None = None
    endpoint: str | None = None


class FailureStep(_Value):
    """A step: a model call has failed, or took all the time that the run had left.

    Attributes:
        code: The error's code.
        spent: What the failed attempts used.
        call_id: The id of the model call in the ledger.
    """

    kind: Literal["failed"] = "failed"
    code: str
    spent: RunUsage = RunUsage()
    call_id: str | None = None


class ResultStep(_Value):
    """A step: a tool call has a result, also if a person rejected it.

    Attributes:
        call: The key of the call.
        name: The name of the tool.
        content: The result, as the model is told it.
        confirmation: The id of the call's confirmation or record; None for a call that only reads.
        spent: What the agent used to which the call was delegated.
    """

    kind: Literal["observed"] = "observed"
    call: str
    name: str
    status: Status
    content: str
    confirmation: str | None = None
    spent: RunUsage = RunUsage()


Step = OpeningStep | AnswerStep | FailureStep | ResultStep
STEP: Final[TypeAdapter[Step]] = TypeAdapter(Annotated[Step, Field(discriminator="kind")])
