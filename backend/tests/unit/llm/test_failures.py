"""Attempts recorded are requests sent, and each failure has its consequence."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallError,
    CallTimeoutError,
    ContextTooLongError,
    LLMError,
    ModelUnavailableError,
    NoEndpointError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    RejectedCredentialError,
    RejectedRequestError,
    StreamInterruptedError,
    UnknownFeatureError,
)
from backend.utils.llm.testing import (
    Empty,
    Hang,
    Html,
    LoopbackProvider,
    Refusal,
    Reply,
    Status,
    Text,
    Trickle,
    WrongJson,
)
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from .samples import CANARY, add, receipt

if TYPE_CHECKING:
    from .drivers import Driver


GIVEN_UP = 20.0
"""Seconds. Who asks does not give up by itself: so little as this is the deadline's doing, also on a busy machine."""
CANARY_PROMPT = "canary-prompt-77"


FAULTS: list[tuple[Reply, type[LLMError], int, bool]] = [
    (Status(400), RejectedRequestError, 1, False),
    (Status(401), RejectedCredentialError, 1, True),
    (Status(402), QuotaExceededError, 1, True),
    (Status(403), RejectedCredentialError, 1, True),
    (Status(404), ModelUnavailableError, 1, True),
    (Status(408), CallTimeoutError, 2, True),
    (Status(409), ProviderDownError, 3, True),
    (Status(422), RejectedRequestError, 1, False),
    (Status(425), ProviderDownError, 3, True),
    (Status(429), RateLimitedError, 3, True),
    (Status(500), ProviderDownError, 3, True),
    (Status(503), ProviderDownError, 3, True),
    (Status(529), ProviderDownError, 3, True),
    (WrongJson(), ProviderDownError, 3, True),
    (Html(), ProviderDownError, 3, True),
    (Empty(), ProviderDownError, 3, True),
    (Refusal("I will not.", by="filter"), RefusedError, 1, False),
    (Refusal("I will not.", by="model"), RefusedError, 1, False),
]


FAULT_IDS = [f"{fault[0]}"[:60] for fault in FAULTS]


FEATURE_ENDPOINT = {"over_openai": "openai:gpt-6-luna", "over_gemini": "gemini:gemini-3.5-flash-lite"}


