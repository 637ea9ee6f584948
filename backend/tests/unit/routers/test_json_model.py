"""Bodies, as models: what long ones say, and what it takes to read them."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from pydantic import BaseModel

from backend.conversations.transcript import MAX_SEGMENTS, Transcript
from backend.routers.json_model import InvalidBodyError, JsonBodyValidator

SEGMENT = {"text": "I will send you the contract by Friday.", "start": 0.5, "end": 1.5, "speaker": "Ann"}
DATE = {"started_at": "2026-01-01T00:00:00Z"}
MODEL = JsonBodyValidator(Transcript)


def body(segments: list[Any], **given: Any) -> bytes:
    return json.dumps({**DATE, **given, "segments": segments}).encode()


def problems(content: bytes, model: JsonBodyValidator = MODEL) -> list[tuple[str, tuple[str | int, ...]]]:
    with pytest.raises(InvalidBodyError) as refused:
        model.parse_body(content)
    return [(one["type"], one["loc"]) for one in refused.value.errors()]


def peak(content: bytes) -> int:
    """Bytes that were held at most while ``content`` was refused; what Python allocates, and not what Rust does."""
    tracemalloc.start()
    try:
        problems(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [0, 1, 5_000])
def test_a_long_body_is_validated_as_it_would_be_in_one_go(length: int) -> None:
    content = body([SEGMENT | {"start": at / 100_000} for at in range(length)], language="en")

    assert MODEL.parse_body(content) == Transcript.model_validate_json(content)


@pytest.mark.parametrize("at", [0, 1_000, 4_999])
def test_a_faulty_item_is_reported_at_its_place_in_the_whole(at: int) -> None:
    segments = [SEGMENT] * 5_000
    segments[at] = SEGMENT | {"end": "1"}

    assert problems(body(segments)) == [("float_type", ("body", "segments", at, "end"))]


def test_faults_beside_a_list_are_reported_first() -> None:
    content = body([{}] * 20_000, started_at=0, x=1)

    assert {place for _, place in problems(content)} == {("body", "started_at"), ("body", "x")}


def test_a_list_may_not_be_longer_for_being_read_in_pieces() -> None:
    assert problems(body([SEGMENT] * (MAX_SEGMENTS + 1))) == [("too_long", ("body", "segments"))]


@pytest.mark.parametrize("broken", [b"", b"]", b"]}}", b",]}", b"{}]}"])
def test_a_syntax_error_of_a_long_body_has_its_place_in_the_whole(broken: bytes) -> None:
    content = body([SEGMENT] * 1_000).partition(b"]")[0] + broken

    with pytest.raises(InvalidBodyError) as refused:
        MODEL.parse_body(content)

    (problem,) = refused.value.errors()
    assert problem["type"] == "json_invalid"
    assert int(problem["ctx"]["error"].rpartition(" ")[2]) >= len(content) - len(broken)


def test_a_list_that_is_none_of_items_is_read_all_the_same() -> None:
    class Named(BaseModel):
        names: list[str] = []

    content = json.dumps({"names": ["Ann"] * 5_000}).encode()

    assert JsonBodyValidator(Named).parse_body(content).names == ["Ann"] * 5_000
    assert JsonBodyValidator(list[str]).parse_body(b'["Ann"]') == ["Ann"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(json.dumps({"started_at": [SEGMENT] * 20_000}).encode(), id="as a date"),
        pytest.param(json.dumps({"x": [SEGMENT] * 20_000}).encode(), id="unknown"),
        pytest.param(json.dumps({"segments": [SEGMENT] * 20_000}).encode(), id="no date"),
        pytest.param(json.dumps([SEGMENT] * 20_000).encode(), id="no object"),
        pytest.param(body([{}] * 50_000), id="empty"),
        pytest.param(body([0] * 100_000), id="numbers"),
    ],
)
def test_what_is_refused_takes_no_more_memory_than_the_body_itself(content: bytes) -> None:
    assert peak(content) < len(content) + 1_000_000


def test_a_segment_takes_little() -> None:
    content = body([SEGMENT] * 5_000)
    tracemalloc.start()
    try:
        kept = MODEL.parse_body(content)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert held < 300 * len(kept.segments)
