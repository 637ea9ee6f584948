"""Whether anything that was acknowledged is lost, or anything paid for twice, when a busy server is killed or stopped.

    PYTHONPATH=. .venv/bin/python -m benchmarks.crash [--ends 60] [--seed 1]

Eight clients have conversations made, each with an idempotency key, and ask again with the same key until they have an answer.
Meanwhile the server, a process of its own, ends again and again: by SIGKILL at any moment, by SIGKILL at a named step of its
work, or by SIGTERM. The provider runs here and outlives it. Every conversation has a number, which is in all of its prompts.

Prints a table in Markdown, in some minutes. Exit code 1 if something was lost or paid for twice. What was under way when the server
was killed, be the answer on its way or there and not yet kept, is asked for again; that is counted apart. Of a stop there is nothing
such: the provider answers within the time that a stop has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from functools import wraps
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
from typing_extensions import override

from backend import serve as service
from backend.conversations.creation import PROMPT
from backend.database.conversations import SqlConversationStore
from backend.database.journals import FileJournal
from backend.settings import Settings
from backend.utils.llm.testing import Json, LoopbackProvider, SlowFirstByte
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backend.conversations.store import Conversation
    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.recording import RecordedRequest
    from backend.utils.llm.testing.transmission import ReplyContext

CLIENTS: Final = 8
FIRST_NUMBER: Final = 1_000_000
STEPS: Final = ("conv_discard", "conv_structure", "conv_action_items", "conv_folder")
OWNERS: Final = {"FileJournal": FileJournal, "SqlConversationStore": SqlConversationStore}
MOMENTS: Final = (
    *(
        f"FileJournal.{function}"
        for function in ("reserve_space", "write_answer", "write_conversation", "remove", "close")
    ),
    "SqlConversationStore.add",
)
LONGEST: Final = 60.0
"""Seconds that a server may take to start, or to end."""
_NUMBER: Final = re.compile(r"\b1\d{6}\b")


class Provider(LoopbackProvider):
    """Answers every step of every conversation, after a moment."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        found = _NUMBER.search(str(exchange.prompt))
        answers: dict[str, Any] = {
            "conv_discard": {"reason": "A task.", "discard": False},
            "conv_structure": {
                "title": f"Ticket {found[0] if found else ''}",
                "overview": "They mend the ticket.",
                "category": "work",
            },
            "conv_action_items": {"items": [{"description": "Mend the ticket", "owner": "Ann"}]},
            "conv_folder": {"reasoning": "Work.", "folder_id": "1", "confidence": 0.95},
        }
        return SlowFirstByte(self._chance.uniform(0.02, 0.2), then=Json(answers[_feature(exchange.model)]))


class End(NamedTuple):
    """How a server ends: by which signal, and at which step of its work, or at any moment."""

    signal: signal.Signals
    moment: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.signal.name} {self.moment or 'at any moment'}".replace(":", " ")


class Death(NamedTuple):
    """The end of a server: how, when, and what it had kept by then, by conversation."""

    end: End
    at: float
    kept: Mapping[str, set[str]]


class Made(NamedTuple):
    """A conversation that was acknowledged."""

    number: int
    id: str
    status: int


