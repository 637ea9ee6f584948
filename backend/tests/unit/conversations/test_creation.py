"""What is paid for is paid for once, and what was acknowledged is there, whatever fails and wherever it ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableLambda

from backend.access import DataOwner
from backend.conversations.creation import (
    COMING_BACK,
    KEPT,
    STORING,
    WAITING,
    ConversationCreator,
    CreatedConversation,
    CreationRequest,
)
from backend.conversations.errors import (
    CreationInProgressError,
    IdempotencyKeyReusedError,
    StorageUnavailableError,
)
from backend.conversations.sample import SAMPLE
from backend.conversations.transcript import Segment, Transcript
from backend.tests.fakes.journals import InMemoryJournals
from backend.tests.fakes.models import ScriptedModels
from backend.tests.fakes.services import InMemoryConversations
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import ProviderDownError
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.conversations.store import Conversation
    from backend.utils.llm.testing import ScriptedChatModel

SHORT = Transcript(
    segments=[Segment(text="Remember the milk.", start=0, end=1)], started_at="2026-11-21T09:00:00Z"
)
"""Of which every feature is asked."""
STEPS = ("conv_discard", "conv_structure", "conv_action_items", "conv_folder")
KEY = "a-key-of-anns"
ALWAYS = 10**6
LONG = 3600.0


class CrashError(Exception):
    """The process ends here."""


class Power:
    """Goes out at the step of this number; a number that is not reached leaves it on."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.steps: list[str] = []

    def __call__(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) - 1 == self.at:
            raise CrashError(step)


class Store(InMemoryConversations):
    """A store that fails so many times before it takes anything, and tells ``happens`` of each step."""

    def __init__(self, power: Power | None = None, fails: int = 0) -> None:
        super().__init__()
        self.power = power or Power()
        self.fails = fails

    async def add(self, conversation: Conversation) -> None:
        self.power("add")
        if self.fails > 0:
            self.fails -= 1
            raise StorageUnavailableError
        await super().add(conversation)
        self.power("added")


class Office:
    """A store, journals and models that outlive each of the processes that make conversations with them."""

    def __init__(self, power: Power | None = None, *, fails: int = 0, **scripts: list[Any]) -> None:
        self.power = power or Power()
        self.store = Store(self.power, fails)
        self.journals = InMemoryJournals(self.power)
        self.models = ScriptedModels(**scripts)
        for model in self.models.models.values():
            model.script *= 3
        self.time = VirtualTime()
        self.creation = ConversationCreator(self.store, self.journals, self.time.time)

    def start_again(self) -> None:
        """What a process holds open goes with it."""
        self.power.at = -1
        self.journals.held.clear()
        self.creation = ConversationCreator(self.store, self.journals, self.time.time)

    async def create(
        self, transcript: Transcript = SHORT, *, key: str | None = KEY, user: str = "ann"
    ) -> CreatedConversation:
        return await self.creation.create(
            CreationRequest(transcript, DataOwner(user), self.models, lambda _: False, key)
        )

    @property
    def asked(self) -> Mapping[str, int]:
        return {step: len(self.models.models[step].calls) for step in STEPS}


ONCE = dict.fromkeys(STEPS, 1)


async def steps_of_one() -> list[str]:
    office = Office()
    await office.create()
    return office.power.steps


async def test_every_step_is_one_at_which_it_may_end() -> None:
    steps = await steps_of_one()

    assert steps[:2] == ["begin", "begun"]
    assert steps[-3:] == ["add", "added", "remove"], "a store that is prompt spares the journal"
    assert sorted(steps[2:-3]) == sorted(f"{word} {step}" for word in ("keep", "kept") for step in STEPS)


@pytest.mark.parametrize("at", range(13))
async def test_wherever_a_process_ends_the_same_key_goes_on_from_there(at: int) -> None:
    office = Office(Power(at))
    with pytest.raises(CrashError) as ended:
        await office.create()
    await office.creation.wait_for_model_calls(
        LONG, asyncio.Event()
    )  # else it is chance whether a step beside it was kept
    office.start_again()
    office.time.sleep(60 if at else 0)

    created = await office.create()

    lost = str(ended.value).removeprefix("keep ")
    assert office.asked == {step: 1 + (step == lost) for step in STEPS}, (
        "only what was not kept is asked for again"
    )
    assert [conversation.id for conversation in office.store.kept] == [created.conversation.id]
    assert (created.conversation.title, created.conversation.status) == ("Budget", "completed")
    assert created.conversation == (await uninterrupted())
    assert office.journals.kept == {}


