"""A thousand callers on three event loops and in threads, while models fail: nobody pays for a stranger."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from backend.utils.llm import Patchbay, Table, use
from benchmarks.soak_mix import HOUSE_KEYS, KINDS, Deed, table
from benchmarks.strangers import Found, met, report, stranger
from benchmarks.witness import Witness

if TYPE_CHECKING:
    import pytest


def test_every_request_carries_the_key_of_its_caller(capsys: pytest.CaptureFixture[str]) -> None:
    found = met(1_600)

    assert found.faults == []
    assert sum(found.outcomes.values()) == 1_600
    assert report(found) == 0
    assert "Nobody paid for a stranger." in capsys.readouterr().out


def test_a_strangers_key_is_seen() -> None:
    """The witness is awake: a caller with another one's keys is counted."""
    thief = stranger(5)._replace(caller=stranger(6).caller)
    with Witness() as witness:
        with use(Patchbay(Table(text=table(witness.origin, 0), environ=HOUSE_KEYS))) as patchbay:
            asyncio.run(Deed(1, thief, KINDS[0], is_sync=False).done())
            patchbay.close()
        counts = witness.counts()

    assert counts["wrong keys"] == 1
    assert report(Found(Counter(), [], counts)) == 1
