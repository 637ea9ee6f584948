"""Adapts a normalized conversation to the requirements of an API: the order of turns, media, ids and names.

Each API's serializer applies what its API requires. The given messages are not changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from .ask import REASONING_KEY, InexpressibleRequestError
from .content_blocks import MEDIA, Block, block_to_text, to_standard_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

OPENING = "Begin."
"""The text of a user's message put before a model's first message, where an API wants the user first."""
GO_ON = "Continue."
"""The text of a user's message put after a model's last message, where an API wants the user last."""
_PAUSE = "I have the results."
"""What a model says between results and a user, where it has to."""
_INVALID_LETTERS = re.compile(r"[^A-Za-z0-9_-]+")


def list_content_blocks(message: BaseMessage) -> list[Block]:
    """Return the content of a normalized message as a list of blocks, also if it is a plain string."""
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content  # type: ignore[return-value]


def join_text_blocks(parts: Iterable[Block]) -> str:
    """Join the texts of all text blocks in ``parts`` with line feeds."""
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def list_user_content_blocks(message: BaseMessage, name_field: str | None = None) -> list[Block]:
    """Return the content blocks of a user's message, with the user's name if the API has no field for it.

    Args:
        message: The user's message.
        name_field: None if the API has no field for the user's name; else any string.
    """
    parts = list_content_blocks(message)
    if message.name is None or name_field is not None:
        return parts
    return (
        [{"type": "text", "text": f"{message.name}:"}, *parts]
        if parts[0]["type"] != "text"
        else [
            {**parts[0], "text": f"{message.name}: {parts[0]['text']}"},
            *parts[1:],
        ]
    )


# Order ---------------------------------------------------------------------------------------------------------------


def split_system_messages(history: Sequence[BaseMessage]) -> tuple[list[str], list[BaseMessage]]:
    """Separate the texts of the system messages from the other messages.

    If there are only system messages, the last one becomes a user's message.

    Returns:
        The texts of the system messages, and the other messages.
    """
    systems = [
        "\n\n".join(part["text"] for part in list_content_blocks(message))
        for message in history
        if isinstance(message, SystemMessage)
    ]
    others: list[BaseMessage] = [message for message in history if not isinstance(message, SystemMessage)]
    if not others and systems:
        others = [HumanMessage(systems.pop())]
    return systems, others


def add_missing_user_turns(turns: list[BaseMessage]) -> list[BaseMessage]:
    """Add a short user's message before a model's message at the start, and after a model's message at the end.

    Some APIs reject conversations that begin or end with the model.
    """
    if not turns:
        return turns
    first = [HumanMessage(OPENING)] if isinstance(turns[0], AIMessage) else []
    last = [HumanMessage(GO_ON)] if isinstance(turns[-1], AIMessage) else []
    return [*first, *turns, *last] if first or last else turns


def to_alternating_turns(history: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Make user and model alternate, as strict APIs require. All system messages become one first message.

    Adjacent messages of the same role are merged. Where a turn is missing, a short message is added: a user's
    at either end, a model's between tool results and a user's message.
    """
    systems, others = split_system_messages(history)
    found: list[BaseMessage] = [SystemMessage("\n\n".join(systems))] if systems else []
    for turn in add_missing_user_turns(others):
        message = _with_name_in_text(turn) if isinstance(turn, HumanMessage) and turn.name else turn
        last = found[-1] if found else None
        if isinstance(message, HumanMessage) and isinstance(last, ToolMessage):
            found.append(AIMessage(_PAUSE))
        elif last is not None and _can_join(last, message):
            found[-1] = _joined_turn(last, message)
            continue
        found.append(message)
    return found


def _with_name_in_text(message: HumanMessage) -> HumanMessage:
    return HumanMessage(content=list(list_user_content_blocks(message)))


def _can_join(first: BaseMessage, second: BaseMessage) -> bool:
    if isinstance(first, HumanMessage):
        return isinstance(second, HumanMessage)
    return isinstance(first, AIMessage) and not first.tool_calls and isinstance(second, AIMessage)


def _joined_turn(first: BaseMessage, second: BaseMessage) -> BaseMessage:
    """Two messages as one, with the calls of the second."""
    content: object = [*list_content_blocks(first), *list_content_blocks(second)]
    if isinstance(first.content, str) and isinstance(second.content, str):
        content = "\n\n".join(filter(None, (first.content, second.content)))
    return second.model_copy(update={"content": content})


def move_media_to_user_messages(
    history: Sequence[BaseMessage], message_types: tuple[type[BaseMessage], ...]
) -> list[BaseMessage]:
    """Move images and other media from messages of the given types into an added user's message.

    This is for APIs that accept media only from users. The added message follows the original message, and
    the tool results after it.
    """
    found: list[BaseMessage] = []
    waiting: list[Block] = []
    for message in history:
        if waiting and not isinstance(message, ToolMessage):
            found.append(HumanMessage(content=list(waiting)))
            waiting = []
        media = _media_of(message) if isinstance(message, message_types) else []
        found.append(_without_media(message) if media else message)
        if media:
            waiting += [{"type": "text", "text": _media_heading(message)}, *media]
    return [*found, HumanMessage(content=list(waiting))] if waiting else found


def _media_of(message: BaseMessage) -> list[Block]:
    return [part for part in list_content_blocks(message) if part["type"] in MEDIA]


