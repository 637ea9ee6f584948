from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from backend.ledger.lines import (
    DecodedRecords,
    decode_lines,
    encode_header_line,
    encode_line,
    encode_record_values,
    read_value_names,
)
from backend.tests.fakes.records import record
from backend.utils.llm.ledger.record import AttemptRecord

WRITER = b"01a2278b555e72379e3d3839395a1dbf"
NAMES = AttemptRecord._fields

RECORD = record()


def written(*users: str) -> bytes:
    return b"".join(
        encode_line(WRITER, number, encode_record_values(record(user=user)))
        for number, user in enumerate(users, 1)
    )


def users(found: DecodedRecords) -> list[str | None]:
    return [row.record.user for row in found.rows]


@given(st.lists(st.text()))
def test_records_are_read_as_they_were_written(said: list[str]) -> None:
    found = decode_lines(written(*said), 1_000, NAMES)

    assert users(found) == said
    assert [row.sequence for row in found.rows] == list(range(1, len(said) + 1))
    assert found.damaged == 0


@given(st.integers(min_value=0))
def test_a_file_that_was_cut_at_any_byte_has_the_lines_before_it(cut: int) -> None:
    whole = written("ann", "bob")
    cut %= len(whole)

    found = decode_lines(whole[:cut], 1_000, NAMES)

    assert users(found) == ["ann", "bob"][: whole[:cut].count(b"\n")]
    assert (found.damaged, found.is_all) == (0, True)
    assert found.size == whole[:cut].rfind(b"\n") + 1


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_byte_that_changed_costs_no_other_line_and_never_reads_as_another_record(
    place: int, change: int
) -> None:
    whole = bytearray(written("ann", "bob", "cy"))
    whole[place % len(whole)] ^= change

    found = decode_lines(bytes(whole), 1_000, NAMES)

    assert set(users(found)) < {"ann", "bob", "cy"}
    assert len(found.rows) >= 1
    assert all(row.record == record(user=row.record.user) for row in found.rows)


def test_no_more_lines_are_read_than_wanted_and_the_rest_is_left() -> None:
    whole = written("ann", "bob", "cy")

    found = decode_lines(whole, 2, NAMES)

    assert (users(found), found.is_all) == (["ann", "bob"], False)
    assert users(decode_lines(whole[found.size :], 2, NAMES)) == ["cy"]


def test_what_another_version_did_not_write_is_none_and_what_only_it_knows_is_left_out() -> None:
    theirs = ["new", *reversed(NAMES[:-1])]
    said = ["?", *reversed(RECORD[:-1])]
    first = encode_line(WRITER, 0, json.dumps(theirs).encode())

    found = decode_lines(
        first + encode_line(WRITER, 1, json.dumps(said).encode()), 10, read_value_names(first)
    )

    assert [row.record for row in found.rows] == [RECORD._replace(trace=None)]


def test_the_first_line_of_a_file_is_no_record() -> None:
    found = decode_lines(
        encode_header_line(WRITER) + written("ann"), 10, read_value_names(encode_header_line(WRITER))
    )

    assert (users(found), found.damaged) == (["ann"], 0)


def test_a_file_whose_first_line_is_damaged_is_read_as_this_versions() -> None:
    found = decode_lines(
        b"?" + encode_header_line(WRITER) + written("ann"),
        10,
        read_value_names(b"?" + encode_header_line(WRITER)),
    )

    assert (users(found), found.damaged) == (["ann"], 1)
