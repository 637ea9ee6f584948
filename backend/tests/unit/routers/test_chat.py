from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

from backend.conversations.sample import SAMPLE
from backend.conversations.store import Conversation
from backend.tests.fakes.models import ScriptedModels
from backend.tests.fakes.services import ANN, BOB, scope, services
from backend.tests.fakes.streams import BreakingModel, EndlessModel, SilentModel
from backend.utils.llm.caller import current_caller
from backend.utils.llm.errors import MissingCredentialError, StreamInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from langchain_core.language_models import BaseChatModel

    from backend.conversations.transcript import Transcript
    from backend.routers.dependencies import Services

    from .conftest import Connect, MakeApp

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
QUESTION = {"conversation_id": "c1", "question": "When do we go live?"}
Event = tuple[str, Any]


async def holding(
    models: Callable[[str], BaseChatModel] | None = None, transcript: Transcript = SAMPLE
) -> Services:
    held = services(models)
    await held.conversations.add(
        Conversation(
            id="c1",
            user_id="ann",
            created_at=NOON,
            started_at=NOON,
            status="completed",
            transcript=transcript,
        )
    )
    return held


def events(response: httpx2.Response) -> list[Event]:
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_deltas_then_the_receipt_then_done(connect: Connect) -> None:
    said: Any = AIMessage("On Monday.", response_metadata={"receipt": {"feature": "chat_responses"}})
    client = connect(await holding(ScriptedModels(chat_responses=[said])))

    response = await client.post("/v1/chat", json=QUESTION, headers=ANN)

    *deltas, receipt, done = events(response)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert {name for name, _ in deltas} == {"delta"}
    assert "".join(data["text"] for _, data in deltas) == "On Monday."
    assert (receipt, done) == (("receipt", {"feature": "chat_responses"}), ("done", {}))


async def test_what_fails_before_the_first_piece_is_an_http_error(connect: Connect) -> None:
    client = connect(await holding(ScriptedModels(chat_responses=[MissingCredentialError("No key.")])))

    response = await client.post("/v1/chat", json=QUESTION, headers=ANN)

    assert (response.status_code, response.json()["error"]["code"]) == (403, "credential_missing")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StreamInterruptedError("It broke."), "stream_interrupted"),
        (RuntimeError("the secret"), "internal_error"),
    ],
    ids=["foreseen", "a bug"],
)
async def test_what_fails_after_it_is_an_error_event_and_the_end(
    error: Exception, code: str, connect: Connect
) -> None:
    model = BreakingModel(error=error)
    client = connect(await holding(lambda _: model))

    response = await client.post("/v1/chat", json=QUESTION, headers=ANN)

    (first, last) = events(response)
    assert first == ("delta", {"text": "On Mon"})
    assert (last[0], last[1]["code"]) == ("error", code)
    assert "the secret" not in response.text


async def test_another_users_conversation_is_not_talked_about(connect: Connect) -> None:
    response = await connect(await holding()).post("/v1/chat", json=QUESTION, headers=BOB)

    assert response.status_code == 404


async def test_about_nothing_there_is_nothing_to_ask(connect: Connect) -> None:
    silent = SAMPLE.model_copy(update={"segments": ()})

    response = await connect(await holding(transcript=silent)).post("/v1/chat", json=QUESTION, headers=ANN)

    assert response.status_code == 409


@pytest.mark.parametrize("question", ["", "  ", "why " * 1_000, "\ud800"])
async def test_a_question_has_words_and_an_end(question: str, connect: Connect) -> None:
    body = json.dumps(QUESTION | {"question": question})

    response = await connect(await holding()).post(
        "/v1/chat", content=body, headers=ANN | {"content-type": "application/json"}
    )

    assert response.status_code == 422


async def test_the_models_are_asked_for_the_caller_with_their_key(connect: Connect) -> None:
    models = ScriptedModels()
    asked_for = []

    def get_llm(feature: str) -> BaseChatModel:
        asked_for.append(current_caller())
        return models(feature)

    await connect(await holding(get_llm)).post(
        "/v1/chat", json=QUESTION, headers=ANN | {"x-byok-openai": "sk-of-ann"}
    )

    (caller,) = asked_for
    assert (caller.user_id, set(caller.keys)) == ("ann", {"openai"})


async def test_a_client_that_leaves_closes_the_models_stream(make_app: MakeApp) -> None:
    model = EndlessModel()
    app = make_app(await holding(lambda _: model))
    heard = asyncio.Event()
    request = iter([{"type": "http.request", "body": json.dumps(QUESTION).encode(), "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in request:
            return message
        await heard.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            heard.set()

    await asyncio.wait_for(app(scope("/v1/chat"), receive, send), 10)

    await asyncio.wait_for(model.closed.wait(), 30)


async def test_a_client_that_leaves_before_the_first_piece_ends_the_call(make_app: MakeApp) -> None:
    model = SilentModel()
    app = make_app(await holding(lambda _: model))
    body = [{"type": "http.request", "body": json.dumps(QUESTION).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if body:
            return body.pop()
        await model.asked.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    await asyncio.wait_for(app(scope("/v1/chat"), receive, send), 10)

    assert model.closed.is_set()


async def test_a_client_that_stays_is_waited_for(connect: Connect) -> None:
    """Nothing of the watch for its leaving is left in the way of what comes after."""
    client = connect(await holding(ScriptedModels(chat_responses=[AIMessage("one"), AIMessage("two")])))

    for said in ("one", "two"):
        response = await client.post("/v1/chat", json=QUESTION, headers=ANN)
        assert events(response)[0] == ("delta", {"text": said})