def _media_heading(message: BaseMessage) -> str:
    if isinstance(message, ToolMessage):
        return f"From the tool {message.name}, call {message.tool_call_id}:"
    return "From the assistant:"


def _without_media(message: BaseMessage) -> BaseMessage:
    rest = [part for part in list_content_blocks(message) if part["type"] not in MEDIA]
    if all(part["type"] == "reasoning" for part in rest):
        rest.append({"type": "text", "text": "See the attachment."})
    return message.model_copy(update={"content": rest})


# Names ---------------------------------------------------------------------------------------------------------------


def make_valid_call_id(call_id: str, *, max_length: int, alphabet: str = r"[!-~]") -> str:
    """Return ``call_id`` if the API accepts it; else an id made from its hash.

    Args:
        call_id: The id of a tool call.
        max_length: The maximum length of an id.
        alphabet: The allowed characters, as a character class of a regular expression.
    """
    if len(call_id) <= max_length and re.fullmatch(f"{alphabet}+", call_id):
        return call_id
    return f"call_{_digest(call_id, 24)}"


def make_mistral_call_id(call_id: str) -> str:
    """Return ``call_id`` if it is nine letters or digits, as Mistral requires; else nine hex digits of a hash."""
    return call_id if re.fullmatch(r"[A-Za-z0-9]{9}", call_id) else _digest(call_id, 9)


def _digest(text: str, length: int) -> str:
    return hashlib.blake2s(text.encode(errors="replace")).hexdigest()[:length]


def make_valid_tool_name(name: str, declared_names: Iterable[str] = (), *, max_length: int = 64) -> str:
    """Make a tool's name valid for OpenAI and Anthropic: replace invalid characters, and shorten it.

    Args:
        name: The tool's name.
        declared_names: Names of the request's tools, which are left unchanged.
        max_length: The maximum length.
    """
    return name if name in declared_names else _INVALID_LETTERS.sub("_", name)[:max_length] or "tool"


def list_tool_names(tools: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Return the names of ``tools``, which are in OpenAI's form."""
    return frozenset(str(tool.get("function", tool).get("name")) for tool in tools)


def replace_non_json_values(value: object) -> Any:
    """Return a copy of ``value`` in which NaN, infinity, and objects that JSON does not know are strings."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)


# Media ---------------------------------------------------------------------------------------------------------------


def make_data_url(part: Block, default_mime_type: str) -> str:
    """Make a ``data:`` URL from the block's base64 data, with ``default_mime_type`` if the block has no type."""
    return f"data:{part.get('mime_type') or default_mime_type};base64,{part['base64']}"


def make_unsupported_block_error(part: Block, api: str) -> InexpressibleRequestError:
    """Make the error for a block that ``api`` does not support. It names the block's type, never the content."""
    kind, value = part["type"], part.get("value")
    if isinstance(value, dict):
        kind = str(value.get("type") or "unknown")[:40]
    how = next((f" by its {key}" for key in ("url", "file_id") if key in part), "")
    mime = f" ({part['mime_type'][:40]})" if "mime_type" in part else ""
    return InexpressibleRequestError(f"{api} has no words for {kind}{mime}{how}")


def serialize_block(
    part: Block, serializers_by_type: Mapping[str, Callable[[Block], dict[str, Any] | None]], api: str
) -> dict[str, Any]:
    """Serialize the block ``part`` for ``api``, with the function for its type.

    Args:
        part: The block.
        serializers_by_type: A function for each block type; it returns None for an unsupported block.
        api: The API's name, for the error.

    Raises:
        InexpressibleRequestError: There is no function for the type, or it returned None.
    """
    writer = serializers_by_type.get(part["type"])
    serialized = writer(part) if writer is not None else None
    if serialized is None:
        raise make_unsupported_block_error(part, api)
    return serialized


# Thoughts ------------------------------------------------------------------------------------------------------------


def can_provider_read_thoughts(message: BaseMessage, vendor: str, provider: str) -> bool:
    """Whether ``provider`` can read the thoughts in ``message``, so that they may be sent back to it.

    Only the provider that signed or encrypted thoughts can read them. The message's receipt names it. Without
    a receipt, as in a client's history, the message's ``model_provider`` must be ``vendor`` or missing.

    Args:
        message: The model's message.
        vendor: LangChain's name of the API's vendor (``model_provider``).
        provider: The provider's name in the table.
    """
    metadata = message.response_metadata
    receipt = metadata.get("receipt")
    if isinstance(receipt, dict):
        return str(receipt.get("endpoint")).partition(":")[0] == provider
    return bool(metadata.get("model_provider", vendor) == vendor)


def restore_original_thoughts(message: AIMessage) -> list[Block]:
    """Return the message's blocks, with the provider's original thoughts if the message has kept them."""
    items = message.additional_kwargs.get(REASONING_KEY)
    thoughts = [part for part in to_standard_blocks(items) if part["type"] == "reasoning"]
    parts = list_content_blocks(message)
    return [*thoughts, *(part for part in parts if part["type"] != "reasoning")] if thoughts else parts


def find_thought_blocks(parts: Iterable[Block]) -> Iterator[Block]:
    """Return the blocks of type ``reasoning`` among ``parts``."""
    return (part for part in parts if part["type"] == "reasoning")


def join_text_without_thoughts(parts: Iterable[Block]) -> str:
    """Join the blocks of a model's message into one text, without its thoughts."""
    return "".join(block_to_text(part) for part in parts if part["type"] != "reasoning")
