"""The catalogue: every value against what the installed packages say, names, retirements."""

from __future__ import annotations

from datetime import date
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.data import providers as price_lists
from langchain_anthropic.data._profiles import _PROFILES as ANTHROPIC
from langchain_google_genai.data._profiles import _PROFILES as GOOGLE
from langchain_openai.data._profiles import _PROFILES as OPENAI

from backend.utils.llm.model_config import load_table
from backend.utils.llm.models import (
    FAMILIES,
    RETIREMENTS,
    UNKNOWN,
    Capabilities,
    capability_sources,
    find_capabilities,
    find_retirement,
    is_known_model,
    is_requested_model,
)
from backend.utils.llm.models.sources import (
    ANTHROPIC_PROFILE,
    ASSUMED,
    CHECKED,
    DECLARED,
    GOOGLE_PROFILE,
    OPENAI_PROFILE,
    PRICE_LIST,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backend.utils.llm.models import Effort

CHECKED_ON = date.fromisoformat(CHECKED)


def is_gone(model: str) -> bool:
    gone = find_retirement(model)
    return gone is not None and gone.day <= CHECKED_ON


def is_chat(profile: Mapping[str, Any]) -> bool:
    return bool(
        profile.get("text_outputs") and not profile.get("image_outputs") and profile["max_output_tokens"] > 1
    )


PROFILES: Mapping[str, Mapping[str, Any]] = {**OPENAI, **GOOGLE, **ANTHROPIC}
VALUES: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "max_input": lambda profile: profile["max_input_tokens"],
    "max_output": lambda profile: profile["max_output_tokens"],
    "tools": lambda profile: profile["tool_calling"],
    "structured_output": lambda profile: profile["structured_output"],
    "images": lambda profile: profile["image_inputs"],
    "audio": lambda profile: profile["audio_inputs"],
    "video": lambda profile: profile["video_inputs"],
    "pdf": lambda profile: profile["pdf_inputs"],
    "temperature": lambda profile: profile["temperature"],
    "efforts": lambda profile: tuple(profile.get("reasoning_effort_levels", ())),
}
HABITS = {"strict_turns", "short_call_ids", "wants_thoughts"}
UNTOLD = {
    "context_window",
    "chat_tools",
    "logprobs",
    "cache_key",
    "schema_form",
    "lacks",
    "thinking_budget",
    *HABITS,
}
"""What no profile tells."""
ON_PURPOSE = [
    (
        "max_input",
        "gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.5 gpt-5.6 gpt-5.6-luna gpt-5.6-sol gpt-5.6-terra",
        "the profile gives the window; OpenAI's pages keep the longest answer free of it",
    ),
    ("max_input", "gpt-6-astra gpt-6-luna gpt-6-sol gpt-6.1-sol gpt-6.1-terra", "the same"),
    (
        "efforts",
        "gpt-6.1-sol",
        "the profile lists none; OpenAI's page does, and Chat Completions take all of them but `max`",
    ),
    ("efforts", "gpt-6.1-terra", "the profile lists none; OpenAI's page does"),
    (
        "efforts",
        "gemini-3.7-flash gemini-3.8-flash",
        "the profile lists none; Google's guide does, and `minimal` is a 400",
    ),
    (
        "temperature",
        "gemini-3.5-flash-lite gemini-3.6-flash gemini-3.7-flash gemini-3.8-flash gemini-4-argon",
        "Google: sampling is fixed for these and later models; the adapter drops what is set for the first two",
    ),
    (
        "structured_output",
        "claude-haiku-4-5-20251001 claude-haiku-5-5 claude-opus-4-5-20251101 claude-sonnet-4-5-20250929",
        "Anthropic's page lists them; the profile of the name without a date, too",
    ),
    ("efforts", "claude-haiku-5-5", "the profile lists none; Anthropic's page does"),
]
"""Where the catalogue differs from a profile: the value, the models, the reason."""


