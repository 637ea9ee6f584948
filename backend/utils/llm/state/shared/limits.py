"""Limits that hold for all processes together: counted in this process as usual, and in the store before a request goes out.

The local count refuses at once. The store decides, and its answers are cached, so that no process asks when nothing is free.
While the store is away, each process keeps to its share of every limit, and reports afterwards what it has sent.
"""

from __future__ import annotations

import math
import os
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING

from typing_extensions import override

from ..rate_limiter import LONGEST_POLL, POLL_SECONDS, ExceededLimit, RateLimiter
from .asking import PendingStoreRequests, RefusalBackoff
from .awaited import MOST_LOOKS, NEXT_LOOK_SECONDS, SingleWaiterFuture
from .claims import (
    CachedSharedLimit,
    CountedRequest,
    LimitClaimBuilder,
    describe_limit,
    find_window_bucket,
    iter_counter_changes,
    merge_counter_changes,
)
from .store import ALLOWED_SECONDS, PROMPT_SECONDS, CounterChange, SharedEvent
from .unreported import UnreportedAmounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from threading import RLock

    from ...rate_limits import RateLimit
    from ..rate_limiter import MeteredScope
    from ..windows import Window
    from .claims import LimitClaim
    from .names import HashedNames
    from .store import LimitState, ReservationAnswer, SharedLimit, StateStore

USED = "used"
"""The kind of event that tells how many tokens of a quota a process has used."""
MOST_CACHED_LIMITS = 20_000
IN_USE_SECONDS = 60.0
MOST_IN_USE = 32
"""The number of recently used limits for which a process gets an allowance."""
STAGGER_SECONDS = 0.01
"""Seconds between the checks of two calls that wait for the same limit: the first learns how many may follow."""
_ASKS = 0.01
"""Seconds until the next check for the answer that another call waits for."""


