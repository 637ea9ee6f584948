"""The chat model of a feature. Route, key and endpoint are chosen when it is invoked, not when it is made."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing
from functools import partial
from importlib import import_module
from sys import modules
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

# LangChain puts these off to its first call, during which another thread may fork.
import langchain_core.messages.block_translators.langchain_v0
import langchain_core.tracers.context
import langchain_core.tracers.langchain
import langchain_core.tracers.stdout  # noqa: F401
from langchain_core.caches import BaseCache
from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.load.serializable import SerializedNotImplemented
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, RunInfo
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field
from typing_extensions import override
from uuid_utils import uuid7

from .answers import make_chat_result, to_single_chunk
from .bindings import BindableChatModel, parse_call_kwargs, parse_options, parse_stop_sequences
from .caller import CURRENT, HOUSE, Caller, current_caller
from .errors import CallError, LLMError, MissingCallerError
from .execution.acceptance import check_accept_signature
from .execution.attempt import RunningAttempt
from .execution.call import TRACING, Call, CallInput, add_call_span, record_refused_call
from .execution.copies import add_shadow_observer
from .execution.hedged_request import HedgedAttempt, make_async_attempt_context, make_attempt_context
from .execution.runtime import Runtime
from .execution.tracing import RunIdRecorder, add_run_id_recorder, has_chain_callbacks
from .model_profile import make_model_profile
from .needs import estimate_text_tokens, prepare_history_and_needs
from .options import NO_OPTIONS
from .providers import CallSettings
from .routing.plan import plan_route, preferred_endpoint
from .routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

RunInfo(run_id=UUID(int=0))  # Pydantic puts off what it needs for that, too


class FeatureChatModel(BindableChatModel):
    """A LangChain chat model for one feature of the table.

    Attributes:
        feature: The feature's name.
        runtime: The table, the clients and the state that its calls use.
        streaming: Stream even when invoked, for callbacks that want tokens.
        cache_key: Names the prompt prefix that calls share, for prompt caching where the model supports it.
        endpoint: The endpoint that is tried before those of the feature; see `get_llm`.
        fallbacks: Whether other endpoints are tried if the first fails.
        caller: The caller of all calls; None uses the context's caller at each call, or else ``made_for``.
        made_for: The caller of the context in which the model was made.
        run_recorder: Records LangChain's run of a stream. Set only on the copy that serves the stream.
        output_version: LangChain's ``output_version``; the environment variable for it is ignored.
        cache: Always off: LangChain's cache would give one caller's answer and receipt to another.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    feature: str
    runtime: Runtime = Field(exclude=True, repr=False)
    streaming: bool = False
    cache_key: str | None = None
    endpoint: str | None = None
    fallbacks: bool = True
    caller: Caller | None = Field(default=None, exclude=True, repr=False)
    if not TYPE_CHECKING:
        profile: ClassVar[Any]
    output_version: str | None = None
    cache: BaseCache | bool | None = False
    made_for: Caller = Field(default_factory=current_caller, exclude=True, repr=False)
    run_recorder: RunIdRecorder | None = Field(default=None, exclude=True, repr=False)

    @property
    @override
    def _llm_type(self) -> str:
        return "patchbay-feature"

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {"feature": self.feature, "table_hash": self.runtime.table.snapshot.hash}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """The first endpoint and its options, for traces. The endpoints that are tried are in the attempts' runs."""
        snapshot = self.runtime.table.snapshot
        feature = snapshot.features[self.feature]
        first = preferred_endpoint(snapshot, feature, self._caller())
        model = kwargs.pop("model", first.model)
        params = LangSmithParams(ls_provider=first.provider.name, ls_model_name=model, ls_model_type="chat")
        options = (
            parse_options(kwargs, self.feature).with_defaults(feature.options) if kwargs else feature.options
        )
        if options.temperature is not None:
            params["ls_temperature"] = options.temperature
        if options.max_output_tokens is not None:
            params["ls_max_tokens"] = options.max_output_tokens
        if stop:
            params["ls_stop"] = stop
        return params

    @property  # type: ignore[misc]
    @override
    def profile(self) -> ModelProfile | None:  # type: ignore[override] # a field, which would know one table, one caller
        """LangChain's model profile: what all endpoints that may serve the caller can do; None without endpoints."""
        runtime = self.runtime
        snapshot, today = runtime.table.snapshot, runtime.time.now().date()
        route = plan_route(
            snapshot, self.feature, self._caller(), Needs(), today=today, health=runtime.health
        )
        return make_model_profile(route)

    # As values -----------------------------------------------------------------------------------------------------

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the feature's name and settings; unpickling makes the model from the process's own patchbay.

        The caller is left out, so that no key is written into a queue.
        """
        get_llm = import_module(
            ".clients", __package__
        ).get_llm  # by its name, as pickle does: it stands above
        given = {name: getattr(self, name) for name in ("streaming", "cache_key", "endpoint", "fallbacks")}
        return partial(get_llm, self.feature, **given), ()

    @override
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> FeatureChatModel:
        return self._with()

    @override
    def to_json(self) -> SerializedNotImplemented:
        """Describe the model for callbacks, faster than LangChain's method, which also swallows exceptions."""
        kind = type(self)
        place = [*kind.__module__.split("."), kind.__name__]
        return {
            "lc": 1,
            "type": "not_implemented",
            "id": place,
            "repr": f"{kind.__name__}(feature={self.feature!r})",
            "name": self.get_name(),
        }

    @override
    def get_num_tokens(self, text: str) -> int:
        """Estimate the tokens in ``text`` from its length, as routing does; no tokenizer is loaded."""
        return estimate_text_tokens(text) or int(bool(text))

    @override
    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Estimate the tokens in ``messages`` and ``tools``. LangChain's `trim_messages` calls it."""
        ask = CallSettings(NO_OPTIONS, tools=tuple(map(convert_to_openai_tool, tools or ())))
        _, needs = prepare_history_and_needs(messages, ask)
        return needs.tokens

    @override
    def get_token_ids(self, text: str) -> list[int]:
        raise NotImplementedError("No tokenizer is loaded; get_num_tokens tells about how many there are.")

    # Streams belong to whoever asks for them, not to whoever reads them ----------------------------------------------

    @override
    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream the answer in chunks. The caller is read now, even if chunks are read in another context."""
        config, recorder = add_run_id_recorder(config)
        return super(FeatureChatModel, self._with(caller=self._caller(), run_recorder=recorder)).stream(
            input, config, stop=stop, **kwargs
        )

    @override
    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream the answer in chunks without blocking the event loop; otherwise as `stream`."""
        config, recorder = add_run_id_recorder(config)
        return super(FeatureChatModel, self._with(caller=self._caller(), run_recorder=recorder)).astream(
            input, config, stop=stop, **kwargs
        )

    def with_caller(self, caller: Caller | None, default_caller: Caller) -> FeatureChatModel:
        """Return a copy that calls for ``caller``; None is the context's caller, or else ``default_caller``."""
        return self._with(caller=caller, made_for=default_caller)

    @override
    def _bound_to_its_caller(self) -> FeatureChatModel:
        """A copy with the caller of this context, for a binding that is called in a context without one."""
        now = CURRENT.get()
        return self if now is HOUSE else self._with(made_for=now)

    def _with(self, **changed: Any) -> FeatureChatModel:
        """Like `model_copy`, but in half the time, because every `get_llm` with a caller does it."""
        made = self.__class__.__new__(self.__class__)
        object.__setattr__(made, "__dict__", {**self.__dict__, **changed})
        object.__setattr__(made, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        object.__setattr__(made, "__pydantic_extra__", self.__pydantic_extra__)
        object.__setattr__(made, "__pydantic_private__", self.__pydantic_private__)
        return made

    # Drivers -------------------------------------------------------------------------------------------------------

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return run_call(self._call(messages, stop, kwargs), run_manager)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await arun_call(self._call(messages, stop, kwargs), run_manager)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs, streams=True)
        run = run_manager or self._recorded_run()
        if call.question.wants_whole_answer:
            yield to_single_chunk(run_call(call, run))
            return
        with call.span:
            try:
                while True:
                    with _attempt(call, run, streams=True) as attempt:
                        yield from attempt.stream()
                        return
                    del attempt  # what failed stays in no frame of an error
                    call.raise_if_ended()
            except BaseException:
                call.dispatch.release_after_interruption()
                raise

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs, streams=True)
        run = run_manager or self._recorded_run()
        if call.question.wants_whole_answer:
            yield to_single_chunk(await arun_call(call, run))
            return
        with call.span:
            try:
                while True:
                    async with await _aattempt(call, run, streams=True) as attempt:
                        async with aclosing(attempt.astream()) as chunks:
                            async for chunk in chunks:
                                yield chunk
                        return
                    del attempt, chunks  # pyright: ignore - bound, as nothing else comes here
                    call.raise_if_ended()
            except BaseException:
                call.dispatch.release_after_interruption()
                raise

    def _recorded_run(self) -> CallbackManager | None:
        return self.run_recorder.make_child_run_manager() if self.run_recorder is not None else None

    # The call ------------------------------------------------------------------------------------------------------

    def _caller(self) -> Caller:
        if self.caller is not None:
            return self.caller
        now = CURRENT.get()
        return self.made_for if now is HOUSE else now

    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
        *,
        streams: bool = False,
    ) -> Call:
        ask = CallSettings(
            NO_OPTIONS, cache_key=self.cache_key, endpoint=self.endpoint, fallbacks=self.fallbacks
        )
        if kwargs:
            ask = parse_call_kwargs(kwargs, self.feature, ask)
        if stop is not None:
            stop = parse_stop_sequences(stop)
        accept = kwargs.get("accept")
        if accept is not None:
            check_accept_signature(accept)
        streams = streams and ask.schema is None and accept is None
        history, needs = prepare_history_and_needs(messages, ask, streams=streams)
        question = CallInput(messages, history, stop, ask, accept)
        return plan_call(self.feature, self.runtime, self._caller(), question, needs)


