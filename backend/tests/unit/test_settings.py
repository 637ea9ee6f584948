from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from backend.settings import ROOT, Settings, read_environment


def settings(text: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=dotenv(text, tmp_path))


def dotenv(text: str, tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_an_environment_the_defaults_hold(tmp_path: Path) -> None:
    told = settings("", tmp_path)
    assert (told.host, told.port, told.local_llm_gguf) == ("127.0.0.1", 8000, None)
    assert told.data_dir == ROOT / ".data"
    assert told.database_path == ROOT / ".data" / "patchbay.sqlite3"


def test_the_process_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_PORT", "9001")
    told = settings("PATCHBAY_PORT=9000\nPATCHBAY_HOST=0.0.0.0\nSOMETHING_ELSE=1\n", tmp_path)
    assert (told.host, told.port) == ("0.0.0.0", 9001)  # noqa: S104 - a value, nothing is bound


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_model_file_is_none(blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_LLM_GGUF", blank)
    assert settings("", tmp_path).local_llm_gguf is None


def test_the_model_file_has_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_LOCAL_LLM_GGUF", "/wrong.gguf")
    monkeypatch.setenv("LOCAL_LLM_GGUF", "/right.gguf")
    assert settings("", tmp_path).local_llm_gguf == Path("/right.gguf")


def test_blank_values_count_as_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_PORT", "")
    assert settings("PATCHBAY_HOST=\n", tmp_path).port == 8000
    assert settings("PATCHBAY_HOST=\n", tmp_path).host == "127.0.0.1"


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings("", tmp_path).port = 1  # type: ignore[misc]


def test_a_wrong_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="port"):
        settings("PATCHBAY_PORT=eighty", tmp_path)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATCHBAY_DATA_DIR", "~/kept")
    assert settings("", tmp_path).database_path == tmp_path / "kept" / "patchbay.sqlite3"


def test_environment_lays_the_file_below_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_QOS", "max")
    monkeypatch.setenv("GEMINI_API_KEY", "")
    merged = read_environment(
        dotenv("MODEL_QOS=premium\nOPENAI_API_KEY=of-the-file\nGEMINI_API_KEY=off\nLLM_CONFIG=\n", tmp_path)
    )
    assert merged["MODEL_QOS"] == "max"
    assert merged["OPENAI_API_KEY"] == "of-the-file"
    assert merged["GEMINI_API_KEY"] == ""
    assert "LLM_CONFIG" not in merged


def test_the_master_keys_are_not_for_the_facade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_MASTER_KEYS", "canary")

    assert "canary" not in read_environment(dotenv("PATCHBAY_MASTER_KEYS=canary\n", tmp_path)).values()
    assert "canary" not in repr(Settings(_env_file=None))
    assert Settings(_env_file=None).master_keys == SecretStr("canary")


def test_the_databases_url_is_not_for_the_facade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:canary@db/patchbay")

    assert "DATABASE_URL" not in read_environment(dotenv("DATABASE_URL=canary\n", tmp_path))
    assert "canary" not in repr(Settings(_env_file=None))
    assert Settings(_env_file=None).database_url == SecretStr("postgresql://ann:canary@db/patchbay")


def test_the_ledgers_secret_is_not_for_the_facades_environment_and_is_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_LEDGER_SECRET", "canary-of-16-bytes")

    assert "PATCHBAY_LEDGER_SECRET" not in read_environment(tmp_path / "absent")
    assert "canary" not in repr(Settings(_env_file=None))
    assert Settings(_env_file=None).ledger_secret == SecretStr("canary-of-16-bytes")


@pytest.mark.parametrize("wrong", ["canary-too-short"[:15], "c" * 65, "ä" * 20])
def test_a_secret_of_the_ledger_that_is_none_is_refused_and_not_repeated(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="ledger_secret") as refused:
        settings(f"PATCHBAY_LEDGER_SECRET={wrong}\n", tmp_path)

    assert wrong not in str(refused.value)


def test_the_ledger_waits_beside_the_database(tmp_path: Path) -> None:
    assert settings(f"PATCHBAY_DATA_DIR={tmp_path}\n", tmp_path).ledger_spool_path == tmp_path / "ledger"


def test_the_master_keys_lie_beside_the_database_by_default(tmp_path: Path) -> None:
    beside = settings(f"PATCHBAY_DATA_DIR={tmp_path}\n", tmp_path)
    apart = settings("PATCHBAY_MASTER_KEYS_FILE=~/master.keys\n", tmp_path)

    assert beside.master_keys_path == tmp_path / "master.keys"
    assert apart.master_keys_path == Path("~/master.keys").expanduser()


def test_environment_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_QOS", "max")
    assert read_environment(tmp_path / "absent")["MODEL_QOS"] == "max"


def test_the_example_names_every_variable() -> None:
    table = tomllib.loads((ROOT / "backend" / "llm.toml").read_text(encoding="utf-8"))
    keys = {row["api_key_env"] for row in table["providers"].values() if "api_key_env" in row}
    fields = {
        str(field.validation_alias or f"PATCHBAY_{name}".upper())
        for name, field in Settings.model_fields.items()
    }
    of_the_facade = {"MODEL_QOS", "LLM_CONFIG", "LLM_FEATURE_<FEATURE>", "LLM_STATE_URL", "LLM_STATE_SECRET"}
    assert keys | fields | of_the_facade == set(example())


def test_the_example_shows_the_defaults() -> None:
    shown = example()
    told = Settings(_env_file=None)
    assert (shown["PATCHBAY_HOST"], int(shown["PATCHBAY_PORT"])) == (told.host, told.port)
    assert ROOT / shown["PATCHBAY_DATA_DIR"] == told.data_dir
    assert int(shown["PATCHBAY_LEDGER_SPOOL_MB"]) == told.ledger_spool_mb


def test_the_example_changes_nothing_as_it_is() -> None:
    assert Settings(_env_file=ROOT / ".env.example") == Settings(_env_file=None)


def example() -> dict[str, str]:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z][A-Z_<>]+)=(\S*)$", text, flags=re.MULTILINE))
