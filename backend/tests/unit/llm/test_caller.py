"""Who asks, and with whose keys."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from pydantic import ValidationError

from backend.utils.llm.caller import HOUSE, Caller, current_caller, use_caller

CANARY = "sk-canary-8f3a"


@pytest.mark.parametrize(
    ("caller", "policy"),
    [
        (Caller(), "house_only"),
        (Caller(keys={"openai": CANARY}), "byok_only"),
        (Caller(keys={"openai": "  "}), "house_only"),
        (Caller(keys={"openai": CANARY}, key_policy="byok_then_house"), "byok_then_house"),
        (Caller(key_policy="byok_only"), "byok_only"),
    ],
)
def test_the_policy_follows_from_the_keys_unless_it_is_chosen(caller: Caller, policy: str) -> None:
    assert caller.policy == policy


def test_a_caller_never_shows_a_key() -> None:
    caller = Caller(user_id="u1", keys={"openai": CANARY})

    assert CANARY not in f"{caller!r} {caller} {caller.model_dump()} {caller.model_dump_json()}"


@pytest.mark.parametrize("key", [f"{CANARY}\nX-Evil: 1", f"{CANARY} two", f"{CANARY}é", f"{CANARY}\x00"])
def test_what_no_key_holds_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Caller(keys={"openai": key})

    assert "the key for openai holds characters that no key has" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_caller_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Caller().user_id = "u2"  # type: ignore[misc]


def test_the_house_asks_when_nobody_does() -> None:
    assert current_caller() is HOUSE


def test_a_caller_holds_for_its_context_alone() -> None:
    with use_caller(Caller(user_id="outer")), use_caller(Caller(user_id="inner")):
        assert current_caller().user_id == "inner"

    assert current_caller() is HOUSE


async def test_tasks_inherit_their_makers_caller() -> None:
    async def ask() -> str | None:
        await asyncio.sleep(0)
        return current_caller().user_id

    with use_caller(Caller(user_id="u1")):
        first = asyncio.create_task(ask())
    with use_caller(Caller(user_id="u2")):
        second = asyncio.create_task(ask())

    assert [await first, await second] == ["u1", "u2"]


def test_a_thread_has_the_caller_of_the_context_it_was_given() -> None:
    seen: list[str | None] = []

    with use_caller(Caller(user_id="u1")):
        context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(lambda: seen.append(current_caller().user_id),))
    thread.start()
    thread.join()

    assert seen == ["u1"]
