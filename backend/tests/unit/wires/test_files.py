"""Files that a request names instead of bringing them."""

from __future__ import annotations

from typing import Any

import pytest

from backend.utils.llm.caller import Caller, use_caller
from backend.wires.faults import InvalidRequestError
from backend.wires.files import check_provider_file_access, has_provider_file_reference

NAMED: dict[str, Any] = {
    "Chat Completions": {"type": "file", "file": {"file_id": "file-a"}},
    "Responses' file": {"type": "input_file", "file_id": "file-a"},
    "Responses' picture": {"type": "input_image", "file_id": "file-a"},
    "Anthropic's": {"type": "document", "source": {"type": "file", "file_id": "file_a"}},
    "within a result": {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "image", "source": {"type": "file", "file_id": "file_a"}}],
    },
    "within a document": {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "image", "source": {"file_id": "file_a"}}]},
    },
    "Gemini's": {"fileData": {"fileUri": "files/a"}},
    "LangChain's of Google's": {"type": "media", "file_uri": "files/a", "mime_type": "application/pdf"},
    "wrapped": {"type": "non_standard", "value": {"type": "file", "file_id": "file-a"}},
    "a bucket": {"type": "image_url", "image_url": {"url": "gs://house/secret.png"}},
    "a bucket as an id": {"type": "file", "file": {"file_id": "gs://house/secret.pdf"}},
    "a file's address": {
        "type": "image_url",
        "image_url": {"url": "https://generativelanguage.googleapis.com/v1beta/files/a"},
    },
    "a file's address, written otherwise": {
        "type": "image_url",
        "image_url": {"url": "HTTPS://x@GenerativeLanguage.GoogleAPIs.com.:443/v1beta/files/a"},
    },
    "what a vendor's tool did": {
        "type": "non_standard",
        "value": {"type": "code_execution_tool_result", "content": {"content": [{"file_id": "file_a"}]}},
    },
    "where a vendor's tool ran": {
        "type": "non_standard",
        "value": {"type": "code_interpreter_call", "container_id": "cntr_a"},
    },
}
BROUGHT: dict[str, Any] = {
    "a text": {"type": "text", "text": "gs://house/secret.png file_id"},
    "a picture": {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}},
    "a public picture": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "a public bucket": {"type": "image_url", "image_url": {"url": "https://storage.googleapis.com/a/b.png"}},
    "a film": {"type": "media", "file_uri": "", "url": "https://www.youtube.com/watch?v=x"},
    "arguments of a call": {"type": "tool_use", "id": "t", "name": "read", "input": {"file_id": "file-a"}},
    "a broken address": {"type": "image_url", "image_url": {"url": "https://[googleapis.com"}},
}


@pytest.mark.parametrize("part", NAMED.values(), ids=NAMED)
def test_a_file_is_named_in_every_notation(part: Any) -> None:
    assert has_provider_file_reference([part])


@pytest.mark.parametrize("part", BROUGHT.values(), ids=BROUGHT)
def test_what_is_brought_or_public_is_no_named_file(part: Any) -> None:
    assert not has_provider_file_reference([part])


@pytest.mark.parametrize(
    ("caller", "is_allowed"),
    [
        (Caller(user_id="ann"), False),
        (Caller(user_id="ann", key_policy="byok_then_house", keys={"openai": "sk-of-ann"}), False),
        (Caller(user_id="ann", keys={"openai": "sk-of-ann"}), True),
        (Caller(user_id="ann", key_policy="byok_only"), True),
    ],
    ids=["the house pays", "the house may pay", "their key pays", "nobody else pays"],
)
def test_only_who_alone_pays_may_name_a_file(caller: Caller, *, is_allowed: bool) -> None:
    with use_caller(caller):
        if is_allowed:
            check_provider_file_access([NAMED["Chat Completions"]], "here")
            return
        with pytest.raises(InvalidRequestError) as caught:
            check_provider_file_access([NAMED["Chat Completions"]], "here")
    assert caught.value.fault.param == "here"
    assert "file-a" not in caught.value.fault.message
