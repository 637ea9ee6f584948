"""The command line, and the service as a person starts it, on a loopback provider."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import async_sessionmaker
from typer.testing import CliRunner, Result

from backend.access import Owner
from backend.cli import app
from backend.commands.terminal import ExitStatus
from backend.database.engine import opened
from backend.database.sessions import SessionStore
from backend.database.tokens import TokenStore
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKeyFile
from backend.main import FIRST_USER, create_app
from backend.serve import _Run, serve
from backend.settings import Settings
from backend.utils.llm.model_config import load
from backend.utils.llm.models.sources import DECLARED, OPENAI_PROFILE
from backend.utils.llm.testing import Hang, Json, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay, loopback_table
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

CANARY = "sk-canary-77a1"
FEATURES = [
    "chat_responses",
    "conv_action_items",
    "conv_discard",
    "conv_folder",
    "conv_structure",
]


@pytest.fixture(autouse=True)
def table(tmp_path: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of the product's features on the loopback provider, in force by the environment."""
    path = tmp_path / "llm.toml"
    path.write_text(loopback_table(provider, dict.fromkeys(FEATURES, "openai:gpt-6-luna")))
    monkeypatch.setenv("LLM_CONFIG", str(path))
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "no data"))
    monkeypatch.setenv("LOOPBACK_OPENAI_KEY", CANARY)
    return path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def told(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert CANARY not in result.output
    return json.loads(result.stdout)


class TestFeatures:
    def test_every_feature_is_listed_with_what_it_runs_on(self) -> None:
        output = run("features").stdout

        assert all(feature in output for feature in FEATURES)
        assert "openai:gpt-6-luna" in output

    def test_as_json_it_is_the_qos_document(self) -> None:
        assert sorted(told("features")["features"]) == FEATURES


class TestExplain:
    def test_explain_shows_where_a_call_would_run_and_sends_nothing(self, provider: LoopbackProvider) -> None:
        assert "1. openai:gpt-6-luna  house's key" in run("explain", "conv_folder").stdout
        assert provider.requests == ()

    def test_a_call_that_nothing_can_serve_exits_with_1(self) -> None:
        served, unserved = run("explain", "conv_folder"), run("explain", "conv_folder", "--byok", "nobody")

        assert (served.exit_code, unserved.exit_code) == (0, 1)
        assert "✗" in unserved.stdout

    def test_explain_shows_what_a_call_would_cost_and_what_would_follow_a_failure(self) -> None:
        output = run("explain", "conv_folder", "--tokens", "1000", "--failures").stdout
        first = told("explain", "conv_folder", "--tokens", "1000")["candidates"][0]

        assert f"${first['estimate']['prompt_usd']} to $" in output
        assert "the call ends" in output
        assert first["on_failure"]["server"] == {"requests": 3, "then": "the next endpoint"}

    def test_it_answers_for_a_caller_with_a_key(self) -> None:
        route = told("explain", "conv_folder", "--byok", "openai")

        assert [candidate["key_owner"] for candidate in route["candidates"]] == ["user"]

    def test_an_unknown_feature_names_the_nearest(self) -> None:
        result = run("explain", "conv_foldr")

        assert result.exit_code == 1
        assert "'conv_folder'" in result.stderr

    def test_as_json_the_error_is_json_too(self) -> None:
        assert told("explain", "conv_foldr")["error"]["code"] == "unknown_feature"


class TestCheck:
    def test_a_good_table_is_reported_with_its_hash(self, table: Path) -> None:
        result = run("check")

        assert result.exit_code == 0
        assert load(table, environ={"LOOPBACK_OPENAI_KEY": "another"}).hash in result.stdout

    def test_a_bad_table_is_reported_whole_and_exits_1(self, table: Path) -> None:
        table.write_text(
            table.read_text() + '\n[features.conv_folder]\noptions = { efort = "low" }\n[features.nobody]'
        )

        result = run("check", str(table))

        assert result.exit_code == 1
        assert "features.conv_folder.options.efort" in result.stderr
        assert "features.nobody" in result.stderr
        assert len(told("check", str(table))["problems"]) == 2

    def test_a_missing_table_is_reported(self, tmp_path: Path) -> None:
        assert run("check", str(tmp_path / "none.toml")).exit_code == 1

    def test_warnings_are_printed_and_check_exits_0(self) -> None:
        result = run("check")

        assert result.exit_code == 0
        assert "warning  conv_folder (byok, premium): only openai serves it.\n" in result.stdout
        assert "5 features, 5 warnings. Hash" in result.stdout

    def test_strict_makes_problems_of_them_and_exits_1(self) -> None:
        result = run("check", "--strict")

        assert result.exit_code == 1
        assert result.stdout.count("problem  ") == 5
        assert "5 features, 5 problems. Hash" in result.stdout

    def test_as_json_each_finding_says_whether_it_fails(self) -> None:
        document = told("check")

        assert (document["ok"], document["features"]) == (True, 5)
        assert {finding["kind"] for finding in document["findings"]} == {"one_provider"}
        assert [finding["fails"] for finding in document["findings"]] == [False] * 5


class TestCheckRetirement:
    """``--fail-within`` in a build: gpt-4o goes off sale on 2027-01-14."""

    @pytest.fixture(autouse=True)
    def old(self, table: Path, provider: LoopbackProvider) -> None:
        chains = {"conv_folder": ["openai:gpt-4o", "gemini:gemini-3.5-flash-lite"]}
        table.write_text(loopback_table(provider, chains))

    @pytest.mark.parametrize(
        ("today", "within", "status"),
        [
            ("2026-12-15", "30d", 1),
            ("2026-12-14", "30d", 0),
            ("2026-12-31", "2w", 1),
            ("2026-12-30", "2w", 0),
            ("2027-01-13", "12h", 1),
            ("2027-01-12", "12h", 0),
            ("2027-02-01", "0d", 1),
        ],
    )
    def test_it_fails_within_the_time_and_once_it_has_passed(
        self, today: str, within: str, status: int
    ) -> None:
        assert run("check", "--fail-within", within, "--today", today).exit_code == status

    def test_one_line_names_feature_profiles_day_days_left_and_heir(self) -> None:
        result = run("check", "--fail-within", "30d", "--today", "2027-01-01")

        assert result.stdout.splitlines()[0] == (
            "problem  openai:gpt-4o goes off sale on 2027-01-14, in 13 days: conv_folder (byok, premium). "
            "Its vendor names gpt-6-luna instead."
        )

    def test_further_off_than_that_it_is_a_warning_even_if_strict(self) -> None:
        result = run("check", "--strict", "--fail-within", "30d", "--today", "2026-11-21")

        assert result.exit_code == 0
        assert result.stdout.startswith("warning  openai:gpt-4o")

    def test_a_retirement_beyond_90_days_is_listed_only_if_asked_for(self) -> None:
        assert "gpt-4o" not in run("check", "--today", "2026-10-15").stdout
        assert "gpt-4o" in run("check", "--today", "2026-10-15", "--fail-within", "20w").stdout

    def test_as_json_it_is_data(self) -> None:
        finding = told("check", "--fail-within", "30d", "--today", "2027-01-01")["findings"][0]

        assert finding["fails"]
        assert finding["retires"] == {
            "endpoint": "openai:gpt-4o",
            "day": "2027-01-14",
            "days": 13,
            "replacement": "gpt-6-luna",
        }

    @pytest.mark.parametrize("text", ["30", "d", "1y", "-1d", "1.5d", ""])
    def test_what_is_no_time_exits_2(self, text: str) -> None:
        assert run("check", f"--fail-within={text}").exit_code == 2

    def test_features_lists_retirements_too(self) -> None:
        assert "First openai:gpt-4o on 2027-01-14" in run("features").stdout


class TestModel:
    def test_each_value_is_shown_with_its_source(self) -> None:
        lines = [line.split(maxsplit=2) for line in run("model", "gpt-6-luna").stdout.splitlines()]

        assert ["context_window", "1050000", OPENAI_PROFILE] in lines

    def test_an_endpoint_of_the_table_is_shown_as_the_table_declares_it(self, table: Path) -> None:
        table.write_text(table.read_text() + '\n[models."openai:gpt-6-luna"]\ncontext_window = 9000')

        document = told("model", "openai:gpt-6-luna")

        assert document["can"]["context_window"] == 9000
        assert document["sources"]["context_window"] == DECLARED

    def test_one_that_nobody_knows_is_told_loudly_with_the_nearest(self) -> None:
        result = run("model", "gpt-6-lunar")

        assert result.exit_code == 1
        assert "Nothing is known of 'gpt-6-lunar'" in result.stderr
        assert "Did you mean 'gpt-6-luna'" in result.stderr
        assert told("model", "gpt-9")["known"] is False

    def test_the_last_day_is_shown_with_its_source(self) -> None:
        last = run("model", "gpt-4o").stdout.splitlines()[-1]

        assert "2027-01-14, then gpt-6-luna" in last
        assert "OpenAI's deprecations page" in last


@pytest.mark.writes_keys("lmi.json", "a configuration to import")
class TestImportConfig:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "lmi.json"
        path.write_text(json.dumps({"models": [{"name": "openai/gpt-6-luna", "api_key": CANARY}]}))
        return path

    def test_the_table_goes_to_standard_output_and_can_be_used(self, config: Path, tmp_path: Path) -> None:
        result = run("import-config", str(config), "--feature", "answers")

        (table := tmp_path / "imported.toml").write_text(result.stdout)
        assert result.exit_code == 0
        assert run("check", str(table)).exit_code == 0
        assert 'answers = "openai:gpt-6-luna"' in result.stdout

    def test_the_report_goes_to_standard_error_without_the_key(self, config: Path) -> None:
        result = run("import-config", str(config))

        assert "todo     models.0.api_key: set OPENAI_API_KEY to this key" in result.stderr
        assert CANARY not in result.output

    def test_every_problem_of_an_import_is_reported_and_it_exits_1_without_a_table(
        self, config: Path
    ) -> None:
        config.write_text(json.dumps({"models": [{"name": "azure/gpt"}, {"name": "mystery"}]}))

        result = run("import-config", str(config))

        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.count("wrong    ") == 2

    @pytest.mark.parametrize("arguments", [(), ("none.json",), ("lmi.json", "--feature", "No Name")])
    def test_a_command_that_cannot_be_followed_exits_2(
        self, config: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(config.parent)

        result = run("import-config", *arguments)

        assert result.exit_code == 2
        assert result.stdout == ""

    def test_as_json_it_is_one_document(self, config: Path) -> None:
        document = told("import-config", str(config))

        assert document["ok"]
        assert document["table"].startswith("# Imported from lmi.json")
        assert {"kind", "path", "says"} == set(document["findings"][0])

    def test_as_json_the_error_is_json_too(self) -> None:
        assert told("import-config", "none.json")["error"]["code"] == "unusable_input"

    def test_a_broken_file_gives_no_stack(self, config: Path) -> None:
        config.write_text(f'{{"api_key": "{CANARY}')

        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "backend", "import-config", str(config)],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"{config}: is not JSON (at line 1, column 13).\n"


class TestCall:
    def test_the_answer_is_printed_with_its_receipt(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        result = run("call", "chat_responses", "hi")

        assert result.stdout == "Good morning.\n"
        assert "chat_responses <- openai:gpt-6-luna" in result.stderr

    def test_an_answer_moves_no_cursor_and_sets_no_title(self, provider: LoopbackProvider) -> None:
        provider.script(Text("a\tb\n\x1b]0;title\x07 \x9b2J \u202ec", chunks=8))

        result = run("call", "chat_responses", "hi")

        assert result.stdout == "a       b\n\\x1b]0;title\\x07 \\x9b2J \\u202ec\n"

    def test_as_json_it_is_in_letters_that_any_terminal_takes(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Grüße \x1b]0;title\x07 \x7f\x9b2J \u202ec"))

        result = run("call", "chat_responses", "hi", "--json")

        assert set(result.stdout) <= {"\n", *map(chr, range(0x20, 0x7F))}
        assert json.loads(result.stdout)["text"] == "Grüße \x1b]0;title\x07 \x7f\x9b2J \u202ec"

    def test_the_text_may_come_from_standard_input(self, provider: LoopbackProvider) -> None:
        run("call", "chat_responses", "-", stdin="from a pipe")

        assert "from a pipe" in str(provider.requests[0].body)

    def test_as_json_it_is_one_document(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        document = told("call", "chat_responses", "hi")

        assert document["text"] == "Good morning."
        assert document["receipt"]["attempts"][0]["status"] == 200

    def test_a_failure_is_printed_without_a_stack_and_exits_1(self, provider: LoopbackProvider) -> None:
        provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))

        result = run("call", "chat_responses", "hi")

        assert result.exit_code == 1
        assert "refused the key of the house" in result.stderr
        assert CANARY not in result.output
        assert "Traceback" not in result.output


class TestStart:
    """The application tells of retirements in its log, once."""

    async def start(self, patchbay: Patchbay, data_dir: Path) -> None:
        app = create_app(Settings(data_dir=data_dir), patchbay=patchbay, announce=lambda _: None)
        async with app.router.lifespan_context(app):
            pass
        await patchbay.aclose()

    async def test_one_line_names_every_feature_that_is_concerned(
        self, provider: LoopbackProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        chains = dict.fromkeys(FEATURES, "openai:gpt-4o")

        await self.start(loopback_patchbay(provider, chains, time=VirtualTime().time), tmp_path)

        (line,) = [record.message for record in caplog.records if record.name == "backend.main"]
        assert line.startswith(f"Off sale within 90 days, or already: models of {', '.join(FEATURES)}.")

    async def test_there_is_none_if_no_model_goes(
        self, provider: LoopbackProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        chains = dict.fromkeys(FEATURES, "openai:gpt-6-luna")

        await self.start(loopback_patchbay(provider, chains, time=VirtualTime().time), tmp_path)

        assert [record for record in caplog.records if record.name == "backend.main"] == []


class TestKeys:
    def test_a_new_master_key_can_be_used_as_it_is_printed(self) -> None:
        printed = run("keys", "new").stdout.strip()

        assert EnvironmentMasterKeys(SecretStr(printed)).newest().name
        assert told("keys", "new")["master_key"] != printed

    def test_rotating_prints_what_was_done(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))

        done = told("keys", "rotate")

        assert (done["locked_anew"], done["unreadable"]) == (0, 0)
        assert MasterKeyFile(tmp_path / "data" / "master.keys").newest().name == done["master"]

    def test_an_unusable_database_is_reported_in_one_line_and_exits_1(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "data").touch()
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))

        result = run("keys", "rotate")

        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            f"The database {tmp_path}/data/patchbay.sqlite3 cannot be used: Not a directory."
        ]
        assert told("keys", "rotate")["error"]["code"] == "unusable_database"

    def test_malformed_master_keys_are_reported_and_not_repeated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("PATCHBAY_MASTER_KEYS", CANARY)

        result = run("keys", "rotate")

        assert result.exit_code == 1
        assert "keys new" in result.stderr
        assert CANARY not in result.output


