"""Calls of processes that share their limits by a real Valkey server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import pytest

from backend.tests.fakes.children import in_child
from backend.tests.fakes.valkey import running
from backend.utils.llm import Caller
from backend.utils.llm.errors import ConfigError, ProviderDownError, RateLimitedError
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.state.shared.health import SharedHealthTracker
from backend.utils.llm.state.shared.valkey import ValkeyStore
from backend.utils.llm.testing import Hang, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay

from .state.shared.conftest import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis

    from backend.tests.fakes.valkey import Valkey
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .drivers import Driver

LUNA, TERRA = "openai:gpt-6-luna", "openai:gpt-6.1-terra"
EMPTY = "[profiles.premium]\n[profiles.byok]\n"
TWO = "[features.f]\ndeadline = 20\nlimits = { requests = '2/minute', tokens = '9000/minute', concurrency = 2 }\n"


class Join(Protocol):
    """Makes the facade of one more process."""

    def __call__(
        self, row: str = ..., chain: str | Sequence[str] = ..., url: str | None = ...
    ) -> Patchbay: ...


@pytest.fixture
def join(provider: LoopbackProvider, valkey: Valkey) -> Iterator[Join]:
    made: list[Patchbay] = []

    def one_more(row: str = TWO, chain: str | Sequence[str] = LUNA, url: str | None = None) -> Patchbay:
        environ = {**HOUSE_KEYS, "LLM_STATE_URL": url or valkey.url}
        patchbay = loopback_patchbay(provider, {"f": chain, "g": chain}, row, environ=environ)
        made.append(patchbay)
        store_of(patchbay).patience = 0.04 if url else 10.0  # a busy machine may be slow
        return patchbay

    yield one_more
    for patchbay in made:
        patchbay.close()


@pytest.fixture
def fickle() -> Iterator[Valkey]:
    """A server of the test's own, to be stopped."""
    with running() as server:
        yield server


def store_of(patchbay: Patchbay) -> ValkeyStore:
    assert isinstance(patchbay.health, SharedHealthTracker)
    store = patchbay.health._store
    assert isinstance(store, ValkeyStore)
    return store


def is_joined(patchbay: Patchbay) -> bool:
    return patchbay.explain("f").notice is None


def test_a_limit_holds_for_all_processes(join: Join, call: Driver) -> None:
    one, other = join(), join()
    call(one.get_llm("f"), "hi")
    call(other.get_llm("f"), "hi")

    with pytest.raises(RateLimitedError, match="no more than 2 requests per minute for f"):
        call(one.get_llm("f"), "hi")


def test_what_is_full_elsewhere_is_not_asked_and_the_next_serves(
    join: Join, call: Driver, provider: LoopbackProvider
) -> None:
    row = f"[models.'{LUNA}']\nlimits = {{ requests = '1/minute' }}\n"
    one, other = join(row, [LUNA, TERRA]), join(row, [LUNA, TERRA])
    call(one.get_llm("f"), "hi")

    call(other.get_llm("f"), "hi")

    assert [request.model for request in provider.requests] == ["gpt-6-luna", "gpt-6.1-terra"]


def test_a_retry_for_which_there_is_no_room_elsewhere_is_not_sent(
    join: Join, call: Driver, provider: LoopbackProvider
) -> None:
    one, other = join(), join()
    call(other.get_llm("f"), "hi")
    provider.script(Status(503))

    with pytest.raises(ProviderDownError) as error:
        call(one.get_llm("f"), "hi")

    assert len(error.value.attempts) == 1
    assert len(provider.requests) == 2


def test_calls_without_limits_ask_the_server_nothing(join: Join, valkey: Valkey, call: Driver) -> None:
    with valkey.client as client:
        client.config_resetstat()
    patchbay = join()
    for _ in range(5):
        call(patchbay.get_llm("g"), "hi")

    assert eventually(lambda: store_of(patchbay)._is_there)
    with valkey.client as client:
        assert client.keys("patchbay:{*}:requests*") == []
        assert _scripts(client) == _beats(client)


