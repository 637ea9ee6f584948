"""The service as a person starts it, and what it tells at its start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from backend.cli import app
from backend.serve import _Run, serve
from backend.settings import Settings
from backend.tests.fakes.applications import application
from backend.utils.llm.testing import Json, Status
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from .conftest import CANARY, FEATURES
from .test_keys_and_tokens import enrol

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider


class TestStart:
    """The application tells of retirements in its log, once."""

    async def start(self, patchbay: Patchbay, data_dir: Path) -> None:
        app = application(Settings(data_dir=data_dir), patchbay=patchbay)
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


def test_a_rate_that_is_none_is_told_by_its_option_with_a_sample() -> None:
    refused = CliRunner().invoke(app, ["tokens", "make", "ci", "--rate", "60"])

    assert (refused.exit_code, "--rate" in refused.output, "60/minute" in refused.output) == (2, True, True)
