"""The tree of errors."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from langchain_core.exceptions import ModelError, ModelRateLimitError

from backend.utils.llm.errors import (
    CallError,
    ConfigError,
    LLMError,
    RateLimitedError,
    StreamInterruptedError,
    UnknownFeatureError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def tree(root: type[LLMError] = LLMError) -> Iterator[type[LLMError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ERRORS = [kind for kind in dict.fromkeys(tree()) if kind.__module__.startswith("backend.utils.llm")]


def test_every_error_has_a_code_of_its_own() -> None:
    counts = Counter(error.code for error in ERRORS)

    assert [code for code, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_a_status_that_says_error(error: type[LLMError]) -> None:
    assert 400 <= error.http_status < 600


@pytest.mark.parametrize(
    "error", [error for error in ERRORS if issubclass(error, CallError)], ids=lambda e: e.__name__
)
def test_a_call_error_is_langchains_too(error: type[LLMError]) -> None:
    assert issubclass(error, ModelError)
    assert error.retryable == error.is_retryable or error.code == "all_attempts_failed"


def test_code_written_against_langchain_goes_on_working() -> None:
    with pytest.raises(ModelRateLimitError):
        raise RateLimitedError("slow down")


@pytest.mark.parametrize(
    "error",
    [
        ConfigError(["a.b: wrong", "c: wrong"]),
        RateLimitedError("slow down", feature="f"),
        StreamInterruptedError("cut", feature="f", partial="so far"),
        UnknownFeatureError("conv_action_item", ["conv_action_items", "trends"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: LLMError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_an_unknown_feature_names_the_nearest() -> None:
    error = UnknownFeatureError("conv_action_item", ["conv_action_items", "trends"])

    assert error.nearest == ("conv_action_items",)
    assert "Did you mean 'conv_action_items'?" in str(error)
