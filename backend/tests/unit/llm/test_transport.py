"""Requests are signed on the way out, or they do not go out."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import httpcore2
import httpx
import httpx2
import pytest
from pydantic import SecretStr

from backend.tests.fakes.sdk import SdkTransport
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm, use
from backend.utils.llm.errors import CredentialNotAllowedError, LLMError, MissingCredentialError
from backend.utils.llm.model_config import Table
from backend.utils.llm.testing import Hang, KeepAlive, LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay, loopback_table
from backend.utils.llm.transport import TICKET_HEADER, Credential, Request, SigningTransport
from backend.utils.llm.transport.connections import TicketNetworkBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.model_config import Provider
    from backend.utils.llm.patchbay import Patchbay

CANARY = "sk-canary-51c7"
HOSTILE = {
    "GEMINI_API_KEY": "hostile-gemini-key",
    "GOOGLE_API_KEY": "hostile-google-key",
    "GOOGLE_CLOUD_PROJECT": "hostile-project",
    "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
    "GOOGLE_GENAI_HTTP_CLIENT": "httpx2",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "LC_OUTPUT_VERSION": "v1",
    "OPENAI_API_BASE": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "hostile-openai-key",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "OPENAI_CUSTOM_HEADERS": "x-hostile: hostile-header",
    "OPENAI_ORGANIZATION": "org-hostile",
    "OPENAI_ORG_ID": "org-hostile",
    "OPENAI_PROJECT_ID": "proj-hostile",
    "OPENAI_PROXY": "http://127.0.0.1:9",
}
HOSTILE_VALUES = sorted(
    {value for value in HOSTILE.values() if "hostile" in value or "http" in value} - {"httpx2"}
)


@pytest.fixture
def transport() -> Iterator[SigningTransport]:
    made = SigningTransport()
    yield made
    made.pools.close()


def openai_row(provider: LoopbackProvider) -> Provider:
    table = Table(text=loopback_table(provider, {"f": "openai:gpt-6-luna"}), environ={})
    return table.snapshot.providers["openai"]


@pytest.fixture(params=["httpx", "httpx2"])
def family(request: pytest.FixtureRequest) -> str:
    """Both kinds of HTTP client that the SDKs speak through."""
    return str(request.param)


def client(family: str, transport: SigningTransport) -> httpx.Client | httpx2.Client:
    made = {"httpx": httpx.Client, "httpx2": httpx2.Client}[family]
    return made(transport=cast("Any", SdkTransport(transport)), trust_env=False)


class TestAdmission:
    """It fails closed."""

    def test_a_request_without_a_ticket_is_not_sent(
        self, family: str, transport: SigningTransport, provider: LoopbackProvider
    ) -> None:
        with pytest.raises(CredentialNotAllowedError), client(family, transport) as http:
            http.post(f"{provider.openai_url}/chat/completions", json={})

        assert provider.requests == ()

    def test_a_closed_ticket_admits_nothing(
        self, family: str, transport: SigningTransport, provider: LoopbackProvider
    ) -> None:
        ticket = transport.tickets.open(openai_row(provider), Credential("house", SecretStr(CANARY)), 60.0)
        transport.tickets.close(ticket)

        with pytest.raises(CredentialNotAllowedError), client(family, transport) as http:
            http.post(
                f"{provider.openai_url}/chat/completions", json={}, headers={TICKET_HEADER: ticket.number}
            )

        assert provider.requests == ()

    @pytest.mark.parametrize("wrong", ["other port", "other scheme", "other host"])
    def test_a_request_for_another_origin_is_not_sent(
        self, family: str, transport: SigningTransport, provider: LoopbackProvider, wrong: str
    ) -> None:
        url = {
            "other port": "http://127.0.0.1:9/v1/x",
            "other scheme": provider.openai_url.replace("http:", "https:"),
            "other host": provider.openai_url.replace("127.0.0.1", "localhost"),
        }[wrong]
        ticket = transport.tickets.open(openai_row(provider), Credential("user", SecretStr(CANARY)), 60.0)

        with pytest.raises(CredentialNotAllowedError), client(family, transport) as http:
            http.post(url, json={}, headers={TICKET_HEADER: ticket.number})

        assert provider.requests == ()
        assert isinstance(ticket.observed.refusal, CredentialNotAllowedError)

    def test_what_identifies_someone_else_is_taken_off(
        self, family: str, transport: SigningTransport, provider: LoopbackProvider
    ) -> None:
        ticket = transport.tickets.open(openai_row(provider), Credential("user", SecretStr(CANARY)), 60.0)
        foreign = {
            TICKET_HEADER: ticket.number,
            "Authorization": "Bearer other",
            "OpenAI-Organization": "org-other",
            "OpenAI-Project": "proj-other",
            "x-goog-api-key": "other",
        }

        with client(family, transport) as http:
            http.post(
                f"{provider.openai_url}/chat/completions",
                json={"model": "m", "messages": []},
                headers=foreign,
            )

        (request,) = provider.requests
        assert request.key == CANARY
        assert "other" not in " ".join(f"{name} {value}" for name, value in request.headers.items())
        assert TICKET_HEADER not in request.headers

    def test_a_redirect_is_never_followed_with_a_key(
        self, provider: LoopbackProvider, feature_of: str
    ) -> None:
        away = {"location": "http://127.0.0.1:9/v1/chat/completions"}
        provider.always(Status(307, headers=away))
        patchbay = loopback_patchbay(provider, {"f": feature_of})

        with pytest.raises(Exception, match="does not serve"), use(patchbay):
            get_llm("f").invoke("hi")

        assert len(provider.requests) == 1
        patchbay.close()


@pytest.fixture(params=["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"])
def feature_of(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_building_a_client_reads_no_certificates(
    provider: LoopbackProvider, feature_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections are the transport's, which reads them once. A client that does takes 40 ms to build, not 1."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    patchbay = loopback_patchbay(provider, {"f": feature_of})

    patchbay.warm_up()

    assert len(patchbay.runtime.clients) == 1
    patchbay.close()


class TestHostileEnvironment:
    """What the SDKs would read on their own changes nothing."""

    @pytest.fixture(autouse=True)
    def _hostile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in HOSTILE.items():
            monkeypatch.setenv(name, value)

    def test_a_users_request_carries_the_users_key_and_nothing_of_the_houses(
        self, provider: LoopbackProvider, feature_of: str
    ) -> None:
        name = feature_of.partition(":")[0]
        patchbay = loopback_patchbay(provider, {"f": feature_of})

        with use(patchbay), use_caller(Caller(keys={name: CANARY})):
            answer = get_llm("f").invoke("hi")

        (request,) = provider.requests
        told = " ".join([request.path, *(f"{key}: {value}" for key, value in request.headers.items())])
        assert request.key == CANARY
        assert [value for value in (*HOSTILE_VALUES, *HOUSE_KEYS.values()) if value in told] == []
        assert isinstance(answer.content, str)
        patchbay.close()

    async def test_an_asynchronous_request_carries_the_users_key_and_nothing_of_the_houses(
        self, provider: LoopbackProvider, feature_of: str
    ) -> None:
        name = feature_of.partition(":")[0]
        patchbay = loopback_patchbay(provider, {"f": feature_of})

        with use(patchbay), use_caller(Caller(keys={name: CANARY})):
            await get_llm("f").ainvoke("hi")

        assert [request.key for request in provider.requests] == [CANARY]
        await patchbay.aclose()

    def test_a_feature_that_none_of_the_users_keys_serves_sends_nothing(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        with (
            use_caller(Caller(keys={"gemini": CANARY})),
            pytest.raises(MissingCredentialError, match="openai"),
        ):
            get_llm("over_openai").invoke("hi")

        assert provider.requests == ()


class TestManyCallers:
    """Each request carries its own caller's key."""

    CALLERS = 50
    CALLS = 1000

    def callers(self, feature_of: str) -> list[Caller]:
        provider = feature_of.partition(":")[0]
        return [Caller(user_id=str(n), keys={provider: f"key-{n}"}) for n in range(self.CALLERS)]

    def assert_each_with_its_own(self, provider: LoopbackProvider) -> None:
        said = [str(request.body) for request in provider.requests]
        wrong = [
            request.key
            for request, text in zip(provider.requests, said, strict=True)
            if f"I am {request.key}." not in text
        ]
        assert len(said) == self.CALLS
        assert wrong == []

    async def test_over_interleaved_tasks(self, provider: LoopbackProvider, feature_of: str) -> None:
        patchbay = loopback_patchbay(provider, {"f": feature_of})
        model = patchbay.get_llm("f")
        gate = asyncio.Semaphore(32)

        async def ask(caller: Caller) -> None:
            async with gate:
                with use_caller(caller):
                    await model.ainvoke(f"I am key-{caller.user_id}.")

        callers = itertools.islice(itertools.cycle(self.callers(feature_of)), self.CALLS)
        await asyncio.gather(*(ask(caller) for caller in callers))

        self.assert_each_with_its_own(provider)
        assert len(patchbay.runtime.clients) == 1
        assert len(patchbay.runtime.transport.tickets) == 0
        await patchbay.aclose()

    def test_over_threads(self, provider: LoopbackProvider, feature_of: str) -> None:
        patchbay = loopback_patchbay(provider, {"f": feature_of})
        model = patchbay.get_llm("f")

        def ask(caller: Caller) -> None:
            with use_caller(caller):
                model.invoke(f"I am key-{caller.user_id}.")

        callers = itertools.islice(itertools.cycle(self.callers(feature_of)), self.CALLS)
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(ask, callers))

        self.assert_each_with_its_own(provider)
        patchbay.close()

    def test_ten_thousand_keys_need_no_further_client(self, patchbay: Patchbay) -> None:
        get_llm("over_openai").invoke("hi")
        clients = len(patchbay.runtime.clients)

        for number in range(10_000):
            caller = Caller(keys={"openai": f"key-{number}"})
            patchbay.get_llm("over_openai", caller=caller)
            patchbay.explain("over_openai", caller=caller)
        for number in range(100):
            patchbay.get_llm("over_openai", caller=Caller(keys={"openai": f"key-{number}"})).invoke("hi")

        assert len(patchbay.runtime.clients) == clients
        assert len(patchbay.runtime.transport.pools) == 1


