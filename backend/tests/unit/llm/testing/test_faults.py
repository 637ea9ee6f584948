"""Faults of `LoopbackProvider` on each wire, as a plain HTTP client sees them."""

from __future__ import annotations

import json
import time

import httpx2
import pytest

from backend.tests.unit.llm.testing.calls import WIRES, call, events, post, text_of
from backend.utils.llm.testing import (
    CleanEnd,
    Cut,
    Html,
    LoopbackProvider,
    SlowFirstByte,
    Status,
    Text,
    Trickle,
    WrongJson,
)


def test_openai_rate_limit(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """The wait is a header."""
    provider.script(Status(429, retry_after=3, headers={"x-ratelimit-remaining-requests": "0"}))

    response = post(client, provider, "openai")

    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert response.json()["error"]["code"] == "rate_limit_exceeded"


def test_gemini_rate_limit(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """The wait is in the body."""
    provider.script(Status(429, retry_after=1.5))

    response = post(client, provider, "gemini", stream=True)

    error = response.json()["error"]
    details = {row["@type"].rpartition(".")[2]: row for row in error["details"]}
    assert (response.status_code, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "retry-after" not in response.headers
    assert details["RetryInfo"]["retryDelay"] == "1.5s"
    assert "PerMinute" in details["QuotaFailure"]["violations"][0]["quotaId"]


def test_quota(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """Used up for the day: a code on one wire, a quota's name on the other."""
    provider.always(Status(429, error_code="insufficient_quota"))

    openai, gemini, anthropic = (post(client, provider, wire).json()["error"] for wire in WIRES)

    assert (openai["code"], openai["type"]) == ("insufficient_quota", "insufficient_quota")
    assert "credit balance is too low" in anthropic["message"]
    assert "PerDay" in gemini["details"][0]["violations"][0]["quotaId"]


@pytest.mark.parametrize("wire", WIRES)
def test_a_date_to_retry_after_is_a_header(
    provider: LoopbackProvider, client: httpx2.Client, wire: str
) -> None:
    """An HTTP date is sent as it is."""
    provider.script(Status(503, retry_after="Sun, 01 Nov 2026 09:00:00 GMT"))

    assert post(client, provider, wire).headers["retry-after"] == "Sun, 01 Nov 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    "code", [400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 429, 500, 502, 503, 504, 529]
)
def test_every_status_has_each_wires_shape(
    provider: LoopbackProvider, client: httpx2.Client, code: int
) -> None:
    """An error has a message everywhere, also one whose status no RFC names."""
    provider.always(Status(code))

    openai, gemini, anthropic = (post(client, provider, wire) for wire in WIRES)

    assert openai.status_code == gemini.status_code == anthropic.status_code == code
    assert set(anthropic.json()["error"]) == {"type", "message"}
    assert set(openai.json()["error"]) == {"message", "type", "param", "code"}
    assert gemini.json()["error"]["code"] == code
    assert gemini.json()["error"]["message"]


def test_context_overflow(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """Each provider has its own sentence for a prompt that is too long."""
    provider.always(Status(400, error_code="context_length_exceeded"))

    openai, gemini, anthropic = (post(client, provider, wire).json()["error"] for wire in WIRES)

    assert "prompt is too long" in anthropic["message"]
    assert openai["code"] == "context_length_exceeded"
    assert "maximum context length" in openai["message"]
    assert "exceeds the maximum number of tokens" in gemini["message"]


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_stream(provider: LoopbackProvider, client: httpx2.Client, wire: str) -> None:
    """So many words arrive, then the connection drops."""
    provider.script(Cut(2, "one two three four"))
    url, body, headers = call(provider, wire, stream=True)
    lines: list[str] = []

    with (
        client.stream("POST", url, json=body, headers=headers) as response,
        pytest.raises(httpx2.RemoteProtocolError),
    ):
        lines.extend(line for line in response.iter_lines() if line.startswith("data: "))

    parsed = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert text_of(wire, parsed) == "one two "
    assert "finish" not in "".join(lines).replace('"finish_reason": null', "")


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_body(provider: LoopbackProvider, client: httpx2.Client, wire: str, after: int) -> None:
    """A body is shorter than announced; the next request gets a new connection."""
    provider.script(Cut(after, "one two three four"))

    with pytest.raises(httpx2.RemoteProtocolError):
        post(client, provider, wire)

    assert post(client, provider, wire).status_code == 200


@pytest.mark.parametrize("wire", WIRES)
def test_an_end_without_a_reason(provider: LoopbackProvider, client: httpx2.Client, wire: str) -> None:
    """HTTP is content, and the answer is not complete."""
    provider.script(CleanEnd(2, "one two three"))

    response = post(client, provider, wire, stream=True)

    assert text_of(wire, events(response)) == "one two "
    assert "finish" not in response.text.replace('"finish_reason": null', "")
    assert "[DONE]" not in response.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
def test_bodies_that_are_not_json(
    provider: LoopbackProvider, client: httpx2.Client, wire: str, *, stream: bool
) -> None:
    """Broken JSON keeps its content type; a web page has its own."""
    provider.script(WrongJson(), Html())

    broken, page = (post(client, provider, wire, stream=stream) for _ in range(2))

    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.text.removeprefix("data: "))
    assert broken.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert page.headers["content-type"].startswith("text/html")
    assert (broken.status_code, page.status_code) == (200, 200)


@pytest.mark.parametrize("wire", WIRES)
def test_a_slow_first_byte(provider: LoopbackProvider, client: httpx2.Client, wire: str) -> None:
    """Nothing comes for so long, then the reply does."""
    provider.script(SlowFirstByte(0.15, Text("late")))
    started = time.monotonic()

    response = post(client, provider, wire)

    assert time.monotonic() - started >= 0.15
    assert "late" in response.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
def test_a_trickle(provider: LoopbackProvider, client: httpx2.Client, wire: str, *, stream: bool) -> None:
    """The first piece comes at once, the others apart, and together they are the reply."""
    provider.script(Trickle(Text("one two three"), 0.05))
    url, body, headers = call(provider, wire, stream=stream)
    started, raw, arrivals = time.monotonic(), b"", []

    with client.stream("POST", url, json=body, headers=headers) as response:
        for piece in response.iter_raw():
            raw += piece
            arrivals.append(time.monotonic() - started)

    assert b"three" in raw
    assert arrivals[-1] >= 0.09
    assert len(arrivals) >= 3
