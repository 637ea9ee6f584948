"""Name the feature, not the model.

The public names of the facade. Importing this package imports nothing else: each name is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .caller import Caller, OwnEndpoint, carrying, current_caller, use_caller
    from .chat_model import FeatureChatModel
    from .clients import (
        Patchbay,
        explain,
        get_embeddings,
        get_llm,
        get_model,
        get_provider,
        get_qos_info,
        rate,
        use,
    )
    from .diagnostics.explain import Explanation as Route
    from .diagnostics.qos import QosInfo
    from .embeddings import FeatureEmbeddings
    from .errors import LLMError, UnknownEndpointError, UnknownFeatureError
    from .ledger.record import AttemptRecord
    from .ledger.sinks import JsonLinesSink, LedgerSink, MemorySink
    from .ledger.texts import AttemptText, TextFolder, TextSink
    from .model_config import Table
    from .receipt import AttemptDict, receipt_of, receipts
    from .receipt import ReceiptDict as Receipt
    from .routing.route import Needs
    from .routing.selector import Choosing, Pause, Stop, Use, in_order
    from .serving import serving
    from .state.budget_store import BudgetStore, MemoryBudgets
    from .structured_model import StructuredAnswer
    from .types import KeyPolicy

__all__ = [
    "AttemptDict",
    "AttemptRecord",
    "AttemptText",
    "BudgetStore",
    "Caller",
    "Choosing",
    "FeatureChatModel",
    "FeatureEmbeddings",
    "JsonLinesSink",
    "KeyPolicy",
    "LLMError",
    "LedgerSink",
    "MemoryBudgets",
    "MemorySink",
    "Needs",
    "OwnEndpoint",
    "Patchbay",
    "Pause",
    "QosInfo",
    "Receipt",
    "Route",
    "Stop",
    "StructuredAnswer",
    "Table",
    "TextFolder",
    "TextSink",
    "UnknownEndpointError",
    "UnknownFeatureError",
    "Use",
    "carrying",
    "current_caller",
    "explain",
    "get_embeddings",
    "get_llm",
    "get_model",
    "get_provider",
    "get_qos_info",
    "in_order",
    "rate",
    "receipt_of",
    "receipts",
    "serving",
    "use",
    "use_caller",
]

_ROOMS = {
    "AttemptRecord": "ledger.record",
    "AttemptText": "ledger.texts",
    "AttemptDict": "receipt",
    "BudgetStore": "state.budget_store",
    "Caller": "caller",
    "Choosing": "routing.selector",
    "FeatureChatModel": "chat_model",
    "FeatureEmbeddings": "embeddings",
    "JsonLinesSink": "ledger.sinks",
    "KeyPolicy": "types",
    "LLMError": "errors",
    "LedgerSink": "ledger.sinks",
    "MemoryBudgets": "state.budget_store",
    "MemorySink": "ledger.sinks",
    "Needs": "routing.route",
    "OwnEndpoint": "caller",
    "Pause": "routing.selector",
    "Patchbay": "clients",
    "QosInfo": "diagnostics.qos",
    "Receipt": "receipt:ReceiptDict",
    "Route": "diagnostics.explain:Explanation",
    "Stop": "routing.selector",
    "StructuredAnswer": "structured_model",
    "Table": "model_config",
    "TextFolder": "ledger.texts",
    "TextSink": "ledger.texts",
    "UnknownEndpointError": "errors",
    "UnknownFeatureError": "errors",
    "Use": "routing.selector",
    "carrying": "caller",
    "current_caller": "caller",
    "explain": "clients",
    "get_embeddings": "clients",
    "get_llm": "clients",
    "get_model": "clients",
    "get_provider": "clients",
    "get_qos_info": "clients",
    "in_order": "routing.selector",
    "rate": "clients",
    "receipt_of": "receipt",
    "receipts": "receipt",
    "serving": "serving",
    "use": "clients",
    "use_caller": "caller",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room, _, called = _ROOMS[name].partition(":")
    value = getattr(import_module(f".{room}", __name__), called or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
