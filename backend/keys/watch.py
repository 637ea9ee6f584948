"""Notices which users' keys a provider refuses, and sees to it that their owners hear of it.

It looks on: no call waits for it, and none ends differently because of it. What it saw is written by a task of its own,
at most once a minute for each key.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from typing_extensions import override

from backend.utils.llm.clock import Time
from backend.utils.llm.forks import PerProcess
from backend.utils.llm.model_config import OWN

from .lent import LentKey
from .trouble import Trouble, reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic import SecretStr

    from backend.background import Background
    from backend.utils.llm.caller import Caller
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route

    from .store import KeyStore
    from .vault import Place

log = logging.getLogger(__name__)

PAUSE: Final = 60.0
"""Seconds from one write for a key to the next."""
_LOOK: Final = 1.0
_REMEMBERED: Final = 10_000


class Notices(Protocol):
    """Tells owners that their key is refused. It is asked once for each key, reason and day, whatever the number of servers."""

    async def tell(self, place: Place, trouble: Trouble) -> None:
        """Tell the owner of the key that stands at ``place``. What is raised is logged, and not tried again that day."""
        ...


class LogNotices:
    """Tells the log."""

    async def tell(self, place: Place, trouble: Trouble) -> None:
        """As `Notices.tell`."""
        log.warning(
            "keys.refused user=%s provider=%s reason=%s endpoint=%s",
            place.user_id,
            place.provider,
            trouble.reason,
            trouble.endpoint,
        )


class _Seen(NamedTuple):
    """What is to be written of a key: its trouble, or that a call at ``endpoint`` worked."""

    place: Place
    endpoint: str
    trouble: Trouble | None


class KeyWatch(PerProcess):
    """What calls tell of users' keys. One for a facade: ``Patchbay(observer=watch.observe)``.

    It remembers 10,000 keys at most, and of those what came last.

    Args:
        notices: Who tells owners; by default the log.
        time: What passes for it.
    """

    def __init__(self, notices: Notices | None = None, time: Time | None = None) -> None:
        self._notices = notices or LogNotices()
        self._time = time or Time()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._written: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def observe(self, route: Route, attempt: Attempt) -> None:
        """Look at an attempt. Only those with a key that a keychain lent say anything."""
        if attempt.key_owner != "user":
            return
        key = _key(route.caller, attempt.endpoint.partition(":")[0])
        if not isinstance(key, LentKey):
            return
        place, now = key.version.place, self._time.now()
        if (reason := reason_of(attempt)) is not None:
            self._keep(_Seen(place, attempt.endpoint, Trouble(reason, attempt.endpoint, now, now)))
        elif attempt.outcome == "ok":
            waiting = self._seen.get(place.row)
            known = key.version.trouble if waiting is None else waiting.trouble
            if known is not None and known.ends_with(attempt.endpoint):
                self._keep(_Seen(place, attempt.endpoint, None))

    @asynccontextmanager
    async def writing(self, store: KeyStore, background: Background) -> AsyncIterator[None]:
        """Write what is seen to ``store``; at the end, all that is left."""
        try:
            async with background.repeating("keys.watch", partial(self.write, store), every=_LOOK):
                yield
        finally:
            await self.write(store, hurry=True)

    async def write(self, store: KeyStore, *, hurry: bool = False) -> None:
        """Write what is due; with ``hurry``, also of keys of which something was written less than a minute ago."""
        for seen in self._due(hurry=hurry):
            try:
                await self._write(seen, store)
            except Exception:
                log.exception("keys.trouble_not_noted")

    async def _write(self, seen: _Seen, store: KeyStore) -> None:
        if seen.trouble is None:
            await store.note_success(seen.place.row, seen.endpoint)
        elif await store.note_trouble(seen.place.row, seen.trouble):
            await self._notices.tell(seen.place, seen.trouble)

    def _keep(self, seen: _Seen) -> None:
        with self._lock:
            if seen.place.row in self._seen or len(self._seen) < _REMEMBERED:
                self._seen[seen.place.row] = seen

    def _due(self, *, hurry: bool) -> Iterator[_Seen]:
        """Takes what may be written now."""
        if not self._seen:
            return
        now = self._time.clock()
        with self._lock:
            rows = [row for row in self._seen if hurry or now - self._written.get(row, -PAUSE) >= PAUSE]
            due = [self._seen.pop(row) for row in rows]
            for row in rows:
                self._written[row] = now
                self._written.move_to_end(row)
            while len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)
        yield from due


def _key(caller: Caller, provider: str) -> SecretStr | None:
    own = caller.own_endpoint
    return own.key if provider == OWN and own is not None else caller.keys.get(provider)
