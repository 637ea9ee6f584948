"""Testing kit for applications: a fake provider on loopback, and a chat model that follows a script.

``LoopbackProvider`` is an HTTP server, to test everything from `get_llm` to the network.
``ScriptedChatModel`` is a LangChain model without I/O, to test code that is given a model. Importing
this package imports neither; each is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exchanges import NotRecordedError, Recording
    from .loopback import LoopbackProvider
    from .recording import Headers, RecordedRequest
    from .recordings import record, replay
    from .replies import (
        CleanEnd,
        Cut,
        Empty,
        Hang,
        Html,
        Json,
        KeepAlive,
        Raw,
        Refusal,
        Reply,
        Reset,
        SlowFirstByte,
        Status,
        StreamError,
        Text,
        ToolCalls,
        Trickle,
        Usage,
        WrongJson,
    )
    from .scripted import ScriptedCall, ScriptedChatModel, ScriptExhaustedError

__all__ = [
    "CleanEnd",
    "Cut",
    "Empty",
    "Hang",
    "Headers",
    "Html",
    "Json",
    "KeepAlive",
    "LoopbackProvider",
    "NotRecordedError",
    "Raw",
    "RecordedRequest",
    "Recording",
    "Refusal",
    "Reply",
    "Reset",
    "ScriptExhaustedError",
    "ScriptedCall",
    "ScriptedChatModel",
    "SlowFirstByte",
    "Status",
    "StreamError",
    "Text",
    "ToolCalls",
    "Trickle",
    "Usage",
    "WrongJson",
    "record",
    "replay",
]

_MODULES = {
    "Headers": "recording",
    "LoopbackProvider": "loopback",
    "NotRecordedError": "exchanges",
    "RecordedRequest": "recording",
    "Recording": "exchanges",
    "ScriptExhaustedError": "scripted",
    "ScriptedCall": "scripted",
    "ScriptedChatModel": "scripted",
    "record": "recordings",
    "replay": "recordings",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES.get(name, 'replies')}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
