"""`functools.cached_property` as it is from Python 3.12 on: without a lock.

Before 3.12, all objects of a class share one lock, held while a value is computed, and a child process forked meanwhile
would wait for that lock for ever. Here values are cheap and the same each time, so that computing one twice is harmless.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    cached_property = property  # what a Protocol asks for, pyright finds in no other
elif sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property(functools.cached_property):  # noqa: N801 - the name of the original
        """A property that is computed on first use."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = vars(instance)[self.attrname] = self.func(instance)
            return value


__all__ = ["cached_property"]
