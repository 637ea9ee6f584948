from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.routers.bodies import SMALL
from backend.routers.json_shape import MOST_KEYS, MOST_VALUES, JsonShape, JsonShapeError

SEGMENT = {"speaker": "Ann", "text": 'says: "{[,:]}" \\', "start": 0, "end": 1.5}
LONG = SEGMENT | {"text": "{}],:[" * 1_000}


def shown(value: Any) -> bytes:
    return json.dumps(value).encode()


def pieces(body: bytes) -> list[bytes]:
    return list(JsonShape(body).split_long_list(body))


@pytest.mark.parametrize("length", [0, 1, 30_000, 50_000])
def test_a_transcript_of_any_length_that_is_allowed_may_be_read(length: int) -> None:
    JsonShape(shown({"segments": [SEGMENT] * length, "started_at": "2026-01-01T00:00:00Z"}))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"[" + b'{"a":{"a":{"a":' * 100_000, "nested"),
        (shown({"a": {"a": {"a": {}}}}), "nested"),
        (b"{}" * (MOST_VALUES + 1), "values"),
        (b"," * (MOST_VALUES + 1), "values"),
        (shown({"x": [{}] * (MOST_VALUES + 1)}), "values"),
        (shown([[]]), "one list"),
        (shown({"x": [], "y": []}), "one list"),
        (shown({str(name): 0 for name in range(MOST_KEYS + 1)}), "keys"),
        (b'{"a":0' + b',"a":0' * MOST_KEYS + b"}", "keys"),
        (shown([{str(name): 0 for name in range(MOST_KEYS + 1)}]), "keys"),
        (shown({"x": "y" * SMALL, "z": []}), "beside"),
        (b" " * (SMALL + 1), "beside"),
    ],
)
def test_too_large_a_shape_is_reported(body: bytes, fault: str) -> None:
    with pytest.raises(JsonShapeError, match=fault):
        JsonShape(body)


@pytest.mark.parametrize("body", [b"", b"]" * 100, b'"', b'"\\', b"::::", b'{"a"', b"\xff\xfe"])
def test_what_is_no_json_is_left_to_the_parser(body: bytes) -> None:
    JsonShape(body)


@given(st.text(), st.text(max_size=20))
def test_what_stands_in_strings_does_not_count(text: str, name: str) -> None:
    JsonShape(shown({"segments": [{name: text * 50}], name: text}))


@given(st.lists(st.text(), max_size=50), st.integers(0, 70_000))
def test_a_string_may_lie_across_two_blocks(texts: list[str], before: int) -> None:
    signs = ":[" * (MOST_KEYS + 1)

    JsonShape(shown({"texts": [" " * before, *(text + signs for text in texts)]}))


@given(st.integers(0, 60), st.text(max_size=20), st.sampled_from([None, 1]))
def test_the_pieces_of_a_list_are_the_list(length: int, text: str, indent: int | None) -> None:
    items = [LONG | {"text": text, "start": at} if at % 3 else LONG for at in range(length)]
    body = json.dumps({"a": 0, "b": items, "c": text}, indent=indent).encode()

    assert [item for piece in pieces(body) for item in json.loads(piece)] == items
    assert json.loads(JsonShape(body).without_long_list(body)) == {"a": 0, "b": [], "c": text}
    assert max(map(len, pieces(body))) < 150_000


@pytest.mark.parametrize("between", [b"", b",,", b", ,", b":", b"]", b",]["])
@pytest.mark.parametrize("at", range(12, 16))
def test_a_list_that_is_no_json_has_a_piece_that_is_none(between: bytes, at: int) -> None:
    items = [shown(LONG)] * 40
    inside = b",".join(items[:at]) + between + b",".join(items[at:])
    body = b'{"x":[' + inside + b"]}"

    with pytest.raises(ValueError, match=r"JSON|Expecting|Extra|list|delimiter"):
        [json.loads(text) for text in (JsonShape(body).without_long_list(body), *pieces(body))]
