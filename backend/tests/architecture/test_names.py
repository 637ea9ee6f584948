"""What the pages name exists, and what was renamed does not come back."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import pytest

from .names import FACADE, ROOT, WORD, defined_in, members, names_in, sources

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs" / "architecture.md",
    ROOT / "docs" / "reference" / "glossary.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
APPLICATION = ROOT / "backend"
HOMES = (ROOT, ROOT / "backend", ROOT / "backend" / "tests", FACADE, ROOT / "docs")
QUOTED = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
IDENTIFIER = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\(.*\))?")
OF_OTHERS = frozenset(
    {"SuccessExitStatus", "VACUUM", "preload_app", "openai.DefaultAioHttpClient", "shutdown_asyncgens"}
)
"""Names of other projects' that our code does not use."""
RETIRED = {
    "Bench": "Runtime",
    "Following": "RetryPolicy",
    "endings": "outcome_errors",
    "consulting": "custom_selection",
    "Rest": "Unavailable",
    "purse": "budget_key",
    "Member": "Target",
    "Members": "Targets",
    "heat": "recent_requests",
    "under_way": "in_flight",
    "catch_up": "level_up",
    "Turns": "WeightedRoundRobin",
    "standing": "current_weight",
    "toss": "draw",
    "Rungs": "SessionAffinity",
    "Scores": "QualityScores",
    "Lessons": "Observers",
    "lessons": "observers",
    "Racer": "HedgedAttempt",
    "raced": "hedged",
    "_Beaten": "Cancelled",
    "Arms": "Experiments",
    "Arm": "VariantResults",
    "Variant": "VariantResults",
    "payload_of": "make_body_without_messages",
    "Tails": "TailLatency",
    "can_pay": "can_hedge",
    "Meters": "RateLimiter",
    "Full": "Exceeded",
    "_Line": "WaitQueue",
    "Lease": "Reservation",
    "TicketDesk": "TicketRegistry",
    "desk": "tickets",
    "look_up": "resolver",
    "brought": "make_own_endpoint",
    "Reach": "NetworkPolicy",
    "reach": "network_policy",
    "radar": "retirements",
    "review": "lint",
    "forecast": "estimates",
    "rest_reason": "str(unavailable)",
    "wire_of": "find_api_parameter",
    "Skip": "Rejection",
    "Situation": "SelectionContext",
    "_hush": "scrub_exception",
    "_apart": "to_httpx_error",
    "following": "successor",
    "_worded": "serialize",
    "wary": "untrusted",
    "catalogue": "models",
    "filters": "rules",
    "astray": "selector_error",
    "dice": "draw",
    "rest_of": "availability",
    "lent": "request_keys",
    "LentKey": "RequestKey",
    "BroughtKey": "SuppliedKey",
    "loan": "request_keys",
    "Loan": "RequestKeys",
    "pace": "rate_limit",
    "Pace": "KeyCheckRateLimiter",
    "trouble": "problem",
    "Trouble": "KeyProblem",
    "watch": "monitor",
    "KeyWatch": "KeyMonitor",
    "Notices": "Notifier",
    "Trial": "KeyCheckOutcome",
    "masters": "master_keys",
    "Masters": "MasterKeys",
    "KeptKey": "KeyVersion",
    "nine_letters": "make_mistral_call_id",
    "fitting_id": "make_valid_call_id",
    "fitting_name": "make_valid_tool_name",
    "between_users": "add_missing_user_turns",
    "said_by_model": "join_text_without_thoughts",
    "parts_of": "to_standard_blocks",
    "is_googles": "can_google_fetch_url",
    "timed_at": "last_measured",
    "ChatClients": "ChatClientCache",
    "GivenMasterKeys": "EnvironmentMasterKeys",
    "ability_lines": "format_capabilities",
    "LastWord": "CachedSharedLimit",
    "redirected": "make_replacement_addresses",
    "ServedProvider": "ReplySource",
    "Noting": "AuditWriter",
    "Spent": "RunUsage",
    "go_on": "raise_if_ended",
    "way_out": "install_advice",
    "foremost": "preferred_endpoint",
    "unaccounted": "make_unreadable_budget_rejection",
    "misfit": "find_schema_violation",
    "blotted": "without_keys",
    "hand_out": "collect_receipt",
    "in_new_wrapping": "make_chat_result",
    "is_spotless": "has_no_failures",
    "Lately": "RecentStatistics",
    "Unkept": "UncachedStepRunner",
    "ServedAt": "PublicUrlMiddleware",
    "ForgottenKeys": "UserKeyRemovalMiddleware",
    "EndedByStop": "StopMiddleware",
    "GuardedBodies": "BodyLimitMiddleware",
    "Lacks": "ReadinessReport",
    "Leaf": "ChainLink",
    "RememberedTokens": "CachedTokenStore",
    "RememberedSessions": "CachedBrowserSessionStore",
    "RememberedKeyStore": "CachedKeyStore",
    "PerProcess": "ForkSafe",
    "unforked": "delay_forks",
    "NotWordedError": "InexpressibleRequestError",
    "KeyGivenBackError": "RequestKeyExpiredError",
    "StepTakenError": "StepConflictError",
    "UnderWayError": "CreationInProgressError",
    "RunOverError": "RunEndedError",
    "UnkeptError": "MissingRollupError",
    "ClientGoneError": "DisconnectedClientError",
    "PeerGoneError": "ClientDisconnectedError",
    "ExcessError": "AnswerTooLargeError",
    "StoreAwayError": "StoreUnreachableError",
    "BudgetStoreAwayError": "BudgetStoreUnreachableError",
    "ConfirmationsAwayError": "ConfirmationsUnreachableError",
    "UnfitAnswerError": "SchemaMismatchError",
    "NotReadyError": "ImportsNotReadyError",
    "TooManyTrialsError": "TooManyKeyChecksError",
    "SlowBodyError": "BodyTooSlowError",
    "LostDatabaseError": "DatabaseFileLostError",
    "BusyDatabaseError": "WriteLockTimeoutError",
    "from_first_content": "chunks_from_first_content",
    "raise_as_it_was": "raise_without_context",
    "is_raised_by_nobody": "is_external_interruption",
    "give_way": "yield_to_loop",
    "looks_again": "extend_if_late",
    "on_behalf_of": "with_caller",
    "put_back": "requeue_request",
}
"""Names that only we could read, and what the field calls the same."""
OF_THE_HTTP_API = frozenset({("keys.py", "trouble")})
"""Fields of its JSON keep their names."""
PATH = re.compile(r"[\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:py|md|toml|txt|sh|json|in)")