def _scripts(client: Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def _beats(client: Redis) -> int:
    """Each sets one key."""
    return int(client.info("commandstats")["cmdstat_set"]["calls"])


def test_one_event_loop_after_the_other_works(join: Join) -> None:
    model = join("[features.f]\nlimits = { concurrency = 2 }\n").get_llm("f")

    assert [asyncio.run(model.ainvoke("hi")).text for _ in range(3)] != []


def test_threads_share_a_connection(join: Join, valkey: Valkey) -> None:
    model = join("[features.f]\nlimits = { requests = '1000/minute', concurrency = 100 }\n").get_llm("f")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: model.invoke("hi"), range(40)))

    assert len(answers) == 40
    with valkey.client as client:
        assert eventually(lambda: len(client.client_list()) == 3)  # commands, events, and the test's own


def test_a_forked_child_counts_for_itself_and_with_its_parent(join: Join) -> None:
    patchbay = join()
    patchbay.get_llm("f").invoke("hi")

    def in_it() -> list[str]:
        patchbay.explain("f")
        assert eventually(lambda: store_of(patchbay).processes == 2)
        told = [str(patchbay.get_llm("f").invoke("hi").text)]
        with pytest.raises(RateLimitedError):
            patchbay.get_llm("f").invoke("hi")
        return told

    assert len(in_child(in_it)) == 1
    with pytest.raises(RateLimitedError):
        patchbay.get_llm("f").invoke("hi")


async def test_who_is_cancelled_gives_back_what_was_taken(join: Join, provider: LoopbackProvider) -> None:
    one, other = join(), join()
    provider.always(Hang())
    tasks = [asyncio.create_task(one.get_llm("f").ainvoke("hi")) for _ in range(2)]
    await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    provider.always(Text("hi"))

    row = TWO.replace("requests = '2/minute', ", "")
    assert (await join(row).get_llm("f").ainvoke("hi")).text == "hi"
    assert other.explain("f").candidates


def test_a_breaker_that_one_process_opens_is_open_for_the_others(
    join: Join, provider: LoopbackProvider
) -> None:
    row = "[features.f]\nattempts = 1\n"
    one, other = join(row, [LUNA, TERRA]), join(row, [LUNA, TERRA])
    other.explain("f")
    for _ in range(5):
        provider.script(Status(503), Text("hi"))
    for _ in range(5):
        one.get_llm("f").invoke("hi")

    assert eventually(lambda: str(other.explain("f").candidates[0].endpoint) == TERRA)


def test_nothing_on_the_server_tells_a_key_a_user_or_a_conversation(join: Join, valkey: Valkey) -> None:
    row = """
    [groups.long]
    endpoints = ["openai:gpt-6-luna", "openai:gpt-6.1-terra"]
    select = { by = "context" }
    """
    patchbay = join(row + TWO, "group:long")
    caller = Caller(
        user_id="alice@example.com", conversation_id="alice's diary", keys={"openai": "sk-of-alice-123"}
    )
    patchbay.get_llm("f", caller=caller).invoke("hi")
    patchbay.close()

    with valkey.client as client:
        told = str([(key, _value(client, key)) for key in client.keys("*")])
    assert "patchbay" in told
    for secret in ("alice", "diary", "sk-of-alice", *HOUSE_KEYS.values()):
        assert secret not in told


def _value(client: Redis, key: bytes) -> object:
    reads: dict[bytes, Callable[[bytes], object]] = {
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
        b"string": client.get,
    }
    kind = client.type(key)
    assert isinstance(kind, bytes)
    return reads[kind](key)


def test_everything_on_the_server_ends_by_itself(join: Join, valkey: Valkey) -> None:
    row = TWO.replace("'2/minute'", "['2/minute', '9/day']")
    join(row).get_llm("f").invoke("hi")

    with valkey.client as client:
        assert {key: client.ttl(key) for key in client.keys("*") if client.ttl(key) < 0} == {}


