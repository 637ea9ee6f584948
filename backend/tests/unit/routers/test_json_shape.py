from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.routers.json_shape import MOST_KEYS, MOST_SINGLE, MOST_VALUES, fault_of

SEGMENT = {"speaker": "Ann", "text": 'says: "{[,:]}" \\', "start": 0, "end": 1.5}


def shown(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("length", [1, 30_000, 50_000])
def test_a_transcript_of_any_length_that_is_allowed_may_be_parsed(length: int) -> None:
    assert fault_of(shown({"segments": [SEGMENT] * length, "started_at": "2026-01-01T00:00:00Z"})) is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"[" * 1_000_000, "nested"),
        (shown([[[[]]]]), "nested"),
        (b"{}" * (MOST_VALUES + 1), "values"),
        (b"," * (MOST_VALUES + 1), "values"),
        (shown({"x": [{}] * (MOST_VALUES + 1)}), "values"),
        (shown({"x": [0] * (MOST_SINGLE + 2)}), "not objects"),
        (shown({"x": [""] * (MOST_SINGLE + 2)}), "not objects"),
        (shown({"x": [[]] * (MOST_SINGLE + 2)}), "not objects"),
        (shown({str(name): 0 for name in range(MOST_KEYS + 1)}), "keys"),
        (b'{"a":0' + b',"a":0' * MOST_KEYS + b"}", "keys"),
        (shown([{str(name): 0 for name in range(MOST_KEYS + 1)}]), "keys"),
    ],
)
def test_what_is_too_much_is_told(body: bytes, fault: str) -> None:
    assert fault in (fault_of(body) or "")


@pytest.mark.parametrize("body", [b"", b"]" * 100, b'"', b'"\\', b"::::", b'{"a"', b"\xff\xfe"])
def test_what_is_no_json_is_left_to_the_parser(body: bytes) -> None:
    assert fault_of(body) is None


@given(st.text(), st.text(max_size=20))
def test_what_is_said_counts_for_nothing(text: str, name: str) -> None:
    assert fault_of(shown({"segments": [{name: text * 50}], name: text})) is None


@given(st.lists(st.text(), max_size=50), st.integers(0, 70_000))
def test_a_string_may_lie_across_two_blocks(texts: list[str], before: int) -> None:
    keys = ":" * (MOST_KEYS + 1)

    assert fault_of(shown({" " * before: keys, "texts": [text + keys for text in texts]})) is None
