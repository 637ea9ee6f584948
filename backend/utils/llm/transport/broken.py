"""The exceptions of the HTTP libraries, and their translation into exceptions of httpx2."""

from __future__ import annotations

import aiohttp
import httpcore2
import httpx2

from ..interruptions import find_interruption

BROKEN = (
    aiohttp.ClientError,
    OSError,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)
"""The exceptions that the libraries raise when no answer comes, or its connection breaks."""
NO_HTTP = "The exchange did not keep to HTTP."
TOO_LATE = "The attempt's time is up."


def to_httpx_error(error: Exception) -> BaseException:
    """Return the httpx2 exception to raise instead of ``error``, with a text that cannot quote the key.

    An exception that the application raised into the call, such as its own timeout, is returned unchanged.
    Raise the result after the ``except`` block: within it, its ``__context__`` would be ``error``, whose
    frames hold the headers.
    """
    if (interruption := find_interruption(error)) is not None:
        return interruption
    kind: type[httpx2.TransportError]
    text = getattr(error, "strerror", None) or type(error).__name__
    match error:
        case aiohttp.ConnectionTimeoutError():
            kind = httpx2.ConnectTimeout
        case TimeoutError():
            kind, text = httpx2.ReadTimeout, error.strerror or TOO_LATE
        case aiohttp.ClientConnectorError():
            kind = httpx2.ConnectError
        case aiohttp.ClientResponseError():
            kind, text = httpx2.RemoteProtocolError, NO_HTTP
        case aiohttp.ClientError() | OSError():
            kind = httpx2.ReadError
        case _:  # httpcore2's: httpx2 has the same names
            kind = getattr(httpx2, type(error).__name__)
            text = NO_HTTP if isinstance(error, httpcore2.ProtocolError) else str(error)
    return kind(text)
