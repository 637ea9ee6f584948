"""Sends copies of a call to shadow endpoints. Each copy is a single attempt, whose answer is dropped."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from uuid_utils import uuid7

from ..routing.shadow import plan_shadow_route
from .attempt import RunningAttempt
from .call import Call
from .observers.shadow import ShadowObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model_config import TrafficShare


def add_shadow_observer(call: Call) -> Call:
    """Make ``call`` send copies to its feature's shadow endpoints after it was answered. Returns ``call``."""
    dispatch = call.dispatch
    observer = ShadowObserver(call.runtime.shadows, partial(_copy_for, call))
    dispatch.observers = dispatch.observers.with_observer(observer)
    return call


def _copy_for(call: Call, share: TrafficShare) -> Callable[[], None] | None:
    """A function that sends a copy to the endpoint of ``share``; None if the endpoint may not serve the call.

    Only if the house alone may pay: neither a user's key nor the texts sent with it are used for experiments.
    """
    runtime, route = call.runtime, call.dispatch.route
    if route.policy != "house_only":
        return None
    today = runtime.time.now().date()
    copied = plan_shadow_route(
        call.snapshot, route, share, today=today, health=runtime.health, call_id=str(uuid7())
    )
    if not copied.candidates or copied.candidates[0].rest is not None:
        return None
    return partial(_send, Call(runtime, call.snapshot, copied, call.question._replace(accept=None)))


def _send(copy: Call) -> None:
    with RunningAttempt(copy, copy.next_try()) as attempt:
        attempt.generate()
        return
    copy.raise_if_ended()
