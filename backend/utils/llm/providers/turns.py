"""Requirements of APIs on a history in normal form: the order of turns, who may send media, valid ids and names.

Each API's serializer applies its own requirements. The history stays in normal form.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from .ask import REASONING_KEY, NotWordedError
from .content_blocks import MEDIA, Block, block_text, standard_blocks

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


def blocks_of(message: BaseMessage) -> list[Block]:
    """The content of ``message`` as a list of standard blocks, also if it is a plain text."""
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content  # type: ignore[return-value]


def joined_texts(parts: Iterable[Block]) -> str:
    """The texts in ``parts``, a line for each."""
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def user_blocks(message: BaseMessage, names: str | None = None) -> list[Block]:
    """The content of a user's message. If the API has no field for names, it begins with the user's name.

    Args:
        message: The user's message.
        names: The pattern of names that the API takes; None if it takes none.
    """
    parts = blocks_of(message)
    if message.name is None or names is not None:
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


def split_system(history: Sequence[BaseMessage]) -> tuple[list[str], list[BaseMessage]]:
    """The texts of the system messages, and the other messages; if there are no others, the last system text becomes a user's message."""
    systems = [
        "\n\n".join(part["text"] for part in blocks_of(message))
        for message in history
        if isinstance(message, SystemMessage)
    ]
    others: list[BaseMessage] = [message for message in history if not isinstance(message, SystemMessage)]
    if not others and systems:
        others = [HumanMessage(systems.pop())]
    return systems, others


def with_user_at_both_ends(turns: list[BaseMessage]) -> list[BaseMessage]:
    """``turns``, changed so that they begin with a user's message and end with a user's or a tool's."""
    if not turns:
        return turns
    first = [HumanMessage(OPENING)] if isinstance(turns[0], AIMessage) else []
    last = [HumanMessage(GO_ON)] if isinstance(turns[-1], AIMessage) else []
    return [*first, *turns, *last] if first or last else turns


