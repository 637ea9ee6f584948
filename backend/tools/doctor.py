"""Checks whether Patchbay can run here, and says what to do where it cannot.

Nothing is changed: no database is created or upgraded, no provider is called, and no key's value is shown.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import platform
import shutil
import socket
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from backend.local_model.server import CannotStartError, gguf_path, runtime
from backend.tools.lock import ROOT, read_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from backend.utils.llm.model_config import Snapshot

State = Literal["ok", "warning", "fault"]
OLDEST: Final = (3, 11)
NEWEST: Final = (3, 14)
_INSTALLED: Final = ("requirements.txt", "requirements-model.txt")
_INSTALL: Final = "Run ./backend/run.sh: it installs the lock."
_GIBIBYTE: Final = 1024**3
_SMALL: Final = _GIBIBYTE // 8
"""Free bytes below which a server soon stops to keep anything."""
_DRIFT: Final = timedelta(seconds=5)
_WRITTEN: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that is right shows less."""
_MOST: Final = 5
"""How many names are told."""


class Check(NamedTuple):
    """The result of one check.

    Attributes:
        name: The name of the thing checked.
        state: ``ok``; ``warning`` if Patchbay runs, but perhaps not for long or not well; ``fault`` if it does not run.
        says: What was found.
        advice: What to do; empty if there is nothing to do.
    """

    name: str
    state: State
    says: str
    advice: str = ""


def examine(now: datetime) -> Iterator[Check]:
    """Run every check, and yield its result. If a package is missing, the checks that need it are left out."""
    yield python()
    yield packages()
    try:
        from backend.settings import environment

        yield from table(environment())
        yield from _settled(now)
    except ImportError as error:
        yield Check("imports", "fault", str(error), _INSTALL)


def _settled(now: datetime) -> Iterator[Check]:
    """The checks that depend on the settings."""
    from backend.database.condition import condition
    from backend.database.migrations import revisions
    from backend.settings import UnusableSettingsError, read_settings

    try:
        settings = read_settings()
    except UnusableSettingsError as error:
        says = " ".join(str(error).splitlines())
        yield Check("settings", "fault", says, "Correct it in the environment or in .env.")
        return
    found = asyncio.run(condition(settings))
    yield database(found.fault, place=found.place, exists=found.exists)
    if found.fault is None:
        yield migrations(found.revision, revisions())
    yield port(settings.host, settings.port)
    yield disk(settings.data_dir.expanduser(), settings.ledger_spool_mb * 1024**2)
    yield clock(now, found.now)
    yield demo_model(settings.local_llm_gguf)


