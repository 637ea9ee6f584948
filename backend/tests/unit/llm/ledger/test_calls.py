"""What the ledger has of calls: a record of each request, whatever became of it, before anybody has the answer."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext
from pydantic import SecretStr
from typing_extensions import override

from backend.ledger.spool import Spool
from backend.tests.fakes.hedging import learn
from backend.utils.llm import AttemptRecord, Caller, JsonLinesSink, LLMError, MemorySink
from backend.utils.llm.secrets import StoredSecret
from backend.utils.llm.testing import (
    Cut,
    Empty,
    Hang,
    Json,
    Refusal,
    Status,
    StreamError,
    Text,
    Trickle,
    Usage,
)
from backend.utils.llm.testing.replies import Raw
from backend.utils.llm.testing.virtual_time import VirtualTime

from ..drivers import DRIVERS, invoke, joined
from ..samples import Person, receipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider, Reply

    from ..conftest import Make
    from ..drivers import Driver

OPENAI, GEMINI, ANTHROPIC = (
    "openai:gpt-6-luna",
    "gemini:gemini-3.5-flash-lite",
    "anthropic:claude-sonnet-5-5",
)
UNPRICED = "openai:a-model-that-nobody-knows"
SECRET, OTHER_SECRET = b"0123456789abcdef", b"fedcba9876543210"
STEADY = "[features.f]\nattempts = 1"


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


def facts(one: AttemptRecord) -> dict[str, Any]:
    """What the record and the receipt both tell, as the receipt words it."""
    tokens = {name: getattr(one, name) for name in ("input", "output", "cached", "cache_write", "reasoning")}
    return {
        "endpoint": one.endpoint,
        "account": one.account,
        "served_model": one.served_model,
        "key_owner": one.key_owner,
        "outcome": one.outcome,
        "category": one.category,
        "status": one.status,
        "started": (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=one.at)).isoformat(),
        "finish_reason": one.finish_reason,
        "request_id": one.request_id,
        "hedge": one.hedge,
        "estimated": one.estimated,
        "usage": None if one.input is None else tokens,
        "is_priced": one.cost is not None,
    }


def told(attempt: dict[str, Any]) -> dict[str, Any]:
    """The same of a receipt's attempt."""
    left_out = {"substituted", "duration_ms", "first_byte_ms", "first_token_ms", "score", "cost_usd"}
    shared = {name: value for name, value in attempt.items() if name not in left_out}
    return shared | {"is_priced": attempt["cost_usd"] is not None}


def attempts_of(model: Any, call: Driver, prompt: Any = "hi") -> list[dict[str, Any]]:
    """The attempts of a call, as its receipt or its error has them."""
    try:
        return list(receipt(call(model, prompt))["attempts"])
    except LLMError as error:
        return [dict(attempt.as_dict()) for attempt in error.attempts]


