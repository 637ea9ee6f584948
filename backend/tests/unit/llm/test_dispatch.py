"""The course of a call, without any I/O."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import get_args

import pytest

from backend.utils.llm.caller import Caller
from backend.utils.llm.dispatch import Dispatch
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallTimeoutError,
    MissingCredentialError,
    StreamInterruptedError,
)
from backend.utils.llm.failures import CODES, POLICY, STATUS, Category, Failure, NextEndpoint, classify
from backend.utils.llm.model_config import parse
from backend.utils.llm.receipt import Attempt
from backend.utils.llm.routing import Needs, Route, plan
from backend.utils.llm.transport import Wire

TABLE = """
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[profiles.premium]
f = ["openai:gpt-4o", "openai:gpt-6-luna"]
[profiles.byok]
extends = "premium"
"""


def route(**environ: str) -> Route:
    return plan(parse(TABLE, environ=environ), "f", Caller(), Needs(), today=date(2026, 11, 21))


def attempt(dispatch: Dispatch, category: Category | None = None) -> Attempt:
    return Attempt(
        endpoint=str(dispatch.next_candidate().endpoint),
        key_owner="house",
        outcome="failed" if category else "ok",
        started=datetime(2026, 11, 21, tzinfo=UTC),
        duration=timedelta(seconds=1),
        category=category,
    )


@pytest.fixture
def dispatch() -> Dispatch:
    return Dispatch(route(OPENAI_API_KEY="k"))


def test_a_route_without_candidates_is_an_error_before_anything_is_sent() -> None:
    with pytest.raises(MissingCredentialError, match="OPENAI_API_KEY"):
        Dispatch(route())


def test_candidates_come_in_the_routes_order(dispatch: Dispatch) -> None:
    dispatch.failed(attempt(dispatch, Category.SERVER), Failure(Category.SERVER))

    assert str(dispatch.next_candidate().endpoint) == "openai:gpt-6-luna"


def test_the_first_choice_is_not_degraded(dispatch: Dispatch) -> None:
    assert not dispatch.succeeded(attempt(dispatch)).degraded


def test_another_choice_is(dispatch: Dispatch) -> None:
    dispatch.failed(attempt(dispatch, Category.SERVER), Failure(Category.SERVER))

    receipt = dispatch.succeeded(attempt(dispatch))

    assert receipt.degraded
    assert len(receipt.attempts) == 2


def test_after_the_first_chunk_nothing_else_is_tried(dispatch: Dispatch) -> None:
    error = dispatch.failed(attempt(dispatch, Category.SERVER), Failure(Category.SERVER), partial="so far")

    assert isinstance(error, StreamInterruptedError)
    assert error.partial == "so far"


def test_when_all_failed_each_is_told(dispatch: Dispatch) -> None:
    assert dispatch.failed(attempt(dispatch, Category.TIMEOUT), Failure(Category.TIMEOUT)) is None

    error = dispatch.failed(attempt(dispatch, Category.SERVER), Failure(Category.SERVER, 500))

    assert isinstance(error, AllAttemptsFailedError)
    assert "gpt-4o: did not answer in time" in str(error)
    assert "gpt-6-luna: failed on its own side" in str(error)


def test_a_passed_deadline_is_a_timeout_that_tells_the_attempts(dispatch: Dispatch) -> None:
    dispatch.failed(attempt(dispatch, Category.SERVER), Failure(Category.SERVER))

    error = dispatch.out_of_time()

    assert isinstance(error, CallTimeoutError)
    assert "120 s" in str(error)
    assert len(error.attempts) == 1


@pytest.mark.parametrize("category", Category)
def test_every_category_has_a_policy_that_ends_or_goes_on(category: Category, dispatch: Dispatch) -> None:
    assert POLICY[category].next_endpoint in get_args(NextEndpoint)

    error = dispatch.failed(attempt(dispatch, category), Failure(category))

    # Both candidates are of one provider, with one key.
    assert (error is None) == (POLICY[category].next_endpoint in {"yes", "larger window"})


@pytest.mark.parametrize("category", [Category.CREDENTIAL, Category.QUOTA])
def test_a_key_that_is_no_good_is_not_tried_on_the_providers_next_model(
    category: Category, dispatch: Dispatch
) -> None:
    error = dispatch.failed(attempt(dispatch, category), Failure(category, 401))

    assert error is not None
    assert len(error.attempts) == 1


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_has_a_category(status: int) -> None:
    assert classify(RuntimeError(), Wire(requests=1, status=status, sent_at=0.0)).category in Category


@pytest.mark.parametrize("code", CODES)
def test_a_providers_code_says_more_than_its_status(code: str) -> None:
    assert classify(RuntimeError(), Wire(requests=1, status=400, error_code=code)).category is CODES[code]


def test_what_the_tables_name_is_known() -> None:
    assert set(POLICY) == set(Category)
    assert set(STATUS.values()) | set(CODES.values()) <= set(Category)


@pytest.mark.parametrize(
    ("error", "wire", "category"),
    [
        (TimeoutError(), Wire(sent_at=0.0), Category.TIMEOUT),
        (ConnectionRefusedError(), Wire(sent_at=0.0), Category.CONNECT),
        (ConnectionResetError(), Wire(sent_at=0.0, status=200), Category.INTERRUPTED),
        (ValueError("no JSON"), Wire(sent_at=0.0, status=200), Category.SERVER),
        (TypeError("ours"), Wire(), Category.BUG),
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_a_status_the_type_decides(error: Exception, wire: Wire, category: Category) -> None:
    assert classify(error, wire).category is category


def test_the_cause_behind_an_sdks_exception_is_seen() -> None:
    wrapped = RuntimeError("SDK")
    wrapped.__cause__ = TimeoutError()

    assert classify(wrapped, Wire(sent_at=0.0)).category is Category.TIMEOUT
