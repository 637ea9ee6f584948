"""The docs name what the code has, and their links lead somewhere."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from backend.conversations.errors import ConversationError
from backend.keys.errors import KeychainError
from backend.utils.llm.budgets import BudgetRow
from backend.utils.llm.caller import Caller
from backend.utils.llm.diagnostics.explain import Explanation
from backend.utils.llm.errors import LLMError
from backend.utils.llm.failures import POLICY, FailureCategory
from backend.utils.llm.ledger.record import AttemptRecord
from backend.utils.llm.model_config import Limits, parse_table
from backend.utils.llm.model_config.schema import (
    AccountRow,
    FeatureRow,
    GroupRow,
    ModelRow,
    ProfileRow,
    ProviderRow,
    TopLevelRow,
)
from backend.utils.llm.options import Options
from backend.utils.llm.receipt import Attempt, Receipt
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.state.experiments import TrialStopConditions
from backend.utils.llm.strategies import STRATEGIES, TierAllowance
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "reference" / "table.md"
ATTEMPTS = ROOT / "docs" / "reference" / "attempts.md"
ERRORS = ROOT / "docs" / "reference" / "errors.md"
LEDGER = ROOT / "docs" / "reference" / "ledger.md"
RECEIPT = ROOT / "docs" / "reference" / "receipt.md"
CHOOSING = ROOT / "docs" / "how-to" / "choose-an-endpoint.md"
PROVIDERS = {
    "openai": 'api = "openai"\napi_key_env = "OPENAI_API_KEY"',
    "gemini": 'api = "gemini"\napi_key_env = "GEMINI_API_KEY"',
    "anthropic": 'api = "anthropic"\napi_key_env = "ANTHROPIC_API_KEY"',
}
"""What the examples of `CHOOSING` leave out."""
WRITTEN_ON = date(2026, 11, 21)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

SECTIONS: dict[str, type[BaseModel]] = {
    "## Before the first section": TopLevelRow,
    "## `[budgets.NAME]`": BudgetRow,
    "## `[features.NAME]`": FeatureRow,
    "## `[groups.NAME]`": GroupRow,
    '## `[models."provider:model"]`': ModelRow,
    "## `[profiles.NAME]`": ProfileRow,
    "## `[providers.NAME.accounts.ACCOUNT]`": AccountRow,
    "## `[providers.NAME]`": ProviderRow,
    "## `limits = { … }`": Limits,
    "## `options = { … }`": Options,
    "## `stop = { … }`": TrialStopConditions,
    "### `tiers.TIER = { … }`": TierAllowance,
}
OF_A_STRATEGY = {f'### `select = {{ by = "{by}" }}`': kind for by, kind in STRATEGIES.items()}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def table_rows(page: Path, heading: str | None = None) -> dict[str, list[str]]:
    """The tables' rows by what stands in backticks in their first cell; of one section, or of the whole page."""
    text = page.read_text(encoding="utf-8")
    if heading is not None:
        text = re.split(r"\n##+ ", text.partition(f"\n{heading}\n")[2])[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip(" `") for cell in row[1:]] for row in rows}


def errors(kind: type[LLMError] = LLMError) -> Iterator[type[LLMError]]:
    """The whole tree, without what other tests may have added to it."""
    if kind.__module__ in {LLMError.__module__, KeychainError.__module__, ConversationError.__module__}:
        yield kind
    for below in kind.__subclasses__():
        yield from errors(below)


def anchors(page: Path) -> set[str]:
    """What a link into ``page`` may name, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, link: str) -> bool:
    """Whether a relative ``link`` of ``page`` leads nowhere."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return not target.exists() or (anchor != "" and anchor not in anchors(target))


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_of_the_table_names_every_key_and_no_other(heading: str) -> None:
    assert set(table_rows(TABLE, heading)) == set(SECTIONS[heading].model_fields)


def test_the_reference_of_the_table_names_every_strategy_and_no_other() -> None:
    assert set(table_rows(TABLE, "## `select = …`")) == set(STRATEGIES)


@pytest.mark.parametrize("heading", OF_A_STRATEGY)
def test_the_reference_of_the_table_names_every_key_of_a_strategy(heading: str) -> None:
    keys = set(OF_A_STRATEGY[heading].model_fields) - {"by"}

    assert set(table_rows(TABLE, heading)) == keys
    assert (f"\n{heading}\n" in TABLE.read_text(encoding="utf-8")) == bool(keys)


@pytest.mark.parametrize("heading", [*SECTIONS, *OF_A_STRATEGY])
def test_the_reference_of_the_table_states_every_default_as_it_is(heading: str) -> None:
    """Of those that are one value; where none is set, or where the column is another, it says so in words."""
    fields = (SECTIONS | OF_A_STRATEGY)[heading].model_fields
    told = {key: cells[1] for key, cells in table_rows(TABLE, heading).items()}
    plain = {
        key: field.default for key, field in fields.items() if isinstance(field.default, str | int | float)
    }

    if SECTIONS.get(heading) is not ModelRow:
        assert {key: told.get(key) for key in plain.keys() - {"by"}} == {
            key: json.dumps(default) for key, default in plain.items() if key != "by"
        }
        assert {key for key, cell in told.items() if cell == "required"} == {
            key for key, field in fields.items() if field.is_required()
        }