# While it is away ------------------------------------------------------------------------------------------------------


def test_a_server_that_is_gone_costs_no_call_and_comes_back(
    join: Join, fickle: Valkey, call: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    row = "[features.f]\nlimits = { requests = '100/minute', concurrency = 50 }\n"
    one, other = (join(row, url=fickle.url) for _ in range(2))
    for patchbay in (one, other):
        call(patchbay.get_llm("f"), "hi")
    fickle.stop()

    for _ in range(3):
        for patchbay in (one, other):
            call(patchbay.get_llm("f"), "hi")

    assert not is_joined(one)
    assert "the state server has been away" in str(one.explain("f"))
    fickle.start()
    assert eventually(lambda: is_joined(one) and is_joined(other))
    call(one.get_llm("f"), "hi")
    with fickle.client as client:
        (key,) = client.keys("*requests:minute")
        assert int(client.hget(key, "t") or 0) == 9  # with what went out before, and while it was away
    told = [record.getMessage() for record in caplog.records if "state server is" in record.getMessage()]
    assert len(told) == 4  # each of two says that it is away, and that it is back


def test_a_server_that_is_paused_is_left_alone_until_it_answers(join: Join, fickle: Valkey) -> None:
    patchbay = join("[features.f]\nlimits = { requests = '100/minute' }\n", url=fickle.url)
    patchbay.get_llm("f").invoke("hi")
    fickle.pause()

    for _ in range(3):
        patchbay.get_llm("f").invoke("hi")

    assert "no answer within" not in str(patchbay.explain("f"))
    assert not is_joined(patchbay)
    fickle.go_on()
    assert eventually(lambda: is_joined(patchbay))


def test_a_server_that_was_never_there_costs_no_call(join: Join, call: Driver) -> None:
    patchbay = join(url="unix:///nowhere/at/all")

    assert [call(patchbay.get_llm("f"), "hi").text for _ in range(2)] != []
    with pytest.raises(RateLimitedError):
        call(patchbay.get_llm("f"), "hi")


# The table -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://state.example", "must be the address of a Valkey or Redis server"),
        ("redis://", "must be the address of a Valkey or Redis server"),
        ("redis://state.example:port", "must be the address of a Valkey or Redis server"),
        ("redis://:house-key-of-state@state.example", "holds a password"),
    ],
)
def test_a_wrong_address_is_told_when_the_table_is_read(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        parse_table(f"state_url = {json.dumps(url)}", environ={})

    assert "house-key-of-state" not in str(error.value)


def test_the_variable_goes_before_the_table_and_may_hold_a_password() -> None:
    url = "rediss://:house-key-of-state@state.example"
    snapshot = parse_table(f'state_url = "redis://localhost"\n{EMPTY}', environ={"LLM_STATE_URL": url})

    assert snapshot.state_server is not None
    assert snapshot.state_server.url.get_secret_value() == url
    assert "house-key-of-state" not in repr(snapshot)


def test_who_shares_nothing_does_not_import_a_client() -> None:
    made = "from backend.utils.llm import Patchbay, Table; import sys\n"
    made += f"Patchbay(Table(text={EMPTY!r}, environ={{}})).health; sys.exit('redis' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", made], check=False).returncode == 0  # noqa: S603 - ours


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.utils.llm.packages.find_spec", lambda _: None)

    with pytest.raises(ConfigError, match=r"needs a package that is not installed.*pip install redis"):
        parse_table('state_url = "redis://localhost"', environ={})


def test_the_servers_address_is_no_providers_key() -> None:
    row = '[providers.openai]\napi = "openai"\napi_key_env = "LLM_STATE_URL"\n'

    with pytest.raises(ConfigError, match=r"LLM_STATE_URL.*is no provider's key"):
        parse_table(row + EMPTY, environ={"LLM_STATE_URL": "redis://localhost"})
