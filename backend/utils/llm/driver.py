"""What the four drivers share: one call, its attempts, and what becomes of their outcomes."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .answers import checked, finish_reason, has_content, normalised, refused, served_model
from .dispatch import Dispatch
from .errors import CallError
from .failures import BadAnswer, Category, classify
from .pricing import cost
from .providers import ADAPTERS, ChatClients
from .receipt import RECEIPT_KEY, Attempt, Usage
from .routing import plan
from .transport import Credential, SigningTransport, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from pydantic import SecretStr

    from .caller import Caller, KeyOwner
    from .model_config import Snapshot, Table
    from .providers import Ask
    from .receipt import Outcome, Receipt
    from .routing import Candidate, Needs, Route
    from .transport import LiveAddress, Ticket


log = logging.getLogger(__name__)


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

    def call(self, snapshot: Snapshot, feature: str, caller: Caller, needs: Needs, ask: Ask) -> Call:
        """A call that ``snapshot`` decides from end to end, whatever is put in force meanwhile.

        Raises:
            LLMError: If no endpoint may serve it: nothing was sent.
        """
        route = plan(snapshot, feature, caller, needs, today=self.now().date(), options=ask.options)
        return Call(self, route, {"user": caller.keys, "house": snapshot.house_keys}, ask)


class Call:
    """One call of a feature.

    Raises:
        LLMError: On construction, if no endpoint may serve it: nothing was sent.
    """

    def __init__(
        self, bench: Bench, route: Route, keys: Mapping[KeyOwner, Mapping[str, SecretStr]], ask: Ask
    ) -> None:
        self.bench = bench
        self.ask = ask
        self.dispatch = Dispatch(route)
        self._ends_at = bench.clock() + route.deadline
        self._keys = keys

    def attempt(self) -> RunningAttempt:
        """The next attempt, as a context: it ends the call, or is swallowed so that the loop goes on.

        Raises:
            CallTimeoutError: If the call's deadline has passed.
        """
        seconds = self._ends_at - self.bench.clock()
        if seconds <= 0:
            raise self.dispatch.out_of_time()
        return RunningAttempt(self, self.dispatch.next_candidate(), min(seconds, self.ask.options.timeout))

    def credential(self, candidate: Candidate) -> Credential:
        """The credential that the route chose for ``candidate``."""
        secret = self._keys[candidate.owner].get(candidate.endpoint.provider.name)
        return Credential(candidate.owner, secret)


class RunningAttempt:
    """One request under way. Leaving it by an exception classifies, records, and lets the loop go on if it may."""

    def __init__(self, call: Call, candidate: Candidate, seconds: float) -> None:
        self._call = call
        self._candidate = candidate
        self._seconds = seconds
        self._answer: AIMessage | None = None
        self._chunks: list[AIMessageChunk] = []
        self._handed_on = 0
        self._over = False
        self._ticket: Ticket | None = None

    def __enter__(self) -> Self:
        bench = self._call.bench
        self._outer = sys.exception()
        self._started_at, self._started = bench.clock(), bench.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._ticket is not None:
            self._call.bench.transport.desk.close(self._ticket)
        if error is None or self._over:
            return False
        failure = classify(error, self._wire, self._outer)
        cancelled = failure.category is Category.CANCELLED
        if failure.category is Category.BUG:
            log.error("%s: %s before a request was sent", self._candidate.endpoint, type(error).__name__)
        attempt = self._record("cancelled" if cancelled else "failed", failure.category)
        final = self._call.dispatch.failed(attempt, failure, partial=self._partial())
        if cancelled:
            return False
        if final is None:
            return True
        if isinstance(final, CallError):
            final.answer = self._answer
        raise final from error

    @property
    def _wire(self) -> Wire:
        return self._ticket.wire if self._ticket is not None else Wire()

    def _prepare(self) -> tuple[BaseChatModel, dict[str, Any]]:
        """The client, and the request in its words. The first call of an endpoint builds its client."""
        bench, endpoint = self._call.bench, self._candidate.endpoint
        client = bench.clients.client(endpoint)
        # Only now: building a client imports its SDK, which must not eat the attempt's time.
        self._ticket = bench.transport.desk.open(
            endpoint.provider, self._call.credential(self._candidate), self._seconds
        )
        wording = ADAPTERS[endpoint.provider.api].kwargs(self._call.ask, endpoint, self._ticket.number)
        self._started_at, self._started = bench.clock(), bench.now()
        return client, {**wording, "timeout": self._seconds}

    # Whole answers -------------------------------------------------------------------------------------------------

    def generate(self, messages: list[BaseMessage], stop: list[str] | None) -> ChatResult:
        """The answer with its receipt."""
        client, kwargs = self._prepare()
        return self._accept(client._generate(messages, stop=stop, **kwargs))

    async def agenerate(self, messages: list[BaseMessage], stop: list[str] | None) -> ChatResult:
        """As `generate`."""
        client, kwargs = self._prepare()
        return self._accept(await client._agenerate(messages, stop=stop, **kwargs))

    def _accept(self, result: ChatResult) -> ChatResult:
        first = result.generations[0] if result.generations else None
        if first is None or not isinstance(first.message, AIMessage):
            raise BadAnswer(Category.EMPTY, "no message")
        self._answer = normalised(first.message, result.llm_output, first.generation_info)
        message = checked(self._answer, self._call.ask.schema)
        message.response_metadata = {**message.response_metadata, RECEIPT_KEY: self._succeed().as_dict()}
        return ChatResult(generations=[ChatGeneration(message=message)])

    # Streams -------------------------------------------------------------------------------------------------------

    def stream(self, messages: list[BaseMessage], stop: list[str] | None) -> Iterator[ChatGenerationChunk]:
        """The answer in chunks, nothing before its first content; the last one is empty and has the receipt."""
        client, kwargs = self._prepare()
        chunks = cast("Generator[ChatGenerationChunk]", client._stream(messages, stop=stop, **kwargs))
        with closing(chunks):
            for chunk in chunks:
                yield from self._pass_on(chunk)
        yield self._last_chunk()

    async def astream(
        self, messages: list[BaseMessage], stop: list[str] | None
    ) -> AsyncGenerator[ChatGenerationChunk]:
        """As `stream`."""
        client, kwargs = self._prepare()
        chunks = cast("AsyncGenerator[ChatGenerationChunk]", client._astream(messages, stop=stop, **kwargs))
        async with aclosing(chunks):
            async for chunk in chunks:
                for ready in self._pass_on(chunk):
                    yield ready
        yield self._last_chunk()

    def _pass_on(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        if not isinstance(chunk.message, AIMessageChunk):
            return []
        message = normalised(chunk.message, chunk.generation_info)
        message.chunk_position = None
        self._chunks.append(message)
        if not self._handed_on and not has_content(message):
            return []
        ready = self._chunks[self._handed_on :]
        self._handed_on = len(self._chunks)
        return [ChatGenerationChunk(message=message) for message in ready]

    def _last_chunk(self) -> ChatGenerationChunk:
        self._answer = _joined(self._chunks)
        if self._answer is None:
            raise BadAnswer(Category.INTERRUPTED, "the stream ended without a chunk")
        if finish_reason(self._answer) is None and not refused(self._answer):
            raise BadAnswer(Category.INTERRUPTED, "the stream ended without a finish reason")
        checked(self._answer, None)
        receipt = self._succeed().as_dict()
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content="", response_metadata={RECEIPT_KEY: receipt}, chunk_position="last"
            )
        )

    def _partial(self) -> str | None:
        """The text that was handed on; None if nothing was."""
        return "".join(chunk.text for chunk in self._chunks[: self._handed_on]) if self._handed_on else None

    # Records -------------------------------------------------------------------------------------------------------

    def _succeed(self) -> Receipt:
        receipt = self._call.dispatch.succeeded(self._record("ok"))
        self._over = True
        return receipt

    def _record(self, outcome: Outcome, category: Category | None = None) -> Attempt:
        endpoint, wire, bench = self._candidate.endpoint, self._wire, self._call.bench
        answer = self._answer or _joined(self._chunks)
        usage = Usage.of(answer.usage_metadata) if answer is not None else None
        return Attempt(
            endpoint=str(endpoint),
            key_owner=self._candidate.owner,
            outcome=outcome,
            started=self._started,
            duration=timedelta(seconds=bench.clock() - self._started_at),
            category=category,
            status=wire.status,
            first_byte=_since(wire.sent_at, wire.first_byte_at),
            served_model=served_model(answer) if answer is not None else None,
            usage=usage,
            cost_usd=cost(endpoint.provider.name, endpoint.model_id, usage, self._started),
        )


def _joined(chunks: list[AIMessageChunk]) -> AIMessageChunk | None:
    return add_ai_message_chunks(chunks[0], *chunks[1:]) if chunks else None


def _since(start: float | None, end: float | None) -> timedelta | None:
    return None if start is None or end is None else timedelta(seconds=end - start)
