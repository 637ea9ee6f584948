"""Calls an application's selector, which may be asynchronous, within the call's deadline."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import LLMError
from .awaiting import reject_awaitable
from .custom_selection import SelectorDispatch
from .own_thread import StillRunningError, await_with_timeout, call_without_blocking, run_with_timeout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from ..routing.selector import Selector
    from .loop import Dispatch
    from .steps import AskSelector, ReserveThenTry, Try, Wait

_ASYNC_SELECTOR = "the selector is asynchronous: it works with ainvoke and astream only"


async def ask_selector(
    dispatch: Dispatch,
    ask_step: AskSelector,
    selectors: Mapping[str, Selector],
    messages: Sequence[BaseMessage],
    *,
    is_sync: bool,
) -> Try | ReserveThenTry | Wait:
    """Call the application's selector, and turn its choice into the next step of the call.

    Args:
        dispatch: The attempt loop of the call.
        ask_step: The step with the selector's name and input.
        selectors: The application's selectors, by name.
        messages: The messages of the call.
        is_sync: Whether the call is synchronous, so that the selector must not be asynchronous.

    Raises:
        LLMError: The selector stopped the call, failed, returned something invalid, or took too long.
    """
    assert isinstance(dispatch, SelectorDispatch)  # noqa: S101 - no other asks
    choosing = replace(ask_step.choosing, messages=tuple(messages))
    try:
        ask = partial(selectors[ask_step.selector], choosing)
        if is_sync:
            choice = reject_awaitable(run_with_timeout(ask, choosing.seconds_left), _ASYNC_SELECTOR)
        else:
            choice = await await_with_timeout(call_without_blocking(ask), choosing.seconds_left)
    except LLMError:
        raise
    except StillRunningError:
        what = "did not answer within the call's deadline"
        raise dispatch.make_selector_error(ask_step.selector, what) from None
    except Exception as error:
        raise dispatch.make_selector_error(
            ask_step.selector, f"failed with {type(error).__name__}"
        ) from error
    return dispatch.apply_choice(ask_step, choice)
