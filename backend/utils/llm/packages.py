"""The packages that Patchbay or one of its APIs needs, and which of them are not installed."""

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
"""The packages that every call needs: name of the module to name of the package."""
OF_API: Final[dict[str, Mapping[str, str]]] = {
    "openai": {"langchain_openai": "langchain-openai", "openai": "openai"},
    "gemini": {"langchain_google_genai": "langchain-google-genai"},
    "anthropic": {},
}
"""The further packages that each API needs."""
FOR_PRICES: Final = {"genai_prices": "genai-prices"}
"""The package of the price list. Without it, only models with a ``price`` in the table have a price."""


FOR_STATE_SERVER: Final = {"redis": "redis"}
"""The package needed to share limits through a Valkey or Redis server."""


@cache
def find_missing_api_packages(api: str | None = None) -> tuple[str, ...]:
    """Find the packages that ``api`` needs and that are not installed; None checks those that every call needs.

    Imports nothing.
    """
    return find_missing_packages(ALWAYS if api is None else OF_API[api])


def find_missing_packages(needed: Mapping[str, str]) -> tuple[str, ...]:
    """The packages of ``needed`` (module name to package name) that are not installed."""
    return tuple(package for module, package in needed.items() if find_spec(module) is None)


def install_advice(packages: tuple[str, ...]) -> str:
    """Advice on how to install the missing ``packages``, for error messages."""
    return f"pip install {' '.join(packages)}"
