"""Pytest fixtures for applications: ``pytest_plugins = ["backend.utils.llm.testing.pytest_plugin"]``.

The tests run on the application's own table: the one that the setting ``llm_table`` in pytest's
configuration names, by default the one that the application would read. ``pytest --llm-record`` makes
tests with ``llm_recording`` call the real providers, and records the answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from ..caller import Caller, use_caller
from ..clients import use
from ..model_config import find_table_path
from .loopback import LoopbackProvider
from .patchbays import loopback_patchbay
from .recordings import record, replay
from .virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``llm_table`` and the command-line option ``--llm-record`` to pytest."""
    parser.addini("llm_table", "The table of features that tests run on.", type="paths")
    parser.addoption(
        "--llm-record",
        action="store_true",
        help="Call the providers of the table, with its keys, and record their answers for llm_recording.",
    )


@pytest.fixture
def llm_time() -> VirtualTime:
    """The virtual clock of the test's calls. Waits before retries advance it and take no real time."""
    return VirtualTime()


@pytest.fixture
def llm_provider(request: pytest.FixtureRequest, llm_time: VirtualTime) -> Iterator[LoopbackProvider]:
    """A loopback provider that takes the place of every provider of the project's table during the test."""
    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, table=_table(request), time=llm_time.time)
        with use(patchbay):
            yield provider
        patchbay.close()


@pytest.fixture
def llm_caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """A caller without keys of their own, in whose name the test's calls are made.

    The calls go to ``llm_recording`` if the test uses this fixture, else to ``llm_provider``.
    """
    if "llm_recording" not in request.fixturenames:
        request.getfixturevalue("llm_provider")
    with use_caller(Caller(user_id="a-user")) as caller:
        yield caller


@pytest.fixture
def llm_recording(request: pytest.FixtureRequest, llm_time: VirtualTime) -> Iterator[LoopbackProvider]:
    """Replays the recorded answers of the providers in the project's table; ``--llm-record`` records them anew.

    The recording is the file ``recordings/MODULE/TEST.json``, beside the test's file.
    """
    path = request.path.parent / "recordings" / request.path.stem / f"{_file_name(request.node.name)}.json"
    if request.config.getoption("--llm-record"):
        with record(path, table=_table(request)) as provider:
            yield provider
    elif path.is_file():
        with replay(path, table=_table(request), time=llm_time.time) as provider:
            yield provider
    else:
        pytest.fail(f"There is no recording {path}. Make one: pytest --llm-record {request.node.nodeid}")


def _table(request: pytest.FixtureRequest) -> Path:
    named: list[Path] = request.config.getini("llm_table")
    return named[0] if named else find_table_path()


def _file_name(test: str) -> str:
    """A test's name as a file name; with a hash where characters had to be left out."""
    name = re.sub(r"[^\w.\-\[\]]+", "-", test, flags=re.ASCII)
    return name if name == test else f"{name}-{crc32(test.encode()):08x}"
