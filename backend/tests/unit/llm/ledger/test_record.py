"""The record of one attempt, as JSON and back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm import AttemptRecord


@given(st.from_type(AttemptRecord))
def test_a_record_is_one_line_of_ascii_that_reads_back_as_it_was(record: AttemptRecord) -> None:
    line = record.as_json()

    assert AttemptRecord.from_json(line) == record
    assert line.isascii()
    assert "\n" not in line


@given(st.from_type(AttemptRecord))
def test_money_and_times_are_whole_numbers_of_json(record: AttemptRecord) -> None:
    told = json.loads(record.as_json())

    assert all(not isinstance(value, float) for value in told.values())
    assert list(told) == list(AttemptRecord._fields)
