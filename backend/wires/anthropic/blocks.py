"""Content blocks of Anthropic's Messages API, checked: https://platform.claude.com/docs/en/api/messages/create."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    cache_control: dict[str, Any] | None = None


class TextBlock(_Block):
    """A content block that holds text."""

    type: Literal["text"]
    text: str


class MediaBlock(_Block):
    """A content block that holds an image or a document, as inline data or as a URL."""

    type: Literal["image", "document"]
    source: dict[str, Any]
    title: str | None = None
    context: str | None = None
    citations: dict[str, Any] | None = None
    transformations: dict[str, Any] | None = None


class SearchResultBlock(_Block):
    """A search result that the client passes in, for the model to cite."""

    type: Literal["search_result"]
    title: str
    source: str
    content: list[TextBlock]
    citations: dict[str, Any] | None = None


class ThinkingBlock(_Block):
    """The model's thinking, with a signature that only its provider can read."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(_Block):
    """The model's thinking in encrypted form, which only its provider can read."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(_Block):
    """A tool call that the model made in an earlier turn."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(_Block):
    """The result of a tool call, which the client sends back to the model."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Block] | None = None
    is_error: bool | None = None


class CompactionBlock(_Block):
    """A summary that replaces the earlier part of a conversation. ``content`` is None if the summary could not be made."""

    type: Literal["compaction"]
    content: str | None = None


class UnknownBlock(BaseModel):
    """A content block of a type without a class here, such as those of Anthropic's own tools. Keeps all fields."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) and kind in _KINDS else "other"


_UNTOLD = frozenset({"fallback", "mcp_tool_listing"})
CHANGES_OF_TOOLS = frozenset({"tool_addition", "tool_removal"})
_CACHED = frozenset({"text", "image", "document", "search_result", "tool_use", "tool_result"})
_KINDS = _CACHED | {"thinking", "redacted_thinking", "compaction"}
Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[MediaBlock, Tag("image")]
    | Annotated[MediaBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[CompactionBlock, Tag("compaction")]
    | Annotated[UnknownBlock, Tag("other")],
    Discriminator(_kind),
]
ToolResultBlock.model_rebuild()


def to_langchain_blocks(blocks: Iterable[BaseModel]) -> Iterator[dict[str, Any]]:
    """Translate Anthropic's content blocks into content blocks of LangChain's messages.

    The ``context`` of a document becomes a text block before the document. A compaction block becomes a text
    block. Citations, and blocks that only report a fallback or a list of MCP tools, are dropped.
    """
    for block in blocks:
        if isinstance(block, MediaBlock) and block.context:
            yield _text(block.context)
        if isinstance(block, CompactionBlock):
            if block.content:
                yield _text(block.content)
        elif isinstance(block, UnknownBlock):
            if block.type not in _UNTOLD:
                yield {"type": "non_standard", "value": block.model_dump()}
        elif isinstance(block, ToolResultBlock):
            content = block.content
            held = {"content": list(to_langchain_blocks(content)) if isinstance(content, list) else content}
            yield {**_plain(block), **({} if content is None else held)}
        else:
            yield _plain(block)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _plain(block: BaseModel) -> dict[str, Any]:
    unserved = {"context", "citations", "transformations"}
    if isinstance(block, ToolResultBlock):
        unserved |= {"content"}
    return block.model_dump(exclude_none=True, exclude=unserved)


def find_ignored_content_features(content: str | Sequence[BaseModel]) -> Iterator[str]:
    """Yield the names of API features that a message uses and this service ignores, such as ``citations``.

    Args:
        content: The content of the message: a text, which uses no such feature, or content blocks.
    """
    for block in content if not isinstance(content, str) else ():
        if isinstance(block, MediaBlock | SearchResultBlock) and (block.citations or {}).get("enabled"):
            yield "citations"
        if isinstance(block, MediaBlock) and block.transformations:
            yield "transformations"
        if isinstance(block, UnknownBlock) and block.type == "mcp_tool_listing":
            yield block.type
        if isinstance(block, ToolResultBlock):
            yield from find_ignored_content_features(block.content or "")


def set_cache_control(content: Any, cache_control: Mapping[str, Any]) -> Any:
    """Set ``cache_control`` on the last block of a message, so that the provider caches the prompt up to that block.

    Args:
        content: The content of a message. A plain text is turned into a text block.
        cache_control: The value to set, unless the last block already has a ``cache_control``.

    Returns:
        The changed content; ``content`` itself if it is empty, or if its last block cannot be cached.
    """
    blocks = [_text(content)] if isinstance(content, str) else content
    if not blocks or blocks[-1]["type"] not in _CACHED:
        return content
    return [*blocks[:-1], {"cache_control": dict(cache_control), **blocks[-1]}]
