"""Sockets that nobody closed."""

from __future__ import annotations

import gc
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def none_left_open() -> Iterator[None]:
    """Fail if a socket is left to the garbage collector inside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(message.message) for message in caught if issubclass(message.category, ResourceWarning)] == []
