"""What `get_qos_info` says of the endpoints and keys that rest, and of what features run on meanwhile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm import Caller, Patchbay, Table
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.health import Circuit
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from backend.utils.llm.diagnostics.health import HealthInfo
    from backend.utils.llm.diagnostics.qos import FeatureInfo

TABLE = """
[providers.red]
api = "openai"
base_url = "https://red.test/v1"

[providers.red.accounts]
eu = { api_key_env = "RED_EU" }
us = { api_key_env = "RED_US" }

[providers.blue]
api = "openai"
base_url = "https://blue.test/v1"
api_key_env = "BLUE"

[profiles.premium]
chat = ["blue:m", "red:m"]
alone = "blue:m"

[profiles.byok]
extends = "premium"
"""
ENVIRON = {"RED_EU": "house-key-of-eu", "RED_US": "house-key-of-us", "BLUE": "house-key-of-blue"}


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def patchbay(time: VirtualTime) -> Patchbay:
    return Patchbay(Table(text=TABLE, environ=ENVIRON), time=time.time)


def circuit(patchbay: Patchbay, feature: str = "chat", place: int = 0, **caller: Any) -> Circuit:
    return (
        patchbay.explain(feature, caller=Caller(**caller) if caller else None)
        .candidates[place]
        .endpoint_circuit
    )


def open_up(patchbay: Patchbay, circuit: Circuit) -> None:
    for _ in range(5):
        patchbay.health.record_failure(circuit, FailureCategory.SERVER)


def health(patchbay: Patchbay) -> tuple[HealthInfo, ...]:
    return patchbay.get_qos_info().health


def feature(patchbay: Patchbay, name: str = "chat") -> FeatureInfo:
    return patchbay.get_qos_info().features[name]


def test_it_is_empty_while_all_is_well(patchbay: Patchbay) -> None:
    assert health(patchbay) == ()
    assert (feature(patchbay).degraded, feature(patchbay).problem) == (False, None)


def test_an_open_breaker_says_whose_key_why_since_when_and_until_when(
    patchbay: Patchbay, time: VirtualTime
) -> None:
    open_up(patchbay, circuit(patchbay))
    time.sleep(10)
    (info,) = health(patchbay)

    assert info.model_dump(exclude={"since", "until"}) == {
        "endpoint": "blue:m",
        "key_owner": "house",
        "account": None,
        "state": "open",
        "category": "server",
        "reason": "failed on its own side",
        "failures": 5,
        "keys": 1,
    }
    assert (info.since, info.until) == (
        time.now() - timedelta(seconds=10),
        time.now() + timedelta(seconds=20),
    )


def test_an_account_is_named(patchbay: Patchbay) -> None:
    patchbay.health.start_cooldown(circuit(patchbay, place=2), 60.0, FailureCategory.RATE_LIMIT)
    (info,) = health(patchbay)

    assert (info.endpoint, info.account, info.state) == ("red:m", "us", "cooling")


def test_a_key_is_named_by_its_provider(patchbay: Patchbay) -> None:
    key = patchbay.explain("chat").candidates[0].credential_circuit
    patchbay.health.start_cooldown(key, 300.0, FailureCategory.CREDENTIAL)

    assert [(info.endpoint, info.reason) for info in health(patchbay)] == [("blue", "refused the key")]


def test_what_may_be_asked_again_has_no_end(patchbay: Patchbay, time: VirtualTime) -> None:
    open_up(patchbay, circuit(patchbay))
    time.sleep(31)
    (info,) = health(patchbay)

    assert (info.state, info.until) == ("half open", None)


def test_users_keys_are_counted_and_neither_they_nor_their_users_are_named(patchbay: Patchbay) -> None:
    names = [f"ann-{number}" for number in range(3)]
    circuits = [circuit(patchbay, user_id=name, keys={"blue": f"sk-of-{name}-1234567"}) for name in names]
    for number, theirs in enumerate(circuits):
        patchbay.health.start_cooldown(theirs, 60.0 + number, FailureCategory.RATE_LIMIT)
    (info,) = health(patchbay)

    assert (info.key_owner, info.keys) == ("user", 3)
    assert info.until is not None
    assert info.until - info.since == timedelta(seconds=62)
    assert "ann" not in info.model_dump_json()
    assert not any(theirs.key in info.model_dump_json() for theirs in circuits)


def test_what_a_user_called_a_model_of_their_own_endpoint_is_not_told(patchbay: Patchbay) -> None:
    open_up(patchbay, Circuit("own:secret-model", "k", "user"))

    assert [info.endpoint for info in health(patchbay)] == ["own"]


def test_the_house_s_come_first(patchbay: Patchbay) -> None:
    open_up(patchbay, Circuit("blue:m", "k", "user"))
    open_up(patchbay, circuit(patchbay, place=1))
    open_up(patchbay, circuit(patchbay))

    assert [(info.key_owner, info.endpoint) for info in health(patchbay)] == [
        ("house", "blue:m"),
        ("house", "red:m"),
        ("user", "blue:m"),
    ]


def test_a_feature_says_what_it_runs_on_now_and_instead_of_what(patchbay: Patchbay) -> None:
    open_up(patchbay, circuit(patchbay))
    told = feature(patchbay)

    assert (told.endpoint, told.degraded, told.preferred, told.problem) == ("red:m", True, "blue:m", None)


def test_a_feature_of_which_all_rests_has_a_problem(patchbay: Patchbay) -> None:
    open_up(patchbay, circuit(patchbay))
    told = feature(patchbay, "alone")

    assert told.problem == "blue:m: it failed on its own side again and again; left alone for 30 s more"
    assert not told.degraded


def test_it_is_json_with_a_version(patchbay: Patchbay) -> None:
    open_up(patchbay, circuit(patchbay))
    told = json.loads(patchbay.get_qos_info().model_dump_json())

    assert told["schema_version"] == 3
    assert told["health"][0]["since"] == "2026-11-21T12:00:00Z"
