"""A storm of some seconds, and whether what is promised holds in it; `make storm` has one of two minutes."""

from __future__ import annotations

from collections import Counter
from copy import copy
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.errors import ProviderDownError
from benchmarks.storm import Ended, Storm, stormed, verdict
from benchmarks.storm_weather import BROWN_OUTS, Weather, is_signed_by_its_payer

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, PER_SECOND = 100, 100
SEED = 1745
"""In whose weather nothing hangs for long, and most ends soon."""
MEMORY = "memory, MB"
"""Of so few calls it says nothing: much is made by the first one."""


@pytest.fixture(scope="module")
def storm() -> Storm:
    return stormed(SEED, CALLS, PER_SECOND)


def broken(storm: Storm) -> list[str]:
    return [bound.name for bound in verdict(storm) if not bound.holds and bound.name != MEMORY]


def test_what_is_promised_holds_in_a_storm(storm: Storm) -> None:
    assert [bound for bound in verdict(storm) if not bound.holds and bound.name != MEMORY] == []
    assert len(storm.ended) == CALLS
    assert storm.provider.faults.total() > 0


def with_one_more(storm: Storm, **changed: object) -> None:
    deed = next(one for one in map(storm.weather.deed, range(CALLS)) if one.feature == "pair")
    given: dict[str, object] = {"seconds": 1.0, "error": None} | changed
    storm.provider.asked.pop((deed.number, "a1"), None)
    storm.ended.append(Ended(deed, **given))  # type: ignore[arg-type]


TAMPERED: dict[str, Callable[[Storm], None]] = {
    "latest call, seconds after its deadline": lambda storm: with_one_more(storm, seconds=21.0),
    "failed, a well endpoint never asked": lambda storm: with_one_more(
        storm, error=ProviderDownError("It is down.")
    ),
    "wrong answers": lambda storm: with_one_more(storm, is_wrong=True),
    "attempts - requests": lambda storm: storm.attempts.update(["ok"]),
    "left": lambda storm: storm.held.update(tickets=1),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_bound_that_is_broken_is_seen(name: str, storm: Storm) -> None:
    tampered, tampered.provider = copy(storm), copy(storm.provider)
    tampered.ended, tampered.held = [*storm.ended], dict(storm.held)
    tampered.attempts, tampered.provider.asked = Counter(storm.attempts), Counter(storm.provider.asked)

    TAMPERED[name](tampered)

    assert name in broken(tampered)


def test_another_ones_key_is_seen() -> None:
    body = "Hello #17 for user-5"

    assert is_signed_by_its_payer(body, "sk-user-5-openai")
    assert not is_signed_by_its_payer(body, "sk-user-6-openai")
    assert not is_signed_by_its_payer(body, "house-key-of-openai")
    assert not is_signed_by_its_payer("Hello #17 for house", "sk-user-5-openai")


def test_the_same_seed_brings_the_same_weather() -> None:
    one, same, other = Weather(7, 500), Weather(7, 500), Weather(8, 500)

    def all_of(weather: Weather) -> list[object]:
        return [(weather.deed(n), weather.fault(n, "a1", 0)) for n in range(500)]

    assert all_of(one) == all_of(same) != all_of(other)
    assert one.brown_outs == same.brown_outs != other.brown_outs
    assert len(one.brown_outs) == BROWN_OUTS


def test_an_endpoint_that_is_away_answers_nobody_and_is_well_again_after_it() -> None:
    weather = Weather(7, 500)
    away = weather.brown_outs[0]

    during = [weather.fault(number, away.model, 0) for number in range(away.first, away.last)]

    assert set(during) == {away.fault}
    assert weather.brown_out(away.last, away.model) is None
