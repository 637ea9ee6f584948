"""Reports errors within a stream, as its last event, because the HTTP status has been sent already."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from backend.utils.llm.errors import LLMError

from .answer import StreamFailed
from .faults import INTERNAL, RequestFaultError, fault_from_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .answer import Event

log = logging.getLogger(__name__)


async def yield_with_error_event(first: Event, rest: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """Yield ``first``, then the events of ``rest``. If ``rest`` fails, yield `StreamFailed` instead of raising.

    ``rest`` is closed at the end.
    """
    try:
        async with aclosing(rest):
            yield first
            async for event in rest:
                yield event
    except LLMError as error:
        yield StreamFailed(fault_from_error(error))
    except RequestFaultError as error:
        yield StreamFailed(error.fault)
    except Exception:
        log.exception("http.stream_broke")
        yield StreamFailed(INTERNAL)
