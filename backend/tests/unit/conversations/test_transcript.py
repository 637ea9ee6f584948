from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from backend.conversations.sample import SAMPLE
from backend.conversations.text import CUT
from backend.conversations.transcript import READ_LIMIT, RENDER_LIMIT, Transcript

NOON = "2026-11-21T12:00:00+01:00"


def transcript(*texts: str, **given: Any) -> Transcript:
    segments = [
        {"speaker": f"S{n % 2}", "text": text, "start": n, "end": n + 1} for n, text in enumerate(texts)
    ]
    return Transcript.model_validate({"segments": segments, "started_at": NOON} | given)


def refusal(**given: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        transcript("hello", **given)
    (only,) = caught.value.errors()
    return dict(only)


def test_a_naive_time_is_refused_with_the_field_and_the_fix() -> None:
    problem = refusal(started_at="2026-11-21T12:00:00")

    assert problem["loc"] == ("started_at",)
    assert "2026-11-21T12:00:00+00:00" in problem["msg"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_a_time_zone_could_not_show_is_refused(moment: str) -> None:
    assert refusal(started_at=moment)["loc"] == ("started_at",)


@pytest.mark.parametrize("moment", [NOON, "2026-11-21T11:00:00Z", datetime(2026, 11, 21, 11, tzinfo=UTC)])
def test_a_time_with_an_offset_names_a_moment(moment: object) -> None:
    assert transcript("hello", started_at=moment).started_at == datetime(2026, 11, 21, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "CET+1", "../etc/passwd", "/etc/passwd", "Europe", "", "\x00"]
)
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    assert refusal(time_zone=zone)["loc"] == ("time_zone",)


@pytest.mark.parametrize("language", ["english please", "e", "en_US", "-en", "en-"])
def test_a_language_has_the_form_of_a_tag(language: str) -> None:
    assert refusal(language=language)["loc"] == ("language",)


@pytest.mark.parametrize("language", ["en", "pt-BR", "zh-Hant-TW", None])
def test_a_language_tag_or_none_is_accepted(language: str | None) -> None:
    assert transcript("hello", language=language).language == language


@pytest.mark.parametrize(
    "segment",
    [
        pytest.param({"text": "x", "start": 2, "end": 1}, id="ends before it starts"),
        pytest.param({"text": "x", "start": -1, "end": 1}, id="starts before the recording"),
        pytest.param({"text": "x", "start": 0, "end": float("inf")}, id="never ends"),
        pytest.param({"text": "x", "start": float("nan"), "end": 1}, id="not a number"),
        pytest.param({"text": "\ud800", "start": 0, "end": 1}, id="half a character"),
        pytest.param({"speaker": "\ud800", "text": "x", "start": 0, "end": 1}, id="half a name"),
        pytest.param({"text": "x", "start": 0, "end": 1, "sta": 1}, id="a field that is none"),
    ],
)
def test_a_segment_that_makes_no_sense_is_refused(segment: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Transcript.model_validate({"segments": [segment], "started_at": NOON})


def test_a_segment_of_no_length_is_fine() -> None:
    Transcript.model_validate({"segments": [{"text": "x", "start": 1, "end": 1}], "started_at": NOON})


def test_turns_are_lines_and_one_speakers_segments_are_one_turn() -> None:
    segments = [
        {"speaker": "Ana", "text": "Good\nmorning.", "start": 0, "end": 1},
        {"speaker": "Ana", "text": "All well?", "start": 1, "end": 2},
        {"speaker": "Bob", "text": "  ", "start": 2, "end": 3},
        {"speaker": "Bob", "text": "Yes.", "start": 3, "end": 4},
    ]
    spoken = Transcript.model_validate({"segments": segments, "started_at": NOON})

    assert spoken.render().text == "Ana: Good morning. All well?\nBob: Yes."


@pytest.mark.parametrize("segments", [10_000, 1], ids=["10,000 segments", "one endless segment"])
def test_a_long_transcript_keeps_head_and_tail_and_says_so(segments: int) -> None:
    middle = ["blah " * (50_000 // segments)] * segments
    rendered = transcript("the very beginning", *middle, "the very end").render()

    assert rendered.truncated
    assert len(rendered.text) == RENDER_LIMIT
    assert rendered.text.startswith("S0: the very beginning")
    assert rendered.text.endswith("the very end")
    assert CUT in rendered.text


def test_a_transcript_that_just_fits_is_whole() -> None:
    rendered = transcript("x" * (RENDER_LIMIT - len("S0: "))).render()

    assert not rendered.truncated
    assert len(rendered.text) == RENDER_LIMIT


@pytest.mark.parametrize("texts", [[], [""], ["  ", "\n\t"]])
def test_a_transcript_without_words_is_empty(texts: list[str]) -> None:
    assert transcript(*texts).is_empty


def test_words_are_counted_in_languages_without_blanks() -> None:
    assert transcript("明日の会議で予算について話し合いましょう。" * 20).approximate_word_count > 60


def test_the_setting_names_the_local_time_and_the_language() -> None:
    spoken = transcript("hola", time_zone="America/New_York", language="es")

    assert spoken.recording_details == "Recorded Saturday, 2026-11-21 06:00 (America/New_York). Language: es."


def test_the_sample_is_a_conversation_that_fits() -> None:
    assert SAMPLE.approximate_word_count > 60
    assert not SAMPLE.render().truncated


@pytest.mark.parametrize("limit", range(0, 40, 3))
@pytest.mark.parametrize("texts", [("0123456789" * 3,), ("0123", "", "456", "7" * 20), ("a",) * 12])
def test_an_abridged_transcript_is_its_beginning_and_its_end(texts: tuple[str, ...], limit: int) -> None:
    whole = transcript(*texts)
    part = whole.abridge(limit)

    said, kept = ("".join(segment.text for segment in each.segments) for each in (whole, part))
    if part is whole:
        return
    assert sum(len(segment.speaker) + len(segment.text) for segment in part.segments if segment.text) <= limit
    assert any(kept == said[:cut] + said[len(said) - len(kept) + cut :] for cut in range(len(kept) + 1))


def test_a_transcript_that_is_not_too_long_is_not_abridged() -> None:
    whole = transcript("0123456789", "01234")

    assert whole.abridge(19) is whole
    assert whole.abridge(18) is not whole


def test_of_a_recording_too_long_to_read_both_ends_are_shown() -> None:
    rendered = transcript("It begins. " + "and so on " * READ_LIMIT + "It ends.").render()

    assert rendered.truncated
    assert rendered.text.startswith("S0: It begins.")
    assert rendered.text.endswith("It ends.")
