"""A stored key tells nothing of itself until it is asked for its value."""

from __future__ import annotations

import copy
import pickle

import pytest
from pydantic import SecretStr

from backend.keys.lent import LentKey
from backend.utils.llm import Caller

KEY = "sk-canary-of-ann-0123456789"


@pytest.fixture
def key() -> LentKey:
    return LentKey(lambda: KEY)


def test_it_is_opened_when_it_is_asked_for(key: LentKey) -> None:
    assert not key.was_opened

    assert key.get_secret_value() == KEY
    assert key.was_opened


def test_to_print_it_or_a_caller_who_has_it_opens_nothing(key: LentKey) -> None:
    caller = Caller(user_id="ann").model_copy(update={"keys": {"openai": key}})

    shown = f"{key} {key!r} {caller} {caller!r} {caller.policy} {bool(key)} {len(key)}"

    assert KEY not in shown
    assert not key.was_opened


@pytest.mark.parametrize("mode", ["json", "python"])
def test_a_caller_who_has_it_is_dumped_without_it(key: LentKey, mode: str) -> None:
    caller = Caller(user_id="ann").model_copy(update={"keys": {"openai": key}})

    assert KEY not in str(caller.model_dump(mode=mode))


def test_it_counts_as_there(key: LentKey) -> None:
    assert key


def test_it_equals_only_itself(key: LentKey) -> None:
    assert key == key  # noqa: PLR0124 - the rule
    assert key != LentKey(lambda: KEY)
    assert key != SecretStr(KEY)
    assert len({key, LentKey(lambda: KEY)}) == 2
    assert not key.was_opened


def test_it_is_not_pickled(key: LentKey) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_its_copies_are_itself(key: LentKey) -> None:
    assert copy.copy(key) is copy.deepcopy(key) is key


def test_it_is_opened_once_for_many_who_ask() -> None:
    values = iter([KEY])
    key = LentKey(lambda: next(values))

    assert [key.get_secret_value() for _ in range(3)] == [KEY] * 3


def test_what_it_holds_is_not_printed(key: LentKey) -> None:
    key.get_secret_value()

    assert KEY not in f"{vars(key)} {key} {key!r}"
