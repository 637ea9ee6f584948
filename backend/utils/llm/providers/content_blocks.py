"""Converts content blocks of messages from any vendor's notation into LangChain's standard blocks.

No data is opened, decoded or fetched, except files of plain text.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from .loose_json import object_or_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from langchain_core.messages import BaseMessage

Block = dict[str, Any]
MEDIA = frozenset({"image", "audio", "video", "file"})
"""The types of standard blocks with images, audio, video or files."""

_MIME_ALIASES = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/mpga": "audio/mpeg",
    "audio/m4a": "audio/mp4",
}
_MIME_ALIASES |= dict.fromkeys(("audio/x-wav", "audio/wave", "audio/vnd.wave"), "audio/wav")
_MAGIC_NUMBERS = {
    "iVBORw0K": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi": "application/pdf",
}
"""How data in base64 begins, of what is sent without saying what it is."""
_TEXTS = frozenset(
    {"image/svg+xml", "application/json", "application/xml", "application/x-yaml", "application/yaml"}
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_WEB_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_CHECKED_CHARACTERS = 64
_GOOGLE_HOSTS = ("googleapis.com", "youtube.com", "youtu.be")
"""Hosts whose files and videos Google fetches itself."""


def to_standard_blocks(content: object) -> list[Block]:
    """Convert a message's ``content``, in any vendor's notation, into LangChain's standard content blocks.

    Returns:
        Blocks of these types; any other block becomes ``non_standard``, with the original block in ``value``:

        - ``text``; ``tool_call``; ``tool_result``, with ``tool_call_id``, ``content`` and ``status``;
        - ``image``, ``audio``, ``video`` and ``file``, with ``base64`` and ``mime_type``, or ``url``, or
          ``file_id``; optionally with ``filename``, ``detail`` and ``cache_control``;
        - ``reasoning``, with ``signature``, ``encrypted_content`` or ``redacted`` in ``extras``.
    """
    if isinstance(content, str):
        return _text(content)
    if not isinstance(content, list | tuple):
        return [] if content is None else _text(_as_json(content))
    return [part for item in content for part in _blocks_of_one(item)]


def block_to_text(part: Block) -> str:
    """Return the text of a text block; any other block as JSON in square brackets."""
    return part["text"] if part["type"] == "text" else f"[{_as_json(part.get('value', part))}]"


def find_media_blocks(history: Iterable[BaseMessage]) -> list[Block]:
    """Find the image, audio, video and file blocks in a normalized conversation (see `normalize_history`)."""
    contents: list[Any] = [message.content for message in history if type(message.content) is list]
    return [part for content in contents for part in content if part["type"] in MEDIA]


def can_google_fetch_url(address: str) -> bool:
    """Whether Google's API fetches ``address`` itself: a ``gs:`` URL, a file at Google, or a YouTube video."""
    try:
        split = urlsplit(address)
    except ValueError:
        return False
    host = split.hostname or ""
    return split.scheme == "gs" or any(
        host == google_host or host.endswith(f".{google_host}") for google_host in _GOOGLE_HOSTS
    )


def _blocks_of_one(block: object) -> list[Block]:
    if isinstance(block, str):
        return _text(block)
    if not isinstance(block, dict):
        return _text(_as_json(block))
    kind = block.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None and kind is None:
        reader = next((_UNTYPED[key] for key in block if key in _UNTYPED), None)
    found = reader(block) if reader is not None else None
    if found is None:
        return [{"type": "non_standard", "value": block}]
    if "cache_control" in block and found:
        found[-1]["cache_control"] = block["cache_control"]
    return found


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text and not text.isspace() else []


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


# Texts ---------------------------------------------------------------------------------------------------------------


def _of_text(block: Block) -> list[Block] | None:
    text = block.get("text")
    if text is None:
        return []
    found = _text(text if isinstance(text, str) else _as_json(text))
    signature = _signature(block)
    if signature and not found:  # Gemini signs what it has said with an empty text
        return [{"type": "reasoning", "reasoning": "", "extras": {"signature": signature}}]
    if signature:
        found[0]["extras"] = {"signature": signature}
    return found


def _of_refusal(block: Block) -> list[Block]:
    return _text(str(block.get("refusal") or ""))


