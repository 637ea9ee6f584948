"""What every command prints with, and how it fails."""

from __future__ import annotations

import getpass
import re
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from backend.printing import Terminal, json_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.settings import Settings

out = Terminal(highlight=False, emoji=False, soft_wrap=True)
err = Terminal(stderr=True, highlight=False, emoji=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHORT = 8
"""How much of an id is shown to people."""
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
    """Tell of ``error`` and exit with 1.

    Args:
        error: Is printed for people.
        facts: Of it, for programs: its ``code`` and ``message`` at least.
        as_json: Whether programs ask.
    """
    if as_json:
        print_json({"error": facts})
    else:
        err.print(str(error), markup=False)
    raise typer.Exit(1) from error


@contextmanager
def errors(*, as_json: bool) -> Iterator[None]:
    """Exit with 1 on an `LLMError`, and tell of it."""
    from backend.utils.llm.errors import LLMError

    try:
        yield
    except LLMError as error:
        fail(error, error.as_dict(), as_json=as_json)


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
    """The application's settings, as the environment has them now."""
    from backend.settings import Settings

    return Settings()


def operator() -> str:
    """Who sits at the command line, by the name that the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
