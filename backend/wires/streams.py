"""Streams whose HTTP status is already sent: an error can then only be reported as an event within the stream."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from backend.utils.llm.errors import LLMError

from .answer import Failed
from .faults import INTERNAL, FaultError, fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .answer import Event

log = logging.getLogger(__name__)


async def with_error_event(first: Event, rest: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """Yield ``first`` and the events of ``rest``; if ``rest`` fails, yield a `Failed` event instead of raising the error.

    ``rest`` is closed at the end.
    """
    try:
        async with aclosing(rest):
            yield first
            async for event in rest:
                yield event
    except LLMError as error:
        yield Failed(fault_of(error))
    except FaultError as error:
        yield Failed(error.fault)
    except Exception:
        log.exception("http.stream_broke")
        yield Failed(INTERNAL)
