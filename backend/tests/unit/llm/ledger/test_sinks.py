"""Where records go: whole lines, whoever else writes, and whatever became of the writer before."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.children import fork, in_child
from backend.tests.fakes.records import record
from backend.utils.llm import AttemptRecord, JsonLinesSink, MemorySink
from backend.utils.llm.ledger.sinks import records_in

if TYPE_CHECKING:
    from pathlib import Path

WRITERS, EACH = 4, 250


def read(path: Path) -> list[AttemptRecord]:
    """The records of a file, every line of which is whole, or blank."""
    return [AttemptRecord.from_json(line) for line in path.read_bytes().splitlines() if line]


def numbers(path: Path) -> set[int]:
    return {one.number for one in read(path)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_a_memory_sink_keeps_the_latest_records_in_their_order() -> None:
    sink = MemorySink(most=2)

    for number in range(3):
        sink.append(record(number=number))

    assert [one.number for one in sink.records] == [1, 2]


def test_each_record_is_one_line_of_the_file(path: Path) -> None:
    first, second = record(number=1), record(number=2, user="zwei\nZeilen\u2028")

    with JsonLinesSink(path) as sink:
        sink.append(first)
        sink.append(second)

    assert read(path) == [first, second]


def test_a_record_is_in_the_file_when_it_has_been_taken_though_nobody_closes_it(path: Path) -> None:
    sink = JsonLinesSink(path)

    sink.append(record())

    assert read(path) == [record()]
    sink.close()


def test_a_file_is_continued_and_is_for_its_owner_alone(path: Path) -> None:
    for number in range(2):
        with JsonLinesSink(str(path)) as sink:
            sink.append(record(number=number))

    assert [one.number for one in read(path)] == [0, 1]
    assert path.stat().st_mode & 0o077 == 0


def test_threads_that_share_a_sink_write_whole_lines(path: Path) -> None:
    with JsonLinesSink(path) as sink, ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda number: sink.append(record(number=number)), range(WRITERS * EACH)))

    assert numbers(path) == set(range(WRITERS * EACH))


def _write(path: Path, first: int) -> None:
    with JsonLinesSink(path) as sink:
        for number in range(first, first + EACH):
            sink.append(record(number=number, user="x" * 5000))


def test_processes_that_share_a_file_write_whole_lines(path: Path) -> None:
    """Of several pages of memory each, so that one write takes more than one step."""
    writers = [fork(partial(_write, path, number * EACH)) for number in range(WRITERS)]

    for writer in writers:
        writer.result()

    assert numbers(path) == set(range(WRITERS * EACH))


def test_a_forked_child_goes_on_writing_to_its_parents_sink(path: Path) -> None:
    with JsonLinesSink(path) as sink:
        sink.append(record(number=1))
        in_child(lambda: sink.append(record(number=2)))
        sink.append(record(number=3))

    assert [one.number for one in read(path)] == [1, 2, 3]


def test_what_was_taken_is_there_after_the_process_was_killed(path: Path) -> None:
    def killed() -> None:
        JsonLinesSink(path).append(record(number=7))
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork(killed)

    assert os.waitpid(child.pid, 0)[1] == signal.SIGKILL
    assert numbers(path) == {7}
    os.close(child.told)


def test_after_half_a_line_the_next_record_is_whole(path: Path) -> None:
    """As a writer leaves one behind that is killed in the middle of its write, also beside one that goes on."""
    with JsonLinesSink(path) as sink:
        sink.append(record(number=1))
        with path.open("ab") as another:
            another.write(b'{"call":"half')
        sink.append(record(number=2))

    assert path.read_bytes().splitlines()[1] == b'{"call":"half'
    assert [one.number for one in records_in(path)] == [1, 2]


def test_a_sink_that_was_closed_and_a_file_that_cannot_be_opened_say_so(path: Path, tmp_path: Path) -> None:
    sink = JsonLinesSink(path)
    sink.close()

    with pytest.raises(ValueError, match="closed"):
        sink.append(record())
    with pytest.raises(OSError, match="directory"):
        JsonLinesSink(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")  # noqa: PTH110
def test_a_full_disk_is_told_to_whoever_appends() -> None:
    with JsonLinesSink("/dev/full") as sink, pytest.raises(OSError, match="space"):
        sink.append(record())