ENDS: dict[str, tuple[Reply, ...]] = {
    "answered": (Text("well"),),
    "filtered": (Refusal("no", by="filter"),),
    "refused by the model": (Refusal("no"),),
    "cut short": (Text("cut", finish="length"), Text("cut", finish="length")),
    "empty": (Empty(), Empty(), Text("well")),
    "broken off": (Cut(0, "a b c"), Text("well")),
    "an error in mid-answer": (StreamError(0, "a b", {"code": 500, "message": "sorry"}), Text("well")),
    "down": (Status(503), Status(503), Status(503), Text("well")),
    "a bad key": (Status(401),),
    "a rate limit": (Status(429, retry_after=1), Text("well")),
    "no credit": (Status(429, error_code="insufficient_quota"), Text("well")),
    "malformed": (Status(400),),
    "no such model": (Status(404), Text("well")),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("endpoint", [OPENAI, GEMINI, ANTHROPIC])
def test_every_request_has_a_record_that_says_what_the_receipt_says(
    end: str, endpoint: str, make: Make, call: Driver, provider: LoopbackProvider, sink: MemorySink
) -> None:
    provider.script(*ENDS[end])
    patchbay = make([endpoint, "openai:gpt-6-sol"], ledger=sink, time=VirtualTime().time)

    attempts = attempts_of(patchbay.get_llm("f"), call)

    assert len(sink.records) == len(provider.requests)
    assert list(map(facts, sink.records)) == list(map(told, attempts))
    assert [record.number for record in sink.records] == list(range(1, len(attempts) + 1))
    assert len({record.call for record in sink.records}) == 1


def test_a_repaired_answer_has_a_record_of_both_requests(
    make: Make, provider: LoopbackProvider, sink: MemorySink
) -> None:
    provider.script(Json({"name": ""}), Json({"name": "Ada", "age": 36}))

    make(OPENAI, ledger=sink).get_llm("f").with_structured_output(Person).invoke("who?")

    assert [(record.outcome, record.category) for record in sink.records] == [
        ("rejected", "invalid_output"),
        ("ok", None),
    ]
    assert not any(record.stream for record in sink.records)


def test_the_call_is_named_the_same_in_records_receipt_and_error(
    make: Make, call: Driver, provider: LoopbackProvider, sink: MemorySink
) -> None:
    model = make(OPENAI, STEADY, ledger=sink).get_llm("f")

    named = [receipt(call(model, "hi"))["id"] for _ in range(2)]
    provider.script(Status(400))
    with pytest.raises(LLMError) as caught:
        call(model, "hi")

    assert [record.call for record in sink.records] == [*named, caught.value.call_id]
    assert caught.value.as_dict()["call_id"] == caught.value.call_id
    assert sorted(named) == named
    assert {UUID(one).version for one in named} == {7}


def test_a_call_that_sends_nothing_has_an_id_and_no_record(make: Make, sink: MemorySink) -> None:
    nobody = Caller(user_id="u", key_policy="byok_only")

    with pytest.raises(LLMError) as caught:
        make(OPENAI, ledger=sink).get_llm("f", caller=nobody).invoke("hi")

    assert UUID(caught.value.call_id).version == 7
    assert sink.records == ()


class TestWhatIsGivenUp:
    def test_a_stream_that_is_left_is_cancelled_and_its_tokens_are_estimated(
        self, make: Make, provider: LoopbackProvider, sink: MemorySink
    ) -> None:
        provider.script(Text("one two three"))

        chunks: Any = make(OPENAI, ledger=sink).get_llm("f").stream("hi")
        next(chunks)
        chunks.close()

        (one,) = sink.records
        assert (one.outcome, one.category, one.estimated, one.stream) == (
            "cancelled",
            "cancelled",
            True,
            True,
        )
        assert one.cost is not None

    def test_so_is_an_asynchronous_one(
        self, make: Make, provider: LoopbackProvider, sink: MemorySink
    ) -> None:
        provider.script(Text("one two three"))

        async def leave() -> None:
            chunks: Any = make(OPENAI, ledger=sink).get_llm("f").astream("hi")
            await anext(chunks)
            await chunks.aclose()

        asyncio.run(leave())

        assert [record.outcome for record in sink.records] == ["cancelled"]

    def test_a_task_that_is_cancelled_has_its_record(
        self, make: Make, provider: LoopbackProvider, sink: MemorySink
    ) -> None:
        provider.script(Hang())

        async def cancel() -> None:
            task = asyncio.create_task(make(OPENAI, ledger=sink).get_llm("f").ainvoke("hi"))
            await asyncio.to_thread(provider.wait_until, bool)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(cancel())

        assert [(record.outcome, record.estimated) for record in sink.records] == [("cancelled", True)]

    def test_a_request_that_took_too_long_has_its_record(
        self, make: Make, call: Driver, provider: LoopbackProvider, sink: MemorySink
    ) -> None:
        provider.script(Hang())
        patchbay = make(OPENAI, f'{STEADY}\n[models."{OPENAI}"]\noptions = {{ timeout = 0.3 }}', ledger=sink)
        patchbay.warm_up()

        with pytest.raises(LLMError):
            call(patchbay.get_llm("f"), "hi")

        assert [(record.outcome, record.category) for record in sink.records] == [("failed", "timeout")]

    def test_what_the_application_raises_leaves_the_record_of_a_failure(
        self, make: Make, sink: MemorySink, whole: Driver
    ) -> None:
        def accept(_: Any) -> bool:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            whole(make(OPENAI, ledger=sink).get_llm("f").bind(accept=accept), "hi")

        (one,) = sink.records
        assert (one.outcome, one.category, one.status) == ("failed", "bug", 200)
        assert one.input is not None


@pytest.mark.parametrize("call", DRIVERS)
def test_a_hedge_has_a_record_and_so_has_the_request_that_lost(
    call: Driver, make: Make, provider: LoopbackProvider, sink: MemorySink
) -> None:
    provider.always(Hang(), model="gpt-6-luna")
    patchbay = make([OPENAI, GEMINI], "[features.f]\nhedge = true", ledger=sink)
    learn(patchbay, 0.01)

    answer = call(patchbay.get_llm("f"), "hi")

    in_order = sorted(sink.records, key=lambda one: one.number)
    assert [(record.endpoint, record.outcome, record.hedge) for record in in_order] == [
        (OPENAI, "cancelled", False),
        (GEMINI, "ok", True),
    ]
    assert list(map(facts, in_order)) == list(map(told, receipt(answer)["attempts"]))


def test_a_copy_has_a_record_of_its_own_call(make: Make, call: Driver, sink: MemorySink) -> None:
    patchbay = make(OPENAI, f'[features.f]\nshadow = {{ "{ANTHROPIC}" = 100 }}', ledger=sink)

    call(patchbay.get_llm("f"), "hi")
    patchbay.runtime.shadows.join(5)

    assert [(record.endpoint, record.arm) for record in sink.records] == [
        (OPENAI, None),
        (ANTHROPIC, "shadow"),
    ]
    assert len({record.call for record in sink.records}) == 2


def test_an_endpoint_on_trial_is_told_by_its_arm(make: Make, sink: MemorySink) -> None:
    patchbay = make(OPENAI, f'[features.f]\nsplit = {{ "{GEMINI}" = 100 }}', ledger=sink)

    patchbay.get_llm("f", caller=Caller(user_id="u")).invoke("hi")

    assert [(record.arm, record.degraded) for record in sink.records] == [(GEMINI, False)]


class Watch(BaseCallbackHandler):
    """Notes how much the ledger has each time something is handed on."""

    def __init__(self, sink: MemorySink) -> None:
        self.seen: list[int] = []
        self._sink = sink

    @override
    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.seen.append(len(self._sink.records))


def test_the_record_is_there_before_the_answer_is(make: Make, call: Driver, sink: MemorySink) -> None:
    watch = Watch(sink)

    call(make(OPENAI, ledger=sink).get_llm("f").with_config(callbacks=[watch]), "hi")

    assert watch.seen == [1]


def test_the_record_is_there_before_the_last_chunk_is(
    make: Make, provider: LoopbackProvider, sink: MemorySink
) -> None:
    provider.script(Text("one two three"))

    seen = [
        ("receipt" in chunk.response_metadata, len(sink.records))
        for chunk in make(OPENAI, ledger=sink).get_llm("f").stream("hi")
        if chunk.text or chunk.response_metadata
    ]

    assert seen[-1] == (True, 1)
    assert {count for _, count in seen[:-1]} == {0}


class Broken:
    """A sink that takes nothing."""

    def append(self, _: AttemptRecord) -> None:
        raise OSError("sk-no-space-left: not for the log")


def test_a_sink_that_raises_changes_no_outcome_and_the_log_is_told_of_few_of_many_losses(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    model = make(OPENAI, ledger=Broken()).get_llm("f")

    with caplog.at_level(logging.WARNING):
        answers = [driver(model, "hi") for driver in DRIVERS * 6]

    assert all(answer.text for answer in answers)
    assert [record.getMessage() for record in caplog.records if "ledger" in record.name] == [
        "the ledger has lost 1 record(s): OSError",
        "the ledger has lost 10 record(s): OSError",
    ]


def test_calls_of_many_threads_have_one_record_each(
    make: Make, provider: LoopbackProvider, sink: MemorySink
) -> None:
    model = make(OPENAI, ledger=sink).get_llm("f")

    with ThreadPoolExecutor(8) as pool:
        named = list(pool.map(lambda _: receipt(invoke(model, "hi"))["id"], range(80)))

    assert Counter(record.call for record in sink.records) == Counter(named)
    assert len(provider.requests) == len(set(named)) == 80


class TestWhatItHolds:
    def test_times_are_whole_microseconds_from_the_beginning(
        self, make: Make, provider: LoopbackProvider, sink: MemorySink
    ) -> None:
        provider.script(Trickle(Text("one two three"), 0.01))

        joined(make(OPENAI, ledger=sink).get_llm("f").stream("hi"))

        (one,) = sink.records
        assert one.first_byte is not None
        assert one.first_token is not None
        assert 0 < one.first_byte <= one.first_token <= one.duration

    def test_the_caller_is_named_as_the_application_does(self, make: Make, sink: MemorySink) -> None:
        caller = Caller(user_id="user-1", tenant_id="tenant-1")

        make(OPENAI, ledger=sink).get_llm("f", caller=caller).invoke("hi")

        assert [(record.user, record.tenant, record.key_owner) for record in sink.records] == [
            ("user-1", "tenant-1", "house")
        ]

    def test_an_answer_of_another_endpoint_than_the_first_is_degraded(
        self, make: Make, provider: LoopbackProvider, sink: MemorySink
    ) -> None:
        provider.script(Status(404))

        make([OPENAI, GEMINI], ledger=sink).get_llm("f").invoke("hi")

        assert [record.degraded for record in sink.records] == [False, True]

    def test_a_model_without_a_price_has_tokens_and_no_cost(self, make: Make, sink: MemorySink) -> None:
        make(UNPRICED, ledger=sink).get_llm("f").invoke("hi")

        (one,) = sink.records
        assert one.input
        assert (one.cost, one.price_version) == (None, None)

    @pytest.mark.parametrize(
        ("tokens", "dollars", "cost"),
        [
            pytest.param(47_424_961, "194483.492287", 2**63 - 1, id="the most that a column holds"),
            pytest.param(2**25, "274877.906944", None, id="one more"),
        ],
    )
    def test_a_cost_that_no_column_holds_is_unknown(
        self,
        make: Make,
        provider: LoopbackProvider,
        sink: MemorySink,
        tokens: int,
        dollars: str,
        cost: int | None,
    ) -> None:
        row = f'[models."{OPENAI}"]\nprice = {{ input = {dollars}, output = 0 }}'
        provider.script(Text("hi", usage=Usage(tokens, 1)))

        make(OPENAI, row, ledger=sink).get_llm("f").invoke("hi")

        assert [(record.input, record.cost) for record in sink.records] == [(tokens, cost)]

    @pytest.mark.parametrize(
        ("row", "version"),
        [
            ("", "genai-prices "),
            ('priced_as = "openai:gpt-6-sol"', " as openai:gpt-6-sol"),
            ("price = { input = 0.123456789, output = 1 }", "table "),
        ],
    )
    def test_the_price_is_told_by_its_version(
        self, make: Make, sink: MemorySink, row: str, version: str
    ) -> None:
        patchbay = make(OPENAI, f'[models."{OPENAI}"]\n{row}', ledger=sink)

        patchbay.get_llm("f").invoke("hi")

        (one,) = sink.records
        assert one.price_version is not None
        assert version in one.price_version
        assert one.table_hash == patchbay.table.snapshot.hash

    def test_a_trace_that_is_current_is_told(self, make: Make, call: Driver, sink: MemorySink) -> None:
        span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=1, is_remote=False))
        model = make(OPENAI, ledger=sink).get_llm("f")

        with trace.use_span(span):
            call(model, "hi")
        call(model, "hi")

        assert [record.trace for record in sink.records] == [f"{0xABC:032x}", None]