class TestLoopsAndThreads:
    """One model serves every loop and every thread."""

    def test_three_loops_in_a_row(self, patchbay: Patchbay, feature: str) -> None:
        model = get_llm(feature)

        answers = [asyncio.run(model.ainvoke("hi")).text for _ in range(3)]

        assert all(answers)
        assert len(patchbay.runtime.transport.pools) <= 1, "a pool outlived its loop"

    def test_four_threads_with_loops_of_their_own(self, patchbay: Patchbay, feature: str) -> None:
        model = get_llm(feature)

        async def several() -> int:
            return len(await asyncio.gather(*(model.ainvoke("hi") for _ in range(10))))

        with ThreadPoolExecutor(4) as threads:
            counts = list(threads.map(lambda _: asyncio.run(several()), range(4)))

        assert counts == [10, 10, 10, 10]

    def test_a_model_made_in_a_request_is_its_callers_on_a_bare_thread(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        with use_caller(Caller(keys={"openai": CANARY})):
            model = get_llm("over_openai")
        thread = threading.Thread(target=model.invoke, args=("hi",))
        thread.start()
        thread.join()

        assert [request.key for request in provider.requests] == [CANARY]

    def test_the_caller_at_the_time_of_the_call_decides(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        with use_caller(Caller(keys={"openai": "key-1"})):
            model = get_llm("over_openai")
        with use_caller(Caller(keys={"openai": "key-2"})):
            copy_context().run(model.invoke, "hi")

        assert [request.key for request in provider.requests] == ["key-2"]

    def test_connections_are_kept_between_calls(
        self, patchbay: Patchbay, provider: LoopbackProvider, feature: str
    ) -> None:
        for _ in range(5):
            get_llm(feature).invoke("hi")

        pool = patchbay.runtime.transport.pools.get_sync_pool()
        assert len(pool.connections) == 1


async def test_an_error_that_is_cut_short_leaves_no_connection(provider: LoopbackProvider) -> None:
    provider.always(KeepAlive(10.0, Status(503), 3))
    patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, "[features.f]\ndeadline = 0.5")

    with pytest.raises(LLMError) as caught:
        await patchbay.get_llm("f").ainvoke("hi")

    pool: Any = await patchbay.runtime.transport.pools.get_loop_pool()
    assert caught.value.__cause__ is not None  # it holds what was open where it was raised
    assert not pool.session.connector._acquired
    await patchbay.aclose()


def test_a_kept_connection_goes_by_the_time_of_the_request_that_is_on_it(
    transport: SigningTransport, provider: LoopbackProvider
) -> None:
    provider.script(Text("in time"), Text("in time"), Hang())
    row, request = openai_row(provider), Request(f"{provider.openai_url}/chat/completions", {}, b"{}")
    ended, patient, hasty = (transport.tickets.open(row, Credential("house", None), 60.0) for _ in range(3))

    transport.send(ended.number, request).read()
    ended.limit_next_wait(-1.0)
    transport.send(patient.number, request).read()
    (kept,) = transport.pools.get_sync_pool().connections
    hasty.limit_next_wait(0.1)
    with pytest.raises(httpx2.ReadTimeout):
        transport.send(hasty.number, request)

    assert "Request Count: 3" in repr(kept)


def test_what_an_application_asks_itself_is_logged_as_before(
    provider: LoopbackProvider, caplog: pytest.LogCaptureFixture
) -> None:
    patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"})

    with caplog.at_level("DEBUG", "httpcore2.http11"):
        patchbay.get_llm("f").invoke("hi")
        httpx2.post(f"{provider.openai_url}/chat/completions", json={}, trust_env=False)

    messages = [record.message for record in caplog.records if record.name == "httpcore2.http11"]
    ours, theirs = (
        message for message in messages if message.startswith("receive_response_headers.complete")
    )
    assert ours == "receive_response_headers.complete"
    assert "return_value=(b'HTTP/1.1', 200" in theirs
    patchbay.close()


def test_a_silent_name_server_takes_no_longer_than_the_attempt_may(
    transport: SigningTransport, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(10) and [])
    row = replace(openai_row(provider), base_url="https://silent.example/v1")
    transport.pools.warm_up()
    ticket = transport.tickets.open(row, Credential("house", None), 0.05)

    with pytest.raises(httpx2.ConnectTimeout, match="look-up"):
        transport.send(ticket.number, Request("https://silent.example/v1/chat/completions", {}, b"{}"))

    assert not answered.is_set()
    answered.set()


class Unreachable(httpcore2.NetworkBackend):
    """Nothing is there; remembers how long each address was tried for."""

    def __init__(self) -> None:
        self.tried: dict[str, float | None] = {}

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.NetworkStream:
        self.tried[host] = timeout
        raise httpcore2.ConnectTimeout


def test_all_addresses_of_a_host_share_the_time_of_one_connection(
    transport: SigningTransport, provider: LoopbackProvider
) -> None:
    nowhere = Unreachable()
    backend = TicketNetworkBackend(nowhere, lambda *_: ["a", "b", "c", "d"])
    ticket = transport.tickets.open(openai_row(provider), Credential("house", None), 8.0, 100.0)

    with pytest.raises(httpcore2.ConnectTimeout):
        backend.connect_tcp("host.example", 443, ticket)

    assert [round(seconds or 0) for seconds in nowhere.tried.values()] == [2, 2, 2, 2]


class Plain(httpcore2.NetworkStream):
    """A connection over which nothing was said yet."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Reachable(httpcore2.NetworkBackend):
    def __init__(self) -> None:
        self.stream = Plain()

    def connect_tcp(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        return self.stream


def test_a_connection_that_was_made_too_late_for_tls_is_closed(
    transport: SigningTransport, provider: LoopbackProvider
) -> None:
    reachable = Reachable()
    ticket = transport.tickets.open(openai_row(provider), Credential("house", None), 8.0)

    stream = TicketNetworkBackend(reachable, lambda *_: ["a"]).connect_tcp("host.example", 443, ticket)
    ticket.limit_next_wait(-1.0)
    with pytest.raises(httpcore2.ConnectTimeout):
        stream.start_tls(ssl.create_default_context(), timeout=cast("Any", ticket))

    assert reachable.stream.is_closed
