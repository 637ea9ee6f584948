"""Records of attempts, and rows of them, as a spool has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.ledger.store import SpooledRecord
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY = 86_400_000_000
NOON = 20_786 * DAY + DAY // 2
"""Of 29 November 2026, in microseconds."""
WRITER = "0193a1b2c3d47e5f8a9b0c1d2e3f4a5b"

_RECORD = AttemptRecord(
    call="0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    number=1,
    at=NOON,
    duration=840_000,
    first_byte=310_000,
    first_token=320_000,
    feature="conv_folder",
    profile="premium",
    endpoint="openai:gpt-6-luna",
    served_model="gpt-6-luna-2026-08-01",
    request_id="req_8f2c",
    user="ann",
    tenant="acme",
    key_owner="house",
    key="9d1e4c",
    account=None,
    outcome="ok",
    category=None,
    status=200,
    finish_reason="stop",
    stream=True,
    hedge=False,
    degraded=False,
    input=1_000,
    output=50,
    cached=200,
    cache_write=0,
    reasoning=10,
    estimated=False,
    cost=450_000_000,
    price_version="2026-11",
    table_hash="f3a9",
    arm=None,
    trace=None,
)


def record(**fields: Any) -> AttemptRecord:
    """One like any other, but for ``fields``."""
    return _RECORD._replace(**fields)


def spooled(records: Iterable[AttemptRecord], writer: str = WRITER, first: int = 1) -> list[SpooledRecord]:
    """Rows of one writer."""
    return [SpooledRecord(writer, number, each) for number, each in enumerate(records, first)]
