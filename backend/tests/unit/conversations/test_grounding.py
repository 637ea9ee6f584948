"""What a model says of a conversation is tested against what was said: paraphrases pass, inventions do not."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.conversations.action_items import ActionItems, ask_for_action_items, check_action_items
from backend.conversations.categories import Category
from backend.conversations.extract import extract_summary
from backend.conversations.grounding import GroundingFacts, UngroundedError
from backend.conversations.sample import SAMPLE
from backend.conversations.structure import Structure, ask_for_structure, check_structure
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.replies import Json

from .transcripts import SETS, examples, transcript

if TYPE_CHECKING:
    from backend.conversations.transcript import Transcript
    from backend.utils.llm.testing import LoopbackProvider

BY_NAME = {example.name: example.transcript for of in SETS for example in examples(of)} | {
    "sample": SAMPLE,
    "japanese": transcript(
        [
            ("田中", "来週の月曜日、九時に会議があります。資料は私が準備します。"),
            ("佐藤", "わかりました。会議室は私が予約しておきます。"),
        ]
    ),
    "chinese": transcript(
        [("王伟", "下周三我们要去北京出差，机票大概三千五百块。"), ("李娜", "我来订酒店，两个晚上。")]
    ),
    "russian": transcript(
        [
            ("Олег", "Завтра в девять часов встреча с клиентом, я подготовлю отчёт."),
            ("Анна", "Хорошо, я закажу такси."),
        ]
    ),
    "polish": transcript(
        [
            ("Ola", "Jutro o dziewiątej mamy spotkanie z klientem, przygotuję raport."),
            ("Jan", "Dobrze, zamówię taksówkę."),
        ]
    ),
    "figures": transcript(
        [
            ("Ann", "Twenty-five people at half past seven, that is a hundred and twenty euros."),
            ("Bob", "I'll order the pizza tomorrow."),
        ]
    ),
    "zahlen": transcript(
        [("Ute", "Wir sind fünfundzwanzig Leute, um halb acht, das macht zweihundert Euro.")]
    ),
}


def grounds(spoken: Transcript) -> GroundingFacts:
    return GroundingFacts.from_transcript(spoken, spoken.render().text)


def check(name: str, title: str, overview: str) -> None:
    check_structure(
        grounds(BY_NAME[name]), Structure(title=title, overview=overview, category=Category.OTHER)
    )


def check_items(name: str, *items: tuple[str | None, str]) -> None:
    found = ActionItems.model_validate(
        {"items": [{"owner": owner, "description": description} for owner, description in items]}
    )
    check_action_items(grounds(BY_NAME[name]), found)


@pytest.mark.parametrize(
    ("name", "title", "overview"),
    [
        (
            "sample",
            "Booking Page Launch Plan",
            (
                "The team decided to launch the new booking page on Monday, November 23 at 9:00, provided that Thursday's "
                "tests pass. Jonas will fix the gift-card payment bug by Wednesday evening."
            ),
        ),
        (
            "sample",
            "Go-live of the New Booking Page",
            (
                "Mira, Jonas and Aylin agreed that the new page goes live on 2026-11-23 at 09:00 if tests succeed; the old "
                "one stays up for 1 week."
            ),
        ),
        (
            "sample",
            "Launch decision",
            "Launch next Monday 9am if green; payment fix due Nov 18; English copy review pending.",
        ),
        (
            "hiring",
            "Hiring for Marketing",
            (
                "11 candidates applied for the marketing role; three stand out. Interviews will be arranged and salary "
                "approval checked with finance."
            ),
        ),
        (
            "mortgage",
            "Mortgage consultation",
            (
                "Sam and Jill discuss a mortgage with a 10-year fixed rate. They have €35,000 saved against a required "
                "deposit of €40,000 and would pay about €900 per month."
            ),
        ),
        (
            "dentist",
            "Dentist appointment for toothache",
            "Mr Boyd, who is allergic to penicillin, gets an appointment at 4 pm and must bring his insurance card.",
        ),
        (
            "breakup",
            "Coping with a breakup",
            (
                "Rose struggles to move on and feels lonely on Sundays. She considers adopting a dog and plans to visit an "
                "animal shelter on Saturday with Ash."
            ),
        ),
        (
            "serverumzug",
            "Probleme mit dem Server",
            (
                "Seit dem Update ist der Server langsam. Malik prüft die Protokolle, Ute bestellt mehr Speicher und Timo "
                "ändert das Passwort."
            ),
        ),
        (
            "arzttermin",
            "Schulterschmerzen von Oma",
            (
                "Oma hat seit mehreren Tagen Schmerzen in der Schulter. Felix vereinbart einen Arzttermin und holt ihre "
                "Tabletten ab."
            ),
        ),
        (
            "compras",
            "Compra de ropa y devolución",
            "Diego comprará el abrigo azul por internet por 90 euros y devolverá la camisa mañana.",
        ),
        (
            "livraison",
            "Remplacement de la machine à café",
            "Claire compare les prix en ligne et commande des filtres. Hugo rend l'ancienne machine avant dimanche.",
        ),
        (
            "japanese",
            "月曜日の会議の準備",
            "来週月曜日9時に会議。田中さんが資料を準備し、佐藤さんが会議室を予約する。",
        ),
        ("chinese", "北京出差安排", "下周三去北京出差，机票约3500元，李娜负责订2晚酒店。"),
        (
            "russian",
            "Встреча с клиентом",
            "Олег готовит отчёт к встрече с клиентом в 9:00 18 ноября, Анна заказывает такси.",
        ),
        (
            "polish",
            "Spotkanie z klientem",
            "Ola przygotuje raport na spotkanie z klientem 18.11. o 9:00, Jan zamówi taksówkę.",
        ),
        (
            "figures",
            "Pizza for 25 people",
            "25 people at 7:30 pm (19:30), 120 euros. Bob orders the pizza on Wednesday.",
        ),
        ("heard-h1", "Headaches", "Blood pressure is 150/90; the headaches are treated and blood is tested."),
        (
            "heard-fr1",
            "Les 70 ans de maman",
            "Paul va chercher les enfants à l'école à 16h00 le 20 novembre.",
        ),
        ("heard-x8", "Back pain", "The patient should get up every 30 minutes and do stretches twice a day."),
        ("heard-x11", "Surprise on Friday", "Bea brings brownies and Sam brings the balloons."),
        ("heard-en2", "Comeback", "They were 0-2 down at half time and then scored three goals."),
        (
            "heard-f3",
            "Old pension",
            "The pension charges 1.2% in fees; it moves to an index fund before April.",
        ),
        ("zahlen", "Essen für 25 Leute", "25 Leute kommen um 19:30 Uhr, das macht 200 Euro."),
    ],
)
def test_a_good_summary_passes(name: str, title: str, overview: str) -> None:
    check(name, title, overview)


@pytest.mark.parametrize(
    ("name", "title", "overview", "why"),
    [
        ("sample", "Booking page", "The new page goes live, as Jonas said to Sarah and Mira.", "a name"),
        ("sample", "Booking page", "The booking page goes live on 15 March 2027.", "a figure"),
        ("sample", "Booking page", "The new booking page goes live for 45000 customers.", "a figure"),
        ("sample", "A holiday at sea", "The friends sail to an island and swim all summer.", "most of it"),
        ("figures", "Pizza", "They order pizza for 30 people.", "a figure"),
        ("figures", "Pizza", "They order pizza for nine people.", "a figure"),
        (
            "heard-w2",
            "Hiring",
            "The second candidate from the logistics firm starts on 1 February.",
            "a figure",
        ),
        ("heard-e1", "Essay", "The draft of the essay is due on December 15.", "a figure"),
        ("heard-fa2", "Dad", "Dad fell five times since Christmas.", "a figure"),
        ("heard-f2", "Quarter", "Of the revenue 19,000 is unpaid.", "a figure"),
        ("heard-w3", "Huddle", "The freezer is noisy and Brenda mixed up the rota.", "a name"),
        ("chinese", "上海旅游", "下周五去上海旅游，机票约8000元。", "most of it"),
        ("chinese", "北京出差", "下周三去北京出差，机票约8000块。", "a figure"),
        ("japanese", "大阪旅行", "友達と海で泳いで、寿司を食べる計画。", "most of it"),
        (
            "arzttermin",
            "Urlaub in Italien",
            "Die Familie fährt im Sommer ans Meer und mietet dort ein Haus.",
            "most of it",
        ),
        ("mortgage", "Hypothek", "Die beiden fragen nach einem Kredit für ihr Haus.", "most of it"),
    ],
)
def test_an_invented_fact_is_reported(name: str, title: str, overview: str, why: str) -> None:
    with pytest.raises(UngroundedError, match=why):
        check(name, title, overview)


@pytest.mark.parametrize(
    ("name", "owner", "description"),
    [
        ("sample", "Jonas", "Fix the gift card payment test by Wednesday, 18 November"),
        ("sample", "Mira", "Review the English texts tomorrow before lunch (2026-11-18)"),
        ("sample", "the support team", "Be told"),
        ("sample", None, "Keep the old page for 1 week"),
        ("hiring", "Victor", "Send the candidates an invitation"),
        ("ci-pipeline", "Speaker 2", "Look into parallel integration tests"),
        ("dentist", "Mr. Boyd", "Bring the insurance card"),
        ("japanese", "佐藤さん", "会議室を予約"),
        ("figures", None, "Pay €120"),
        ("heard-x11", "Sam", "Bring the balloons"),
    ],
)
def test_a_good_task_passes(name: str, owner: str | None, description: str) -> None:
    check_items(name, (owner, description))


@pytest.mark.parametrize(
    ("owner", "description", "why"),
    [
        ("Peter", "Check the English texts", "items.1.owner: nobody of that name"),
        ("Mira Novak", "Check the English texts", "items.1.owner: nobody of that name"),
        ("Mira", "Check the 14 English texts", "items.1.description: holds a figure"),
        ("Mira", "Check the English texts with Sarah", "items.1.description: holds a name"),
        ("Mira", "Water the garden", "items.1.description: most of it"),
    ],
)
def test_one_invented_task_among_good_ones_is_reported(owner: str, description: str, why: str) -> None:
    with pytest.raises(UngroundedError, match=why):
        check_items("sample", ("Jonas", "Repair the payment test"), (owner, description))


def test_a_report_quotes_nothing() -> None:
    with pytest.raises(UngroundedError) as told:
        check_items("sample", ("Peter", "Check the texts"))

    assert "Peter" not in str(told.value)


WORDS = st.sampled_from(
    [word for one in BY_NAME.values() for said in one.segments for word in said.text.split()]
)
TALK = st.lists(st.tuples(st.sampled_from(["Ann", "Bob", "田中"]), st.lists(WORDS, min_size=1, max_size=12)))


@given(turns=TALK)
def test_what_is_cut_from_a_transcript_always_passes(turns: list[tuple[str, list[str]]]) -> None:
    spoken = transcript([(speaker, " ".join(words)) for speaker, words in turns])
    found = extract_summary(spoken)

    if found is not None and not spoken.render().truncated:
        check_structure(
            grounds(spoken), Structure(title=found.title, overview=found.overview, category=found.category)
        )
        items = [{"owner": promise.owner, "description": promise.what} for promise in found.promises]
        check_action_items(grounds(spoken), ActionItems.model_validate({"items": items}))


@given(said=st.text(max_size=200), answer=st.text(min_size=1, max_size=200))
def test_any_text_is_accepted_or_refused_and_nothing_else(said: str, answer: str) -> None:
    rests_on = grounds(transcript([("Ann", said)]))
    try:
        rests_on.check_owner("owner", answer)
        rests_on.check_numbers_and_names("title", answer)
        rests_on.check_word_overlap("title", [answer])
    except UngroundedError:
        pass


GOOD: dict[str, Any] = {
    "title": "New booking page",
    "overview": "The new page goes live.",
    "category": "work",
}
MADE_UP = GOOD | {"overview": "The new page goes live in 45000 shops."}
ITEM: dict[str, Any] = {"owner": "Mira", "description": "Check the English texts"}


class TestThroughTheFacade:
    """A paid answer that does not hold costs a repair, then the next endpoint."""

    CHAIN = ("openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite")

    async def structure(self, provider: LoopbackProvider) -> Any:
        text = SAMPLE.render().text
        async with aclosing(loopback_patchbay(provider, {"conv_structure": self.CHAIN})) as patchbay:
            return await ask_for_structure(SAMPLE, text, patchbay.get_llm, grounds(SAMPLE))

    async def test_the_model_gets_the_faults_and_repairs_them(self, provider: LoopbackProvider) -> None:
        provider.script(Json(MADE_UP), Json(GOOD))

        outcome = await self.structure(provider)

        assert outcome.value == Structure.model_validate(GOOD)
        assert outcome.made_by == self.CHAIN[0]
        assert "overview: holds a figure or a day that was not said" in str(provider.requests[-1].body)

    async def test_the_next_endpoint_is_asked(self, provider: LoopbackProvider) -> None:
        provider.always(Json(MADE_UP), model="gpt-6-luna")
        provider.always(Json(GOOD), model="gemini-3.5-flash-lite")

        outcome = await self.structure(provider)

        assert outcome.made_by == self.CHAIN[1]
        assert [one["outcome"] for one in outcome.receipt["attempts"]] == ["rejected", "rejected", "ok"]

    async def test_without_any_that_holds_there_is_no_value(self, provider: LoopbackProvider) -> None:
        provider.always(Json({"items": [ITEM | {"owner": "Peter"}]}))

        async with aclosing(loopback_patchbay(provider, {"conv_action_items": self.CHAIN[0]})) as patchbay:
            outcome = await ask_for_action_items(SAMPLE, "", patchbay.get_llm, grounds(SAMPLE))

        assert (outcome.value, outcome.error) == (None, "invalid_output")