def plan_call(feature: str, runtime: Runtime, caller: Caller, question: CallInput, needs: Needs) -> Call:
    """Choose the endpoints that may serve a call of ``feature`` by ``caller``. Nothing is sent yet.

    Raises:
        LLMError: A caller is required and none is set, or no endpoint may serve the call.
    """
    if runtime.require_caller and caller is HOUSE:
        raise MissingCallerError(feature)
    snapshot, today = runtime.table.snapshot, runtime.time.now().date()
    health, call_id = runtime.health, question.ask.call_id or str(uuid7())
    route = plan_route(snapshot, feature, caller, needs, today=today, health=health, call_id=call_id)
    if route.feature.split:
        health.traffic.mark_call_planned()
    try:
        call = Call(runtime, snapshot, route, question)
    except LLMError as error:
        if TRACING in modules:
            record_refused_call(runtime, route, error)
        raise
    call = add_shadow_observer(call) if route.feature.shadow else call
    return add_call_span(call) if TRACING in modules else call


def _attempt(
    call: Call, run: Any, *, streams: bool = False
) -> AbstractContextManager[RunningAttempt | HedgedAttempt, bool]:
    """The next request as a context manager; hedged if it may be, and traced if callbacks want to see it."""
    step = call.next_try()
    if call.hedges or (run is not None and run.inheritable_handlers and has_chain_callbacks(run)):
        return make_attempt_context(call, step, run, streams=streams)
    return RunningAttempt(call, step)


