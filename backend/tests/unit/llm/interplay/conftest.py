"""Callbacks that write down what they are told, and exceptions of other libraries, for calls in virtual time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import (
    BaseCallbackHandler,
)

from backend.utils.llm.testing import Json, Text

if TYPE_CHECKING:
    from uuid import UUID

    from backend.utils.llm.testing.virtual_time import VirtualTime

    from ..conftest import Make


OPENAI, GEMINI = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
ENDPOINTS: dict[str, str | list[str]] = {
    "over_openai": OPENAI,
    "over_gemini": GEMINI,
    "over_anthropic": "anthropic:claude-sonnet-5-5",
    "openai_then_gemini": [OPENAI, GEMINI],
    "gemini_then_openai": [GEMINI, OPENAI],
}
UNFIT = Text("canary-answer")
ANN = Json({"name": "Ann", "age": 30})


class GraphBubbleUp(Exception):  # noqa: N818 - LangGraph's own name
    """As LangGraph's: an interrupt that travels as an exception."""


class Pause(GraphBubbleUp):
    """One of its kinds."""


@pytest.fixture
def make(make: Make, virtual: VirtualTime) -> Make:
    """Patchbays in virtual time."""
    return partial(make, time=virtual.time)


class Diary(BaseCallbackHandler):
    """Writes down what it is told, and by which run."""

    def __init__(self) -> None:
        self.told: list[tuple[str, UUID, UUID | None]] = []
        self.payloads: list[Any] = []

    def _note(self, what: str, payload: Any, run_id: UUID, parent_run_id: UUID | None) -> None:
        self.told.append((what, run_id, parent_run_id))
        self.payloads.append(payload)

    def on_chat_model_start(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("model starts", (payload, more), run_id, parent_run_id)

    def on_llm_end(self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any) -> None:
        self._note("model ends", (payload, more), run_id, parent_run_id)

    def on_llm_error(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("model fails", (payload, more), run_id, parent_run_id)

    def on_chain_start(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("attempt starts", (payload, more), run_id, parent_run_id)

    def on_chain_end(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("attempt ends", (payload, more), run_id, parent_run_id)

    def on_chain_error(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("attempt fails", (payload, more), run_id, parent_run_id)

    @property
    def events(self) -> list[str]:
        return [what for what, *_ in self.told]
