"""The server that `served` asks, with the calls underneath it, in one process; and its provider, in another.

    python -m benchmarks.served_worker provider
    python -m benchmarks.served_worker server FOLDER

Each prints its port first. The server then takes commands on its standard input: ``cpu`` prints the processor time so far,
``chat`` and ``conversation`` make so many of the bare calls and print the processor time of each. It ends with its input.
Both wait first until the ledger has what was called before, so that whoever makes a call pays for its rows.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from typing_extensions import override

from backend.access import DataOwner
from backend.conversations.processing import ConversationIdentity, build_conversation
from backend.conversations.sample import SAMPLE
from backend.ledger.shipper import EVERY_SECONDS
from backend.main import create_app
from backend.protocol import make_uvicorn_config
from backend.settings import Settings
from backend.utils.llm.caller import Caller, use_caller

from .answers import CHUNKS, of_http, of_stream
from .provider import Connection, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastapi import FastAPI

_TALKS: Final = "chat-responses"
_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "conv-discard": {"reason": "A task.", "discard": False},
    "conv-structure": {"title": "Going live", "overview": "They decide when.", "category": "work"},
    "conv-action-items": {"items": [{"description": "Fix the payment test", "owner": "Jonas"}]},
    "conv-folder": {"reasoning": "A project.", "folder_id": "1", "confidence": 0.95},
}
MODELS: Final = (*_ANSWERS, _TALKS)
"""Each is named as its feature, but with hyphens."""
_SETTLED: Final = 1.5 * EVERY_SECONDS
"""Seconds after which the ledger has the rows of all calls."""
_USAGE: Final = {"prompt_tokens": 200, "completion_tokens": 160, "total_tokens": 360}


def table(port: int) -> str:
    """The table of the server, whose provider is at ``port``: each feature has a model of its own."""
    rows = "\n".join(f'{model.replace("-", "_")} = "openai:{model}"' for model in MODELS)
    provider = f'api = "openai"\nbase_url = "http://127.0.0.1:{port}/v1"\napi_key_env = "HOUSE_KEY"'
    return (
        f'[providers.openai]\n{provider}\n[profiles.premium]\n{rows}\n[profiles.byok]\nextends = "premium"\n'
    )


# The provider ---------------------------------------------------------------------------------------------------------


class _Telling(Connection):
    """Says in the first chunk of a stream when that was sent: by a clock that all processes of a machine share."""

    @override
    def _answer(self, path: bytes, body: bytes) -> None:
        if not path.endswith(b"/chat/completions"):
            super()._answer(path, body)
            return
        model = next(name for name in MODELS if name.encode() in body)
        if model == _TALKS:
            self._loop.call_later(self._state.latency, self._stream)
        else:
            message = {"role": "assistant", "content": json.dumps(_ANSWERS[model])}
            choice = {"message": message, "finish_reason": "stop"}
            self._transport.write(of_http(_body(model, choice, usage=_USAGE)))

    def _stream(self) -> None:
        pieces = [f"{time.monotonic()} ", *(f"word{number} " for number in range(1, CHUNKS))]
        choices: list[dict[str, Any]] = [
            {"delta": {"content": piece}, "finish_reason": None} for piece in pieces
        ]
        bodies = [_body(_TALKS, choice) for choice in [*choices, {"delta": {}, "finish_reason": "stop"}]]
        bodies += [_body(_TALKS, None, usage=_USAGE), b"[DONE]"]
        parts = of_stream([b"data: %b\n\n" % body for body in bodies])
        if not self._state.pace:
            self._transport.write(b"".join(parts))
            return
        for number, part in enumerate(parts):
            self._loop.call_later(number * self._state.pace, self._transport.write, part)


def _body(model: str, choice: dict[str, Any] | None, **more: Any) -> bytes:
    choices = [] if choice is None else [{"index": 0, **choice}]
    return json.dumps({"id": "c", "created": 1, "model": model, "choices": choices, **more}).encode()


async def provide() -> None:
    """Be the provider."""
    state, loop = State(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Telling(state), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


# The server -----------------------------------------------------------------------------------------------------------


class _Recording:
    """The models of an application, whose structured calls are kept, to be made once more."""

    def __init__(self, models: Callable[[str], Any]) -> None:
        self._models = models
        self.calls: list[Callable[[], Awaitable[object]]] = []

    def __call__(self, feature: str) -> Any:
        return _RecordedModel(self, feature)

    def keep(self, feature: str, schema: Any, options: dict[str, Any], messages: Any) -> Awaitable[Any]:
        """Make the call, and keep how."""

        def call() -> Awaitable[Any]:
            called: Awaitable[Any] = (
                self._models(feature).with_structured_output(schema, **options).ainvoke(messages)
            )
            return called

        self.calls.append(call)
        return call()


class _RecordedModel:
    def __init__(self, recording: _Recording, feature: str) -> None:
        self._recording, self._feature = recording, feature

    def with_structured_output(self, schema: Any, **options: Any) -> _RecordedModel:
        self._asked = schema, options
        return self

    async def ainvoke(self, messages: Any, **_: Any) -> Any:
        return await self._recording.keep(self._feature, *self._asked, messages)


class _Bare:
    """The calls underneath: what product code would make without a server."""

    def __init__(self, models: Callable[[str], Any]) -> None:
        self._models = models
        self._messages: list[tuple[str, str]] = []
        self._calls: Sequence[Callable[[], Awaitable[object]]] = ()

    async def prepare(self) -> None:
        """Find out which calls a conversation makes."""
        self._messages = [("system", "You answer questions." * 10), ("human", SAMPLE.render().text)]
        recording = _Recording(self._models)
        await build_conversation(
            SAMPLE, ConversationIdentity("c", DataOwner("u"), SAMPLE.started_at), recording
        )
        self._calls = recording.calls

    async def chat(self) -> None:
        """One stream."""
        chunks = [chunk async for chunk in self._models("chat_responses").astream(self._messages)]
        assert len(chunks) >= CHUNKS  # noqa: S101 - a benchmark of something else would be worth nothing

    async def conversation(self) -> None:
        """All calls of one."""
        for call in self._calls:
            await call()


class _Meter:
    """Processor time, without that of waiting until no row and no garbage is left of what was done."""

    def __init__(self) -> None:
        self._waited = 0.0

    async def settled(self) -> float:
        """So far, in seconds. While it waits twice, the server idles once; that is taken off twice."""
        await asyncio.sleep(_SETTLED)
        gc.collect()
        begun = time.process_time()
        await asyncio.sleep(_SETTLED)
        self._waited += 2 * (time.process_time() - begun)
        return time.process_time() - self._waited


async def _commands(app: FastAPI) -> None:
    bare = _Bare(app.state.services.facade.get_llm)
    loop, meter = asyncio.get_running_loop(), _Meter()
    with use_caller(Caller(user_id="admin")):
        await bare.prepare()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            what, _, count = line.strip().partition(" ")
            if what == "cpu":
                print(await meter.settled(), flush=True)
                continue
            work = bare.chat if what == "chat" else bare.conversation
            begun = await meter.settled()
            for _ in range(int(count)):
                await work()
            print((await meter.settled() - begun) / int(count), flush=True)


async def serve(folder: Path) -> None:
    """Be the server."""
    tokens: list[str] = []
    app = create_app(Settings(_env_file=None, data_dir=folder), announce=tokens.append)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(make_uvicorn_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    print(listener.getsockname()[1], tokens[0], flush=True)
    await _commands(app)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(provide() if sys.argv[1] == "provider" else serve(Path(sys.argv[2])))