@pytest.mark.parametrize("step", ["finish", "finished"])
async def test_a_process_may_end_while_a_busy_store_makes_it_write_the_journal(step: str) -> None:
    busy = Office(fails=ALWAYS)
    await busy.create()
    office = Office(Power(busy.power.steps.index(step)), fails=ALWAYS)
    with pytest.raises(CrashError):
        await office.create()
    office.start_again()
    office.store.fails = 0

    created = await office.create()

    assert office.asked == ONCE
    assert [conversation.id for conversation in office.store.kept] == [created.conversation.id]
    assert office.journals.kept == {}


class SlowStore(Store):
    """Takes a conversation only once ``kept_elsewhere`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.kept_elsewhere = asyncio.Event(), asyncio.Event()

    async def add(self, conversation: Conversation) -> None:
        self.is_asked.set()
        await self.kept_elsewhere.wait()
        await super().add(conversation)


def slow_office() -> tuple[Office, SlowStore]:
    """One whose store is at work until the journal has the conversation."""
    store = SlowStore()
    office = Office(Power())
    office.store = store
    office.journals.happens = lambda step: store.kept_elsewhere.set() if step == "finished" else None
    office.start_again()
    return office, store


async def test_what_a_store_takes_its_time_for_is_in_the_journal_meanwhile() -> None:
    office, store = slow_office()

    created = await office.create(key=None)

    assert created.is_stored
    assert store.kept_elsewhere.is_set()


class HangingStore(Store):
    """Takes conversations only if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.answers = asyncio.Event(), asyncio.Event()

    async def add(self, conversation: Conversation) -> None:
        self.is_asked.set()
        await self.answers.wait()
        await super().add(conversation)


async def test_what_a_store_is_silent_about_is_in_the_journal_and_stored_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office, store = Office(), HangingStore()
    office.creation = ConversationCreator(store, office.journals, office.time.time)
    creating = asyncio.ensure_future(office.create(key=None))
    await store.is_asked.wait()

    loop = asyncio.get_running_loop()
    later = loop.time() + STORING
    monkeypatch.setattr(loop, "time", lambda: later)
    created = await creating

    assert not created.is_stored
    assert await office.creation.find(DataOwner("ann"), created.conversation.id) == created.conversation
    store.answers.set()
    await office.creation.recover_abandoned_journals()
    assert (store.kept, office.journals.kept) == ([created.conversation], {})


async def test_what_a_store_breaks_on_is_kept_in_the_journal() -> None:
    office = Office()
    office.store.power = Power(at=0)

    with pytest.raises(CrashError):
        await office.create(key=None)

    office.store.power = Power()
    await office.creation.recover_abandoned_journals()
    assert len(office.store.kept) == 1


async def test_what_is_made_is_stored_though_its_request_is_over() -> None:
    office, store = slow_office()
    request = asyncio.ensure_future(office.create(key=None))
    await store.is_asked.wait()

    request.cancel()
    await office.creation.wait_for_model_calls(LONG, asyncio.Event())

    assert len(store.kept) == 1
    assert office.journals.kept == {}


async def uninterrupted() -> Conversation:
    return (await Office().create()).conversation


@given(
    ends=st.lists(st.integers(0, 12), max_size=6), fails=st.integers(0, 40), key=st.sampled_from([KEY, None])
)
async def test_what_was_acknowledged_is_there_once_after_any_number_of_ends(
    ends: list[int], fails: int, key: str | None
) -> None:
    office, acknowledged = Office(fails=fails), set()
    for at in (*ends, -1):
        office.power.at, office.power.steps = at, []
        try:
            acknowledged.add((await office.create(key=key)).conversation.id)
        except CrashError:
            office.start_again()
    office.store.fails = 0
    await office.creation.recover_abandoned_journals()

    kept = [conversation.id for conversation in office.store.kept]
    assert len(kept) == len(set(kept))
    assert acknowledged <= set(kept)
    assert key is None or len(kept) == 1


async def test_the_same_key_gives_the_same_conversation_without_a_model_call() -> None:
    office = Office()

    first, second = await office.create(), await office.create()

    assert first == second
    assert office.asked == ONCE


async def test_a_key_outlives_the_process() -> None:
    office = Office()
    first = await office.create()
    office.start_again()

    assert await office.create() == first
    assert office.asked == ONCE


async def test_a_second_request_waits_for_the_first() -> None:
    office = Office()
    office.creation = ConversationCreator(
        office.store, office.journals, Time(asleep=lambda _: asyncio.sleep(0))
    )

    created = await asyncio.gather(*(office.create() for _ in range(5)))

    assert len({conversation.conversation.id for conversation in created}) == 1
    assert office.asked == ONCE


async def test_waiting_too_long_is_refused_with_when_to_ask_again() -> None:
    office = Office()
    office.journals.held.add((await uninterrupted()).id)

    with pytest.raises(CreationInProgressError) as told:
        await office.create()

    assert told.value.retry_after == COMING_BACK
    assert sum(office.time.slept) == pytest.approx(WAITING, abs=1.0)
    assert office.models.asked == set()


