"""A user's own endpoint serves that user alone, with their key alone, and leads nowhere into the house."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr, ValidationError

from backend.tests.fakes.strangers import WELL, Stranger, certificate, running
from backend.utils.llm import Caller, OwnEndpoint, Patchbay, Table
from backend.utils.llm.errors import (
    ConfigError,
    ContextTooLongError,
    CredentialNotAllowedError,
    LLMError,
    OwnEndpointError,
    RejectedCredentialError,
)
from backend.utils.llm.model_config import make_own_endpoint
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table
from backend.utils.llm.transport import Credential, Request, connections
from backend.utils.llm.transport import resolver as look_up
from backend.utils.llm.transport.response import PIECE_BYTES
from backend.utils.llm.transport.trust import STRANGER

from .drivers import ainvoke, invoke
from .samples import CANARY, Person, receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .drivers import Driver


LOOPBACK = 'private_networks = ["127.0.0.0/8"]'
FEATURES = {"f": "openai:gpt-6-luna"}
HOUSE_MAY = "[features.f]\nhouse_fallback = true"
PUBLIC = "93.184.216.34"
DNS = {
    "admin.example": ["10.1.2.3"],
    "carrier.example": ["100.64.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "localtest.me": ["127.0.0.1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "metadata6.example": ["fd00:ec2::254"],
    "azure.example": ["168.63.129.16"],
    "mixed.example": [PUBLIC, "2606:4700::1111", "10.0.0.5"],
    "mixed6.example": [PUBLIC, "::1"],
    "multicast.example": ["224.0.0.1"],
    "nat64.example": ["64:ff9b::169.254.169.254"],
    "ollama": ["172.17.0.2"],
    "public.example": [PUBLIC],
    "redis.default.svc.cluster.local": ["10.96.0.10"],
    "scoped.example": ["fe80::1%lo"],
    "six-to-four.example": ["2002:7f00:1::"],
    "sub.localhost": ["127.0.0.1"],
    "teredo.example": ["2001:0:5ef5:79fb::1"],
    "unspecified.example": ["0.0.0.0"],  # noqa: S104 - nobody listens there
    "127.0.0.1.nip.io": ["127.0.0.1"],
}
MATRIX = [
    # Addresses that are not of the public internet
    "https://127.0.0.1/v1",
    "https://127.8.9.10:8443/v1",
    "https://0.0.0.0/v1",
    "https://10.0.0.1/v1",
    "https://172.16.0.1/v1",
    "https://192.168.0.1/v1",
    "https://100.64.0.1/v1",
    "https://100.100.100.200/latest/meta-data",
    "https://168.63.129.16/metadata",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.170.2/v2/credentials",
    "https://192.0.0.192/opc/v2",
    "https://198.18.0.1/v1",
    "https://224.0.0.1/v1",
    "https://240.0.0.1/v1",
    "https://255.255.255.255/v1",
    # The same, written otherwise
    "https://2130706433/v1",
    "https://0x7f000001/v1",
    "https://0x7f.0.0.1/v1",
    "https://0177.0.0.1/v1",
    "https://017700000001/v1",
    "https://127.1/v1",
    "https://127.0.1/v1",
    "https://0/v1",
    "https://127.0.0.1./v1",
    "https://127.0.0.1.:8443/v1",
    "https://010.0.0.1/v1",
    "https://256.256.256.256/v1",
    "https://0x/v1",
    # IPv6
    "https://[::1]/v1",
    "https://[::]/v1",
    "https://[::ffff:127.0.0.1]/v1",
    "https://[::ffff:7f00:1]/v1",
    "https://[::ffff:8.8.8.8]/v1",
    "https://[::127.0.0.1]/v1",
    "https://[64:ff9b::127.0.0.1]/v1",
    "https://[64:ff9b:1::a00:1]/v1",
    "https://[2002:7f00:1::]/v1",
    "https://[2001::1]/v1",
    "https://[fc00::1]/v1",
    "https://[fd00:ec2::254]/latest",
    "https://[fe80::1]/v1",
    "https://[fe80::1%25eth0]/v1",
    "https://[fe80::1%eth0]/v1",
    "https://[ff02::1]/v1",
    "https://[::1%25lo]/v1",
    "https://[v1.1]/v1",
    "https://[127.0.0.1]/v1",
    "https://::1/v1",
    # Names that lead there
    *(f"https://{name}/v1" for name in sorted(DNS) if name != "public.example"),
    "https://LOCALHOST/v1",
    "https://localhost./v1",
    "https://localhost:6379/v1",
    "https://metadata.google.internal./v1",
    "https://ollama:11434/v1",
    # Names and addresses in other letters
    "https://ⓛocalhost/v1",
    "https://127。0。0。1/v1",
    "https://１２７.0.0.1/v1",  # noqa: RUF001
    "https://①②⑦.⓪.⓪.①/v1",
    "https://localhoſt/v1",  # noqa: RUF001
    "https://münchen.example/v1",
    "https://%31%32%37.0.0.1/v1",
    "https://127%2e0%2e0%2e1/v1",
    "https://loc\tal\nhost/v1",
    " https://localhost/v1",
    "https://localhost /v1",
    "https://-localhost/v1",
    "https://under_score.example/v1",
    f"https://{'a' * 64}.example/v1",
    f"https://{'a.' * 130}example/v1",
    # Parts that an address has no need of, or that two readers read as two things
    "https://user@127.0.0.1/v1",
    "https://user:password@public.example/v1",
    "https://public.example@127.0.0.1/v1",
    "https://127.0.0.1#@public.example/v1",
    "https://127.0.0.1\\@public.example/v1",
    "https://public.example\\.127.0.0.1/v1",
    "https://public.example/v1?to=http://127.0.0.1",
    "https://public.example/v1#fragment",
    "https://public.example/../v1",
    "https://public.example/%2e%2e/v1",
    "https://public.example//127.0.0.1/v1",
    "https:///v1",
    "https://",
    "https:public.example/v1",
    "//127.0.0.1/v1",
    "127.0.0.1/v1",
    # Ports
    "https://public.example:22/v1",
    "https://public.example:25/v1",
    "https://public.example:80/v1",
    "https://public.example:0/v1",
    "https://public.example:65536/v1",
    "https://public.example:-1/v1",
    "https://public.example:+443/v1",
    "https://public.example:٤٤٣/v1",
    # Schemes
    "http://public.example/v1",
    "http://127.0.0.1/v1",
    "http://localhost:11434/v1",
    "file:///etc/passwd",
    "ftp://public.example/v1",
    "gopher://127.0.0.1:6379/_x",
    "unix:///run/docker.sock",
    "data:text/plain,x",
    "wss://public.example/v1",
    "",
]


class Network:
    """No network: it remembers who was looked up, and where somebody wanted to connect to."""

    def __init__(self) -> None:
        self.answers: dict[str, Iterator[list[str]]] = {
            name: itertools.repeat(found) for name, found in DNS.items()
        }
        self.looked_up: list[str] = []
        self.connects: list[tuple[Any, ...]] = []

    def look_up(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host == PUBLIC:  # `socket.create_connection` asks once more how an address is written
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        self.looked_up.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in next(self.answers[host])
        ]

    def connect(self, address: Any) -> None:
        self.connects.append(tuple(address[:2]))
        raise ConnectionRefusedError(111, "Connection refused")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """In the place of the sockets and the look-up of names: there is no other way to see who is connected to."""
    made = Network()
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    for way in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, way, lambda _, address: made.connect(address))
    return made


@pytest.fixture
def house(provider: LoopbackProvider, virtual: VirtualTime) -> Iterator[Patchbay]:
    """Nothing is opened."""
    made = Patchbay(Table(text=loopback_table(provider, FEATURES), environ=HOUSE_KEYS), time=virtual.time)
    yield made
    made.close()


@pytest.fixture
def lab(provider: LoopbackProvider, virtual: VirtualTime) -> Iterator[Patchbay]:
    """Loopback is opened, for models of the lab."""
    text = f"{LOOPBACK}\n{loopback_table(provider, FEATURES, HOUSE_MAY)}"
    made = Patchbay(Table(text=text, environ=HOUSE_KEYS), time=virtual.time)
    yield made
    made.close()


def own(url: str, model: str = "llama", key: str = CANARY, **of_the_caller: Any) -> Caller:
    return Caller(own_endpoint=OwnEndpoint(base_url=url, model=model, key=SecretStr(key)), **of_the_caller)


class TestForgery:
    """No address of a user's leads into the house."""

    @pytest.mark.parametrize("url", MATRIX, ids=ascii)
    def test_none_connects(self, url: str, house: Patchbay, network: Network, call: Driver) -> None:
        with pytest.raises((ValidationError, OwnEndpointError)) as caught:
            call(house.get_llm("f", caller=own(url)), "hi")

        assert network.connects == []
        assert CANARY not in f"{caught.value!r} {caught.value}"

    def test_a_host_of_the_public_internet_is_connected_to_where_it_was_found(
        self, house: Patchbay, network: Network, call: Driver
    ) -> None:
        with pytest.raises(LLMError, match="could not be reached"):
            call(house.get_llm("f", caller=own("https://public.example/v1")), "hi")

        assert set(network.connects) == {(PUBLIC, 443)}
        assert len(network.looked_up) == len(network.connects), "looked up once for each connection"

    def test_a_name_that_is_bound_anew_is_tested_anew(
        self, house: Patchbay, network: Network, call: Driver
    ) -> None:
        network.answers["rebound.example"] = iter([[PUBLIC], ["127.0.0.1"], ["10.0.0.1"]])

        with pytest.raises(OwnEndpointError) as caught:
            call(house.get_llm("f", caller=own("https://rebound.example/v1")), "hi")

        assert network.connects == [(PUBLIC, 443)]
        assert [attempt.category for attempt in caught.value.attempts] == ["connect", "rejected"]

    def test_what_the_operator_opens_opens_nothing_else(
        self, lab: Patchbay, network: Network, call: Driver
    ) -> None:
        for name in ("admin.example", "metadata.google.internal", "ollama", "mixed.example", "localhost"):
            with pytest.raises(OwnEndpointError):
                call(lab.get_llm("f", caller=own(f"https://{name}/v1")), "hi")

        assert network.connects == []

    def test_clear_text_goes_only_into_networks_that_the_operator_allows(
        self, lab: Patchbay, network: Network, call: Driver
    ) -> None:
        with pytest.raises(OwnEndpointError):
            call(lab.get_llm("f", caller=own("http://public.example/v1")), "hi")

        assert network.connects == []

    def test_a_silent_name_server_is_given_up(
        self, house: Patchbay, network: Network, call: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answered = threading.Event()
        monkeypatch.setattr(look_up, "RESOLVE_SECONDS", 0.05)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(10) and [])

        with pytest.raises(LLMError, match="could not be reached"):
            call(house.get_llm("f", caller=own("https://public.example/v1")), "hi")

        assert not answered.is_set()
        answered.set()
        assert network.connects == []

    def test_a_refusal_does_not_reveal_the_address(self, house: Patchbay, network: Network) -> None:
        with pytest.raises(OwnEndpointError) as caught:
            house.get_llm("f", caller=own("https://admin.example/v1")).invoke("hi")

        chain = f"{caught.value} {caught.value.__cause__} {caught.value.as_dict()}"
        assert str(caught.value) == "Your own endpoint was not asked: it is where you may not have one."
        assert "10.1.2.3" not in chain

    def test_the_houses_key_does_not_go_where_a_user_says(self, house: Patchbay, network: Network) -> None:
        transport, there = (
            house.runtime.transport,
            make_own_endpoint("https://public.example/v1", "llama", ()).provider,
        )
        request = Request(f"{there.base_url}/chat/completions", {}, b"{}")

        for credential in (Credential("house", SecretStr("house-key")), Credential("user", None)):
            ticket = transport.tickets.open(there, credential, 60.0)
            with pytest.raises(CredentialNotAllowedError):
                transport.send(ticket.number, request)
            with pytest.raises(CredentialNotAllowedError):
                asyncio.run(transport.asend(ticket.number, request))

        assert network.connects == []

    def test_the_transport_tests_an_address_that_is_not_looked_up(
        self, house: Patchbay, network: Network
    ) -> None:
        transport = house.runtime.transport

        for host in ("10.0.0.1", "[::1]", "169.254.169.254"):
            there = make_own_endpoint(f"https://{host}/v1", "llama", ()).provider
            request = Request(f"{there.base_url}/chat/completions", {}, b"{}")
            ticket = transport.tickets.open(there, Credential("user", SecretStr(CANARY)), 60.0)
            with pytest.raises(OwnEndpointError):
                transport.send(ticket.number, request)
            with pytest.raises(OwnEndpointError):
                asyncio.run(transport.asend(ticket.number, request))

        assert network.connects == []

    def test_a_redirect_is_not_followed(
        self, lab: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        for place in ("http://169.254.169.254/latest", f"{provider.origin}/v1/elsewhere"):
            provider.clear()
            provider.always(Status(307, headers={"location": place}))

            with pytest.raises(LLMError, match="does not serve"):
                call(lab.get_llm("f", caller=own(provider.openai_url, model=f"m-{len(place)}")), "hi")

            assert [request.path for request in provider.requests] == ["/v1/chat/completions"]


class TestService:
    """An endpoint that may be asked serves every feature, and the user pays."""

    def test_it_serves_with_its_key_and_its_model(
        self, lab: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        caller = own(provider.openai_url)

        answer = call(lab.get_llm("f", caller=caller), "hi")

        (request,) = provider.requests
        assert (request.key, request.model) == (CANARY, "llama")
        assert request.headers["host"] == provider.origin.removeprefix("http://")
        assert (receipt(answer)["key_owner"], receipt(answer)["endpoint"]) == ("user", "own:llama")
        assert receipt(answer)["cost_usd"] is None

    def test_whatever_it_calls_its_model_stands_in_for_none_of_ours(
        self, lab: Patchbay, call: Driver
    ) -> None:
        with LoopbackProvider(served_suffix="-something-else") as other:
            answer = call(lab.get_llm("f", caller=own(other.openai_url)), "hi")

        assert receipt(answer)["attempts"][0]["substituted"] is False

    def test_explain_shows_the_own_endpoint(self, lab: Patchbay, provider: LoopbackProvider) -> None:
        route = lab.explain("f", caller=own(provider.openai_url))

        (candidate,) = route.as_dict()["candidates"]
        assert (candidate["endpoint"], candidate["host"], candidate["key_owner"]) == (
            "own:llama",
            "127.0.0.1",
            "user",
        )
        assert "1. own:llama  user's key  (the caller's own endpoint at 127.0.0.1)" in str(route)
        assert CANARY not in f"{route!r} {route} {route.as_dict()}"

    def test_a_schema_is_asked_for_there_too(self, lab: Patchbay, provider: LoopbackProvider) -> None:
        provider.always(Text('{"name": "Ann", "age": 7}'))

        model = lab.get_llm("f", caller=own(provider.openai_url)).with_structured_output(Person)

        assert model.invoke("who?") == Person(name="Ann", age=7)

    def test_its_refusal_of_the_key_ends_the_call(
        self, lab: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.always(Status(401, message=f"bad key {CANARY}"))
        caller = own(provider.openai_url, key_policy="byok_then_house")

        with pytest.raises(RejectedCredentialError) as caught:
            call(lab.get_llm("f", caller=caller), "hi")

        assert [request.key for request in provider.requests] == [CANARY]
        assert caught.value.http_status == 403

    def test_the_house_serves_where_the_user_says_so(
        self, lab: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.always(Status(503), model="llama")
        caller = own(provider.openai_url, key_policy="byok_then_house")

        answer = call(lab.get_llm("f", caller=caller), "hi")

        assert {(request.model, request.key) for request in provider.requests} == {
            ("llama", CANARY),
            ("gpt-6-luna", HOUSE_KEYS["LOOPBACK_OPENAI_KEY"]),
        }
        assert receipt(answer)["key_owner"] == "house"

    def test_the_house_serves_alone_where_it_is_its_own_to_serve(
        self, lab: Patchbay, provider: LoopbackProvider
    ) -> None:
        lab.get_llm("f", caller=own(provider.openai_url, key_policy="house_only")).invoke("hi")

        assert [request.model for request in provider.requests] == ["gpt-6-luna"]

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    def test_the_certificate_and_the_host_are_those_of_the_name(
        self, lab: Patchbay, call: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = certificate("models.example", tmp_path)
        served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=file)
        served.load_cert_chain(file)
        monkeypatch.setattr(connections, "_tls", lambda: trusted)
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda _, port, *__, **___: [(2, 1, 6, "", ("127.0.0.1", port))]
        )

        with running(Stranger(served)) as server:
            good = call(lab.get_llm("f", caller=own(f"https://models.example:{server.port}/a/v1")), "hi")
            with pytest.raises(LLMError, match="could not be reached"):
                call(lab.get_llm("f", caller=own(f"https://other.example:{server.port}/v1")), "hi")

        assert good.text == "well"
        assert server.hosts == [f"models.example:{server.port}"]
        assert server.paths == ["/a/v1/chat/completions"]
        assert set(server.names) == {"models.example", "other.example"}


class TestWhatItSends:
    """Too much, or packed, is not taken; and what it says of a failure is told to nobody."""

    @pytest.fixture
    def server(self) -> Iterator[Stranger]:
        with running(Stranger()) as server:
            yield server

    def url(self, server: Stranger) -> str:
        return f"http://127.0.0.1:{server.port}/v1"

    def test_an_answer_is_read_up_to_a_limit(self, lab: Patchbay, server: Stranger, call: Driver) -> None:
        sent = []
        part = b'data: {"choices": [{"index": 0, "delta": {"unknown": "%s"}}]}\n\n' % (b"x" * 100_000)

        def sending() -> Iterator[bytes]:
            while True:
                sent.append(len(part))
                yield part

        server.reply = 200, {}, sending()

        with pytest.raises(LLMError) as caught:
            call(lab.get_llm("f", caller=own(self.url(server))), "hi")

        assert "more than 8,000,000 bytes" in told(caught.value)
        assert sum(sent) < 3 * STRANGER.most_bytes
        assert len(server.hosts) == 1, "asked once"

    def test_a_stream_is_read_up_to_a_number_of_lines(
        self, lab: Patchbay, server: Stranger, call: Driver
    ) -> None:
        server.reply = 200, {}, itertools.repeat(b"\n\r" * 1000, 1000)

        with pytest.raises(OwnEndpointError, match="400,000 lines"):
            call(lab.get_llm("f", caller=own(self.url(server))), "hi")

    async def test_a_stream_leaves_the_loop_time_for_others(self, lab: Patchbay, server: Stranger) -> None:
        server.reply = 200, {}, itertools.repeat(b'data: {"choices": []}\n\n' * 1000, 5)
        turns = 0

        async def another() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(another())
        with pytest.raises(LLMError):
            [chunk async for chunk in lab.get_llm("f", caller=own(self.url(server))).astream("hi")]
        beside.cancel()

        assert turns > 5 * 23_000 / PIECE_BYTES
        await lab.aclose()

    def test_an_answer_that_is_one_long_line_is_read_in_good_time(
        self, lab: Patchbay, server: Stranger, stream: Driver
    ) -> None:
        server.reply = 200, {"Content-Type": "text/event-stream"}, itertools.repeat(b"x" * 1000, 20_000)

        with pytest.raises(OwnEndpointError, match="more than 8,000,000 bytes"):
            stream(lab.get_llm("f", caller=own(self.url(server))), "hi")

    def test_a_packed_answer_is_not_unpacked(self, lab: Patchbay, server: Stranger, call: Driver) -> None:
        server.reply = 200, {"Content-Encoding": "gzip"}, [gzip.compress(WELL)]

        with pytest.raises(OwnEndpointError, match="compressed"):
            call(lab.get_llm("f", caller=own(self.url(server))), "hi")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
    def test_its_error_text_is_not_shown(
        self, lab: Patchbay, server: Stranger, call: Driver, status: int
    ) -> None:
        said = f"secret of another service {CANARY}"
        server.reply = status, {}, [f'{{"error": {{"message": "{said}"}}}}'.encode()]

        with pytest.raises(LLMError) as caught:
            call(lab.get_llm("f", caller=own(self.url(server))), "hi")

        assert said not in told(caught.value)
        assert CANARY not in told(caught.value)

    def test_an_endless_error_is_left(self, lab: Patchbay, server: Stranger, call: Driver) -> None:
        server.reply = 400, {}, itertools.repeat(b"x" * 1000)

        with pytest.raises(LLMError, match="cannot do what the request asks for"):
            call(lab.get_llm("f", caller=own(self.url(server))), "hi")

    def test_an_answer_that_trickles_is_cut(
        self, provider: LoopbackProvider, server: Stranger, call: Driver
    ) -> None:
        def trickling() -> Iterator[bytes]:
            while True:
                time.sleep(0.05)  # noqa: TID251 - the network's
                yield b": still there\n\n"

        hasty = loopback_table(provider, FEATURES, "[features.f]\ndeadline = 0.5")
        patchbay = Patchbay(Table(text=f"{LOOPBACK}\n{hasty}", environ=HOUSE_KEYS))
        server.reply = 200, {}, trickling()
        patchbay.warm_up()  # the first client of a process imports its SDK
        began = time.monotonic()

        with pytest.raises(LLMError, match=r"in time|deadline"):
            call(patchbay.get_llm("f", caller=own(self.url(server))), "hi")

        assert time.monotonic() - began < 20
        patchbay.close()

    def test_its_error_code_still_classifies_the_failure(
        self, lab: Patchbay, server: Stranger, call: Driver
    ) -> None:
        server.reply = 400, {}, [b'{"error": {"code": "context_length_exceeded", "message": "no"}}']

        with pytest.raises(ContextTooLongError):
            call(lab.get_llm("f", caller=own(self.url(server))), "hi")


def told(error: BaseException | None) -> str:
    """All that an error and what led to it say."""
    found = []
    while error is not None:
        found += [str(error), repr(error), repr(vars(error)), repr(getattr(error, "body", None))]
        found.append(str(getattr(getattr(error, "response", None), "content", b"")))
        error = error.__cause__ or error.__context__
    return " ".join(found)


class TestMany:
    """Ten thousand users with endpoints of their own need as much as one."""

    def test_they_share_one_client_and_leave_no_connection(
        self, lab: Patchbay, provider: LoopbackProvider
    ) -> None:
        for number in range(50):
            caller = own(f"{provider.openai_url}/", model=f"m-{number}", key=f"key-{number}")
            lab.get_llm("f", caller=caller).invoke("hi")

        runtime = lab.runtime
        assert [(request.model, request.key) for request in provider.requests] == [
            (f"m-{number}", f"key-{number}") for number in range(50)
        ]
        assert len(runtime.clients) == 1
        assert len(runtime.transport.pools) == 1
        (pool,) = runtime.transport.pools._threads.values()
        assert pool.connections == []

    async def test_they_share_one_client_and_leave_no_connection_asynchronously(
        self, lab: Patchbay, provider: LoopbackProvider
    ) -> None:
        callers = [own(provider.openai_url, model=f"m-{n}", key=f"key-{n}") for n in range(50)]

        await asyncio.gather(*(lab.get_llm("f", caller=caller).ainvoke("hi") for caller in callers))

        (pool,) = lab.runtime.transport.pools._loops[asyncio.get_running_loop()].values()
        connector: Any = pool.session.connector
        assert {(request.model, request.key) for request in provider.requests} == {
            (f"m-{n}", f"key-{n}") for n in range(50)
        }
        assert len(lab.runtime.clients) == 1
        assert (len(connector._conns), len(connector._acquired)) == (0, 0)
        await lab.aclose()

    def test_planning_for_them_leaves_nothing_behind(self, lab: Patchbay) -> None:
        lab.explain("f", caller=own("https://public.example/v1"))
        kept, targets = len(lab.table.snapshot.kept), len(lab.health.traffic.targets._loads)

        for number in range(10_000):
            lab.explain("f", caller=own(f"https://m-{number}.example/v1", model=f"m-{number}"))

        assert len(lab.table.snapshot.kept) == kept
        assert len(lab.health.traffic.targets._loads) == targets


class TestNaming:
    """How a caller names an endpoint."""

    def test_it_shows_no_key(self) -> None:
        caller = own("https://models.example/v1")

        shown = (
            f"{caller!r} {caller} {caller.model_dump()} {caller.model_dump_json()} {caller.own_endpoint!r}"
        )
        assert CANARY not in shown

    @pytest.mark.parametrize("key", ["", "  ", f"{CANARY}\nX-Evil: 1", f"{CANARY} two", f"{CANARY}é"])
    def test_it_has_a_key_that_can_be_sent(self, key: str) -> None:
        with pytest.raises(ValidationError) as caught:
            own("https://models.example/v1", key=key)

        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("model", ["", "a b", "a\nb", "é", "m" * 201])
    def test_its_model_has_a_name_that_can_be_logged(self, model: str) -> None:
        with pytest.raises(ValidationError):
            own("https://models.example/v1", model=model)

    def test_an_address_that_is_refused_is_not_repeated(self) -> None:
        with pytest.raises(ValidationError) as caught:
            own(f"https://user:{CANARY}@models.example/v1")

        assert CANARY not in str(caught.value)

    def test_it_takes_the_place_of_keys(self) -> None:
        with pytest.raises(ValidationError, match="not both") as caught:
            own("https://models.example/v1", keys={"openai": CANARY})

        assert CANARY not in str(caught.value)

    def test_its_key_is_for_its_address_alone(self) -> None:
        caller = own("https://models.example/v1")

        assert (
            caller.key_for(make_own_endpoint("https://models.example/v1", "other", ()).provider) is not None
        )
        assert caller.key_for(make_own_endpoint("https://models.example/v2", "llama", ()).provider) is None
        assert caller.without_keys().own_endpoint is None
        assert caller.without_keys().effective_key_policy == "byok_only"

    def test_no_provider_of_the_table_may_be_called_so(self, provider: LoopbackProvider) -> None:
        more = '[providers.own]\napi = "openai"\nbase_url = "https://models.example"'

        with pytest.raises(ConfigError, match="is what endpoints are called that callers bring"):
            Table(text=loopback_table(provider, FEATURES, more), environ={})
