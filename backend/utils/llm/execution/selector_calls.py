"""Calls an application's custom selector, which may be asynchronous, within the deadline of the call that asks it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import LLMError
from .awaiting import at_once
from .custom_selection import CustomDispatch
from .own_thread import StillRunningError, answer_of, awaited_in_time, in_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from ..routing.selector import Selector
    from .loop import Dispatch
    from .steps import Consult, Reserve, Try, Wait

_ASYNC_SELECTOR = "the selector is asynchronous: it works with ainvoke and astream only"


async def ask_selector(
    dispatch: Dispatch,
    asked: Consult,
    selectors: Mapping[str, Selector],
    messages: Sequence[BaseMessage],
    *,
    blocks: bool,
) -> Try | Reserve | Wait:
    """Call the application's selector, and turn its answer into the next step of ``dispatch``.

    Args:
        dispatch: The loop of a call.
        asked: The step that names the selector and holds its input.
        selectors: The application's selectors, by name.
        messages: The messages of the call.
        blocks: Whether the call is synchronous, so that the selector may not be asynchronous.

    Raises:
        LLMError: The selector ended the call, failed, or returned something invalid or too late.
    """
    assert isinstance(dispatch, CustomDispatch)  # noqa: S101 - no other asks
    choosing = replace(asked.choosing, messages=tuple(messages))
    try:
        ask = partial(selectors[asked.selector], choosing)
        if blocks:
            choice = at_once(in_time(ask, choosing.seconds_left), _ASYNC_SELECTOR)
        else:
            choice = await awaited_in_time(answer_of(ask), choosing.seconds_left)
    except LLMError:
        raise
    except StillRunningError:
        what = "did not answer within the call's deadline"
        raise dispatch.selector_error(asked.selector, what) from None
    except Exception as error:
        raise dispatch.selector_error(asked.selector, f"failed with {type(error).__name__}") from error
    return dispatch.choose(asked, choice)
