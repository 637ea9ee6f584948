"""Records of attempts."""

from __future__ import annotations

from typing import Any

from backend.utils.llm.ledger.record import AttemptRecord

_RECORD = AttemptRecord(
    call="01936f2b0000700080000000000000aa",
    number=1,
    at=1_795_000_000_000_000,
    duration=1_200_000,
    first_byte=300_000,
    first_token=None,
    feature="chat",
    profile="premium",
    endpoint="openai:gpt-6-luna",
    served_model="gpt-6-luna-2026-09-01",
    request_id="req_1",
    user="ann",
    tenant="acme",
    key_owner="house",
    key=None,
    account=None,
    outcome="ok",
    category=None,
    status=200,
    finish_reason="stop",
    stream=False,
    hedge=False,
    degraded=False,
    input=100,
    output=20,
    cached=60,
    cache_write=0,
    reasoning=5,
    estimated=False,
    cost=1_500_000_000,
    price_version="1",
    table_hash="abc",
    arm=None,
    trace=None,
)


def record(**changed: Any) -> AttemptRecord:
    """An attempt that was answered, or what it was ``changed`` to."""
    return _RECORD._replace(**changed)