def quoted(page: Path) -> list[str]:
    return sorted(set(QUOTED.findall(FENCED.sub("", page.read_text(encoding="utf-8")))))


@cache
def known_words() -> frozenset[str]:
    code = [file for home in ("backend", "benchmarks") for file in sources(ROOT / home)]
    found = {word for file in code if file.name != "test_names.py" for word in names_in(file)}
    for pattern in (
        "Makefile",
        ".env.example",
        "pyproject.toml",
        ".importlinter",
        "*.in",
        "backend/*.toml",
        "backend/*.sh",
        "backend/tests/unit/llm/error_bodies/*.jsonl",
    ):
        for file in ROOT.glob(pattern):
            found.update(WORD.findall(file.read_text(encoding="utf-8")))
    return frozenset(found)


@cache
def files() -> frozenset[str]:
    return frozenset(file.name for file in sources(ROOT / "backend"))


def is_there(name: str) -> bool:
    """Whether a quoted name, such as ``Options.effort`` or ``execution/loop.py``, leads to something."""
    if PATH.fullmatch(name):
        return name in files() or any((home / name).exists() for home in HOMES)
    if (found := IDENTIFIER.fullmatch(name)) is None or name in OF_OTHERS:
        return True
    first, *others = found[1].split(".")
    if others and (owned := members().get(first)) is not None:
        return others[0] in owned
    return {first, *others} <= known_words()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_that_a_page_quotes_exists(page: Path) -> None:
    assert [name for name in quoted(page) if not is_there(name)] == []


def test_no_retired_name_comes_back() -> None:
    back = {
        f"{file.relative_to(APPLICATION)}: {name}, now {RETIRED[name]}"
        for file in sources(APPLICATION)
        for name in defined_in(file) & RETIRED.keys()
        if "tests" not in file.parts and (file.name, name) not in OF_THE_HTTP_API
    }

    assert back == set()


def test_a_class_name_of_the_facade_means_one_thing() -> None:
    found = Counter(
        node.name
        for file in sources(FACADE)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )

    assert [name for name, count in found.items() if count > 1] == []
