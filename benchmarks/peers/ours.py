"""Patchbay, by `get_llm`, with the settings that a feature has when the table says nothing."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ..answers import ANTHROPIC_MODEL, GEMINI_MODEL, OPENAI_MODEL
from . import Way
from .langchain import runnable_of, way_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from backend.utils.llm import Caller
    from backend.utils.llm.patchbay import Patchbay

    from ..shapes import Shape

FEATURE, GEMINI_FEATURE, ANTHROPIC_FEATURE = "openai_feature", "gemini_feature", "anthropic_feature"
USERS = 64


class Ours:
    """A feature whose provider speaks OpenAI's API."""

    feature = FEATURE

    def __init__(self, url: str) -> None:
        from backend.utils.llm import get_llm, use

        self._in_force = use(patchbay(url))
        self._in_force.__enter__()
        self._get_llm = get_llm

    def way(self, shape: Shape) -> Way | None:
        """As product code does it: `get_llm` for each call, what is bound or structured is kept."""
        if shape in {"plain", "stream"}:
            return way_of(lambda: self._get_llm(self.feature), shape)
        kept = runnable_of(self._get_llm(self.feature), shape)
        return way_of(lambda: kept, shape)


class OursGemini(Ours):
    """A feature whose provider speaks Google's API."""

    feature = GEMINI_FEATURE


class OursAnthropic(Ours):
    """A feature whose provider speaks Anthropic's API."""

    feature = ANTHROPIC_FEATURE


class OursWithKeys(Ours):
    """The same for users who bring their own keys: a `Caller` is made for each call, as for each request."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from backend.utils.llm import Caller, use_caller

        numbers = count()

        def someone() -> AbstractContextManager[Caller]:
            user = f"user-{next(numbers) % USERS}"
            return use_caller(Caller(user_id=user, keys={"openai": f"sk-of-{user}"}))

        self._someone = someone

    @override
    def way(self, shape: Shape) -> Way | None:
        """As of the house, in the context of one of the users."""
        way = super().way(shape)
        if way is None or way.call is None:
            return way
        acall, call = way.acall, way.call

        async def acall_for_someone(prompt: str) -> Any:
            with self._someone():
                return await acall(prompt)

        def call_for_someone(prompt: str) -> Any:
            with self._someone():
                return call(prompt)

        return Way(acall_for_someone, call_for_someone, way.read)


def patchbay(url: str) -> Patchbay:
    """On a table whose providers are the benchmarks' provider."""
    from backend.utils.llm.model_config import Table
    from backend.utils.llm.patchbay import Patchbay

    return Patchbay(Table(text=table(url), environ={"BENCHMARK_KEY": "house-key"}))


def table(url: str) -> str:
    """As TOML."""
    return f"""
[providers.openai]
api = "openai"
base_url = "{url}/v1"
api_key_env = "BENCHMARK_KEY"

[providers.gemini]
api = "gemini"
base_url = "{url}"
api_key_env = "BENCHMARK_KEY"

[providers.anthropic]
api = "anthropic"
base_url = "{url}"
api_key_env = "BENCHMARK_KEY"

[profiles.premium]
{ANTHROPIC_FEATURE} = "anthropic:{ANTHROPIC_MODEL}"
{FEATURE} = "openai:{OPENAI_MODEL}"
{GEMINI_FEATURE} = "gemini:{GEMINI_MODEL}"

[profiles.byok]
extends = "premium"
"""
