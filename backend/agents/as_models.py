"""Offers each agent as a chat model of the HTTP APIs, under the name ``@NAME``. The client keeps the message history."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from backend.access import DataOwner
from backend.utils.llm.caller import current_caller
from backend.utils.llm.receipt import TokenUsage
from backend.wires.answer import Answer, Choice, ChoiceFinished, ChoiceStarted, TextDelta
from backend.wires.faults import InvalidRequestError, UnsupportedParameterError
from backend.wires.files import has_provider_file_reference
from backend.wires.responders import ListedModel

from . import history
from .events import AnswerDelta, ConfirmationChanged, RunEnded, ToolCalled
from .events import RunStarted as Run
from .rendering import render_argument_lines
from .runner import LONGEST_QUESTION

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from backend.wires.answer import Event
    from backend.wires.request import CompletionRequest

    from .confirmations import Confirmation
    from .events import Event as RunEvent
    from .rendering import ArgumentLine
    from .runner import AgentRunner

SIGN: Final = "@"
LONGEST_BEFORE: Final = 400_000
"""The most characters of history in a request; all of the history is kept with each run."""
_BETWEEN: Final = "\n\n"


class AgentResponderSource:
    """Offers each agent as a chat model of the HTTP APIs, under its name with a leading ``@``.

    Only callers with a user id see the agents. Implements `ResponderSource`.
    """

    def __init__(self, runner: AgentRunner) -> None:
        self._runner = runner

    def list_models(self) -> Iterator[ListedModel]:
        """List every agent as a model; nothing if the current caller has no user id. See `ResponderSource`."""
        if current_caller().user_id is not None:
            for agent in self._runner.agents:
                yield ListedModel(f"{SIGN}{agent.name}", agent.about)

    def find_responder(self, name: str) -> AgentResponder | None:
        """Find the agent of the model ``name``, such as ``@assistant``. See `ResponderSource`.

        Returns:
            The agent's responder; None if there is no such agent, or the current caller has no user id.
        """
        is_known = name.startswith(SIGN) and name[1:] in self._runner.agents
        if not is_known or current_caller().user_id is None:
            return None
        return AgentResponder(self._runner, name[1:])


class AgentResponder:
    """Answers each chat completion request with a new run of one agent. Implements `Responder`.

    If the run waits for approvals, the answer's text describes the tool calls to approve. A person approves
    them elsewhere, such as in the console.
    """

    def __init__(self, runner: AgentRunner, agent: str) -> None:
        self._runner = runner
        self._agent = agent

    async def answer(self, request: CompletionRequest) -> Answer:
        """Run the agent, and return its complete answer. See `Responder`."""
        parts: list[str] = []
        usage, receipt, ignored = TokenUsage(), {}, _ignored(request)
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    parts.append(event.text)
                elif isinstance(event, ChoiceFinished):
                    usage, receipt = event.usage, dict(event.receipt)
        return Answer([Choice(text="".join(parts), usage=usage, receipt=receipt)], ignored)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        """Run the agent, and stream its answer. See `Responder`."""
        before, question = _read(request)
        ignored = _ignored(request)
        asking = current_caller()
        owner = DataOwner(asking.user_id or "", asking.tenant_id or "")
        reader = _Reader()
        has_begun = False
        async with aclosing(self._runner.start_run(owner, self._agent, question, None, before)) as events:
            async for event in events:
                if text := reader.read(event):
                    if not has_begun:
                        has_begun = True
                        yield ChoiceStarted(ignored)
                    yield TextDelta(text)
        if not has_begun:
            yield ChoiceStarted(ignored)
        yield reader.end()


class _Reader:
    """Reads the events of a run as one text. A run that failed before it said or changed anything is an error."""

    def __init__(self) -> None:
        self._run = ""
        self._may_fail = True
        self._gap = ""
        self._end: RunEnded | None = None

    def read(self, event: RunEvent) -> str:
        """The text to show for ``event``. A blank line separates two answers of the model.

        Raises:
            LLMError: The model is unavailable and nothing was done yet, so the request can be repeated.
        """
        match event:
            case Run():
                self._run = self._run or event.run.id
            case AnswerDelta():
                self._may_fail = False
                gap, self._gap = self._gap, ""
                return gap + event.text
            case ToolCalled():
                self._may_fail = self._may_fail and event.verdict in ("run", "refuse", "over")
                self._gap = _BETWEEN
            case ConfirmationChanged():
                return f"{_BETWEEN}{describe_confirmation(event.confirmation)}"
            case RunEnded() if event.run_id == self._run:
                if event.error is not None and self._may_fail:
                    raise event.error
                self._end = event
                is_stopped = event.state not in ("done", "awaiting")
                return f"{_BETWEEN}[stopped: {event.message or event.reason}]" if is_stopped else ""
            case _:
                pass
        return ""

    def end(self) -> ChoiceFinished:
        """The last event, once all events were read."""
        assert self._end is not None, "a run ends with its end"  # noqa: S101
        spent = self._end.spent
        receipt = {"run": self._end.run_id, "state": self._end.state}
        return ChoiceFinished("stop", TokenUsage(input=spent.input, output=spent.output), receipt)


def describe_confirmation(confirmation: Confirmation) -> str:
    """Describe a pending confirmation as text: the tool, its arguments, and the URL at which to approve it."""
    arguments = "\n".join(map(_shown, render_argument_lines(confirmation.arguments)))
    return f"This waits for your yes: {confirmation.title}\n{arguments}\nAnswer it at /v1/confirmations/{confirmation.id}"


def _shown(line: ArgumentLine) -> str:
    more = f" … {line.left_out} more characters" if line.left_out else ""
    return f"  {line.name}: {line.text}{more}"


def _ignored(request: CompletionRequest) -> list[str]:
    """The names of what is set for one call, sorted. An agent makes several, with the settings of its feature.

    Raises:
        UnsupportedParameterError: The request is strict, and sets more than a maximum of tokens, which Messages requires.
    """
    names = sorted(request.options.model_fields_set - {"logprobs", "top_logprobs"})
    if request.stop:
        names.append("stop")
    if request.is_strict and (refused := [name for name in names if name != "max_output_tokens"]):
        raise UnsupportedParameterError(refused)
    return names


def _check(request: CompletionRequest) -> None:
    """Check that ``request`` asks for nothing that would change what the answer of an agent is.

    Raises:
        InvalidRequestError: It does.
    """
    for asked, name in ((request.tools, "tools"), (request.response_format, "response_format")):
        if asked:
            raise InvalidRequestError("An agent has tools and a form of its own.", name)
    if request.options.logprobs or request.options.top_logprobs:
        raise InvalidRequestError("An agent tells no probabilities.", "logprobs")
    if request.choices != 1:
        raise InvalidRequestError("An agent answers once.", "n")
    if any(
        has_provider_file_reference(message.content) for message in request.messages
    ):  # a run may go on when others pay
        raise InvalidRequestError(
            "An agent opens no files that are only named. Send what is in them.", "messages"
        )


def _read(request: CompletionRequest) -> tuple[Sequence[BaseMessage], str]:
    """The earlier messages of ``request``, and its last message.

    Raises:
        InvalidRequestError: The request needs something that an agent does not support.
    """
    _check(request)
    messages = [
        _as_user(message) if isinstance(message, SystemMessage) else message for message in request.messages
    ]
    if not messages or not isinstance(messages[-1], HumanMessage) or not messages[-1].text.strip():
        raise InvalidRequestError("The last message has to be a user's, with a text.", "messages")
    kept = HumanMessage | AIMessage | ToolMessage
    before, question = (
        [message for message in messages[:-1] if isinstance(message, kept)],
        str(messages[-1].text),
    )
    if len(question) > LONGEST_QUESTION:
        raise InvalidRequestError(f"The last message may have {LONGEST_QUESTION} characters.", "messages")
    if sum(_length(message.model_dump(include=history.KEPT)) for message in before) > LONGEST_BEFORE:
        raise InvalidRequestError(
            f"What was said before may have {LONGEST_BEFORE} characters. Leave some of it out.", "messages"
        )
    return before, question


def _length(value: Any) -> int:
    """About how many characters ``value`` has as JSON."""
    match value:
        case str():
            return len(value) + 2
        case dict():
            return sum(_length(name) + _length(part) for name, part in value.items())
        case list() | tuple():
            return sum(map(_length, value))
        case _:
            return 4


def _as_user(message: BaseMessage) -> HumanMessage:
    """A client's instructions as a user's message, because they have no more authority than the user."""
    return HumanMessage(message.text)
