"""Checks a history as its vendor does, by the documented rules and by the known answers of its API.

- Chat Completions: https://platform.openai.com/docs/api-reference/chat/create; ids: vercel/ai#5171; names:
  langchain-ai/langchain#35054; pictures of tools: langchain-ai/langchain#31950.
- Mistral: https://docs.mistral.ai/api/#tag/chat; order: BerriAI/litellm#6323; ids: karthink/gptel#1203.
- Perplexity: https://docs.perplexity.ai/api-reference/chat-completions-post, whose roles alternate.
- DeepSeek and Kimi: https://api-docs.deepseek.com/guides/thinking_mode#tool-calls, mastra-ai/mastra#12592.
- Responses: https://platform.openai.com/docs/api-reference/responses/create.
- Gemini: https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/function-calling,
  https://ai.google.dev/gemini-api/docs/thought-signatures; no user: langchain-ai/langchain-google#1351; empty parts:
  langchain-ai/langchain-google#691; a model's turn at the end: crewAIInc/crewAI#6973.
- Anthropic: https://platform.claude.com/docs/en/api/messages/create, https://platform.claude.com/docs/en/api/errors.

Written from these pages alone: no code is shared with the modules that write the histories.
"""

from __future__ import annotations

import json
import re
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from backend.utils.llm.testing import LoopbackProvider, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from backend.utils.llm.testing import RecordedRequest
    from backend.utils.llm.testing.wire import FakeProviderApi

Message = dict[str, Any]

_FUNCTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_CHAT_ID: Final = 40
_LONGEST_CALL_ID: Final = 64
_PICTURE: Final = re.compile(r"(?i:https?)://\S+|data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")
_MISTRALS: Final = ("codestral", "devstral", "magistral", "ministral", "mistral", "mixtral", "pixtral")
_THINKERS: Final = ("deepseek", "kimi")


class StrictProvider(LoopbackProvider):
    """A loopback provider that answers a history that its vendor would refuse with a 400."""

    @override
    def find_api_key_error(self, request: RecordedRequest, wire: FakeProviderApi) -> Status | None:
        faults = history_faults(request.path, request.body, request.model)
        return super().find_api_key_error(request, wire) or (
            Status(400, message=faults[0]) if faults else None
        )


def history_faults(path: str, body: Mapping[str, Any], model: str) -> list[str]:
    """The faults of the history in a request, by the vendor's rules; none for a path without a history.

    Args:
        path: The request's path, without the query.
        body: The request's JSON.
        model: The requested model: some vendors that serve Chat Completions have their own rules.
    """
    if path.endswith("/chat/completions"):
        return list(chain.from_iterable(rule(body.get("messages")) for rule in _chat_rules(model)))
    if path.endswith("/responses"):
        return list(_responses(body.get("input")))
    if path.endswith("/messages"):
        return list(_anthropic(body))
    return list(_gemini(body, model)) if "enerateContent" in path else []


def _chat_rules(model: str) -> Iterator[Callable[[Any], Iterator[str]]]:
    name = model.rpartition("/")[2].lower()
    yield _chat
    if name.startswith(_MISTRALS):
        yield _mistral
    if name.startswith("sonar"):
        yield _perplexity
    if name.startswith(_THINKERS):
        yield _thinkers


# Chat Completions ----------------------------------------------------------------------------------------------------

_CHAT_FIELDS: Final = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "audio"},
    "tool": {"role", "content", "tool_call_id"},
}
_OF_OTHERS: Final = {"reasoning_content", "reasoning_details"}
_CHAT_PARTS: Final = {"user": {"text", "image_url", "input_audio", "file"}, "assistant": {"text", "refusal"}}


def _chat(messages: Any) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "messages: must not be empty"
        return
    waiting: set[str] = set()
    for place, message in enumerate(messages):
        yield from (f"messages[{place}]: {fault}" for fault in _chat_message(message))
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                yield f"messages[{place}]: role 'tool' must follow a message with 'tool_calls'"
            waiting.discard(message.get("tool_call_id"))
            continue
        if waiting:
            yield f"messages[{place}]: 'tool_calls' must be followed by tool messages: {len(waiting)} are missing"
        waiting = {call.get("id") for call in message.get("tool_calls") or ()}
    if waiting:
        yield f"messages: {len(waiting)} 'tool_calls' at the end have no tool message"


def _chat_message(message: Message) -> Iterator[str]:
    role, content = message.get("role"), message.get("content")
    if role not in _CHAT_FIELDS:
        yield f"role {role!r} is none"
        return
    if unknown := set(message) - _CHAT_FIELDS[role] - (_OF_OTHERS if role == "assistant" else set()):
        yield f"unknown fields {sorted(unknown)}"
    if "name" in message and not re.fullmatch(r"[^\s<|\\/>]{1,64}", str(message["name"])):
        yield "name does not match the pattern"
    if content is None and not (role == "assistant" and message.get("tool_calls")):
        yield "content is missing"
    yield from _chat_content(role, content)
    yield from _chat_calls(message)


