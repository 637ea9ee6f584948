"""Errors of the keychain travel between processes as the facade's do."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from backend.keys import errors
from backend.keys.errors import (
    ConflictingRequestKeysError,
    KeychainError,
    KeyNotEnrolledError,
    KeyNotFoundError,
    KeyRemovedError,
    MalformedKeyError,
    MasterKeyError,
    RequestKeyExpiredError,
    TooManyKeyChecksError,
    UnknownProviderError,
    UnreadableKeyError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = [
    KeychainError("It broke."),
    MasterKeyError("There is none."),
    UnreadableKeyError("openai"),
    KeyNotEnrolledError(["openai", "gemini"]),
    MalformedKeyError("openai"),
    UnknownProviderError(["openai", "gemini"]),
    KeyNotFoundError(),
    ConflictingRequestKeysError(),
    RequestKeyExpiredError("openai"),
    KeyRemovedError("openai"),
    TooManyKeyChecksError(retry_after=7.5),
]


def pickled(error: KeychainError) -> object:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("travel", [pickled, copy.copy, copy.deepcopy])
def test_an_error_arrives_as_it_was(error: KeychainError, travel: Callable[[KeychainError], object]) -> None:
    arrived = travel(error)

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert isinstance(arrived, KeychainError)
    assert arrived.as_dict() == error.as_dict()


def test_every_error_was_tried() -> None:
    defined = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KeychainError)
    }

    assert {type(error) for error in ERRORS} == defined