NAMED: list[tuple[dict[str, str], str | None]] = [
    ({"x-request-id": "req_openai"}, "req_openai"),
    ({"request-id": "req_011CSHoEeqs5C35K2UUqR7Fy"}, "req_011CSHoEeqs5C35K2UUqR7Fy"),
    ({"x-generation-id": "gen-1773679501", "x-request-id": "a gateway's own"}, "gen-1773679501"),
    ({"x-ds-trace-id": "fb3cc7347920593f11e4fe8116dee066"}, "fb3cc7347920593f11e4fe8116dee066"),
    ({"mistral-correlation-id": "019aced2"}, "019aced2"),
    ({"apim-request-id": "9da39506-6c13-4646-91eb-5e0f5cf0cc50"}, "9da39506-6c13-4646-91eb-5e0f5cf0cc50"),
    ({"x-amzn-requestid": "amzn"}, "amzn"),
    ({"x-request-id": ""}, None),
    ({"X-Request-Id": "x" * 1999}, f"{'x' * 199}…"),
    ({"x-request-id": "house-key-of-openai"}, "***"),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "name"), NAMED)
@pytest.mark.parametrize("is_well", [True, False])
def test_what_a_provider_calls_the_request_is_noted_short_and_without_the_key(
    named: Callable[[Raw], str | None], headers: dict[str, str], name: str | None, *, is_well: bool
) -> None:
    body = '{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'

    assert named(Raw(200 if is_well else 400, body, headers=headers)) == name


