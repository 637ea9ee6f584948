"""How one of several endpoints is chosen: each strategy as a pure order over candidates, and what a choice leaves behind.

`ordered` peeks, so that a plan shows what would be chosen; `chosen` is told once the choice is made. Whoever does both
in one step holds the lock of the traffic that they read and write.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, cast

from .model_config import (
    ByTier,
    ContextLadder,
    CostLadder,
    Latency,
    LeastBusy,
    LeastUsed,
    Quota,
    Weighted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .caller import Caller
    from .route import Candidate, Needs
    from .traffic import Member, Timed, Traffic

Candidates = list["Candidate"]


class Situation(NamedTuple):
    """What a choice depends on, beside the candidates."""

    needs: Needs
    caller: Caller
    traffic: Traffic


def ordered(candidates: Iterable[Candidate], situation: Situation) -> Candidates:
    """``candidates``, tier by tier, each in the order in which they would be tried now."""
    order: Candidates = []
    for _, run in groupby(candidates, key=lambda one: (one.owner, one.tier)):
        tier = list(run)
        strategy = _STRATEGIES.get(type(tier[0].select)) if len(tier) > 1 else None
        order += strategy(tier, situation) if strategy is not None else tier
    return order


def chosen(candidate: Candidate, among: Sequence[Candidate], situation: Situation) -> None:
    """``candidate`` is asked; it was chosen ``among`` those of its tier that could be."""
    caller, traffic = situation.caller, situation.traffic
    match candidate.select:
        case Weighted():
            traffic.turns.weigh(candidate.scope, candidate.member, _weights(among))
        case ContextLadder() if caller.conversation_id:
            traffic.rungs.served(candidate.scope, caller.conversation_id, str(candidate.endpoint))
        case Latency() | CostLadder():
            traffic.turns.chosen(candidate.scope)
        case _:
            pass


def timed(needs: Needs) -> Timed:
    """Which of its times matters for a call."""
    return "first_token" if needs.streams else "total"


def tier_of(select: ByTier, caller: Caller) -> str:
    """The caller's tier, as far as ``select`` knows it."""
    return caller.tier if caller.tier in select.tiers else select.default


# Each as good as the other -------------------------------------------------------------------------------------------


def _account_weight(candidate: Candidate) -> int:
    return candidate.account.weight if candidate.account else 1


def _weights(tier: Sequence[Candidate]) -> dict[Member, float]:
    """An endpoint's weight is shared by its accounts, as theirs say."""
    select = cast("Weighted", tier[0].select)
    totals: Counter[str] = Counter()
    for one in tier:
        totals[str(one.endpoint)] += _account_weight(one)
    return {
        one.member: select.weights.get(str(one.endpoint), 1)
        * _account_weight(one)
        / totals[str(one.endpoint)]
        for one in tier
    }


def _by_weight(tier: Candidates, situation: Situation) -> Candidates:
    weights, turns = _weights(tier), situation.traffic.turns
    return sorted(tier, key=lambda one: -turns.standing(one.scope, one.member) - weights[one.member])


def _least_used(tier: Candidates, situation: Situation) -> Candidates:
    members = situation.traffic.members
    return sorted(tier, key=lambda one: members.used(one.member) / _account_weight(one))


def _least_busy(tier: Candidates, situation: Situation) -> Candidates:
    members = situation.traffic.members

    def load(one: Candidate) -> tuple[float, float]:
        weight = _account_weight(one)
        return members.busy(one.member) / weight, members.used(one.member) / weight

    return sorted(tier, key=load)


def _soonest_reset(tier: Candidates, situation: Situation) -> Candidates:
    meters = situation.traffic.meters
    return sorted(tier, key=lambda one: meters.seconds_until_reset(one.meters))


def _by_latency(tier: Candidates, situation: Situation) -> Candidates:
    """The quicker of two that the dice draw, then the others by how quick they are; now and then the stalest first.

    How quick one would be is its latency times the requests that it has under way, this one included. So calls that
    come at once do not all run to the one that was quickest before them. Of what is not known the best is assumed.
    """
    by_quickness = _quickest_first(tier, situation)
    first = _stalest(tier, situation)
    if first is None:
        drawn = _two_of(tier, situation.traffic.turns.dice)
        first = next(one for one in by_quickness if one in drawn)
    return [first, *(one for one in by_quickness if one is not first)]


def _quickest_first(tier: Candidates, situation: Situation) -> Candidates:
    members, kind = situation.traffic.members, timed(situation.needs)
    known = {one.member: members.latency(one.member, kind) for one in tier}
    best = min((latency.seconds for latency in known.values() if latency), default=1.0)

    def expected(one: Candidate) -> tuple[float, float]:
        latency = known[one.member]
        seconds = latency.seconds if latency else best
        return seconds * (members.busy(one.member) + 1) / _account_weight(one), members.used(one.member)

    return sorted(tier, key=expected)


def _stalest(tier: Candidates, situation: Situation) -> Candidate | None:
    """The one that was not timed for longest, if it is the turn of a call that looks around."""
    select, traffic = cast("Latency", tier[0].select), situation.traffic
    if not traffic.turns.explores(tier[0].scope, select.explore):
        return None
    members, kind = traffic.members, timed(situation.needs)
    ages = [(traffic.age(members.latency(one.member, kind)), one) for one in tier]
    age, stalest = max(ages, key=lambda pair: pair[0])
    return stalest if age >= select.stale_after and not members.busy(stalest.member) else None


def _two_of(tier: Candidates, dice: float) -> tuple[Candidate, Candidate]:
    """Two different ones, each pair as likely as the other, out of one throw."""
    first = int(dice * len(tier))
    rest = dice * len(tier) - first
    second = int(rest * (len(tier) - 1))
    return tier[first], tier[second + (second >= first)]


# Ladders, best first -------------------------------------------------------------------------------------------------


def _by_tier(tier: Candidates, situation: Situation) -> Candidates:
    select = cast("ByTier", tier[0].select)
    places = {
        name: place for place, name in enumerate(select.tiers[tier_of(select, situation.caller)].endpoints)
    }
    return sorted(tier, key=lambda one: places.get(str(one.endpoint), len(places)))


def _by_context(tier: Candidates, situation: Situation) -> Candidates:
    """From the first rung that is long enough upwards, then the shorter ones: those that the prompt fits, if only just."""
    select, names = cast("ContextLadder", tier[0].select), [str(one.endpoint) for one in tier]
    conversation = situation.caller.conversation_id
    last = situation.traffic.rungs.last(tier[0].scope, conversation) if conversation else None
    stood = names.index(last) if last in names else 0
    for place, one in enumerate(tier):
        share = 1.0 if place >= stood else select.back_at
        if situation.needs.tokens <= share * min(one.room, select.up_to.get(names[place], one.room)):
            return [*tier[place:], *tier[:place]]
    return tier[::-1]


def _by_score(tier: Candidates, situation: Situation) -> Candidates:
    """From the first rung whose answers are good enough, or unknown, upwards; then what lies below."""
    select, traffic = cast("CostLadder", tier[0].select), situation.traffic
    if traffic.turns.explores(tier[0].scope, select.explore):
        return tier
    for place, one in enumerate(tier):
        mean = traffic.scores.mean(one.scope, str(one.endpoint), least=select.least, remember=select.remember)
        if mean is None or mean >= select.enough:
            return [*tier[place:], *tier[:place]]
    return tier[::-1]


_STRATEGIES: dict[type, Callable[[Candidates, Situation], Candidates]] = {
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
