"""Whether anybody ever pays with a stranger's key: a thousand callers, on three event loops and in plain threads.

    PYTHONPATH=. .venv/bin/python -m benchmarks.strangers [--calls 100000]

A thousand callers, each with keys of their own, make 100,000 calls of the soak's kinds: whole answers, streams that are
read, left and cancelled, schemas, tools. Who calls next is on one of three event loops, 16 at once on each, or in one of
8 threads. Models answer 503, 429 and 500 and hang up half of the time. The provider runs in a process of its own: each
prompt names who may pay, and it counts every request whose key is not theirs. Most callers pay with their own keys only,
some with the house's where theirs do not do, some have the house pay, and some have keys that are refused.

Prints a table in Markdown, in about ten minutes. Exit code 1 if a single key was wrong, or an answer somebody else's.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from backend.utils.llm import Caller, LLMError, Patchbay, Table, use

from .soak_mix import FAULTS, HOUSE_KEYS, PROVIDERS, Deed, User, WrongOutcomeError, table
from .witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backend.utils.llm.types import KeyPolicy

CALLERS = 1_000
LOOPS, TASKS, THREADS = 3, 16, 8
FAULT_SECONDS = 0.5


class Found(NamedTuple):
    """What came of all calls.

    Attributes:
        outcomes: By who may pay and what came: ``answered`` or ``failed``.
        strange: Answers and receipts that were somebody else's, such as they are.
        counts: What the provider saw.
    """

    outcomes: Counter[tuple[str, str]]
    strange: Sequence[str]
    counts: Counter[str]

    @property
    def faults(self) -> list[str]:
        """Why it is no proof."""
        told = {
            f"{self.counts['wrong keys']} requests with a wrong key": self.counts["wrong keys"] > 0,
            f"{len(self.strange)} strange answers, such as {self.strange[:1]}": bool(self.strange),
            "the house never paid": self.counts["house keys"] == 0,
            "no user ever paid": self.counts["house keys"] == self.counts["requests"],
        }
        return [fault for fault, is_so in told.items() if is_so]


def stranger(number: int) -> User:
    """The caller of that number. Whoever has keys that are refused is called ``bad``."""
    name = f"u{number}"
    match number % 10:
        case 0:
            return _user(number, "house", "house_only", "house")
        case 1 | 2:
            return _user(number, f"{name}+house", "byok_then_house", None)
        case 3:
            return _user(number, f"bad-{name}", "byok_only", "user")
        case _:
            return _user(number, name, None, "user")


def _user(number: int, payers: str, policy: KeyPolicy | None, owner: str | None) -> User:
    name = payers.removesuffix("+house") if payers != "house" else f"u{number}"
    keys = {provider: SecretStr(f"{provider}-{name}") for provider in PROVIDERS}
    conversation = f"conversation {number}"
    caller = Caller(user_id=f"user {number}", conversation_id=conversation, keys=keys, key_policy=policy)
    return User(caller, payers, owner)


class Crowd:
    """All calls, taken one after the other by whoever is free."""

    def __init__(self, calls: int) -> None:
        self.came: list[tuple[str, str]] = []
        self.strange: list[str] = []
        self._numbers: Iterator[int] = iter(range(calls))

    def on_a_loop(self) -> None:
        """Calls from the tasks of an event loop in this thread."""
        asyncio.run(self._tasks())

    async def _tasks(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(TASKS):
                tasks.create_task(self._task())

    async def _task(self) -> None:
        for deed in self._deeds():
            try:
                self._note(deed, await deed.done())
            except WrongOutcomeError as error:
                self._note_failed(deed, error)

    def in_a_thread(self) -> None:
        """Calls from this thread, one after the other."""
        for deed in self._deeds():
            try:
                self._note(deed, deed.done_here())
            except WrongOutcomeError as error:
                self._note_failed(deed, error)

    def _deeds(self) -> Iterator[Deed]:
        for number in self._numbers:
            yield Deed.of(number)._replace(user=stranger(number * 7919 % CALLERS))

    def _note(self, deed: Deed, came: str) -> None:
        self.came.append(
            (deed.user.caller.effective_key_policy, "failed" if came.endswith("Error") else "answered")
        )

    def _note_failed(self, deed: Deed, error: WrongOutcomeError) -> None:
        """Where so much fails, any error of the facade's may be; somebody else's answer may not."""
        if not isinstance(error.__cause__, LLMError):
            self.strange.append(str(error))
        self._note(deed, type(error).__name__)


def met(calls: int) -> Found:
    """Let all callers call, while models fail."""
    crowd = Crowd(calls)
    with Witness() as witness:
        text = table(witness.origin, 0)
        with use(Patchbay(Table(text=text, environ=HOUSE_KEYS))) as patchbay:
            _run(crowd, witness)
            patchbay.runtime.shadows.join(10.0)
            patchbay.close()
        return Found(Counter(crowd.came), crowd.strange, witness.counts())


def _run(crowd: Crowd, witness: Witness) -> None:
    with ThreadPoolExecutor(LOOPS + THREADS) as pool:
        running = [pool.submit(crowd.on_a_loop) for _ in range(LOOPS)]
        running += [pool.submit(crowd.in_a_thread) for _ in range(THREADS)]
        for faults in cycle(fault for item in FAULTS for fault in (item, {})):
            witness.fail(faults)
            if not wait(running, FAULT_SECONDS).not_done:
                break
        for future in running:
            future.result()


def report(found: Found) -> int:
    """Everything that was found; the exit code."""
    print("| whose key may pay | calls answered | calls failed |")
    print("|---|---|---|")
    for policy in sorted({policy for policy, _ in found.outcomes}):
        answered, failed = (found.outcomes[policy, came] for came in ("answered", "failed"))
        print(f"| `{policy}` | {answered} | {failed} |")
    names = ("requests", "connections", "left in the middle", "house keys", "wrong keys")
    told = ", ".join(f"{found.counts[name]} {name}" for name in names)
    print(f"\nAt the provider: {told}.")
    print(f"\nNo proof: {'; '.join(found.faults)}." if found.faults else "\nNobody paid for a stranger.")
    return 1 if found.faults else 0


def main() -> int:
    """Call, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    calls = parser.parse_args().calls
    logging.basicConfig(level=logging.CRITICAL)  # what fails here is meant to
    return report(met(calls))


if __name__ == "__main__":
    sys.exit(main())
