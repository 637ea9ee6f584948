"""The page "Explain": which model a given caller would get, and why."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

ABILITIES: Final = ("tools", "structured", "images", "audio", "video", "pdf")


@dataclass(frozen=True, slots=True)
class Question:
    """A call to explain: the feature, the caller, and what the call needs.

    Attributes:
        byok: The providers for which the caller brings a key.
    """

    feature: str = ""
    user: str | None = None
    tenant: str | None = None
    tier: str | None = None
    byok: tuple[str, ...] = ()
    tokens: int = 0
    tools: bool = False
    structured: bool = False
    images: bool = False
    audio: bool = False
    video: bool = False
    pdf: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The abilities that the call needs of an endpoint."""
        told = asdict(self)
        return tuple(name for name in ABILITIES if told[name])


@dataclass(frozen=True, slots=True)
class ExplainView:
    """Everything that the page shows: the question, and its answer if there is one.

    Attributes:
        features: The features to choose from.
        providers: The providers whose keys a caller may bring.
        route: The route, as in `/v1/llm/explain`; None without a question, or if ``error`` says why there is none.
        error: Why there is no route; None if there is one, or without a question.
        curl: The same question as a curl command; None without a question.
        command: The same question as a command line; None without a question.
    """

    question: Question
    features: tuple[str, ...]
    providers: tuple[str, ...]
    route: dict[str, Any] | None
    error: str | None
    curl: str | None
    command: str | None


def explain_view(
    question: Question,
    answer: dict[str, Any] | str | None,
    *,
    features: Sequence[str],
    providers: Sequence[str],
    base_url: str,
) -> ExplainView:
    """Build the page.

    Args:
        question: What the user asked.
        answer: The route, or an error as text; None without a question.
        features: The features to choose from.
        providers: The providers whose keys a caller may bring.
        base_url: The address of the service, for the curl command.
    """
    is_asked = bool(question.feature)
    return ExplainView(
        question=question,
        features=tuple(features),
        providers=tuple(providers),
        route=answer if isinstance(answer, dict) else None,
        error=answer if isinstance(answer, str) else None,
        curl=_curl(question, base_url) if is_asked else None,
        command=_command(question) if is_asked else None,
    )


def _curl(asked: Question, base_url: str) -> str:
    needs = [(name, "true") for name in asked.needs]
    query = urlencode([*([("tokens", asked.tokens)] if asked.tokens else []), *needs])
    address = f"{base_url}/v1/llm/explain/{asked.feature}" + (f"?{query}" if query else "")
    return f'curl -H "Authorization: Bearer $PATCHBAY_TOKEN" {shlex.quote(address)}'


def _command(asked: Question) -> str:
    who = [("--user", asked.user), ("--tenant", asked.tenant), ("--tier", asked.tier)]
    given = [*who, *(("--byok", one) for one in asked.byok)]
    words = [word for name, value in given if value for word in (name, value)]
    words += ["--tokens", str(asked.tokens)] if asked.tokens else []
    words += [f"--{name}" for name in asked.needs]
    return shlex.join(["python", "-m", "backend", "explain", asked.feature, *words])
