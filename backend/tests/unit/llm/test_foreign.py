"""What somebody else wrote can be read where it is shown, and does nothing there."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.foreign import LONGEST, escape_control_characters, sanitize_text
from backend.utils.llm.transport.redaction import MOST_READ, OVER, KeyRedaction

ANY = st.text(st.characters(codec=None, exclude_categories=()))
"""Halves of characters too, which JSON can tell."""
ACTING = {"Cc", "Cs", "Zl", "Zp"}
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
KEY = "sk-can/ary+0123456789"


def acts(one: str) -> bool:
    return unicodedata.category(one) in ACTING or one in TURNING


@given(ANY)
def test_nothing_that_is_shown_acts(text: str) -> None:
    assert not any(map(acts, escape_control_characters(text)))


@given(ANY)
def test_what_is_kept_is_the_only_thing_that_does(text: str) -> None:
    assert set(filter(acts, escape_control_characters(text, keep="\n\t"))) <= {"\n", "\t"}


@given(ANY)
def test_what_is_visible_stays_as_it_is(text: str) -> None:
    once = escape_control_characters(text)

    assert escape_control_characters(once) == once


@given(ANY, st.integers(0, 100))
def test_a_text_in_pieces_is_shown_as_a_whole_one(text: str, place: int) -> None:
    assert escape_control_characters(text[:place]) + escape_control_characters(
        text[place:]
    ) == escape_control_characters(text)


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, ça va? Ήλιος Солнце",
        "שָׁלוֹם \u200fעולם",  # noqa: RUF001
        "می\u200cخواهم",  # noqa: RUF001
        "ខ្ញុំ\u200bស្រឡាញ់",
        "क्\u200dष 日本語 한국어",
        "👩\u200d👩\u200d👧 ❤\ufe0f 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        r'a\b "c" \n',
    ],
)
def test_ordinary_text_in_any_language_stays_as_it_is(text: str) -> None:
    assert sanitize_text(text) == escape_control_characters(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nCRITICAL b", r"a\nCRITICAL b"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("abc\u202edef\u2028", r"abc\u202edef\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_acts_is_written_out(text: str, shown: str) -> None:
    assert escape_control_characters(text) == shown


class TestLabel:
    @given(ANY | st.integers(0, 500).map("\x1b".__mul__))
    def test_it_is_short_visible_and_a_label_of_itself(self, text: str) -> None:
        found = sanitize_text(text)

        assert len(found) <= LONGEST
        assert not any(map(acts, found))
        assert sanitize_text(found) == found

    def test_a_longer_text_ends_with_a_sign(self) -> None:
        assert sanitize_text("m" * 201) == "m" * 199 + "…"


class TestWithoutKey:
    """A label that may hold the key."""

    @given(ANY, ANY)
    def test_it_is_a_label_without_the_key(self, before: str, after: str) -> None:
        found = KeyRedaction(KEY).redact_labels(f"{before}{KEY}{after}")

        assert KEY not in found
        assert found == sanitize_text(found)

    @given(ANY.filter(lambda text: KEY not in text and "\\" not in text))
    def test_another_text_is_as_without_a_key(self, text: str) -> None:
        assert KeyRedaction(KEY).redact_labels(text) == sanitize_text(text)

    def test_no_part_of_the_key_is_left_where_it_is_cut(self) -> None:
        for place in range(LONGEST - len(KEY), LONGEST + 1):
            assert "sk" not in KeyRedaction(KEY).redact_labels("m" * place + KEY)

    def test_an_absurdly_long_text_is_named_by_its_length(self) -> None:
        assert KeyRedaction(KEY).redact_labels("m" * (MOST_READ + 1)) == "(2,001 characters)"

    @pytest.mark.parametrize("key", [KEY, None])
    def test_a_page_is_one_line_in_which_nothing_acts(self, key: str | None) -> None:
        assert KeyRedaction(key).redact_body(b"<p>bad\n\x1b[2J") == rb"<p>bad\n\x1b[2J"

    def test_once_the_key_is_forgotten_nothing_is_left(self) -> None:
        assert OVER.redact_labels(f"a {KEY}") == "***"
        assert OVER.redact_labels("m" * (MOST_READ + 1)) == "***"
        assert KEY.encode() not in OVER.redact_body(KEY.encode())

    def test_the_key_is_not_shown(self) -> None:
        assert KEY not in repr(KeyRedaction(KEY))
