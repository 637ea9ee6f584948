"""Every line of the failure table, served from a real socket: requests = attempts = what the policy says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import LLMError
from backend.utils.llm.failures import POLICY, ROWS, BadAnswer, FailureCategory, FailureRule, classify_failure
from backend.utils.llm.failures.policy import Again, Health, NextEndpoint
from backend.utils.llm.options import Api
from backend.utils.llm.testing import Raw, Status, StreamError, Text
from backend.utils.llm.transport import ObservedExchange

from .drivers import STREAMS
from .samples import receipt

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider, Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .drivers import Driver


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
APIS: tuple[Api, ...] = get_args(Api)


def served(row: FailureRule) -> Reply | None:
    """The row's example as a reply; None for what is no complete answer."""
    if row.example.fault:
        return None
    kind = "text/html" if row.example.body.startswith("<") else "application/json"
    return Raw(row.example.status, row.example.body, kind)


def name(row: FailureRule) -> str:
    return f"{ROWS.index(row)}-{row.category}-{row.code or row.says or row.raised or row.example.status}"[:40]


SERVED = [
    pytest.param(row, api, id=f"{api}-{name(row)}")
    for row in ROWS
    for api in ([row.api] if row.api else APIS)
    if served(row) is not None
]


@pytest.mark.usefixtures("patchbay")
@pytest.mark.parametrize(("row", "api"), SERVED)
def test_requests_are_attempts_are_what_the_policy_says(
    row: FailureRule, api: Api, call: Driver, provider: LoopbackProvider
) -> None:
    reply = served(row)
    assert reply is not None
    provider.always(reply)

    with pytest.raises(LLMError) as caught:
        call(get_llm(f"over_{api}"), "hi")

    categories = {attempt.category for attempt in caught.value.attempts}
    if row.category is FailureCategory.UNREADABLE and call in STREAMS:
        # An SDK finds no event at all in what is no stream.
        assert categories <= {FailureCategory.UNREADABLE, FailureCategory.INTERRUPTED}
    else:
        assert categories == {row.category}
    assert len(provider.requests) == len(caught.value.attempts) == POLICY[row.category].tries
    assert isinstance(caught.value, POLICY[row.category].error)


EVENTS = [row for row in ROWS if row.example.fault == "event"]


@pytest.mark.usefixtures("patchbay")
@pytest.mark.parametrize("row", EVENTS, ids=name)
def test_an_error_in_the_middle_of_a_stream_has_the_same_category(
    row: FailureRule, stream: Driver, provider: LoopbackProvider
) -> None:
    error = json.loads(row.example.body)["error"]
    provider.always(StreamError(after_chunks=0, text="", error=error))

    with pytest.raises(LLMError) as caught:
        stream(get_llm(f"over_{row.api}"), "hi")

    assert {attempt.category for attempt in caught.value.attempts} == {row.category}
    assert len(provider.requests) == len(caught.value.attempts) == POLICY[row.category].tries


@pytest.mark.parametrize("row", [row for row in ROWS if served(row) or row in EVENTS], ids=name)
def test_each_line_is_reached_by_its_own_example(row: FailureRule) -> None:
    body = row.example.body.encode()
    is_error = row.example.status >= 300
    wire = ObservedExchange(status=row.example.status, error_body=body if is_error else b"", sent_at=0.0)
    exception = ValueError() if is_error or not row.example.fault else _event(body)

    found = classify_failure(exception, wire, row.api or "openai", now=NOW)

    assert found.category is row.category


@pytest.mark.parametrize("row", [row for row in EVENTS if row.api == "openai"], ids=name)
def test_what_openai_calls_a_fault_in_a_stream_says_nothing_on_another_api(row: FailureRule) -> None:
    seen = ObservedExchange(status=200, sent_at=0.0)

    found = classify_failure(_event(row.example.body.encode()), seen, "gemini", now=NOW)

    assert found.category is FailureCategory.UNREADABLE


@pytest.mark.parametrize("exception", [TimeoutError(), ConnectionResetError(), OSError()], ids=repr)
def test_what_is_raised_before_anything_was_sent_is_held_against_no_provider(exception: Exception) -> None:
    assert classify_failure(exception, ObservedExchange(), "openai", now=NOW).category is FailureCategory.BUG


def _event(body: bytes) -> Exception:
    error = Exception()
    error.body = json.loads(body)["error"]  # type: ignore[attr-defined]
    return error


@given(
    exception=st.sampled_from(
        [ValueError("x"), TimeoutError(), OSError(), KeyError("x"), BadAnswer(FailureCategory.EMPTY)]
    ),
    status=st.none() | st.integers(100, 999),
    body=st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "code", "type", "message", "details", "violations", "reason", "innererror"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry"]), st.text(max_size=12)
    ),
    api=st.sampled_from(APIS),
    sent=st.booleans(),
)
def test_whatever_comes_has_a_category(
    exception: Exception,
    status: int | None,
    body: bytes,
    headers: dict[str, str],
    api: Api,
    sent: bool,  # noqa: FBT001 - drawn
) -> None:
    wire = ObservedExchange(status=status, error_body=body, headers=headers, sent_at=0.0 if sent else None)

    failure = classify_failure(exception, wire, api, now=NOW)

    assert failure.category in POLICY
    assert failure.retry_after is None or failure.retry_after > 0


@pytest.mark.parametrize("category", FailureCategory)
def test_every_category_has_a_whole_policy(category: FailureCategory) -> None:
    policy = POLICY[category]

    assert policy.again in get_args(Again)
    assert policy.next_endpoint in get_args(NextEndpoint)
    assert policy.health in get_args(Health)
    assert (policy.tries > 1) == (policy.again != "no")
    assert (policy.cool_seconds > 0) == policy.health.startswith("cool")


