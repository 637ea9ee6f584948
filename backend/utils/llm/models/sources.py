"""The sources of the values in the tables of models and vendors.

The vendors' pages were read in stored copies of the autumn of 2026, the newest of them of November.
"""

from __future__ import annotations

from typing import Final

CHECKED: Final = "2026-11-21"

OPENAI_PROFILE: Final = "profile of langchain-openai 1.7.4"
GOOGLE_PROFILE: Final = "profile of langchain-google-genai 4.4.3"
ANTHROPIC_PROFILE: Final = "profile of langchain-anthropic 1.7.10"
PRICE_LIST: Final = "genai-prices 0.2.3"

OPENAI_PAGES: Final = f"OpenAI's model pages, {CHECKED}"
OPENAI_INPUT: Final = f"window less longest answer, as on OpenAI's model pages, {CHECKED}"
GOOGLE_PAGES: Final = f"Google's model pages, {CHECKED}"
ANTHROPIC_PAGES: Final = f"Anthropic's model pages, {CHECKED}"
PERPLEXITY_PAGES: Final = f"Perplexity's model pages, {CHECKED}"

OPENAI_DEPRECATIONS: Final = f"OpenAI's deprecations page, {CHECKED}"
GOOGLE_DEPRECATIONS: Final = f"Google's deprecations page, {CHECKED}"
ANTHROPIC_DEPRECATIONS: Final = f"Anthropic's deprecations page, {CHECKED}"

OURS: Final = "how we start it"
DECLARED: Final = "declared in the table"
ASSUMED: Final = "assumed: the catalogue does not know this model"
