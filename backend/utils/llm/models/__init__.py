"""The capabilities of models, and the days on which they retire.

A dated table of our own: nothing is looked up at run time, and no SDK is imported. Each value has a source that can be
printed, and a test compares every value with the profiles that the installed LangChain packages ship and with
``genai-prices``; where the table differs on purpose, the test names the reason.

A model that the table does not know gets `UNKNOWN`, which promises little; the table of features may declare more for
it (``[models."provider:model"]``).
"""

from __future__ import annotations

from .abilities import EFFORTS, LACKS, UNKNOWN, Capabilities, ChatTools, Effort, SchemaForm
from .models import FAMILIES, capability_sources, find_capabilities, is_known_model
from .names import is_requested_model
from .retirements import RETIREMENTS, ModelRetirement, find_retirement
from .vendors import BY_NAME, GRAMMAR, OTHER, VENDORS, ModelVendor, find_vendor

__all__ = [
    "BY_NAME",
    "EFFORTS",
    "FAMILIES",
    "GRAMMAR",
    "LACKS",
    "OTHER",
    "RETIREMENTS",
    "UNKNOWN",
    "VENDORS",
    "Capabilities",
    "ChatTools",
    "Effort",
    "ModelRetirement",
    "ModelVendor",
    "SchemaForm",
    "capability_sources",
    "find_capabilities",
    "find_retirement",
    "find_vendor",
    "is_known_model",
    "is_requested_model",
]
