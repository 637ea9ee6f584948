"""Whatever goes wrong, and whatever a provider says of it: what product code gets does not tell the key.

Neither does what is printed of it by those who print what was at hand in each frame: Sentry, rich, loguru.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.base import BaseTracer
from pydantic import SecretStr

from backend.tests.fakes.heap import way_to
from backend.tests.fakes.hedging import learn
from backend.utils.llm import Caller, Patchbay, Table, use_caller
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import Cut, Hang, LoopbackProvider, SlowFirstByte, Status, Text, Trickle
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay
from backend.utils.llm.transport.redaction import KeyRedaction

from .tables import table_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.tracers.schemas import Run

    from backend.tests.fakes.strangers import Stranger

    from .drivers import Driver


KEY = "sk-can/ary+of==ann/0123456789"
SAID = f"bad key {KEY}, really"
ONCE = "[features.f]\nattempts = 1\ndeadline = 0.6\n"


def told(**more: Any) -> str:
    return json.dumps(
        {"error": {"message": SAID, SAID: [SAID], "code": 401, "status": "UNAUTHENTICATED", **more}}
    )


def in_unicode(text: str) -> str:
    return text.replace(KEY, "".join(f"\\u{ord(one):04x}" for one in KEY))


BODIES = {
    "plain": told().encode(),
    "slashes": told().replace("/", "\\/").encode(),
    "unicode": in_unicode(told()).encode(),
    "another encoding": told().encode("utf-16"),
    "JSON in JSON": json.dumps({"error": {"message": told().replace("/", "\\/")}}).encode(),
    "no JSON": f"<p>{SAID}".encode(),
    "no JSON, escaped": in_unicode(f"<script>'{SAID}'").encode(),
    "half of JSON": told().replace("/", "\\/").encode()[:-3],
    "a list": f"[{told()}]".replace("/", "\\/").encode(),
}
EVENTS = {"Content-Type": "text/event-stream"}
FAILURES = {
    **{f"401 {name}": (401, {}, [body]) for name, body in BODIES.items()},
    "500 slashes": (500, {}, [BODIES["slashes"]]),
    "an error behind a 200": (200, {}, [told().encode()]),
    "a text behind a 200": (200, {}, [SAID.encode()]),
    "an event": (200, EVENTS, [f"data: {told()}\n\n".encode()]),
    "headers": (401, {"x-request-id": KEY, "retry-after": KEY, "location": KEY}, [b'{"error": {}}']),
    "a charset": (401, {"Content-Type": "text/plain; charset=utf-7"}, [SAID.encode("utf-7")]),
    "an answer that is cut off": (200, {"Content-Length": "9999"}, [f'{{"id": "{KEY}'.encode()]),
    "a stream that is cut off": (200, {**EVENTS, "Content-Length": "9999"}, [f"data: {KEY}".encode()]),
    "an error that is cut off": (401, {"Content-Length": "9999"}, [SAID.encode()]),
    "what cannot be unpacked": (200, {"Content-Encoding": "gzip"}, [SAID.encode()]),
    "an encoding": (200, {"Content-Encoding": KEY}, [b"{}"]),
    "a redirect": (307, {"location": f"http://127.0.0.1:9/{KEY}"}, [b""]),
}


@pytest.fixture
def patchbay(server: Stranger, wire: str) -> Iterator[Patchbay]:
    """Its feature ``f`` is asked of ``server``."""
    made = Patchbay(
        Table(text=table_at(server, wire, row="attempts = 1\ndeadline = 0.6"), environ=HOUSE_KEYS)
    )
    made.warm_up()
    yield made
    made.close()


def failed(patchbay: Patchbay, call: Driver, **config: Any) -> LLMError:
    """The error of a call with the key."""
    model = patchbay.get_llm("f").with_config(**config)
    with (
        use_caller(Caller(keys=dict.fromkeys(("there", "openai", "gemini", "anthropic"), KEY))),
        pytest.raises(LLMError) as caught,
    ):
        call(model, "hi")
    return caught.value


def chain(error: BaseException) -> list[BaseException]:
    """``error``, and all that it hangs on to."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (one := waiting.pop()) is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def places(error: BaseException) -> Iterator[str]:
    """Where ``error`` tells the key: in words, in what is at hand in a frame, or in what somebody gets to from there."""
    for one in chain(error):
        name = type(one).__name__
        if KEY in f"{one} {one!r} {vars(one)!r}":
            yield name
        yield from (f"{name}, {place}" for place in _frames(one))
    if (way := way_to(KEY, error, (SecretStr,))) is not None:
        yield " -> ".join(way)


def _frames(error: BaseException) -> Iterator[str]:
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == __file__:
            continue
        for name, value in frame.f_locals.items():
            if KEY in repr(value):
                yield f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}: {name}"


