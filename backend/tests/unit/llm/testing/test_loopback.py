"""`LoopbackProvider`: scripts, keys, records, and how it starts and ends."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import pytest

from backend.tests.unit.llm.testing.calls import KEY, MODEL, WIRES, call, post
from backend.utils.llm.testing import Hang, LoopbackProvider, Reply, SlowFirstByte, Status, Text, Trickle

if TYPE_CHECKING:
    from collections.abc import Callable


def test_scripted_replies_come_first_and_the_default_follows(
    provider: LoopbackProvider, client: httpx2.Client
) -> None:
    """Script, then `always`, then the rule; `clear` forgets all."""
    provider.script(Text("first"), Text("second"))
    provider.always(Text("default"))

    said = [post(client, provider, "openai").json()["choices"][0]["message"]["content"] for _ in range(4)]
    provider.clear()
    ruled = post(client, provider, "openai").json()["choices"][0]["message"]["content"]

    assert said == ["first", "second", "default", "default"]
    assert "Hello" in ruled
    assert len(provider.requests) == 1


def test_a_reply_can_be_for_one_model(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """A chain's endpoints can share a provider and fail one by one."""
    provider.always(Text("others"))
    provider.always(Status(503), model=MODEL)
    provider.script(Text("once"), model=MODEL)

    codes = [post(client, provider, "openai", model=model).status_code for model in (MODEL, MODEL, "m-2")]

    assert codes == [200, 503, 200]


def test_a_key_that_is_not_accepted_on_openai(client: httpx2.Client) -> None:
    """401; as the real one does, the message repeats the ends of the key. No reply is used up."""
    with LoopbackProvider(accept_keys=["good"]) as provider:
        provider.script(Text("kept"))

        response = post(client, provider, "openai")

        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (401, "invalid_api_key")
        assert KEY[:8] in error["message"]
        assert KEY not in error["message"]
        url, body, _ = call(provider, "openai")
        assert "kept" in client.post(url, json=body, headers={"Authorization": "Bearer good"}).text


