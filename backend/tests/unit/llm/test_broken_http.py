"""What a provider sends where HTTP should be is told to nobody: it may be the key that it was sent."""

from __future__ import annotations

import traceback
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from typing_extensions import override

from backend.tests.fakes.heap import way_to
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import ProviderDownError

from .samples import CANARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .conftest import Make
    from .drivers import Driver


CHUNKED = "HTTP/1.1 {} Said\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "no HTTP": f"{CANARY} is not known\r\n\r\n",
    "status": f"HTTP/1.1 no, {CANARY}\r\n\r\n",
    "header": f"HTTP/1.1 401 No\r\nThe key is: {CANARY}\r\n\r\n",
    "length": f"HTTP/1.1 200 Ok\r\nContent-Length: {CANARY}\r\n\r\n",
    "encoding": f"HTTP/1.1 200 Ok\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
    "trailer": CHUNKED.format(200) + f"0\r\nno trailer {CANARY}\r\n\r\n",
    "header that is too long": f"HTTP/1.1 401 No\r\nX-Key: {CANARY * 50_000}\r\n\r\n",
    "chunk": CHUNKED.format(200) + f"{CANARY}\r\n",
    "chunk of an error": CHUNKED.format(500) + f"{CANARY}\r\n",
}


class Breaker(ThreadingTCPServer):
    """A provider that sends ``said`` in answer to everything."""

    daemon_threads = True
    said = b""

    @property
    def gemini_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def openai_url(self) -> str:
        return f"{self.gemini_url}/v1"


class _Exchange(StreamRequestHandler):
    server: Breaker

    @override
    def handle(self) -> None:
        head = iter(self.rfile.readline, b"\r\n")
        lengths = [line.split(b":")[1] for line in head if line.lower().startswith(b"content-length:")]
        self.rfile.read(int(lengths[0]))
        self.wfile.write(self.server.said)


@pytest.fixture
def breaker() -> Iterator[Breaker]:
    with Breaker(("127.0.0.1", 0), _Exchange) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


def reachable_from(error: BaseException | None) -> list[BaseException]:
    """An error, and all that it came of, also what a traceback leaves out."""
    if error is None:
        return []
    return [error, *reachable_from(error.__cause__), *reachable_from(error.__context__)]


@pytest.fixture(params=["openai", "gemini", "anthropic"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def patchbay(api: str, make: Make, breaker: Breaker, virtual: VirtualTime) -> Patchbay:
    """On the breaker."""
    url = breaker.openai_url if api == "openai" else breaker.gemini_url
    row = f'api = "{api}"\nbase_url = "{url}"\napi_key_env = "BROKEN"'
    return make("broken:m", f"[providers.broken]\n{row}", time=virtual.time)


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
def test_what_is_no_http_is_in_no_error_and_no_log(
    said: str, call: Driver, patchbay: Patchbay, breaker: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    breaker.said = said.encode()

    with pytest.raises(ProviderDownError) as caught, use_caller(Caller(keys={"broken": CANARY})):
        call(patchbay.get_llm("f"), "hi")

    assert [error for error in reachable_from(caught.value) if CANARY in f"{error!r} {error}"] == []
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert way_to(CANARY, caught.value, (SecretStr,)) is None
    assert CANARY not in caplog.text