HINTS = [
    ({"retry-after": "7"}, b"", 7.0),
    ({"retry-after": "1.5"}, b"", 1.5),
    ({"retry-after-ms": "250"}, b"", 0.25),
    ({"retry-after-ms": "250", "retry-after": "9"}, b"", 0.25),
    ({"retry-after": format_datetime(NOW + timedelta(seconds=40), usegmt=True)}, b"", 40.0),
    ({"retry-after": format_datetime(NOW - timedelta(seconds=40), usegmt=True)}, b"", None),
    ({}, b'{"error": {"code": 429, "details": [{"retryDelay": "28s"}]}}', 28.0),
    ({}, b'{"error": {"code": 429, "details": [{"retryDelay": "0.5s"}]}}', 0.5),
    ({}, b'[{"error": {"code": 429, "details": [{"retryDelay": "3s"}]}}]', 3.0),
    ({"retry-after": "soon"}, b"", None),
    ({"retry-after": "-3"}, b"", None),
    ({"retry-after": "nan"}, b"", None),
    ({"retry-after": "inf"}, b"", None),
    ({}, b"", None),
]


@pytest.mark.parametrize(("headers", "body", "seconds"), HINTS)
def test_hints_are_read_in_every_form(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    wire = ObservedExchange(status=429, error_body=body, headers=headers, sent_at=0.0)

    assert classify_failure(ValueError(), wire, "gemini", now=NOW).retry_after == seconds


@pytest.mark.usefixtures("patchbay")
class TestHints:
    """What a provider says about when to come back is heard."""

    @pytest.mark.parametrize("seconds", [2, 14.5])
    def test_a_hint_that_fits_is_waited_for_exactly(
        self, feature: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime, seconds: float
    ) -> None:
        provider.script(Status(429, retry_after=seconds), Text("later"))

        assert call(get_llm(feature), "hi").text == "later"

        assert virtual.slept == [pytest.approx(seconds)]

    def test_a_limit_that_is_used_up_is_waited_for(
        self, feature: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime
    ) -> None:
        told = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "4.5s"}
        provider.script(Status(429, headers=told), Text("later"))

        assert call(get_llm(feature), "hi").text == "later"

        assert virtual.slept == [pytest.approx(4.5)]

    def test_a_hint_that_is_a_date_is_waited_for(
        self, feature: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime
    ) -> None:
        soon = format_datetime(virtual.now() + timedelta(seconds=5), usegmt=True)
        provider.script(Status(503, retry_after=soon), Text("later"))

        assert call(get_llm(feature), "hi").text == "later"

        assert virtual.slept == [pytest.approx(5)]

    def test_one_that_is_too_long_is_not(
        self, chain: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime
    ) -> None:
        provider.script(Status(429, retry_after=60), Text("from the second"), Text("again"))

        message = call(get_llm(chain), "hi")
        call(get_llm(chain), "hi")

        assert virtual.slept == []
        assert receipt(message)["degraded"] is True
        first, *others = [request.model for request in provider.requests]
        assert first not in others

    def test_when_it_is_over_the_endpoint_is_asked_again(
        self, chain: str, provider: LoopbackProvider, virtual: VirtualTime
    ) -> None:
        provider.script(Status(429, retry_after=60))
        get_llm(chain).invoke("hi")

        virtual.sleep(61)
        message = get_llm(chain).invoke("hi")

        assert receipt(message)["degraded"] is False

    def test_an_error_carries_how_long_to_wait(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(429, retry_after=60))

        with pytest.raises(LLMError) as caught:
            call(get_llm(feature), "hi")

        assert caught.value.retry_after == pytest.approx(60)
        assert len(provider.requests) == 1

    def test_a_provider_that_says_do_not_retry_is_not_asked_again(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(503, headers={"x-should-retry": "false"}))

        with pytest.raises(LLMError):
            call(get_llm(feature), "hi")

        assert len(provider.requests) == 1

    def test_a_provider_that_says_retry_does_not_override_our_policy(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(400, headers={"x-should-retry": "true"}))

        with pytest.raises(LLMError):
            call(get_llm(feature), "hi")

        assert len(provider.requests) == 1


KEYS = {"openai": "user-openai", "gemini": "user-gemini"}
PROVIDER_OF = {key: provider for provider, key in KEYS.items()} | {
    "house-key-of-openai": "openai",
    "house-key-of-gemini": "gemini",
}


class TestKeys:
    """On no edge does a key reach a provider that it is not for."""

    @pytest.mark.parametrize("policy", ["house_only", "byok_only", "byok_then_house"])
    @pytest.mark.parametrize("category", sorted({row.category for row in ROWS if served(row)}))
    def test_whatever_the_failure(
        self,
        patchbay: Patchbay,
        provider: LoopbackProvider,
        chain: str,
        policy: Any,
        category: FailureCategory,
    ) -> None:
        for row in ROWS:
            reply = served(row)
            if row.category is not category or reply is None:
                continue
            provider.always(reply, model="gpt-6-luna")
            provider.always(reply, model="gemini-3.5-flash-lite")
            with (
                use_caller(Caller(user_id="u", keys=KEYS, key_policy=policy)),
                pytest.raises(LLMError),
            ):
                patchbay.get_llm(chain).invoke("hi")

        assert {(request.wire, PROVIDER_OF[request.key or ""]) for request in provider.requests} <= {
            ("openai", "openai"),
            ("gemini", "gemini"),
        }
        if policy == "byok_only":
            assert {request.key for request in provider.requests} <= set(KEYS.values())
        if policy == "house_only":
            assert not {request.key for request in provider.requests} & set(KEYS.values())
