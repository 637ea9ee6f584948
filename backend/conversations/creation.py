"""Creates conversations so that no model call is paid twice, and no acknowledged conversation is lost.

Before the first model call, a journal is opened and disk space is reserved. The result of each model call is
written to the journal. The finished conversation is stored, and the journal removed. While the store is
unavailable, the conversation stays in the journal. A repeated request with the same key resumes the journal.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from backend.access import DataOwner
from backend.utils.llm.clock import Time

from .answers import JournaledStepRunner, UncachedStepRunner
from .errors import CreationInProgressError, IdempotencyKeyReusedError, StorageUnavailableError
from .journal import CONVERSATION, JournalHeader, TranscriptHashAndSize
from .processing import ConversationIdentity, build_conversation
from .transcript import run_in_thread_if_long

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .journal import Journal, JournalStore
    from .outcome import Models
    from .store import Conversation, ConversationStore
    from .transcript import Transcript

log = logging.getLogger(__name__)

PROMPT: Final = 0.2
"""Seconds within which a conversation is normally stored. Until then, it is only in memory."""
STORING: Final = 10.0
"""Seconds for which a request waits until its conversation is stored. After that it is stored later."""
WAITING: Final = 120.0
"""Seconds for which a request waits for another with the same key: the longest time that a conversation may take."""
COMING_BACK: Final = 5.0
"""``Retry-After``, in seconds, for a request that waited in vain."""
KEPT: Final = 24 * 3600.0
"""Seconds for which the answers of an unfinished conversation are kept for a repeated request."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_ID: Final = 32
"""Hexadecimal digits, as of every other id."""


@dataclass(frozen=True, slots=True)
class CreationRequest:
    """A request to create a conversation from a transcript.

    Attributes:
        models: Returns the chat model of a feature.
        is_demo: Whether the built-in demo model serves a feature.
        key: The idempotency key; None without one. Requests of one user with the same key get the same
            conversation.
    """

    transcript: Transcript
    owner: DataOwner
    models: Models
    is_demo: Callable[[str], bool]
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CreatedConversation:
    """The conversation of a request, new or made by an earlier one. It is durably stored and survives a crash.

    Attributes:
        conversation: The conversation.
        is_stored: Whether it is in the store. If not, it is in its journal, and a background task stores it
            later.
    """

    conversation: Conversation
    is_stored: bool


