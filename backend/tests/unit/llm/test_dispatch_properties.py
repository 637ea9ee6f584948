"""What holds of every call, whatever its chain, its callers, the endpoints' moods and what was learnt before."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backend.tests.fakes.simulation import KEYS, OK, Called, Reply, World, fails, users_own
from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.execution.steps import LEAST_SECONDS
from backend.utils.llm.failures import POLICY, ClassifiedFailure, FailureCategory
from backend.utils.llm.routing.plan import find_unavailability
from backend.utils.llm.routing.waiting import PROBE_POLL_SECONDS, can_wait
from backend.utils.llm.secrets import compute_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from backend.utils.llm.execution.steps import Try
    from backend.utils.llm.model_config import Feature
    from backend.utils.llm.routing.route import Candidate
    from backend.utils.llm.state.health import Circuit

C = FailureCategory
ENDPOINTS = ["red:m", "red:small", "blue:m", "blue:large", "green:m"]
ENDS_A_CALL = {C.REJECTED, C.CANCELLED, C.BUG}
LENT = 14
"""Retries that an empty budget lends within an hour without an answer."""
TIGHT = 1e-6
"""What sums of floats may lose."""

failures = st.builds(
    ClassifiedFailure,
    st.sampled_from(FailureCategory),
    status=st.none() | st.sampled_from([200, 429, 503]),
    retry_after=st.none() | st.floats(0.001, 100),
    may_retry=st.booleans(),
)
replies = st.builds(
    Reply,
    failures | st.none(),
    seconds=st.sampled_from([0.0, 0.05, 1.0, 5.0, 200.0]),
    partial=st.none() | st.none() | st.just("so far"),
).map(lambda reply: reply if reply.failure else reply._replace(partial=None))
callers = st.just(HOUSE) | st.builds(
    lambda keys, name, policy: users_own(*keys, name=name, policy=policy),
    st.sets(st.sampled_from(["red", "blue", "green"]), min_size=1),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["byok_only", "byok_then_house"]),
)


@st.composite
def histories(draw: st.DrawFn) -> World:
    """A few calls that overlap, all over."""
    chain = draw(st.lists(st.sampled_from(ENDPOINTS), min_size=1, max_size=4, unique=True))
    feature = {
        "deadline": draw(st.sampled_from([0.06, 1.0, 7.0, 30.0, 120.0])),
        "attempts": draw(st.integers(1, 4)),
        "max_attempts": draw(st.integers(1, 8)),
        "house_fallback": draw(st.sampled_from(["true", "false"])),
        "on_refusal": f'"{draw(st.sampled_from(["raise", "next"]))}"',
        "on_invalid_output": f'"{draw(st.sampled_from(["raise", "next"]))}"',
    }
    world = World(
        {"f": chain},
        "[features.f]\n" + "\n".join(f"{key} = {value}" for key, value in feature.items()),
        behaves={one: draw(st.lists(replies, min_size=1, max_size=6)) for one in chain},
    )
    for _ in range(draw(st.integers(1, 8))):
        world.start(caller=draw(callers), at=draw(st.sampled_from([0.0, 0.5, 3.0, 31.0, 100.0])))
    world.run()
    return world


def assert_bounds(called: Called, feature: Feature) -> None:
    """What holds for every call, hedged or not."""
    assert (called.receipt is None) != (called.error is None)
    assert called.seconds <= feature.deadline + TIGHT
    assert [attempt.endpoint for attempt in called.attempts] == called.tried
    assert len(called.tried) <= feature.max_attempts
    per_circuit = Counter(step.candidate.endpoint_circuit for step in called.steps)
    assert all(count <= feature.attempts for count in per_circuit.values())


@given(world=histories())
def test_every_call_keeps_its_bounds(world: World) -> None:
    feature = world.snapshot.features["f"]
    for called in world.calls:
        assert_bounds(called, feature)
        assert {_identity(step.candidate) for step in called.steps} <= set(
            map(_identity, called.route.candidates + called.route.resting)
        )
        assert all(0 < wait <= 15 for wait in called.waits)


@given(world=histories())
def test_every_attempt_is_given_time(world: World) -> None:
    for called in world.calls:
        seconds = [step.seconds for step in called.steps]
        assert all(0.03 < second <= called.route.deadline_seconds + TIGHT for second in seconds), seconds


@given(world=histories())
def test_every_step_follows_from_the_one_before(world: World) -> None:
    for called in world.calls:
        for place, (step, reply) in enumerate(zip(called.steps, called.replies, strict=True)):
            later = called.steps[place + 1 :]
            if reply.failure is None:
                assert later == []
            else:
                _check_what_follows(called, place, step.candidate, reply)


def _check_what_follows(called: Called, place: int, used: Candidate, reply: Reply) -> None:
    failure, later = reply.failure, called.steps[place + 1 :]
    assert failure is not None
    category = failure.category
    if category in ENDS_A_CALL or reply.partial is not None:
        assert later == []
    if category is C.CREDENTIAL and used.owner == "user":
        assert later == []
    if category in {C.QUOTA, C.CREDENTIAL}:
        assert used.credential_circuit not in {step.candidate.credential_circuit for step in later}
    if category is C.CONTEXT:
        assert all(step.candidate.max_prompt_tokens > used.max_prompt_tokens for step in later)
    if POLICY[category].again == "no" or (POLICY[category].again == "retry" and not failure.may_retry):
        assert used.endpoint_circuit not in {step.candidate.endpoint_circuit for step in later}
    if later and later[0].candidate.endpoint_circuit == used.endpoint_circuit:
        pause = _started(called, place + 1) - _started(called, place) - reply.seconds
        if POLICY[category].again == "retry":
            assert pause >= (failure.retry_after or 0) - 1e-5
            assert pause <= 15 + 8 + TIGHT


def _started(called: Called, place: int) -> float:
    attempt = called.attempts[place]
    return attempt.started.timestamp()


@given(world=histories())
def test_a_key_pays_only_where_it_belongs_and_only_if_the_caller_allows(world: World) -> None:
    for called in world.calls:
        for step in called.steps:
            one = step.candidate
            provider = one.endpoint.provider.name
            owners = {"house_only": {"house"}, "byok_only": {"user"}}
            assert one.owner in owners.get(called.route.policy, {"user", "house"})
            if one.owner == "house":
                assert one.key == compute_fingerprint(_house(provider))
            else:
                assert one.key in {
                    compute_fingerprint(users_own(provider, name=name).keys[provider])
                    for name in ("ann", "bob")
                }


@given(
    chain=st.sampled_from([["red:m"], ["red:m", "blue:m"]]),
    moods=st.lists(
        st.builds(
            Reply,
            st.sampled_from([C.SERVER, C.SERVER, C.TIMEOUT, C.CANCELLED]).map(ClassifiedFailure),
            st.sampled_from([0.5, 4.0, 29.0, 35.0, 200.0]),
        ),
        min_size=1,
        max_size=8,
    ),
    starts=st.lists(st.sampled_from([0.0, 1.0, 2.0, 10.0, 29.0, 31.0, 36.0, 60.0]), min_size=2, max_size=20),
    opens_at=st.sampled_from([0.0, 1.5, 30.0]),
)
def test_while_nothing_answers_no_circuit_is_probed_twice_at_once(
    chain: list[str], moods: list[Reply], starts: list[float], opens_at: float
) -> None:
    world = World(
        {"f": chain},
        "[features.f]\ndeadline = 60\noptions = { timeout = 33 }",
        behaves={one: list(moods) for one in chain},
        lag=0.01,
    )
    for start in starts:
        world.start(at=start)
    world.run(until=opens_at)
    for place in range(len(chain)):
        if not world.is_open(circuit := world.circuit(place=place)):
            world.open(circuit)
    world.run()

    probes: dict[Circuit, float] = {}
    for request in world.requests:
        if request.is_probe:
            circuit = request.candidate.endpoint_circuit
            assert request.started >= probes.get(circuit, 0.0) - TIGHT
            probes[circuit] = request.ended


@given(
    calls=st.integers(1, 120),
    every=st.sampled_from([0.0, 0.05, 1.0, 20.0]),
    moods=st.lists(replies, min_size=1, max_size=8),
)
def test_retries_of_a_provider_stay_within_its_budget(calls: int, every: float, moods: list[Reply]) -> None:
    world = World({"f": "red:m"}, behaves={"red:m": moods})
    for number in range(calls):
        world.start(at=number * every)

    called = world.run()

    retries = sum(sum(not step.repair for step in one.steps) - 1 for one in called if one.steps)
    answered = sum(
        reply.failure is None or _is_alive(reply.failure) for one in called for reply in one.replies
    )
    assert retries <= 10 + 1.3 * answered + LENT + TIGHT


def _is_alive(failure: ClassifiedFailure) -> bool:
    return POLICY[failure.category].health == "alive"


# What explain shows ------------------------------------------------------------------------------------------------

CHAIN = ["red:m", "red:n", "blue:m", "blue:n", "green:m"]
events = st.tuples(
    st.sampled_from(["open", "fail", "answer", "cool", "cool key", "probe", "release"]),
    st.integers(0, len(CHAIN) - 1),
    st.sampled_from([0.5, 3.0, 14.0, 60.0, 600.0]),
    st.sampled_from([C.RATE_LIMIT, C.RATE_LIMIT, C.MODEL_NOT_FOUND]),
    st.sampled_from([0.0, 0.0, 1.0, 10.0, 31.0]),
)


def _happen(world: World, event: tuple[str, int, float, FailureCategory, float]) -> None:
    what, place, seconds, category, later = event
    circuit, health = world.circuit(place=place), world.health
    match what:
        case "open":
            world.open(circuit)
        case "fail":
            health.record_failure(circuit, C.SERVER)
        case "answer":
            health.record_answer(circuit)
        case "cool":
            health.start_cooldown(circuit, seconds, category)
        case "cool key":
            health.start_cooldown(circuit._replace(endpoint=CHAIN[place].split(":")[0]), seconds, C.QUOTA)
        case "probe":
            health.admit_request(circuit, seconds, last_resort=True)
        case _:
            health.release_probes(circuit)
    world.pass_time(later)


@given(history=st.lists(events, max_size=12), size=st.integers(1, len(CHAIN)))
def test_what_explain_shows_is_what_is_tried(
    history: list[tuple[str, int, float, FailureCategory, float]], size: int
) -> None:
    """Each endpoint says that it does not have the model, so that the call goes through all that it may try."""
    world = World({"f": CHAIN[:size]}, behaves=dict.fromkeys(CHAIN, fails(C.MODEL_NOT_FOUND, 404)))
    for event in history:
        if event[1] < size:
            _happen(world, event)
    shown = world.plan("f")
    # Of two reasons to rest only one is shown: it cools, and its breaker opened meanwhile.
    assume(
        not any(
            _waits(candidate) and world.is_open(candidate.endpoint_circuit) for candidate in shown.candidates
        )
    )

    called = world.call()

    assert called.route == shown
    if shown.expected_error() is not None:
        assert called.tried == []
        assert str(called.error) == str(shown.expected_error())
    # What somebody else probes may come back later, or not at all.
    probed = {
        str(candidate.endpoint)
        for candidate in shown.candidates
        if candidate.rest and candidate.rest.kind == "probing"
    }
    expected = [str(candidate.endpoint) for candidate in sorted(shown.candidates, key=_waits)]
    # What rests is looked at again once all that is planned has failed.
    resting = [str(candidate.endpoint) for candidate in shown.resting]
    told = [one for one in called.tried if one not in probed]
    planned = [one for one in expected if one not in probed]
    assert told[: len(planned)] == planned
    assert set(called.tried) <= {*expected, *resting}


LIMITS = """
[models."red:m"]
limits = { requests = "1/minute" }
[models."blue:m"]
limits = { requests = "1/minute" }
"""


@given(
    history=st.lists(events, max_size=12),
    guesses=st.sets(st.integers(0, len(CHAIN) - 1)),
    taken=st.integers(0, 3),
    size=st.integers(1, len(CHAIN)),
    row=st.sampled_from(
        [
            "",
            'select = "least_busy"',
            'select = "latency"',
            'select = "weighted"',
            'limits = { requests = "2/minute" }',
        ]
    ),
    more=st.sampled_from(["", LIMITS]),
)
def test_whom_explain_shows_first_is_asked_first_unless_it_has_to_be_waited_for(
    history: list[tuple[str, int, float, FailureCategory, float]],
    guesses: set[int],
    taken: int,
    size: int,
    row: str,
    more: str,
) -> None:
    world = World({"f": CHAIN[:size]}, f"[features.f]\n{row}\n{more}")
    for event in history:
        if event[1] < size:
            _happen(world, event)
    for place in guesses:
        if place < size:
            world.health.start_cooldown(world.circuit(place=place), 30, C.RATE_LIMIT, is_guess=True)
    for _ in range(taken):
        _take_room(world)
    shown = world.plan("f").candidates

    called = world.call()

    assert bool(called.tried) <= bool(shown)
    if shown and (shown[0].rest is None or shown[0].rest.can_probe_early):
        room = _until_room(world, shown[0])
        assert called.tried[:1] == [str(shown[0].endpoint)] or room > 0


def _take_room(world: World) -> None:
    limiter, traffic = world.health.traffic.rate_limiter, world.health.traffic
    with traffic.lock:
        for candidate in world.plan("f").candidates[:1]:
            limiter.count_request(candidate.meters, 1, next(traffic.numbers), world.now + 5)


def _until_room(world: World, candidate: Candidate) -> float:
    """Seconds until its limits have room."""
    traffic = world.health.traffic
    with traffic.lock:
        limit = traffic.rate_limiter.find_exceeded_limit(candidate.meters, 0, 0)
    return 0.0 if limit is None else limit.look_in


def _waits(candidate: Candidate) -> float:
    return candidate.rest.seconds if candidate.rest and candidate.rest.kind == "cooling" else 0.0


@pytest.mark.parametrize("kind", ["open", "cooling"])
def test_an_unavailable_endpoint_is_no_candidate_while_another_is_left(kind: str) -> None:
    world = World({"f": ["red:m", "blue:m"]}, behaves={"blue:m": OK})
    if kind == "open":
        world.open(world.circuit())
    else:
        world.health.start_cooldown(world.circuit(), 1.0, C.RATE_LIMIT)

    assert [str(candidate.endpoint) for candidate in world.plan("f").candidates] == ["blue:m"]


def _identity(candidate: Candidate) -> tuple[str, str]:
    return str(candidate.endpoint), candidate.owner


def _house(provider: str) -> SecretStr:
    return Caller(keys={provider: KEYS[f"{provider.upper()}_KEY"]}).keys[provider]


# What is never asked -------------------------------------------------------------------------------------------------


@given(
    history=st.lists(events, max_size=12),
    moods=st.lists(st.lists(replies, min_size=1, max_size=4), min_size=len(CHAIN), max_size=len(CHAIN)),
    size=st.integers(1, len(CHAIN)),
    caller=callers,
    row=st.sampled_from(["", "deadline = 7", "attempts = 1", "max_attempts = 3", "house_fallback = true"]),
)
def test_no_call_fails_while_an_endpoint_that_may_serve_it_was_never_asked(
    history: list[tuple[str, int, float, FailureCategory, float]],
    moods: list[list[Reply]],
    size: int,
    caller: Caller,
    row: str,
) -> None:
    behaves = dict(zip(CHAIN, moods, strict=True))
    world = World({"f": CHAIN[:size]}, f"[features.f]\n{row}", behaves=behaves)
    for event in history:
        if event[1] < size:
            _happen(world, event)

    called = world.call(caller=caller)

    asked = {step.candidate.endpoint_circuit for step in called.steps}
    if called.error is None or len(called.tried) >= called.route.feature.max_attempts:
        return
    for candidate in (*called.route.candidates, *called.route.resting):
        assert (
            candidate.endpoint_circuit in asked
            or any(map(_is_forbidden, called.steps, called.replies, repeat(candidate)))
            or not _may_be_asked(world, candidate, called)
        ), f"{candidate.display_name} was not asked, but {called.tried}: {called.error}"


FORBIDDEN: dict[str, Callable[[Candidate, Candidate], bool]] = {
    "yes": lambda *_: False,
    "larger window": lambda used, other: other.max_prompt_tokens <= used.max_prompt_tokens,
    "the same payer's": lambda used, other: other.owner != used.owner,
    "another key": lambda used, other: other.credential_circuit == used.credential_circuit,
    "another key, if this one is the house's": lambda used, other: (
        used.owner == "user" or other.credential_circuit == used.credential_circuit
    ),
}
"""Whom a failure of one leaves unasked; everybody, if it is not here."""


def _is_forbidden(step: Try, reply: Reply, other: Candidate) -> bool:
    if reply.failure is None or reply.partial is not None:
        return True
    forbids = FORBIDDEN.get(POLICY[reply.failure.category].next_endpoint)
    return forbids is None or forbids(step.candidate, other)


def _may_be_asked(world: World, one: Candidate, called: Called) -> bool:
    """Whether it may serve now, or be probed or waited for in the time that is left."""
    left = called.route.deadline_seconds - called.seconds - 2 * LEAST_SECONDS
    why = find_unavailability(one, world.health, called.route.needs)
    if why is None or why.can_probe_early:
        return left > 0
    if why.kind == "probing":
        return left > PROBE_POLL_SECONDS
    return can_wait(why, called.route.feature) and why.seconds < left
