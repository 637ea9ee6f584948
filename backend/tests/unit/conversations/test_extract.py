from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.conversations.categories import Category
from backend.conversations.extract import ExtractedSummary, extract_summary
from backend.conversations.extract.lexicon import HINTS, TELLING
from backend.conversations.sample import SAMPLE
from backend.tests.fakes.work import stays_within

from .transcripts import SETS, Example, examples, transcript

if TYPE_CHECKING:
    from backend.conversations.transcript import Transcript

WORD = re.compile(r"\w+(?:['’]\w+)*")
ALL = tuple(example for of in SETS for example in examples(of))


def found(spoken: Transcript) -> ExtractedSummary:
    extracted = extract_summary(spoken)
    assert extracted is not None
    return extracted


def promises(*turns: tuple[str, str]) -> list[tuple[str, str]]:
    return [(promise.owner, promise.description) for promise in found(transcript(list(turns), "en")).promises]


def hits(example: Example) -> int:
    left, count = list(found(example.transcript).promises), 0
    for owner, word in example.promises:
        match = next(
            (task for task in left if task.owner == owner and word.lower() in task.description.lower()), None
        )
        if match is not None:
            left.remove(match)
            count += 1
    return count


def words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold()))


def not_said(spoken: Transcript, extracted: ExtractedSummary) -> set[str]:
    said = set[str]().union(*(words(f"{segment.speaker} {segment.text}") for segment in spoken.segments))
    texts = [extracted.title, extracted.overview, *(promise.description for promise in extracted.promises)]
    return set[str]().union(*map(words, texts)) - said


class TestAgainstPeople:
    """What people would find in conversations, and what is found."""

    @pytest.mark.parametrize("of", SETS)
    def test_nine_in_ten_promises_are_found_with_their_owner(self, of: str) -> None:
        taken_on = sum(len(example.promises) for example in examples(of))

        assert sum(map(hits, examples(of))) >= 0.9 * taken_on

    @pytest.mark.parametrize("of", SETS)
    def test_nine_in_ten_finds_are_promises(self, of: str) -> None:
        finds = sum(len(found(example.transcript).promises) for example in examples(of))

        assert sum(map(hits, examples(of))) >= 0.9 * finds

    @pytest.mark.parametrize("of", SETS)
    def test_nine_in_ten_categories_are_right(self, of: str) -> None:
        right = [found(example.transcript).category == example.category for example in examples(of)]

        assert sum(right) >= 0.9 * len(right)

    @pytest.mark.parametrize("of", SETS)
    def test_the_language_is_detected(self, of: str) -> None:
        for example in examples(of):
            untold = example.transcript.model_copy(update={"language": None})

            assert extract_summary(untold) == extract_summary(example.transcript), example.name

    def test_there_is_an_example_of_every_category(self) -> None:
        assert {example.category for example in ALL} == set(Category)

    @pytest.mark.parametrize("example", ALL, ids=lambda example: example.name)
    def test_every_word_was_said(self, example: Example) -> None:
        assert not not_said(example.transcript, found(example.transcript))


