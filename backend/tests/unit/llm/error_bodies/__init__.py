"""What providers and gateways are known to say when they turn a request away, each with where that is told in public.

A file a provider, a line an answer: ``source`` (a repository's issue, or a page), ``status`` (null for an event in the middle
of a stream), ``body`` (a text if it is no JSON) and the ``category`` that it should get. The bodies have their shape and
their telling words; ids, keys and what does not matter are ours. Adding one is adding a line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.failures import POLICY, FailureCategory

if TYPE_CHECKING:
    from collections.abc import Iterator

C = FailureCategory


class Told(NamedTuple):
    """An error answer, or an event."""

    provider: str
    source: str
    status: int | None
    told: Any
    category: FailureCategory

    @property
    def body(self) -> str:
        return self.told if isinstance(self.told, str) else json.dumps(self.told, ensure_ascii=False)


def _read() -> Iterator[Told]:
    for file in sorted(Path(__file__).parent.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Told(file.stem, row["source"], row["status"], row["body"], FailureCategory(row["category"]))


def _of(*categories: FailureCategory) -> tuple[Told, ...]:
    """One of each category from each provider: enough to be served from a socket."""
    return tuple(
        {
            (told.category, told.provider): told for told in reversed(BODIES) if told.category in categories
        }.values()
    )


ALL: Final = tuple(_read())
BODIES: Final = tuple(told for told in ALL if told.status is not None)
EVENTS: Final = tuple(told for told in ALL if told.status is None)
CONTENT: Final = _of(C.REFUSAL)
"""Of what was said: a refusal, and nobody's fault."""
REQUEST: Final = _of(C.UNSUPPORTED)
"""Of what a request refers to, makes use of, or wants too much of: another endpoint may serve it, and others this one."""
SILENT: Final = tuple(told for told in BODIES if told.category is C.UNEXPLAINED)
"""Nothing is said, or nothing that would tell a key from a prompt."""
KEY: Final = tuple(told for told in _of(C.CREDENTIAL, C.QUOTA) if POLICY[told.category].health == "cool key")
"""Of the key, its account and its purse: of no use to anybody for a while."""
MODEL: Final = _of(C.MODEL_NOT_FOUND)
"""Of the model, whatever is asked of it."""
MALFORMED: Final = _of(C.REJECTED)
"""Of what no endpoint would take."""
