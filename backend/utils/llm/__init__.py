"""Name the feature, not the model.

The public names of the facade. Importing this package imports nothing else: each name is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .caller import Caller, OwnEndpoint, carrying, current_caller, use_caller
    from .chat_model import FeatureChatModel
    from .clients import explain, get_embeddings, get_llm, get_model, get_provider, get_qos_info, rate, use
    from .diagnostics.explain import Explanation as Route
    from .diagnostics.qos import QosInfo
    from .embeddings import FeatureEmbeddings
    from .errors import LLMError, UnknownEndpointError, UnknownFeatureError
    from .ledger.record import AttemptRecord
    from .ledger.sinks import JsonLinesSink, LedgerSink, MemorySink
    from .ledger.texts import AttemptText, TextFolder, TextSink
    from .model_config import Table
    from .patchbay import Patchbay
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

_NAMES = {
    "caller": "Caller OwnEndpoint carrying current_caller use_caller",
    "chat_model": "FeatureChatModel",
    "clients": "explain get_embeddings get_llm get_model get_provider get_qos_info rate use",
    "diagnostics.explain": "Route",
    "diagnostics.qos": "QosInfo",
    "embeddings": "FeatureEmbeddings",
    "errors": "LLMError UnknownEndpointError UnknownFeatureError",
    "ledger.record": "AttemptRecord",
    "ledger.sinks": "JsonLinesSink LedgerSink MemorySink",
    "ledger.texts": "AttemptText TextFolder TextSink",
    "model_config": "Table",
    "patchbay": "Patchbay",
    "receipt": "AttemptDict Receipt receipt_of receipts",
    "routing.route": "Needs",
    "routing.selector": "Choosing Pause Stop Use in_order",
    "serving": "serving",
    "state.budget_store": "BudgetStore MemoryBudgets",
    "structured_model": "StructuredAnswer",
    "types": "KeyPolicy",
}
"""The names of each module."""
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
_CALLED = {"Receipt": "ReceiptDict", "Route": "Explanation"}
"""The names that their modules call otherwise."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), _CALLED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
