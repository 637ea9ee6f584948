"""What providers answered once is answered again: to the same request, by the same API, without a network or a key."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from pydantic import BaseModel

from backend.utils.llm import get_embeddings, get_llm
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import (
    Json,
    LoopbackProvider,
    NotRecordedError,
    Recording,
    Status,
    Text,
    ToolCalls,
    record,
    replay,
)
from backend.utils.llm.testing.patchbays import loopback_table
from backend.utils.llm.testing.virtual_time import VirtualTime

from ..drivers import DRIVERS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..drivers import Driver

CANARY = "sk-canary-rec0rd1ng"
KEYS = {f"LOOPBACK_{name}_KEY": CANARY for name in ("OPENAI", "GEMINI", "ANTHROPIC")}
CHAINS = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-sol",
    "gemini": "gemini:gemini-3.5-flash-lite",
    "anthropic": "anthropic:claude-sonnet-5-5",
    "either": ["gemini:gemini-3.5-flash-lite", "openai:gpt-6-luna"],
    "memories": "openai:text-embedding-3-small",
    "vectors": "gemini:gemini-embedding-001",
}
MORE = """
[features.memories]
embedding = { model = "text-embedding-3-small", dimensions = 8 }
[features.vectors]
embedding = { model = "gemini-embedding-001", dimensions = 8 }
"""
CHATS = ["chat", "responses", "gemini", "anthropic"]


class Title(BaseModel):
    title: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recordings" / "talk.json"


@pytest.fixture
def table(tmp_path: Path, provider: LoopbackProvider) -> Path:
    """A table whose providers are real, as far as the recorder knows."""
    made = tmp_path / "llm.toml"
    made.write_text(loopback_table(provider, CHAINS, MORE))
    return made


def recorded(path: Path, table: Path, feature: str, call: Driver, environ: Mapping[str, str] = KEYS) -> str:
    with record(path, table=table, environ=environ):
        return call(get_llm(feature), "hi").text


@pytest.mark.parametrize("call", DRIVERS)
@pytest.mark.parametrize("feature", CHATS)
def test_the_answer_is_the_recorded_one(
    feature: str, call: Driver, path: Path, table: Path, provider: LoopbackProvider
) -> None:
    provider.always(Text("the recorded answer: ✓"))
    said = recorded(path, table, feature, call)
    provider.close()

    with replay(path, table=table) as replayed:
        answer = call(get_llm(feature), "hi")

    assert answer.text == said == "the recorded answer: ✓"
    assert len(replayed.requests) == 1
    assert answer.usage_metadata is not None


@pytest.mark.parametrize("call", STREAMS)
def test_a_stream_has_the_recorded_pieces(
    call: Driver, path: Path, table: Path, provider: LoopbackProvider
) -> None:
    provider.always(Text("one two three", chunks=3))
    recorded(path, table, "chat", call)

    with replay(path, table=table):
        pieces = [chunk.text for chunk in get_llm("chat").stream("hi")]

    assert [piece for piece in pieces if piece] == ["one ", "two ", "three"]


@pytest.mark.parametrize("feature", CHATS)
def test_structured_answers_and_tools_are_replayed(
    feature: str, path: Path, table: Path, provider: LoopbackProvider
) -> None:
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    def talk() -> list[object]:
        title = get_llm(feature).with_structured_output(Title).invoke("a title")
        bound = get_llm(feature).bind_tools([look_up])
        asked = bound.invoke("look it up")
        assert isinstance(asked, AIMessage)
        result = ToolMessage("found", tool_call_id=asked.tool_calls[0]["id"])
        return [title, asked.tool_calls, bound.invoke([("human", "look it up"), asked, result]).text]

    provider.script(Json({"title": "Lunch"}), ToolCalls((("look_up", {"word": "x"}),)), Text("it is x"))
    with record(path, table=table, environ=KEYS):
        said = talk()
    provider.close()

    with replay(path, table=table):
        assert talk() == said


@pytest.mark.parametrize("feature", ["memories", "vectors"])
def test_vectors_are_replayed(feature: str, path: Path, table: Path, provider: LoopbackProvider) -> None:
    def vectors() -> list[list[float]]:
        embeddings = get_embeddings(feature)
        return [*embeddings.embed_documents(["a", "b"]), asyncio.run(embeddings.aembed_query("c"))]

    with record(path, table=table, environ=KEYS):
        said = vectors()
    provider.close()

    with replay(path, table=table):
        assert vectors() == said


def test_the_same_request_gets_its_answers_in_their_order(
    path: Path, table: Path, provider: LoopbackProvider
) -> None:
    provider.script(Text("first"), Text("second"))
    with record(path, table=table, environ=KEYS):
        said = [get_llm("chat").invoke("hi").text for _ in range(2)]

    with replay(path, table=table):
        assert [get_llm("chat").invoke("hi").text for _ in range(2)] == said == ["first", "second"]


def test_failures_are_replayed_and_their_waits_are_virtual(
    path: Path, table: Path, provider: LoopbackProvider
) -> None:
    provider.script(Status(429, retry_after=0.01), Text("hello"))
    recorded(path, table, "chat", DRIVERS[0])
    time = VirtualTime()

    with replay(path, table=table, time=time.time) as replayed:
        answer = get_llm("chat").invoke("hi")

    assert [one["status"] for one in answer.response_metadata["receipt"]["attempts"]] == [429, 200]
    assert len(replayed.requests) == 2
    assert time.slept


def test_who_serves_is_who_served_then(path: Path, table: Path) -> None:
    """The house had no key for the first endpoint when it was recorded."""
    recorded(path, table, "either", DRIVERS[0], {"LOOPBACK_OPENAI_KEY": CANARY})

    with replay(path, table=table):
        answer = get_llm("either").invoke("hi")

    assert answer.response_metadata["receipt"]["endpoint"] == "openai:gpt-6-luna"


@pytest.mark.parametrize("call", DRIVERS)
@pytest.mark.parametrize("feature", CHATS)
def test_no_key_is_in_the_file(
    feature: str, call: Driver, path: Path, table: Path, provider: LoopbackProvider
) -> None:
    """Neither the key that signed, nor one in a prompt, an answer, or a header."""
    users = "sk-users-canary-77"
    provider.always(Text(f"you said {CANARY} and {users}"))
    with (
        record(path, table=table, environ=KEYS),
        use_caller(Caller(keys=dict.fromkeys(["openai", "gemini", "anthropic"], users))),
    ):
        call(get_llm(feature), f"my keys are {CANARY}, {users}")
    provider.always(
        Status(401, message=f"Incorrect API key provided: {CANARY}", headers={"x-request-id": "r1"})
    )
    with record(path.with_name("refused.json"), table=table, environ=KEYS), pytest.raises(LLMError):
        call(get_llm(feature), "hi")

    texts = [file.read_text() for file in path.parent.iterdir()]
    assert len(texts) == 2
    assert all(secret not in text for secret in (CANARY, users) for text in texts)
    assert all(
        name not in text.lower()
        for name in ("authorization", "x-api-key", "x-goog-api-key")
        for text in texts
    )


def test_a_key_in_a_prompt_is_no_matter_when_it_is_replayed(path: Path, table: Path) -> None:
    with record(path, table=table, environ=KEYS):
        said = get_llm("chat").invoke(f"is {CANARY} a key?").text

    with replay(path, table=table):
        assert get_llm("chat").invoke("is sk-an0ther-key-of-ours a key?").text == said.replace(CANARY, "***")


def test_what_was_not_recorded_is_told_with_what_differs(path: Path, table: Path) -> None:
    recorded(path, table, "chat", DRIVERS[0])

    with pytest.raises(NotRecordedError) as caught, replay(path, table=table):
        get_llm("chat").invoke("hello")

    assert 'messages[0].content: recorded "hi", asked "hello"' in str(caught.value)
    assert isinstance(caught.value.__context__, LLMError)


def test_what_was_not_recorded_is_told_though_the_code_went_on(path: Path, table: Path) -> None:
    recorded(path, table, "chat", DRIVERS[0])

    with (
        pytest.raises(NotRecordedError, match="only for /v1/chat/completions"),
        replay(path, table=table),
        suppress(LLMError),
    ):
        get_llm("anthropic").invoke("hi")


def test_what_is_asked_more_often_than_it_was_recorded_is_told(path: Path, table: Path) -> None:
    recorded(path, table, "chat", DRIVERS[0])

    with (
        pytest.raises(NotRecordedError, match="more often than it was recorded, once"),
        replay(path, table=table),
    ):
        get_llm("chat").batch(["hi", "hi"])


def test_a_script_comes_before_the_recording(path: Path, table: Path) -> None:
    said = recorded(path, table, "chat", DRIVERS[0])

    with replay(path, table=table, time=VirtualTime().time) as replayed:
        replayed.script(Status(503))
        answer = get_llm("chat").invoke("hi")

    assert answer.text == said
    assert len(replayed.requests) == 2


def test_what_was_recorded_and_not_asked_for_is_known(path: Path, table: Path) -> None:
    recorded(path, table, "chat", DRIVERS[0])

    with replay(path, table=table) as replayed:
        assert replayed.replay is not None
        assert [exchange.asked.path for exchange in replayed.replay.unused_exchanges] == [
            "/v1/chat/completions"
        ]
        get_llm("chat").invoke("hi")
        assert replayed.replay.unused_exchanges == ()


def test_the_file_is_for_people(path: Path, table: Path, provider: LoopbackProvider) -> None:
    provider.always(Text("grüß dich"))
    recorded(path, table, "chat", DRIVERS[2])
    recorded(path.with_name("whole.json"), table, "chat", DRIVERS[0])

    streamed, whole = (
        json.loads(one.read_text("utf-8"))["exchanges"][0] for one in sorted(path.parent.iterdir())
    )
    assert "grüß dich" in path.with_name("whole.json").read_text("utf-8")
    assert streamed["asked"]["body"]["messages"] == [{"role": "user", "content": "hi"}]
    assert streamed["answered"]["events"][0].startswith("data: ")
    assert whole["answered"]["json"]["choices"][0]["message"]["content"] == "grüß dich"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 1}', '{"version": 2}', '{"version": 1, "exchanges": [1]}']
)
def test_a_file_that_is_no_recording_says_so(text: str, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(ValueError, match="Record it anew"):
        Recording.read(path)


def test_it_is_written_also_if_the_test_fails(path: Path, table: Path) -> None:
    with suppress(ZeroDivisionError), record(path, table=table, environ=KEYS):
        get_llm("chat").invoke("hi")
        assert 1 / 0

    assert len(Recording.read(path).exchanges) == 1


A_TEST = """
pytest_plugins = ["backend.utils.llm.testing.pytest_plugin"]
"""
REPLAYED = """
from backend.utils.llm import get_llm

