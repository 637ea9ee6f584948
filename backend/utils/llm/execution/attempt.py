"""One request under way: sent, answered, tested, recorded."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import aclosing, closing, contextmanager
from datetime import timedelta
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .. import tokens
from ..answers import (
    PARSED_KEY,
    checked,
    choices_of,
    finish_reason,
    has_content,
    labelled,
    normalised,
    refused,
    served_model,
)
from ..caller import without_caller
from ..errors import CallError
from ..failures import POLICY, BadAnswer, Category, Failure, classify, is_control_flow
from ..model_config import OWN
from ..models import is_served_as_asked
from ..pricing import cost
from ..providers import ADAPTERS
from ..receipt import RECEIPT_KEY, Attempt, Usage
from ..transport import Wire
from .awaiting import at_once
from .scrubbing import drop_frames, empty

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator
    from datetime import datetime
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from ..answers import MessageT
    from ..errors import LLMError
    from ..receipt import Receipt
    from ..transport import Ticket
    from ..types import Outcome
    from .call import Call
    from .steps import Try

log = logging.getLogger(__name__)


ENOUGH = 0.8
"""The score from which an answer is good enough, where the table does not say."""
_ASYNC_ACCEPT = "accept is asynchronous: it works with ainvoke and astream only"
_OF_THE_TRANSPORT = frozenset({Category.TIMEOUT, Category.INTERRUPTED})


class _Request(NamedTuple):
    client: BaseChatModel
    messages: list[BaseMessage]
    stop: list[str] | None
    kwargs: dict[str, Any]
    ticket: Ticket


class RunningAttempt:
    """One request under way. Leaving it by an exception classifies and records; what that means is `Call.go_on`'s.

    Attributes:
        is_raced: Whether another thread may give it up.
        is_beaten: Whether it was given up for another one's answer.
    """

    is_raced = is_beaten = _is_given_up = False

    def __init__(self, call: Call, step: Try) -> None:
        self._call = call
        self.step = step
        self._time = call.runtime.time
        self._answer: AIMessage | None = None
        self._chunks: list[AIMessageChunk] = []
        self._held: list[ChatGenerationChunk] = []
        self._told: set[str] = set()
        self._handed_on = 0
        self._first_token_at: float | None = None
        self._score: float | None = None
        self._ended_at: float | None = None
        self._ticket: Ticket | None = None
        self._result: ChatResult | None = None
        self.record: Attempt | None = None
        """What became of it, once it is over."""

    def __enter__(self) -> Self:
        self._outer = sys.exception()
        self._started_at = self._time.clock()
        self._started: datetime | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._close_ticket(keeps_body=self._is_given_up)  # then its thread may still have to close it
        if error is None or self.record is not None:
            return False
        failure, is_nobodys = self._failure(error), self._is_nobodys(error)
        final = self._fail(failure)
        if is_nobodys:
            return False
        self._alarm(failure)
        drop_frames(error, self._outer)
        if failure.category is Category.CANCELLED:
            return False
        if isinstance(error, BadAnswer):
            self._call.reject(self._answer, error)
            self._keep_if_scored()
        if final is not None:
            if isinstance(final, CallError):
                final.answer = self._answer
            self._call.end(final, self._cause(final, error, failure))
        return True

    def _keep_if_scored(self) -> None:
        if self._answer is not None and self.record is not None:
            self._call.keep_best(self._answer, self.record)

    def _cause(self, final: LLMError, error: BaseException, failure: Failure) -> BaseException | None:
        """What ``final`` comes from. Not an exception that may quote an answer: of that the key was not taken off."""
        if not self._wire.has_succeeded or failure.category in _OF_THE_TRANSPORT:
            return error
        if error is not final:
            empty(error)
        return None

    @property
    def _wire(self) -> Wire:
        return self._ticket.wire if self._ticket is not None else Wire()

    async def _built(self) -> None:
        """Build the endpoint's client, if it is the first time, beside the event loop: its SDK takes a second."""
        clients, endpoint = self._call.runtime.clients, self.step.candidate.endpoint
        if endpoint not in clients:
            await without_caller(asyncio.to_thread(clients.client, endpoint))

    def _prepare(self) -> _Request:
        """The client, and the request in its words. The first call of an endpoint builds its client."""
        runtime, candidate, seconds = self._call.runtime, self.step.candidate, self.step.seconds
        endpoint = candidate.endpoint
        client = runtime.clients.client(endpoint)
        # Only now: building a client imports its SDK, which must not eat the attempt's time.
        self._ticket = runtime.transport.tickets.open(
            endpoint.provider, self._call.credential(candidate), seconds, candidate.options.connect_timeout
        )
        self._started_at, self._started = self._time.clock(), self._time.now()
        if self.is_raced:
            self._ticket.expect_interrupts()
            if self._is_given_up:
                self._ticket.cancel()
        wording = ADAPTERS[endpoint.provider.api].kwargs(
            self._call.ask(candidate), endpoint, self._ticket.number
        )
        return _Request(
            client,
            self._call.messages(self.step),
            self._call.question.stop,
            {**wording, "timeout": seconds},
            self._ticket,
        )

    # Another one beside it -----------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """From another thread: let its request end, as soon as it can be ended."""
        self._is_given_up = True  # before the look: one that is only being prepared sees it
        if self._ticket is not None:
            self._ticket.cancel()

    def put_away(self) -> None:
        """Nothing more is sent with its ticket, even if it was opened after all was over."""
        self._close_ticket()

    def _close_ticket(self, *, keeps_body: bool = False) -> None:
        if self._ticket is not None:
            self._call.runtime.transport.tickets.close(self._ticket)
            if not keeps_body:
                self._ticket.body = None  # from there the request is to be had, and its key

    def ends_call(self, error: BaseException) -> bool:
        """Whether the call is over with ``error``, even if another request is under way."""
        if self._is_nobodys(error) or is_control_flow(error):
            return True
        return self._call.dispatch.ends_with(self.step, self._failure(error))

    # Whole answers -------------------------------------------------------------------------------------------------

    def generate(self) -> ChatResult:
        """The answer with its receipt."""
        return self.deliver(self.answer())

    async def agenerate(self) -> ChatResult:
        """As `generate`."""
        return self.deliver(await self.aanswer())

    def answer(self) -> AIMessage:
        """The answer, after it was tested. The call may still want another one's."""
        request = self._prepare()
        result = request.client._generate(request.messages, stop=request.stop, **request.kwargs)
        self._received(result)
        message = self._checked(result)
        if self._call.question.accept is not None:
            with _rejecting():
                self._heed(at_once(self._call.question.accept(_subject(message)), _ASYNC_ACCEPT))
        return message

    async def aanswer(self) -> AIMessage:
        """As `answer`."""
        await self._built()
        request = self._prepare()
        result = await request.client._agenerate(request.messages, stop=request.stop, **request.kwargs)
        self._received(result)
        message = self._checked(result)
        if self._call.question.accept is not None:
            with _rejecting():
                verdict = self._call.question.accept(_subject(message))
                self._heed(await verdict if isawaitable(verdict) else verdict)
        return message

    def _received(self, result: ChatResult) -> None:
        """The provider is done. What a test of the answer takes is not its time, and keeps nobody out."""
        self._result, self._ended_at = result, self._time.clock()
        self._call.dispatch.observers.received(self.step)

    def _is_nobodys(self, error: BaseException) -> bool:
        """Whether neither provider nor answer is at fault: once it is there, only the caller's code, or ours, is left."""
        return self._result is not None and isinstance(error, Exception) and not isinstance(error, BadAnswer)

    def _heed(self, verdict: float | bool | None) -> None:  # noqa: FBT001 - what a test said
        """A figure is how good the answer is, and less than is enough rejects it."""
        if verdict is None or verdict is True:
            self._score = 1.0
            return
        if not isinstance(verdict, bool):
            self._score = min(1.0, max(0.0, float(verdict)))
            enough = getattr(self.step.candidate.select, "enough", ENOUGH)
            if self._score >= enough:
                return
        raise BadAnswer(Category.INVALID_OUTPUT, "it was not accepted")

    def _checked(self, result: ChatResult) -> AIMessage:
        """The message, if it may be handed on as far as we can tell."""
        choices = [self._labelled(choice) for choice in choices_of(result)]
        if not choices or choices[0] is not result.generations[0].message:
            raise BadAnswer(Category.EMPTY)
        self._answer, *others = choices
        if any(map(refused, others)):
            raise BadAnswer(Category.REFUSAL)
        self._answer = checked(self._answer, self._call.schema)
        return self._answer

    def deliver(self, message: AIMessage) -> ChatResult:
        """The answer with its receipt: it is what the call hands on."""
        result, receipt = self._result, self._succeed()
        if result is None:
            return delivered(message, receipt)
        return _told_by(result, message, receipt)

    def _labelled(self, message: MessageT) -> MessageT:
        """``message``, after the key was taken out of what the provider calls things by, which is logged and counted."""
        return labelled(message, self._label)

    def _label(self, told: str) -> str:
        if self._ticket is None or told == self.step.candidate.endpoint.model_id:
            return told
        return self._ticket.redaction.label(told)

    # Streams -------------------------------------------------------------------------------------------------------

    def stream(self) -> Iterator[ChatGenerationChunk]:
        """The answer in chunks, nothing before its first content; the last one is empty and has the receipt."""
        request = self._prepare()
        chunks = cast(
            "Generator[ChatGenerationChunk]",
            request.client._stream(request.messages, stop=request.stop, **request.kwargs),
        )
        self._expect_chunk(request.ticket)
        try:
            with closing(chunks):
                for chunk in chunks:
                    yield from self._pass_on(chunk)
                    self._expect_chunk(request.ticket)
        finally:
            if request.ticket.body is not None:
                request.ticket.body.close()
        yield self._last_chunk()

    async def astream(self) -> AsyncGenerator[ChatGenerationChunk]:
        """As `stream`."""
        await self._built()
        request = self._prepare()
        chunks = cast(
            "AsyncGenerator[ChatGenerationChunk]",
            request.client._astream(request.messages, stop=request.stop, **request.kwargs),
        )
        self._expect_chunk(request.ticket)
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    for ready in self._pass_on(chunk):
                        yield ready
                    self._expect_chunk(request.ticket)
        finally:
            if request.ticket.body is not None:
                await request.ticket.body.aclose()
        yield self._last_chunk()

    def _expect_chunk(self, ticket: Ticket) -> None:
        """Set the clock for the next chunk. Until the first content it is not set again: only content counts."""
        options = self.step.candidate.options
        if self._handed_on:
            ticket.expect_within(options.chunk_timeout)
        elif not self._chunks:
            ticket.expect_within(options.first_chunk_timeout)

    def _pass_on(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        if not isinstance(chunk.message, AIMessageChunk):
            return []
        message = self._noted(chunk, chunk.message)
        self._held.append(chunk)
        if not self._handed_on and not has_content(message):
            return []
        if not self._handed_on:
            self._first_token_at = self._time.clock()
            if self._ticket is not None:
                self._ticket.extend(self.step.most_seconds)
        ready, self._held = self._held, []
        self._handed_on = len(self._chunks)
        return ready

    def _noted(self, chunk: ChatGenerationChunk, message: AIMessageChunk) -> AIMessageChunk:
        """``message`` of ``chunk``, normalised in place: a copy of each takes as long as reading it did."""
        content = message.content
        self._labelled(normalised(message, chunk.generation_info, once=self._told))
        if message.content is not content:
            chunk.text = message.text
        if chunk.generation_info is not None:  # LangChain would merge it in again, as it was
            chunk.generation_info = None
        if message.chunk_position is not None:
            message.chunk_position = None
        self._chunks.append(message)
        return message

    def _last_chunk(self) -> ChatGenerationChunk:
        self._answer = _joined(self._chunks)
        if self._answer is None or (finish_reason(self._answer) is None and not refused(self._answer)):
            raise BadAnswer(Category.INTERRUPTED)
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
        self.record = self._recorded("ok")
        return self._call.dispatch.succeeded(self.step, self.record)

    def _failure(self, error: BaseException) -> Failure:
        if self._is_nobodys(error) and not is_control_flow(error):
            return Failure(Category.BUG, self._wire.status)
        api = self.step.candidate.endpoint.provider.api
        return classify(error, self._wire, api, now=self._time.now(), outer=self._outer)

    def _fail(self, failure: Failure) -> LLMError | None:
        self.record = self._recorded(_outcome(failure), failure)
        return self._call.dispatch.failed(self.step, self.record, failure, partial=self._partial())

    def _alarm(self, failure: Failure) -> None:
        policy, candidate = POLICY[failure.category], self.step.candidate
        if policy.alarm and (candidate.owner == "house" or failure.category is Category.BUG):
            log.error("%s %s (with the %s's key)", candidate.endpoint, policy.sentence, candidate.owner)

    def _recorded(self, outcome: Outcome, failure: Failure | None = None) -> Attempt:
        ended_at = self._time.clock() if self._ended_at is None else self._ended_at
        endpoint, wire = self.step.candidate.endpoint, self._wire
        answer, started = self._answer or _joined(self._chunks), self._started or self._time.now()
        known = Usage.of(answer.usage_metadata) if answer is not None else None
        usage = self._estimate(answer) if known is None and self.is_beaten else known
        served = served_model(answer) if answer is not None else None
        return Attempt(
            endpoint=str(endpoint),
            key_owner=self.step.candidate.owner,
            outcome=outcome,
            started=started,
            duration=timedelta(seconds=ended_at - self._started_at),
            category=failure.category if failure else None,
            status=wire.status,
            first_byte=_since(wire.sent_at, wire.first_byte_at),
            served_model=served,
            substituted=endpoint.provider.access != OWN and not is_served_as_asked(endpoint.model_id, served),
            usage=usage,
            cost_usd=cost(endpoint.provider.name, endpoint.model_id, usage, started),
            first_token=_since(self._started_at, self._first_token_at),
            account=self.step.candidate.account_name,
            score=self._score,
            handed_on=tokens.of_text(self._partial() or "") if failure is not None else 0,
            hedge=self.step.hedge,
            estimated=usage is not known,
        )

    def _estimate(self, answer: AIMessage | None) -> Usage:
        """What a provider bills of a request on which we hung up: what was asked, and what had come by then."""
        if self._wire.sent_at is None:
            return Usage()
        prompt = self._call.dispatch.route.needs.tokens
        return Usage(input=prompt, output=tokens.of_text(answer.text) if answer is not None else 0)


def delivered(message: AIMessage, receipt: Receipt) -> ChatResult:
    """An answer with its receipt, in LangChain's wrapping."""
    _tell(message, receipt)
    return ChatResult(generations=[ChatGeneration(message=message)])


def _told_by(result: ChatResult, message: AIMessage, receipt: Receipt) -> ChatResult:
    """The same in the wrapping in which the adapter gave it; making another takes as long as all that was tested."""
    _tell(message, receipt)
    generation = result.generations[0]
    if generation.message is not message:
        generation.message = message
    if generation.text != message.text:
        generation.text = message.text
    if generation.generation_info is not None:  # LangChain would merge it in again, as it was
        generation.generation_info = None
    if result.llm_output is not None:
        result.llm_output = None
    if len(result.generations) > 1:
        result.generations = [generation]
    return result


def _tell(message: AIMessage, receipt: Receipt) -> None:
    message.response_metadata = {**message.response_metadata, RECEIPT_KEY: receipt.as_dict()}


# The caller's own test ---------------------------------------------------------------------------------------------


@contextmanager
def _rejecting() -> Iterator[None]:
    """A ``ValueError`` of the caller's test rejects the answer and says why."""
    try:
        yield
    except ValueError as error:
        raise BadAnswer(Category.INVALID_OUTPUT, str(error)) from error


def _subject(message: AIMessage) -> Any:
    """What is tested: the object if there is one, else the message."""
    return message.additional_kwargs.get(PARSED_KEY, message)


# Records -----------------------------------------------------------------------------------------------------------


def _outcome(failure: Failure) -> Outcome:
    if failure.category is Category.CANCELLED:
        return "cancelled"
    return "rejected" if POLICY[failure.category].is_rejection else "failed"


def _joined(chunks: list[AIMessageChunk]) -> AIMessageChunk | None:
    return add_ai_message_chunks(chunks[0], *chunks[1:]) if chunks else None


def _since(start: float | None, end: float | None) -> timedelta | None:
    return None if start is None or end is None else timedelta(seconds=end - start)