@pytest.mark.parametrize("at", [1, 10, 11, -1], ids=["begun", "finish", "finished", "stored"])
async def test_a_key_that_comes_with_another_transcript_is_refused(at: int) -> None:
    office = Office(Power(at))
    if at < 0:
        await office.create()
    else:
        with pytest.raises(CrashError):
            await office.create()
        office.start_again()
    asked = office.asked

    with pytest.raises(IdempotencyKeyReusedError):
        await office.create(SAMPLE)

    assert office.asked == asked
    assert (await office.create()).is_stored, "and the first is none the worse"


async def test_the_same_transcript_may_be_written_otherwise() -> None:
    office = Office()
    first = await office.create()

    again = await office.create(
        Transcript.model_validate(SHORT.model_dump() | {"time_zone": "UTC", "language": None})
    )

    assert again == first


async def test_users_have_keys_of_their_own() -> None:
    office = Office()

    ann, bob = await office.create(), await office.create(user="bob")

    assert ann.conversation.id != bob.conversation.id
    assert bob.conversation.user_id == "bob"


async def test_without_a_key_every_request_is_another_one_and_its_answers_are_not_kept() -> None:
    office = Office()

    first, second = await office.create(key=None), await office.create(key=None)

    assert first.conversation.id != second.conversation.id
    assert not any(step.startswith("keep") for step in office.power.steps)


async def test_a_step_that_failed_is_not_asked_again_either() -> None:
    """Its failure may have been paid for, and is part of the conversation."""
    office = Office(Power(12), conv_action_items=[ProviderDownError("down")])
    with pytest.raises(CrashError):
        await office.create()
    office.start_again()

    created = await office.create()

    assert created.conversation.errors == {"conv_action_items": "provider_down"}
    assert office.asked == ONCE


async def test_a_busy_store_costs_a_delay() -> None:
    office = Office(fails=5)

    created = await office.create()

    assert created.is_stored
    assert 0 < sum(office.time.slept) < STORING
    assert office.asked == ONCE


@pytest.mark.parametrize("key", [KEY, None])
async def test_what_a_store_does_not_take_in_time_is_found_and_stored_later(key: str | None) -> None:
    office = Office(fails=ALWAYS)

    created = await office.create(key=key)

    assert not created.is_stored
    assert sum(office.time.slept) == pytest.approx(STORING, abs=1.0)
    assert await office.creation.find(DataOwner("ann"), created.conversation.id) == created.conversation
    assert await office.creation.find(DataOwner("bob"), created.conversation.id) is None
    office.store.fails = 0
    await office.creation.recover_abandoned_journals()
    assert office.store.kept == [created.conversation]
    assert office.journals.kept == {}


async def test_the_same_key_may_ask_whether_it_is_stored_by_now() -> None:
    office = Office(fails=ALWAYS)
    first, second = await office.create(), await office.create()
    office.store.fails = 0

    third = await office.create()

    assert [conversation.is_stored for conversation in (first, second, third)] == [False, False, True]
    assert {conversation.conversation.id for conversation in (first, second, third)} == {
        first.conversation.id
    }
    assert office.asked == ONCE


async def test_nothing_is_paid_for_without_a_place_for_it() -> None:
    office = Office()
    office.journals.is_full = True

    with pytest.raises(StorageUnavailableError):
        await office.create()

    assert office.models.asked == set()


async def test_what_can_be_kept_nowhere_is_not_acknowledged() -> None:
    office = Office(fails=ALWAYS)

    def fill(step: str) -> None:
        office.journals.is_full = step == "finish"

    office.journals.happens = fill

    with pytest.raises(StorageUnavailableError):
        await office.create()

    office.journals.happens = Power()
    office.journals.is_full, office.store.fails = False, 0
    assert (await office.create()).is_stored
    assert office.asked == ONCE


async def test_what_nobody_comes_back_for_goes_after_a_day() -> None:
    office = Office(Power(8))
    with pytest.raises(CrashError):
        await office.create()
    office.start_again()
    (left,) = office.journals.kept.values()

    await office.creation.recover_abandoned_journals()
    assert list(office.journals.kept.values()) == [left]

    left.age = KEPT + 1
    await office.creation.recover_abandoned_journals()
    assert office.journals.kept == {}


async def test_what_cannot_be_stored_holds_nothing_else_up() -> None:
    office = Office(fails=ALWAYS)
    first, second = await office.create(), await office.create(key="another")
    office.store.fails = 0
    office.journals.kept[first.conversation.id].conversation = b"{}"

    with pytest.raises(ExceptionGroup, match="cannot be stored"):
        await office.creation.recover_abandoned_journals()

    assert office.store.kept == [second.conversation]


