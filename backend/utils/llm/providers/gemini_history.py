"""How the Gemini adapter words a history, with a loader of media that opens nothing.

As it comes, the adapter loads what a message names by an address: from our machine, past the transport, without a
clock, on the event loop. Its functions make the loader themselves, by the name that it has in their module. So they run
here over a copy of that module's names in which the loader is ours: for everybody else in the process nothing changes.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from langchain_google_genai import ChatGoogleGenerativeAI, chat_models
from langchain_google_genai._image_utils import ImageBytesLoader, Route
from typing_extensions import override

from .ask import NotWordedError

if TYPE_CHECKING:
    from collections.abc import Callable

_HELD = {"data:": Route.BASE64, "gs://": Route.GCS_URI}
"""What is in the message itself, and what Google opens."""


class _Loader(ImageBytesLoader):
    """Reads what a message holds, and refuses what it only names."""

    @override
    def _route(self, image_string: str) -> Route:
        route = _HELD.get(str(image_string)[:5])
        if route is None:
            raise NotWordedError
        return route

    @override
    def _bytes_from_url(self, url: str) -> bytes:
        raise NotWordedError


def _with_our_loader() -> dict[str, Any]:
    """The names of the adapter's module, with its own functions over these names."""
    names = vars(chat_models)
    ours = {**names, ImageBytesLoader.__name__: _Loader}
    functions = {name: value for name, value in names.items() if isinstance(value, FunctionType)}
    own = {name: value for name, value in functions.items() if value.__module__ == chat_models.__name__}
    ours.update((name, _over(function, ours)) for name, function in own.items())
    return ours


def _over(function: FunctionType, names: dict[str, Any]) -> FunctionType:
    """``function``, which finds what it does not hold itself in ``names``."""
    made = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


request_of: Callable[..., dict[str, Any]] = _over(
    ChatGoogleGenerativeAI._prepare_request,  # type: ignore[arg-type]  # noqa: SLF001 - see decision 19
    _with_our_loader(),
)
"""`ChatGoogleGenerativeAI._prepare_request`, which opens no address, file or bucket.

Raises:
    NotWordedError: A message names what would have to be fetched.
"""
