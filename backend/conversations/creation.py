"""Making a conversation so that nothing is paid for twice, and nothing that was acknowledged is lost.

Before the first model is asked, a journal is opened and room is set aside in it. What each model answered goes into the journal,
then the whole conversation, then that goes into the store, and the journal is removed. Whoever comes back with the same
idempotency key goes on where the journal ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from backend.utils.llm.clock import Time

from .answers import Kept, Unkept
from .errors import KeyReusedError, StorageUnavailableError, UnderWayError
from .journal import CONVERSATION, Claim, Outline
from .processing import Entry, process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .journal import Journal, Journals
    from .outcome import Models
    from .store import Conversation, ConversationStore
    from .transcript import Transcript

log = logging.getLogger(__name__)

STORING: Final = 10.0
"""Seconds for which a request waits for the store to take what was made. After that it is taken later."""
WAITING: Final = 120.0
"""Seconds for which a request waits for another one with the same key: what a conversation may take."""
COMING_BACK: Final = 5.0
"""Seconds after which whoever waited in vain should ask again."""
KEPT: Final = 24 * 3600.0
"""Seconds for which the answers of a conversation that was not finished are kept for whoever comes back."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_ID: Final = 32
"""Hexadecimal digits, as of every other id."""


@dataclass(frozen=True, slots=True)
class Order:
    """A conversation that somebody asks for.

    Attributes:
        models: The chat model of each feature.
        is_demo: Whether the built-in demo model would serve a feature.
        key: The idempotency key that came along. With the same one, the same user gets the same conversation.
    """

    transcript: Transcript
    user_id: str
    models: Models
    is_demo: Callable[[str], bool]
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Created:
    """A conversation that will not be lost; in the store already, or on its way."""

    conversation: Conversation
    is_stored: bool


