"""How many requests one failing call sends, and how long it takes: ours beside what a bare client does on its own.

    PYTHONPATH=. .venv/bin/python benchmarks/attempts.py

Every provider here is a loopback server that always fails in the same way. Prints a table in Markdown; takes about
twelve minutes, nearly all of it the other clients' waiting.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI

from backend.utils.llm.testing import Hang, LoopbackProvider, Status
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import Runnable

    from backend.utils.llm.testing import Reply

FAULTS: dict[str, Reply] = {
    "400": Status(400),
    "401": Status(401),
    "429": Status(429),
    "429 quota": Status(429, error_code="insufficient_quota"),
    "429, come back in 60 s": Status(429, retry_after=60),
    "503": Status(503),
    "hangs (time-out 1 s)": Hang(),
}


def ours(endpoint: str) -> Callable[[LoopbackProvider, float], Runnable[Any, Any]]:
    """A feature with that one endpoint."""

    def make(provider: LoopbackProvider, timeout: float) -> Runnable[Any, Any]:
        settings = f"[features.f]\noptions = {{ timeout = {timeout} }}"
        return loopback_patchbay(provider, {"f": endpoint}, settings).get_llm("f")

    return make


def openai(provider: LoopbackProvider, timeout: float) -> Runnable[Any, Any]:
    """A default client."""
    return ChatOpenAI(model="gpt-6-luna", base_url=provider.openai_url, api_key="k", timeout=timeout)


def openai_retrying(provider: LoopbackProvider, timeout: float) -> Runnable[Any, Any]:
    """The same with LangChain's own retries."""
    return openai(provider, timeout).with_retry(stop_after_attempt=3)


def gemini(provider: LoopbackProvider, timeout: float) -> Runnable[Any, Any]:
    """A default client."""
    return ChatGoogleGenerativeAI(
        model="gemini-3.5-flash", base_url=provider.gemini_url, google_api_key="k", timeout=timeout
    )


CLIENTS: dict[str, Callable[[LoopbackProvider, float], Runnable[Any, Any]]] = {
    "Patchbay, OpenAI": ours("openai:gpt-6-luna"),
    "ChatOpenAI": openai,
    "ChatOpenAI.with_retry(3)": openai_retrying,
    "Patchbay, Gemini": ours("gemini:gemini-3.5-flash"),
    "ChatGoogleGenerativeAI": gemini,
}


def measured(make: Callable[[LoopbackProvider, float], Runnable[Any, Any]], fault: Reply) -> str:
    """Requests and seconds of one call."""
    with LoopbackProvider() as provider:
        model = make(provider, 1.0)
        model.invoke("warm up")  # the client's construction is not what is measured
        before = len(provider.requests)
        provider.always(fault)
        started = time.perf_counter()
        try:
            model.invoke("hi")
        except Exception as error:
            name = type(error).__name__
        else:
            name = "answered"
        seconds = time.perf_counter() - started
        return f"{len(provider.requests) - before} in {seconds:.1f} s, {name}"


def main() -> None:
    """Print the table."""
    print(f"| one call when the provider answers | {' | '.join(CLIENTS)} |")
    print(f"|---|{'---|' * len(CLIENTS)}")
    for title, fault in FAULTS.items():
        cells = [measured(make, fault) for make in CLIENTS.values()]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
