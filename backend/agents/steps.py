"""Steps: what happened in a run, in order. They are only ever added, and everything else follows from them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Verdict = Literal["run", "record", "ask", "delegate", "refuse", "over"]
"""What becomes of a call. It runs; it runs once, and that is written down before; a person is asked; another agent does it;
it does not run because something is wrong with it; it does not run because the run has made as many as it may."""
Status = Literal["ok", "error", "timed_out", "refused", "declined", "expired", "superseded", "unknown"]
"""What became of it. ``refused``, ``declined``, ``expired`` and ``superseded`` did not run; of ``unknown`` nobody knows."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spent(_Value):
    """What was used so far.

    Attributes:
        input: Tokens, as ``output``.
        pico_usd: In pico-dollars, of what has a known price.
        unpriced: Answers whose price is not known.
        seconds: Of work. Waiting for a person is none.
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
        """In and out."""
        return self.input + self.output

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            turns=self.turns + other.turns,
            tool_calls=self.tool_calls + other.tool_calls,
            input=self.input + other.input,
            output=self.output + other.output,
            pico_usd=self.pico_usd + other.pico_usd,
            unpriced=self.unpriced + other.unpriced,
            seconds=self.seconds + other.seconds,
        )


class Call(_Value):
    """A tool call that a model asked for, with what was decided of it when it did.

    Attributes:
        key: Its name in the run: the number of the step, and its place in it.
        id: What the model's history calls it.
        arguments: Canonical JSON; empty if they do not fit.
        fault: What the model is told if it does not run.
        definition: Of the tool, as it was.
        terms: Risk and policy, as they were.
    """

    key: str
    id: str
    name: str
    verdict: Verdict
    arguments: str = ""
    fault: str = ""
    definition: str = ""
    terms: str = ""


class Opened(_Value):
    """The beginning: what was said before, and what the user says now.

    Attributes:
        messages: LangChain's, as JSON.
    """

    kind: Literal["opened"] = "opened"
    messages: tuple[dict[str, Any], ...]


class Answered(_Value):
    """An answer of the model.

    Attributes:
        message: LangChain's, as JSON.
        text: What it says.
        call_id: Of the model call, by which the ledger knows its attempts.
    """

    kind: Literal["answered"] = "answered"
    message: dict[str, Any]
    text: str
    calls: tuple[Call, ...] = ()
    spent: Spent = Spent()
    call_id: str | None = None
    endpoint: str | None = None


class Failed(_Value):
    """A model call that came to nothing.

    Attributes:
        code: Of the error.
    """

    kind: Literal["failed"] = "failed"
    code: str
    spent: Spent = Spent()
    call_id: str | None = None


class Observed(_Value):
    """The result of a tool call.

    Attributes:
        call: Its key.
        content: What the model is told.
        confirmation: The id of what was confirmed, or written down before; None of what only looked.
        spent: By the agent that it was delegated to.
    """

    kind: Literal["observed"] = "observed"
    call: str
    name: str
    status: Status
    content: str
    confirmation: str | None = None
    spent: Spent = Spent()


Step = Opened | Answered | Failed | Observed
STEP: Final[TypeAdapter[Step]] = TypeAdapter(Annotated[Step, Field(discriminator="kind")])
