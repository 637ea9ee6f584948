"""A key of a request shows nothing of itself until it is asked for its value, and holds none after its request."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from backend.keys.errors import RequestKeyExpiredError
from backend.keys.request_keys import StoredKey, SuppliedKey
from backend.keys.store import KeyVersion
from backend.keys.vault import EncryptedKey, KeyIdentity
from backend.utils.llm import Caller
from backend.utils.llm.secrets import compute_fingerprint

KEY = "sk-canary-of-ann-0123456789"


def version(row: str = "1") -> KeyVersion:
    sealed = EncryptedKey("m1", b"wrapped", b"box", "fingerprint")
    return KeyVersion(KeyIdentity("", "ann", "openai", row), sealed, "", datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def key() -> StoredKey:
    return StoredKey(lambda: KEY, version())


def test_it_is_opened_when_it_is_asked_for(key: StoredKey) -> None:
    assert not key.was_used

    assert key.get_secret_value() == KEY
    assert key.was_used


def test_to_print_it_or_a_caller_who_has_it_opens_nothing(key: StoredKey) -> None:
    caller = Caller(user_id="ann").model_copy(update={"keys": {"openai": key}})

    shown = f"{key} {key!r} {caller} {caller!r} {caller.effective_key_policy} {bool(key)} {len(key)}"

    assert KEY not in shown
    assert not key.was_used


@pytest.mark.parametrize("mode", ["json", "python"])
def test_a_caller_who_has_it_is_dumped_without_it(key: StoredKey, mode: str) -> None:
    caller = Caller(user_id="ann").model_copy(update={"keys": {"openai": key}})

    assert KEY not in str(caller.model_dump(mode=mode))


def test_a_key_is_fingerprinted_without_being_opened(key: StoredKey) -> None:
    another = StoredKey(lambda: KEY, version("2"))

    assert compute_fingerprint(key) == compute_fingerprint(key) != compute_fingerprint(another)
    assert compute_fingerprint(key, "https://a.example") != compute_fingerprint(key)
    assert not key.was_used


def test_it_counts_as_there(key: StoredKey) -> None:
    assert key


def test_it_equals_only_itself(key: StoredKey) -> None:
    assert key == key  # noqa: PLR0124 - the rule
    assert key != StoredKey(lambda: KEY, version())
    assert key != SecretStr(KEY)
    assert len({key, StoredKey(lambda: KEY, version())}) == 2
    assert not key.was_used


def test_it_is_not_pickled(key: StoredKey) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_its_copies_are_itself(key: StoredKey) -> None:
    assert copy.copy(key) is copy.deepcopy(key) is key


def test_it_is_opened_once_for_many_who_ask() -> None:
    values = iter([KEY])
    key = StoredKey(lambda: next(values), version())

    assert [key.get_secret_value() for _ in range(3)] == [KEY] * 3


def test_what_it_holds_is_not_printed(key: StoredKey) -> None:
    key.get_secret_value()

    assert KEY not in f"{vars(key)} {key} {key!r}"


def test_once_given_back_a_stored_key_is_opened_each_time_and_not_kept(key: StoredKey) -> None:
    key.get_secret_value()

    key.erase_value()

    assert [key.get_secret_value() for _ in range(2)] == [KEY] * 2
    assert key._value is None


def test_once_given_back_a_key_that_came_along_is_gone() -> None:
    key = SuppliedKey(SecretStr(KEY), version())
    assert key.get_secret_value() == KEY

    key.erase_value()

    with pytest.raises(RequestKeyExpiredError, match="openai"):
        key.get_secret_value()
    assert key._value is None
