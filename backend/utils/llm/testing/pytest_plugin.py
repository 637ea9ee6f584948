"""Fixtures for tests of product code, on its own table: ``pytest_plugins = ["backend.utils.llm.testing.pytest_plugin"]``.

``llm_table`` in pytest's configuration names the table; by default it is the one that product code would read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..caller import Caller, use_caller
from ..clients import use
from ..model_config import table_path
from .loopback import LoopbackProvider
from .patchbays import loopback_patchbay
from .virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``llm_table``."""
    parser.addini("llm_table", "The table of features that tests run on.", type="paths")


@pytest.fixture
def llm_time() -> VirtualTime:
    """The time of the calls: it passes only while one waits."""
    return VirtualTime()


@pytest.fixture
def llm_provider(request: pytest.FixtureRequest, llm_time: VirtualTime) -> Iterator[LoopbackProvider]:
    """The provider of all features, in the place of each in the project's table, which is in force for the test."""
    named = request.config.getini("llm_table")
    table = named[0] if named else table_path()
    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, table=table, time=llm_time.time)
        with use(patchbay):
            yield provider
        patchbay.close()


@pytest.fixture
def llm_caller(llm_provider: LoopbackProvider) -> Iterator[Caller]:  # noqa: ARG001 - calls are of use with it only
    """A user without keys, on whose behalf the test calls."""
    with use_caller(Caller(user_id="a-user")) as caller:
        yield caller