def _of_plain_text(block: Block) -> list[Block] | None:
    text = block.get("text")
    if isinstance(text, str):
        return _named_text(block.get("title"), text)
    return _of_media({"mime_type": "text/plain", **block}, "file")


def _of_search_result(block: Block) -> list[Block]:
    """Anthropic's ``search_result``: its title and source, then its content."""
    head = " ".join(str(block[key]) for key in ("title", "source") if block.get(key))
    return [*_text(head), *to_standard_blocks(block.get("content"))]


def _named_text(name: object, text: str) -> list[Block]:
    return _text(f"{name}:\n{text}" if name and text.strip() else text)


def _of_cache_point(_: Block) -> list[Block]:
    return []


# Media ---------------------------------------------------------------------------------------------------------------


def _media(kind: str, data: object = None, **named: object) -> list[Block] | None:
    """A media block; None without data, URL or file id."""
    known = {key: value for key, value in named.items() if isinstance(value, str) and value}
    if isinstance(data, bytes):
        data = base64.b64encode(data).decode()
    address = known.get("url", "").strip()
    text = address if address[:5].lower() == "data:" else data.strip() if isinstance(data, str) else ""
    if text:
        return _inline_media(kind, text, known)
    if address[:5].lower() == "gs://":
        known["file_id"] = address
    elif address:
        return _block(kind, known | {"url": address}) if _WEB_URL.fullmatch(address) else None
    known.pop("url", None)
    return _block(kind, known) if "file_id" in known else None


def _inline_media(kind: str, text: str, known: dict[str, str]) -> list[Block] | None:
    """A block with inline data, given as base64 or as a ``data:`` URL."""
    mime = known.get("mime_type")
    if text[:5].lower() == "data:":
        head, _, text = text[5:].partition(",")
        first, *more = head.split(";")
        mime = first.strip() or mime
        if "base64" not in [item.strip().lower() for item in more]:
            text = base64.b64encode(unquote_to_bytes(text)).decode()
    text = _normalized_base64(text)
    if not text or not _BASE64.fullmatch(text[:_CHECKED_CHARACTERS].rstrip("=")):
        return None
    named = {key: value for key, value in known.items() if key not in {"url", "file_id", "mime_type"}}
    sniffed = next(
        (media_type for begin, media_type in _MAGIC_NUMBERS.items() if text.startswith(begin)), None
    )
    mime = _mime(mime) if mime and mime != "application/octet-stream" else sniffed
    if mime is not None and (mime.startswith("text/") or mime in _TEXTS):
        return _named_text(known.get("filename"), base64.b64decode(text).decode(errors="replace"))
    return _block(kind, {**named, "base64": text, **({"mime_type": mime} if mime else {})})


def _block(kind: str, known: Mapping[str, str]) -> list[Block]:
    mime = known.get("mime_type")
    if mime:
        known = {**known, "mime_type": (mime := _mime(mime))}
        group = mime.partition("/")[0]
        kind = group if group in MEDIA else "file" if kind == "media" or group == "application" else kind
    return [{"type": "file" if kind == "media" else kind, **known}]


def _mime(mime: str) -> str:
    plain = mime.partition(";")[0].strip().lower()
    return _MIME_ALIASES.get(plain, plain)


def _normalized_base64(text: str) -> str:
    """Base64 in the standard alphabet, on one line, padded."""
    if any(sign in text for sign in " \n\r\t"):
        text = "".join(text.split())
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)


def _of_media(block: Block, kind: str | None = None) -> list[Block] | None:
    """LangChain's notations, old and new, Google's ``media``, and Anthropic's with a ``source``."""
    kind = kind or str(block["type"])
    extras = object_or_empty(block.get("extras"))
    source = block.get("source")
    if isinstance(source, dict):
        return _of_source(block, source, kind)
    if isinstance(
        block.get(kind), dict
    ):  # OpenAI's: {"type": "file", "file": {…}}, {"type": "audio", "audio": {…}}
        inner = {"id": None, **block[kind]}
        return _of_media({"mime_type": block.get("mime_type"), **inner}, kind)
    if isinstance(block.get("image_url"), str | dict):
        return _of_url({**block, "type": "image_url"})
    is_old = "source_type" in block
    if block.get("source_type") == "text":
        return _named_text(block.get("filename"), str(block.get("text") or block.get("url") or ""))
    data = block.get("base64") or block.get("data") or block.get("file_data")
    if kind == "file" and isinstance(data, str) and isinstance(block.get("file_id"), str):
        data = None
    return _media(
        kind,
        data,
        url=block.get("url") or block.get("file_url"),
        file_id=block.get("file_id") or block.get("file_uri") or (block.get("id") if is_old else None),
        mime_type=block.get("mime_type") or block.get("mimeType") or _of_format(kind, block.get("format")),
        filename=block.get("filename") or extras.get("filename") or block.get("name"),
        detail=block.get("detail") or extras.get("detail"),
        signature=_signature(block),
    )