class SharedRateLimiter(RateLimiter):
    """A `RateLimiter` that also counts requests in a store that all processes share.

    Callers hold ``lock`` during every call, unless a method says otherwise.

    Args:
        clock: The monotonic clock, in seconds.
        epoch: The wall clock, in seconds since the epoch.
        lock: The lock of the process's `TrafficState`.
        store: The store that counts for all processes.
        names: Hashes the names of scopes for the store.
        random: Returns a random number from 0 up to, not including, 1.
    """

    is_shared = True

    def __init__(
        self,
        clock: Callable[[], float],
        epoch: Callable[[], float],
        lock: RLock,
        store: StateStore,
        names: HashedNames,
        random: Callable[[], float],
    ) -> None:
        super().__init__(clock, epoch)
        self._lock = lock
        self._store = store
        self._names = names
        self._process = os.urandom(8).hex()
        self._cached: dict[str, CachedSharedLimit] = {}
        self._looked_at = -math.inf
        self._askers = PendingStoreRequests(clock)
        self._refusals = RefusalBackoff(random)
        self._requests: dict[int, CountedRequest] = {}
        self._unreported = UnreportedAmounts()
        self._uncopied: set[str] = set()
        self._claimed: dict[str, tuple[LimitClaim, float]] = {}
        self._claims = LimitClaimBuilder(names, epoch, self.next_quota_resets)

    # What is full ------------------------------------------------------------------------------------------------------

    @property
    def _is_alone(self) -> bool:
        """Whether this process must keep to its share, as the store neither counts nor is merely slow."""
        return not (self._store.joined or self._store.is_slow)

    @override
    def _own(self, amount: int) -> int:
        return self._share(amount) if self._is_alone else amount

    @override
    def _obstacles(self, meter: MeteredScope, tokens: int, call_number: int) -> Iterator[ExceededLimit]:
        yield from super()._obstacles(meter, tokens, call_number)
        if self._is_alone:
            yield from self._over_what_was_left(meter, tokens, call_number)
        elif self._cached or not self._store.joined:
            yield from self._elsewhere(meter, tokens, call_number)

    def _needs(
        self, meter: MeteredScope, tokens: int, call_number: int
    ) -> Iterator[tuple[LimitClaim, int, int]]:
        """For each limit: the amount that this call and the calls before it need, and the number of those calls."""
        count = self._counts.get(meter.scope)
        before = count.queue.count_calls_ahead(call_number, self._clock()) if count is not None else 0
        asked = (
            sum(count.queue.tokens_of_first_calls(before)) if count is not None and meter.limits.tokens else 0
        )
        for claim in self._claims.build_claims(meter, tokens):
            yield claim, asked + tokens if claim.unit == "tokens" else before + 1, before

    def _elsewhere(self, meter: MeteredScope, tokens: int, call_number: int) -> Iterator[ExceededLimit]:
        """Each limit exceeded by the store's last answer; while the store is silent, each with too small an allowance."""
        now, joined = self._clock(), self._store.joined
        for claim, need, before in self._needs(meter, tokens, call_number):
            cached = self._cached.get(claim.limit.key)
            if cached is None and joined:
                continue
            if cached is not None and need <= (cached.left if joined else cached.allowance_at(now)):
                continue
            seconds = max(0.0, cached.free_at - now) if cached is not None and joined else 0.0
            turn = min(LONGEST_POLL, STAGGER_SECONDS * before)
            if not joined:
                turn = max(turn, POLL_SECONDS)
            elif seconds == 0 and self._askers.count_pending(meter.scope):
                turn = max(turn, _ASKS)
            if (look_in := seconds + turn) > 0:
                is_guess = claim.unit == "places" or seconds == 0
                is_quota = claim.limit.kind == "total"
                yield ExceededLimit(
                    meter.scope, describe_limit(claim, meter), look_in, look_in, is_quota, is_guess
                )

    def _over_what_was_left(
        self, meter: MeteredScope, tokens: int, call_number: int
    ) -> Iterator[ExceededLimit]:
        """While the store is away: each limit of which its last answer left too little."""
        now = self._clock()
        for claim, need, _ in self._needs(meter, tokens, call_number):
            cached = self._cached.get(claim.limit.key)
            if cached is None or self._fits_alone(claim, cached, need, self._used(claim) + need):
                continue
            seconds = cached.ends_at - now
            if (window := self._window_of(claim)) is not None and cached.most_alone >= claim.limit.ask:
                seconds = min(seconds, window.seconds_until_free([need], cached.most_alone))
            seconds = max(POLL_SECONDS, seconds)
            is_quota = claim.limit.kind == "total"
            yield ExceededLimit(
                meter.scope, describe_limit(claim, meter), seconds, seconds, is_quota, claim.unit == "places"
            )

    def _fits_alone(self, claim: LimitClaim, cached: CachedSharedLimit, need: int, used: int) -> bool:
        """Whether ``used``, with what is needed, fits what the store's last answer left for this process."""
        if self._clock() >= cached.ends_at:
            return True
        return used <= cached.most_alone or (used == need == claim.limit.ask and need <= max(0, cached.left))

    def _used(self, claim: LimitClaim) -> int:
        """The amount that counts in this process."""
        if (window := self._window_of(claim)) is not None:
            return window.used_amount()
        count = self._counts.get(claim.scope)
        return count.in_flight.count(self._clock()) if count is not None and claim.unit == "places" else 0

    def _window_of(self, claim: LimitClaim) -> Window | None:
        count = self._counts.get(claim.scope)
        return count.windows.get((claim.unit, claim.per)) if count is not None and claim.per else None

    # A request ---------------------------------------------------------------------------------------------------------

    @override
    def count_request(
        self, meters: Sequence[MeteredScope], tokens: int, request_number: int, until: float
    ) -> None:
        super().count_request(meters, tokens, request_number, until)
        claims = tuple(claim for meter in meters for claim in self._claims.build_claims(meter, tokens))
        cached_limits = tuple(self._cached_limit(claim) for claim in claims)
        name, now = f"{self._process}:{request_number}", self._clock()
        self._requests[request_number] = CountedRequest(
            name, meters, tokens, now, until, claims, cached_limits
        )
        for claim, cached in zip(claims, cached_limits, strict=True):
            cached.left -= claim.limit.ask
            cached.asked += claim.limit.ask

    def _cached_limit(self, claim: LimitClaim) -> CachedSharedLimit:
        cached = self._cached.get(claim.limit.key)
        if cached is None:
            if len(self._cached) > MOST_CACHED_LIMITS:
                self._cached, self._claimed = {}, {}
                self._refusals.forget_all_refusals()
            cached = self._cached[claim.limit.key] = CachedSharedLimit()
        return cached

    @override
    def reserve_shared_limits(self, request_number: int) -> bool:
        request, answer = self._asked(request_number)
        looks = repeat(NEXT_LOOK_SECONDS, MOST_LOOKS)
        patience: float | None = self._store.patience
        while patience and not answer.wait(patience) and not self._store.is_unreachable():
            patience = next(looks, None)
        return self._may_go(request, answer)

    @override
    async def areserve_shared_limits(self, request_number: int) -> bool:
        request, answer = self._asked(request_number)
        looks = repeat(NEXT_LOOK_SECONDS, MOST_LOOKS)
        patience: float | None = self._store.patience
        while patience and not await answer.wait_async(patience) and not self._store.is_unreachable():
            patience = next(looks, None)
        return self._may_go(request, answer)

    def _asked(self, number: int) -> tuple[CountedRequest, SingleWaiterFuture[ReservationAnswer]]:
        """Ask the store to reserve request ``number``; the answer is awaited."""
        answer: SingleWaiterFuture[ReservationAnswer] = SingleWaiterFuture()
        with self._lock:
            request = self._requests[number]
            for meter in request.meters:
                self._askers.record_request_sent(meter.scope)
        limits = [claim.limit for claim in request.claims]
        self._store.reserve(request.name, limits, partial(self._take_answer, request, answer))
        return request, answer

    def _may_go(self, request: CountedRequest, answer: SingleWaiterFuture[ReservationAnswer]) -> bool:
        reservation = answer.value
        if reservation is None or (reservation.granted and not self._store.joined):
            with self._lock:
                return self._goes_alone(request)
        if reservation.granted:
            self._count_from_now(request)
        return reservation.granted

    def _count_from_now(self, request: CountedRequest) -> None:
        """Move a granted request to the current bucket, if the grant was received late: the provider sees the request now."""
        late = self._clock() - request.at
        if late <= PROMPT_SECONDS:
            return
        changes = [
            change
            for claim, bucket in zip(request.claims, request.buckets, strict=True)
            if claim.limit.kind == "window" and claim.limit.ask and late > claim.limit.max_grant_delay_seconds
            for change in (
                CounterChange(claim.limit, bucket, -claim.limit.ask),
                CounterChange(claim.limit, -1, claim.limit.ask),
            )
        ]
        self._store.queue_changes(changes)

    def _take_answer(
        self,
        request: CountedRequest,
        answer: SingleWaiterFuture[ReservationAnswer],
        reservation: ReservationAnswer | None,
    ) -> None:
        """Take the store's answer. From any thread."""
        with self._lock:
            for meter in request.meters:
                self._askers.record_request_done(meter.scope)
            for claim, cached in zip(request.claims, request.cached, strict=True):
                cached.asked -= claim.limit.ask
            if reservation is not None:
                self._learn(request, reservation)
                if reservation.granted:
                    self._granted(request, reservation)
                elif request.state == "asked":
                    request.state = "refused"
        answer.set(reservation)

    def _granted(self, request: CountedRequest, reservation: ReservationAnswer) -> None:
        is_reported = request.state == "granted" or (request.state == "alone" and request.is_over)
        if is_reported:  # once is enough
            self._store.queue_changes(
                [
                    CounterChange(claim.limit, room.bucket, -claim.limit.ask)
                    for claim, room in zip(request.claims, reservation.rooms, strict=True)
                    if claim.unit != "places"
                ]
            )
        else:
            request.state = "granted"
            request.buckets = tuple(room.bucket for room in reservation.rooms)
        if request.is_over:
            self._give_back(request, corrects=not is_reported)

    def _give_back(self, request: CountedRequest, *, corrects: bool) -> None:
        """Give back what was granted to a request that had already ended."""
        if corrects:
            self._correct(request, {claim.limit.key: claim.limit.ask for claim in request.claims})
        if keys := [claim.limit.key for claim in request.claims if claim.unit == "places"]:
            self._store.release_slots(request.name, keys, send_now=False)

    def _learn(self, request: CountedRequest, reservation: ReservationAnswer) -> None:
        """Cache the amount left of each limit, and when more is free."""
        now = self._clock()
        for claim, cached, room in zip(request.claims, request.cached, reservation.rooms, strict=True):
            self._claimed.pop(claim.limit.key, None)
            self._claimed[claim.limit.key] = claim, now  # the one that was used last comes last
            cached.free_at = now + self._wait(claim, cached, room, reservation)
            cached.left = room.left
            self._allow(claim, cached, room, request.at)

    def _allow(self, claim: LimitClaim, cached: CachedSharedLimit, room: LimitState, asked_at: float) -> None:
        """Cache the allowance for the time when the store is silent; not from an answer that came too late."""
        if not self._store.joined:
            return
        left, limit = max(0, room.left), claim.limit
        if room.allowance is not None:
            cached.allowance, cached.allowed_until = room.allowance, asked_at + ALLOWED_SECONDS
        cached.allowance = min(cached.allowance, left)
        cached.most_alone = self._used(claim) - cached.asked + left // self._store.processes
        seconds = {"total": math.inf, "places": ALLOWED_SECONDS, "window": limit.grant_seconds}[limit.kind]
        cached.ends_at = self._clock() + seconds

    def _wait(
        self, claim: LimitClaim, cached: CachedSharedLimit, room: LimitState, reservation: ReservationAnswer
    ) -> float:
        """Seconds until the store should be asked again; longer after each refusal, up to this process's turn."""
        limit, is_refused = claim.limit, not reservation.granted and room.left < claim.limit.ask
        if not is_refused:
            self._refusals.record_grant(limit)
        if limit.kind == "total":
            return self.next_quota_resets()[claim.per or "day"] - self._epoch()
        wait = room.wait if limit.kind == "window" else POLL_SECONDS
        if not is_refused:
            return wait
        if cached.left < limit.ask and cached.free_at > (now := self._clock()):
            return max(wait, cached.free_at - now)  # refusals of concurrent requests count once
        return wait + self._refusals.record_refusal(limit, self._store.processes)

    def _goes_alone(self, request: CountedRequest) -> bool:
        """Whether the request may go out without the store's answer: by the allowance; by the share if the store is away."""
        now, both = self._clock(), tuple(zip(request.claims, request.cached, strict=True))
        if self._is_alone:
            if not all(self._is_within_share(claim, cached) for claim, cached in both):
                return False
        elif any(cached.allowance_at(now) < claim.limit.ask for claim, cached in both):
            return False
        else:
            for claim, cached in both:
                cached.allowance -= claim.limit.ask
        if request.state != "granted":  # by an answer that came when this process was already by itself
            request.state, request.at = "alone", now
        return True

    def _is_within_share(self, claim: LimitClaim, cached: CachedSharedLimit) -> bool:
        """Whether what counts here, this request included, is within the process's share of the limit and what was left."""
        limit, used = claim.limit, self._used(claim)
        is_own = used <= max(0 if claim.unit == "places" else limit.ask, self._share(limit.most))
        return is_own and self._fits_alone(claim, cached, limit.ask, used)

    def _share(self, amount: int) -> int:
        return max(1, amount // self._store.processes)

    @override
    def mark_request_answered(self, meters: Sequence[MeteredScope], request_number: int) -> None:
        super().mark_request_answered(meters, request_number)
        if (request := self._requests.get(request_number)) is not None:
            self._free(request)

    @override
    def settle_request(
        self,
        meters: Sequence[MeteredScope],
        request_number: int,
        used_tokens: int | None,
        *,
        reached_provider: bool = True,
    ) -> None:
        super().settle_request(meters, request_number, used_tokens, reached_provider=reached_provider)
        request = self._requests.pop(request_number, None)
        if request is None:
            return
        counted = {claim.limit.key: request.amount_for(claim) for claim in request.claims}
        request.is_over, request.arrived = True, reached_provider
        request.tokens = request.tokens if used_tokens is None else used_tokens
        self._free(request)
        if request.state == "granted":
            self._correct(request, counted)
        elif request.state == "alone":
            self._keep(request, counted)
        elif request.state == "refused":  # it counted here when the answer was cached
            for claim, cached in zip(request.claims, request.cached, strict=True):
                cached.most_alone -= claim.limit.ask

    def _keep(self, request: CountedRequest, counted: dict[str, int]) -> None:
        """Keep what the request used without the store's answer, to report later; add the unused part to the allowance."""
        now = self._clock()
        for claim, cached in zip(request.claims, request.cached, strict=True):
            limit, amount = claim.limit, request.amount_for(claim)
            if claim.unit != "places" and now < cached.allowed_until:
                cached.allowance += counted[limit.key] - amount
            if claim.unit != "places" and amount:
                self._unreported.add_amount(limit, request.at, amount)
        self._unreported.drop_expired(2 * len(request.claims), now)

    def _free(self, request: CountedRequest) -> None:
        """Release the places of a request."""
        if not request.has_place:
            return
        request.has_place = False
        both = zip(request.claims, request.cached, strict=True)
        places = [(claim.limit.key, cached) for claim, cached in both if claim.unit == "places"]
        is_full = any(cached.left <= 0 for _, cached in places)
        for _, cached in places if request.state == "granted" else ():
            cached.left += 1
        if places and request.state != "refused":  # what was asked and never answered may have been granted
            had_place = request.state != "asked"
            for _, cached in places if had_place and self._store.is_slow else ():
                cached.add_allowance(1, self._clock())
            self._store.release_slots(request.name, [key for key, _ in places], send_now=is_full)

    def _correct(self, request: CountedRequest, counted: dict[str, int]) -> None:
        """Correct the amounts ``counted`` in the store to those that the request really used."""
        changes = []
        for claim, cached, bucket in zip(request.claims, request.cached, request.buckets, strict=True):
            if claim.unit == "places" or claim.scope in self._uncopied:
                continue
            more = request.amount_for(claim) - counted[claim.limit.key]
            if more:
                changes.append(CounterChange(claim.limit, bucket if more < 0 else -1, more))
                cached.left -= more
        self._store.queue_changes(changes)

    # What the store has to hear when it is back. From any thread ---------------------------------------------------------

    def list_unreported_changes(
        self, bucket_at_age: Callable[[SharedLimit, float], int], *, include_reported: bool
    ) -> Iterable[CounterChange]:
        """List the amounts that the store does not count yet. See `CountReporter.list_unreported_changes`."""
        return self._everything(bucket_at_age) if include_reported else self._alone(bucket_at_age)

    def _alone(self, bucket_of: Callable[[SharedLimit, float], int]) -> list[CounterChange]:
        """The amounts sent without the store's answer."""
        with self._lock:
            now = self._clock()
            found = self._unreported.pop_all_as_changes(now, bucket_of)
            for request in self._requests.values():
                if request.state == "alone":
                    _report(request, now, bucket_of)
                    found += iter_counter_changes(request)
            return merge_counter_changes(found)

    def _everything(self, bucket_of: Callable[[SharedLimit, float], int]) -> Iterator[CounterChange]:
        """Every amount that counts here, one scope at a time, so that calls go on in between."""
        scopes: dict[str, list[LimitClaim]] = {}
        with self._lock:
            now = self._clock()
            for claim, _ in self._claimed.values():
                scopes.setdefault(claim.scope, []).append(claim)
            self._unreported.clear()
            for request in self._requests.values():
                _report(request, now, bucket_of)
            self._uncopied = set(scopes)  # what is given back of these is seen in the copy
        try:
            for scope, claims in scopes.items():
                with self._lock:
                    grants = [(claim.limit, *item) for claim in claims for item in self._grants(claim)]
                    self._uncopied.discard(scope)
                yield from merge_counter_changes(
                    CounterChange(limit, find_window_bucket(limit, age, bucket_of), amount)
                    for limit, age, amount in grants
                )
        finally:
            self._uncopied = set()

    def _grants(self, claim: LimitClaim) -> list[tuple[float, int]]:
        """The grants of the claim's window, with their ages; none for places."""
        window = self._window_of(claim)
        return window.list_counted_grants() if window is not None else []

    def list_taken_slots(self) -> Iterable[tuple[SharedLimit, str]]:
        """List the slots that are taken in concurrency limits. See `CountReporter.list_taken_slots`."""
        with self._lock:
            now = self._clock()
            for number in [number for number, request in self._requests.items() if request.until <= now]:
                over = self._requests.pop(number)
                if over.state == "alone":
                    self._keep(over, {claim.limit.key: over.amount_for(claim) for claim in over.claims})
            return [
                (claim.limit, request.name)
                for request in self._requests.values()
                if request.has_place and request.state in {"granted", "alone"}
                for claim in request.claims
                if claim.unit == "places"
            ]

    def on_store_rejoin(self) -> None:
        """Forget the store's earlier answers, because it counts again. See `CountReporter.on_store_rejoin`."""
        with self._lock:
            for cached in self._cached.values():
                # Requests that wait know it, too; and what one of them does not use is not for the others.
                cached.allowance, cached.allowed_until = 0, -math.inf
            self._cached = {}

    def list_limits_in_use(self) -> Sequence[tuple[SharedLimit, int]]:
        """List the limits of the last minute with this process's allowances. See `CountReporter.list_limits_in_use`."""
        with self._lock:
            now = self._looked_at = self._clock()
            last = islice(reversed(self._claimed.values()), MOST_IN_USE)
            claims = [claim for claim, at in last if now - at < IN_USE_SECONDS]
            return [(claim.limit, self._cached_limit(claim).allowance_at(now)) for claim in claims]

    def set_allowances(self, limit_states: Sequence[tuple[SharedLimit, LimitState]]) -> None:
        """Cache the allowances that the store has set aside for this process. See `CountReporter.set_allowances`."""
        with self._lock:
            for limit, room in limit_states:
                if limit.key in self._claimed:
                    claim, _ = self._claimed[limit.key]
                    cached = self._cached_limit(claim)
                    cached.left = room.left - cached.asked
                    self._allow(claim, cached, room, self._looked_at)

    # Usage without reservation -----------------------------------------------------------------------------------------

    @override
    def count_used_tokens(self, scope: str, rate: RateLimit) -> int:
        return super().count_used_tokens(self._names.of(scope), rate)

    @override
    def add_used_tokens(self, scope: str, rate: RateLimit, tokens: int) -> None:
        name = self._names.of(scope)
        super().add_used_tokens(name, rate, tokens)
        if tokens:
            event = SharedEvent(USED, (f"{name} {rate.per}", name, str(rate), tokens))
            self._store.publish(event, merge=_added)

    def add_remote_used_tokens(self, scope_hash: str, rate: RateLimit, tokens: int) -> None:
        """Add ``tokens`` of the quota ``rate`` that another process has used in the scope with this hash."""
        super().add_used_tokens(scope_hash, rate, tokens)


def _report(request: CountedRequest, now: float, bucket_of: Callable[[SharedLimit, float], int]) -> None:
    """Mark ``request`` as counted by the store."""
    request.buckets = tuple(
        find_window_bucket(claim.limit, now - request.at, bucket_of) for claim in request.claims
    )
    request.state = "granted"


def _added(one: SharedEvent, other: SharedEvent) -> SharedEvent:
    return SharedEvent(one.kind, (*one.values[:-1], one.values[-1] + other.values[-1]))
