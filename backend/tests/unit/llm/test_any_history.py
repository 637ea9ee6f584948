"""Whatever is said, in whatever notation and order: no vendor refuses it, nothing breaks, and the caller's messages are as they were."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from backend.tests.fakes.strict_histories import history_faults
from backend.utils.llm.providers.ask import InexpressibleRequestError

from .odd_histories import ODD, Odd
from .test_odd_histories import ENDPOINTS, endpoints, worded

if TYPE_CHECKING:
    from backend.utils.llm.model_config import Endpoint

__all__ = ["endpoints"]  # a fixture

TEXTS: Final = st.sampled_from(["", " ", "hi", "what?\n", "{}", '{"a": 1}', "x" * 99])
IDS: Final = st.sampled_from(["", "c1", "c2", "call_1", "functions.look:0", "x" * 80, "toolu_01", "ü"])
NAMES: Final = st.sampled_from(["look", "", "look up", "a.b:c", "n" * 99, "übersetze", "9lives"])
KNOWN: Final = [
    block
    for odd in ODD.values()
    for message in odd.messages
    if isinstance(message.content, list)
    for block in message.content
]
"""Every block of the histories that were reported."""
KEYS: Final = st.sampled_from(
    [
        "type",
        "text",
        "image_url",
        "url",
        "base64",
        "data",
        "source",
        "file",
        "file_id",
        "mime_type",
        "id",
        "input",
        "content",
    ]
)
VALUES: Final = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        TEXTS,
        st.sampled_from(["image", "text", "file", "tool_use", "thinking"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=4,
)
BLOCKS: Final = st.one_of(st.sampled_from(KNOWN), TEXTS, st.dictionaries(KEYS, VALUES, max_size=4))
CONTENTS: Final = st.one_of(TEXTS, st.lists(BLOCKS, max_size=3))
ARGUMENTS: Final = st.dictionaries(TEXTS, st.one_of(st.integers(), st.floats(), TEXTS), max_size=2)


@st.composite
def turns_of_models(draw: st.DrawFn) -> AIMessage:
    calls = [
        {"name": draw(NAMES), "args": draw(ARGUMENTS), "id": draw(IDS)}
        for _ in range(draw(st.integers(0, 2)))
    ]
    wrong = [
        {"name": draw(NAMES), "args": draw(TEXTS), "id": draw(IDS), "error": None}
        for _ in range(draw(st.integers(0, 1)))
    ]
    provider = draw(st.sampled_from(["openai", "google_genai", "anthropic", "mistral", None]))
    thoughts = draw(
        st.sampled_from(
            [
                {},
                {"reasoning_content": "hm"},
                {"refusal": "no"},
                {"function_call": {"name": "look", "arguments": "{}"}},
            ]
        )
    )
    return AIMessage(
        deepcopy(draw(CONTENTS)),
        tool_calls=calls,
        invalid_tool_calls=wrong,
        additional_kwargs=thoughts,
        response_metadata={"model_provider": provider} if provider else {},
    )


MESSAGES: Final = st.one_of(
    st.builds(
        lambda content, name: HumanMessage(deepcopy(content), name=name),
        CONTENTS,
        st.one_of(st.none(), NAMES),
    ),
    st.builds(lambda content: SystemMessage(deepcopy(content)), CONTENTS),
    turns_of_models(),
    st.builds(
        lambda content, number, name: ToolMessage(deepcopy(content), tool_call_id=number, name=name),
        CONTENTS,
        IDS,
        NAMES,
    ),
    st.builds(lambda content, name: FunctionMessage(content=deepcopy(content), name=name), CONTENTS, NAMES),
    st.builds(lambda content, role: ChatMessage(content=deepcopy(content), role=role), CONTENTS, NAMES),
)


@pytest.mark.parametrize("api", ENDPOINTS)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=6))
def test_whatever_is_said_no_vendor_refuses_it(
    endpoints: dict[str, Endpoint], api: str, messages: list[BaseMessage]
) -> None:
    before = deepcopy(messages)
    try:
        path, body = worded(endpoints[api], Odd("any", messages))
    except InexpressibleRequestError:
        return
    finally:
        assert repr(messages) == repr(before)

    assert history_faults(path, json.loads(json.dumps(body)), endpoints[api].model_id) == []
