"""What every command prints with, and how it fails."""

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
"""The code of a file that cannot be understood."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHORT = 8
"""How much of an id is shown to people."""


class ExitStatus(IntEnum):
    """What a command exits with, for scripts. 0 is success, and "yes" where a question was asked."""

    NO = 1
    """It failed, or the answer is "no"."""
    MISUSE = 2
    """The command line, or a file that it names, cannot be understood."""
    BROKEN = 3
    """A link of the audit trail is broken."""
    UNVERIFIED = 4
    """All links of the audit trail hold, but the master key of its last heads is gone."""
    LATER = 75
    """It failed, and the same may succeed later: a limit, a provider that is down. sysexits' EX_TEMPFAIL."""
    CONFIGURATION = 78
    """The table or the settings cannot be used. sysexits' EX_CONFIG."""


_LONGEST = 100
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str) -> timedelta:
    """A duration that is written ``30m``, ``12h``, ``30d`` or ``2w``.

    Raises:
        typer.BadParameter: If it is none.
    """
    found = re.fullmatch(r"(\d{1,4})([mhdw])", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time. Write 30m, 12h, 30d or 2w.")
    count, unit = found.groups()
    return timedelta(**{_UNITS[unit]: int(count)})


def printable(text: str) -> str:
    """A name that can be printed, as it is.

    Raises:
        typer.BadParameter: If it cannot, or is blank or long.
    """
    if not text.strip() or len(text) > _LONGEST or not text.isprintable():
        raise typer.BadParameter(f"Write 1 to {_LONGEST} letters that can be printed.")
    return text


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    sys.stdout.write(f"{json_text(value)}\n")


def fail(error: Exception, facts: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    """Tell of ``error``, and exit with the `ExitStatus` that it has.

    Args:
        error: Is printed for people.
        facts: Of it, for programs: its ``code`` and ``message`` at least; ``retryable`` if the same may succeed later.
        as_json: Whether programs ask.
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
    """End the command on an `LLMError` and on `UnusableSettingsError`, and tell of it."""
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
    """Like `errors`, for what needs the database."""
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
    """Sessions on the database, which is made if it is not there."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from backend.database.storage import opened_database

    async with opened_database(settings) as engine:
        yield async_sessionmaker(engine)


@asynccontextmanager
async def deciding(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Like `database`; at the end, a signed head of the audit trail vouches for what was decided."""
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
    """The application's settings, as the environment has them now.

    Raises:
        UnusableSettingsError: If it has what cannot be one.
    """
    from backend import settings

    return settings.read_settings()


def operator() -> str:
    """Who sits at the command line, by the name that the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
