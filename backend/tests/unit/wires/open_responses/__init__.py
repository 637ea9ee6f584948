"""The schema of Open Responses, and what it says of a response or an event. Where it comes from, its file says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))


def faults_of(document: Mapping[str, Any], kind: str) -> list[str]:
    """What is wrong with ``document``, which is to be a ``kind``."""
    return [
        f"{fault.instance_path}: {fault.message[:200]}" for fault in _validator(kind).iter_errors(document)
    ]


def event_faults(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event."""
    return faults_of(event, _KINDS[event["type"]])


@cache
def _validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": _SCHEMA["$defs"]})


def _type_of(kind: str) -> str:
    """The name of an event, as its schema says it."""
    told = _SCHEMA["$defs"][kind]["properties"]["type"]
    told = _SCHEMA["$defs"][told["$ref"].rpartition("/")[2]] if "$ref" in told else told
    return str(told.get("const") or told["enum"][0])


_KINDS = {_type_of(kind): kind for kind in _SCHEMA["$defs"] if kind.endswith("StreamingEvent")}
