"""What follows each kind of failure: how often an endpoint is asked again, and which others may be."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import pytest

from backend.tests.fakes.simulation import (
    KEYS,
    OK,
    World,
    fails,
    table,
    users_own,
)
from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.errors import (
    CallError,
    CallTimeoutError,
    ContextTooLongError,
    InvalidOutputError,
    LLMError,
    ModelUnavailableError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    RejectedCredentialError,
    RejectedRequestError,
)
from backend.utils.llm.execution.attempt import RunningAttempt
from backend.utils.llm.execution.call import Call, CallInput
from backend.utils.llm.execution.runtime import Runtime
from backend.utils.llm.execution.steps import Try
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.model_config import Table
from backend.utils.llm.options import Options
from backend.utils.llm.providers import CallSettings
from backend.utils.llm.secrets import compute_fingerprint
from backend.utils.llm.state.health import UnavailableReason

if TYPE_CHECKING:
    from backend.utils.llm.types import KeyPolicy

C = FailureCategory
HOUSE_MAY = "[features.f]\nhouse_fallback = true"
DOWN = fails(C.SERVER, 503)


class Consequence(NamedTuple):
    """What a category leads to.

    Attributes:
        requests: To the only endpoint.
        error: If there is no other.
        other: Whether another provider may be asked.
        sibling: Whether another model of the same provider may be, with the same key.
        rests: What is left alone afterwards, for so many seconds.
    """

    requests: int
    error: type[LLMError]
    other: bool = True
    sibling: bool = True
    rests: tuple[str, float] | None = None


CONSEQUENCES: dict[FailureCategory, Consequence] = {
    C.CONNECT: Consequence(3, ProviderDownError),
    C.TIMEOUT: Consequence(2, CallTimeoutError),
    C.SERVER: Consequence(3, ProviderDownError),
    C.EMPTY: Consequence(3, ProviderDownError),
    C.UNREADABLE: Consequence(3, ProviderDownError),
    C.UNKNOWN_REASON: Consequence(1, InvalidOutputError),
    C.INTERRUPTED: Consequence(3, ProviderDownError),
    C.RATE_LIMIT: Consequence(3, RateLimitedError, rests=("endpoint", 30)),
    C.QUOTA: Consequence(1, QuotaExceededError, sibling=False, rests=("key", 600)),
    C.MODEL_QUOTA: Consequence(1, QuotaExceededError, rests=("endpoint", 600)),
    C.CREDENTIAL: Consequence(1, RejectedCredentialError, sibling=False, rests=("key", 300)),
    C.MODEL_NOT_FOUND: Consequence(1, ModelUnavailableError, rests=("endpoint", 600)),
    C.UNEXPLAINED: Consequence(1, RejectedRequestError),
    C.UNSUPPORTED: Consequence(1, RejectedRequestError),
    C.UNWORDED: Consequence(1, RejectedRequestError),
    C.CONTEXT: Consequence(1, ContextTooLongError, other=False, sibling=False),
    C.REFUSAL: Consequence(1, RefusedError, other=False, sibling=False),
    C.TRUNCATED: Consequence(2, InvalidOutputError),
    C.INVALID_OUTPUT: Consequence(2, InvalidOutputError),
    C.REJECTED: Consequence(1, RejectedRequestError, other=False, sibling=False),
    C.CANCELLED: Consequence(1, CallError, other=False, sibling=False),
    C.BUG: Consequence(1, CallError, other=False, sibling=False),
}


@pytest.mark.parametrize("category", FailureCategory)
class TestConsequences:
    """What follows from each kind of failure."""

    def test_one_endpoint_is_asked_as_often_as_its_kind_is_worth(self, category: FailureCategory) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})

        called = world.call()

        assert type(called.error) is CONSEQUENCES[category].error
        assert len(world.requests) == len(called.attempts) == CONSEQUENCES[category].requests
        assert {attempt.category for attempt in called.attempts} == {category}

    def test_another_provider_is_asked_or_not(self, category: FailureCategory) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fails(category)})

        expected = ["red:m"] * CONSEQUENCES[category].requests
        assert world.call().tried == expected + ["blue:m"] * CONSEQUENCES[category].other

    def test_another_model_of_the_same_provider_is_asked_or_not(self, category: FailureCategory) -> None:
        world = World({"f": ["red:m", "red:n"]}, behaves={"red:m": fails(category)})

        expected = ["red:m"] * CONSEQUENCES[category].requests
        assert world.call().tried == expected + ["red:n"] * CONSEQUENCES[category].sibling

    def test_afterwards_the_endpoint_or_its_key_is_left_alone_or_not(self, category: FailureCategory) -> None:
        world = World({"f": ["red:m", "red:n"]}, behaves={"red:m": fails(category)})
        world.call(caller=HOUSE)

        rests = [
            world.health.find_unavailable_reason(world.circuit()),
            world.health.find_unavailable_reason(world.circuit()._replace(endpoint="red")),
        ]

        expected = CONSEQUENCES[category].rests
        assert rests == [
            UnavailableReason(expected[1], category, "cooling", is_guess=kind == "endpoint")
            if expected and expected[0] == kind
            else None
            for kind in ("endpoint", "key")
        ]

    def test_every_further_request_repairs_or_repeats(self, category: FailureCategory) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})

        repairs = [step.repair for step in world.call().steps]

        is_repair = category in {C.TRUNCATED, C.INVALID_OUTPUT}
        assert repairs == [False] + [is_repair] * (len(repairs) - 1)


class TestNextEndpoint:
    """Where a call may go after a failure, and where not."""

    def test_after_an_overflow_only_a_larger_window_is_asked(self) -> None:
        behaves = {"red:small": fails(C.CONTEXT, 400), "blue:large": fails(C.CONTEXT, 400)}
        world = World({"f": ["red:small", "blue:small", "blue:large", "green:m"]}, behaves=behaves)

        assert world.call().tried == ["red:small", "blue:large", "green:m"]

    @pytest.mark.parametrize(
        ("options", "tried"),
        [("{}", ["red:small", "green:m"]), ("{ max_output_tokens = 2000 }", ["red:small"])],
    )
    def test_a_window_is_what_is_left_of_it_beside_the_reserved_answer(
        self, options: str, tried: list[str]
    ) -> None:
        more = f'[models."green:m"]\ncontext_window = 8100\nmax_output = 2000\noptions = {options}'
        world = World({"f": ["red:small", "green:m"]}, more, behaves={"red:small": fails(C.CONTEXT, 400)})

        assert world.call().tried == tried

    def test_a_refusal_moves_on_once_if_the_feature_allows(self) -> None:
        chain = ["red:m", "blue:m", "green:m"]
        world = World(
            {"f": chain},
            '[features.f]\non_refusal = "next"',
            behaves={"red:m": fails(C.REFUSAL), "blue:m": fails(C.REFUSAL)},
        )

        called = world.call()

        assert called.tried == ["red:m", "blue:m"]
        assert isinstance(called.error, RefusedError)
        assert len(called.attempts) == 2

    def test_an_outage_in_between_gives_no_second_chance_after_a_refusal(self) -> None:
        chain = ["red:m", "blue:m", "green:m", "red:n"]
        world = World(
            {"f": chain},
            '[features.f]\non_refusal = "next"\nattempts = 1',
            behaves={"red:m": fails(C.REFUSAL), "blue:m": DOWN, "green:m": fails(C.REFUSAL)},
        )

        assert world.call().tried == ["red:m", "blue:m", "green:m"]

    @pytest.mark.parametrize("category", [C.INVALID_OUTPUT, C.TRUNCATED])
    def test_an_unfit_answer_moves_on_unless_the_feature_forbids(self, category: FailureCategory) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            '[features.f]\non_invalid_output = "raise"',
            behaves={"red:m": fails(category)},
        )

        called = world.call()

        assert called.tried == ["red:m", "red:m"]
        assert isinstance(called.error, InvalidOutputError)

    def test_the_repair_starts_anew_on_the_next_endpoint(self) -> None:
        behaves = dict.fromkeys(["red:m", "blue:m"], fails(C.INVALID_OUTPUT))
        world = World({"f": ["red:m", "blue:m"]}, behaves=behaves)

        assert [step.repair for step in world.call().steps] == [False, True, False, True]

    def test_an_answer_is_repaired_once_whatever_is_wrong_with_it(self) -> None:
        behaves = {"red:m": [fails(C.TRUNCATED), fails(C.INVALID_OUTPUT), OK]}

        assert World({"f": ["red:m", "blue:m"]}, behaves=behaves).call().tried == ["red:m"] * 2 + ["blue:m"]

    def test_a_repair_that_the_provider_failed_is_sent_again_as_a_repair(self) -> None:
        behaves = {"red:m": [fails(C.INVALID_OUTPUT), DOWN, OK]}

        steps = World({"f": "red:m"}, behaves=behaves).call().steps

        assert [step.repair for step in steps] == [False, True, True]

    def test_a_used_up_quota_moves_to_another_key_of_the_same_provider(self) -> None:
        # The user's quota is used up; they chose that the house may pay instead.
        world = World({"f": "red:m"}, HOUSE_MAY, behaves={"red:m": [fails(C.QUOTA, 429), OK]})

        called = world.call(caller=users_own("red", policy="byok_then_house"))

        assert [step.candidate.owner for step in called.steps] == ["user", "house"]

    def test_after_a_used_up_quota_no_model_of_that_key_is_tried(self) -> None:
        chain = ["red:m", "red:n", "blue:m", "red:o"]
        world = World({"f": chain}, behaves={"red:m": fails(C.QUOTA, 429), "blue:m": DOWN})

        assert set(world.call().tried) == {"red:m", "blue:m"}

    def test_after_a_refused_key_of_the_house_no_model_of_that_key_is_tried(self) -> None:
        chain = ["red:m", "red:n", "blue:m", "red:o"]
        world = World({"f": chain}, behaves={"red:m": fails(C.CREDENTIAL, 401), "blue:m": DOWN})

        assert set(world.call().tried) == {"red:m", "blue:m"}

    @pytest.mark.parametrize("policy", ["byok_only", "byok_then_house"])
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_users_refused_key_ends_the_call(self, policy: KeyPolicy, status: int) -> None:
        chain = ["red:m", "red:n", "blue:m"]
        world = World({"f": chain}, HOUSE_MAY, behaves={"red:m": fails(C.CREDENTIAL, status)})

        called = world.call(caller=users_own("red", "blue", policy=policy))

        assert called.tried == ["red:m"]
        assert isinstance(called.error, RejectedCredentialError)
        assert called.error.http_status == 403
        assert "that you brought for red" in str(called.error)

    def test_a_users_refused_key_is_reported_even_if_another_endpoint_failed_before(self) -> None:
        world = World(
            {"f": ["red:m", "blue:m", "green:m"]},
            behaves={"red:m": DOWN, "blue:m": fails(C.CREDENTIAL, 401)},
        )

        called = world.call(caller=users_own("red", "blue", "green"))

        assert called.tried == ["red:m"] * 3 + ["blue:m"]
        assert isinstance(called.error, RejectedCredentialError)

    def test_not_every_endpoint_failed_if_one_was_not_asked(self) -> None:
        world = World(
            {"f": ["red:m", "blue:m", "green:m"]}, behaves={"red:m": DOWN, "blue:m": fails(C.REJECTED, 400)}
        )

        called = world.call()

        assert called.tried == ["red:m"] * 3 + ["blue:m"]
        assert "Every endpoint" not in str(called.error)

    def test_a_key_that_is_the_users_and_the_houses_is_not_asked_twice_as_often(self) -> None:
        caller = Caller(keys={"red": "shared"}, key_policy="byok_then_house")
        world = World({"f": "red:m"}, HOUSE_MAY, environ={"RED_KEY": "shared"}, behaves={"red:m": DOWN})

        assert len(world.call(caller=caller).tried) == 3
        assert [step.candidate.owner for step in world.calls[0].steps] == ["user"] * 3

    def test_a_key_that_another_call_found_used_up_meanwhile_is_not_asked_with(self) -> None:
        world = World({"f": ["red:m", "red:n", "blue:m"]})
        dispatch = world.dispatch()
        world.health.start_cooldown(world.circuit()._replace(endpoint="red"), 60, C.QUOTA)

        step = dispatch.next_step()

        assert isinstance(step, Try)
        assert str(step.candidate.endpoint) == "blue:m"
        assert [str(candidate.endpoint) for candidate in world.plan("f").candidates] == ["blue:m"]

    def test_only_answers_earn_retries(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": [DOWN, OK] * 8})
        for _ in range(8):
            world.call()

        granted = sum(world.health.try_spend_retry("red for the house") for _ in range(20))
        assert granted == 4, "ten were in reserve, eight were used, and eight answers earned two"


@pytest.mark.parametrize("policy", ["house_only", "byok_only", "byok_then_house"])
@pytest.mark.parametrize("edge", list(permutations(["red:m", "blue:m", "green:m"], 2)), ids=" to ".join)
def test_on_no_edge_does_a_key_reach_a_provider_that_it_is_not_for(
    edge: tuple[str, str], policy: KeyPolicy
) -> None:
    caller = users_own("red", "blue", "green", policy=policy)
    for category in FailureCategory:
        world = World({"f": list(edge)}, HOUSE_MAY, behaves={edge[0]: fails(category)})
        runtime = Runtime(Table(text=table({"f": list(edge)}, HOUSE_MAY), environ=KEYS), health=world.health)
        called = world.call(caller=caller)
        call = Call(
            runtime, runtime.table.snapshot, called.route, CallInput([], [], None, CallSettings(Options()))
        )

        for step in called.steps:
            provider, owner = step.candidate.endpoint.provider.name, step.candidate.owner
            secret = RunningAttempt(call, step)._credential().secret
            assert secret is not None
            assert secret.get_secret_value() == f"{'ann' if owner == 'user' else 'house'}-{provider}"
            assert compute_fingerprint(secret) == step.candidate.key
            assert owner in {"house_only": "house", "byok_only": "user"}.get(policy, "user house")