@pytest.fixture
def named(
    make: Make, provider: LoopbackProvider, sink: MemorySink, whole: Driver
) -> Callable[[Raw], str | None]:
    """What ledger and receipt call a request to which that was the reply."""

    def named(reply: Raw) -> str | None:
        provider.script(reply)
        (attempt,) = attempts_of(make(OPENAI, STEADY, ledger=sink).get_llm("f"), whole)
        (one,) = sink.records
        assert one.request_id == attempt["request_id"]
        return one.request_id

    return named


class Kept(StoredSecret):
    """A key that is not to be opened but to sign."""

    def __init__(self) -> None:
        super().__init__("sk-of-a-user")
        self.name, self.fingerprint = "row-7", "feedfacefeedface"


def key_names(patchbay: Patchbay, sink: MemorySink, caller: Caller | None = None) -> set[str | None]:
    patchbay.get_llm("f", caller=caller).invoke("hi")
    return {record.key for record in sink.records}


class TestKeys:
    @pytest.fixture
    def of_user(self) -> Caller:
        return Caller(user_id="u", keys={"openai": SecretStr("sk-of-a-user")})

    def test_a_key_has_the_same_name_in_every_process_with_the_same_secret(
        self, make: Make, sink: MemorySink
    ) -> None:
        (name,) = key_names(make(OPENAI, ledger=sink, ledger_secret=SECRET), sink)

        assert name is not None
        assert name not in "house-key-of-openai"
        assert key_names(make(OPENAI, ledger=sink, ledger_secret=SECRET), sink) == {name}
        assert len(key_names(make(OPENAI, ledger=sink, ledger_secret=OTHER_SECRET), sink)) == 2

    def test_a_users_key_has_another_one(self, make: Make, sink: MemorySink, of_user: Caller) -> None:
        patchbay = make(OPENAI, ledger=sink, ledger_secret=SECRET)

        key_names(patchbay, sink)

        assert len(key_names(patchbay, sink, of_user)) == 2
        assert [record.key_owner for record in sink.records] == ["house", "user"]

    def test_without_a_secret_it_has_none(self, make: Make, sink: MemorySink, of_user: Caller) -> None:
        patchbay = make(OPENAI, ledger=sink)

        key_names(patchbay, sink)

        assert key_names(patchbay, sink, of_user) == {None}

    def test_a_stored_key_is_told_by_the_fingerprint_that_its_user_knows(
        self, make: Make, sink: MemorySink
    ) -> None:
        caller = Caller(user_id="u").model_copy(
            update={"keys": {"openai": Kept()}, "key_policy": "byok_only"}
        )

        assert key_names(make(OPENAI, ledger=sink), sink, caller) == {"feedfacefeedface"}

    def test_a_key_that_the_table_no_longer_has_gets_no_others_name(
        self, make: Make, sink: MemorySink, provider: LoopbackProvider
    ) -> None:
        environ = {"LOOPBACK_OPENAI_KEY": "house-key-of-old"}
        patchbay = make(OPENAI, ledger=sink, ledger_secret=SECRET, environ=environ)
        (old,) = key_names(patchbay, sink)

        environ["LOOPBACK_OPENAI_KEY"] = "house-key-of-new"
        patchbay.table.reload()

        assert len({old, *key_names(patchbay, sink)}) == 2

    @pytest.mark.parametrize("secret", [b"", b"too short", b"x" * 65])
    def test_a_secret_that_can_be_guessed_or_is_too_long_is_refused(self, make: Make, secret: bytes) -> None:
        with pytest.raises(ValueError, match="16 to 64 bytes"):
            make(OPENAI, ledger=MemorySink(), ledger_secret=secret)


@pytest.mark.parametrize("kind", [JsonLinesSink, Spool])
def test_no_key_prompt_or_answer_is_in_what_a_sink_writes(
    kind: Callable[[Path], JsonLinesSink | Spool],
    make: Make,
    call: Driver,
    provider: LoopbackProvider,
    tmp_path: Path,
) -> None:
    """The guard over the suite looks for keys in the files besides."""
    caller = Caller(user_id="u", keys={"openai": SecretStr("sk-canary-of-a-user")})
    replies = (
        Text("the answer is canary-A"),
        Status(401, message="no: sk-canary-of-a-user"),
        Refusal("canary-A"),
    )

    with kind(tmp_path / "ledger") as sink:
        model = make(OPENAI, ledger=sink, ledger_secret=SECRET).get_llm("f", caller=caller)
        for reply in replies:
            provider.script(reply)
            attempts_of(model, call, [HumanMessage("the question is canary-Q")])

    written = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert written.count("openai:gpt-6-luna") == len(replies)
    assert "canary" not in written