def alternating(history: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The history for APIs with strict turns: the system message first, then user and model in turn.

    Neighbouring messages of one role are merged, and short messages are put between others where one is missing.
    """
    systems, others = split_system(history)
    found: list[BaseMessage] = [SystemMessage("\n\n".join(systems))] if systems else []
    for turn in with_user_at_both_ends(others):
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
    return HumanMessage(content=list(user_blocks(message)))


def _can_join(first: BaseMessage, second: BaseMessage) -> bool:
    if isinstance(first, HumanMessage):
        return isinstance(second, HumanMessage)
    return isinstance(first, AIMessage) and not first.tool_calls and isinstance(second, AIMessage)


def _joined_turn(first: BaseMessage, second: BaseMessage) -> BaseMessage:
    """Two messages as one, with the calls of the second."""
    content: object = [*blocks_of(first), *blocks_of(second)]
    if isinstance(first.content, str) and isinstance(second.content, str):
        content = "\n\n".join(filter(None, (first.content, second.content)))
    return second.model_copy(update={"content": content})


def with_media_from_user(
    history: Sequence[BaseMessage], kinds: tuple[type[BaseMessage], ...]
) -> list[BaseMessage]:
    """``history`` with the media of messages of ``kinds`` moved into a user's message after them and all tool results."""
    found: list[BaseMessage] = []
    waiting: list[Block] = []
    for message in history:
        if waiting and not isinstance(message, ToolMessage):
            found.append(HumanMessage(content=list(waiting)))
            waiting = []
        media = _media_of(message) if isinstance(message, kinds) else []
        found.append(_without_media(message) if media else message)
        if media:
            waiting += [{"type": "text", "text": _media_heading(message)}, *media]
    return [*found, HumanMessage(content=list(waiting))] if waiting else found


def _media_of(message: BaseMessage) -> list[Block]:
    return [part for part in blocks_of(message) if part["type"] in MEDIA]


def _media_heading(message: BaseMessage) -> str:
    if isinstance(message, ToolMessage):
        return f"From the tool {message.name}, call {message.tool_call_id}:"
    return "From the assistant:"


def _without_media(message: BaseMessage) -> BaseMessage:
    rest = [part for part in blocks_of(message) if part["type"] not in MEDIA]
    if all(part["type"] == "reasoning" for part in rest):
        rest.append({"type": "text", "text": "See the attachment."})
    return message.model_copy(update={"content": rest})


# Names ---------------------------------------------------------------------------------------------------------------


def valid_id(call_id: str, *, most: int, alphabet: str = r"[!-~]") -> str:
    """``call_id`` if it is valid for an API; else a hash of the id."""
    if len(call_id) <= most and re.fullmatch(f"{alphabet}+", call_id):
        return call_id
    return f"call_{_digest(call_id, 24)}"


def mistral_id(call_id: str) -> str:
    """``call_id`` in the form that Mistral requires: nine letters or digits."""
    return call_id if re.fullmatch(r"[A-Za-z0-9]{9}", call_id) else _digest(call_id, 9)


def _digest(text: str, length: int) -> str:
    return hashlib.blake2s(text.encode(errors="replace")).hexdigest()[:length]


def valid_name(name: str, declared: Iterable[str] = (), *, most: int = 64) -> str:
    """The name of a tool in the form that OpenAI and Anthropic require; a ``declared`` name is left unchanged."""
    return name if name in declared else _INVALID_LETTERS.sub("_", name)[:most] or "tool"


def declared_names(tools: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The names of the tools that a call may use."""
    return frozenset(str(tool.get("function", tool).get("name")) for tool in tools)


def plain_json(value: object) -> Any:
    """``value`` in standard JSON: NaN and infinity become strings."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)


# Media ---------------------------------------------------------------------------------------------------------------


def data_url(part: Block, mime: str) -> str:
    """The data of ``part`` as a ``data:`` URL; ``mime`` is its default type."""
    return f"data:{part.get('mime_type') or mime};base64,{part['base64']}"


def unsupported_content(part: Block, api: str) -> NotWordedError:
    """The error that ``api`` has no form for ``part``; its text names the block's type, never the content."""
    kind, value = part["type"], part.get("value")
    if isinstance(value, dict):
        kind = str(value.get("type") or "unknown")[:40]
    how = next((f" by its {key}" for key in ("url", "file_id") if key in part), "")
    mime = f" ({part['mime_type'][:40]})" if "mime_type" in part else ""
    return NotWordedError(f"{api} has no words for {kind}{mime}{how}")


def serialized_part(
    part: Block, writers: Mapping[str, Callable[[Block], dict[str, Any] | None]], api: str
) -> dict[str, Any]:
    """Serialize the block ``part`` for ``api``, by the function that ``writers`` has for the block's type."""
    writer = writers.get(part["type"])
    serialized = writer(part) if writer is not None else None
    if serialized is None:
        raise unsupported_content(part, api)
    return serialized


# Thoughts ------------------------------------------------------------------------------------------------------------


def thought_by(message: BaseMessage, api: str, provider: str) -> bool:
    """Whether the thoughts in ``message`` may come from ``provider``; no other provider can read the thoughts that it signed.

    A receipt names the provider. Without one, as in a client's history, any provider with the vendor's API may be it.

    Args:
        message: The model's message.
        api: LangChain's name of the API's vendor.
        provider: The provider's name in the table.
    """
    metadata = message.response_metadata
    receipt = metadata.get("receipt")
    if isinstance(receipt, dict):
        return str(receipt.get("endpoint")).partition(":")[0] == provider
    return bool(metadata.get("model_provider", api) == api)


def with_own_thoughts(message: AIMessage) -> list[Block]:
    """The blocks of ``message``, with its thoughts in the provider's own form if they were kept."""
    items = message.additional_kwargs.get(REASONING_KEY)
    thoughts = [part for part in standard_blocks(items) if part["type"] == "reasoning"]
    parts = blocks_of(message)
    return [*thoughts, *(part for part in parts if part["type"] != "reasoning")] if thoughts else parts


def thoughts_of(parts: Iterable[Block]) -> Iterator[Block]:
    """The blocks of the type ``reasoning`` among ``parts``."""
    return (part for part in parts if part["type"] == "reasoning")


def text_without_thoughts(parts: Iterable[Block]) -> str:
    """The text of a model's message, without its thoughts."""
    return "".join(block_text(part) for part in parts if part["type"] != "reasoning")
