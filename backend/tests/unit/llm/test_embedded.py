"""An embedded provider is asked where it listens now, with its own key; no call waits for one that does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from typing_extensions import override

from backend.utils.llm.errors import ProviderDownError
from backend.utils.llm.model_config import Table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage

    from backend.utils.llm.testing import LoopbackProvider
    from backend.utils.llm.testing.virtual_time import VirtualTime

    Driver = Callable[[Any, Any], AIMessage]

KEY = "sk-of-the-embedded-model"


class Listening(NamedTuple):
    base_url: str
    key: str = KEY


class Embedded:
    """A provider that is ready, gets ready while it is waited for, or fails."""

    def __init__(self, provider: LoopbackProvider, *, is_ready: bool = True, fault: str = "") -> None:
        self._address = Listening(provider.openai_url)
        self._is_ready = is_ready
        self._fault = fault

    def current_address(self) -> Listening | None:
        return self._address if self._is_ready else None

    def address(self, timeout: float) -> Listening:
        if self._fault:
            raise RuntimeError(self._fault)
        return self._address


def patchbay(provider: LoopbackProvider, virtual: VirtualTime, **live: Embedded) -> Patchbay:
    table = loopback_table(provider, {"f": "local:m"}, '[providers.local]\napi = "openai"')
    return Patchbay(Table(text=table, environ={}), live=live, time=virtual.time)


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_request_goes_where_it_listens_with_its_key(
    provider: LoopbackProvider, virtual: VirtualTime, call: Driver, *, is_ready: bool
) -> None:
    made = patchbay(provider, virtual, local=Embedded(provider, is_ready=is_ready))

    assert call(made.get_llm("f"), "hi").text

    (request,) = provider.requests
    assert (request.path, request.key) == ("/v1/chat/completions", KEY)
    made.close()


@pytest.mark.parametrize(
    ("live", "reason"),
    [({}, "not running in this process"), ({"is_ready": False, "fault": "its file is broken"}, "is broken")],
)
def test_a_provider_that_does_not_run_is_down_and_the_error_says_why(
    provider: LoopbackProvider, virtual: VirtualTime, call: Driver, live: dict[str, Any], reason: str
) -> None:
    made = patchbay(provider, virtual, **({"local": Embedded(provider, **live)} if live else {}))

    with pytest.raises(ProviderDownError, match=reason):
        call(made.get_llm("f"), "hi")

    assert provider.requests == ()
    made.close()


class Traces(BaseCallbackHandler):
    """The models that LangSmith would be told of."""

    def __init__(self) -> None:
        self.models: list[tuple[str, str]] = []

    @override
    def on_chat_model_start(self, *_: Any, metadata: dict[str, Any] | None = None, **__: Any) -> None:
        told = metadata or {}
        self.models.append((told["ls_provider"], told["ls_model_name"]))


@pytest.mark.parametrize(
    ("environ", "served_by"),
    [({}, ("local", "m")), ({"LOOPBACK_OPENAI_KEY": "sk-of-the-house"}, ("openai", "gpt-6-luna"))],
)
def test_a_trace_names_the_demo_while_it_serves(
    provider: LoopbackProvider, virtual: VirtualTime, environ: dict[str, str], served_by: tuple[str, str]
) -> None:
    rows = loopback_table(provider, {"f": "openai:gpt-6-luna"}, '[providers.local]\napi = "openai"')
    table = Table(text=f'demo = "local:m"\n{rows}', environ=environ)
    made = Patchbay(table, live={"local": Embedded(provider)}, time=virtual.time)
    traces = Traces()

    made.get_llm("f").invoke("hi", {"callbacks": [traces]})

    assert traces.models == [served_by]
    made.close()