async def _aattempt(
    call: Call, run: Any, *, streams: bool = False
) -> AbstractAsyncContextManager[RunningAttempt | HedgedAttempt, bool]:
    """See `_attempt`."""
    step = await call.anext_try()
    if call.hedges or (run is not None and run.inheritable_handlers and has_chain_callbacks(run)):
        return make_async_attempt_context(call, step, run, streams=streams)
    return RunningAttempt(call, step)


def run_call(call: Call, run_manager: Any = None) -> ChatResult:
    """Send the requests of ``call``, with retries and fallbacks, and return the first good answer and receipt.

    Blocks the thread. ``run_manager`` is LangChain's manager of callbacks; None calls no callbacks.

    Raises:
        LLMError: The call has no good answer, nor a rejected one that its feature permits to return.
        TypeError: ``accept`` is asynchronous.
    """
    if (accept := call.question.accept) is not None:
        check_accept_signature(accept, is_sync=True)
    with call.span:
        try:
            while True:
                with _attempt(call, run_manager) as attempt:
                    return attempt.generate()
                del attempt  # what failed stays in no frame of an error
                call.raise_if_ended()
        except CallError as error:
            return make_chat_result(*call.best_rejected_answer(error))
        except BaseException:
            call.dispatch.release_after_interruption()
            raise


async def arun_call(call: Call, run_manager: Any = None) -> ChatResult:
    """Like `run_call`, without blocking the event loop."""
    with call.span:
        try:
            while True:
                async with await _aattempt(call, run_manager) as attempt:
                    return await attempt.agenerate()
                del attempt
                call.raise_if_ended()
        except CallError as error:
            return make_chat_result(*call.best_rejected_answer(error))
        except BaseException:
            call.dispatch.release_after_interruption()
            raise
