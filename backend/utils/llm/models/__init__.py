"""The capabilities of models, and the days on which they retire.

A dated table of our own: nothing is looked up at run time, and no SDK is imported. Each value has a source that can be
printed, and a test compares every value with the profiles that the installed LangChain packages ship and with
``genai-prices``; where the table differs on purpose, the test names the reason.

A model that the table does not know gets `UNKNOWN`, which promises little; the table of features may declare more for
it (``[models."provider:model"]``).
"""

from __future__ import annotations

from .abilities import EFFORTS, LACKS, UNKNOWN, Capabilities, ChatTools, Effort, SchemaForm
from .models import FAMILIES, capabilities, is_known, sources
from .names import is_served_as_asked
from .retirements import RETIREMENTS, Retirement, retirement
from .vendors import BY_NAME, GRAMMAR, OTHER, VENDORS, Vendor, vendor_of

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
    "Retirement",
    "SchemaForm",
    "Vendor",
    "capabilities",
    "is_known",
    "is_served_as_asked",
    "retirement",
    "sources",
    "vendor_of",
]
