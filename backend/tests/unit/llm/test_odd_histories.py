"""What becomes of odd histories, for each API: nothing that its vendor refuses, and nothing lost that was said."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from langchain_core.messages import HumanMessage

from backend.tests.fakes.strict_histories import StrictProvider, history_faults
from backend.utils.llm.errors import AllAttemptsFailedError
from backend.utils.llm.model_config import Table
from backend.utils.llm.needs import prepare_history_and_needs
from backend.utils.llm.options import NO_OPTIONS
from backend.utils.llm.providers import CallSettings, ModelRequest
from backend.utils.llm.providers.ask import InexpressibleRequestError
from backend.utils.llm.providers.client_cache import ChatClientKey
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.testing import LoopbackProvider, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay, loopback_table

from .odd_histories import MP4, ODD, PDF, PNG, WAV, Odd
from .samples import receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.model_config import Endpoint

PAGE: Final = Path(__file__).parents[4] / "docs" / "reference" / "histories.md"
ENDPOINTS: Final = {
    "Chat Completions": "openai:gpt-6-luna",
    "Responses": "openai:gpt-6.1-sol",
    "Gemini": "gemini:gemini-3.8-flash",
    "Anthropic": "anthropic:claude-sonnet-5-5",
    "Mistral": "openai:mistral-large",
    "Perplexity": "openai:sonar-pro",
    "DeepSeek, Kimi": "openai:deepseek-chat",
}
MORE: Final = '[models."openai:gpt-6.1-sol"]\napi_mode = "responses"\n'
NAMES: Final = {name: f"f{place}" for place, name in enumerate(ENDPOINTS)}
UNWORDED: Final = {
    "a PDF on the web": "Responses, Anthropic",
    "a block that nobody knows": "",
    "a file that Google keeps": "Gemini",
    "a file that OpenAI keeps": "Chat Completions, Responses, Mistral, Perplexity, DeepSeek, Kimi",
    "a picture of the camera roll": "Gemini",
    "a picture on the web": "Chat Completions, Responses, Anthropic, Mistral, Perplexity, DeepSeek, Kimi",
    "a sound as LangChain writes it": "Chat Completions, Gemini, Mistral, Perplexity, DeepSeek, Kimi",
    "a sound as OpenAI writes it": "Chat Completions, Gemini, Mistral, Perplexity, DeepSeek, Kimi",
    "a video": "Gemini",
    "a video on YouTube": "Gemini",
}
"""What not all have words for, and who has."""


@pytest.fixture(scope="module")
def endpoints() -> dict[str, Endpoint]:
    with LoopbackProvider() as provider:
        text = loopback_table(provider, {NAMES[name]: one for name, one in ENDPOINTS.items()}, MORE)
    chains = Table(text=text, environ=HOUSE_KEYS).snapshot.chains["premium"]
    return {name: chains[feature].tiers[0].endpoints[0] for name, feature in NAMES.items()}


def worded(endpoint: Endpoint, odd: Odd) -> tuple[str, dict[str, Any]]:
    """Path and body of a request that says ``odd``."""
    ask = CallSettings(NO_OPTIONS)
    history, _ = prepare_history_and_needs(odd.messages, ask)
    nobody: Any = None
    request = ModelRequest(endpoint, ask, {}, history, None, 10.0, nobody, is_plain=history is odd.messages)
    serialized = ChatClientKey.from_endpoint(endpoint).chat_api().serialize(request, streams=False)
    return serialized.path.partition("?")[0], json.loads(json.dumps(serialized.body, allow_nan=False))


def said_in(odd: Odd) -> set[str]:
    """Every word in capitals."""
    told = str(
        [
            (message.content, message.additional_kwargs, getattr(message, "tool_calls", ""))
            for message in odd.messages
        ]
    )
    for data in (PNG, PDF, WAV, MP4, "U1VOTlk=", "AAAAGGZ0eXBoZWlj"):
        told = told.replace(data, "")
    return set(re.findall(r"\b[A-Z]{4,}\b", told)) - {"PYTHON"}


@pytest.mark.parametrize("api", ENDPOINTS)
@pytest.mark.parametrize("shape", ODD)
def test_no_vendor_refuses_a_history_and_nothing_is_lost(
    endpoints: dict[str, Endpoint], shape: str, api: str
) -> None:
    endpoint, odd = endpoints[api], ODD[shape]
    if shape in UNWORDED and api not in UNWORDED[shape]:
        with pytest.raises(InexpressibleRequestError):
            worded(endpoint, odd)
        return

    path, body = worded(endpoint, odd)

    assert history_faults(path, body, endpoint.model_id) == []
    text = json.dumps(body, ensure_ascii=False)
    assert [word for word in said_in(odd) if word not in text] == []


@pytest.mark.parametrize("data", [PNG, PDF, WAV, MP4])
def test_what_was_shown_is_in_the_request(endpoints: dict[str, Endpoint], data: str) -> None:
    shown = {
        name: odd for name, odd in ODD.items() if data in str([message.content for message in odd.messages])
    }

    for name, odd in shown.items():
        for api, endpoint in endpoints.items():
            if name not in UNWORDED or api in UNWORDED[name]:
                assert data in json.dumps(worded(endpoint, odd)[1]), (name, api)


# The checker ---------------------------------------------------------------------------------------------------------


CALL: Final = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
WRONG: Final[dict[str, tuple[str, str, Any]]] = {
    "no messages": ("/v1/chat/completions", "gpt", []),
    "a role": ("/v1/chat/completions", "gpt", [{"role": "critic", "content": "x"}]),
    "a name": ("/v1/chat/completions", "gpt", [{"role": "user", "content": "x", "name": "a b"}]),
    "an open call": ("/v1/chat/completions", "gpt", [{"role": "assistant", "tool_calls": [CALL]}]),
    "an orphan": ("/v1/chat/completions", "gpt", [{"role": "tool", "content": "x", "tool_call_id": "c1"}]),
    "a part": ("/v1/chat/completions", "gpt", [{"role": "user", "content": [{"type": "media"}]}]),
    "an id": (
        "/v1/chat/completions",
        "mistral-large",
        [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "x", "tool_call_id": "c1"},
        ],
    ),
    "thoughts": (
        "/v1/chat/completions",
        "deepseek-chat",
        [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "x", "tool_call_id": "c1"},
        ],
    ),
    "the same role twice": ("/v1/chat/completions", "sonar", [{"role": "user", "content": "x"}] * 2),
    "an item": ("/v1/responses", "gpt", [{"type": "message", "role": "user", "content": [{"type": "text"}]}]),
    "a thought": (
        "/v1/responses",
        "gpt",
        [{"type": "reasoning", "summary": []}, {"type": "message", "role": "user", "content": "x"}],
    ),
    "an open function call": (
        "/v1/responses",
        "gpt",
        [{"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}],
    ),
    "nobody asks": ("/v1beta/models/gemini-3:generateContent", "gemini-3", []),
    "an empty part": (
        "/v1beta/models/gemini-3:generateContent",
        "gemini-3",
        [{"role": "user", "parts": [{"text": ""}]}],
    ),
    "no signature": (
        "/v1beta/models/gemini-3:generateContent",
        "gemini-3",
        [
            {"role": "user", "parts": [{"text": "x"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {}}}]},
        ],
    ),
    "a prefill": (
        "/v1/messages",
        "claude",
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
    ),
    "a blank text": ("/v1/messages", "claude", [{"role": "user", "content": " "}]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_checker_finds_what_a_vendor_refuses(wrong: str) -> None:
    path, model, said = WRONG[wrong]
    where = "contents" if "models" in path else "input" if path.endswith("responses") else "messages"

    assert len({*history_faults(path, {where: said}, model)}) == 1


def test_a_strict_provider_refuses_what_its_vendor_would() -> None:
    with StrictProvider() as provider:
        provider.always(Text("fine"))
        patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"})

        message = patchbay.get_llm("f").invoke(ODD["a call without a result"].messages)

        assert message.text == "fine"
        patchbay.close()


# What one has no words for, another one has ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["a file that Google keeps", "a picture of the camera roll"])
def test_what_an_api_has_no_words_for_goes_to_the_next_and_is_no_fault_of_the_endpoint(
    provider: LoopbackProvider, call: Callable[..., Any], shape: str
) -> None:
    provider.always(Text("seen"))
    chain = ["openai:gpt-6-luna", "gemini:gemini-3.8-flash"]
    patchbay = loopback_patchbay(provider, {"f": chain})

    message = call(patchbay.get_llm("f"), ODD[shape].messages)

    assert (message.text, receipt(message)["endpoint"]) == ("seen", chain[1])
    assert [one["category"] for one in receipt(message)["attempts"]] == ["unworded", None]
    assert len(provider.requests) == 1
    patchbay.close()


def test_what_breaks_while_a_request_is_worded_goes_to_the_next(
    provider: LoopbackProvider, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.always(Text("seen"))
    patchbay = loopback_patchbay(provider, {"f": ["openai:gpt-6-luna", "gemini:gemini-3.8-flash"]})
    chat = patchbay.runtime.clients.get_client(
        patchbay.table.snapshot.chains["premium"]["f"].tiers[0].endpoints[0]
    )

    def breaks(*_: object, **__: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(chat._api, "serialize", breaks)

    assert call(patchbay.get_llm("f"), "hi").text == "seen"
    patchbay.close()


def test_an_inexpressible_message_is_the_requests_fault(
    provider: LoopbackProvider, call: Callable[..., Any]
) -> None:
    patchbay = loopback_patchbay(provider, {"f": ["openai:gpt-6-luna", "gemini:gemini-3.8-flash"]})

    with pytest.raises(AllAttemptsFailedError) as caught:
        call(patchbay.get_llm("f"), [HumanMessage([{"type": "hologram", "data": "secret"}])])

    assert len(caught.value.attempts) == 2
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    assert provider.requests == ()
    patchbay.close()


NEEDED: Final = {
    "a sound as OpenAI writes it": ("audio", "openai:gpt-6-luna", "no_audio"),
    "a video": ("video", "openai:gpt-6-luna", "no_video"),
    "a PDF as Anthropic writes it": ("pdf", "openai:some-stranger", "no_pdf"),
    "a picture as Google writes it": ("images", "openai:some-stranger", "no_images"),
    "a picture on the web": ("remote_images", "gemini:gemini-3.8-flash", "no_remote_images"),
}


@pytest.mark.parametrize("shape", NEEDED)
def test_who_cannot_take_what_is_shown_is_left_out_beforehand_and_explain_says_why(
    provider: LoopbackProvider, call: Callable[..., Any], shape: str
) -> None:
    need, unable, code = NEEDED[shape]
    able = "openai:gpt-6-luna" if need == "remote_images" else "gemini:gemini-3.8-flash"
    provider.always(Text("seen"))
    patchbay = loopback_patchbay(provider, {"f": [unable, able]})

    message = call(patchbay.get_llm("f"), ODD[shape].messages)

    assert receipt(message)["endpoint"] == able
    assert len(receipt(message)["attempts"]) == 1
    needed: dict[str, Any] = {need: True}
    route = patchbay.explain("f", needs=Needs(**needed))
    assert [(str(rejection.endpoint), rejection.code) for rejection in route.skipped] == [(unable, code)]
    patchbay.close()


# The page ------------------------------------------------------------------------------------------------------------


def page() -> Iterator[str]:
    """The table of the page, as it has to be."""
    head = ["history", *ENDPOINTS, "reported, or documented"]
    for group, odds in groupby(ODD.items(), lambda item: item[1].group):
        yield f"### {group[0].upper()}{group[1:]}\n"
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        for name, odd in odds:
            cells = ["no" if name in UNWORDED and api not in UNWORDED[name] else "yes" for api in ENDPOINTS]
            yield f"| {' | '.join([name, *cells, odd.source])} |"
        yield ""


def test_the_page_says_what_the_tests_say() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## What is sent\n\n")[2]

    assert table.splitlines() == "\n".join(page()).rstrip().splitlines()
