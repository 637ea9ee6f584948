"""Content blocks of Anthropic's Messages API, checked: https://platform.claude.com/docs/en/api/messages/create."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    cache_control: dict[str, Any] | None = None


class TextBlock(_Block):
    """A text."""

    type: Literal["text"]
    text: str


class MediaBlock(_Block):
    """A picture, or a document."""

    type: Literal["image", "document"]
    source: dict[str, Any]
    title: str | None = None


class SearchResultBlock(_Block):
    """Something that a search of the client's found."""

    type: Literal["search_result"]
    title: str
    source: str
    content: list[TextBlock]


class ThinkingBlock(_Block):
    """What a model thought, with a signature that its provider alone can read."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(_Block):
    """What a model thought, as its provider alone can read it."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(_Block):
    """A model's call of a tool."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(_Block):
    """What the tool gave."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Block] | None = None
    is_error: bool | None = None


class OtherBlock(BaseModel):
    """A block of any other kind, as it came: what Anthropic's own tools did, say."""

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
    """``block`` as a block of LangChain's messages. It would look into others that it knows by another vendor's name."""
    if isinstance(block, OtherBlock):
        return {"type": "non_standard", "value": block.model_dump()}
    found = block.model_dump(exclude_none=True)
    if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
        found["content"] = [standard(one) for one in block.content]
    return found
