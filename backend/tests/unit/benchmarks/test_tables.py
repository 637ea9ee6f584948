"""How what was measured reads."""

from __future__ import annotations

from benchmarks.calls import BASES, GROUPS
from benchmarks.conductor import Batch, Cannot, Measured
from benchmarks.counters import Counters
from benchmarks.peers import PEERS
from benchmarks.shapes import Task
from benchmarks.tables import connections_cell, counter_cells, cpu_cell, latency_cell, table


def measured(*cpu: float, connections: float = 0.0) -> Measured:
    """A round for each of ``cpu``, in milliseconds."""
    return Measured(tuple(Batch(ms / 1e3, ms / 1e3, 0.002, 0.005, 1.0, connections) for ms in cpu))


def test_a_table_has_names_on_the_left_and_figures_on_the_right() -> None:
    assert table(("", "c = 1"), [("a", "1"), ("b", "2")]).splitlines() == [
        "|  | c = 1 |",
        "| --- | ---: |",
        "| a | 1 |",
        "| b | 2 |",
    ]


def test_a_ratio_is_the_median_of_the_rounds_and_the_time_the_best() -> None:
    assert cpu_cell(measured(4, 9, 2), measured(2, 3, 4)) == "2.00 (2.00 ms)"


def test_without_a_base_there_is_no_ratio() -> None:
    assert cpu_cell(measured(4), Cannot("no tools")) == "4.00 ms"


def test_what_a_peer_cannot_do_is_shown_in_every_view() -> None:
    cannot = Cannot("no synchronous calls")

    cells = {
        cpu_cell(cannot, measured(1)),
        latency_cell(cannot),
        connections_cell(cannot),
        *counter_cells(cannot),
    }

    assert cells == {"no synchronous calls"}


def test_latency_and_connections() -> None:
    assert latency_cell(measured(1)) == "2.0 / 5.0"
    assert connections_cell(measured(1, connections=0.5)) == "0.50"


def test_counters_say_when_the_machine_counts_no_instructions() -> None:
    assert counter_cells(Counters(100.2, 90, 300, 1.04, None)) == ["100", "90", "300", "1.0", "not available"]


def test_every_peer_is_set_beside_a_peer() -> None:
    assert set(BASES) == set(PEERS) >= set(BASES.values())


def test_tasks_of_a_group_differ() -> None:
    assert all(len(set(group.tasks.values())) == len(group.tasks) for group in GROUPS.values())


def test_a_task_reads_as_what_it_is() -> None:
    assert str(Task()) == "plain, async, c=1"
    assert (
        str(Task("stream", "sync", 16, 100_000, 20, 1))
        == "stream, sync, c=16, 100 KB, 20 ms latency, 1 ms apart"
    )
