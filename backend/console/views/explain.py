"""The page "Explain": to which model a call with given caller and needs would be routed, and why."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

ABILITIES: Final = ("tools", "structured", "images", "audio", "video", "pdf")


@dataclass(frozen=True, slots=True)
class ExplainQuestion:
    """A possible call, whose route the page "Explain" shows: its feature, its caller and what it needs.

    Attributes:
        byok: The providers for which the caller brings their own API key.
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
        """The capabilities that a model must have for this call, such as ``tools`` or ``images``."""
        fields = asdict(self)
        return tuple(name for name in ABILITIES if fields[name])


@dataclass(frozen=True, slots=True)
class ExplainView:
    """The data of the page "Explain": the call that the user asks about, and its route.

    Attributes:
        features: The features to choose from.
        providers: The providers whose keys a caller may bring.
        route: The route, as from `/v1/llm/explain`; None if no call was entered, or if it has no route.
        error: Why the call has no route; None if it has one, or if no call was entered.
        curl: A curl command that gets the same route; None if no call was entered.
        command: A shell command that shows the same route; None if no call was entered.
    """

    question: ExplainQuestion
    features: tuple[str, ...]
    providers: tuple[str, ...]
    route: dict[str, Any] | None
    error: str | None
    curl: str | None
    command: str | None


def make_explain_view(
    question: ExplainQuestion,
    answer: dict[str, Any] | str | None,
    *,
    features: Sequence[str],
    providers: Sequence[str],
    base_url: str,
) -> ExplainView:
    """Make the data of the page "Explain".

    Args:
        question: The call that the user asks about. Its feature is empty if no call was entered.
        answer: The route, or an error message as text; None if no call was entered.
        features: The features to choose from.
        providers: The providers whose keys a caller may bring.
        base_url: The URL of the service, for the curl command.
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


def _curl(asked: ExplainQuestion, base_url: str) -> str:
    needs = [(name, "true") for name in asked.needs]
    query = urlencode([*([("tokens", asked.tokens)] if asked.tokens else []), *needs])
    address = f"{base_url}/v1/llm/explain/{asked.feature}" + (f"?{query}" if query else "")
    return f'curl -H "Authorization: Bearer $PATCHBAY_TOKEN" {shlex.quote(address)}'


def _command(asked: ExplainQuestion) -> str:
    who = [("--user", asked.user), ("--tenant", asked.tenant), ("--tier", asked.tier)]
    given = [*who, *(("--byok", item) for item in asked.byok)]
    words = [word for name, value in given if value for word in (name, value)]
    words += ["--tokens", str(asked.tokens)] if asked.tokens else []
    words += [f"--{name}" for name in asked.needs]
    return shlex.join(["python", "-m", "backend", "explain", asked.feature, *words])