class ConversationCreator:
    """Creates conversations from transcripts, and stores them.

    While the store is unavailable, a conversation is kept in its journal, and stored later.
    """

    def __init__(self, store: ConversationStore, journals: JournalStore, time: Time | None = None) -> None:
        self._store = store
        self._journals = journals
        self._time = time or Time()
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def create(self, request: CreationRequest) -> CreatedConversation:
        """Create a conversation. A repeated request resumes the creation, or returns the conversation that it created.

        Raises:
            IdempotencyKeyReusedError: An earlier request with the same key had another transcript.
            CreationInProgressError: An earlier request with the same key is still running after `WAITING`
                seconds.
            StorageUnavailableError: The conversation can be written neither to the store nor to its journal. If
                the request is repeated with the same key, no model call is paid for again.
        """
        conversation_id = _id_of(request)
        async with self._opened(conversation_id) as (journal, answers):
            if (stored := await self._stored(request, conversation_id, journal)) is not None:
                return CreatedConversation(stored, is_stored=True)
            conversation = await self._make_or_resume(request, conversation_id, journal, answers)
            is_stored = await answers.run_to_completion(self._is_stored(conversation, journal))
            return CreatedConversation(conversation, is_stored)

    async def find(self, owner: DataOwner, conversation_id: str) -> Conversation | None:
        """Find a user's conversation in the store or, if not stored yet, in its journal; None if it does not exist."""
        if (stored := await self._store.get(owner, conversation_id)) is not None:
            return stored
        made = await self._journals.read_finished_conversation(conversation_id)
        found = await asyncio.to_thread(CONVERSATION.validate_json, made) if made else None
        return found if found and DataOwner(found.user_id, found.tenant_id) == owner else None

    async def wait_for_model_calls(self, seconds: float, stop_waiting: asyncio.Event) -> None:
        """At shutdown, wait until running model calls have ended and their results are in the journals.

        Model calls that are still running at the end of the wait are cancelled.

        Args:
            seconds: The maximum time to wait.
            stop_waiting: An event that ends the wait at once when it is set.
        """
        drained = asyncio.gather(*self._closing, return_exceptions=True)
        ends: list[asyncio.Future[Any]] = [drained, asyncio.ensure_future(stop_waiting.wait())]
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def recover_abandoned_journals(self) -> None:
        """Store finished conversations that are only in journals, and delete unfinished journals older than `KEPT`.

        Journals that a request has open are skipped. A background task calls this.

        Raises:
            StorageUnavailableError: The store cannot be written now.
            ExceptionGroup: Some conversations could not be stored; all others were.
        """
        faults = []
        for conversation_id in await self._journals.list_abandoned_ids(KEPT):
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
            return  # a request has opened it again
        try:
            if journal.finished_conversation is not None:
                await self._store.add(
                    await asyncio.to_thread(CONVERSATION.validate_json, journal.finished_conversation)
                )
                await journal.remove()
                log.info("conversations.stored_later conversation=%s", conversation_id)
            elif journal.seconds_since_write > KEPT:
                await journal.remove()
        finally:
            await journal.close()

    @asynccontextmanager
    async def _opened(self, conversation_id: str) -> AsyncIterator[tuple[Journal, JournaledStepRunner]]:
        """Open the journal while the context lasts, and yield it with its step results.

        At the end, a cancelled request does not wait for running model calls: they end in the background.
        """
        journal = await self._open_when_free(conversation_id)
        answers = JournaledStepRunner(journal)
        try:
            yield journal, answers
        finally:
            closing = answers.close_in_background()
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            if not answers.has_running_steps:
                await asyncio.shield(closing)

    async def _open_when_free(self, conversation_id: str) -> Journal:
        pause, until = _FIRST_PAUSE, self._time.clock() + WAITING
        while (journal := await self._journals.open(conversation_id)) is None:
            if self._time.clock() >= until:
                raise CreationInProgressError(retry_after=COMING_BACK)
            await self._time.asleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return journal

    async def _stored(
        self, order: CreationRequest, conversation_id: str, journal: Journal
    ) -> Conversation | None:
        """The conversation that an earlier request with the key stored, whose journal is gone."""
        if order.key is None or journal.header is not None:
            return None
        stored = await self._store.get(order.owner, conversation_id)
        if stored is not None:
            asked, known = [
                await _outline(transcript) for transcript in (order.transcript, stored.transcript)
            ]
            if asked.fingerprint != known.fingerprint:
                raise IdempotencyKeyReusedError
        return stored

    async def _make_or_resume(
        self, order: CreationRequest, conversation_id: str, journal: Journal, answers: JournaledStepRunner
    ) -> Conversation:
        """The conversation in the journal; else a new one, made with the answers that the journal has."""
        outline = await _outline(order.transcript)
        if journal.header is not None and journal.header.fingerprint != outline.fingerprint:
            raise IdempotencyKeyReusedError
        if journal.finished_conversation is not None:
            return await asyncio.to_thread(CONVERSATION.validate_json, journal.finished_conversation)
        claim = journal.header or JournalHeader(fingerprint=outline.fingerprint, created_at=self._time.now())
        await journal.reserve_space(claim, outline.room)
        entry = ConversationIdentity(conversation_id, order.owner, claim.created_at)
        return await build_conversation(
            order.transcript,
            entry,
            order.models,
            is_demo=order.is_demo,
            step_runner=UncachedStepRunner() if order.key is None else answers,
        )

    async def _is_stored(self, conversation: Conversation, journal: Journal) -> bool:
        """Whether ``conversation`` was stored in time. If it cannot be stored at once, the journal keeps it meanwhile.

        Raises:
            StorageUnavailableError: The journal could not be written either.
        """
        storing = asyncio.ensure_future(self._add_in_turn(conversation))
        try:
            await asyncio.wait([storing], timeout=PROMPT)
            is_well = storing.done() and storing.exception() is None
            is_kept = not is_well and await _is_kept(conversation, journal)
            if await storing:
                await journal.remove()
                return True
        finally:
            storing.cancel()
        if not is_kept and not await _is_kept(conversation, journal):
            raise StorageUnavailableError
        return False

    async def _add_in_turn(self, conversation: Conversation) -> bool:
        """Add to the store, one conversation at a time, so that a busy store can still be read; False if time is up."""
        until = self._time.clock() + STORING
        try:
            async with asyncio.timeout(STORING), self._turn:
                return await self._add_until(until, conversation)
        except TimeoutError:  # what was begun may still be stored, and is stored once
            log.warning("conversations.not_stored_yet conversation=%s: the store is busy", conversation.id)
            return False

    async def _add_until(self, until: float, conversation: Conversation) -> bool:
        pause = _FIRST_PAUSE
        while (fault := await self._add(conversation)) is not None:
            if self._time.clock() + pause > until:
                log.warning(
                    "conversations.not_stored_yet conversation=%s: %s", conversation.id, fault.__cause__
                )
                return False
            await self._time.asleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    async def _add(self, conversation: Conversation) -> StorageUnavailableError | None:
        try:
            await self._store.add(conversation)
        except StorageUnavailableError as error:
            return error
        return None


def _id_of(order: CreationRequest) -> str:
    """A hash of user and key, so that a stored conversation needs no record of its key; random without a key."""
    if order.key is None:
        return uuid4().hex
    return hashlib.sha256(json.dumps([*filter(None, order.owner), order.key]).encode()).hexdigest()[:_ID]


async def _outline(transcript: Transcript) -> TranscriptHashAndSize:
    return await run_in_thread_if_long(transcript, partial(TranscriptHashAndSize.from_transcript, transcript))


async def _is_kept(conversation: Conversation, journal: Journal) -> bool:
    if journal.finished_conversation is not None:
        return True
    try:
        content = partial(CONVERSATION.dump_json, conversation)
        await journal.write_conversation(await run_in_thread_if_long(conversation.transcript, content))
    except StorageUnavailableError as error:
        log.warning("conversations.not_kept conversation=%s: %s", conversation.id, error.__cause__)
        return False
    return True
