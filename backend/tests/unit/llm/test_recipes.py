"""The recipes of ``docs/how-to/watch-it-run.md``, executed as they stand there, but for the address."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pytest
from langsmith.utils import get_env_var
from opentelemetry import trace
from opentelemetry.util._once import Once

from backend.tests.architecture.names import ROOT
from backend.tests.fakes.receivers import Receiver, receiving
from backend.utils.llm import get_llm, use
from backend.utils.llm.testing import Text, Usage
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.testing import LoopbackProvider

PAGE = (ROOT / "docs" / "how-to" / "watch-it-run.md").read_text(encoding="utf-8")
AUTH = base64.b64encode(b"pk-lf-1:sk-lf-2").decode()
KEYS = {"$AUTH": AUTH, "$LANGSMITH_API_KEY": "ls-key"}
PROMPT, ANSWER = "a prompt that is private", "an answer that is private"


def blocks(heading: str, language: str) -> list[str]:
    section = re.split(r"\n## ", PAGE.partition(f"\n## {heading}\n")[2])[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def variables(heading: str, receiver: Receiver) -> dict[str, str]:
    """What the recipe sets, with a receiver in the place of the service."""
    (block,) = blocks(heading, "sh")
    given = dict(re.findall(r'^(\w+)="(.*)"$', block, re.MULTILINE))
    for name, key in KEYS.items():
        given = {variable: value.replace(name, key) for variable, value in given.items()}
    address = "OTEL_EXPORTER_OTLP_ENDPOINT"
    return given | {address: re.sub(r"^https://[^/]+", receiver.url, given[address])}


@pytest.fixture(scope="module")
def running() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(running: Receiver) -> Receiver:
    running.posted.clear()
    return running


@pytest.fixture
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which nobody has set a provider: the API takes only the first."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.fixture
def _patchbay(provider: LoopbackProvider) -> Iterator[None]:
    provider.always(Text(ANSWER, usage=Usage(100, 20)))
    with use(loopback_patchbay(provider, {"conv_folder": "openai:gpt-6-luna"})) as made:
        yield
    made.close()


@pytest.mark.usefixtures("_unset", "_patchbay")
@pytest.mark.parametrize(
    ("service", "path", "header"),
    [
        ("Langfuse", "/api/public/otel/v1/traces", ("authorization", f"Basic {AUTH}")),
        ("LangSmith", "/otel/v1/traces", ("x-api-key", "ls-key")),
    ],
)
def test_spans_arrive_at(
    service: str, path: str, header: tuple[str, str], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "opentelemetry-exporter-otlp-proto-http is not among the requirements"
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason=reason)
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=reason)
    for name, value in variables(service, receiver).items():
        monkeypatch.setenv(name, value)
    (code,) = blocks("OpenTelemetry", "python")
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own page

    get_llm("conv_folder").invoke(PROMPT)
    names["provider"].shutdown()

    (posted,) = receiver.posted
    assert posted.path == path
    assert posted.headers[header[0]] == header[1]
    request = messages.ExportTraceServiceRequest.FromString(posted.body)
    spans = {
        span.name: {attribute.key: attribute.value for attribute in span.attributes}
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert set(spans) == {"invoke_workflow conv_folder", "chat gpt-6-luna"}
    assert spans["chat gpt-6-luna"]["gen_ai.usage.input_tokens"].int_value == 100
    assert b"private" not in posted.body


@pytest.fixture
def _forgetful() -> Iterator[None]:
    """LangSmith remembers what it once read of the environment."""
    forget = get_env_var.cache_clear  # type: ignore[attr-defined]
    forget()
    yield
    forget()


@pytest.mark.usefixtures("_patchbay", "_forgetful")
@pytest.mark.parametrize("hide", [False, True])
def test_runs_arrive_at_langsmith_by_callbacks(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    hide: bool,  # noqa: FBT001
) -> None:
    for name, value in {
        "LANGSMITH_ENDPOINT": receiver.url,
        "LANGSMITH_API_KEY": "ls-key",
        "LANGSMITH_HIDE_INPUTS": str(hide).lower(),
        "LANGSMITH_HIDE_OUTPUTS": str(hide).lower(),
    }.items():
        monkeypatch.setenv(name, value)
    (code,) = blocks("LangSmith", "python")
    exec(code, {"get_llm": get_llm})  # noqa: S102

    sent = b"".join(posted.body for posted in receiver.posted)
    assert {posted.headers["x-api-key"] for posted in receiver.posted} == {"ls-key"}
    assert b"attempt openai:gpt-6-luna" in sent
    assert b"FeatureChatModel" in sent
    assert (b"private" in sent) is not hide
    assert b"house-key-of" not in sent