def python(running: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Check whether the lock file has packages for the Python version ``running``."""
    says = f"{platform.python_version()} at {sys.executable}"
    if OLDEST <= running <= NEWEST:
        return Check("python", "ok", says)
    state: State = "fault" if running < OLDEST else "warning"
    return Check(
        "python", state, says, "Use Python 3.11 to 3.14, then remove .venv and run ./backend/run.sh."
    )


def packages(installed: Callable[[str], str] = version) -> Check:
    """Check whether the installed packages are those of the lock file. ``installed`` returns the version of a package."""
    wanted = [
        release
        for release in read_lock(*((ROOT / name).read_text("utf-8") for name in _INSTALLED))
        if release.is_wanted_here
    ]
    others = [f"{one.name} {has}" for one in wanted if (has := _version(one.name, installed)) != one.version]
    if not others:
        return Check("packages", "ok", f"{len(wanted)}, as the lock has them")
    return Check(
        "packages", "fault", f"{len(others)} are not as the lock has them: {_some(others)}", _INSTALL
    )


def _version(name: str, installed: Callable[[str], str]) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "is missing"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def table(environ: Mapping[str, str]) -> Iterator[Check]:
    """Check whether the table loads, and which of the keys that it names are set."""
    from backend.utils.llm import Table
    from backend.utils.llm.errors import ConfigError

    try:
        made = Table(environ=environ)
    except ConfigError as error:
        count = len(error.problems)
        says = f"{count} problem{'s' * (count != 1)}, the first: {error.problems[0]}"
        yield Check("table", "fault", says, "Run: python -m backend check")
        return
    snapshot = made.snapshot
    yield Check("table", "ok", f"{made.path}, {len(snapshot.features)} features, profile {snapshot.profile}")
    yield keys(snapshot)


def keys(snapshot: Snapshot) -> Check:
    """List the providers for which the operator has a key, by the names of the environment variables. Shows no key."""
    accounts = [
        account for one in snapshot.providers.values() for account in one.accounts if account.api_key_env
    ]
    there = [one.api_key_env for one in accounts if one.slot in snapshot.house_keys]
    missing = [one.api_key_env for one in accounts if one.slot not in snapshot.house_keys]
    if there:
        absent = f"; not set: {', '.join(missing)}" if missing else ""
        return Check("keys", "ok", f"{', '.join(there)}{absent}")
    advice = f"Set one of {', '.join(missing)}, in the environment or in .env." if missing else ""
    served = f"the demo model {snapshot.demo} serves" if snapshot.demo else "nothing serves"
    return Check("keys", "warning", f"none is set: {served}", advice)


def database(fault: str | None, *, place: str, exists: bool) -> Check:
    """Make the result of the check of the database: a fault if ``fault`` says why it cannot be read."""
    if fault is not None:
        return Check(
            "database", "fault", fault, "Mend it, or name another in DATABASE_URL or PATCHBAY_DATA_DIR."
        )
    return Check("database", "ok", place if exists else f"{place} is made at the first start")


def migrations(revision: str | None, known: Sequence[str]) -> Check:
    """Check whether the database has the tables of this version.

    Args:
        revision: The last migration that was applied; None if there was none.
        known: The migrations of this version, the newest first.
    """
    if revision is None:
        return Check("migrations", "ok", "none yet: the first start applies them")
    if revision not in known:
        says = f"{revision} is unknown: a newer version of Patchbay has made it"
        return Check("migrations", "fault", says, "Run the version that made it, or name another database.")
    if (behind := known.index(revision)) > 0:
        advice = "The next start upgrades the database. Back it up first."
        return Check(
            "migrations", "warning", f"{behind} behind: at {revision}, and the newest is {known[0]}", advice
        )
    return Check("migrations", "ok", f"at {revision}, the newest")


def port(host: str, number: int) -> Check:
    """Check whether the server can listen on the port. It is also well if a Patchbay already answers there."""
    where = f"{host}:{number}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _answers(host, number):
            return Check("port", "ok", f"{where}: a server answers there")
        advice = "Stop what listens there, or set PATCHBAY_PORT (0 takes a free one) or PATCHBAY_HOST."
        return Check("port", "fault", f"{where}: {error.strerror or error}", advice)
    return Check("port", "ok", f"{where} is free")


def _answers(host: str, number: int) -> bool:
    """Whether a Patchbay answers at that host and port."""
    with closing(http.client.HTTPConnection(host, number, timeout=2)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().read(64) == b'{"status":"ok"}'
        except (OSError, http.client.HTTPException):
            return False


def disk(folder: Path, spool: int) -> Check:
    """Check whether the disk has enough free space for the stored data.

    Args:
        folder: The folder of the data; it need not exist yet.
        spool: Bytes that the ledger's spool may take.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    says = f"{free / _GIBIBYTE:.1f} GiB free at {folder}"
    if free >= max(spool, _SMALL):
        return Check("disk", "ok", says)
    advice = "Make room, set PATCHBAY_DATA_DIR to a larger disk, or PATCHBAY_LEDGER_SPOOL_MB to less."
    return Check("disk", "fault" if free < _SMALL else "warning", says, advice)


def clock(now: datetime, elsewhere: datetime | None) -> Check:
    """Check whether this machine's clock is roughly right.

    Args:
        now: The time of this machine's clock.
        elsewhere: The time of the database server's clock; None for SQLite.
    """
    advice = "Set the clock, and let NTP keep it: retirements, budgets and TLS go by it."
    if now < _WRITTEN:
        return Check("clock", "fault", f"{now:%Y-%m-%d %H:%M}Z, which is long ago", advice)
    if elsewhere is not None and abs(now - elsewhere) > _DRIFT:
        apart = abs(now - elsewhere).total_seconds()
        return Check("clock", "warning", f"{apart:.0f} s from that of the database's server", advice)
    return Check("clock", "ok", f"{now:%Y-%m-%d %H:%M}Z")


def demo_model(gguf: Path | None) -> Check:
    """Check whether the embedded model can be started: its file, and the library that runs it."""
    try:
        path = gguf_path("" if gguf is None else str(gguf.expanduser()))
        runtime()
    except CannotStartError as error:
        return Check("demo model", "warning", str(error), "Without it a provider's key is needed.")
    return Check("demo model", "ok", path.name)
