"""Output and error handling that all commands share."""

from __future__ import annotations

import getpass
import re
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from backend.printing import EscapingConsole, format_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.settings import Settings

out = EscapingConsole(highlight=False, emoji=False, soft_wrap=True)
err = EscapingConsole(stderr=True, highlight=False, emoji=False, soft_wrap=True)

UNUSABLE_INPUT = "unusable_input"
"""The error code of a file that cannot be parsed."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHORT = 8
"""How many characters of an id are shown to people."""


class ExitStatus(IntEnum):
    """The exit statuses of commands, for scripts. 0 means success, or that the answer to a question is "yes"."""

    NO = 1
    """The command failed, or the answer is "no"."""
    MISUSE = 2
    """The command line is invalid, or a file that it names cannot be parsed."""
    BROKEN = 3
    """A link of the audit trail is broken."""
    UNVERIFIED = 4
    """All links of the audit trail hold, but the master key of its last heads is gone."""
    LATER = 75
    """The command failed, and may succeed later: a limit, a provider that is down. sysexits' EX_TEMPFAIL."""
    CONFIGURATION = 78
    """The table or the settings cannot be used. sysexits' EX_CONFIG."""


_LONGEST = 100
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as ``30m``, ``12h``, ``30d`` or ``2w``.

    Raises:
        typer.BadParameter: ``text`` is no duration of this form.
    """
    found = re.fullmatch(r"(\d{1,4})([mhdw])", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time. Write 30m, 12h, 30d or 2w.")
    count, unit = found.groups()
    return timedelta(**{_UNITS[unit]: int(count)})


def check_printable_name(text: str) -> str:
    """Check that ``text`` can be used as a name, such as a user's, and return it. Used as Typer's callback.

    Raises:
        typer.BadParameter: ``text`` has unprintable characters, is blank or is too long.
    """
    if not text.strip() or len(text) > _LONGEST or not text.isprintable():
        raise typer.BadParameter(f"Write 1 to {_LONGEST} letters that can be printed.")
    return text


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    sys.stdout.write(f"{format_json(value)}\n")


def exit_with_error(error: Exception, payload: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    """Print ``error``, and end the command with the matching `ExitStatus`.

    Args:
        error: The error. Its text is printed unless ``as_json``.
        payload: The error as JSON, for programs: at least ``code`` and ``message``; ``retryable`` if a later
            try may succeed.
        as_json: Whether to print ``payload`` as JSON instead of the text.
    """
    if as_json:
        print_json({"error": payload})
    else:
        err.print(str(error), markup=False)
    raise typer.Exit(_status(error, payload)) from error


def _status(error: Exception, facts: Mapping[str, Any]) -> ExitStatus:
    from backend.settings import UnusableSettingsError
    from backend.utils.llm.errors import ConfigError

    if isinstance(error, ConfigError | UnusableSettingsError):
        return ExitStatus.CONFIGURATION
    if facts["code"] == UNUSABLE_INPUT:
        return ExitStatus.MISUSE
    return ExitStatus.LATER if facts.get("retryable") else ExitStatus.NO


@contextmanager
def exit_on_errors(*, as_json: bool) -> Iterator[None]:
    """On an `LLMError` or `UnusableSettingsError` in the context, print the error and end the command with its status."""
    from backend.settings import UnusableSettingsError
    from backend.utils.llm.errors import LLMError

    try:
        yield
    except LLMError as error:
        exit_with_error(error, error.as_dict(), as_json=as_json)
    except UnusableSettingsError as error:
        exit_with_error(error, {"code": error.code, "message": str(error)}, as_json=as_json)


@contextmanager
def exit_on_storage_errors(*, as_json: bool) -> Iterator[None]:
    """Like `exit_on_errors`, but also handles errors of the database."""
    from sqlalchemy.exc import DBAPIError

    from backend.database.engine import UnusableDatabaseError

    with exit_on_errors(as_json=as_json):
        try:
            yield
        except UnusableDatabaseError as error:
            exit_with_error(error, {"code": error.code, "message": str(error)}, as_json=as_json)
        except DBAPIError as error:
            settings = read_settings()
            place = settings.database_path if settings.database_url is None else "of DATABASE_URL"
            broken = UnusableDatabaseError(place, str(error.orig).splitlines()[0])
            exit_with_error(broken, {"code": broken.code, "message": str(broken)}, as_json=as_json)


@asynccontextmanager
async def open_sessions(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Open the application's database, creating it if missing, and yield a factory of its sessions."""
    from backend.database.storage import open_and_migrate_database
    from backend.database.transactions import make_session_factory

    async with open_and_migrate_database(settings) as engine:
        yield make_session_factory(engine)


@asynccontextmanager
async def open_audited_sessions(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Like `open_sessions`, for commands whose changes are recorded in the audit trail.

    At the end of the context, the newest entry of the audit trail is signed, if there is a master key.
    """
    async with open_sessions(settings) as sessions:
        yield sessions
        await _sign(sessions, settings)


async def _sign(sessions: async_sessionmaker[AsyncSession], settings: Settings) -> None:
    """Sign a head of the audit trail. If there is no master key to sign with, a server does so later."""
    from backend.database.audit import AuditTrail
    from backend.keys.errors import MasterKeyError
    from backend.keys.master_keys import load_master_keys
    from backend.keys.signing import AuditSigningKeys

    with suppress(MasterKeyError):
        keys = AuditSigningKeys(load_master_keys(settings.master_keys, settings.master_keys_path))
        await AuditTrail(sessions).sign_hash_chains(keys)


def read_settings() -> Settings:
    """Read the application's settings from the environment variables.

    Raises:
        UnusableSettingsError: A variable has an invalid value.
    """
    from backend import settings

    return settings.read_settings()


def current_os_user() -> str:
    """Get the operating system's name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
