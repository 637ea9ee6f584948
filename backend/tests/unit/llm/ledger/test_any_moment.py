"""Whenever an application raises something into a call from outside, each request that was sent has its record, and only one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.moments import Moment, moments_of
from backend.utils.llm import Caller, LLMError
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay

from ..drivers import DRIVERS

if TYPE_CHECKING:
    from backend.utils.llm import AttemptRecord, Patchbay
    from backend.utils.llm.testing import Reply

    from ..drivers import Driver

pytestmark = [
    # What was just made when it came is closed by Python itself, which tells.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MOMENTS = 24
"""Of the last part of a call, in which its books are made, at the same distances."""
PART = 0.4


class OutOfTimeError(Exception):
    """As a task queue's time limit."""


class Sink:
    """Takes records whole, or not at all: into this file nothing is raised."""

    def __init__(self) -> None:
        self.records: list[AttemptRecord] = []

    def append(self, record: AttemptRecord) -> None:
        self.records.append(record)


def called(patchbay: Patchbay, call: Driver, name: str) -> None:
    """A call whose prompt and user are ``name``."""
    try:
        call(patchbay.get_llm("f", caller=Caller(user_id=name)), name)
    except (OutOfTimeError, LLMError, asyncio.CancelledError):
        return


@pytest.mark.parametrize("reply", [Text("one"), Status(400)], ids=["answered", "refused"])
@pytest.mark.parametrize("call", DRIVERS)
def test_whenever_something_is_raised_from_outside_what_was_sent_has_one_record(
    call: Driver, reply: Reply
) -> None:
    sink = Sink()
    with LoopbackProvider() as provider:
        provider.always(reply)
        patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, ledger=sink)
        patchbay.warm_up()
        called(patchbay, call, "first")
        most = moments_of(lambda: called(patchbay, call, "second"))
        for number in range(MOMENTS):
            moment = Moment(int(most * (1 - PART * number / MOMENTS)), OutOfTimeError())
            with moment.awaited():
                called(patchbay, call, f"number {number}")
        patchbay.close()

    recorded = [record.user for record in sink.records]
    sent = {str(request.body["messages"][-1]["content"]) for request in provider.requests if request.body}
    assert sent <= set(recorded)
    assert len(set(recorded)) == len(recorded)