def _of_format(kind: str, name: object) -> str | None:
    return f"{kind}/{name}" if isinstance(name, str) and kind in {"audio", "image", "video"} else None


def _of_source(block: Block, source: Block, kind: str) -> list[Block] | None:
    """Anthropic's and Bedrock's media, with a ``source``."""
    name = block.get("title") or block.get("name") or block.get("filename")
    if source.get("type") == "text":
        return _named_text(name, str(source.get("data") or ""))
    if source.get("type") == "content":
        return [*_text(str(name or "")), *to_standard_blocks(source.get("content"))]
    named = "file" if kind == "document" else kind
    mime = source.get("media_type") or source.get("mime_type")
    return _media(
        named,
        source.get("data") or source.get("bytes"),
        url=source.get("url"),
        file_id=source.get("file_id"),
        mime_type=mime or _of_format(named, block.get("format")) or _document_format(block),
        filename=name,
    )


def _document_format(block: Block) -> str | None:
    name = block.get("format")
    return (
        {"txt": "text/plain", "md": "text/markdown", "csv": "text/csv"}.get(name, f"application/{name}")
        if isinstance(name, str)
        else None
    )


def _of_url(block: Block) -> list[Block] | None:
    """``image_url``, ``audio_url`` and so on, whose value is an object or a URL."""
    kind = block["type"]
    value = block.get(kind)
    inner = value if isinstance(value, dict) else {"url": value}
    extras = object_or_empty(block.get("extras"))
    return _media(
        kind.removesuffix("_url"),
        url=inner.get("url"),
        mime_type=inner.get("mime_type") or block.get("mime_type"),
        detail=inner.get("detail") or block.get("detail"),
        signature=extras.get("signature"),
    )


def _of_responses_input(block: Block) -> list[Block] | None:
    """``input_image`` and so on of Responses; ``input_audio`` is also Chat Completions'."""
    kind = block["type"].removeprefix("input_")
    inner = block.get(block["type"])
    if isinstance(inner, dict):
        block = {**block, **inner}
    address = block.get("image_url")
    url = address.get("url") if isinstance(address, dict) else address
    return _of_media({**block, "url": block.get("url") or url, "image_url": None}, kind)


def _of_gemini_part(block: Block) -> list[Block] | None:
    """A part of Gemini's with inline data or a file."""
    inner = next(
        (block[key] for key in ("inlineData", "inline_data", "fileData", "file_data") if key in block), None
    )
    if not isinstance(inner, dict):
        return None
    return _media(
        "media",
        inner.get("data"),
        file_id=inner.get("fileUri") or inner.get("file_uri"),
        mime_type=inner.get("mimeType") or inner.get("mime_type"),
    )


def _of_bedrock(block: Block) -> list[Block] | None:
    kind = next(key for key in ("image", "document", "video") if key in block)
    inner = block[kind]
    source = inner.get("source") if isinstance(inner, dict) else None
    return _of_source(inner, source, kind) if isinstance(source, dict) else None


# What models say besides ---------------------------------------------------------------------------------------------


def _of_thoughts(block: Block) -> list[Block] | None:
    """Reasoning, as Anthropic, Google, Bedrock, Responses, Mistral or LangChain write it."""
    inner = block.get("reasoning_content")
    held = {**block, **inner} if isinstance(inner, dict) else block
    extras = object_or_empty(held.get("extras"))
    kept = {
        "signature": _signature(held),
        "encrypted_content": held.get("encrypted_content") or extras.get("encrypted_content"),
        "redacted": held.get("data") or held.get("redacted") or extras.get("redacted"),
    }
    found: Block = {"type": "reasoning", "reasoning": _thought(held)}
    if isinstance(held.get("id"), str):
        found["id"] = held["id"]
    if extras := {key: value for key, value in kept.items() if value}:
        found["extras"] = extras
    return [found] if found["reasoning"] or extras else []


