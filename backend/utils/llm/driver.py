"""What the four drivers share: one call, its attempts, and what becomes of their outcomes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .answers import checked, finish_reason, has_content, normalised, served_model
from .dispatch import Dispatch
from .failures import BadAnswer, Category, classify
from .pricing import cost
from .providers import ADAPTERS, Ask, ChatClients
from .receipt import RECEIPT_KEY, Attempt, Usage
from .routing import plan
from .transport import Credential, SigningTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel

    from .caller import Caller
    from .errors import LLMError
    from .failures import Failure
    from .model_config import Table
    from .receipt import Outcome, Receipt
    from .routing import Candidate, Needs, Route
    from .transport import LiveAddress, Ticket


class Bench:
    """What every call of a process shares: the table, the transport, the clients.

    Args:
        live: Embedded providers by name.
        now: The wall clock, timezone-aware.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self,
        table: Table,
        live: Mapping[str, LiveAddress] | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self.now = now
        self.clock = clock
        self.transport = SigningTransport(live)
        self.clients = ChatClients(self.transport)

    def plan(self, feature: str, caller: Caller, needs: Needs) -> Route:
        """How a call made now would be served."""
        return plan(self.table.snapshot, feature, caller, needs, today=self.now().date())


class Call:
    """One call of a feature.

    Raises:
        LLMError: On construction, if no endpoint may serve it: nothing was sent.
    """

    def __init__(self, bench: Bench, route: Route, caller: Caller, ask: Ask) -> None:
        self.bench = bench
        self.ask = ask
        self.dispatch = Dispatch(route)
        self._caller = caller
        self._house_keys = bench.table.snapshot.house_keys

    def attempt(self) -> RunningAttempt:
        """The next attempt, as a context: it ends the call, or is swallowed so that the loop goes on."""
        return RunningAttempt(self, self.dispatch.next_candidate())

    def credential(self, candidate: Candidate) -> Credential:
        """The credential that the route chose for ``candidate``."""
        keys = self._caller.keys if candidate.owner == "user" else self._house_keys
        return Credential(candidate.owner, keys.get(candidate.endpoint.provider.name))


class RunningAttempt:
    """One request under way. Leaving it by an exception classifies, records, and lets the loop go on if it may."""

    client: BaseChatModel
    kwargs: dict[str, Any]

    def __init__(self, call: Call, candidate: Candidate) -> None:
        self._call = call
        self._candidate = candidate
        self._message: AIMessage | None = None
        self._receipt: Receipt | None = None
        self._held: list[ChatGenerationChunk] = []
        self._text: list[str] | None = None

    def __enter__(self) -> Self:
        bench, endpoint = self._call.bench, self._candidate.endpoint
        self._started_at, self._started = bench.clock(), bench.now()
        self._ticket: Ticket = bench.transport.desk.open(endpoint.provider, self._call.credential(self._candidate))
        self.client = bench.clients.client(endpoint)
        self.kwargs = ADAPTERS[endpoint.provider.api].kwargs(self._call.ask, endpoint, self._ticket.number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._call.bench.transport.desk.close(self._ticket)
        if error is None or self._receipt is not None:
            return False
        failure = classify(error, self._ticket.wire)
        attempt = self._record("cancelled" if failure.category is Category.CANCELLED else "failed", failure)
        partial = None if self._text is None else "".join(self._text)
        final = self._call.dispatch.failed(attempt, failure, partial=partial)
        if failure.category is Category.CANCELLED:
            return False
        if final is not None:
            raise final from error
        return True

    # Whole answers -------------------------------------------------------------------------------------------------

    def accept(self, result: ChatResult) -> ChatResult:
        """The answer with its receipt, if it may be handed on.

        Raises:
            BadAnswer: If not; leave the context with it.
        """
        first = result.generations[0] if result.generations else None
        if first is None or not isinstance(first.message, AIMessage):
            raise BadAnswer(Category.EMPTY, "no message")
        self._message = normalised(first.message, result.llm_output, first.generation_info)
        message = checked(self._message, self._call.ask.schema)
        message.response_metadata = {**message.response_metadata, RECEIPT_KEY: self._succeed().as_dict()}
        return ChatResult(generations=[ChatGeneration(message=message)])

    # Streams -------------------------------------------------------------------------------------------------------

    def pass_on(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        """What may be handed on now that ``chunk`` came: nothing until the first content, then each chunk."""
        if not isinstance(chunk.message, AIMessageChunk):
            return []
        message = normalised(chunk.message, chunk.generation_info)
        message.chunk_position = None
        self._message = message if self._message is None else self._message + message  # type: ignore[operator]
        self._held.append(ChatGenerationChunk(message=message))
        if self._text is None and not has_content(message):
            return []
        self._text = [*(self._text or ()), message.text]
        held, self._held = self._held, []
        return held

    def last_chunk(self) -> ChatGenerationChunk:
        """The end of the stream: an empty chunk with the receipt.

        Raises:
            BadAnswer: If the stream ended without a reason, or is not a whole answer; leave the context with it.
        """
        if self._message is None:
            raise BadAnswer(Category.EMPTY, "no chunk")
        if finish_reason(self._message) is None:
            raise BadAnswer(Category.INTERRUPTED, "the stream ended without a finish reason")
        checked(self._message, None)
        receipt = self._succeed().as_dict()
        return ChatGenerationChunk(
            message=AIMessageChunk(content="", response_metadata={RECEIPT_KEY: receipt}, chunk_position="last")
        )

    # Records -------------------------------------------------------------------------------------------------------

    def _succeed(self) -> Receipt:
        self._receipt = self._call.dispatch.succeeded(self._record("ok"))
        return self._receipt

    def _record(self, outcome: Outcome, failure: Failure | None = None) -> Attempt:
        endpoint, wire, bench = self._candidate.endpoint, self._ticket.wire, self._call.bench
        usage = Usage.of(self._message.usage_metadata) if self._message is not None else None  # type: ignore[arg-type]
        return Attempt(
            endpoint=str(endpoint),
            key_owner=self._candidate.owner,
            outcome=outcome,
            started=self._started,
            duration=timedelta(seconds=bench.clock() - self._started_at),
            category=failure and failure.category,
            status=wire.status,
            first_byte=_since(wire.sent_at, wire.first_byte_at),
            served_model=served_model(self._message) if self._message is not None else None,
            usage=usage,
            cost_usd=cost(endpoint.provider.name, endpoint.model_id, usage, self._started),
        )


def _since(start: float | None, end: float | None) -> timedelta | None:
    return None if start is None or end is None else timedelta(seconds=end - start)