def on_purpose(model: str) -> set[str]:
    return {value for value, models, _ in ON_PURPOSE if model in models.split()}


class TestProfiles:
    """Every value is that of LangChain's profile of the model, or differs for a reason that stands above."""

    KNOWN = sorted(model for model in PROFILES if is_known_model(model) and not is_gone(model))

    def differing(self, model: str) -> set[str]:
        can = find_capabilities(model)
        ours = {**dict(can), "max_input": can.max_input or can.context_window}
        return {name for name, theirs in VALUES.items() if theirs(PROFILES[model]) != ours[name]}

    def test_every_value_is_compared_or_absent(self) -> None:
        assert set(VALUES) | UNTOLD == set(Capabilities.model_fields)

    @pytest.mark.parametrize("model", KNOWN)
    def test_what_differs_does_so_on_purpose(self, model: str) -> None:
        assert self.differing(model) == on_purpose(model)

    @pytest.mark.parametrize("model", KNOWN)
    def test_what_differs_does_not_claim_to_be_the_profiles(self, model: str) -> None:
        told = capability_sources(model)

        assert {told[name] for name in on_purpose(model)} & {
            OPENAI_PROFILE,
            GOOGLE_PROFILE,
            ANTHROPIC_PROFILE,
        } == set()

    @pytest.mark.parametrize(
        ("profiles", "source"),
        [(OPENAI, OPENAI_PROFILE), (GOOGLE, GOOGLE_PROFILE), (ANTHROPIC, ANTHROPIC_PROFILE)],
        ids=["openai", "google", "anthropic"],
    )
    def test_who_claims_to_be_the_profiles_has_one(self, profiles: Mapping[str, Any], source: str) -> None:
        told = {family for family in FAMILIES if source in capability_sources(family).values()}

        assert [family for family in told if not any(model.startswith(family) for model in profiles)] == []

    def test_no_reason_is_about_a_model_that_has_no_profile(self) -> None:
        named = {model for _, models, _ in ON_PURPOSE for model in models.split()}

        assert named <= set(self.KNOWN)

    def test_what_a_profile_calls_deprecated_has_a_date(self) -> None:
        dated = {"gemini-3.1-flash-lite-preview": "a preview, for which Google named no day"}

        dying = {
            model
            for model, profile in PROFILES.items()
            if profile.get("status") == "deprecated" and is_chat(profile)
        }

        assert {model for model in dying if find_retirement(model) is None} == set(dated)


VENDORS = {"gpt": "openai", "gemini": "google", "claude": "anthropic", "sonar": "perplexity"}
ROUNDED = 1_000_000
"""What ``genai-prices`` writes for many a window of a little more."""


class TestPriceList:
    """Every context window is that of ``genai-prices``, as far as it gives one to the token."""

    def window(self, family: str) -> int | None:
        vendor = VENDORS.get(family.partition("-")[0])
        listed = next((list_ for list_ in price_lists if list_.id == vendor), None)
        model = listed and listed.find_model(family)
        return model.context_window if model else None

    @pytest.mark.parametrize("family", FAMILIES)
    def test_the_window_is_the_price_lists(self, family: str) -> None:
        ours, theirs = FAMILIES[family].context_window, self.window(family)

        assert theirs in {ours, None} or (theirs == ROUNDED < ours < 1.1 * ROUNDED)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_who_claims_to_be_the_price_lists_is(self, family: str) -> None:
        claims = capability_sources(family)["context_window"] == PRICE_LIST

        assert not claims or self.window(family) == FAMILIES[family].context_window

    def test_the_shipped_table_names_no_model_that_it_calls_deprecated(self) -> None:
        names = {
            endpoint.model
            for served in load_table(environ={}).chains.values()
            for chain in served.values()
            for endpoint in chain
        }
        called = {model.id for listed in price_lists for model in listed.models if model.deprecated}

        assert names & called == set()


