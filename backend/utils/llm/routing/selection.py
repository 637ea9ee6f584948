"""How one of several endpoints is chosen: each strategy as a pure order over candidates, and what a choice leaves behind.

`ordered` peeks, so that a plan shows what would be chosen; `chosen` is told once the choice is made. Whoever does both
in one step holds the lock of the traffic that they read and write.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import groupby
from math import inf, log2
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, cast

from ..model_config import (
    ByTier,
    ContextLadder,
    CostLadder,
    Latency,
    LeastBusy,
    LeastUsed,
    Quota,
    Weighted,
)
from ..state.rate_limiter import first_reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..caller import Caller
    from ..state.load import Target, Timed
    from ..state.traffic import Traffic
    from .route import Candidate, Needs

ABOUT = 1.25
"""Who takes no longer than so many times the best is about as quick."""

Candidates = list["Candidate"]
_rank = attrgetter("rank")
_place = attrgetter("place")


class SelectionContext(NamedTuple):
    """What a choice depends on, beside the candidates."""

    needs: Needs
    caller: Caller
    traffic: Traffic


def ordered(candidates: Iterable[Candidate], situation: SelectionContext) -> Candidates:
    """``candidates``, tier by tier, each in the order in which they would be tried now."""
    order: Candidates = []
    everybody = list(candidates)
    if len(everybody) < 2:  # noqa: PLR2004 - nothing to choose
        return everybody
    for tier in _tiers(everybody):
        strategy = _STRATEGIES.get(type(tier[0].select)) if len(tier) > 1 else None
        order += strategy(sorted(tier, key=_place), situation) if strategy is not None else tier
    return order


def _tiers(candidates: Candidates) -> list[Candidates]:
    """Most often there is one. Of a last resort the tiers may come mixed, as each may be asked."""
    keys = list(map(_rank, candidates))
    if keys and keys.count(keys[0]) == len(keys):
        return [candidates]
    return [list(run) for _, run in groupby(candidates, key=_rank)]


def chosen(candidate: Candidate, among: Sequence[Candidate], situation: SelectionContext) -> None:
    """``candidate`` is asked; it was chosen ``among`` those of its tier that could be."""
    situation.traffic.round_robin.chosen(candidate.scope)
    follow = _AFTERMATH.get(type(candidate.select))
    if follow is not None:
        follow(candidate, among, situation)


def timed(needs: Needs) -> Timed:
    """Which of its times matters for a call."""
    return "first_token" if needs.streams else "total"


def tier_of(select: ByTier, caller: Caller) -> str:
    """The caller's tier, as far as ``select`` knows it."""
    return caller.tier if caller.tier in select.tiers else select.default


# Each as good as the other -------------------------------------------------------------------------------------------


def _shares(tier: Sequence[Candidate]) -> list[int]:
    """The weight of each one's account."""
    return [one.account.weight if one.account is not None else 1 for one in tier]


def _sorted(tier: Candidates, keys: Sequence[float] | Sequence[tuple[float, ...]]) -> Candidates:
    return [tier[place] for place in sorted(range(len(tier)), key=keys.__getitem__)]


def _weights(tier: Sequence[Candidate]) -> dict[Target, float]:
    """An endpoint's weight is shared by its accounts, as theirs say."""
    weights, targets = cast("Weighted", tier[0].select).weights, [one.target for one in tier]
    if len({endpoint for endpoint, _ in targets}) == len(targets):
        return {target: weights.get(target[0], 1) for target in targets}
    shares = dict(zip(targets, _shares(tier), strict=True))
    totals: Counter[str] = Counter()
    for (endpoint, _), share in shares.items():
        totals[endpoint] += share
    return {target: weights.get(target[0], 1) * share / totals[target[0]] for target, share in shares.items()}


def _by_weight(tier: Candidates, situation: SelectionContext) -> Candidates:
    current_weight = situation.traffic.round_robin.current_weight(tier[0].scope)
    return _sorted(
        tier, [-current_weight.get(target, 0.0) - weight for target, weight in _weights(tier).items()]
    )


def _pay(candidate: Candidate, among: Sequence[Candidate], situation: SelectionContext) -> None:
    situation.traffic.round_robin.weigh(candidate.scope, candidate.target, _weights(among))


def _heats(tier: Sequence[Candidate], situation: SelectionContext) -> list[float]:
    """How much each was used lately, for its weight, as logarithms."""
    loads = situation.traffic.targets.loads([one.target for one in tier])
    return [load.recent_requests - log2(share) for load, share in zip(loads, _shares(tier), strict=True)]


def _least_used(tier: Candidates, situation: SelectionContext) -> Candidates:
    return _sorted(tier, _heats(tier, situation))


def _least_busy(tier: Candidates, situation: SelectionContext) -> Candidates:
    now, loads = situation.traffic.clock(), situation.traffic.targets.loads([one.target for one in tier])
    return _sorted(
        tier,
        [
            (
                load.failing is not None and load.failing.is_too_often(now),
                load.in_flight.count(now) / share,
                load.recent_requests - log2(share),
            )
            for load, share in zip(loads, _shares(tier), strict=True)
        ],
    )


def _level_up(candidate: Candidate, among: Sequence[Candidate], situation: SelectionContext) -> None:
    """Who could not be chosen for a while is not flooded to make up for it: it starts level with the others."""
    traffic = situation.traffic
    new = traffic.round_robin.newcomers(candidate.scope, {one.target for one in among})
    if not new:
        return
    recent_requests_of = zip(among, _heats(among, situation), strict=True)
    level = min(
        (recent_requests for one, recent_requests in recent_requests_of if one.target not in new),
        default=-inf,
    )
    for one, share in zip(among, _shares(among), strict=True):
        if one.target in new:
            traffic.targets.level_up(one.target, level + log2(share))


