"""The API answers as its description says, whatever it is asked; `make api` asks longer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.edges import loopback_edge
from benchmarks.api import findings

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

TABLE = Path(__file__).parents[2] / "llm.toml"
FEW = 1
"""Requests of each kind to each operation: some hundred together."""


@pytest.mark.timeout(300)
def test_no_request_is_answered_with_a_fault_of_ours_or_a_status_that_is_not_described(
    provider: LoopbackProvider, tmp_path: Path
) -> None:
    with loopback_edge(provider, tmp_path, table=TABLE) as edge:
        found = [str(finding) for finding in findings(edge, FEW, tmp_path)]

    assert not found
