"""Bodies are unpacked and read within bounds."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from backend.wires.bodies import LONGEST, MOST_VALUES, check_embedded_json_size, parse_json_object
from backend.wires.faults import RequestFaultError

if TYPE_CHECKING:
    from collections.abc import Callable

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}
BODY: dict[str, Any] = {"model": "chat", "text": 'Some "text", [brackets] and \\ more. 💡'}


def refusal_of(body: bytes, encoding: str = "") -> RequestFaultError:
    with pytest.raises(RequestFaultError) as refused:
        parse_json_object(body, encoding)
    return refused.value


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate", "zstd", " GZIP "])
def test_a_body_is_read_however_it_is_packed(encoding: str) -> None:
    packed = PACKERS.get(encoding.strip().lower(), bytes)(json.dumps(BODY).encode())

    assert parse_json_object(packed, encoding) == BODY


@pytest.mark.parametrize("encoding", PACKERS)
def test_what_would_be_too_long_is_not_unpacked(encoding: str) -> None:
    bomb = PACKERS[encoding](b'{"a": "' + b" " * LONGEST + b'"}')

    assert refusal_of(bomb, encoding).fault.status == 413


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("cut", [slice(0, 8), slice(0, -9), slice(5, None)])
def test_what_cannot_be_unpacked_is_a_fault_of_the_client(encoding: str, cut: slice) -> None:
    packed = PACKERS[encoding](json.dumps(BODY).encode())

    assert refusal_of(packed[cut], encoding).fault.status == 400


def test_an_unknown_packing_is_named_with_those_that_are_known() -> None:
    fault = refusal_of(b"{}", "br").fault

    assert (fault.status, fault.code) == (415, "unsupported_media_type")
    assert "gzip, deflate, zstd" in fault.message


@pytest.mark.parametrize(
    "many",
    [
        b"[" + b"[]," * MOST_VALUES + b"1]",
        b"[" + b'"",' * MOST_VALUES + b"1]",
        b"[" + b'{"a":1},' * MOST_VALUES + b"1]",
        b"[" + b'"\\\\",' * MOST_VALUES + b"1]",
    ],
    ids=["lists", "texts", "objects", "escapes"],
)
def test_too_many_values_are_refused_before_they_are_built(many: bytes) -> None:
    assert "more than 50,000 values" in refusal_of(b'{"a": ' + many + b"}").fault.message


def test_a_text_that_looks_like_many_values_is_one() -> None:
    text = '[{"a": 1}, "b", [\\"c\\"]],' * MOST_VALUES

    assert parse_json_object(json.dumps({"text": text}).encode()) == {"text": text}


@pytest.mark.parametrize("body", [b"", b"[]", b'"a"', b"{", b'{"a": NaN}', b"\xff{}", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    fault = refusal_of(body).fault

    assert (fault.status, fault.code) == (400, "invalid_request")


def test_json_in_texts_counts_together() -> None:
    half = json.dumps([[]] * (MOST_VALUES // 2 - 10))

    check_embedded_json_size([half, None, 7, "{"], "messages")
    with pytest.raises(RequestFaultError, match="more than 50,000 values"):
        check_embedded_json_size([half, half, half], "messages")
