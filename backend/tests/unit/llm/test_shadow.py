"""A share of the calls is copied to an endpoint that is only watched."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm import Caller
from backend.utils.llm.execution.observers.shadow import MOST_AT_ONCE
from backend.utils.llm.testing import Hang, Status, Text

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

FIRST, WATCHED = "openai:gpt-6-luna", "openai:gpt-6.1-terra"


def row(percent: float = 100, more: str = "") -> str:
    return f'[features.f]\n{more}\nshadow = {{ "{WATCHED}" = {percent} }}'


def models(provider: LoopbackProvider) -> list[str | None]:
    return [request.model for request in provider.requests]


def called(patchbay: Patchbay, call: Driver, caller: Caller | None = None) -> AIMessage:
    answer = call(patchbay.get_llm("f", caller=caller), "hello")
    patchbay.runtime.shadows.join(5)
    return answer


def test_a_call_is_answered_by_its_endpoint_and_copied_to_the_one_that_is_watched(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    provider.always(Text("the answer"), model="gpt-6-luna")
    provider.always(Text("thrown away"), model="gpt-6.1-terra")

    answer = called(make(FIRST, row()), call)

    assert answer.text == "the answer"
    assert models(provider) == ["gpt-6-luna", "gpt-6.1-terra"]
    assert [one["endpoint"] for one in answer.response_metadata["receipt"]["attempts"]] == [FIRST]


def test_a_copys_cost_reaches_the_observer_and_qos_info(make: Make, call: Driver) -> None:
    seen: list[tuple[bool, str, bool]] = []

    def observer(route: Route, attempt: Attempt) -> None:
        seen.append((route.is_shadow, attempt.endpoint, attempt.cost_usd is not None))

    patchbay = make(FIRST, row(), observer=observer)
    called(patchbay, call)

    assert seen == [(False, FIRST, True), (True, WATCHED, True)]
    (trial,) = patchbay.get_qos_info().trials
    assert (trial.feature, trial.arm, trial.requests, trial.failed) == ("f", f"shadow {WATCHED}", 1, 0)
    assert trial.mean_cost_usd is not None


@pytest.mark.parametrize("fault", [Status(503), Status(401), Hang()], ids=["down", "refused", "hanging"])
def test_whatever_happens_to_a_copy_the_call_is_answered_and_nothing_is_sent_twice(
    provider: LoopbackProvider, make: Make, call: Driver, fault: Status | Hang
) -> None:
    provider.always(fault, model="gpt-6.1-terra")

    timeout = f'[models."{WATCHED}"]\noptions = {{ timeout = 0.2 }}'
    answer = called(make(FIRST, f"{row()}\n{timeout}"), call)

    assert answer.text
    assert models(provider) == ["gpt-6-luna", "gpt-6.1-terra"]


def test_a_call_that_failed_is_not_copied(provider: LoopbackProvider, make: Make, call: Driver) -> None:
    provider.always(Status(400), model="gpt-6-luna")

    with pytest.raises(Exception, match="malformed"):
        called(make(FIRST, row()), call)

    assert models(provider) == ["gpt-6-luna"]


def test_a_call_with_a_users_key_is_not_copied_with_anybodys_money(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    called(make(FIRST, row()), call, Caller(user_id="ann", keys={"openai": "anns-own-key"}))

    assert models(provider) == ["gpt-6-luna"]


def test_a_call_that_the_house_answered_in_place_of_a_users_key_is_not_copied(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    ann = Caller(user_id="ann", keys={"gemini": "anns-own-key"}, key_policy="byok_then_house")

    answer = called(make(FIRST, row(more="house_fallback = true")), call, ann)

    assert answer.response_metadata["receipt"]["key_owner"] == "house"
    assert models(provider) == ["gpt-6-luna"]


def test_a_share_of_the_calls_is_copied(provider: LoopbackProvider, make: Make) -> None:
    patchbay = make(FIRST, row(percent=25))
    model = patchbay.get_llm("f")
    for _ in range(200):
        model.invoke("hello")
        patchbay.runtime.shadows.join(5)

    copies = models(provider).count("gpt-6.1-terra")
    assert 20 <= copies <= 85  # 50 expected: more than five standard deviations on either side


def test_a_table_whose_shadow_cannot_do_what_the_feature_declares_is_refused(make: Make) -> None:
    with pytest.raises(Exception, match="images"):
        make(FIRST, row(more="images = true").replace(WATCHED, "openai:o3-mini"))


def test_a_machine_that_had_no_threads_for_copies_gets_them_again_when_it_has(
    provider: LoopbackProvider, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    patchbay = make(FIRST, row())
    model = patchbay.get_llm("f")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", without_copies)
        for _ in range(MOST_AT_ONCE):
            assert model.invoke("hello").text

    model.invoke("hello")

    patchbay.runtime.shadows.join(5)
    assert models(provider)[-1] == "gpt-6.1-terra"


_start = threading.Thread.start


def without_copies(thread: threading.Thread) -> None:
    """The provider, which lives in this process, has threads."""
    if thread.name == "shadow":
        raise RuntimeError("can't start new thread")
    _start(thread)
