"""Whatever a message names by an address, it is not opened from our machine."""

from __future__ import annotations

import base64
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_google_genai import chat_models
from langchain_google_genai._image_utils import ImageBytesLoader

from backend.tests.fakes.audit import opened
from backend.utils.llm.errors import LLMError, RejectedRequestError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.model_config import Table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing import Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .samples import receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from langchain_core.messages import BaseMessage

    from backend.utils.llm.testing import LoopbackProvider

    from .drivers import Driver

    Saying = Callable[[list[Any]], list[BaseMessage]]

MARK: Final = "named-in-a-message"
PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
HELD: Final = f"data:image/png;base64,{PIXEL}"
CHAT, RESPONSES, GEMINI = "openai:gpt-6-luna", "openai:gpt-6.1-sol", "gemini:gemini-3.5-flash-lite"
FEATURES = {
    "chat": CHAT,
    "responses": RESPONSES,
    "gemini": GEMINI,
    "anthropic": "anthropic:claude-sonnet-5-5",
    "gemini_then_chat": [GEMINI, CHAT],
}
APIS = ["chat", "responses", "gemini", "anthropic"]
MORE = f'[models."{RESPONSES}"]\napi_mode = "responses"\n'


@pytest.fixture
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    text = loopback_table(provider, FEATURES, MORE)
    made = Patchbay(Table(text=text, environ=HOUSE_KEYS))
    yield made
    made.close()


def addresses(secret: Path) -> list[str]:
    """An address in every guise that a reader may take for one."""
    host = f"{MARK}.invalid"
    return [
        f"https://{host}/a.png",
        f"http://{host}:8080/latest/meta-data",
        f" http://{host}/a",
        f"\thttp://{host}/a",
        f"\nHTTPS://{host}/a",
        f"HTTP://{host}/a",
        f"//{host}/a",
        f"ftp://{host}/a",
        f"gs://{MARK}/a.png",
        f"s3://{MARK}/a.png",
        secret.as_uri(),
        str(secret),
    ]


def blocks(address: str) -> dict[str, dict[str, Any]]:
    """The address in everything that LangChain, OpenAI, Google and Anthropic have a place for one in."""
    mime = {"mime_type": "application/pdf"}
    data = {kind: {"type": kind, "url": address, **mime} for kind in ("file", "audio", "video", "text-plain")}
    old = {f"old {kind}": {**block, "source_type": "url"} for kind, block in data.items()}
    return {
        **data,
        **old,
        "image": {"type": "image", "url": address},
        "old image": {"type": "image", "source_type": "url", "url": address},
        "image_url": {"type": "image_url", "image_url": {"url": address}},
        "image_url as a text": {"type": "image_url", "image_url": address},
        "two addresses": {"type": "image", "image_url": HELD, "url": address},
        "input_image": {"type": "input_image", "image_url": address},
        "input_file": {"type": "input_file", "file_url": address},
        "media": {"type": "media", "file_uri": address, **mime},
        "file by its id": {"type": "file", "file_id": address, **mime},
        "chat's file": {"type": "file", "file": {"file_id": address}},
        "data that is an address": {"type": "image", "base64": address, "mime_type": "image/png"},
        "anthropic": {"type": "image", "source": {"type": "url", "url": address}},
        "non-standard": {"type": "non_standard", "value": {"type": "media", "file_uri": address, **mime}},
        "non-standard picture": {
            "type": "non_standard",
            "value": {"type": "image_url", "image_url": address},
        },
        "no type": {"url": address},
    }


