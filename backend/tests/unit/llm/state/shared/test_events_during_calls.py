"""No call gives up an endpoint that it may ask, whatever it hears from other processes meanwhile."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.shared_memory import MemoryStore, SharedMemory
from backend.tests.fakes.simulation import OK, World, fails
from backend.utils.llm.clock import Time
from backend.utils.llm.execution.steps import LEAST_SECONDS
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.routing.plan import find_unavailability
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.state.circuit_breaker import IN_A_ROW
from backend.utils.llm.state.shared.composition import make_shared_health_tracker
from backend.utils.llm.state.shared.names import HashedNames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.tests.fakes.simulation import Called
    from backend.utils.llm.routing.route import Candidate
    from backend.utils.llm.state.health import HealthTracker
    from backend.utils.llm.state.shared.health import SharedHealthTracker
    from backend.utils.llm.state.shared.store import SharedEvent

CHAIN = ["red:m", "blue:m", "green:m"]
LIMITS = ["requests = '2/second'", "concurrency = 1"]
ROW = "[features.f]\ndeadline = 20\nwait = 20\nattempts = 2\n"


class Happening(NamedTuple):
    """Something that one of two processes learns of an endpoint, ``at`` some time."""

    at: float
    what: Literal["fails", "opens", "answers", "slow down", "wait", "probe fails", "probe answers", "retries"]
    place: int
    is_here: bool
    seconds: float

    def course(self, health: HealthTracker, candidate: Candidate) -> Iterator[float]:
        """Let it happen, in no time."""
        circuit, budget = candidate.endpoint_circuit, candidate.retry_budget_key
        match self.what:
            case "fails" | "opens":
                for _ in range(IN_A_ROW if self.what == "opens" else 1):
                    health.record_failure(circuit, FailureCategory.SERVER, was_probe=False)
            case "answers":
                health.record_answer(circuit, was_probe=False)
                health.credit_retry_budget(budget)
            case "slow down" | "wait":
                is_guess = self.what == "slow down"
                health.start_cooldown(circuit, self.seconds, FailureCategory.RATE_LIMIT, is_guess=is_guess)
            case "retries":
                while health.try_spend_retry(budget):
                    pass
            case _ if health.admit_request(circuit, 1.0, last_resort=True) == "probe":
                end = (
                    health.record_answer
                    if self.what == "probe answers"
                    else partial(health.record_failure, category=FailureCategory.SERVER)
                )
                end(circuit)
        yield from ()


happenings = st.builds(
    Happening,
    st.floats(0, 18),
    st.sampled_from(
        ["fails", "opens", "answers", "slow down", "wait", "probe fails", "probe answers", "retries"]
    ),
    st.sampled_from([0, 1, 2, 2, 2]),
    st.booleans(),
    st.sampled_from([0.5, 3.0, 30.0]),
)


def shared_by_two(world: World) -> SharedHealthTracker:
    """Let ``world`` share its health with another process, and return that of the other."""
    memory = SharedMemory(world.clock)
    time = Time(clock=world.clock, now=world.wall_clock, random=random.Random(11).random)  # noqa: S311

    def joined() -> SharedHealthTracker:
        def heard(event: SharedEvent, age: float) -> None:
            health.apply_remote_event(event, age)

        health = make_shared_health_tracker(MemoryStore(memory, heard), HashedNames(b"secret"), time)
        return health

    world.health, other = joined(), joined()
    return other


@given(
    happened=st.lists(happenings, min_size=4, max_size=24),
    is_well=st.tuples(st.booleans(), st.booleans(), st.just(True)),  # noqa: FBT003 - the last one answers
    starts=st.lists(st.floats(0, 9), min_size=1, max_size=4),
    limit=st.sampled_from(LIMITS),
)
def test_no_call_fails_while_an_endpoint_that_it_may_ask_was_never_asked(
    happened: list[Happening], is_well: tuple[bool, ...], starts: list[float], limit: str
) -> None:
    down = fails(FailureCategory.SERVER, 503, seconds=0.4)
    moods = {name: OK if well else down for name, well in zip(CHAIN, is_well, strict=True)}
    limits = "".join(f"[models.'{name}']\nlimits = {{ {limit} }}\n" for name in CHAIN)
    world = World({"f": CHAIN}, ROW + limits, behaves=moods)
    other = shared_by_two(world)
    candidates = world.plan("f").candidates
    for happening in happened:
        health = world.health if happening.is_here else other
        world._later(happening.at, happening.course(health, candidates[happening.place]))
    for start in starts:
        world.start(at=start)
    opened_before: dict[int, list[int]] = {}
    while world._due:
        known = len(world.calls)
        world.run(until=world._due[0][0])
        for place in range(known, len(world.calls)):
            opened_before[place] = [_openings(world, one) for one in candidates]
        for place, called in enumerate(world.calls):
            if called.error is not None and called.ended == world.now:
                for candidate, before in zip(candidates, opened_before[place], strict=True):
                    is_due = moods[
                        str(candidate.endpoint)
                    ] is OK and candidate.endpoint_circuit not in _asked(called)
                    assert not (is_due and _may_be_asked(world, called, candidate, before)), called.error


def _asked(called: Called) -> set[object]:
    return {step.candidate.endpoint_circuit for step in called.steps}


def _openings(world: World, candidate: Candidate) -> int:
    condition = world.health._conditions.get(candidate.endpoint_circuit)
    return 0 if condition is None else condition.openings


def _may_be_asked(world: World, called: Called, candidate: Candidate, before: int) -> bool:
    """Whether it may be asked now: it is available, or is to be probed, as nobody's probe has failed too often."""
    if called.seconds > called.route.deadline_seconds - 2 * LEAST_SECONDS:
        return False
    why = find_unavailability(candidate, world.health, Needs())
    if why is None:
        return True
    more = why.openings - before
    is_hopeful = more == 0 or (
        more < IN_A_ROW and world.health.has_recent_provider_answer(candidate.retry_budget_key)
    )
    return why.can_probe_early and is_hopeful