class TestSources:
    """Each value says where it comes from."""

    @pytest.mark.parametrize(
        ("source", "package"),
        [
            (OPENAI_PROFILE, "langchain-openai"),
            (GOOGLE_PROFILE, "langchain-google-genai"),
            (ANTHROPIC_PROFILE, "langchain-anthropic"),
            (PRICE_LIST, "genai-prices"),
        ],
    )
    def test_a_package_is_named_with_the_version_that_is_installed(self, source: str, package: str) -> None:
        assert source.endswith(f"{package} {version(package)}")

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_value_has_one(self, family: str) -> None:
        told = capability_sources(family)

        assert set(told) == set(Capabilities.model_fields)
        assert all(told.values())

    def test_what_the_table_declares_otherwise_is_declared_there(self) -> None:
        told = capability_sources(
            "gpt-6-luna", find_capabilities("gpt-6-luna").model_copy(update={"images": False})
        )

        assert (told["images"], told["tools"]) == (DECLARED, OPENAI_PROFILE)

    def test_an_unknown_model_is_assumed_to_be_capable(self) -> None:
        assert set(capability_sources("qwen3-32b").values()) == {ASSUMED}


class TestFamilies:
    @pytest.mark.parametrize(
        ("model", "family"),
        [
            ("gpt-6-luna-2026-11-01", "gpt-6-luna"),
            ("openai/gpt-6-luna", "gpt-6-luna"),
            ("models/gemini-3.5-flash", "gemini-3.5-flash"),
            ("anthropic/claude-haiku-5.5", "claude-haiku-5-5"),
            ("gpt-5.6-terra", "gpt-5.6"),
            ("gpt-5-mini", "gpt-5"),
            ("GPT-4o", "gpt-4o"),
            ("gpt-4o:batch", "gpt-4o"),
        ],
    )
    def test_a_model_is_of_the_longest_family_that_its_name_begins_with(
        self, model: str, family: str
    ) -> None:
        assert find_capabilities(model) is FAMILIES[family]

    @pytest.mark.parametrize(
        "model",
        [
            "gpt-5.9",
            "gpt-60",
            "gemini-3.9-flash",
            "gpt-4o-mini-tts",
            "gpt-5-pro",
            "gemini-2.5-flash-image",
            "x",
        ],
    )
    def test_another_number_or_another_kind_is_an_unknown_model(self, model: str) -> None:
        assert not is_known_model(model)
        assert find_capabilities(model) is UNKNOWN


class TestCapabilities:
    @pytest.mark.parametrize(
        ("can", "reserved", "room"),
        [
            (Capabilities(context_window=100, max_output=40), None, 100),
            (Capabilities(context_window=100, max_output=40), 30, 70),
            (Capabilities(context_window=100, max_output=40), 90, 60),
            (Capabilities(context_window=100, max_output=40, max_input=60), None, 60),
            (Capabilities(context_window=100, max_output=40, max_input=90), 30, 70),
        ],
    )
    def test_room_is_what_the_answer_and_the_vendor_leave(
        self, can: Capabilities, reserved: int | None, room: int
    ) -> None:
        assert can.max_prompt_tokens(reserved) == room

    @pytest.mark.parametrize(
        ("model", "effort", "expected"),
        [
            ("gpt-4.1", "high", True),
            ("gpt-5.4", None, True),
            ("gpt-5.4", "none", True),
            ("gpt-5.4", "low", False),
            ("gpt-6-luna", None, False),
            ("gpt-6-luna", "low", False),
            ("gpt-6-luna", "none", True),
            ("gpt-6.1-sol", "none", False),
            ("sonar", None, False),
        ],
    )
    def test_newer_models_call_tools_in_chat_completions_without_thought_or_never(
        self, model: str, effort: Effort | None, *, expected: bool
    ) -> None:
        assert find_capabilities(model).can_call_tools_over_chat(effort) is expected


