"""The built-in model, as a worker sees it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr, ValidationError

from backend.local_model import LocalModelUnavailable
from backend.workers.lines import (
    ORDERS,
    BuiltInModelAddress,
    BuiltInModelState,
    ReportNotReady,
    StartWorker,
    StopWorker,
)
from backend.workers.shared_model import SharedBuiltInModel

if TYPE_CHECKING:
    from backend.workers.lines import Order

KEY = "canary-the-key-of-the-model"
STARTING = BuiltInModelState(label="A model", state="starting")
READY = BuiltInModelState(
    label="A model",
    state="ready",
    address=BuiltInModelAddress(base_url="http://127.0.0.1:1/v1", key=SecretStr(KEY)),
)


def test_it_is_as_was_told_last() -> None:
    model = SharedBuiltInModel(STARTING)
    before = model.current_address()

    model.update_state(READY)
    address = model.current_address()

    assert before is None
    assert address is not None
    assert (address.base_url, address.key, model.state) == ("http://127.0.0.1:1/v1", KEY, "ready")


def test_who_waits_for_it_goes_on_when_it_is_ready() -> None:
    model = SharedBuiltInModel(STARTING)

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(model.address, 20)
        model.update_state(READY)

        assert waiting.result().key == KEY


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (STARTING, "A model is still starting. Try again in a moment."),
        (BuiltInModelState(label="A model", state="stopped"), "A model is not running."),
        (BuiltInModelState(label="A model", state="failed", reason="Install libgomp1."), "Install libgomp1."),
    ],
)
def test_it_says_why_it_cannot_be_asked(told: BuiltInModelState, reason: str) -> None:
    with pytest.raises(LocalModelUnavailable, match=reason):
        SharedBuiltInModel(told).address(0)


@pytest.mark.parametrize(
    "order",
    [
        StartWorker(channel=3, launch_token=SecretStr("a-token"), model=READY),
        READY,
        ReportNotReady(),
        StopWorker(seconds=2.5),
    ],
)
def test_an_order_arrives_as_it_was_given_and_shows_no_secret(order: Order) -> None:
    assert ORDERS.validate_json(order.model_dump_json()) == order
    assert not {"a-token", KEY} & set(repr(order).replace("'", " ").split())
    assert KEY not in repr(order)


@pytest.mark.parametrize(
    "line", ['{"kind": "begin", "launch_token": "pb_canary"}', '["pb_canary"]', "pb_canary"]
)
def test_a_line_that_is_no_order_is_not_quoted(line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ORDERS.validate_json(line)

    assert "pb_canary" not in f"{caught.value}{caught.value!r}"
