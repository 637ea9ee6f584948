"""Reads requests of Anthropic's Messages API: https://platform.claude.com/docs/en/api/messages/create.

History and tools are passed on unchanged, because the facade knows the notation of their content blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.utils.llm.nearest import LONGEST
from backend.utils.llm.options import Options

from ..faults import InvalidRequestError
from ..fields import (
    find_ignored_allowed_callers,
    find_ignored_service_tier,
    find_unknown_fields,
    reject_unsupported_fields,
)
from ..files import check_provider_file_access
from ..request import CompletionRequest
from ..tool_names import check_tool_names_unique
from .blocks import (
    CHANGES_OF_TOOLS,
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    UnknownBlock,
    find_ignored_content_features,
    set_cache_control,
    to_langchain_blocks,
)
from .thoughts import restore_reasoning_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_REFUSED: Final = {
    "thread": "Nothing is stored here. Send the whole conversation in `messages`.",
    "inference_geo": "The table says where a model is asked, and a request cannot. Leave `inference_geo` out.",
}
_NO_NAMES: Final = frozenset({"str", "other"})
"""What pydantic tells of a place beside the names of fields: which form of several it took a value for."""
_BUDGETS: Final = ((4_096, "low"), (16_384, "medium"))
"""Below so many tokens of thought, this much effort; not every model takes a number of tokens."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InputMessage(_Part):
    """One message of the conversation. A system message may be anywhere in it, as Claude Code sends them."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class MessagesTool(_Part):
    """A tool definition in the request.

    The client runs the tool if ``type`` is absent or ``custom``. Any other type is one of Anthropic's own
    tools.
    """

    type: str | None = None
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None
    input_examples: list[Any] | None = None
    allowed_callers: list[str] | None = None


class MessagesToolChoice(_Part):
    """The request's ``tool_choice``: whether the model may or must call a tool, and which tool."""

    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class ThinkingConfig(_Part):
    """The request's ``thinking``: whether the model thinks before it answers, and whether the answer shows the thinking."""

    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: int | None = None
    display: str | None = None


class OutputFormat(_Part):
    """The JSON Schema that the answer has to follow."""

    type: Literal["json_schema"]
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(_Part):
    """The request's ``output_config``: the reasoning effort, and the JSON Schema of the answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class CountTokensBody(_Part):
    """The JSON body of ``/v1/messages/count_tokens``, whose fields ``/v1/messages`` has as well."""

    model: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    messages: Annotated[list[InputMessage], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: MessagesToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    cache_control: dict[str, Any] | None = None


class MessagesBody(CountTokensBody):
    """The JSON body of ``/v1/messages``: the fields of `CountTokensBody`, and those that control the answer."""

    max_tokens: Annotated[int, Field(gt=0)]
    metadata: dict[str, Any] | None = None
    stop_sequences: list[str] | None = None
    service_tier: str | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None


AnyBody = TypeVar("AnyBody", bound=CountTokensBody)


class MessagesRequest(NamedTuple):
    """A parsed request of the Messages API: its protocol-independent form, and settings for the answer's form.

    Attributes:
        completion: The request in the form that is the same for all protocols.
        keeps_thoughts: Whether the client sends the model's thinking back in later requests.
        tells_thoughts: Whether the answer shows the thinking to the client.
    """

    completion: CompletionRequest
    keeps_thoughts: bool = False
    tells_thoughts: bool = False


def parse_messages_request(body_json: Mapping[str, Any]) -> MessagesRequest:
    """Parse the JSON body of ``/v1/messages``.

    Raises:
        InvalidRequestError: The body is no valid request.
    """
    body = _checked(MessagesBody, body_json)
    completion = CompletionRequest(
        **_asked(body, body_json),
        options=_options(body),
        stop=body.stop_sequences or (),
        streams=bool(body.stream),
        metadata=body.metadata or {},
    )
    thinking = body.thinking
    if thinking is None or thinking.type == "disabled":
        return MessagesRequest(completion)
    return MessagesRequest(completion, keeps_thoughts=True, tells_thoughts=thinking.display != "omitted")


def parse_count_tokens_request(body_json: Mapping[str, Any]) -> CompletionRequest:
    """Parse the JSON body of ``/v1/messages/count_tokens``, whose tokens are counted without calling a model.

    Raises:
        InvalidRequestError: The body is no valid request.
    """
    return CompletionRequest(**_asked(_checked(CountTokensBody, body_json), body_json))


def _checked(kind: type[AnyBody], document: Mapping[str, Any]) -> AnyBody:
    reject_unsupported_fields(document, _REFUSED)
    try:
        return kind.model_validate(document, strict=True)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidRequestError:
    """The innermost fault: its place and reason, never the input."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    first = max(found, key=lambda fault: len(fault["loc"]))
    names = (str(name)[:64] for name in first["loc"])
    place = ".".join(name for name in names if name not in _NO_NAMES and "[" not in name)
    return InvalidRequestError(f"{place}: {first['msg']}" if place else first["msg"], place or None)


