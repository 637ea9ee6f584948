"""The endpoint that served a conversation last."""

from __future__ import annotations

from backend.utils.llm.state.session_affinity import MOST_CONVERSATIONS, SessionAffinity

SMALL, LARGE = "red:small", "red:large"


def test_it_is_the_last_one_and_each_scope_has_its_own() -> None:
    affinity = SessionAffinity()
    for scope, endpoint in [("f", SMALL), ("g", SMALL), ("f", LARGE)]:
        affinity.served(scope, "talk", endpoint)

    assert [affinity.last(scope, "talk") for scope in "fgh"] == [LARGE, SMALL, None]


def test_beyond_ten_thousand_the_least_recently_used_is_forgotten() -> None:
    affinity = SessionAffinity()
    for number in range(MOST_CONVERSATIONS):
        affinity.served("f", str(number), SMALL)
    affinity.served("f", "0", LARGE)
    affinity.served("f", "one more", SMALL)

    assert [affinity.last("f", talk) for talk in ("0", "1", "2")] == [LARGE, None, SMALL]
