"""Runs one request: sends it, receives and tests the answer, and records the outcome."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from ..answers import finish_reason, make_chat_result, redact_metadata, served_model, validate_answer
from ..caller import await_without_caller
from ..errors import CallError, CallTimeoutError
from ..failures import (
    POLICY,
    BadAnswer,
    ClassifiedFailure,
    FailureCategory,
    ImportsNotReadyError,
    classify_failure,
    is_control_flow,
)
from ..interruptions import find_interruption, raise_without_context
from ..model_config import OWN
from ..models import is_requested_model
from ..needs import estimate_answer_tokens, estimate_text_tokens
from ..pricing import compute_cost
from ..providers import ModelRequest
from ..receipt import RECEIPT_KEY, Attempt, TokenUsage, collect_receipt
from ..transport import ERROR_STATUS, Credential, ObservedExchange
from .acceptance import ascore_answer, reject_low_score, score_answer
from .awaiting import time_limit
from .scrubbing import clear_exception_details, scrub_exception
from .steps import LEAST_SECONDS
from .streamed import StreamedAnswer, check_stream_ended

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from datetime import datetime
    from types import TracebackType

    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatResult

    from ..errors import LLMError
    from ..providers.chat_client import ChatClient
    from ..transport import Ticket
    from ..types import Outcome
    from .call import Call
    from .steps import Try

log = logging.getLogger(__name__)

_LONG_ANSWER = 8192
"""Tokens. To test so many by a schema takes up to 2 ms."""
_OF_THE_TRANSPORT = frozenset({FailureCategory.TIMEOUT, FailureCategory.INTERRUPTED})


class RunningAttempt:
    """One request in flight, as a context manager.

    A failure that the call can handle is recorded, not raised: call `Call.raise_if_ended` after the block.

    Attributes:
        accept: The application's own test of the answer.
        is_beaten: Whether the request was cancelled because the other request of a hedged pair was faster.
        record: The record for receipt and ledger; None while the request is in flight.
    """

    is_beaten = False
    record: Attempt | None = None
    _answer: AIMessage | None = None
    _ticket: Ticket | None = None
    _observed = ObservedExchange()  # of nothing, until there is a ticket
    _started: datetime | None = None
    _ended_at: float | None = None
    _score: float | None = None
    _stream: StreamedAnswer | None = None

    def __init__(self, call: Call, step: Try) -> None:
        self._call = call
        self.step = step
        self.accept = call.question.accept
        self._time = call.runtime.time

    def __enter__(self) -> Self:
        self._outer = sys.exception()
        self._started_at = self._time.clock()
        self._call.dispatch.late[self.step.number] = self._late_record
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._ticket is not None:
            self._call.runtime.transport.tickets.close(self._ticket)
        if error is None or self.record is not None:
            return False
        is_ours = self._observed.refusal is not None or isinstance(error, BadAnswer)
        interruption = None if is_ours else find_interruption(error)
        if interruption is not None and self._ticket is not None:
            self._call.runtime.transport.pools.replace_sync_pool(self._ticket.provider.network_policy)
        is_handled = self._failed(interruption or error)
        if interruption is not None and interruption is not error:
            raise_without_context(interruption)
        return is_handled

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self.__exit__(kind, error, trace)

    # Its request ---------------------------------------------------------------------------------------------------

    async def _built(self) -> None:
        """Build the endpoint's client in a thread, if there is none yet: importing its SDK takes a second."""
        clients, endpoint = self._call.runtime.clients, self.step.candidate.endpoint
        if endpoint not in clients:
            try:
                async with time_limit(self.step.seconds):
                    await await_without_caller(asyncio.wrap_future(clients.start_building_client(endpoint)))
            except TimeoutError as error:
                raise ImportsNotReadyError from error

    def _prepare(self) -> tuple[ChatClient, ModelRequest]:
        """The client and its request. The first call of an endpoint builds the client."""
        call, step, candidate = self._call, self.step, self.step.candidate
        endpoint, question, options = candidate.endpoint, call.question, candidate.options
        credential = self._credential()
        try:
            client = call.runtime.clients.get_client(endpoint, step.seconds)
        except TimeoutError as error:
            raise ImportsNotReadyError from error
        spent = self._time.clock() - self._started_at  # on a client, if it was the first call
        seconds = step.seconds - spent if spent > LEAST_SECONDS else step.seconds
        self._ticket = call.runtime.transport.tickets.open(
            endpoint.provider, credential, seconds, options.connect_timeout
        )
        self._observed = self._ticket.observed
        self._started_at, self._started = self._time.clock(), self._time.now()
        request = ModelRequest(
            endpoint,
            question.ask._replace(options=options),
            candidate.api_kwargs,
            [*question.history, *call.rejected_answers.repair] if step.repair else question.history,
            question.stop,
            step.seconds,
            self._ticket,
            is_plain=question.history is question.messages,
            extra_body=candidate.extra_body,
        )
        return client, request

    def _credential(self) -> Credential:
        """The credential that the route chose for the candidate."""
        call, candidate = self._call, self.step.candidate
        if candidate.owner == "user":
            return Credential("user", call.dispatch.route.caller.key_for(candidate.endpoint.provider))
        slot = candidate.account.slot if candidate.account else ""
        return Credential("house", call.snapshot.house_keys.get(slot))

    # Whole answers -------------------------------------------------------------------------------------------------

    def generate(self) -> ChatResult:
        """Send the request, and return the tested answer with the call's receipt."""
        return self.complete_call(self.fetch_answer())

    async def agenerate(self) -> ChatResult:
        """Asynchronous version of `generate`."""
        return self.complete_call(await self.afetch_answer())

    def fetch_answer(self) -> AIMessage:
        """Send the request, and return the tested answer without a receipt. `complete_call` adds the receipt."""
        client, request = self._prepare()
        message, ask = self._received(client.generate(request), request), request.ask
        self._answer = message = validate_answer(message, ask.schema, ask.tools)
        if self.accept is not None:
            self._score = score_answer(self.accept, message, self._call.dispatch)
            reject_low_score(self._score, self.step.candidate)
        return message

    async def afetch_answer(self) -> AIMessage:
        """Asynchronous version of `fetch_answer`."""
        await self._built()
        client, request = self._prepare()
        message, ask = self._received(await client.agenerate(request), request), request.ask
        if ask.schema is not None and estimate_answer_tokens(message) > _LONG_ANSWER:
            message = await asyncio.to_thread(validate_answer, message, ask.schema, ask.tools)
        else:
            message = validate_answer(message, ask.schema, ask.tools)
        self._answer = message
        if self.accept is not None:
            self._score = await ascore_answer(self.accept, message, self._call.dispatch)
            reject_low_score(self._score, self.step.candidate)
        return message

    def _received(self, message: AIMessage, request: ModelRequest) -> AIMessage:
        """Notify observers that ``message`` has arrived, redact its metadata, and return it for testing.

        The provider is done, so the time for a test of the answer counts neither as latency nor as a request in
        flight.
        """
        self._ended_at = self._time.clock()
        if self._call.dispatch.observers.see_receipts:
            self._call.dispatch.observers.notify_answer_received(self.step)
        redact_metadata(
            message, partial(request.ticket.redaction.redact_labels, known=request.endpoint.model_id)
        )
        self._answer = message
        return message

    def complete_call(self, message: AIMessage) -> ChatResult:
        """Record that the call succeeded with the answer ``message``, and return it with the call's receipt."""
        return make_chat_result(message, self._call.dispatch.record_success(self.step, self._recorded("ok")))

    # Streams -------------------------------------------------------------------------------------------------------

    def stream(self) -> Iterator[ChatGenerationChunk]:
        """Send the request, and yield the answer in chunks from its first content on.

        The last chunk has no text: it carries the receipt.
        """
        client, request = self._prepare()
        self._stream = StreamedAnswer(request, self.step.most_seconds)
        yield from self._stream.chunks_from_first_content(client.stream(request))
        yield self._last_chunk(self._stream)

    async def astream(self) -> AsyncGenerator[ChatGenerationChunk]:
        """Asynchronous version of `stream`."""
        await self._built()
        client, request = self._prepare()
        self._stream = StreamedAnswer(request, self.step.most_seconds)
        async with aclosing(self._stream.achunks_from_first_content(client.astream(request))) as chunks:
            async for chunk in chunks:
                yield chunk
        yield self._last_chunk(self._stream)

    def _last_chunk(self, answer: StreamedAnswer) -> ChatGenerationChunk:
        self._answer = answer.merge_chunks()
        check_stream_ended(self._answer)
        receipt = self._call.dispatch.record_success(self.step, self._recorded("ok"))
        metadata = {RECEIPT_KEY: collect_receipt(receipt)}
        last = AIMessageChunk(content="", response_metadata=metadata, chunk_position="last")
        return ChatGenerationChunk(message=last)

    # How it ends ---------------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> bool:
        """Classify ``error`` and record it. True if the call handles it, False if it is raised to the caller."""
        failure, is_nobodys = self._failure(error), self._is_nobodys(error)
        partial_text = self._stream.partial_text() if self._stream is not None else None
        record = self._recorded(_outcome(failure), failure)
        final = self._call.dispatch.record_failure(self.step, record, failure, partial=partial_text)
        if is_nobodys:
            if isinstance(error, CallTimeoutError):
                dispatch = self._call.dispatch
                error.attempts, error.call_id = tuple(dispatch.attempts), dispatch.route.call_id
            return False
        self._alarm(failure, record)
        scrub_exception(error, self._outer)
        if failure.category is FailureCategory.CANCELLED:
            return False
        if isinstance(error, BadAnswer):
            self._call.rejected_answers.add_answer(self._answer, error, record)
        if final is not None:
            if isinstance(final, CallError):
                final.answer = self._answer
            self._call.set_final_error(final, self._cause(final, error, failure))
        return True

    def _is_nobodys(self, error: BaseException) -> bool:
        """Whether ``error`` came from our code or the caller's: it was raised after the answer had arrived."""
        is_answered = self._ended_at is not None
        return is_answered and isinstance(error, Exception) and not isinstance(error, BadAnswer)

    def _failure(self, error: BaseException) -> ClassifiedFailure:
        if self._is_nobodys(error) and not is_control_flow(error):
            return ClassifiedFailure(FailureCategory.BUG, self._observed.status)
        api = self.step.candidate.endpoint.provider.api
        return classify_failure(
            error, self._observed, api, now=self._time.now(), handled_exception=self._outer
        )

    def _cause(
        self, final: LLMError, error: BaseException, failure: ClassifiedFailure
    ) -> BaseException | None:
        """The cause for ``final``; None if the exception may quote an answer from which the key was not removed."""
        if not self._observed.has_succeeded or failure.category in _OF_THE_TRANSPORT:
            return error
        if error is not final:
            clear_exception_details(error)
        return None

    def _alarm(self, failure: ClassifiedFailure, record: Attempt) -> None:
        policy, candidate = POLICY[failure.category], self.step.candidate
        if policy.alarm and (candidate.owner == "house" or failure.category is FailureCategory.BUG):
            what = f"{policy.sentence}: {record.finish_reason}" if record.finish_reason else policy.sentence
            log.error("%s %s (with the %s's key)", candidate.endpoint, what, candidate.owner)

    def is_final_error(self, error: BaseException) -> bool:
        """Whether ``error`` ends the whole call, even if the other request of a hedged pair is still in flight."""
        if self._is_nobodys(error) or is_control_flow(error):
            return True
        return self._call.dispatch.is_final_failure(self.step, self._failure(error))

    # Its record ----------------------------------------------------------------------------------------------------

    def _late_record(self) -> Attempt | None:
        """The record of a request interrupted from outside while it was being recorded; None if it was not sent."""
        if self.record is None and self._observed.sent_at is not None:
            self._recorded("cancelled", ClassifiedFailure(FailureCategory.CANCELLED, self._observed.status))
        return self.record

    def _recorded(self, outcome: Outcome, failure: ClassifiedFailure | None = None) -> Attempt:
        step, candidate, observed, answer = self.step, self.step.candidate, self._observed, self._answer
        first_byte, stream = _elapsed(observed.sent_at, observed.first_byte_at), self._stream
        if answer is None and stream is not None:
            answer = stream.merge_chunks()
        category = failure.category if failure is not None else None
        is_of_a_race = step.hedge or self.is_beaten
        withdrawn = is_of_a_race and category is FailureCategory.CANCELLED and not observed.has_left
        known = TokenUsage.from_metadata(answer.usage_metadata) if answer is not None else None
        served = served_model(answer) if answer is not None else None
        reason = finish_reason(answer) if answer is not None else None
        is_given_up = self.is_beaten or category is FailureCategory.CANCELLED
        has_begun = observed.status is not None and observed.status < ERROR_STATUS
        is_estimated = known is None and (answer is not None or is_given_up or has_begun)
        usage = self._estimate(answer) if is_estimated else known
        started = self._started or self._time.now()
        ended_at = self._time.clock() if self._ended_at is None else self._ended_at
        provider, model = candidate.endpoint.provider, candidate.endpoint.model_id
        self.record = Attempt(
            endpoint=candidate.endpoint_circuit.endpoint,
            key_owner=candidate.owner,
            outcome=outcome,
            started=started,
            duration=timedelta(seconds=ended_at - self._started_at),
            category=category,
            status=observed.status,
            first_byte=first_byte,
            served_model=served,
            substituted=provider.access != OWN and not is_requested_model(model, served),
            usage=usage,
            cost_usd=compute_cost(candidate.endpoint, usage, started),
            first_token=_elapsed(self._started_at, stream.first_at) if stream is not None else None,
            account=candidate.account_name,
            score=self._score,
            handed_on=self._handed_on() if failure is not None else 0,
            hedge=step.hedge,
            estimated=is_estimated,
            withdrawn=withdrawn,
            finish_reason=reason,
            request_id=observed.request_id,
            number=self._call.dispatch.order.index(step.number) + 1,
        )
        if self._call.keeps_text:
            question = self._call.question
            self._call.runtime.texts.record_text(step, self.record, question.messages, answer)
        return self.record

    def _handed_on(self) -> int:
        """An estimate of the tokens of a stream that were returned before it failed."""
        return estimate_text_tokens(self._stream.partial_text() or "") if self._stream is not None else 0

    def _estimate(self, answer: AIMessage | None) -> TokenUsage:
        """An estimate of the usage that a provider did not report: the prompt, and the answer received so far."""
        if not self._observed.has_left or (self._observed.status or 0) >= ERROR_STATUS:
            return TokenUsage()
        prompt = self._call.dispatch.route.needs.tokens
        return TokenUsage(input=prompt, output=estimate_answer_tokens(answer) if answer is not None else 0)


def _outcome(failure: ClassifiedFailure) -> Outcome:
    if failure.category is FailureCategory.CANCELLED:
        return "cancelled"
    return "rejected" if POLICY[failure.category].is_rejection else "failed"


def _elapsed(since: float | None, until: float | None) -> timedelta | None:
    return None if since is None or until is None else timedelta(seconds=until - since)