def test_it(llm_recording, llm_caller):
    assert "hello" in get_llm("chat").invoke("hi").text
    assert len(llm_recording.requests) == 1
"""


def test_the_plugins_fixture_records_and_replays(
    pytester: pytest.Pytester, table: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.always(Text("hello"))
    pytester.makeconftest(A_TEST)
    pytester.makeini(
        f"[pytest]\nllm_table = {table}\nasyncio_default_fixture_loop_scope = function\naddopts = -p no:randomly -p no:cacheprovider"
    )
    pytester.makepyfile(test_talk=REPLAYED)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)

    missing = pytester.runpytest_inprocess()
    made = pytester.runpytest_inprocess("--llm-record")
    provider.close()
    replayed = pytester.runpytest_inprocess()

    missing.assert_outcomes(errors=1)
    missing.stdout.fnmatch_lines(["*pytest --llm-record*"])
    made.assert_outcomes(passed=1)
    replayed.assert_outcomes(passed=1)
    assert (pytester.path / "recordings" / "test_talk" / "test_it.json").is_file()


def test_a_word_that_a_server_takes_for_a_key_may_stand_in_a_prompt(path: Path, table: Path) -> None:
    with record(path, table=table, environ=dict.fromkeys(KEYS, "none")):
        said = get_llm("chat").invoke("none of it").text

    with replay(path, table=table):
        assert get_llm("chat").invoke("none of it").text == said
    assert "none of it" in path.read_text()


def test_without_any_key_there_is_nobody_to_record(path: Path, table: Path) -> None:
    table.write_text(f'demo = "local:tiny"\n{table.read_text()}\n[providers.local]\napi = "openai"')

    with (
        pytest.raises(ValueError, match="set one of LOOPBACK_OPENAI_KEY"),
        record(path, table=table, environ={}),
    ):
        pass

    assert not path.exists()
