"""The packages that the facade needs, all of it or one API of it, and which of them are not installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ALWAYS: Final = {
    "aiohttp": "aiohttp",
    "httpcore2": "httpcore2",
    "httpx2": "httpx2",
    "langchain_core": "langchain-core",
    "pydantic": "pydantic",
    "typing_extensions": "typing-extensions",
    "uuid_utils": "uuid-utils",
    "yarl": "yarl",
}
"""What every call needs: the module, and the package that has it."""
OF_API: Final[dict[str, Mapping[str, str]]] = {
    "openai": {"langchain_openai": "langchain-openai", "openai": "openai"},
    "gemini": {"langchain_google_genai": "langchain-google-genai"},
    "anthropic": {},
}
"""What each API needs beside that."""
FOR_PRICES: Final = {"genai_prices": "genai-prices"}
"""Without it, only models to which the table gives a ``price`` have one."""


FOR_STATE_SERVER: Final = {"redis": "redis"}
"""What sharing limits by a Valkey or Redis server needs."""


@cache
def missing(api: str | None = None) -> tuple[str, ...]:
    """The packages that are not installed of those that ``api`` needs, or every call. Nothing is imported."""
    return missing_of(ALWAYS if api is None else OF_API[api])


def missing_of(needed: Mapping[str, str]) -> tuple[str, ...]:
    """The packages that are not installed of those that ``needed`` names by their modules."""
    return tuple(package for module, package in needed.items() if find_spec(module) is None)


def way_out(packages: tuple[str, ...]) -> str:
    """The advice for whoever lacks ``packages``: how to install them."""
    return f"pip install {' '.join(packages)}"