class TestTokens:
    @pytest.fixture(autouse=True)
    def data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))
        return tmp_path / "data"

    def test_the_token_alone_goes_to_standard_output(self) -> None:
        result = run("tokens", "make", "ci", "--user", "bob")

        assert re.fullmatch(r"pb_[A-Za-z0-9_-]{43}\n", result.stdout)
        assert result.stdout.strip() not in result.stderr
        assert "bob" in result.stderr

    def test_what_it_may_do_is_said_when_it_is_made_and_listed(self) -> None:
        chosen = ["--scope", "call", "--scope", "debug", "--tenant", "acme", "--rate", "60/minute"]

        told("tokens", "make", "ci", "--user", "bob", *chosen, "--budget", "5/month", "--expires", "30d")

        (listed,) = told("tokens", "list")["tokens"]
        assert (listed["scopes"], listed["tenant_id"]) == (["call", "debug"], "acme")
        assert (listed["rate"], listed["budget"]) == ("60/minute", {"usd": "5", "period": "month"})
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", listed["expires_at"])
        assert "$5/month" in run("tokens", "list").stdout

    @pytest.mark.parametrize(
        "wrong",
        [
            ("--scope", "all"),
            ("--rate", "often"),
            ("--budget", "5"),
            ("--budget", "-1/day"),
            ("--expires", "soon"),
        ],
        ids=" ".join,
    )
    def test_what_cannot_be_given_is_refused_and_no_token_is_made(self, wrong: tuple[str, str]) -> None:
        assert run("tokens", "make", "ci", *wrong).exit_code == 2
        assert told("tokens", "list")["tokens"] == []

    def test_it_is_listed_without_the_secret(self) -> None:
        made = told("tokens", "make", "ci", "--user", "bob")

        (listed,) = told("tokens", "list")["tokens"]
        shown = run("tokens", "list").stdout

        assert {name: made[name] for name in ("id", "name", "user_id")} == {
            "id": listed["id"],
            "name": "ci",
            "user_id": "bob",
        }
        assert (listed["last_used_at"], listed["revoked_at"]) == (None, None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", listed["created_at"])
        assert made["id"][:8] in shown
        assert made["token"] not in shown + json.dumps(listed)

    @pytest.mark.parametrize("length", [32, 8, 4])
    def test_it_is_revoked_by_its_id_or_the_head_of_it_and_again_changes_nothing(self, length: int) -> None:
        made = told("tokens", "make", "ci")

        results = [run("tokens", "revoke", made["id"][:length]) for _ in range(2)]

        assert [result.exit_code for result in results] == [0, 0]
        assert told("tokens", "list")["tokens"][0]["revoked_at"] is not None

    @pytest.mark.parametrize("which", ["", "nobody", "%", "_"])
    def test_an_unknown_token_is_reported_and_exits_1(self, which: str) -> None:
        run("tokens", "make", "ci")

        assert run("tokens", "revoke", which).exit_code == 1
        assert told("tokens", "revoke", which)["error"]["code"] == "not_found"
        assert told("tokens", "list")["tokens"][0]["revoked_at"] is None

    def test_an_ambiguous_prefix_is_reported_and_revokes_no_token(self, data: Path) -> None:
        asyncio.run(make_tokens(data, 17))  # and there are 16 letters to begin with
        heads = Counter(one["id"][0] for one in told("tokens", "list")["tokens"])

        result = run("tokens", "revoke", heads.most_common(1)[0][0])

        assert result.exit_code == 1
        assert "More than one" in result.stderr
        assert {one["revoked_at"] for one in told("tokens", "list")["tokens"]} == {None}

    def test_a_token_that_is_given_in_place_of_its_id_is_not_repeated(self) -> None:
        made = told("tokens", "make", "ci")

        result = run("tokens", "revoke", made["token"])

        assert result.exit_code == 1
        assert made["token"] not in result.output

    def test_browsers_that_are_logged_in_are_listed_and_can_be_logged_out(self, data: Path) -> None:
        plain = asyncio.run(log_in(data))

        (listed,) = told("tokens", "list")["sessions"]
        shown = run("tokens", "list").stdout

        assert listed["user_id"] == "ann"
        assert listed["id"][:8] in shown
        assert plain not in shown + json.dumps(listed)
        assert run("tokens", "revoke", listed["id"][:8]).exit_code == 0
        assert told("tokens", "list")["sessions"] == []

    @pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\x1b[2Jb", "two\nlines"])
    def test_a_name_that_a_terminal_would_not_print_is_refused(self, name: str) -> None:
        assert run("tokens", "make", name).exit_code == 2

    @pytest.mark.parametrize("verb", [("list",), ("make", "ci"), ("revoke", "1")])
    def test_an_unusable_database_is_reported_in_one_line(self, verb: tuple[str, ...], data: Path) -> None:
        data.touch()

        result = run("tokens", *verb)

        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("The database ")


async def make_tokens(data_dir: Path, count: int) -> None:
    async with opened(data_dir / "patchbay.sqlite3") as engine:
        for _ in range(count):
            await TokenStore(async_sessionmaker(engine)).create("ann", "ci")


async def log_in(data_dir: Path) -> str:
    """A session of Ann's."""
    async with opened(data_dir / "patchbay.sqlite3") as engine:
        return await SessionStore(async_sessionmaker(engine)).open("ann")


ANSWER = Json(
    {
        "title": "The new booking page",
        "overview": "The new page goes live on Monday at nine.",
        "category": "work",
        "items": [{"owner": "Mira", "description": "Check the English texts"}],
        "folder_id": "1",
        "reasoning": "It is work.",
        "confidence": 0.9,
    }
)
"""What fits every step of the sample conversation."""


class TestServe:
    """`./backend/run.sh` on a provider that has a key: no built-in model is started."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", port=0)

    def test_the_sample_conversation_comes_out_whole(
        self, settings: Settings, provider: LoopbackProvider, capsys: pytest.CaptureFixture[str]
    ) -> None:
        provider.always(ANSWER)

        assert serve(settings, once=True) == 0

        printed = capsys.readouterr().out
        assert "Mira: Check the English texts" in printed
        assert "Cut from the transcript" not in printed
        assert all(feature in printed for feature in ("conv_structure", "conv_action_items", "conv_folder"))
        assert "gpt-6-luna-2026-11-01" in printed.replace("\n", "")
        assert CANARY not in printed

    @pytest.mark.parametrize(("once", "runs"), [(True, True), (False, False)])
    def test_the_sample_is_paid_for_at_the_first_start_and_then_only_with_once(
        self,
        once: bool,  # noqa: FBT001
        runs: bool,  # noqa: FBT001
        settings: Settings,
        provider: LoopbackProvider,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(_Run, "_print_link", lambda run: run.stop())
        provider.always(ANSWER)
        assert serve(settings, once=False) == 0
        assert len(provider.requests) > 0
        provider.clear()
        provider.always(ANSWER)

        assert serve(settings, once=once) == 0

        assert (len(provider.requests) > 0) is runs
        assert ("you have conversations" in capsys.readouterr().out) is not runs

    @pytest.mark.parametrize("content", [b"garbage" * 1000, None], ids=["garbage", "no folder"])
    def test_an_unusable_database_is_reported_in_one_line_and_exits_1(
        self, content: bytes | None, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if content is None:
            settings.data_dir.touch()
        else:
            settings.data_dir.mkdir()
            settings.database_path.write_bytes(content)

        assert serve(settings, once=True) == 1

        printed = capsys.readouterr()
        (line,) = printed.out.splitlines()
        assert line.startswith(f"The database {settings.database_path} cannot be used: ")
        assert "Traceback" not in printed.err

    def test_invented_facts_are_replaced_from_the_transcript_and_reported(
        self, settings: Settings, provider: LoopbackProvider, capsys: pytest.CaptureFixture[str]
    ) -> None:
        provider.always(Json(ANSWER.value | {"overview": "They sail to an island for 14 days."}))

        assert serve(settings, once=True) == 1

        printed = capsys.readouterr().out
        assert "new booking page goes live" in printed
        assert "conv_structure: invalid_output" in printed
        assert "Cut from the transcript without a model: title, overview" in printed

    def test_who_has_keys_does_not_pay_for_the_sample(
        self, settings: Settings, provider: LoopbackProvider, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asyncio.run(enrol(settings))
        provider.clear()

        assert serve(settings, once=True) == 0

        assert "is left out" in capsys.readouterr().out
        assert len(provider.requests) == 0

    def test_a_provider_that_refuses_is_reported_and_exits_1(
        self, settings: Settings, provider: LoopbackProvider, capsys: pytest.CaptureFixture[str]
    ) -> None:
        provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))

        assert serve(settings, once=True) == 1

        assert "credential_rejected" in (printed := capsys.readouterr().out)
        assert CANARY not in printed

    def test_a_bad_table_is_reported_before_anything_starts(
        self, settings: Settings, table: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table.write_text("nonsense")

        assert serve(settings, once=True) == 1

        assert "not TOML" in capsys.readouterr().out
        assert not settings.data_dir.exists()

    def test_malformed_master_keys_are_reported_before_anything_starts(
        self, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = settings.model_copy(update={"master_keys": SecretStr(CANARY)})

        assert serve(wrong, once=True) == 1

        assert "keys new" in (printed := capsys.readouterr().out)
        assert CANARY not in printed
        assert not settings.data_dir.exists()


async def enrol(settings: Settings) -> None:
    """A key of the first user's."""
    app = create_app(settings, announce=lambda _: None)
    async with app.router.lifespan_context(app):
        await app.state.services.keychain.enrol(
            Owner(FIRST_USER), "openai", SecretStr(CANARY), overlap=timedelta(0)
        )


def test_what_may_pass_exits_with_another_status_than_what_may_not(provider: LoopbackProvider) -> None:
    provider.always(Status(429, retry_after=60))
    limited = run("call", "conv_folder", "hi")
    provider.always(Status(400))
    malformed = run("call", "conv_folder", "hi")

    assert (limited.exit_code, malformed.exit_code) == (ExitStatus.LATER, ExitStatus.NO)


@pytest.mark.parametrize("arguments", [("tokens", "list"), ("usage",), ("serve",)])
def test_a_setting_that_cannot_be_understood_is_named_and_its_value_is_not(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_PORT", CANARY)

    result = run(*arguments)

    assert result.exit_code == ExitStatus.CONFIGURATION
    assert result.stderr.startswith("PATCHBAY_PORT: ")
    assert CANARY not in result.output


def test_a_table_that_does_not_load_exits_with_a_status_of_its_own(table: Path) -> None:
    table.write_text("nonsense = 1")

    assert run("features").exit_code == ExitStatus.CONFIGURATION
    assert run("check").exit_code == ExitStatus.NO


class TestDoctor:
    def test_it_says_what_is_well_and_what_is_not(self, table: Path) -> None:
        well = run("doctor")
        table.write_text("nonsense = 1")
        ill = run("doctor")

        assert (well.exit_code, ill.exit_code) == (0, ExitStatus.NO)
        assert "ok      table: " in well.stdout
        assert "fault   table: " in ill.stdout
        assert "Run: python -m backend check" in ill.stdout

    def test_its_json_says_the_same(self) -> None:
        told = json.loads(run("doctor", "--json").stdout)

        assert told["ok"]
        assert {check["name"]: check["state"] for check in told["checks"]}["keys"] == "ok"
        assert CANARY not in str(told)


def test_an_interrupted_call_exits_as_shells_expect(provider: LoopbackProvider) -> None:
    provider.always(Hang())
    command = [sys.executable, "-m", "backend", "call", "conv_folder", "hi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603 - ours
        assert provider.wait_until(lambda requests: len(requests) == 1, timeout_seconds=40)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)

    assert running.returncode == 130


def test_explain_goes_by_what_the_row_declares_unless_the_call_is_said_to_be_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("LLM_CONFIG", raising=False)
    for name in HOUSE_KEYS:
        monkeypatch.delenv(name, raising=False)

    declared = CliRunner().invoke(app, ["explain", "chat_agent"])
    without = CliRunner().invoke(app, ["explain", "chat_agent", "--no-tools"])
    listed = json.loads(CliRunner().invoke(app, ["features", "--json"]).stdout)["features"]["chat_agent"]

    assert (declared.exit_code, without.exit_code, listed["endpoint"]) == (1, 0, None)
    assert listed["problem"] in declared.output


def test_a_rate_that_is_none_is_told_by_its_option_with_a_sample() -> None:
    refused = CliRunner().invoke(app, ["tokens", "make", "ci", "--rate", "60"])

    assert (refused.exit_code, "--rate" in refused.output, "60/minute" in refused.output) == (2, True, True)
