"""The error in which a call ends when nothing answered."""

from __future__ import annotations

import pytest

from backend.tests.fakes.simulation import (
    OK,
    Reply,
    World,
    fails,
)
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    ProviderDownError,
    RejectedRequestError,
    StreamInterruptedError,
)
from backend.utils.llm.failures import ClassifiedFailure, FailureCategory

C = FailureCategory
DOWN = fails(C.SERVER, 503)


class TestErrors:
    """How a call ends that was not answered."""

    def test_the_error_of_one_endpoint_counts_its_attempts(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": DOWN}).call()

        assert str(called.error) == "red:m failed on its own side (asked 3 times)."

    def test_one_endpoint_asked_once_does_not_count(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": fails(C.REJECTED, 400)}).call()

        assert str(called.error) == "red:m rejected the request as malformed."

    def test_the_last_of_several_kinds_of_failure_decides(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": [DOWN, DOWN, fails(C.REJECTED, 400)]}).call()

        assert type(called.error) is RejectedRequestError
        assert [attempt.category for attempt in called.attempts] == [C.SERVER, C.SERVER, C.REJECTED]

    def test_the_error_lists_all_endpoints_in_order(self) -> None:
        behaves = {"red:m": fails(C.MODEL_NOT_FOUND, 404), "blue:m": fails(C.TIMEOUT)}

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert isinstance(called.error, AllAttemptsFailedError)
        assert str(called.error) == (
            "Every endpoint of 'f' failed. red:m: does not serve that model (404); "
            "blue:m: did not answer in time; blue:m: did not answer in time."
        )
        assert called.error.feature == "f"

    @pytest.mark.parametrize(("second", "retryable"), [(C.SERVER, True), (C.MODEL_NOT_FOUND, False)])
    def test_all_failed_is_worth_another_call_if_one_failure_was(
        self, second: FailureCategory, *, retryable: bool
    ) -> None:
        behaves = {"red:m": fails(C.MODEL_NOT_FOUND, 404), "blue:m": fails(second)}

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert called.error is not None
        assert called.error.retryable is retryable

    def test_all_failed_says_when_to_come_back_if_a_provider_did(self) -> None:
        behaves = {
            "red:m": fails(C.RATE_LIMIT, 429, hint=60.0),
            "blue:m": fails(C.RATE_LIMIT, 429, hint=20.0),
        }

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert isinstance(called.error, AllAttemptsFailedError)
        assert called.error.retry_after == 20

    def test_the_last_word_of_a_provider_counts(self) -> None:
        behaves = {"red:m": [fails(C.RATE_LIMIT, hint=2.0), fails(C.RATE_LIMIT, hint=60.0)]}

        called = World({"f": "red:m"}, behaves=behaves).call()

        assert called.error is not None
        assert called.error.retry_after == 60

    def test_it_says_why_an_endpoint_was_not_asked(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": DOWN}, jitter=0.0)
        world.health.start_cooldown(world.circuit(place=1), 40, C.RATE_LIMIT)

        called = world.call()

        assert str(called.error) == (
            "red:m failed on its own side (asked 3 times). "
            "blue:m was not asked: it asks for fewer requests; left alone for 40 s more."
        )

    def test_of_an_endpoint_that_could_not_have_helped_it_says_nothing(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fails(C.REJECTED, 400)})
        world.health.start_cooldown(world.circuit(place=1), 40, C.RATE_LIMIT)

        assert str(world.call().error) == "red:m rejected the request as malformed."

    def test_an_error_of_ours_that_says_more_is_raised_as_it_is(self) -> None:
        told = ProviderDownError("The model of this process is not running.")
        world = World({"f": "red:m"}, behaves={"red:m": Reply(ClassifiedFailure(C.CONNECT, error=told))})

        called = world.call()

        assert called.error is told
        assert told.feature == "f"
        assert len(told.attempts) == 3

    def test_after_the_first_chunk_nothing_else_is_tried(self) -> None:
        broken = Reply(ClassifiedFailure(C.INTERRUPTED, 200), partial="so far")
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": broken})

        called = world.call()

        assert called.tried == ["red:m"]
        assert isinstance(called.error, StreamInterruptedError)
        assert called.error.partial == "so far"

    def test_a_stream_that_broke_before_its_first_chunk_is_tried_again(self) -> None:
        behaves = {"red:m": [Reply(ClassifiedFailure(C.INTERRUPTED, 200)), OK]}

        assert World({"f": "red:m"}, behaves=behaves).call().receipt is not None

    @pytest.mark.parametrize("key", [False, True])
    def test_what_broke_a_stream_is_heeded_by_other_calls(self, *, key: bool) -> None:
        # Providers tell of limits in the middle of a stream, too.
        category = C.QUOTA if key else C.RATE_LIMIT
        broken = Reply(ClassifiedFailure(category, retry_after=60.0), partial="so far")
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": broken})

        world.call()

        assert world.call().tried == ["blue:m"]

    def test_a_stream_that_broke_counts_for_the_breaker(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": Reply(ClassifiedFailure(C.INTERRUPTED), partial="x")})

        for _ in range(5):
            world.call()

        assert world.is_open(world.circuit())
