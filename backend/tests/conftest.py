"""What every test gets: a guard over keys, a clean environment, so many examples, and on request a loopback provider."""

from __future__ import annotations

import gc
import os
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from backend.tests.canaries import Guard
from backend.tests.fakes.postgres import running
from backend.tests.fakes.valkey import running as running_valkey
from backend.utils.llm.testing import LoopbackProvider

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from backend.tests.fakes.postgres import Postgres
    from backend.tests.fakes.valkey import Valkey

_KEPT = {"HOME", "PATH", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH", "PYTEST_CURRENT_TEST"}
_EXAMPLES = 40
"""Of each property, in the suite. `make soak` takes forty times as many."""

settings.register_profile(
    "suite", max_examples=_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("suite"), max_examples=40 * _EXAMPLES)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """See `canaries`."""
    config.pluginmanager.register(Guard())


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Three processes for every two cores, with ``-n auto``: two fifths of a test's time it waits, for a server or a child."""
    cores = yield
    return (3 * cores + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An address in a test's name is another one in each process, and xdist refuses to run at all."""
    for item in items:
        if re.search(r" at 0x[0-9a-f]{6}", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} is called something else in each process: give it an id.")


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """No test sees the developer's environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - _KEPT:  # noqa: TID251 - clearing it
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def settled_heap() -> None:
    """What the test before left is collected, and warned of, here; what stays is looked through by no later collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def vcr() -> None:
    """LangChain's suites ask for this; nothing is recorded here."""


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    """A provider on loopback that speaks both wires."""
    with LoopbackProvider() as running:
        yield running


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """A real Valkey server, started when the first test asks for it, for `valkey`."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """That server, empty. It is to be left running."""
    with valkey_server.client as client:
        client.flushall()
    return valkey_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, started when the first test asks for it."""
    with running() as server:
        yield server