class TestRetirements:
    def test_a_snapshot_goes_with_its_model(self) -> None:
        assert find_retirement("gpt-4o-2024-08-06") == find_retirement("gpt-4o")

    def test_a_snapshot_may_go_earlier_than_its_model(self) -> None:
        assert find_retirement("openai/gpt-4o-2024-05-13") == RETIREMENTS["gpt-4o-2024-05-13"]

    def test_what_is_not_announced_has_none(self) -> None:
        assert find_retirement("gpt-6-luna") is None

    @pytest.mark.parametrize("model", RETIREMENTS)
    def test_every_one_has_a_source(self, model: str) -> None:
        assert CHECKED in RETIREMENTS[model].source

    @pytest.mark.parametrize("model", RETIREMENTS)
    def test_no_vendor_names_a_model_that_is_gone_by_then(self, model: str) -> None:
        gone = RETIREMENTS[model]
        heir = find_retirement(gone.replacement) if gone.replacement else None

        assert heir is None or heir.day > gone.day


class TestServedAsAsked:
    @pytest.mark.parametrize(
        ("asked", "served"),
        [
            ("gpt-6-luna", "gpt-6-luna"),
            ("gpt-6-luna", "gpt-6-luna-2026-11-01"),
            ("gpt-6-luna-2026-11-01", "gpt-6-luna"),
            ("gpt-4", "gpt-4-0613"),
            ("openai/gpt-6-luna", "openai/gpt-6-luna-20260922"),
            ("openai/gpt-6-luna", "gpt-6-luna-2026-09-22"),
            ("gpt-6-luna", "openai/gpt-6-luna"),
            ("anthropic/claude-haiku-5.5", "claude-haiku-5-5-20261007"),
            ("claude-haiku-4-5", "claude-haiku-4-5@20251001"),
            ("openai/gpt-6-luna:batch", "openai/gpt-6-luna"),
            ("gemini-3.5-flash", "models/gemini-3.5-flash"),
            ("gemini-2.0-flash", "gemini-2.0-flash-001"),
            ("gemini-2.5-flash-preview", "gemini-2.5-flash-preview-05-20"),
            ("gemini-flash-latest", "gemini-3.8-flash"),
            ("~openai/gpt-latest", "openai/gpt-6.1-sol"),
            ("Qwen/Qwen3-32B", "qwen3-32b"),
            ("llama3", "llama3:latest"),
            ("smollm2-135m-instruct", "smollm2-135m-instruct"),
            ("gpt-6-luna", None),
            ("gpt-6-luna", ""),
        ],
    )
    def test_the_model_in_another_spelling_or_as_a_snapshot_is_what_was_asked_for(
        self, asked: str, served: str | None
    ) -> None:
        assert is_requested_model(asked, served)

    @pytest.mark.parametrize(
        ("asked", "served"),
        [
            ("gpt-6-luna", "gpt-6.1-sol"),
            ("gpt-6-luna", "gpt-6-luna-mini"),
            ("gpt-6-luna", "gpt-6-lunatic"),
            ("gpt-6-luna-2026-11-01", "gpt-6-luna-2026-09-22"),
            ("gpt-4o", "gpt-4o-mini-2024-07-18"),
            ("gpt-4", "gpt-4.1"),
            ("openai/gpt-6-luna", "openai/gpt-6-sol"),
            ("gemini-2.5-pro", "gemini-3.8-flash"),
            ("gemini-2.5-flash", "models/gemini-3.5-flash-lite"),
            ("gemini-3-flash", "gemini-3-flash-preview"),
            ("gemini-flash-latest", "gpt-6-luna"),
            ("claude-opus-4-5", "claude-opus-4-6"),
            ("llama3:8b", "llama3:70b"),
        ],
    )
    def test_another_model_or_another_snapshot_is_not(self, asked: str, served: str) -> None:
        assert not is_requested_model(asked, served)
