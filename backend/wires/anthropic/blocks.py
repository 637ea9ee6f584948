"""Content blocks of Anthropic's Messages API, checked: https://platform.claude.com/docs/en/api/messages/create."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    cache_control: dict[str, Any] | None = None


class TextBlock(_Block):
    """A text block."""

    type: Literal["text"]
    text: str


class MediaBlock(_Block):
    """An image, or a document."""

    type: Literal["image", "document"]
    source: dict[str, Any]
    title: str | None = None


class SearchResultBlock(_Block):
    """A search result that the client passes in, for the model to cite."""

    type: Literal["search_result"]
    title: str
    source: str
    content: list[TextBlock]


class ThinkingBlock(_Block):
    """The model's thinking, with a signature that only its provider can read."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(_Block):
    """The model's thinking, encrypted by its provider."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(_Block):
    """A tool call of the model."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(_Block):
    """The result of a tool call."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Block] | None = None
    is_error: bool | None = None


class OtherBlock(BaseModel):
    """A block of any other type, unchanged, such as those of Anthropic's own tools."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) and kind in _KINDS else "other"


_KINDS = frozenset(
    {"text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result"}
)
Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[MediaBlock, Tag("image")]
    | Annotated[MediaBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_kind),
]
ToolResultBlock.model_rebuild()


def standard(block: BaseModel) -> dict[str, Any]:
    """``block`` as a content block of LangChain's messages."""
    if isinstance(block, OtherBlock):
        return {"type": "non_standard", "value": block.model_dump()}
    found = block.model_dump(exclude_none=True)
    if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
        found["content"] = [standard(one) for one in block.content]
    return found