async def test_an_answer_of_another_version_is_asked_for_again() -> None:
    office = Office(Power(9))  # when all answers are kept
    with pytest.raises(CrashError):
        await office.create()
    office.start_again()
    (left,) = office.journals.kept.values()
    left.answers["conv_structure"] = b'{"of": "another version"}'

    await office.create()

    assert office.asked == ONCE | {"conv_structure": 2}


async def test_a_key_is_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    office = Office(fails=ALWAYS)

    created = await office.create()

    order = CreationRequest(SHORT, DataOwner("ann"), office.models, lambda _: False, KEY)
    assert KEY not in f"{caplog.text} {order!r} {created!r} {office.journals.kept!r}"
    assert "Remember the milk" not in caplog.text


async def test_one_request_at_a_time_bothers_a_store_that_is_busy() -> None:
    office = Office()
    running = most = 0

    class Counting(Store):
        async def add(self, conversation: Conversation) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            await super().add(conversation)
            running -= 1

    office.creation = ConversationCreator(Counting(), office.journals, office.time.time)

    await asyncio.gather(*(office.create(key=str(number)) for number in range(3)))

    assert most == 1


class Slow:
    """A model that answers when it is told to."""

    def __init__(self, model: ScriptedChatModel) -> None:
        self.answers = asyncio.Event()
        self.is_asked = asyncio.Event()
        self._model = model

    def with_structured_output(self, *given: Any, **named: Any) -> Any:
        answering = self._model.with_structured_output(*given, **named)

        async def answer(messages: Any) -> Any:
            self.is_asked.set()
            await self.answers.wait()
            return await answering.ainvoke(messages)

        return RunnableLambda(lambda _: None, answer)


class TestStop:
    """A stop that comes while a model is answering."""

    @pytest.fixture
    async def office(self) -> Office:
        return Office()

    @pytest.fixture
    async def slow(self, office: Office) -> Slow:
        return Slow(office.models.models["conv_structure"])

    async def cut_short(self, office: Office, slow: Slow, key: str | None = KEY) -> None:
        models: dict[str, Any] = {**office.models.models, "conv_structure": slow}
        order = CreationRequest(SHORT, DataOwner("ann"), models.__getitem__, lambda _: False, key)
        request = asyncio.ensure_future(office.creation.create(order))
        await slow.is_asked.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    async def test_what_is_being_answered_is_kept_and_nothing_more_is_asked(
        self, office: Office, slow: Slow
    ) -> None:
        await self.cut_short(office, slow)
        slow.answers.set()

        await office.creation.wait_for_model_calls(LONG, asyncio.Event())

        assert office.models.asked == set(STEPS) - {"conv_folder"}
        office.start_again()
        await office.create()
        assert office.asked == ONCE

    async def test_who_comes_back_meanwhile_waits_for_it(self, office: Office, slow: Slow) -> None:
        await self.cut_short(office, slow)
        office.creation = ConversationCreator(
            office.store, office.journals, Time(asleep=lambda _: asyncio.sleep(0))
        )
        again = asyncio.ensure_future(office.create())
        await asyncio.sleep(0)
        slow.answers.set()

        assert (await again).is_stored
        assert office.asked == ONCE

    @pytest.mark.parametrize("seconds", [0.0, LONG], ids=["no time is left", "a second signal"])
    async def test_what_is_not_answered_in_time_is_given_up(
        self, seconds: float, office: Office, slow: Slow
    ) -> None:
        await self.cut_short(office, slow)
        hurry = asyncio.Event()
        if seconds:
            hurry.set()

        await office.creation.wait_for_model_calls(seconds, hurry)

        assert office.journals.held == set()
        await office.create()
        assert office.asked["conv_structure"] == 1, "it was not answered before"

    async def test_a_failure_that_the_end_may_have_caused_is_not_kept(
        self, office: Office, slow: Slow
    ) -> None:
        office.models.models["conv_structure"].script.insert(0, ProviderDownError("the key is gone"))
        await self.cut_short(office, slow)
        slow.answers.set()
        await office.creation.wait_for_model_calls(LONG, asyncio.Event())

        created = await office.create()

        assert created.conversation.status == "completed"

    async def test_what_nobody_could_come_back_for_is_given_up_at_once(
        self, office: Office, slow: Slow
    ) -> None:
        await self.cut_short(office, slow, key=None)

        await office.creation.wait_for_model_calls(LONG, asyncio.Event())

        assert office.asked["conv_structure"] == 0
        assert office.journals.held == set()

    async def test_without_anything_under_way_nothing_is_waited_for(self, office: Office) -> None:
        await office.create()

        await office.creation.wait_for_model_calls(LONG, asyncio.Event())