def test_the_reference_of_the_errors_states_every_code_as_it_is() -> None:
    told = {code: cells[:3] for code, cells in table_rows(ERRORS).items() if len(cells) > 1}

    assert told == {
        kind.code: [kind.__name__, str(kind.http_status), "yes" if kind.retryable else "no"]
        for kind in errors()
    }


def test_the_reference_of_the_receipt_names_every_field_and_no_other() -> None:
    attempt = Attempt("red:m", "house", "ok", datetime.now(UTC), timedelta())
    receipt = Receipt("f", "premium", (attempt,), degraded=False, table_hash="", answered=attempt)

    assert set(table_rows(RECEIPT, "## The call")) == set(receipt.as_dict())
    assert set(table_rows(RECEIPT, "## Each attempt")) == set(attempt.as_dict())


def test_the_reference_of_the_ledger_names_every_field_and_no_other() -> None:
    told = {
        name for cell in table_rows(LEDGER, "## The record") for name in cell.replace("`", "").split(", ")
    }

    assert told == set(AttemptRecord._fields)


def test_the_reference_of_attempts_states_every_policy_as_it_is() -> None:
    told = {category: cells for category, cells in table_rows(ATTEMPTS).items() if len(cells) == 5}

    assert told == {
        category.value: [
            policy.again,
            str(policy.tries),
            policy.next_endpoint,
            f"{policy.health}, {policy.cool_seconds:g} s" if policy.cool_seconds else policy.health,
            "the cancellation itself" if category is FailureCategory.CANCELLED else policy.error.__name__,
        ]
        for category, policy in POLICY.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    relative = [link for link in links if not re.match(r"[a-z]+:", link)]

    assert [link for link in relative if broken(page, link)] == []


def test_what_the_page_on_security_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", page))
    homes = (ROOT / "backend", ROOT / "backend" / "tests")

    assert named
    assert {path for path in named if not any((home / path).is_file() for home in homes)} == set()


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = LINK.findall((folder / "README.md").read_text(encoding="utf-8"))

    assert sorted(listed) == sorted(page.name for page in folder.glob("0*.md"))


class Shown(NamedTuple):
    """What a page shows of a command, or of ``explain("chat")``, and the part of a table that stands above it."""

    rows: str
    command: str
    output: str

    @property
    def table(self) -> str:
        """The whole one."""
        left_out = [
            f"[providers.{name}]\n{row}"
            for name, row in PROVIDERS.items()
            if f"[providers.{name}]" not in self.rows
        ]
        return "\n".join([self.rows, *left_out, "[profiles.byok]", 'extends = "premium"'])


def shown(page: Path) -> list[Shown]:
    found, rows = [], ""
    for kind, block in re.findall(
        r"^```(toml|console|text)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    ):
        if kind == "toml":
            rows = block
        elif kind == "text":
            found.append(Shown(rows, "Python: explain chat", block))
        else:
            command, _, output = block.partition("\n")
            found.append(Shown(rows, command, output))
    return found


def explained(one: Shown) -> str:
    """What the command line's ``explain`` says on the day of the page's writing, with a key for every provider."""
    options = argparse.ArgumentParser()
    options.add_argument("feature")
    options.add_argument("--tokens", type=int, default=0)
    for name in ("--user", "--tier"):
        options.add_argument(name)
    asked = options.parse_args(shlex.split(one.command.partition(" explain ")[2]))
    keys = {name: f"a-key-of-{name}" for name in re.findall(r'api_key_env *= *"(.*?)"', one.table)}
    caller = Caller(user_id=asked.user, tier=asked.tier)
    snapshot = parse_table(one.table, environ=keys, source=Path("llm.toml"))
    route = plan_route(snapshot, asked.feature, caller, Needs(tokens=asked.tokens), today=WRITTEN_ON)
    return f"{Explanation._make(route)}\n"


EXPLANATIONS = {f"{number}: {one.command}": one for number, one in enumerate(shown(CHOOSING), 1)}


@pytest.mark.parametrize("one", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_explain_says_what_the_page_shows(one: Shown) -> None:
    assert one.output == explained(one)


@pytest.mark.writes_keys("test_shown_*", "the page's own tests name one")
def test_the_tests_that_a_page_shows_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """First while they record what a provider says, which is on the loopback interface here, then without it."""
    page = (ROOT / "docs" / "how-to" / "test-your-product-code.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    files = {f"test_shown_{number}": block for number, block in enumerate(shown) if "def test_" in block}
    pytester.makepyfile(**files)
    pytester.makeconftest('pytest_plugins = ["backend.utils.llm.testing.pytest_plugin"]')
    pytester.makeini(
        "[pytest]\nllm_table = llm.toml\nasyncio_default_fixture_loop_scope = function\naddopts = -p no:randomly -p no:cacheprovider"
    )
    for name, key in HOUSE_KEYS.items():
        monkeypatch.setenv(name, key)
    with LoopbackProvider() as provider:
        table = loopback_table(provider, {"conv_folder": "openai:gpt-6-luna"})
        (pytester.path / "llm.toml").write_text(table, encoding="utf-8")
        recorded = pytester.runpytest_inprocess("--llm-record", "-k", "test_a_greeting")

    recorded.assert_outcomes(passed=1, deselected=recorded.parseoutcomes()["deselected"])
    assert len(files) >= 3
    assert pytester.runpytest_inprocess().ret == 0