def _thought(block: Block) -> str:
    for key in ("reasoning", "thinking", "reasoning_content", "text", "summary", "content"):
        value = block.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            texts = [
                item if isinstance(item, str) else str(item.get("text") or "")
                for item in value
                if isinstance(item, str | dict)
            ]
            if any(texts):
                return "\n\n".join(filter(None, texts))
    return ""


def _signature(block: Mapping[str, Any]) -> str | None:
    inner = object_or_empty(block.get("extras"))
    found = (
        block.get("signature")
        or block.get("thought_signature")
        or block.get("thoughtSignature")
        or inner.get("signature")
    )
    if isinstance(found, bytes):
        return base64.b64encode(found).decode()
    return found if isinstance(found, str) and found else None


def _of_call(block: Block) -> list[Block]:
    inner = block.get("toolUse") or block.get("functionCall") or block.get("function_call") or block
    inner = inner if isinstance(inner, dict) else block
    arguments = next(
        (inner[key] for key in ("args", "input", "arguments", "partial_json") if key in inner), None
    )
    number = inner.get("call_id") or inner.get("toolUseId") or inner.get("id")
    return [{"type": "tool_call", "id": number, "name": inner.get("name"), "args": arguments}]


def _of_result(block: Block) -> list[Block]:
    inner = block.get("toolResult") or block.get("functionResponse") or block
    number = next(
        (inner[key] for key in ("tool_use_id", "toolUseId", "call_id", "tool_call_id") if key in inner), None
    )
    content = next((inner[key] for key in ("content", "output", "response") if key in inner), "")
    failed = bool(inner.get("is_error")) or inner.get("status") == "error"
    return [
        {
            "type": "tool_result",
            "tool_call_id": number or "",
            "name": inner.get("name"),
            "content": content,
            "status": "error" if failed else "success",
        }
    ]


def _of_non_standard(block: Block) -> list[Block] | None:
    value = block.get("value")
    return _blocks_of_one(value) if isinstance(value, dict) and value.get("type") != "non_standard" else None


_READERS: dict[str, Callable[[Block], list[Block] | None]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _of_text),
    "refusal": _of_refusal,
    "text-plain": _of_plain_text,
    "search_result": _of_search_result,
    **dict.fromkeys(("cachePoint", "cache_point"), _of_cache_point),
    **dict.fromkeys(("image", "audio", "video", "file", "media", "document"), _of_media),
    **dict.fromkeys(("image_url", "audio_url", "video_url", "file_url"), _of_url),
    **dict.fromkeys(("input_image", "input_audio", "input_file", "input_video"), _of_responses_input),
    **dict.fromkeys(("inline_data", "file_data", "inlineData", "fileData"), _of_gemini_part),
    **dict.fromkeys(
        ("thinking", "redacted_thinking", "reasoning", "reasoning_content", "think"), _of_thoughts
    ),
    **dict.fromkeys(
        ("tool_use", "tool_call", "tool_call_chunk", "function_call", "toolUse", "input_json_delta"), _of_call
    ),
    **dict.fromkeys(("tool_result", "toolResult", "function_call_output"), _of_result),
    "non_standard": _of_non_standard,
}
_UNTYPED: dict[str, Callable[[Block], list[Block] | None]] = {
    **dict.fromkeys(("inlineData", "inline_data", "fileData", "file_data"), _of_gemini_part),
    **dict.fromkeys(("image", "document", "video"), _of_bedrock),
    **dict.fromkeys(("toolUse", "functionCall", "function_call"), _of_call),
    **dict.fromkeys(("toolResult", "functionResponse"), _of_result),
    "reasoningContent": lambda block: _of_thoughts({**block["reasoningContent"].get("reasoningText", {})}),
    "cachePoint": _of_cache_point,
    "text": _of_text,
}
"""Readers of blocks without a type, by the key that tells them."""
