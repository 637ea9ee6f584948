"""Many callers, few endpoints and one clock: the attempt loop and health in a world without threads and sockets."""

from __future__ import annotations

import heapq
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.diagnostics.explain import Explanation
from backend.utils.llm.errors import LLMError
from backend.utils.llm.execution.custom_selection import SelectorDispatch
from backend.utils.llm.execution.hedged_dispatch import HedgedDispatch
from backend.utils.llm.execution.loop import Dispatch
from backend.utils.llm.execution.steps import AskSelector, ReserveThenTry, Try, Wait
from backend.utils.llm.failures import POLICY, ClassifiedFailure, FailureCategory
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.receipt import Attempt, TokenUsage
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.state.health import HealthTracker
from backend.utils.llm.state.traffic import TrafficState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backend.utils.llm.receipt import Receipt
    from backend.utils.llm.routing.route import Candidate
    from backend.utils.llm.routing.selector import Choosing
    from backend.utils.llm.state.health import Circuit
    from backend.utils.llm.types import KeyPolicy

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
TODAY = date(2026, 11, 21)
KEYS = {"RED_KEY": "house-red", "BLUE_KEY": "house-blue", "GREEN_KEY": "house-green"}
PROVIDERS = "".join(
    f'[providers.{name}]\napi = "openai"\nbase_url = "https://{name}.example/v1"\napi_key_env = "{name.upper()}_KEY"\n'
    for name in ("red", "blue", "green")
)
MODELS = """
[models."red:small"]
context_window = 8000
max_output = 1000
[models."blue:small"]
context_window = 8000
max_output = 1000
[models."blue:large"]
context_window = 64000
max_output = 32000
"""


def table(features: Mapping[str, str | Sequence[str]], more: str = "") -> str:
    """A table with the providers ``red``, ``blue`` and ``green``, whose models ``small`` and ``large`` differ in size."""
    rows = "\n".join(f"{name} = {json.dumps(chain)}" for name, chain in features.items())
    return f'{PROVIDERS}[profiles.premium]\n{rows}\n[profiles.byok]\nextends = "premium"\n{MODELS}\n{more}'


class Reply(NamedTuple):
    """What an endpoint does with one request.

    Attributes:
        failure: None if it answers.
        seconds: How long it takes, if it is given so long.
        partial: The text that had been handed on when a stream broke.
    """

    failure: ClassifiedFailure | None = None
    seconds: float = 0.0
    partial: str | None = None


Behaviour = Reply | list[Reply] | dict[float, Reply] | Callable[[float], Reply]
"""The same each time; one after the other, the last one for ever; by the clock, what holds from when on; what it says."""

OK = Reply()
HANG = Reply(seconds=math.inf)


def ok(seconds: float = 0.0) -> Reply:
    return Reply(seconds=seconds)


def fails(
    category: FailureCategory,
    status: int | None = None,
    *,
    hint: float | None = None,
    may_retry: bool = True,
    seconds: float = 0.0,
) -> Reply:
    return Reply(ClassifiedFailure(category, status, hint, may_retry), seconds)


class Running(NamedTuple):
    """One request under way, and what it will come to."""

    step: Try
    reply: Reply
    started: float

    @property
    def ends_at(self) -> float:
        return self.started + self.reply.seconds


class Request(NamedTuple):
    """One request as its endpoint saw it, whether the endpoint's breaker was not closed, and when it ended."""

    candidate: Candidate
    started: float
    is_probe: bool
    ended: float


@dataclass
class Called:
    """What became of one call."""

    route: Explanation
    started: float
    waits: list[float] = field(default_factory=list)
    steps: list[Try] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    receipt: Receipt | None = None
    error: LLMError | None = None
    ended: float = math.inf

    @property
    def tried(self) -> list[str]:
        return [str(step.candidate.endpoint) for step in self.steps]

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        told = self.receipt or self.error
        return told.attempts if told else ()