def _chat_content(role: str, content: Any) -> Iterator[str]:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        yield "content is neither a text nor a list of parts"
        return
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _CHAT_PARTS.get(role, {"text"}):
            yield f"{role} takes no part {kind!r}"
        else:
            yield from _chat_part(part)


def _chat_part(part: Message) -> Iterator[str]:
    kind = part["type"]
    if set(part) != {"type", kind}:
        yield f"a part {kind} has {sorted(part)}"
        return
    value = part[kind]
    if kind == "image_url" and not (isinstance(value, dict) and _PICTURE.fullmatch(str(value.get("url")))):
        yield "image_url is no picture"
    if kind == "input_audio" and not (set(value) == {"data", "format"} and value["format"] in {"wav", "mp3"}):
        yield "input_audio is no sound"
    if kind == "file" and not ("file_id" in value or str(value.get("file_data")).startswith("data:")):
        yield "file has neither data nor an id"


def _chat_calls(message: Message) -> Iterator[str]:
    calls = message.get("tool_calls")
    if calls is None:
        return
    if not calls:
        yield "tool_calls is empty"
    ids = [call.get("id") for call in calls]
    if len({*ids}) < len(ids):
        yield "two calls have one id"
    for call in calls:
        if not isinstance(call.get("id"), str) or not 1 <= len(call["id"]) <= _LONGEST_CHAT_ID:
            yield "the id of a call has to have 1 to 40 characters"
        function = call.get("function") or {}
        if not _FUNCTION.fullmatch(str(function.get("name"))):
            yield f"function.name {function.get('name')!r} does not match the pattern"
        if not _is_object(function.get("arguments")):
            yield "function.arguments is no JSON object"


def _is_object(text: Any) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _mistral(messages: Any) -> Iterator[str]:
    for message in messages or ():
        ids = [call.get("id") for call in message.get("tool_calls") or ()] + [message.get("tool_call_id")]
        if any(not re.fullmatch(r"[A-Za-z0-9]{9}", number) for number in ids if number is not None):
            yield "Tool call id must be a-z, A-Z, 0-9, with a length of 9."
        if "name" in message:
            yield "Extra inputs are not permitted: name"
        if message.get("role") == "assistant" and not (message.get("content") or message.get("tool_calls")):
            yield "Assistant message must have either content or tool_calls, but not none."
    roles = [message.get("role") for message in messages or ()]
    for first, second in pairwise(roles):
        if (first, second) == ("tool", "user") or (second == "system" and first != "system"):
            yield f"Unexpected role {second!r} after role {first!r}"
    if roles and roles[-1] not in {"user", "tool"}:
        yield "Expected last role User or Tool (or Assistant with prefix True) for serving."


def _perplexity(messages: Any) -> Iterator[str]:
    roles = [message.get("role") for message in messages or ()]
    turns = [role for role in roles if role != "system"]
    if "system" in roles[len(roles) - len(turns) :]:
        yield "system messages must come first"
    if any(first == second != "tool" for first, second in pairwise(turns)) or turns[:1] == ["assistant"]:
        yield "After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s)."
    if turns and turns[-1] not in {"user", "tool"}:
        yield "Last message must have role `user` or `tool`."


def _thinkers(messages: Any) -> Iterator[str]:
    for place, message in enumerate(messages or ()):
        if message.get("tool_calls") and not message.get("reasoning_content"):
            yield f"reasoning_content is missing in assistant tool call message at index {place}"


# Responses -----------------------------------------------------------------------------------------------------------

_INPUTS: Final = {
    "input_text": ({"text"},),
    "input_image": ({"image_url"}, {"file_id"}),
    "input_file": ({"file_data", "filename"}, {"file_url"}, {"file_id"}),
}
_OWN_ITEMS: Final = re.compile(r"\w+_call|\w+_call_output|mcp_\w+|tool_search_output|compaction")


def _responses(items: Any) -> Iterator[str]:
    if isinstance(items, str):
        return
    if not items:
        yield "input: must not be empty"
        return
    called: list[str] = []
    for place, item in enumerate(items):
        follows = items[place + 1].get("type") if place + 1 < len(items) else None
        yield from (f"input[{place}]: {fault}" for fault in _item(item, called, follows))
    if called:
        yield f"No tool output found for {len(called)} function calls"