class Creation:
    """Makes conversations and sees to it that they are stored."""

    def __init__(self, store: ConversationStore, journals: Journals, time: Time | None = None) -> None:
        self._store = store
        self._journals = journals
        self._time = time or Time()
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def create(self, order: Order) -> Created:
        """Make the conversation, or go on with it, or find it made.

        Raises:
            KeyReusedError: If the key came with another transcript before.
            UnderWayError: If an earlier request with the key takes too long.
            StorageUnavailableError: If nothing can be kept now. Nothing was paid for then, or it is paid for no more than
                once by whoever comes back with the same key.
        """
        conversation_id = _id_of(order)
        async with self._opened(conversation_id) as (journal, answers):
            if (stored := await self._stored(order, conversation_id, journal)) is not None:
                return Created(stored, is_stored=True)
            conversation = await self._made(order, conversation_id, journal, answers)
            return Created(conversation, await self._is_stored(conversation, journal))

    async def find(self, user_id: str, conversation_id: str) -> Conversation | None:
        """The conversation, stored or on its way, if there is one of that id and it is this user's."""
        if (stored := await self._store.get(user_id, conversation_id)) is not None:
            return stored
        made = await self._journals.made(conversation_id)
        found = await asyncio.to_thread(CONVERSATION.validate_json, made) if made else None
        return found if found and found.user_id == user_id else None

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Wait so long, or until there is no time for it, for answers that requests left under way; keep those that come."""
        drained = asyncio.gather(*self._closing, return_exceptions=True)
        ends: list[asyncio.Future[Any]] = [drained, asyncio.ensure_future(hurry.wait())]
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def store_what_is_left(self) -> None:
        """Store what was made and is nobody's any more; forget what was begun and nobody came back for.

        Raises:
            StorageUnavailableError: If the store takes nothing now.
            ExceptionGroup: If there is something that cannot be stored. Everything else is.
        """
        faults = []
        for conversation_id in await self._journals.left(KEPT):
            try:
                await self._settle(conversation_id)
            except StorageUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - is raised with the others
                faults.append(error)
        if faults:
            raise ExceptionGroup("some of what was made cannot be stored", faults)

    async def _settle(self, conversation_id: str) -> None:
        if (journal := await self._journals.open(conversation_id)) is None:
            return  # it is somebody's again
        try:
            if journal.conversation is not None:
                await self._store.add(
                    await asyncio.to_thread(CONVERSATION.validate_json, journal.conversation)
                )
                await journal.remove()
                log.info("conversations.stored_later conversation=%s", conversation_id)
            elif journal.age > KEPT:
                await journal.remove()
        finally:
            await journal.close()

    @asynccontextmanager
    async def _opened(self, conversation_id: str) -> AsyncIterator[tuple[Journal, Kept]]:
        """A request that ends early waits for nothing: what is under way ends by itself, or in `drain`."""
        journal = await self._waited_for(conversation_id)
        answers = Kept(journal)
        try:
            yield journal, answers
        finally:
            closing = answers.close()
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            if not answers.are_under_way:
                await asyncio.shield(closing)

    async def _waited_for(self, conversation_id: str) -> Journal:
        pause, until = _FIRST_PAUSE, self._time.clock() + WAITING
        while (journal := await self._journals.open(conversation_id)) is None:
            if self._time.clock() >= until:
                raise UnderWayError(retry_after=COMING_BACK)
            await self._time.asleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return journal

    async def _stored(self, order: Order, conversation_id: str, journal: Journal) -> Conversation | None:
        """What an earlier request with the key had stored; of that there is no journal any more."""
        if order.key is None or journal.claim is not None:
            return None
        stored = await self._store.get(order.user_id, conversation_id)
        if stored is not None:
            outline = await asyncio.to_thread(Outline.of, stored.transcript)
            await _want(order.transcript, outline.fingerprint)
        return stored

    async def _made(
        self, order: Order, conversation_id: str, journal: Journal, answers: Kept
    ) -> Conversation:
        """What the journal holds, and what it lacks."""
        if journal.claim is not None:
            await _want(order.transcript, journal.claim.fingerprint)
        if journal.conversation is not None:
            return await asyncio.to_thread(CONVERSATION.validate_json, journal.conversation)
        outline = await asyncio.to_thread(Outline.of, order.transcript)
        claim = journal.claim or Claim(fingerprint=outline.fingerprint, created_at=self._time.now())
        await journal.begin(claim, outline.room)
        entry = Entry(conversation_id, order.user_id, claim.created_at)
        return await process(
            order.transcript,
            entry,
            order.models,
            is_demo=order.is_demo,
            answers=Unkept() if order.key is None else answers,
        )

    async def _is_stored(self, conversation: Conversation, journal: Journal) -> bool:
        """Whether the store took it in time. If it did not, it is kept in the journal.

        Raises:
            StorageUnavailableError: If it is kept nowhere.
        """
        is_kept = await _is_kept(conversation, journal)
        if await self._is_taken(conversation):
            await journal.remove()
            return True
        if not is_kept and not await _is_kept(conversation, journal):
            raise StorageUnavailableError
        return False

    async def _is_taken(self, conversation: Conversation) -> bool:
        """One at a time, because a store that is busy would be no quicker with more, and others want to read."""
        until = self._time.clock() + STORING
        try:
            async with asyncio.timeout(STORING):
                await self._turn.acquire()
        except TimeoutError:
            return False
        try:
            return await self._is_taken_by(until, conversation)
        finally:
            self._turn.release()

    async def _is_taken_by(self, until: float, conversation: Conversation) -> bool:
        pause = _FIRST_PAUSE
        while (fault := await self._fault_of_adding(conversation)) is not None:
            if self._time.clock() + pause > until:
                log.warning(
                    "conversations.not_stored_yet conversation=%s: %s", conversation.id, fault.__cause__
                )
                return False
            await self._time.asleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    async def _fault_of_adding(self, conversation: Conversation) -> StorageUnavailableError | None:
        try:
            await self._store.add(conversation)
        except StorageUnavailableError as error:
            return error
        return None


def _id_of(order: Order) -> str:
    """A key settles it for good: so a conversation that is stored needs no record of its key."""
    if order.key is None:
        return uuid4().hex
    return hashlib.sha256(json.dumps([order.user_id, order.key]).encode()).hexdigest()[:_ID]


async def _want(transcript: Transcript, known: str) -> None:
    outline = await asyncio.to_thread(Outline.of, transcript)
    if outline.fingerprint != known:
        raise KeyReusedError


async def _is_kept(conversation: Conversation, journal: Journal) -> bool:
    if journal.conversation is not None:
        return True
    try:
        await journal.finish(await asyncio.to_thread(CONVERSATION.dump_json, conversation))
    except StorageUnavailableError as error:
        log.warning("conversations.not_kept conversation=%s: %s", conversation.id, error.__cause__)
        return False
    return True