class World:
    """Endpoints that do as `behaves` says, and callers that share a clock and what is known of health.

    Args:
        features: Feature to endpoint or chain.
        more: Further sections, as TOML.
        behaves: What each endpoint does; unnamed ones answer at once.
        environ: The house's keys.
        lag: How much later than asked a request that takes too long is really over.
        jitter: What chance gives each time; by default it is a seeded stream of chances.
        selectors: What custom selections name.

    Attributes:
        first_tokens: Seconds to the first token of each endpoint's answers, if they are streams.
        tokens: What each endpoint's answers use, prompt and answer together, if it says.
    """

    def __init__(
        self,
        features: Mapping[str, str | Sequence[str]],
        more: str = "",
        *,
        behaves: Mapping[str, Behaviour] | None = None,
        environ: Mapping[str, str] = KEYS,
        lag: float = 0.0,
        jitter: float | None = None,
        selectors: Mapping[str, Callable[[Choosing], object]] | None = None,
    ) -> None:
        self.snapshot = parse_table(table(features, more), environ=environ)
        self.behaves: dict[str, Behaviour] = dict(behaves or {})
        self.selectors = dict(selectors or {})
        self.first_tokens: dict[str, float] = {}
        self.tokens: dict[str, int] = {}
        self.now = 0.0
        self.health = HealthTracker(
            self.clock,
            TrafficState(self.clock, self.wall_clock, random.Random(11).random),  # noqa: S311
        )
        self.requests: list[Request] = []
        self.calls: list[Called] = []
        self._lag = lag
        self._chance: Callable[[], float] = random.Random(7).random if jitter is None else lambda: jitter  # noqa: S311
        self._order = count()
        self._due: list[tuple[float, int, Iterator[float]]] = []

    def clock(self) -> float:
        return self.now

    def wall_clock(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def plan(self, feature: str, caller: Caller = HOUSE, needs: Needs | None = None) -> Explanation:
        route = plan_route(self.snapshot, feature, caller, needs or Needs(), today=TODAY, health=self.health)
        return Explanation._make(route)

    def dispatch(self, feature: str = "f", caller: Caller = HOUSE, needs: Needs | None = None) -> Dispatch:
        return self._dispatch(self.plan(feature, caller, needs))

    def _dispatch(self, route: Explanation) -> Dispatch:
        kind = HedgedDispatch if route.feature.hedge else Dispatch
        if self.snapshot.has_custom_selectors:
            kind = SelectorDispatch
        return kind(route, self.health, clock=self.clock, random=self._chance)

    # Callers -------------------------------------------------------------------------------------------------------

    def call(self, feature: str = "f", caller: Caller = HOUSE, needs: Needs | None = None) -> Called:
        """One call, alone, from its start to its end."""
        self.start(feature, caller, needs)
        self.run()
        return self.calls[-1]

    def start(
        self,
        feature: str = "f",
        caller: Caller = HOUSE,
        needs: Needs | None = None,
        *,
        at: float | None = None,
    ) -> None:
        """A call that starts ``at`` some time, by default now, and runs along with others."""
        self._later(self.now if at is None else at, self._course(feature, caller, needs))

    def run(self, until: float = math.inf) -> list[Called]:
        """Let time pass until all is over; every call so far."""
        while self._due and self._due[0][0] <= until:
            self.now, _, process = heapq.heappop(self._due)
            pause = next(process, None)
            if pause is not None:
                self._later(self.now + pause, process)
        if until < math.inf:
            self.now = until
        return self.calls

    def pass_time(self, seconds: float) -> None:
        self.run(self.now + seconds)

    def _later(self, when: float, process: Iterator[float]) -> None:
        heapq.heappush(self._due, (when, next(self._order), process))

    def _course(self, feature: str, caller: Caller, needs: Needs | None) -> Iterator[float]:
        called = Called(self.plan(feature, caller, needs), self.now)
        self.health.traffic.mark_call_planned()
        self.calls.append(called)
        try:
            dispatch = self._dispatch(called.route)
            while called.receipt is None and called.error is None:
                step = dispatch.next_step()
                if isinstance(step, AskSelector):
                    assert isinstance(dispatch, SelectorDispatch)
                    step = dispatch.apply_choice(step, self.selectors[step.selector](step.choosing))
                if isinstance(step, Wait):
                    called.waits.append(step.seconds)
                    yield step.seconds
                else:
                    yield from self._sent(dispatch, _reserved(step), called)
        except LLMError as error:
            called.error = error
        called.ended = self.now

    def _sent(self, dispatch: Dispatch, step: Try, called: Called) -> Iterator[float]:
        """One request, and its hedge, if there is one."""
        running = [self._begun(step, called)]
        after = dispatch.hedge_delay(step) if isinstance(dispatch, HedgedDispatch) else None
        if (
            isinstance(dispatch, HedgedDispatch)
            and after is not None
            and running[0].ends_at > self.now + after
        ):
            yield after
            hedge = dispatch.choose_hedge(step)
            running += [] if hedge is None else [self._begun(_reserved(hedge), called)]
        while running:
            ended = min(running, key=lambda one: one.ends_at)
            yield ended.ends_at - self.now
            running.remove(ended)
            failure = ended.reply.failure
            if failure is None or dispatch.is_final_failure(ended.step, failure):
                for loser in running:
                    self._lost(dispatch, loser)
                running = []
            self._told(dispatch, ended, called)

    def _begun(self, step: Try, called: Called) -> Running:
        called.steps.append(step)
        reply = self._reply(step.candidate)
        if reply.seconds > step.seconds:
            reply = Reply(ClassifiedFailure(FailureCategory.TIMEOUT), step.seconds + self._lag)
        begun = Running(step, reply, self.now)
        is_probe = self.is_open(step.candidate.endpoint_circuit)
        self.requests.append(Request(step.candidate, self.now, is_probe, begun.ends_at))
        return begun

    def _told(self, dispatch: Dispatch, ended: Running, called: Called) -> None:
        step, reply = ended.step, ended.reply
        called.replies.append(reply)
        attempt = _attempt(step.candidate, reply, ended.started)._replace(hedge=step.hedge)
        if reply.failure is None:
            called.receipt = dispatch.record_success(step, self._measured(attempt))
        else:
            called.error = dispatch.record_failure(step, attempt, reply.failure, partial=reply.partial)

    def _lost(self, dispatch: Dispatch, loser: Running) -> None:
        cancelled = Reply(ClassifiedFailure(FailureCategory.CANCELLED), self.now - loser.started)
        attempt = _attempt(loser.step.candidate, cancelled, loser.started)
        attempt = attempt._replace(outcome="cancelled", hedge=loser.step.hedge)
        dispatch.record_failure(loser.step, attempt, ClassifiedFailure(FailureCategory.CANCELLED))

    # Endpoints -----------------------------------------------------------------------------------------------------

    def _reply(self, candidate: Candidate) -> Reply:
        behaviour = self.behaves.get(str(candidate.endpoint), OK)
        if isinstance(behaviour, Reply):
            return behaviour
        if isinstance(behaviour, dict):
            return behaviour[max(since for since in behaviour if since <= self.now)]
        if callable(behaviour):
            return behaviour(self.now)
        return behaviour.pop(0) if len(behaviour) > 1 else behaviour[0]

    def _measured(self, attempt: Attempt) -> Attempt:
        first, tokens = self.first_tokens.get(attempt.endpoint), self.tokens.get(attempt.endpoint)
        return attempt._replace(
            first_token=None if first is None else timedelta(seconds=first),
            usage=None if tokens is None else TokenUsage(tokens),
        )

    def sent_to(self, endpoint: str) -> list[Request]:
        return [request for request in self.requests if str(request.candidate.endpoint) == endpoint]

    # What is known of them -----------------------------------------------------------------------------------------

    def circuit(self, feature: str = "f", place: int = 0, caller: Caller = HOUSE) -> Circuit:
        """The circuit of one of a feature's endpoints, whatever its health."""
        healthy = plan_route(self.snapshot, feature, caller, Needs(), today=TODAY)
        return healthy.candidates[place].endpoint_circuit

    def open(self, circuit: Circuit) -> None:
        """Five failures in a row: its breaker opens."""
        for _ in range(5):
            self.health.record_failure(circuit, FailureCategory.SERVER)

    def is_open(self, circuit: Circuit) -> bool:
        """Whether its breaker is not closed: open, or half open."""
        condition = self.health._conditions.get(circuit)
        return condition is not None and condition.breaker.opens_until is not None


def settle(dispatch: Dispatch, step: Try, category: FailureCategory | None = None) -> LLMError | None:
    """Tell ``dispatch`` at once what came of ``step``."""
    reply = OK if category is None else fails(category)
    attempt = _attempt(step.candidate, reply, 0.0)
    if reply.failure is None:
        dispatch.record_success(step, attempt)
        return None
    return dispatch.record_failure(step, attempt, reply.failure)


def users_own(*providers: str, name: str = "ann", policy: KeyPolicy | None = None) -> Caller:
    """A caller with a key of their own for each of ``providers``."""
    keys = {provider: f"{name}-{provider}" for provider in providers}
    return Caller(user_id=name, keys=keys, key_policy=policy)


def _attempt(candidate: Candidate, reply: Reply, started: float) -> Attempt:
    failure = reply.failure
    attempt = Attempt(
        endpoint=str(candidate.endpoint),
        key_owner=candidate.owner,
        account=candidate.account_name,
        outcome="ok",
        started=START + timedelta(seconds=started),
        duration=timedelta(seconds=reply.seconds),
    )
    if failure is None:
        return attempt
    is_rejection = POLICY[failure.category].is_rejection
    return attempt._replace(
        outcome="rejected" if is_rejection else "failed",
        category=failure.category,
        status=failure.status,
    )


def _reserved(step: Try | ReserveThenTry) -> Try:
    """Nobody has a budget here that is used up."""
    return step.step if isinstance(step, ReserveThenTry) else step