def _item(item: Message, called: list[str], follows: Any) -> Iterator[str]:
    kind = item.get("type")
    if kind == "message":
        yield from _responses_message(item)
    elif kind == "function_call":
        yield from _function_call(item, called)
        called.append(str(item.get("call_id")))
    elif kind == "function_call_output":
        yield from _function_output(item, called)
    elif kind == "reasoning":
        yield from _reasoning(item, follows)
    elif not isinstance(kind, str) or not _OWN_ITEMS.fullmatch(kind):
        yield f"type {kind!r} is none"


def _function_output(item: Message, called: list[str]) -> Iterator[str]:
    if item.get("call_id") in called:
        called.remove(item["call_id"])
    else:
        yield "No tool call found for function call output"
    yield from _shown(item.get("output"))


def _reasoning(item: Message, follows: Any) -> Iterator[str]:
    if not item.get("encrypted_content"):
        yield "Items are not persisted when `store` is set to false"
    elif follows in {None, "function_call_output"}:
        yield "a reasoning item was provided without its required following item"


def _responses_message(item: Message) -> Iterator[str]:
    role, content = item.get("role"), item.get("content")
    if unknown := set(item) - {"type", "role", "content", "id", "status", "phase"}:
        yield f"unknown fields {sorted(unknown)}"
    if role not in {"user", "system", "developer", "assistant"}:
        yield f"role {role!r} is none"
    if role != "assistant":
        yield from _shown(content)
    elif not isinstance(content, str):
        kinds = {part.get("type") for part in content or ()}
        if not kinds or kinds - {"output_text", "refusal"}:
            yield f"an assistant's content has {kinds}"


def _function_call(item: Message, called: Collection[str]) -> Iterator[str]:
    number = item.get("call_id")
    if not isinstance(number, str) or not 1 <= len(number) <= _LONGEST_CALL_ID:
        yield "call_id has to have 1 to 64 characters"
    if number in called:
        yield "two calls have one id"
    if not _FUNCTION.fullmatch(str(item.get("name"))) or not _is_object(item.get("arguments")):
        yield "a call has no name, or no object of arguments"
    if "id" in item and not str(item["id"]).startswith("fc"):
        yield "id must begin with 'fc'"


def _shown(content: Any) -> Iterator[str]:
    """The faults of content in a message to the model, or in a function's result."""
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        yield "content is neither a text nor a list of parts"
        return
    for part in content:
        fields = _INPUTS.get(str(part.get("type")))
        if fields is None:
            yield f"a part {part.get('type')!r} is none"
        elif set(part) - {"type", "detail"} not in fields:
            yield f"a part {part['type']} has {sorted(part)}"
        elif "image_url" in part and not _PICTURE.fullmatch(str(part["image_url"])):
            yield "image_url is no picture"


# Gemini --------------------------------------------------------------------------------------------------------------

_DATA: Final = frozenset(
    {*("text", "inlineData", "fileData", "functionCall", "functionResponse")}
    | {"executableCode", "codeExecutionResult"}
)
_MIME: Final = re.compile(
    r"(image/(png|jpeg|webp|heic|heif|gif)|audio/[\w.+-]+|video/[\w.+-]+|application/pdf|text/\w+)"
)
_GEMINI_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def _gemini(body: Mapping[str, Any], model: str) -> Iterator[str]:
    contents = body.get("contents")
    if not contents:
        yield "contents is not specified"
        return
    for part in (body.get("systemInstruction") or {}).get("parts") or ():
        if set(part) != {"text"} or not part["text"]:
            yield "systemInstruction takes text only"
    before: Message | None = None
    for place, content in enumerate(contents):
        yield from (f"contents[{place}]: {fault}" for fault in _content(content, before))
        before = content
    yield from _signatures(contents, model)
    first, last = contents[0], contents[-1]
    if first.get("role") == "model" or last.get("role") == "model":
        yield "Please ensure that the conversation begins with a user turn and ends with a user turn or a function response"


def _content(content: Message, before: Message | None) -> Iterator[str]:
    if content.get("role") not in {"user", "model"}:
        yield "Please use a valid role: user, model."
    parts = content.get("parts")
    if not parts:
        yield "parts must not be empty"
    for part in parts or ():
        yield from _part(part)
    calls, results = _count(content, "functionCall"), _count(content, "functionResponse")
    called = _count(before, "functionCall")
    if calls and (before is None or before.get("role") != "user"):
        yield "function call turn comes immediately after a user turn or after a function response turn"
    if results != called:
        yield "the number of function response parts is equal to the number of function call parts of the turn before"


def _count(content: Message | None, kind: str) -> int:
    return sum(kind in part for part in (content or {}).get("parts") or ())