def _asked(body: CountTokensBody, document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that both kinds of request have, as arguments of a `CompletionRequest`."""
    functions, others = _tools(body.tools or ())
    choice = body.tool_choice
    return {
        "model": body.model,
        "messages": list(_history(body)),
        "tools": functions,
        "tool_choice": _choice(choice, functions),
        "parallel_tool_calls": False if choice is not None and choice.disable_parallel_tool_use else None,
        "response_format": _format(body),
        "ignored": [*_ignored(body, document), *others],
    }


def _ignored(body: CountTokensBody, document: Mapping[str, Any]) -> Iterator[str]:
    """The names of what is not served."""
    yield from find_unknown_fields(document, _fields_of(body))
    for name, part in (("thinking", body.thinking), ("output_config", body.output_config)):
        if part is not None:
            yield from find_unknown_fields(document[name], _fields_of(part), f"{name}.")
    for tool in body.tools or ():
        if tool.input_examples:
            yield "tools.input_examples"
        yield from find_ignored_allowed_callers({"allowed_callers": tool.allowed_callers}, "tools.")
    for turn in body.messages:
        yield from find_ignored_content_features(turn.content)
    if isinstance(body, MessagesBody):
        yield from find_ignored_service_tier(body.service_tier)


def _fields_of(part: BaseModel) -> frozenset[str]:
    return frozenset(type(part).model_fields)


# History -------------------------------------------------------------------------------------------------------------


def _history(body: CountTokensBody) -> Iterator[BaseMessage]:
    if body.system:
        yield SystemMessage(_content(body.system))
    last = len(body.messages) - 1
    for number, turn in enumerate(body.messages):
        for place, block in enumerate(turn.content if not isinstance(turn.content, str) else ()):
            at = f"messages.{number}.content.{place}"
            _check(block, at)
            check_provider_file_access(list(to_langchain_blocks([block])), at)
        content = _content(turn.content)
        if number == last and body.cache_control is not None:
            content = set_cache_control(content, body.cache_control)
        match turn.role:
            case "assistant":
                yield restore_reasoning_items(AIMessage(content))
            case "system":
                yield SystemMessage(content)
            case _:
                yield HumanMessage(content)


def _check(block: BaseModel, place: str) -> None:
    """Check that a block does not change the tools, and that a result holds no thoughts: no model had them there.

    Raises:
        InvalidRequestError: It does.
    """
    if isinstance(block, UnknownBlock) and block.type in CHANGES_OF_TOOLS:
        reason = "Tools do not change within a request here. Send those that hold now in `tools`."
        raise InvalidRequestError(f"{place}: {reason}", place, "unsupported_parameter")
    if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
        for number, held in enumerate(block.content):
            at = f"{place}.content.{number}"
            if isinstance(held, ThinkingBlock | RedactedThinkingBlock):
                raise InvalidRequestError(f"{at}: A tool's result holds no thoughts.", at)
            _check(held, at)


def _content(content: str | Sequence[BaseModel]) -> Any:
    return content if isinstance(content, str) else list(to_langchain_blocks(content))


# Tools ---------------------------------------------------------------------------------------------------------------


def _tools(tools: Sequence[MessagesTool]) -> tuple[list[dict[str, Any]], list[str]]:
    """The functions in the form of Chat Completions, and the names of tools that are not run here."""
    functions, others = [], []
    for place, tool in enumerate(tools):
        if tool.type not in {None, "custom"}:
            others.append(f"tools.{tool.type}")
        elif tool.name is None or tool.input_schema is None:
            missing = "name" if tool.name is None else "input_schema"
            raise InvalidRequestError(f"tools.{place}.{missing}: Field required", f"tools.{place}.{missing}")
        else:
            functions.append(_function(tool))
    check_tool_names_unique(functions)
    return functions, others


def _function(tool: MessagesTool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
        "strict": tool.strict,
    }
    found: dict[str, Any] = {
        "type": "function",
        "function": {name: value for name, value in function.items() if value is not None},
    }
    return found if tool.cache_control is None else {**found, "cache_control": tool.cache_control}


def _choice(choice: MessagesToolChoice | None, functions: Sequence[Mapping[str, Any]]) -> str | None:
    """The tool that must be called, by the names of Chat Completions or its own.

    Raises:
        InvalidRequestError: There is no such tool, or a client does not run it.
    """
    if choice is None or (not functions and choice.type in {"auto", "none"}):
        return None
    if not functions:
        raise InvalidRequestError("tool_choice: There is no tool here that could be called.", "tool_choice")
    if choice.type != "tool":
        return _CHOICES[choice.type]
    if all(function["function"]["name"] != choice.name for function in functions):
        raise InvalidRequestError(
            "tool_choice: This tool is not among the tools that can be called.", "tool_choice"
        )
    return choice.name


# Options -------------------------------------------------------------------------------------------------------------


def _options(body: MessagesBody) -> Options:
    given = {
        "max_output_tokens": body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "effort": _effort(body),
    }
    try:
        return Options(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise _invalid(error) from None


def _effort(body: MessagesBody) -> str | None:
    """The reasoning effort; None leaves it to the feature's row."""
    if body.output_config is not None and body.output_config.effort is not None:
        return body.output_config.effort
    thinking = body.thinking
    if thinking is None or thinking.type in {"adaptive", "between_tools"}:
        return None
    if thinking.type == "disabled":
        return "none"
    budget = thinking.budget_tokens or 0
    return next((effort for most, effort in _BUDGETS if budget < most), "high")


def _format(body: CountTokensBody) -> dict[str, Any] | None:
    """The format of the answer. Older clients send it outside ``output_config``."""
    form = (body.output_config and body.output_config.format) or body.output_format
    if form is None:
        return None
    schema = {"name": "answer", "schema": form.json_schema, "strict": True}
    return {"type": "json_schema", "json_schema": schema}
