"""Capabilities of models."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
ChatTools = Literal["any", "unless_effort", "only_none", "never"]
SchemaForm = Literal["strict", "azure", "minimal", "grammar", "loose", "tool", "json", "prompt"]


class Capabilities(BaseModel):
    """What one model can do, and what it requires of a request.

    Attributes:
        context_window: The longest prompt and answer together, in tokens.
        max_input: The longest prompt, in tokens; None if only the window limits it.
        max_output: The longest answer, in tokens.
        tools: Whether the model calls tools.
        chat_tools: When the model calls tools over OpenAI's own Chat Completions. ``any``: always.
            ``unless_effort``: only without a reasoning effort. ``only_none``: only with the effort ``none``.
            ``never``: only over Responses.
        structured_output: Whether answers can be made to fit a JSON schema.
        schema_form: How a request asks for a JSON schema. ``strict`` (OpenAI's dialect), ``azure`` (Azure's),
            ``minimal`` (common to all) and ``grammar`` (grammar-based servers): the API enforces it. ``loose``:
            not enforced. ``tool``: as a tool to call. ``json``: JSON mode, with the schema in the prompt.
            ``prompt``: only in the prompt.
        images: Whether the model accepts images.
        audio: Whether the model accepts audio.
        video: Whether the model accepts video.
        pdf: Whether the model accepts PDF files.
        temperature: Whether the model accepts a temperature and other sampling settings.
        logprobs: Whether the model can return the log probabilities of its tokens.
        cache_key: Whether a request may name a prompt cache key.
        thinking_budget: Whether the model accepts a limit on its thinking tokens, if its API has such a
            parameter.
        efforts: The reasoning efforts that the model offers; empty if it has no such control.
        strict_turns: Whether the model requires the system message first, and then user and model in turn.
        short_call_ids: Whether the id of a tool call has to be nine letters or digits.
        wants_thoughts: Whether the model's thoughts before a tool call must be sent back as
            ``reasoning_content``.
        lacks: Options and settings that the model ignores or refuses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    context_window: int = Field(default=128_000, gt=0)
    max_input: int | None = Field(default=None, gt=0)
    max_output: int = Field(default=16_384, gt=0)
    tools: bool = True
    chat_tools: ChatTools = "any"
    structured_output: bool = True
    schema_form: SchemaForm = "strict"
    images: bool = False
    audio: bool = False
    video: bool = False
    pdf: bool = False
    temperature: bool = True
    logprobs: bool = False
    cache_key: bool = False
    thinking_budget: bool = True
    efforts: tuple[Effort, ...] = ()
    strict_turns: bool = False
    short_call_ids: bool = False
    wants_thoughts: bool = False
    lacks: tuple[str, ...] = ()

    @override
    def __hash__(self) -> int:
        """Hash only the fields that differ most between models, because every call looks a `Capabilities` up."""
        return hash((self.context_window, self.max_output, self.efforts))

    def nearest_effort(self, requested_effort: Effort) -> Effort | None:
        """The offered reasoning effort closest to ``requested_effort``; None if the model has no such control."""
        rank = EFFORTS.index
        return min(
            self.efforts, key=lambda own: (abs(rank(own) - rank(requested_effort)), rank(own)), default=None
        )

    def can_call_tools_over_chat(self, requested_effort: Effort | None) -> bool:
        """Whether the model calls tools over OpenAI's own Chat Completions if a call asks for this reasoning effort."""
        effort = self.nearest_effort(requested_effort) if requested_effort else None
        match self.chat_tools:
            case "any":
                return self.tools
            case "unless_effort":
                return self.tools and effort in {None, "none"}
            case "only_none":
                return self.tools and effort == "none"
            case "never":
                return False

    def max_prompt_tokens(self, reserved_for_answer: int | None = None) -> int:
        """The longest prompt, in tokens, if ``reserved_for_answer`` tokens, by default 0, are kept for the answer."""
        left = self.context_window - min(reserved_for_answer or 0, self.max_output)
        return left if self.max_input is None else min(left, self.max_input)


UNKNOWN = Capabilities()
LACKS = {
    "tools": "cannot call tools",
    "structured_output": "cannot be held to a schema",
    "images": "cannot read images",
    "audio": "cannot hear sounds",
    "video": "cannot watch videos",
    "pdf": "cannot read PDFs",
}
"""The text for error messages about a model without an ability."""
