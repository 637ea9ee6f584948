"""What an endpoint says that it does not support is remembered, so that the next call is not told again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from backend.utils.llm.failures.evidence import FailureEvidence
from backend.utils.llm.failures.features import find_unsupported_capability
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.state.unsupported import MOST_ENDPOINTS, SECONDS, UnsupportedCapabilities
from backend.utils.llm.testing import Json, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from .samples import receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

FIRST, SECOND = "openai:gpt-6-luna", "gemini:gemini-3.8-flash"
LACKS: dict[str, list[tuple[str, str | None]]] = {
    "tools": [
        ("registry.ollama.ai/library/gemma3 does not support tools", None),
        ("No endpoints found that support tool use.", None),
        ("Function calling is not enabled for this model.", None),
        ("Unsupported parameter.", "tools"),
    ],
    "structured_output": [
        ("This response_format type is unavailable now", None),
        ("json_schema is not supported by this model.", None),
        ("Unknown parameter.", "response_format"),
    ],
    "images": [
        ("No endpoints found that support image input.", None),
        ("This model does not support images.", None),
    ],
    "audio": [("Audio input is not enabled for models/some-model.", None)],
    "temperature": [
        ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature")
    ],
    "effort": [("This model does not support reasoning_effort.", None)],
    "streams": [("Your organization must be verified: streaming is not supported.", None)],
}
"""What providers say, with the parameter that they name; as in ``error_bodies``."""
NOTHING: list[tuple[str, str | None]] = [
    ("Invalid request.", None),
    ("Image URL is not supported: it could not be downloaded.", "url"),
    ("Unsupported image type: image/heic.", None),
    ("The image is too large and not supported.", None),
    ("Invalid schema for function 'look': 'x' is not supported.", "tools[0].function.parameters"),
    ("tools are not supported together with response_format.", None),
    ("Failed to call a function. Please adjust your prompt.", None),
    ("tool_choice is not supported by this model.", "tool_choice"),
]


def evidence(sentence: str, param: str | None = None) -> FailureEvidence:
    return FailureEvidence("openai", 400, sentence=sentence, params=frozenset({str(param)}))


@pytest.mark.parametrize(("feature", "said"), [(name, one) for name, many in LACKS.items() for one in many])
def test_what_an_error_names_is_what_the_endpoint_lacks(feature: str, said: tuple[str, str | None]) -> None:
    assert find_unsupported_capability(evidence(*said)) == feature


@pytest.mark.parametrize("said", NOTHING)
def test_an_error_that_names_nothing_or_two_things_or_one_request_teaches_nothing(
    said: tuple[str, str | None],
) -> None:
    assert find_unsupported_capability(evidence(*said)) is None


class Weather(BaseModel):
    """What the weather is like."""

    city: str


def look_up(city: str) -> str:
    """The forecast for a city."""
    return city


PICTURE = HumanMessage([{"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}])
CALLS: dict[str, tuple[str, Callable[[Any], Any], Any, Needs]] = {
    "tools": ("does not support tools", lambda model: model.bind_tools([look_up]), "hi", Needs(tools=True)),
    "schema": (
        "This response_format type is unavailable now",
        lambda model: model.with_structured_output(Weather, include_raw=True) | (lambda found: found["raw"]),
        "hi",
        Needs(structured_output=True),
    ),
    "images": ("This model does not support images.", lambda model: model, [PICTURE], Needs(images=True)),
}


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def patchbay(provider: LoopbackProvider, time: VirtualTime) -> Iterator[Patchbay]:
    features = {"f": [FIRST, SECOND], "alone": FIRST}
    more = '[features.f.options]\neffort = "none"\n[features.alone.options]\neffort = "none"\n'
    made = loopback_patchbay(provider, features, more, time=time.time)
    yield made
    made.close()


@pytest.mark.parametrize("kind", CALLS)
def test_the_next_call_that_needs_it_goes_to_the_next_at_once(
    patchbay: Patchbay, provider: LoopbackProvider, call: Callable[..., Any], kind: str
) -> None:
    said, bound, asked, needs = CALLS[kind]
    provider.always(Status(400, message=said), model="gpt-6-luna")
    provider.always(Json({"city": "Rom"}), model="gemini-3.8-flash")
    model = bound(patchbay.get_llm("f"))

    answers = [call(model, asked) for _ in range(2)]

    assert [len(receipt(answer)["attempts"]) for answer in answers] == [2, 1]
    (skipped,) = patchbay.explain("f", needs=needs).skipped
    assert (str(skipped.endpoint), skipped.code) == (FIRST, "unsupported")
    assert "60 min" in skipped.reason
    assert patchbay.explain("f").skipped == ()


def test_a_call_that_does_without_is_not_sent_elsewhere(
    patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    provider.script(Status(400, message="does not support tools"), model="gpt-6-luna")
    provider.always(Text("fine"))
    patchbay.get_llm("f").bind_tools([look_up]).invoke("hi")

    assert receipt(patchbay.get_llm("f").invoke("hi"))["endpoint"] == FIRST


def test_it_is_asked_again_after_an_hour(
    patchbay: Patchbay, provider: LoopbackProvider, time: VirtualTime
) -> None:
    provider.script(Status(400, message="does not support tools"), model="gpt-6-luna")
    provider.always(Text("fine"))
    model = patchbay.get_llm("f").bind_tools([look_up])
    model.invoke("hi")

    time.sleep(SECONDS + 1)

    assert receipt(model.invoke("hi"))["endpoint"] == FIRST


def test_who_is_alone_is_asked_all_the_same(patchbay: Patchbay, provider: LoopbackProvider) -> None:
    provider.script(Status(400, message="does not support tools"), model="gpt-6-luna")
    provider.always(Text("fine"))
    model = patchbay.get_llm("alone").bind_tools([look_up])
    with pytest.raises(Exception, match="cannot do what the request asks for"):
        model.invoke("hi")

    assert model.invoke("hi").text == "fine"


def test_memory_has_bounds_and_an_end() -> None:
    now = [0.0]
    known = UnsupportedCapabilities(lambda: now[0])
    for number in range(MOST_ENDPOINTS + 1):
        known.record_rejection(number, "tools")

    assert len(known.until) == MOST_ENDPOINTS
    assert known.list_unsupported(0) == {}
    assert known.list_unsupported(1) == {"tools": SECONDS}
    now[0] = SECONDS
    assert known.list_unsupported(1) == {}
    assert 1 not in known.until
