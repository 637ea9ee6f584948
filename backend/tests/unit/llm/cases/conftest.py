"""A laboratory for the cases: the real facade with one feature on the loopback provider, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.testing import Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.testing import LoopbackProvider, Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from ..conftest import Make
    from ..drivers import Driver


KEYS = {"POOL_A": "house-key-a", "POOL_B": "house-key-b"}
"""Of the accounts of the provider ``pool``."""


class Lab:
    """Feature ``f``, what its endpoints say, and what they were asked. Endpoints are told apart by their model."""

    def __init__(self, make: Make, provider: LoopbackProvider, time: VirtualTime) -> None:
        self._make = make
        self.provider = provider
        self.time = time
        self.patchbay: Patchbay

    def runs_on(
        self,
        *endpoints: str,
        row: str = "",
        more: str = "",
        environ: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        """``row`` is what stands in ``[features.f]``, ``more`` are further sections."""
        table = f"[features.f]\n{row}\n{more}"
        keys = {**HOUSE_KEYS, **KEYS} if environ is None else environ
        settings = {"time": self.time.time, **settings}
        self.patchbay = self._make(list(endpoints), table, environ=keys, **settings)

    def pool(self, account: str = "", *, a: str = "", b: str = "") -> str:
        """A provider with two accounts, as a section; ``account`` is what stands in both, ``a`` and ``b`` in one."""
        return f"""
        [providers.pool]
        api = "openai"
        base_url = "{self.provider.openai_url}"
        [providers.pool.accounts.a]
        api_key_env = "POOL_A"
        {account}
        {a}
        [providers.pool.accounts.b]
        api_key_env = "POOL_B"
        {account}
        {b}
        """

    def answers(self, model: str, *replies: Reply | str) -> None:
        """One after the other; the last one again and again."""
        *first, last = [Text(reply) if isinstance(reply, str) else reply for reply in replies]
        self.provider.script(*first, model=model)
        self.provider.always(last, model=model)

    def ask(self, call: Driver, prompt: Any = "hi", *, caller: Any = None, **options: Any) -> AIMessage:
        """The answer to one call."""
        return call(self.llm(caller=caller, **options), prompt)

    def llm(self, *, caller: Any = None, **options: Any) -> Any:
        """The model of the feature."""
        return self.patchbay.get_llm("f", caller=caller).bind(**options)

    def later(self, seconds: float) -> None:
        """Let time pass between two calls."""
        self.time.sleep(seconds)
        self.time.slept.pop()

    @property
    def asked(self) -> list[str]:
        """The models that were asked since this was last looked at, in order of arrival."""
        models = [request.model for request in self.provider.requests[self._seen :]]
        self._seen = len(self.provider.requests)
        return models

    @property
    def accounts(self) -> list[str]:
        """Like `asked`, but the accounts of the pool."""
        names = {key: variable.removeprefix("POOL_").lower() for variable, key in KEYS.items()}
        keys = [request.key or "" for request in self.provider.requests[self._seen :]]
        self._seen = len(self.provider.requests)
        return [names.get(key, key) for key in keys]

    _seen = 0


@pytest.fixture
def lab(make: Make, provider: LoopbackProvider, virtual: VirtualTime) -> Lab:
    """See `Lab`."""
    return Lab(make, provider, virtual)


class Log:
    """Tells the attempts of a call in short: ``[("p", "rate_limit"), ("s", None)]``."""

    def __call__(self, attempts: tuple[Attempt, ...]) -> list[tuple[str, str | None]]:
        return [
            (
                attempt.account or attempt.endpoint.partition(":")[2],
                attempt.category and attempt.category.value,
            )
            for attempt in attempts
        ]


@pytest.fixture
def log() -> Log:
    """See `Log`."""
    return Log()