CALL = {"name": "look", "args": {}, "id": "call_1", "type": "tool_call"}
SAYINGS: dict[str, Saying] = {
    "human": lambda said: [HumanMessage(said)],
    "system": lambda said: [SystemMessage(said), HumanMessage("hi")],
    "ai": lambda said: [HumanMessage("hi"), AIMessage(said), HumanMessage("go on")],
    "foreign ai": lambda said: [
        HumanMessage("hi"),
        AIMessage(said, response_metadata={"model_provider": "openai"}),
        HumanMessage("go on"),
    ],
    "v1 ai": lambda said: [
        HumanMessage("hi"),
        AIMessage(said, response_metadata={"model_provider": "google_genai", "output_version": "v1"}),
        HumanMessage("go on"),
    ],
    "tool": lambda said: [
        HumanMessage("hi"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage(said, tool_call_id="call_1", name="look"),
    ],
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of ours that exists."""
    path = tmp_path / f"{MARK}.png"
    path.write_bytes(b"\x89PNG a secret")
    return path


@pytest.mark.parametrize("saying", SAYINGS)
@pytest.mark.parametrize("api", APIS)
def test_no_address_is_opened_in_any_block_of_any_message(
    patchbay: Patchbay, provider: LoopbackProvider, secret: Path, api: str, saying: str
) -> None:
    provider.always(Text("fine"))
    model = patchbay.get_llm(api)
    every = addresses(secret) if api == "gemini" else addresses(secret)[-4:]

    with opened() as heard:
        for address in every:
            for block in blocks(address).values():
                _try(model.invoke, SAYINGS[saying]([{"type": "text", "text": "read"}, block]))

    assert [one for one in heard if MARK in one] == []


@pytest.mark.parametrize("api", APIS)
def test_no_address_is_opened_in_any_way_of_calling(
    patchbay: Patchbay, provider: LoopbackProvider, secret: Path, call: Driver, api: str
) -> None:
    provider.always(Text("fine"))
    model = patchbay.get_llm(api)

    with opened() as heard:
        for address in (f" https://{MARK}.invalid/a.png", str(secret)):
            for block in blocks(address).values():
                _try(call, model, [HumanMessage([block])])

    assert [one for one in heard if MARK in one] == []


def test_the_test_notices_an_opened_address(secret: Path) -> None:
    with opened() as heard, suppress(OSError):
        secret.read_bytes()
        socket.getaddrinfo(f"{MARK}.invalid", 443)

    assert [MARK in one for one in heard] == [True, True]


def _try(function: Callable[..., Any], *given: Any) -> None:
    """An endpoint may well be unable to be told of it."""
    with suppress(LLMError):
        function(*given)


def test_what_the_one_would_have_to_fetch_goes_to_the_next_that_takes_addresses(
    patchbay: Patchbay, call: Driver, provider: LoopbackProvider
) -> None:
    provider.always(Text("seen"))
    picture = {"type": "image_url", "image_url": {"url": f" https://{MARK}.invalid/a.png"}}

    message = call(patchbay.get_llm("gemini_then_chat"), [HumanMessage([picture])])

    assert message.text == "seen"
    assert [request.path for request in provider.requests] == ["/v1/chat/completions"]
    assert [one["category"] for one in receipt(message)["attempts"]] == [None]


def test_without_another_endpoint_the_call_is_rejected_and_nothing_is_held_against_the_endpoint(
    patchbay: Patchbay, call: Driver, provider: LoopbackProvider
) -> None:
    provider.always(Text("fine"))
    file = {"type": "file", "url": f"https://{MARK}.invalid/a.pdf", "mime_type": "application/pdf"}
    model = patchbay.get_llm("gemini")

    for _ in range(8):
        with pytest.raises(RejectedRequestError) as caught:
            call(model, [HumanMessage([file])])
        assert [attempt.category for attempt in caught.value.attempts] == [FailureCategory.UNWORDED]
        assert MARK not in f"{caught.value} {caught.value.__cause__}"

    assert provider.requests == ()
    assert call(model, "hi").text == "fine"


@pytest.mark.parametrize("api", APIS)
def test_what_is_in_the_message_itself_is_sent(
    patchbay: Patchbay, call: Driver, provider: LoopbackProvider, api: str
) -> None:
    held: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": HELD}},
        {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": PIXEL, "mime_type": "image/png"},
    ]
    for block in held:
        provider.script(Text("seen"))

        assert call(patchbay.get_llm(api), [HumanMessage([block])]).text == "seen"

        assert PIXEL in str(provider.requests[-1].body).replace("\\/", "/")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "media", "file_uri": "https://www.youtube.com/watch?v=x", "mime_type": "video/mp4"},
        {"type": "file", "file_id": "https://generativelanguage.googleapis.com/v1beta/files/abc"},
    ],
    ids=["a video", "a file that Google keeps"],
)
def test_what_google_opens_itself_is_named_to_it(
    patchbay: Patchbay, provider: LoopbackProvider, block: dict[str, Any]
) -> None:
    provider.script(Text("seen"))

    assert patchbay.get_llm("gemini").invoke([HumanMessage([block])]).text == "seen"

    assert "fileUri" in str(provider.requests[-1].body)


def test_for_everybody_else_in_the_process_the_adapter_is_as_it_was(
    patchbay: Patchbay, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script(Text("fine"))
    patchbay.get_llm("gemini").invoke("hi")
    monkeypatch.setattr(ImageBytesLoader, "_bytes_from_url", lambda _, url: f"from {url}".encode())

    parts = chat_models._convert_to_parts([{"type": "image", "url": "https://theirs.invalid/a.png"}])

    assert parts[0].inline_data is not None
    assert parts[0].inline_data.data == b"from https://theirs.invalid/a.png"