class Trial:
    """One run: the data, the clients, and the servers, one after the other."""

    def __init__(self, folder: Path, provider: Provider, chance: random.Random) -> None:
        self.provider = provider
        self.made: list[Made] = []
        self.deaths: list[Death] = []
        self.answers: Counter[str] = Counter()
        self._chance = chance
        self._data = folder / "data"
        self._table = folder / "llm.toml"
        self._table.write_text(loopback_table(provider, {step: _endpoint(step) for step in STEPS}))
        self._numbers = count(FIRST_NUMBER)
        self._is_up = asyncio.Event()
        self._is_over = False
        self._origin = self._token = ""

    async def run(self, ends: Sequence[End]) -> list[str]:
        """Let servers end so; the ids of what is stored at last."""
        clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        for number, end in enumerate(ends, 1):
            await self._one(end)
            sys.stderr.write(f"\r{number} of {len(ends)}: {end}, {len(self.made)} acknowledged      ")
        self._is_over = True
        server = await self._started("")
        await asyncio.gather(*clients)
        while list((self._data / "unstored").iterdir()):  # noqa: ASYNC110 - another process empties it
            await asyncio.sleep(0.5)
        stored = await self._stored()
        server.terminate()
        await server.wait()
        return stored

    async def _one(self, end: End) -> None:
        server = await self._started(end.moment)
        try:
            if not end.moment:
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))
                server.send_signal(end.signal)
            async with asyncio.timeout(LONGEST):
                await server.wait()
        finally:
            self._is_up.clear()
            with suppress(ProcessLookupError):
                server.kill()
        self.deaths.append(Death(end, time.monotonic(), self._kept()))

    async def _started(self, moment: str) -> asyncio.subprocess.Process:
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.crash", "--serve", moment),
            env={
                "PYTHONPATH": ".",
                "PATCHBAY_DATA_DIR": str(self._data),
                "PATCHBAY_PORT": "0",
                "LLM_CONFIG": str(self._table),
                "COLUMNS": "300",
                **HOUSE_KEYS,
            },
            stdout=asyncio.subprocess.PIPE,
        )
        with suppress(asyncio.IncompleteReadError):  # it ended before it was there
            async with asyncio.timeout(LONGEST):
                told = await _told(server.stdout)
            self._origin, self._token = re.findall(r"Open (\S+)/login\?token=(\S+)", told.decode())[0]
            self._is_up.set()
        return server

    async def _client(self) -> None:
        while not self._is_over:
            number = next(self._numbers)
            self.made.append(await self._until_acknowledged(number))

    async def _until_acknowledged(self, number: int) -> Made:
        while True:
            await self._is_up.wait()
            with suppress(httpx.TransportError):
                async with self._http() as http:
                    answer = await http.post(
                        "/v1/conversations",
                        json=_transcript(number),
                        headers={"Idempotency-Key": f"key-{number}"},
                    )
                self.answers[str(answer.status_code)] += 1
                if answer.status_code in {201, 202}:
                    return Made(number, answer.json()["id"], answer.status_code)
            await asyncio.sleep(0.1)

    async def _stored(self) -> list[str]:
        found, cursor = [], None
        async with self._http() as http:
            while True:
                query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
                page = (await http.get("/v1/conversations", params=query)).raise_for_status().json()
                found += [item["id"] for item in page["items"] if item["title"].startswith("Ticket 1")]
                if (cursor := page["next_cursor"]) is None:
                    return found

    def _http(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._token}"}
        return httpx.AsyncClient(base_url=self._origin, headers=headers, trust_env=False, timeout=LONGEST)

    def _kept(self) -> dict[str, set[str]]:
        journals = list((self._data / "unstored").glob("*"))
        return {
            path.name: {
                line.partition(b" ")[0].decode(errors="replace") for line in path.read_bytes().split(b"\n")
            }
            for path in journals
        }


