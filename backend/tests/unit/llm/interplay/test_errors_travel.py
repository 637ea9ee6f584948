"""An error is the same in another process; no key is in it, in the log, or told to a callback."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    BudgetExceededError,
    CallError,
    ConfigError,
    LLMError,
    MissingCallerError,
    StreamInterruptedError,
    UnknownEndpointError,
    UnknownFeatureError,
)
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.receipt import Attempt
from backend.utils.llm.receipt import TokenUsage as Tokens
from backend.utils.llm.testing import Raw, Status, StreamError

from ..samples import CANARY, Person
from ..test_errors import ERRORS
from .conftest import ENDPOINTS, OPENAI, UNFIT, Diary

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.utils.llm.testing import LoopbackProvider, Reply

    from ..conftest import Make
    from ..drivers import Driver

    Failed = Callable[[Reply], tuple[LLMError, "Diary"]]


ATTEMPT = Attempt(
    endpoint=OPENAI,
    key_owner="house",
    outcome="rejected",
    started=datetime(2026, 11, 21, 12, tzinfo=UTC),
    duration=timedelta(seconds=1.5),
    category=FailureCategory.INVALID_OUTPUT,
    status=200,
    served_model="gpt-6-luna-2026-11-01",
    usage=Tokens(100, 20),
    cost_usd=Decimal("0.000123"),
)


def example(kind: type[LLMError]) -> LLMError:
    """An error of ``kind`` with everything that it can carry."""
    if issubclass(kind, ConfigError):
        return kind(["a.b: wrong", "c: wrong"])
    if issubclass(kind, UnknownFeatureError):
        return kind("conv_action_item", ["conv_action_items"])
    if issubclass(kind, UnknownEndpointError):
        return kind("openai:gpt-6-lunar", "conv_action_items", ["openai:gpt-6-luna"])
    if issubclass(kind, MissingCallerError):
        return kind("conv_action_items")
    error = kind("what happened", feature="f", attempts=[ATTEMPT], retry_after=1.5)
    if isinstance(error, CallError):
        error.answer = AIMessage("canary-answer", response_metadata={"finish_reason": "stop"})
    if isinstance(error, StreamInterruptedError):
        error.partial = "so far"
    error.http_status, error.retryable = 418, True
    return error


COPIES = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301 - our own bytes
    "the oldest pickle": lambda error: pickle.loads(pickle.dumps(error, 0)),  # noqa: S301 - our own bytes
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


class TestErrorsTravel:
    """An error may be sent to another process, with all that it knows."""

    @pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
    def test_a_copy_is_the_same(self, kind: type[LLMError], copied: Callable[[LLMError], LLMError]) -> None:
        error = example(kind)

        made = copied(error)

        assert type(made) is kind
        assert vars(made) == vars(error)
        assert (str(made), made.args, made.as_dict()) == (str(error), error.args, error.as_dict())

    def test_a_real_one_travels_too(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(UNFIT)

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(make(ENDPOINTS[chain]).get_llm("f").bind(response_format=Person), "hi")
        made = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes

        assert vars(made) == vars(caught.value)
        assert made.answer.text == UNFIT.text

    def test_what_is_retryable_is_so_in_langchains_words_too(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(503))

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(make(ENDPOINTS[chain]).get_llm("f"), "hi")

        assert caught.value.retryable
        assert caught.value.is_retryable

    def test_every_error_was_tried(self) -> None:
        assert {AllAttemptsFailedError, StreamInterruptedError, BudgetExceededError} <= set(ERRORS)


def everything_in(payload: Any) -> str:
    """Whatever a log or a tracer could make of it."""
    parts = payload if isinstance(payload, list | tuple) else [payload]
    texts = [repr(payload), str(payload)]
    for part in parts:
        if isinstance(part, BaseException):
            texts += traceback.format_exception(part)
            texts += map(repr, getattr(part, "attempts", ()))
        elif isinstance(part, list | tuple | dict):
            texts.append(everything_in(list(part.values()) if isinstance(part, dict) else list(part)))
    return "".join(texts)


PARROTS: dict[str, Reply] = {
    **{
        str(status): Status(status, message=f"Incorrect API key provided: {CANARY}.")
        for status in (400, 401, 403, 404, 422, 429, 500, 503)
    },
    "a page": Raw(502, f"<html>Bad key {CANARY}</html>", content_type="text/html"),
    "no JSON": Raw(401, f"Bearer {CANARY} is not known"),
    "JSON of its own kind": Raw(500, json.dumps([{"detail": {"Authorization": f"Bearer {CANARY}"}}])),
    "a redirect": Raw(307, "Moved", headers={"Location": f"https://elsewhere.invalid/?key={CANARY}"}),
    "a challenge": Raw(401, "{}", headers={"WWW-Authenticate": f'Bearer error="{CANARY}"'}),
}
PARROTS_BEHIND_200: dict[str, Reply] = {
    "an error": StreamError(0, "", {"message": f"Incorrect API key: {CANARY}", "code": "invalid_api_key"}),
    "a page": Raw(200, f"<html>Bad key {CANARY}</html>", content_type="text/html"),
    "no JSON": Raw(200, f"data: {{{CANARY}\n\n", content_type="text/event-stream"),
}


@pytest.mark.parametrize("owner", ["user", "house"])
class TestSecrets:
    """A key that a provider repeats is nowhere."""

    @pytest.fixture
    def failed(
        self, make: Make, feature: str, call: Driver, provider: LoopbackProvider, owner: str
    ) -> Failed:
        """Calls with the canary as the key, and gives what came of it."""
        house = "house-key" if owner == "user" else CANARY
        patchbay = make(
            ENDPOINTS[feature], environ={"LOOPBACK_OPENAI_KEY": house, "LOOPBACK_GEMINI_KEY": house}
        )
        caller = Caller(keys={"openai": CANARY, "gemini": CANARY}) if owner == "user" else Caller()

        def fail(parrot: Reply) -> tuple[LLMError, Diary]:
            diary = Diary()
            provider.always(parrot)
            with pytest.raises(LLMError) as caught, use_caller(caller):
                call(patchbay.get_llm("f").with_config(callbacks=[diary]), "hi")
            assert provider.requests[0].key == CANARY
            return caught.value, diary

        return fail

    @pytest.mark.parametrize("parrot", PARROTS.values(), ids=PARROTS)
    def test_a_repeated_key_is_in_no_error_no_log_and_no_callback(
        self, failed: Failed, caplog: pytest.LogCaptureFixture, parrot: Reply
    ) -> None:
        caplog.set_level(logging.DEBUG)

        error, diary = failed(parrot)

        assert CANARY not in everything_in([error, *diary.payloads])
        assert CANARY not in json.dumps(error.as_dict())
        assert CANARY not in pickle.dumps(error).decode("latin-1")
        assert CANARY not in caplog.text

    @pytest.mark.parametrize("parrot", PARROTS_BEHIND_200.values(), ids=PARROTS_BEHIND_200)
    def test_one_behind_a_200_is_in_no_error_no_log_and_no_callback(
        self, failed: Failed, caplog: pytest.LogCaptureFixture, parrot: Reply
    ) -> None:
        caplog.set_level(logging.DEBUG)

        error, diary = failed(parrot)

        assert CANARY not in everything_in([error, *diary.payloads])
        assert CANARY not in caplog.text