class TestPromises:
    @pytest.mark.parametrize(
        "said",
        [
            "I won't send the report.",
            "I sent the report yesterday.",
            "I would send the report if I were you.",
            "If I ever win, I'll send everybody a report.",
            "Will I have to send the report?",
            "I can't send the report.",
            "I'll never send a report again.",
            "He said I'd send the report.",
            "Maybe I'll send the report.",
            "I'll be honest with you.",
        ],
    )
    def test_what_nobody_took_on_is_no_task(self, said: str) -> None:
        assert promises(("Ann", said), ("Bob", "I see.")) == []

    def test_a_yes_to_a_request_is_one(self) -> None:
        asked = ("Ann", "Bob, can you water the plants?")

        assert promises(asked, ("Bob", "Sure.")) == [("Bob", "water the plants")]
        assert promises(asked, ("Bob", "Sorry, no.")) == []
        assert promises(asked, ("Bob", "I did that yesterday.")) == []

    def test_a_yes_of_somebody_else_is_none(self) -> None:
        assert promises(("Ann", "Bob, can you water the plants?"), ("Cy", "Yes."), ("Bob", "Hm.")) == []

    def test_it_stands_for_what_was_spoken_of(self) -> None:
        assert promises(("Ann", "Somebody has to water the plants."), ("Bob", "I'll do it.")) == [
            ("Bob", "water the plants")
        ]

    @pytest.mark.parametrize(
        ("asked", "answered"),
        [
            ("Why don't you water the plants, Bob?", "All right."),
            ("Bob, you'll water the plants, right?", "Yep."),
            ("Bob, please water the plants.", "Will do."),
            ("Water the plants, will you?", "Sure."),
        ],
    )
    def test_people_ask_in_many_ways(self, asked: str, answered: str) -> None:
        ((owner, what),) = promises(("Ann", asked), ("Bob", answered))

        assert (owner, what.casefold()[:5]) == ("Bob", "water")

    def test_what_somebody_refuses_another_may_take_on(self) -> None:
        said = ("Ann", "Who can water the plants?"), ("Bob", "I can't, I'm away."), ("Cy", "I'll do it.")

        assert promises(*said) == [("Cy", "water the plants")]

    def test_speech_without_full_stops_or_capitals_is_read_segment_by_segment(self) -> None:
        said = ("Ann", "i'll water the plants tomorrow"), ("Ann", "and the cat sleeps")

        assert promises(*said) == [("Ann", "water the plants tomorrow")]

    def test_an_offer_that_is_taken_is_the_offering_persons(self) -> None:
        assert promises(("Ann", "Shall I water the plants?"), ("Bob", "Yes, please.")) == [
            ("Ann", "water the plants")
        ]

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ("The tax return is due, I'll file it on Monday.", "file it on Monday (The tax return is due)"),
            ("I want to swim in the lake, I'll go on Monday.", "go on Monday (I want to swim in the lake)"),
            (
                "The kids need a lift. I can pick them up at five.",
                "pick them up at five (The kids need a lift)",
            ),
            ("I'll file the tax return on Monday.", "file the tax return on Monday"),
            ("I'll check that the door is shut.", "check that the door is shut"),
            ("I'll do my best with it.", "do my best with it"),
        ],
    )
    def test_a_pronoun_is_replaced_by_what_it_stands_for(self, said: str, told: str) -> None:
        assert promises(("Ann", said)) == [("Ann", told)]

    def test_a_doubt_holds_for_its_own_part_of_a_sentence(self) -> None:
        said = "I don't think it is broken, but I'd like to be sure, so I'll call the engineer."

        assert promises(("Ann", said)) == [("Ann", "call the engineer")]

    def test_speech_without_full_stops_is_split_where_people_begin_anew(self) -> None:
        said = "no i keep saying i will okay i'll call the doctor tomorrow"

        assert promises(("Ann", said)) == [("Ann", "call the doctor tomorrow")]

    def test_an_echo_asks_for_nothing(self) -> None:
        said = ("Ann", "I can water the plants."), ("Bob", "Would you?"), ("Ann", "Of course.")

        assert promises(*said) == [("Ann", "water the plants")]

    def test_a_stammered_promise_counts_once(self) -> None:
        assert promises(("Ann", "I'll uh I'll um water the plants.")) == [("Ann", "water the plants")]

    def test_two_in_one_sentence_are_two(self) -> None:
        assert promises(("Ann", "I'll water the plants and I'll feed the cat.")) == [
            ("Ann", "water the plants"),
            ("Ann", "feed the cat"),
        ]

    def test_one_that_is_repeated_comes_once(self) -> None:
        assert len(promises(("Ann", "I'll water the plants."), ("Ann", "I'll water the plants."))) == 1

    def test_of_many_the_duties_give_way(self) -> None:
        duties = [("Ann", f"I need to paint door {number}.") for number in range(5)]

        assert ("Bob", "water the plants") in promises(*duties, ("Bob", "I'll water the plants."))


def test_the_sample_comes_out_as_it_was() -> None:
    sample = found(SAMPLE)

    assert (sample.title, sample.category) == ("new booking page goes live", Category.WORK)
    assert [(promise.owner, promise.description) for promise in sample.promises] == [
        (
            "Jonas",
            "have it repaired by Wednesday evening (The page itself is done, but the payment test still fails for gift cards)",
        ),
        ("Aylin", "run the whole test plan on Thursday and send everybody the results"),
        ("Mira", "check the English texts tomorrow before lunch"),
        ("Mira", "tell the support team today"),
    ]


TALK = st.lists(
    st.tuples(
        st.sampled_from(["Ann", "Bob", "Speaker 1", ""]),
        st.one_of(st.text(max_size=60), st.sampled_from([segment.text for segment in SAMPLE.segments])),
    ),
    max_size=8,
)


@given(turns=TALK, language=st.sampled_from(["en", "de", "es", "fr", "ja", None]))
def test_nothing_is_added_to_any_transcript(turns: list[tuple[str, str]], language: str | None) -> None:
    spoken = transcript(turns, language)
    extracted = extract_summary(spoken)

    if extracted is not None:
        assert extracted.title
        assert extracted.overview
        assert not not_said(spoken, extracted)
        assert {promise.owner for promise in extracted.promises} <= {
            " ".join(speaker.split()) for speaker, _ in turns
        }


@pytest.mark.parametrize("noise", ["I will ", "ich kann ", "I'm doing ", "Anna, ", "a ", "x", "!?.", "我"])
def test_endless_speech_takes_time_in_proportion_to_its_length(noise: str) -> None:
    assert stays_within(5, lambda: extract_summary(transcript([("Ann", noise * 8_000)])))


def test_every_category_but_other_has_words() -> None:
    assert set(TELLING) == set(HINTS) == set(Category) - {Category.OTHER}