def _soonest_reset(tier: Candidates, situation: SelectionContext) -> Candidates:
    resets = situation.traffic.rate_limiter.resets()
    return _sorted(tier, [first_reset(one.meters, resets) for one in tier])


def _by_latency(tier: Candidates, situation: SelectionContext) -> Candidates:
    """By how quick they are; now and then the one that was not timed for longest comes first.

    How quick one would be is its latency times the requests that it has under way, this one included. So calls that
    come at once do not all run to the one that was quickest before them. Of those that are about as quick as the best
    the dice draw two, and the quicker of these comes first: so that processes that do not know of each other do not
    all choose the same one either. Of what is not known the best is assumed. Whatever fails too often comes last.
    """
    traffic, kind = situation.traffic, timed(situation.needs)
    now, loads = traffic.clock(), traffic.targets.loads([one.target for one in tier])
    known = [load.latency.get(kind) for load in loads]
    hopes = [None if latency is None else latency.hoped(now) for latency in known]
    best = min([hope for hope in hopes if hope is not None], default=1.0) if None in hopes else 1.0
    prospects = [
        (
            load.failing is not None and load.failing.is_too_often(now),
            (best if hope is None else hope) * (load.in_flight.count(now) + 1) / share,
            load.recent_requests,
        )
        for load, hope, share in zip(loads, hopes, _shares(tier), strict=True)
    ]
    prospect_of = prospects.__getitem__
    ranks = sorted(range(len(tier)), key=prospect_of)
    is_failing, quickest, _ = prospects[ranks[0]]
    near = bisect_right(ranks, (is_failing, ABOUT * quickest, inf), key=prospect_of)
    order = [tier[rank] for rank in ranks]
    first = _stalest(tier, situation) or order[_better_of_two(near, traffic.round_robin.draw)]
    return [first, *(one for one in order if one is not first)]


def _better_of_two(ranked: int, dice: float) -> int:
    """The better of two different ones of so many that are ranked; each pair is as likely as the other."""
    first = int(dice * ranked)
    second = int((dice * ranked - first) * (ranked - 1))
    return min(first, second + (second >= first)) if ranked > 1 else 0


def _stalest(tier: Candidates, situation: SelectionContext) -> Candidate | None:
    """The one that was not timed for longest, if it is the turn of a call that looks around."""
    select, traffic = cast("Latency", tier[0].select), situation.traffic
    if not traffic.round_robin.explores(tier[0].scope, select.explore):
        return None
    kind, now, targets = timed(situation.needs), traffic.clock(), traffic.targets
    timed_at = [targets.timed_at(one.target, kind) for one in tier]
    place = timed_at.index(min(timed_at))
    is_free = now - timed_at[place] >= select.stale_after and not targets.busy(tier[place].target)
    return tier[place] if is_free else None


# Ladders, best first -------------------------------------------------------------------------------------------------


def _by_tier(tier: Candidates, situation: SelectionContext) -> Candidates:
    select = cast("ByTier", tier[0].select)
    places = {
        name: place for place, name in enumerate(select.tiers[tier_of(select, situation.caller)].endpoints)
    }
    return sorted(tier, key=lambda one: places.get(str(one.endpoint), len(places)))


def _by_context(tier: Candidates, situation: SelectionContext) -> Candidates:
    """From the first rung that is long enough upwards, then the shorter ones: those that the prompt fits, if only just."""
    select, names = cast("ContextLadder", tier[0].select), [str(one.endpoint) for one in tier]
    conversation = situation.caller.conversation_id
    last = situation.traffic.session_affinity.last(tier[0].scope, conversation) if conversation else None
    stood = names.index(last) if last in names else 0
    for place, one in enumerate(tier):
        share = 1.0 if place >= stood else select.back_at
        if situation.needs.tokens <= share * min(one.room, select.up_to.get(names[place], one.room)):
            return [*tier[place:], *tier[:place]]
    return tier[::-1]


def _stand_on(candidate: Candidate, _: Sequence[Candidate], situation: SelectionContext) -> None:
    if situation.caller.conversation_id:
        rungs = situation.traffic.session_affinity
        rungs.served(candidate.scope, situation.caller.conversation_id, candidate.target[0])


def _by_score(tier: Candidates, situation: SelectionContext) -> Candidates:
    """From the first rung whose answers are good enough, or unknown, upwards; then what lies below."""
    select, traffic = cast("CostLadder", tier[0].select), situation.traffic
    scope, least, remember = tier[0].scope, select.least, select.remember
    if traffic.round_robin.explores(scope, select.explore):
        return tier
    for place, one in enumerate(tier):
        mean = traffic.quality_scores.mean(scope, one.target[0], least=least, remember=remember)
        if mean is None or mean >= select.enough:
            return [*tier[place:], *tier[:place]]
    return tier[::-1]


_STRATEGIES: dict[type, Callable[[Candidates, SelectionContext], Candidates]] = {
    ByTier: _by_tier,
    ContextLadder: _by_context,
    CostLadder: _by_score,
    Latency: _by_latency,
    LeastBusy: _least_busy,
    LeastUsed: _least_used,
    Quota: _soonest_reset,
    Weighted: _by_weight,
}
"""What is not here stays as it was written: ordered, and custom selections, which others order."""
_AFTERMATH: dict[type, Callable[[Candidate, Sequence[Candidate], SelectionContext], None]] = {
    ContextLadder: _stand_on,
    LeastBusy: _level_up,
    LeastUsed: _level_up,
    Weighted: _pay,
}
"""What a choice leaves behind."""