def _part(part: Message) -> Iterator[str]:
    if len(_DATA & set(part)) != 1 or set(part) - _DATA - {"thought", "thoughtSignature", "videoMetadata"}:
        yield f"required oneof field 'data' must have one initialized field: {sorted(part)}"
    if part.get("text") == "" and "thoughtSignature" not in part:
        yield "Unable to submit request because it must have a text parameter"
    if "inlineData" in part and not _MIME.fullmatch(str(part["inlineData"].get("mimeType"))):
        yield f"Unsupported MIME type: {part['inlineData'].get('mimeType')}"
    if "fileData" in part and not re.match(r"(https|gs)://|files/", str(part["fileData"].get("fileUri"))):
        yield "Unsupported file URI type"
    yield from _function_part(part, "functionCall", "args")
    yield from _function_part(part, "functionResponse", "response")


def _function_part(part: Message, kind: str, value: str) -> Iterator[str]:
    if kind in part and not _GEMINI_FUNCTION.fullmatch(str(part[kind].get("name"))):
        yield f"{kind}.name does not match the pattern"
    if kind in part and not isinstance(part[kind].get(value, {}), dict):
        yield f"{kind}.{value} is no Struct"


def _signatures(contents: Iterable[Message], model: str) -> Iterator[str]:
    """The missing thought signatures of the current turn: of everything after the user's last message."""
    if not re.search(r"gemini-([3-9]|\d\d)", model):
        return
    for content in contents:
        calls = [part for part in content.get("parts") or () if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            yield "Function call is missing a thought_signature in functionCall parts"


# Anthropic -----------------------------------------------------------------------------------------------------------

_BLOCKS: Final = {
    "user": {"text", "image", "document", "tool_result", "search_result", "container_upload"},
    "assistant": {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use"},
}


def _anthropic(body: Mapping[str, Any]) -> Iterator[str]:
    messages = body.get("messages")
    if not messages:
        yield "messages: at least one message is required"
        return
    if messages[0].get("role") != "user":
        yield "messages: first message must use the user role"
    if messages[-1].get("role") != "user":
        yield "This model does not support assistant message prefill. The conversation must end with a user message."
    before: list[Message] = []
    for place, message in enumerate(messages):
        blocks = _blocks(message)
        yield from (f"messages.{place}: {fault}" for fault in _anthropic_message(message, blocks, before))
        before = blocks
    if any(block.get("type") == "tool_use" for block in before):
        yield "`tool_use` ids were found without `tool_result` blocks immediately after"


def _blocks(message: Message) -> list[Message]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _anthropic_message(message: Message, blocks: list[Message], before: list[Message]) -> Iterator[str]:
    role = message.get("role")
    if role not in _BLOCKS:
        yield f"Unexpected role {role!r}. The Messages API accepts a top-level `system` parameter"
        return
    if not blocks:
        yield "all messages must have non-empty content"
    for block in blocks:
        kind = str(block.get("type"))
        if kind not in _BLOCKS[role] and not kind.endswith("_tool_result"):
            yield f"{role} takes no block {kind!r}"
        yield from _anthropic_block(block)
    results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
    called = [block.get("id") for block in before if block.get("type") == "tool_use"]
    if sorted(map(str, results)) != sorted(map(str, called)):
        yield "each `tool_use` block must have a corresponding `tool_result` block in the next message"
    if any(block.get("type") == "tool_result" for block in blocks[len(results) :]):
        yield "tool_result blocks must come first"


def _anthropic_block(block: Message) -> Iterator[str]:
    rule = _BLOCK_RULES.get(str(block.get("type")))
    if rule is not None:
        yield from rule(block)


def _text_block(block: Message) -> Iterator[str]:
    if not str(block.get("text") or "").strip():
        yield "text content blocks must contain non-whitespace text"


def _tool_use(block: Message) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", str(block.get("id"))):
        yield "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
    is_named = re.fullmatch(r"[A-Za-z0-9_-]{1,200}", str(block.get("name")))
    if not is_named or not isinstance(block.get("input"), dict):
        yield "tool_use: a name and an input that is an object are required"


def _tool_result(block: Message) -> Iterator[str]:
    content = block.get("content", "")
    for inner in () if isinstance(content, str) else content:
        yield from _anthropic_block(inner)


def _thinking(block: Message) -> Iterator[str]:
    if not block.get("signature"):
        yield "thinking.signature: Field required"


def _source(block: Message) -> Iterator[str]:
    if str((block.get("source") or {}).get("type")) not in {"base64", "url", "file", "text", "content"}:
        yield "source: Input tag does not match any of the expected tags"


_BLOCK_RULES: Final[Mapping[str, Callable[[Message], Iterator[str]]]] = {
    "text": _text_block,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "image": _source,
    "document": _source,
}
