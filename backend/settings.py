"""The application's settings. Only this module reads the environment for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

ROOT: Final = Path(__file__).parents[1]
DOTENV: Final = ROOT / ".env"
MASTER_KEYS: Final = "PATCHBAY_MASTER_KEYS"
DATABASE_URL: Final = "DATABASE_URL"
_OURS: Final = {MASTER_KEYS, DATABASE_URL, "PATCHBAY_LEDGER_SECRET"}


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Days = Annotated[Annotated[int, Field(ge=1, le=36_500)] | None, BeforeValidator(_blank_is_none)]


def _in_ascii(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isascii():
        raise ValueError("only ASCII characters")
    return secret


class Settings(BaseSettings):
    """The application's settings, read from the process environment, and for missing variables from ``.env``.

    A blank value counts as unset.

    Attributes:
        host: The address that the service listens on.
        port: The port that the service listens on; 0 for any free port.
        public_url: The URL under which browsers reach the service: ``http(s)://host[:port]``. Needed behind
            a proxy, because the service does not trust proxy headers.
        data_dir: The folder of the database and all other stored data.
        master_keys: The keys that encrypt users' stored keys, separated by commas, the newest first. Without
            them, the keys in ``master_keys_file`` are used.
        master_keys_file: The file of the master keys; by default in ``data_dir``. Created when a key is
            first stored.
        database_url: The URL of a PostgreSQL database, such as
            ``postgresql://patchbay@db.example/patchbay``. Without it, SQLite is used.
        ledger_secret: A secret of 16 to 64 bytes, with which keys are hashed so that the ledger can tell
            them apart. Must be the same at every start and in every process. Without it, the ledger
            identifies only users' stored keys.
        ledger_spool_mb: The most megabytes of ledger records that wait on disk while the database is
            unavailable. Half an hour at a hundred calls per second needs about 80.
        ledger_days: For how many days the ledger keeps attempts; None for ever.
        usage_days: For how many days the ledger keeps sums of attempts, at least as long as the attempts;
            None for ever.
        leaving_seconds: For how many seconds, at the beginning of a stop, requests are accepted although
            `/readyz` reports "not ready".
        local_llm_gguf: A model file to serve instead of the built-in demo model.

    Raises:
        pydantic.ValidationError: A value is invalid; the error names the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix="PATCHBAY_",
        env_file=DOTENV,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # some of it is secret
        validate_by_name=True,
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    public_url: Annotated[
        Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+/?$")] | None, BeforeValidator(_blank_is_none)
    ] = None
    data_dir: Path = ROOT / ".data"
    master_keys: SecretStr | None = None
    master_keys_file: Annotated[Path | None, BeforeValidator(_blank_is_none)] = None
    database_url: Annotated[SecretStr | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, validation_alias=DATABASE_URL
    )
    ledger_secret: Annotated[
        Annotated[SecretStr, Field(min_length=16, max_length=64), AfterValidator(_in_ascii)] | None,
        BeforeValidator(_blank_is_none),
    ] = None
    ledger_spool_mb: Annotated[int, Field(ge=8)] = 1_024
    ledger_days: Days = None
    usage_days: Days = None
    leaving_seconds: Annotated[float, Field(ge=0, le=10)] = 0.0
    local_llm_gguf: Annotated[Path | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, validation_alias="LOCAL_LLM_GGUF"
    )

    @property
    def database_path(self) -> Path:
        """The path of the SQLite database, which is used if there is no ``database_url``."""
        return self.data_dir.expanduser() / "patchbay.sqlite3"

    @property
    def ledger_spool_path(self) -> Path:
        """The folder where records of attempts wait on disk to be written into the ledger's database."""
        return self.data_dir.expanduser() / "ledger"

    @property
    def prompt_texts_path(self) -> Path:
        """The folder where prompts and answers are kept, for features with ``keep_text_days``."""
        return self.data_dir.expanduser() / "texts"

    @property
    def conversation_journals_path(self) -> Path:
        """The folder of journals, which hold conversations that could not be stored in the database yet."""
        return self.data_dir.expanduser() / "unstored"

    @property
    def master_keys_path(self) -> Path:
        """The path of the file with the master keys, which are used if ``master_keys`` is not set."""
        return (self.master_keys_file or self.data_dir / "master.keys").expanduser()


class UnusableSettingsError(Exception):
    """An environment variable, or a line of ``.env``, is invalid.

    The message names each invalid variable, but contains no values.
    """

    code = "unusable_settings"


def read_settings() -> Settings:
    """Read the settings from the current environment and ``.env``.

    Raises:
        UnusableSettingsError: A variable has an invalid value.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [f"{_variable(str(details['loc'][0]))}: {details['msg']}." for details in error.errors()]
        raise UnusableSettingsError("\n".join(problems)) from None


def _variable(setting: str) -> str:
    """The variable of the environment that holds a setting, by the setting's name."""
    field = Settings.model_fields.get(setting)
    return setting if field is None else str(field.validation_alias or f"PATCHBAY_{setting.upper()}")


def read_environment(dotenv: Path = DOTENV) -> dict[str, str]:
    """Read the environment variables for the LLM clients and the local model.

    Variables that the process lacks come from the file ``dotenv``, unless they are blank there. A blank
    variable of the process wins: ``OPENAI_API_KEY= backend/run.sh`` runs without the key in the file.

    The master keys are left out, so that no row of a table can name them as a provider's key. The database's
    URL is left out, because it may contain a password.
    """
    merged = _read(dotenv) | dict(os.environ)  # noqa: TID251 - the one reader of the application's environment
    return {name: value for name, value in merged.items() if name not in _OURS}


def make_worker_environment(metrics_dir: Path) -> dict[str, str]:
    """Make the environment of a worker process: this process's variables, and the folder for metrics.

    Args:
        metrics_dir: The folder in which all workers keep their metrics.
    """
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir)}  # noqa: TID251 - handed on as it is


def _read(dotenv: Path) -> dict[str, str]:
    file = DotEnvSettingsSource(
        Settings, env_file=dotenv, env_file_encoding="utf-8", case_sensitive=True, env_ignore_empty=True
    )
    return {name: value for name, value in file.env_vars.items() if value}