@pytest.mark.usefixtures("patchbay")
class TestFailures:
    """Attempts recorded are requests sent, and the error says what happened."""

    @pytest.mark.parametrize(("fault", "error", "tries"), [row[:3] for row in FAULTS], ids=FAULT_IDS)
    def test_one_endpoint_raises_the_specific_error_after_as_many_requests_as_its_kind_is_worth(
        self,
        feature: str,
        call: Driver,
        provider: LoopbackProvider,
        fault: Reply,
        error: type[LLMError],
        tries: int,
    ) -> None:
        provider.always(fault)

        with pytest.raises(LLMError) as caught:
            call(get_llm(feature), CANARY_PROMPT)

        assert type(caught.value) is error, caught.value
        assert len(provider.requests) == len(caught.value.attempts) == tries
        assert caught.value.feature == feature
        assert CANARY_PROMPT not in str(caught.value)

    @pytest.mark.parametrize("row", FAULTS, ids=FAULT_IDS)
    def test_a_chain_moves_on_or_stops_as_the_category_says(
        self,
        chain: str,
        call: Driver,
        provider: LoopbackProvider,
        row: tuple[Reply, type[LLMError], int, bool],
    ) -> None:
        fault, error, tries, moves_on = row
        provider.script(*[fault] * tries, Text("from the second"))

        if moves_on:
            message = call(get_llm(chain), "hi")
            assert message.text == "from the second"
            assert receipt(message)["degraded"] is True
            outcomes = [attempt["outcome"] for attempt in receipt(message)["attempts"]]
            assert outcomes == ["failed"] * tries + ["ok"]
            assert len(provider.requests) == tries + 1
        else:
            with pytest.raises(error):
                call(get_llm(chain), "hi")
            assert len(provider.requests) == 1

    def test_a_used_up_quota_is_not_a_rate_limit(self, call: Driver, provider: LoopbackProvider) -> None:
        provider.always(Status(429, error_code="insufficient_quota"))

        with pytest.raises(QuotaExceededError):
            call(get_llm("over_openai"), "hi")

    def test_a_refusal_in_the_models_own_words_is_a_refusal(
        self, chain: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Refusal("I will not."))

        with pytest.raises(RefusedError):
            get_llm(chain).invoke("hi")

        assert len(provider.requests) == 1

    def test_when_all_fail_the_error_lists_every_attempt(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(*[Status(503)] * 3, *[Status(500)] * 3)

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(get_llm(chain), "hi")

        assert [attempt.status for attempt in caught.value.attempts] == [503] * 3 + [500] * 3
        assert caught.value.retryable

    def test_a_dead_server_is_a_provider_that_is_down(self, feature: str, call: Driver) -> None:
        with LoopbackProvider() as gone:
            patchbay = loopback_patchbay(gone, {feature: FEATURE_ENDPOINT[feature]}, time=VirtualTime().time)

        with pytest.raises(ProviderDownError) as caught:
            call(patchbay.get_llm(feature), "hi")

        assert caught.value.attempts[0].category == "connect"
        patchbay.close()

    def test_a_users_401_never_moves_to_another_key(
        self, call: Driver, chain: str, provider: LoopbackProvider
    ) -> None:
        keys = {"openai": CANARY, "gemini": CANARY}

        for policy in ("byok_only", "byok_then_house"):
            provider.clear()
            provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))
            with (
                pytest.raises(RejectedCredentialError) as caught,
                use_caller(Caller(keys=keys, key_policy=policy)),
            ):
                call(get_llm(chain), "hi")

            assert "that you brought" in str(caught.value)
            assert CANARY not in f"{caught.value} {caught.value.as_dict()}"
            assert [request.key for request in provider.requests] == [CANARY]

    def test_byok_then_house_records_who_paid(self, call: Driver, provider: LoopbackProvider) -> None:
        provider.script(Status(404))
        caller = Caller(keys={"gemini": CANARY}, key_policy="byok_then_house")

        with use_caller(caller):
            message = call(get_llm("over_gemini"), "hi")

        assert [attempt["key_owner"] for attempt in receipt(message)["attempts"]] == ["user", "house"]
        assert [request.key for request in provider.requests] == [CANARY, HOUSE_KEYS["LOOPBACK_GEMINI_KEY"]]

    def test_a_model_that_cannot_call_tools_is_refused_with_the_reason(
        self, provider: LoopbackProvider
    ) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:smollm2-135m-instruct"})

        with pytest.raises(NoEndpointError, match="cannot call tools"):
            patchbay.get_llm("f").bind_tools([add]).invoke("hi")

        assert provider.requests == ()
        patchbay.close()

    def test_a_prompt_beyond_every_window_is_not_sent(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:smollm2-135m-instruct"})

        with pytest.raises(NoEndpointError, match="window of 4096"):
            patchbay.get_llm("f").invoke("word " * 10_000)

        assert provider.requests == ()
        patchbay.close()

    def test_an_overflow_moves_only_to_a_larger_window(self, provider: LoopbackProvider) -> None:
        overflow = Status(400, error_code="context_length_exceeded")
        chain = ["openai:gpt-4o", "openai:smollm2-135m-instruct", "openai:gpt-6-luna"]
        patchbay = loopback_patchbay(provider, {"f": chain})
        provider.script(overflow)

        message = patchbay.get_llm("f").invoke("hi")

        assert [request.model for request in provider.requests] == ["gpt-4o", "gpt-6-luna"]
        assert receipt(message)["endpoint"] == "openai:gpt-6-luna"
        patchbay.close()

    def test_an_overflow_of_the_largest_window_is_an_error(self, provider: LoopbackProvider) -> None:
        provider.script(Status(400, error_code="context_length_exceeded"))

        with pytest.raises(ContextTooLongError):
            get_llm("over_openai").invoke("hi")

    def test_an_unknown_feature_is_refused_where_it_is_named(self) -> None:
        with pytest.raises(UnknownFeatureError, match="over_openai"):
            get_llm("over_opnai")


@pytest.mark.usefixtures("patchbay")
class TestDeadline:
    """One deadline for the whole chain."""

    def test_a_call_does_not_outlive_its_deadline(self, call: Driver, provider: LoopbackProvider) -> None:
        chain = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
        patchbay = loopback_patchbay(provider, {"f": chain}, "[features.f]\ndeadline = 0.3")
        provider.always(Hang())
        started = time.monotonic()

        with pytest.raises((CallTimeoutError, AllAttemptsFailedError)):
            call(patchbay.get_llm("f"), "hi")

        assert time.monotonic() - started < GIVEN_UP
        patchbay.close()

    def test_a_body_that_trickles_is_cut(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        endpoint = FEATURE_ENDPOINT[feature]
        patchbay = loopback_patchbay(provider, {"f": endpoint}, "[features.f]\ndeadline = 0.4")
        provider.always(Trickle(Text("word " * 200, chunks=200), gap_seconds=0.3))

        with pytest.raises((CallTimeoutError, StreamInterruptedError)) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert caught.value.attempts[0].category == "timeout"
        assert caught.value.attempts[0].duration < timedelta(seconds=20)
        patchbay.close()

    def test_an_attempt_that_runs_out_of_its_own_time_leaves_time_for_the_next(
        self, call: Driver, provider: LoopbackProvider
    ) -> None:
        chain = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
        row = f"[models.'{chain[0]}']\noptions = {{ timeout = 0.3 }}\n[features.f]\nattempts = 1"
        patchbay = loopback_patchbay(provider, {"f": chain}, row)
        provider.always(Hang(), model="gpt-6-luna")
        provider.always(Text("from the second"), model="gemini-3.5-flash-lite")

        message = call(patchbay.get_llm("f"), "hi")

        assert message.text == "from the second"
        assert [attempt["category"] for attempt in receipt(message)["attempts"]] == ["timeout", None]
        patchbay.close()


def test_every_call_error_is_reachable() -> None:
    assert {error for _, error, *_ in FAULTS} <= set(CallError.__subclasses__()) | {RejectedCredentialError}
