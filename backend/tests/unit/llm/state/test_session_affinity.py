"""Where a conversation stands on a ladder of endpoints."""

from __future__ import annotations

from backend.utils.llm.state.session_affinity import MOST_CONVERSATIONS, ContextLadderRung, SessionAffinity

SMALL, LARGE = ContextLadderRung("red:small", 1000), ContextLadderRung("red:large", 9000)


def test_it_climbs_with_the_prompt_and_each_scope_is_for_itself() -> None:
    affinity = SessionAffinity()
    for scope, rung, tokens in [("f", SMALL, 900), ("g", SMALL, 900), ("f", LARGE, 1001)]:
        affinity.record_rung(scope, "talk", rung, tokens)

    assert [affinity.find_last_rung(scope, "talk") for scope in "fgh"] == [LARGE, SMALL, None]


def test_it_stays_where_its_prompt_fits_whoever_serves_it() -> None:
    affinity = SessionAffinity()
    affinity.record_rung("f", "talk", SMALL, 900)

    affinity.record_rung("f", "talk", LARGE, 900)

    assert affinity.find_last_rung("f", "talk") == SMALL


def test_it_comes_down_when_it_is_served_below() -> None:
    affinity = SessionAffinity()
    affinity.record_rung("f", "talk", LARGE, 1001)

    affinity.record_rung("f", "talk", SMALL, 700)

    assert affinity.find_last_rung("f", "talk") == SMALL


def test_beyond_ten_thousand_the_least_recently_used_is_forgotten() -> None:
    affinity = SessionAffinity()
    for number in range(MOST_CONVERSATIONS):
        affinity.record_rung("f", str(number), SMALL, 900)
    affinity.record_rung("f", "0", LARGE, 1001)
    affinity.record_rung("f", "one more", SMALL, 900)

    assert [affinity.find_last_rung("f", talk) for talk in ("0", "1", "2")] == [LARGE, None, SMALL]