class Verdict(NamedTuple):
    """What came of it.

    Attributes:
        lost: Acknowledged, and not stored.
        twice: Stored more than once.
        paid_twice: Steps that were asked for again though what they came to was kept, or though no server had ended.
        under_way: Steps that were asked for again because the server ended before it could keep them, by how it ended.
        answered: Those of them that the provider had answered by then.
    """

    lost: int
    twice: int
    paid_twice: int
    under_way: Counter[signal.Signals]
    answered: int

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, and nothing paid for twice, nor given up by a stop."""
        return not (self.lost or self.twice or self.paid_twice or self.under_way[signal.SIGTERM])


def judge(trial: Trial, stored: Sequence[str]) -> Verdict:
    """Look at what the provider saw, what clients were told, and what is stored."""
    ids = {made.number: made.id for made in trial.made}
    asked: defaultdict[tuple[int, str], list[RecordedRequest]] = defaultdict(list)
    for request in trial.provider.requests:
        if found := _NUMBER.search(json.dumps(request.body)):
            asked[int(found[0]), _feature(request.model)].append(request)
    paid_twice = answered = 0
    under_way: Counter[signal.Signals] = Counter()
    for (number, feature), requests in asked.items():
        for before, again in pairwise(requests):
            ends = [death for death in trial.deaths if before.arrived_at < death.at < again.arrived_at]
            if not ends or any(feature in death.kept.get(ids[number], ()) for death in ends):
                paid_twice += 1
            else:
                under_way[ends[0].end.signal] += 1
                answered += not before.closed_by_client
    lost = len(set(ids.values()) - set(stored))
    return Verdict(lost, len(stored) - len(set(stored)), paid_twice, under_way, answered)


async def _told(output: asyncio.StreamReader | None) -> bytes:
    """What a server says until it has said where it is."""
    return await output.readuntil(b"/login?token=") + await output.readline() if output else b""


def _feature(model: str) -> str:
    return model.removeprefix("model-of-").replace("-", "_")


def _endpoint(feature: str) -> str:
    return f"openai:model-of-{feature.replace('_', '-')}"


def _transcript(number: int) -> dict[str, Any]:
    text = f"I will mend the ticket {number}."
    return {
        "started_at": "2026-11-21T09:00:00Z",
        "segments": [{"speaker": "Ann", "text": text, "start": 0, "end": 3}],
    }


def _ends(many: int, chance: random.Random) -> Iterator[End]:
    kinds = cycle(
        [
            End(signal.SIGKILL),
            *(
                end
                for moment in MOMENTS
                for when in ("before", "after")
                for end in (End(signal.SIGKILL, f"{moment}:{when}"),)
            ),
            End(signal.SIGTERM),
            End(signal.SIGKILL),
            End(signal.SIGTERM),
        ]
    )
    for _, end in zip(range(many), kinds, strict=False):
        yield end._replace(moment=f"{end.moment}:{chance.randint(1, 12)}") if end.moment else end


def _serve(moment: str) -> int:
    """The server, which is killed when the named function is called for the so manyth time, or has been."""
    if moment:
        place, when, times = moment.split(":")
        if place == "FileJournal.finish":  # which nobody needs while the database is prompt
            _be_late()
        _kill_at(*place.split("."), is_over=when == "after", times=int(times))
    return service.serve(Settings(), once=False)


def _be_late() -> None:
    add = SqlConversationStore.add

    @wraps(add)
    async def late(store: SqlConversationStore, conversation: Conversation) -> None:
        await asyncio.sleep(2 * PROMPT)
        await add(store, conversation)

    setattr(SqlConversationStore, add.__name__, late)


def _kill_at(owner: str, function: str, *, is_over: bool, times: int) -> None:
    whole = getattr(OWNERS[owner], function)
    calls = count(1)

    @wraps(whole)
    async def watched(*given: Any, **named: Any) -> Any:
        is_the_one = next(calls) == times
        if is_the_one and not is_over:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await whole(*given, **named)
        if is_the_one:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(OWNERS[owner], function, watched)


def _print(trial: Trial, ends: Sequence[End], verdict: Verdict) -> None:
    kinds = Counter(" ".join(str(end).split()[:2]) for end in ends)
    sys.stdout.write("\n| | |\n|---|---:|\n")
    rows = {
        **{f"ended by {kind}": times for kind, times in kinds.items()},
        "acknowledged": len(trial.made),
        **{f"answers {status}": times for status, times in sorted(trial.answers.items())},
        "requests of the provider": len(trial.provider.requests),
        "acknowledged and lost": verdict.lost,
        "stored twice": verdict.twice,
        "paid for twice": verdict.paid_twice,
        "asked for again, having been under way at a stop": verdict.under_way[signal.SIGTERM],
        "asked for again, having been under way at a kill": verdict.under_way[signal.SIGKILL],
        "of these, answered by the provider": verdict.answered,
    }
    sys.stdout.writelines(f"| {name} | {value} |\n" for name, value in rows.items())


def main() -> int:
    """Run it; 1 if something was lost or paid for twice."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--ends", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--stops", action="store_true", help="stop it only, never kill it")
    options.add_argument("--serve", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve is not None:
        return _serve(given.serve)
    chance = random.Random(given.seed)  # noqa: S311 - not for secrets
    ends = [End(signal.SIGTERM)] * given.ends if given.stops else list(_ends(given.ends, chance))
    with tempfile.TemporaryDirectory() as folder, Provider(chance) as provider:
        trial = Trial(Path(folder), provider, chance)
        verdict = judge(trial, asyncio.run(trial.run(ends)))
    _print(trial, ends, verdict)
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
