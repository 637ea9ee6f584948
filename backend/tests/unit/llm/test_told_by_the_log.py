"""What the log tells whoever is on call: each change in one line, with fields for programs, without a secret."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.simulation import World, settle, users_own
from backend.tests.fakes.threads import hammer
from backend.utils.llm import Caller, get_llm, use
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.errors import LLMError
from backend.utils.llm.execution.loop import Dispatch
from backend.utils.llm.execution.observers import ObserverRegistry
from backend.utils.llm.execution.observers.log import CALM_SECONDS, DegradedServiceObserver, HealthLogger
from backend.utils.llm.execution.steps import Try
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.health import Circuit, HealthChange
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider


class Call(Protocol):
    """A call of ``feature`` whose first choice answers, or does not."""

    def __call__(self, *, is_well: bool, feature: str = "f", caller: Caller = HOUSE) -> None: ...


CHAIN = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def patchbay(provider: LoopbackProvider, time: VirtualTime) -> Iterator[Patchbay]:
    with use(loopback_patchbay(provider, {"chat": CHAIN, "other": CHAIN}, time=time.time)) as made:
        yield made
    made.close()


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records if hasattr(record, "event")]


def fields(caplog: pytest.LogCaptureFixture, event: str) -> dict[str, Any]:
    (record,) = (one for one in caplog.records if getattr(one, "event", None) == event)
    return vars(record)


def ask(feature: str = "chat", **given: Any) -> None:
    get_llm(feature, **given).invoke("Hello")


@pytest.mark.usefixtures("patchbay")
def test_an_outage_is_told_when_it_begins_and_when_it_ends(
    provider: LoopbackProvider, time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    provider.always(Status(503), model="gpt-6-luna")
    provider.always(Text("hi"), model="gemini-3.5-flash-lite")
    for _ in range(20):
        ask()
    during = events(caplog)
    provider.always(Text("hi"), model="gpt-6-luna")
    time.sleep(CALM_SECONDS + 1)
    for _ in range(20):
        ask()

    assert during == ["feature.degraded", "breaker.opened"]
    assert events(caplog)[2:] == ["breaker.closed", "feature.restored"]


@pytest.mark.usefixtures("patchbay")
def test_a_line_has_fields_for_programs_and_a_sentence_for_people(
    provider: LoopbackProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.always(Status(503), model="gpt-6-luna")
    provider.always(Text("hi"), model="gemini-3.5-flash-lite")
    for _ in range(5):
        ask()

    opened = fields(caplog, "breaker.opened")
    assert opened["levelname"] == "WARNING"
    assert opened["message"] == (
        "openai:gpt-6-luna, with the house's key, failed on its own side: its breaker opened, and it is left alone for 30 s"
    )
    assert {name: opened[name] for name in ("endpoint", "key_owner", "account", "category", "failures")} == {
        "endpoint": "openai:gpt-6-luna",
        "key_owner": "house",
        "account": None,
        "category": "server",
        "failures": 5,
    }
    degraded = fields(caplog, "feature.degraded")
    assert (degraded["feature"], degraded["endpoint"], degraded["served_by"]) == ("chat", *CHAIN)


@pytest.mark.usefixtures("patchbay")
def test_a_key_that_is_refused_is_told_once_for_all_its_models(
    provider: LoopbackProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.always(Status(401), model="gpt-6-luna")
    provider.always(Text("hi"), model="gemini-3.5-flash-lite")
    for _ in range(3):
        ask()

    rest = fields(caplog, "rest.began")
    assert (rest["endpoint"], rest["category"], rest["seconds"]) == ("openai", "credential", 300.0)


@pytest.mark.usefixtures("patchbay")
def test_a_users_key_is_no_warning_and_says_nothing_of_the_user(
    provider: LoopbackProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.always(Status(429, headers={"retry-after": "60"}))
    ann = Caller(user_id="ann-of-vienna", keys={"openai": "sk-of-ann-1234567890"})
    with pytest.raises(LLMError):
        ask(caller=ann)

    rest = fields(caplog, "rest.began")
    assert (rest["levelname"], rest["key_owner"]) == ("INFO", "user")
    assert "ann" not in " ".join(f"{name}={rest[name]}" for name in ("endpoint", "account", "message"))


def test_the_model_of_a_users_own_endpoint_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    told = HealthLogger(lambda: 0.0)
    told(HealthChange("opened", Circuit("own:my-secret-model", "k", "user"), FailureCategory.SERVER, 30.0, 5))

    assert "my-secret-model" not in caplog.text
    assert fields(caplog, "breaker.opened")["endpoint"] == "own"


def test_a_thousand_keys_of_users_are_a_line_a_minute_and_the_house_s_one_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    told = HealthLogger(clock)
    for number in range(1000):
        clock.now = number / 10
        told(HealthChange("opened", Circuit("red:m", str(number), "user"), FailureCategory.SERVER, 30.0, 5))
    for account in ("eu", "us"):
        told(
            HealthChange(
                "opened", Circuit("red:m", account, "house", account), FailureCategory.SERVER, 30.0, 5
            )
        )

    lines = [(vars(record)["key_owner"], vars(record)["keys"]) for record in caplog.records]
    assert lines == [("user", 1), ("user", 600), ("house", 1), ("house", 1)]


class TestDegraded:
    """Once for each feature and first choice, however often the two take turns."""

    @pytest.fixture
    def world(self) -> World:
        return World({"f": ["red:m", "blue:m"], "g": ["red:m", "blue:m"], "alone": "red:m"})

    @pytest.fixture
    def call(self, world: World) -> Call:
        registry = ObserverRegistry(world.health)

        def call(*, is_well: bool, feature: str = "f", caller: Caller = HOUSE) -> None:
            route = world.plan(feature, caller)
            dispatch = Dispatch(
                route, world.health, clock=world.clock, observers=registry.select_observers(route)
            )
            for category in (None,) if is_well else (FailureCategory.UNSUPPORTED, None):
                step = dispatch.next_step()
                assert isinstance(step, Try)
                settle(dispatch, step, category)

        return call

    def test_a_first_choice_that_comes_and_goes_is_two_lines(
        self, world: World, call: Call, caplog: pytest.LogCaptureFixture
    ) -> None:
        for second in range(100):
            world.now = float(second)
            call(is_well=bool(second % 2))
        world.now += CALM_SECONDS
        for _ in range(3):
            call(is_well=True)

        assert events(caplog) == ["feature.degraded", "feature.restored"]

    def test_an_outage_that_nobody_notices_for_hours_is_one_line(
        self, world: World, call: Call, caplog: pytest.LogCaptureFixture
    ) -> None:
        for hour in range(5):
            world.now = hour * 3600.0
            call(is_well=False)

        assert events(caplog) == ["feature.degraded"]

    def test_each_feature_has_its_own_line(self, call: Call, caplog: pytest.LogCaptureFixture) -> None:
        for feature in ("f", "g", "f", "g"):
            call(is_well=False, feature=feature)

        assert [record.feature for record in caplog.records if hasattr(record, "feature")] == ["f", "g"]

    def test_all_users_are_one_line_which_is_no_warning(
        self, call: Call, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(5):
            call(is_well=False, caller=users_own("red", "blue", name=f"user-{number}"))

        (line,) = (record for record in caplog.records if hasattr(record, "event"))
        assert (line.levelname, vars(line)["key_owner"]) == ("INFO", "user")

    def test_calls_that_are_well_say_nothing(self, call: Call, caplog: pytest.LogCaptureFixture) -> None:
        for feature in ("f", "alone"):
            call(is_well=True, feature=feature)

        assert events(caplog) == []

    def test_of_many_at_once_one_is_told(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        observer, route = DegradedServiceObserver(world.health.traffic), world.plan("f")
        second_best = SimpleNamespace(route=route, candidate=route.candidates[1])
        hammer(lambda _: observer.on_ended(second_best, None, None))  # type: ignore[arg-type]

        assert events(caplog) == ["feature.degraded"]