def test_a_key_that_is_not_accepted_on_gemini(client: httpx2.Client) -> None:
    """400 with a reason, as the real one answers; 403 without any key."""
    with LoopbackProvider(accept_keys=["good"]) as provider:
        url, body, _ = call(provider, "gemini")

        wrong, none = post(client, provider, "gemini"), client.post(url, json=body)

        error = wrong.json()["error"]
        assert (wrong.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
        assert error["details"][0]["reason"] == "API_KEY_INVALID"
        assert none.status_code == 403


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
def test_a_request_is_recorded(
    provider: LoopbackProvider, client: httpx2.Client, wire: str, *, stream: bool
) -> None:
    """Everything a test may want to assert, the key included."""
    post(client, provider, wire, stream=stream)

    [request] = provider.requests
    assert (request.wire, request.method, request.model, request.stream) == (wire, "POST", MODEL, stream)
    assert request.path.startswith("/v1")
    assert "?" not in request.path
    assert request.key == KEY
    assert request.headers["Content-Type"] == request.headers["content-type"] == "application/json"
    assert ("contents" if wire == "gemini" else "messages") in request.body
    assert not request.closed_by_client


@pytest.mark.parametrize("wire", WIRES)
def test_a_key_is_never_printed(provider: LoopbackProvider, client: httpx2.Client, wire: str) -> None:
    """`repr` and `str` of records and headers mask the credential."""
    post(client, provider, wire)

    [request] = provider.requests
    printed = f"{request} {request!r} {request.headers} {provider.requests}"
    assert KEY not in printed
    assert "***" in printed


def test_plain_urllib_gets_an_answer_and_the_models(provider: LoopbackProvider) -> None:
    """Any HTTP client will do."""
    url, body, headers = call(provider, "openai")
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310

    with urllib.request.urlopen(request) as answer:  # noqa: S310
        said = json.load(answer)
    with urllib.request.urlopen(f"{provider.openai_url}/models") as answer:  # noqa: S310
        listed = json.load(answer)
    with urllib.request.urlopen(f"{provider.gemini_url}/v1beta/models") as answer:  # noqa: S310
        theirs = json.load(answer)

    assert said["choices"][0]["message"]["content"]
    assert [row["id"] for row in listed["data"]] == ["loopback"]
    assert [row["name"] for row in theirs["models"]] == ["models/loopback"]
    assert [request.key for request in provider.requests] == [KEY, None, None]


def test_what_is_not_served_is_an_error_of_its_wire(
    provider: LoopbackProvider, client: httpx2.Client
) -> None:
    """Unknown paths are 404, bodies that are no object 400; both are recorded."""
    unknown = client.post(f"{provider.openai_url}/images/generations", json={})
    theirs = client.post(
        f"{provider.gemini_url}/v1beta/models/m:embed", json={}, headers={"x-goog-api-key": KEY}
    )
    broken = client.post(f"{provider.openai_url}/chat/completions", content=b"[1")

    assert (unknown.status_code, theirs.status_code, broken.status_code) == (404, 404, 400)
    assert theirs.json()["error"]["status"] == "NOT_FOUND"
    assert [request.wire for request in provider.requests] == ["openai", "gemini", "openai"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "reply",
    [Hang(), SlowFirstByte(30, Text("a")), Trickle(Text("one two"), 30)],
    ids=["hang", "slow", "trickle"],
)
def test_a_client_that_goes_away_is_noticed(
    provider: LoopbackProvider, reply: Reply, wire: str, *, stream: bool
) -> None:
    """A time-out closes the client's end; the record says so soon after."""
    provider.script(reply)
    hasty = httpx2.Timeout(10, read=0.1)
    with httpx2.Client(timeout=hasty, trust_env=False) as impatient, pytest.raises(httpx2.ReadTimeout):
        post(impatient, provider, wire, stream=stream)

    assert provider.wait_until(lambda requests: any(request.closed_by_client for request in requests))


def test_waiting_for_requests_gives_up(provider: LoopbackProvider) -> None:
    """`wait_until` tells rather than raises."""
    assert not provider.wait_until(lambda requests: len(requests) == 1, timeout_seconds=0.01)


def test_closing_ends_every_wait_and_every_thread() -> None:
    """Hanging replies and idle connections end with the provider, soon, and no thread or socket is left."""
    before = threading.active_count()
    ready = threading.Barrier(5)
    clients = [httpx2.Client(timeout=30, trust_env=False) for _ in range(4)]

    def hang(client: httpx2.Client, provider: LoopbackProvider) -> None:
        post(client, provider, "openai")
        ready.wait(10)
        with pytest.raises(httpx2.TransportError):
            post(client, provider, "openai")

    provider = LoopbackProvider().start()
    port = int(provider.origin.rpartition(":")[2])
    threads = [threading.Thread(target=hang, args=(client, provider)) for client in clients]
    for thread in threads:
        thread.start()
    provider.wait_until(lambda requests: len(requests) == 4)
    provider.always(Hang())
    ready.wait(10)
    assert provider.wait_until(lambda requests: len(requests) == 8)

    started = time.monotonic()
    provider.close()
    took = time.monotonic() - started

    for thread in threads:
        thread.join(5)
    for client in clients:
        client.close()
    gc.collect()
    assert took < 10
    assert threading.active_count() <= before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert not any(request.closed_by_client for request in provider.requests)


def test_a_provider_that_does_not_run_says_so() -> None:
    """Closing twice is fine; asking for an address is not."""
    provider = LoopbackProvider()
    provider.close()

    with pytest.raises(RuntimeError, match="not running"):
        _ = provider.origin


@pytest.mark.parametrize("reply", [lambda: Text("a", chunks=0)], ids=["chunks"])
def test_replies_reject_what_cannot_be(reply: Callable[[], Reply]) -> None:
    """A mistake in a script is told where it is made."""
    with pytest.raises(ValueError, match="chunks must be at least 1"):
        reply()


def test_fifty_clients_at_once_and_a_thousand_requests() -> None:
    """Each request is answered, recorded once, and answered in full."""

    def work(number: int) -> int:
        with httpx2.Client(timeout=30, trust_env=False) as client:
            wires = [WIRES[(number + turn) % len(WIRES)] for turn in range(20)]
            return sum(
                post(client, provider, wire, stream=turn % 3 == 0).status_code == 200
                for turn, wire in enumerate(wires)
            )

    with LoopbackProvider() as provider:
        with ThreadPoolExecutor(50) as pool:
            answered = sum(pool.map(work, range(50)))

        assert answered == len(provider.requests) == 1000
