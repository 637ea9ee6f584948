"""Histories as people, frameworks and vendors' models write them: each with what a page says of it, and where it was reported.

A word in capitals was said, so it has to be in what is sent. What is in small letters only a model thought.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call_chunk

PNG: Final = "iVBORw0KGgo="
PDF: Final = "JVBERi0xLjQ="
WAV: Final = "UklGRiQAAABXQVZF"
MP4: Final = "AAAAIGZ0eXBpc29t"
DATA: Final = f"data:image/png;base64,{PNG}"
HI: Final = HumanMessage("HELLO")
LONG: Final = "functions.search:0-" + "x" * 60


class Odd(NamedTuple):
    """One history.

    Attributes:
        group: What it is about.
        source: A public report of it, or where its notation is documented, if there is one.
    """

    group: str
    messages: list[BaseMessage]
    source: str = ""


def call(number: str | None = "call_1", name: str = "look", **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": number, "type": "tool_call"}


def result(content: Any, number: str = "call_1", **more: Any) -> ToolMessage:
    return ToolMessage(content, tool_call_id=number, **more)


def used(*calls: dict[str, Any], content: Any = "", **more: Any) -> AIMessage:
    return AIMessage(content, tool_calls=list(calls), **more)


def seen(block: Any) -> list[BaseMessage]:
    return [HumanMessage([{"type": "text", "text": "WHAT is this?"}, block])]


def looked(*messages: BaseMessage) -> list[BaseMessage]:
    return [HI, used(call()), *messages]


def by(provider: str, **more: Any) -> dict[str, Any]:
    return {"response_metadata": {"model_provider": provider, **more}}


LC: Final = "https://python.langchain.com/docs/how_to/multimodal_inputs/"
ODD: Final[dict[str, Odd]] = {
    # Roles ---------------------------------------------------------------------------------------------------------
    "a role that is a text: user": Odd("roles", [ChatMessage(content="HELLO", role="user")], "neuro-san#949"),
    "a role that is a text: developer": Odd("roles", [ChatMessage(content="BRIEF", role="developer"), HI]),
    "a role of their own": Odd("roles", [ChatMessage(content="HELLO", role="critic")]),
    "a role that is a text: assistant": Odd("roles", [HI, ChatMessage(content="SURE", role="assistant"), HI]),
    "a function's message without a call": Odd("roles", [HI, FunctionMessage(content="SUNNY", name="look")]),
    "a call and its message as of 2023": Odd(
        "roles",
        [
            HI,
            AIMessage(
                "", additional_kwargs={"function_call": {"name": "look", "arguments": '{"a": "ROME"}'}}
            ),
            FunctionMessage(content="SUNNY", name="look"),
        ],
        "langflow#8212",
    ),
    # Order ---------------------------------------------------------------------------------------------------------
    "only a system message": Odd("order", [SystemMessage("SUMMARISE this")], "langchain-google#1351"),
    "two system messages": Odd(
        "order", [SystemMessage("BRIEF"), SystemMessage("POLITE"), HI], "langgraph#2441"
    ),
    "a system message in the middle": Odd(
        "order", [HI, SystemMessage("BRIEF"), HumanMessage("AGAIN")], "onyx-dot-app/onyx#6458"
    ),
    "a system message last": Odd(
        "order", [HI, AIMessage("SURE"), SystemMessage("FRENCH now")], "langchainjs#7741"
    ),
    "a model that speaks first": Odd("order", [AIMessage("WELCOME"), HI]),
    "a model that speaks last": Odd("order", [HI, AIMessage("SURE")], "crewAI#6973"),
    "two users in a row": Odd("order", [HI, HumanMessage("AGAIN")]),
    "two models in a row": Odd(
        "order",
        [HI, AIMessage("SURE"), AIMessage("THING"), HumanMessage("AGAIN")],
        "langgraph#272",
    ),
    "a model that speaks before it calls": Odd(
        "order", [HI, AIMessage("SURE"), used(call(a="ROME")), result("SUNNY")]
    ),
    "two users with names in a row": Odd(
        "order", [HumanMessage("HELLO", name="Ann"), HumanMessage("AGAIN", name="Bob")]
    ),
    "a user behind a result": Odd(
        "order", looked(result("SUNNY"), HumanMessage("AGAIN")), "avante-corp/avante.nvim#2695"
    ),
    "a model's named turn behind a result": Odd(
        "order",
        looked(result("SUNNY"), AIMessage("HANDED", name="weather expert")),
        "langgraph#248",
    ),
    # Empty turns ---------------------------------------------------------------------------------------------------
    "an empty user turn": Odd(
        "empty turns", [HumanMessage(""), HumanMessage("AGAIN")], "langchain-google#691"
    ),
    "an empty model turn": Odd("empty turns", [HI, AIMessage(""), HumanMessage("AGAIN")], "openai-gemini#38"),
    "a model turn of blanks": Odd("empty turns", [HI, AIMessage(" \n "), HumanMessage("AGAIN")]),
    "nothing but an empty turn": Odd("empty turns", [HumanMessage("")], "generative-ai-js#361"),
    "content that is an empty list": Odd(
        "empty turns", [HI, AIMessage([]), HumanMessage("AGAIN")], "autogen#5762"
    ),
    "an empty text among blocks": Odd(
        "empty turns",
        [HumanMessage([{"type": "text", "text": ""}, {"type": "text", "text": "HELLO"}])],
        "CLIProxyAPI#1292",
    ),
    "a result that is empty": Odd("empty turns", looked(result(""))),
    # Names ---------------------------------------------------------------------------------------------------------
    "a name with a blank": Odd("names", [HumanMessage("HELLO", name="Ann Lee")], "langchain#35054"),
    "a name in other letters": Odd("names", [HumanMessage("HELLO", name="Ангелина <admin>")], "Flowise#2948"),
    "a long name": Odd("names", [HumanMessage("HELLO", name="n" * 90)], "langgraph#248"),
    "a tool's name with dots": Odd(
        "names",
        [HI, used(call(name="github.search:issues", q="BUGS")), result("FOUND", name="github.search:issues")],
    ),
    "a tool's long name": Odd("names", [HI, used(call(name="look_" * 20)), result("FOUND")]),
    # Ids -----------------------------------------------------------------------------------------------------------
    "a long id": Odd("ids of calls", [HI, used(call(LONG)), result("SUNNY", LONG)], "langmanus#119"),
    "an id with signs": Odd(
        "ids of calls", [HI, used(call("functions.look:0")), result("SUNNY", "functions.look:0")]
    ),
    "ids that begin again in every turn": Odd(
        "ids of calls",
        [
            HI,
            used(call("0", a="ROME")),
            result("SUNNY", "0"),
            used(call("0", a="OSLO")),
            result("RAINY", "0"),
        ],
    ),
    "two calls with one id": Odd(
        "ids of calls",
        [HI, used(call("c", a="ROME"), call("c", a="OSLO")), result("SUNNY", "c"), result("RAINY", "c")],
        "gcli2api#406",
    ),
    "a call without an id": Odd(
        "ids of calls", [HI, used(call(None)), result("SUNNY", "call_7")], "langchain-qwq#12"
    ),
    # Calls and results ---------------------------------------------------------------------------------------------
    "a call without a result": Odd(
        "calls and results", [HI, used(call()), HumanMessage("AGAIN")], "deer-flow#2890"
    ),
    "a call without a result at the end": Odd("calls and results", [HI, used(call())], "langgraph#2276"),
    "one of two calls without a result": Odd(
        "calls and results",
        [HI, used(call(), call("call_2")), result("SUNNY"), HumanMessage("AGAIN")],
        "langchain#25716",
    ),
    "a result without its call": Odd(
        "calls and results", [HI, result("SUNNY", name="look")], "langchain#39871"
    ),
    "a history cut before its first result": Odd(
        "calls and results", [result("SUNNY"), AIMessage("SURE"), HumanMessage("AGAIN")]
    ),
    "results in another order": Odd(
        "calls and results",
        [HI, used(call(), call("call_2")), result("RAINY", "call_2"), result("SUNNY")],
        "vscode#299295",
    ),
    "a user between a call and its result": Odd(
        "calls and results",
        [HI, used(call()), HumanMessage("HURRY"), result("SUNNY")],
        "deepagentsjs#335",
    ),
    "two results of one call": Odd("calls and results", looked(result("SUNNY"), result("RAINY"))),
    "a call that was no JSON, answered": Odd(
        "calls and results",
        [
            HI,
            AIMessage(
                "TRYING",
                invalid_tool_calls=[
                    {"name": "look", "args": '{"a": "ROME', "id": "call_1", "error": "no JSON"}
                ],
            ),
            result("WRONG", status="error"),
        ],
        "deer-flow#2890",
    ),
    "arguments that are no number": Odd(
        "calls and results", [HI, used(call(a=float("nan"))), result("SUNNY")]
    ),
    "a result that failed": Odd("calls and results", looked(result("TIMEOUT", status="error"))),
    "a result that is JSON": Odd("calls and results", looked(result('{"weather": "SUNNY"}'))),
    "a result that is a list of texts": Odd(
        "calls and results", looked(result([{"type": "text", "text": "SUNNY"}, "RAINY"]))
    ),
    "chunks of a stream, joined": Odd(
        "calls and results",
        [
            HI,
            AIMessageChunk(
                content="LOOKING",
                tool_call_chunks=[tool_call_chunk(name="look", args='{"a": "ROME"}', id="call_1", index=0)],
            ),
            result("SUNNY"),
        ],
        "langchain#34432",
    ),
    # Pictures ------------------------------------------------------------------------------------------------------
    "a picture as OpenAI writes it": Odd(
        "pictures", seen({"type": "image_url", "image_url": {"url": DATA, "detail": "high"}}), LC
    ),
    "a picture's address as a text": Odd("pictures", seen({"type": "image_url", "image_url": DATA})),
    "a picture on the web": Odd(
        "pictures",
        seen({"type": "image", "url": "https://example.com/a.png"}),
        "langchain-google#1692",
    ),
    "a picture as LangChain 0 writes it": Odd(
        "pictures",
        seen({"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"}),
        LC,
    ),
    "a picture as LangChain 1 writes it": Odd(
        "pictures", seen({"type": "image", "base64": PNG, "mime_type": "image/png"}), LC
    ),
    "a picture as Anthropic writes it": Odd(
        "pictures",
        seen({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        "neuro-san#949",
    ),
    "a picture as Responses writes it": Odd("pictures", seen({"type": "input_image", "image_url": DATA})),
    "a picture as Google writes it": Odd(
        "pictures",
        seen({"type": "media", "mime_type": "image/png", "data": PNG}),
        "llxprt-code#1640",
    ),
    "a picture as Bedrock writes it": Odd(
        "pictures", seen({"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n"}}})
    ),
    "a picture that does not say what it is": Odd("pictures", seen({"type": "image", "base64": PNG})),
    "a picture that is a text": Odd(
        "pictures", seen({"type": "image", "base64": "PHN2Zz4=", "mime_type": "image/svg+xml"})
    ),
    "a picture of the camera roll": Odd(
        "pictures",
        seen({"type": "image", "base64": "AAAAGGZ0eXBoZWlj", "mime_type": "image/heic"}),
        "LibreChat#6428",
    ),
    "a picture from a tool": Odd(
        "pictures",
        looked(result([{"type": "image_url", "image_url": {"url": DATA}}], name="look")),
        "langchain#31950",
    ),
    "a picture from an MCP server": Odd(
        "pictures",
        looked(
            result(
                [{"type": "text", "text": "SHOT"}, {"type": "image", "data": PNG, "mimeType": "image/png"}]
            )
        ),
    ),
    "a picture that a model made": Odd(
        "pictures",
        [
            HI,
            AIMessage(
                [{"type": "text", "text": "HERE"}, {"type": "image_url", "image_url": {"url": DATA}}],
                **by("google_genai"),
            ),
            HumanMessage("BLUER"),
        ],
    ),
    "a picture that the system shows": Odd(
        "pictures",
        [
            SystemMessage(
                [
                    {"type": "text", "text": "STYLE"},
                    {"type": "image", "base64": PNG, "mime_type": "image/png"},
                ]
            ),
            HI,
        ],
        "langchainjs#8663",
    ),
    # Files, sounds, videos -----------------------------------------------------------------------------------------
    "a PDF as LangChain writes it": Odd(
        "files, sounds, videos",
        seen({"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"}),
        LC,
    ),
    "a PDF as OpenAI writes it": Odd(
        "files, sounds, videos",
        seen(
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
        ),
        "https://platform.openai.com/docs/guides/pdf-files",
    ),
    "a PDF as Responses writes it, without saying what it is": Odd(
        "files, sounds, videos", seen({"type": "input_file", "filename": "a.pdf", "file_data": PDF})
    ),
    "a PDF as Anthropic writes it": Odd(
        "files, sounds, videos",
        seen(
            {
                "type": "document",
                "title": "A",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            }
        ),
        "https://docs.claude.com/en/docs/build-with-claude/pdf-support",
    ),
    "a PDF on the web": Odd(
        "files, sounds, videos",
        seen({"type": "file", "url": "https://example.com/a.pdf", "mime_type": "application/pdf"}),
        LC,
    ),
    "a file that OpenAI keeps": Odd(
        "files, sounds, videos", seen({"type": "file", "file": {"file_id": "file-abc"}})
    ),
    "a file that Google keeps": Odd(
        "files, sounds, videos",
        seen(
            {
                "type": "media",
                "mime_type": "application/pdf",
                "file_uri": "https://generativelanguage.googleapis.com/v1beta/files/a",
            }
        ),
        "langchain-google#1459",
    ),
    "a file of plain text": Odd(
        "files, sounds, videos",
        seen({"type": "file", "base64": "U1VOTlk=", "mime_type": "text/csv", "filename": "SHEET.csv"}),
        LC,
    ),
    "plain text with a title": Odd(
        "files, sounds, videos", seen({"type": "text-plain", "text": "SUNNY", "title": "REPORT"}), LC
    ),
    "a sound as OpenAI writes it": Odd(
        "files, sounds, videos",
        seen({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
        "llxprt-code#1640",
    ),
    "a sound as LangChain writes it": Odd(
        "files, sounds, videos",
        seen({"type": "audio", "base64": WAV, "mime_type": "audio/x-wav"}),
        "llxprt-code#1640",
    ),
    "a video": Odd(
        "files, sounds, videos", seen({"type": "video", "base64": MP4, "mime_type": "video/mp4"}), LC
    ),
    "a video on YouTube": Odd(
        "files, sounds, videos",
        seen({"type": "media", "mime_type": "video/mp4", "file_uri": "https://www.youtube.com/watch?v=x"}),
        "langchain-google#1438",
    ),
    "texts in a list": Odd("files, sounds, videos", [HumanMessage(["LOOK", "HERE"])], "neuro-san#949"),
    "a block that nobody knows": Odd("files, sounds, videos", seen({"type": "hologram", "data": "x"})),
    # Vendors' turns ------------------------------------------------------------------------------------------------
    "Anthropic: thoughts and a call": Odd(
        "turns of other vendors' models",
        [
            HI,
            used(
                call("toolu_1", a="ROME"),
                content=[
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "text", "text": "LOOKING"},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": "ROME"}},
                ],
                **by("anthropic"),
            ),
            result("SUNNY", "toolu_1"),
        ],
        "LibreChat#6428",
    ),
    "Anthropic: hidden thoughts": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage(
                [{"type": "redacted_thinking", "data": "c2ln"}, {"type": "text", "text": "SURE"}],
                **by("anthropic"),
            ),
            HumanMessage("AGAIN"),
        ],
        "conversations#402",
    ),
    "Anthropic: thoughts alone": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage([{"type": "thinking", "thinking": "hm", "signature": "c2ln"}], **by("anthropic")),
            HumanMessage("AGAIN"),
        ],
        "opencode#11571",
    ),
    "Anthropic: a result in a user's turn": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage([{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]),
            HumanMessage(
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "text", "text": "SUNNY"}],
                    }
                ]
            ),
        ],
        "oh-my-pi#7241",
    ),
    "Anthropic: a search of its own": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage(
                [
                    {
                        "type": "server_tool_use",
                        "id": "srvtoolu_1",
                        "name": "web_search",
                        "input": {"query": "WEATHER"},
                    },
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                    {"type": "text", "text": "SUNNY"},
                ],
                **by("anthropic"),
            ),
            HumanMessage("AGAIN"),
        ],
    ),
    "Responses: thoughts, a search and an answer": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage(
                [
                    {
                        "type": "reasoning",
                        "id": "rs_1",
                        "summary": [{"type": "summary_text", "text": "hm"}],
                        "encrypted_content": "c2Vj",
                    },
                    {
                        "type": "web_search_call",
                        "id": "ws_1",
                        "status": "completed",
                        "action": {"type": "search", "query": "WEATHER"},
                    },
                    {"type": "text", "text": "SUNNY", "id": "msg_1", "annotations": [], "index": 1},
                ],
                **by("openai"),
            ),
            HumanMessage("AGAIN"),
        ],
    ),
    "Responses: a refusal": Odd(
        "turns of other vendors' models",
        [HI, AIMessage([{"type": "refusal", "refusal": "SORRY"}]), HumanMessage("AGAIN")],
    ),
    "Gemini: thoughts and a signed call": Odd(
        "turns of other vendors' models",
        [
            HI,
            used(
                call(a="ROME"),
                content=[{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln"}}],
                additional_kwargs={"__gemini_function_call_thought_signatures__": {"call_1": "c2ln"}},
                **by("google_genai"),
            ),
            result("SUNNY"),
        ],
        "langchain-google#1364",
    ),
    "Gemini: code that it ran": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage(
                [
                    {"type": "executable_code", "executable_code": "print('SUNNY')", "language": "PYTHON"},
                    {"type": "code_execution_result", "code_execution_result": "SUNNY", "outcome": 1},
                    {"type": "text", "text": "DONE"},
                ],
                **by("google_genai"),
            ),
            HumanMessage("AGAIN"),
        ],
    ),
    "DeepSeek: thoughts beside a call": Odd(
        "turns of other vendors' models",
        [HI, used(call(), additional_kwargs={"reasoning_content": "hm"}), result("SUNNY")],
        "continuedev/continue#10193",
    ),
    "Mistral: thoughts in parts": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage(
                [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "SURE"},
                ]
            ),
            HumanMessage("AGAIN"),
        ],
        "https://docs.mistral.ai/capabilities/reasoning/",
    ),
    "Bedrock: thoughts": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage(
                [
                    {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "c2ln"}},
                    {"type": "text", "text": "SURE"},
                ]
            ),
            HumanMessage("AGAIN"),
        ],
    ),
    "OpenAI: an answer that was spoken": Odd(
        "turns of other vendors' models",
        [
            HI,
            AIMessage("", additional_kwargs={"audio": {"id": "audio_1", "transcript": "SURE", "data": WAV}}),
            HumanMessage("AGAIN"),
        ],
        "https://platform.openai.com/docs/guides/audio",
    ),
    "another model's call in the middle of a loop": Odd(
        "turns of other vendors' models",
        [HI, used(call(a="ROME"), **by("openai")), result("SUNNY")],
        "dify#2088",
    ),
    "half of a surrogate pair": Odd(
        "turns of other vendors' models", [HI, AIMessage("SURE \ud83d"), HumanMessage("AGAIN")]
    ),
    "a mark for a cache": Odd(
        "turns of other vendors' models",
        [HumanMessage([{"type": "text", "text": "HELLO", "cache_control": {"type": "ephemeral"}}])],
    ),
    "an MCP server's resource": Odd(
        "turns of other vendors' models",
        looked(result([{"type": "resource", "resource": {"uri": "file:///a", "text": "SUNNY"}}])),
    ),
}
