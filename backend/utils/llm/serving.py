"""The lifespan of an application's patchbay in one context manager: installed, warmed up, reloaded, closed."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .caller import copy_context_without_caller
from .clients import use
from .patchbay import Patchbay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .model_config import Table

log = logging.getLogger(__name__)

RELOAD_SECONDS = 1.0
"""Seconds between two checks of the table's file for changes."""


@asynccontextmanager
async def serving(
    patchbay: Patchbay | None = None, *, reload_every: float | None = RELOAD_SECONDS
) -> AsyncIterator[Patchbay]:
    """Install ``patchbay`` as the default, reload its table when it changes, and close it when the block ends.

    The patchbay is warmed up in the background.

    Args:
        patchbay: By default a patchbay on the default table that refuses calls without a caller.
        reload_every: Seconds between two checks of the table's file; None never reloads the table.

    Raises:
        ConfigError: The default table is wrong.
    """
    own = patchbay or Patchbay(require_caller=True)
    work = [asyncio.to_thread(own.warm_up)]
    if reload_every is not None:
        work.append(_follow(own.table, reload_every))
    with use(own):
        tasks = [asyncio.create_task(coroutine, context=copy_context_without_caller()) for coroutine in work]
        try:
            yield own
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await own.aclose()


async def _follow(table: Table, every: float) -> None:
    """Reload the table whenever its file has changed. A bad file leaves the last good table in force."""
    while True:
        await asyncio.sleep(every)
        try:
            await asyncio.to_thread(table.reload_if_changed)
        except Exception:
            log.exception("The table could not be looked at; it stays as it is.")