class Tracer(BaseTracer):
    """Keeps what every run says of its error."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.said.append(str(run.error))
        self.runs.append(run)
        for child in run.child_runs:
            self._persist_run(child)


class Handler(BaseCallbackHandler):
    """Looks into every error that it is told of, while it is told."""

    run_inline = raise_error = True

    def __init__(self) -> None:
        self.found: list[list[str]] = []

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.found.append(list(places(error)))

    def on_chain_error(self, error: BaseException, **_: Any) -> None:
        self.found.append(list(places(error)))


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_carries_no_key_that_a_provider_repeated(
    patchbay: Patchbay, server: Stranger, call: Driver, failure: str
) -> None:
    server.reply = FAILURES[failure]

    error = failed(patchbay, call)

    assert list(places(error)) == []


@pytest.mark.parametrize("failure", ["401 slashes", "an error behind a 200"])
def test_of_what_tracers_and_logs_get(
    patchbay: Patchbay, server: Stranger, call: Driver, failure: str
) -> None:
    server.reply, tracer, written = FAILURES[failure], Tracer(), StringIO()
    log = logging.Logger("of the product")  # noqa: LOG001 - nobody else's
    log.addHandler(logging.StreamHandler(written))

    log.error("it failed", exc_info=failed(patchbay, call, callbacks=[tracer]))

    assert tracer.said
    assert KEY not in f"{tracer.said} {written.getvalue()}"


@pytest.mark.parametrize("failure", ["401 slashes", "an answer that is cut off"])
def test_of_what_callback_handlers_get(
    patchbay: Patchbay, server: Stranger, call: Driver, failure: str
) -> None:
    server.reply, handler, tracer = FAILURES[failure], Handler(), Tracer()

    failed(patchbay, call, callbacks=[handler, tracer])

    assert handler.found == [[], []], "of the attempt and of the call"
    assert way_to(KEY, tracer.runs, (SecretStr,)) is None


@pytest.mark.parametrize(
    "fault",
    [
        Hang(),
        Cut(after_chunks=1, text="one two three"),
        Trickle(Text("word " * 20, chunks=10), gap_seconds=0.3),
        Status(503),
    ],
    ids=["silent", "cut", "slow", "down"],
)
@pytest.mark.parametrize("endpoint", ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"])
def test_of_what_the_network_does(
    provider: LoopbackProvider, call: Driver, endpoint: str, fault: Any
) -> None:
    provider.always(fault)
    patchbay = loopback_patchbay(provider, {"f": endpoint}, ONCE)

    error = failed(patchbay, call)

    assert list(places(error)) == []
    assert not any("/aiohttp/" in place or "/httpcore2/" in place for place in _files(error))
    patchbay.close()


HEDGED = "[features.f]\nhedge = true\nattempts = 1\ndeadline = 1.5\n"
BOTH = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]


@pytest.mark.parametrize("fault", [Hang(), SlowFirstByte(0.3, Status(503))], ids=["silent", "down"])
def test_of_two_requests_that_both_fail(provider: LoopbackProvider, call: Driver, fault: Any) -> None:
    provider.always(fault)
    patchbay = loopback_patchbay(provider, {"f": BOTH}, HEDGED)
    learn(patchbay, 0.01)

    error = failed(patchbay, call)

    assert len(provider.requests) == 2
    assert list(places(error)) == []
    patchbay.close()


def _files(error: BaseException) -> list[str]:
    return [
        frame.f_code.co_filename for one in chain(error) for frame, _ in traceback.walk_tb(one.__traceback__)
    ]


def test_of_a_server_that_is_gone(call: Driver) -> None:
    with LoopbackProvider() as gone:
        patchbay = loopback_patchbay(gone, {"f": "openai:gpt-6-luna"}, ONCE)

    assert list(places(failed(patchbay, call))) == []
    patchbay.close()


@pytest.mark.parametrize(("row", "requests"), [("", 1), ("[features.f]\nhedge = true", 2)])
async def test_of_a_call_that_is_cancelled(provider: LoopbackProvider, row: str, requests: int) -> None:
    provider.always(Hang())
    patchbay = loopback_patchbay(provider, {"f": BOTH}, row)
    learn(patchbay, 0.01)
    with use_caller(Caller(keys={"openai": KEY, "gemini": KEY})):
        task = asyncio.create_task(patchbay.get_llm("f").ainvoke("hi"))
    await asyncio.to_thread(provider.wait_until, lambda sent: len(sent) == requests)

    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    assert list(places(caught.value)) == []
    await patchbay.aclose()


class TestRedaction:
    """What it leaves."""

    def test_text_beside_the_key_is_kept(self) -> None:
        body = KeyRedaction(KEY).redact_body(told(code="insufficient_quota", count=3).encode())

        error = json.loads(body)["error"]
        assert (error["code"], error["count"], error["message"]) == (
            "insufficient_quota",
            3,
            "bad key ***, really",
        )

    def test_a_page_without_escapes_is_kept(self) -> None:
        assert KeyRedaction(KEY).redact_body(f"<p>{SAID}".encode()) == b"<p>bad key ***, really"

    def test_a_text_with_other_escapes_is_kept(self) -> None:
        assert KeyRedaction(KEY).redact_text('a "\\n" b') == 'a "\\n" b'

    def test_without_a_key_nothing_is_taken_out(self) -> None:
        assert KeyRedaction(None).redact_body(b"\\ any") == b"\\ any"

    @pytest.mark.parametrize("deep", [1, 2, 3, 10, 30])
    def test_however_deep_it_is_escaped(self, deep: int) -> None:
        text = SAID.replace("/", "\\/")
        for _ in range(deep):
            text = json.dumps(text)[1:-1] if deep < 10 else text.replace("\\", "\\u005c")

        assert KeyRedaction(KEY).redact_text(text) == "***"
