"""Ids that sort by time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.uuid7 import Uuid7Maker, uuid7

_NOVEMBER = 1_795_000_000_123_456_789


def test_an_id_is_a_uuid_of_version_7_that_tells_its_millisecond() -> None:
    made = UUID(Uuid7Maker(now=lambda: _NOVEMBER)())

    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == _NOVEMBER // 1_000_000


@given(st.lists(st.integers(0, 2**60), min_size=2))
def test_each_id_is_greater_than_the_one_before_whatever_the_clock_does(times: list[int]) -> None:
    clock = iter(times)
    make = Uuid7Maker(now=lambda: next(clock), random=bytes)

    made = [make() for _ in times]

    assert all(before < after for before, after in pairwise(made))
    assert {UUID(one).version for one in made} == {7}


def test_threads_never_get_the_same_id() -> None:
    make = Uuid7Maker(now=lambda: _NOVEMBER, random=bytes)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(), range(2000)))

    assert len(set(made)) == len(made)


def test_two_processes_that_make_ids_at_the_same_moment_make_different_ones() -> None:
    one, other = Uuid7Maker(now=lambda: _NOVEMBER), Uuid7Maker(now=lambda: _NOVEMBER)

    assert one() != other()
    assert uuid7() != uuid7()
