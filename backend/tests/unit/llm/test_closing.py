"""A patchbay that is closed ends its connections, each as soon as no request is under way on it."""

from __future__ import annotations

import select
import ssl
import threading
from typing import TYPE_CHECKING

from backend.tests.fakes.sockets import none_left_open
from backend.tests.fakes.strangers import WELL, Stranger, certificate, running
from backend.utils.llm.testing import SlowFirstByte, Status, Text, Trickle
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.transport import Credential, Request, connections

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from backend.utils.llm.testing import LoopbackProvider
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .conftest import Make


def test_a_stream_that_is_under_way_comes_to_its_end(make: Make, provider: LoopbackProvider) -> None:
    provider.always(Trickle(Text("one two three"), 0.05))
    patchbay = make("openai:gpt-6-luna")

    with none_left_open():
        chunks = patchbay.get_llm("f").stream("hi")
        begun = next(chunks).text
        patchbay.close()
        whole = begun + "".join(chunk.text for chunk in chunks)
        del chunks

    assert whole == "one two three"


def test_a_call_that_outlives_its_patchbay_leaves_no_connection(
    provider: LoopbackProvider, virtual: VirtualTime
) -> None:
    provider.script(SlowFirstByte(0.3, Status(503)), Text("from a new connection"))
    patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, time=virtual.time)

    with none_left_open():
        thread = threading.Thread(target=patchbay.get_llm("f").invoke, args=("hi",))
        thread.start()
        provider.wait_until(bool)
        patchbay.close()
        thread.join()
        del patchbay, thread

    assert len(provider.requests) == 2


def test_an_unclosed_patchbay_closes_its_connections(provider: LoopbackProvider) -> None:
    with none_left_open():
        loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}).get_llm("f").invoke("hi")

    assert len(provider.requests) == 1


def test_a_connection_is_closed_that_is_still_being_made_when_its_pool_is(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate("models.example", tmp_path)
    served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=file)
    served.load_cert_chain(file)
    trusted.check_hostname = False
    monkeypatch.setattr(connections, "_tls", lambda: trusted)
    server = Stranger(served)
    server.reply = 200, {"Connection": "keep-alive", "Content-Length": str(len(WELL))}, [WELL]
    patchbay = make("openai:gpt-6-luna")
    provider, transport = patchbay.table.snapshot.providers["openai"], patchbay.runtime.transport
    ticket = transport.tickets.open(provider, Credential("house", None), 60.0)
    answers: list[bytes] = []

    def call() -> None:
        request = Request(f"https://127.0.0.1:{server.port}/v1", {}, b"{}")
        answers.append(transport.pools.send(request, ticket).read())

    with none_left_open():
        thread = threading.Thread(target=call)
        thread.start()
        select.select([server.socket], [], [], 5.0)
        transport.pools.close()
        with running(server):
            thread.join()

    assert answers == [WELL]
