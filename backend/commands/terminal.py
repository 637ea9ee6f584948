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

from backend.printing import Terminal, json_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.settings import Settings

out = Terminal(highlight=False, emoji=False, soft_wrap=True)
err = Terminal(stderr=True, highlight=False, emoji=False, soft_wrap=True)

UNUSABLE_INPUT = "unusable_input"
"""The error code of a file that cannot be parsed."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHORT = 8
"""How many characters of an id are shown to people."""


class ExitStatus(IntEnum):
    """The exit statuses of commands, for scripts. 0 is success, and "yes" where a question was asked."""

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


def duration(text: str) -> timedelta:
    """Parse a duration such as ``30m``, ``12h``, ``30d`` or ``2w``.

    Raises:
        typer.BadParameter: ``text`` is no such duration.
    """
    found = re.fullmatch(r"(\d{1,4})([mhdw])", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time. Write 30m, 12h, 30d or 2w.")
    count, unit = found.groups()
    return timedelta(**{_UNITS[unit]: int(count)})


def printable(text: str) -> str:
    """Return ``text`` if it can be printed as a name, such as a token's or a user's. Used as Typer's callback.

    Raises:
        typer.BadParameter: ``text`` has unprintable characters, is blank or is too long.
    """
    if not text.strip() or len(text) > _LONGEST or not text.isprintable():
        raise typer.BadParameter(f"Write 1 to {_LONGEST} letters that can be printed.")
    return text


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    sys.stdout.write(f"{json_text(value)}\n")


def fail(error: Exception, facts: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    """Report ``error``, and exit with its `ExitStatus`.

    Args:
        error: The error to print for people.
        facts: The error for programs: at least ``code`` and ``message``; ``retryable`` if a later try may succeed.
        as_json: Whether to print JSON.
    """
    if as_json:
        print_json({"error": facts})
    else:
        err.print(str(error), markup=False)
    raise typer.Exit(_status(error, facts)) from error


def _status(error: Exception, facts: Mapping[str, Any]) -> ExitStatus:
    from backend.settings import UnusableSettingsError
    from backend.utils.llm.errors import ConfigError

    if isinstance(error, ConfigError | UnusableSettingsError):
        return ExitStatus.CONFIGURATION
    if facts["code"] == UNUSABLE_INPUT:
        return ExitStatus.MISUSE
    return ExitStatus.LATER if facts.get("retryable") else ExitStatus.NO


@contextmanager
def errors(*, as_json: bool) -> Iterator[None]:
    """On an `LLMError` or `UnusableSettingsError` in the context, print it and end the command with its exit status."""
    from backend.settings import UnusableSettingsError
    from backend.utils.llm.errors import LLMError

    try:
        yield
    except LLMError as error:
        fail(error, error.as_dict(), as_json=as_json)
    except UnusableSettingsError as error:
        fail(error, {"code": error.code, "message": str(error)}, as_json=as_json)


@contextmanager
def storage_errors(*, as_json: bool) -> Iterator[None]:
    """Like `errors`, for commands that use the database."""
    from sqlalchemy.exc import DBAPIError

    from backend.database.engine import UnusableDatabaseError

    with errors(as_json=as_json):
        try:
            yield
        except UnusableDatabaseError as error:
            fail(error, {"code": error.code, "message": str(error)}, as_json=as_json)
        except DBAPIError as error:
            settings = read_settings()
            place = settings.database_path if settings.database_url is None else "of DATABASE_URL"
            broken = UnusableDatabaseError(place, str(error.orig).splitlines()[0])
            fail(broken, {"code": broken.code, "message": str(broken)}, as_json=as_json)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Open sessions on the application's database, which is created if it is missing."""
    from backend.database.storage import opened_database
    from backend.database.transactions import sessions_on

    async with opened_database(settings) as engine:
        yield sessions_on(engine)


@asynccontextmanager
async def deciding(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Like `database`, for commands that change something and record it in the audit trail.

    At the end the last entry of the trail is signed, if there is a master key.
    """
    async with database(settings) as sessions:
        yield sessions
        await _sign(sessions, settings)


async def _sign(sessions: async_sessionmaker[AsyncSession], settings: Settings) -> None:
    """Sign a head of the audit trail. If there is no master key to sign with, a server does so later."""
    from backend.database.audit import AuditTrail
    from backend.keys.errors import MasterKeyError
    from backend.keys.master_keys import load_master_keys
    from backend.keys.signing import HeadKeys

    with suppress(MasterKeyError):
        keys = HeadKeys(load_master_keys(settings.master_keys, settings.master_keys_path))
        await AuditTrail(sessions).sign(keys)


def read_settings() -> Settings:
    """The application's settings from the present environment.

    Raises:
        UnusableSettingsError: A variable holds an invalid value.
    """
    from backend import settings

    return settings.read_settings()


def operator() -> str:
    """The operating system's name of the user at the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
