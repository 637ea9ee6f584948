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

from backend.local_model.server import CannotStartError, find_model_file, import_xllamacpp
from backend.tools.lock import ROOT, parse_lock_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from backend.utils.llm.model_config import TableSnapshot

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


class CheckResult(NamedTuple):
    """The result of one check of ``doctor``.

    Attributes:
        name: The name of what was checked, such as ``database``.
        state: ``ok``; ``warning`` if Patchbay can run, but perhaps not well or not for long; ``fault`` if it
            cannot run.
        says: What was found.
        advice: What to do; empty if there is nothing to do.
    """

    name: str
    state: State
    says: str
    advice: str = ""


def run_checks(now: datetime) -> Iterator[CheckResult]:
    """Run all checks, and yield their results. If a package is missing, the checks that need it are left out."""
    yield check_python_version()
    yield check_packages()
    try:
        from backend.settings import read_environment

        yield from check_feature_table(read_environment())
        yield from _settled(now)
    except ImportError as error:
        yield CheckResult("imports", "fault", str(error), _INSTALL)


def _settled(now: datetime) -> Iterator[CheckResult]:
    """The checks that depend on the settings."""
    from backend.database.condition import read_database_status
    from backend.database.migrations import list_revisions
    from backend.settings import UnusableSettingsError, read_settings

    try:
        settings = read_settings()
    except UnusableSettingsError as error:
        says = " ".join(str(error).splitlines())
        yield CheckResult("settings", "fault", says, "Correct it in the environment or in .env.")
        return
    found = asyncio.run(read_database_status(settings))
    yield check_database(found.fault, location=found.place, exists=found.exists)
    if found.fault is None:
        yield check_migrations(found.revision, list_revisions())
    yield check_port(settings.host, settings.port)
    yield check_disk_space(settings.data_dir.expanduser(), settings.ledger_spool_mb * 1024**2)
    yield check_clock(now, found.now)
    yield check_demo_model(settings.local_llm_gguf)


def check_python_version(running: tuple[int, int] = sys.version_info[:2]) -> CheckResult:
    """Check whether the lock file supports the Python version ``running``."""
    says = f"{platform.python_version()} at {sys.executable}"
    if OLDEST <= running <= NEWEST:
        return CheckResult("python", "ok", says)
    state: State = "fault" if running < OLDEST else "warning"
    return CheckResult(
        "python", state, says, "Use Python 3.11 to 3.14, then remove .venv and run ./backend/run.sh."
    )


def check_packages(get_installed_version: Callable[[str], str] = version) -> CheckResult:
    """Check whether the installed packages have the versions of the lock file.

    Args:
        get_installed_version: Returns the installed version of a package, like `importlib.metadata.version`.
    """
    wanted = [
        release
        for release in parse_lock_files(*((ROOT / name).read_text("utf-8") for name in _INSTALLED))
        if release.is_installed_here
    ]
    others = [
        f"{release.name} {has}"
        for release in wanted
        if (has := _version(release.name, get_installed_version)) != release.version
    ]
    if not others:
        return CheckResult("packages", "ok", f"{len(wanted)}, as the lock has them")
    return CheckResult(
        "packages", "fault", f"{len(others)} are not as the lock has them: {_some(others)}", _INSTALL
    )


def _version(name: str, installed: Callable[[str], str]) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "is missing"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def check_feature_table(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Check whether the table loads, and which of the API keys that it names are set."""
    from backend.utils.llm import Table
    from backend.utils.llm.errors import ConfigError

    try:
        made = Table(environ=environ)
    except ConfigError as error:
        count = len(error.problems)
        says = f"{count} problem{'s' * (count != 1)}, the first: {error.problems[0]}"
        yield CheckResult("table", "fault", says, "Run: python -m backend check")
        return
    snapshot = made.snapshot
    yield CheckResult(
        "table", "ok", f"{made.path}, {len(snapshot.features)} features, profile {snapshot.profile}"
    )
    yield check_house_keys(snapshot)


def check_house_keys(snapshot: TableSnapshot) -> CheckResult:
    """Check for which providers the operator's API key is set. Shows the names of environment variables, and no key."""
    accounts = [
        account
        for provider in snapshot.providers.values()
        for account in provider.accounts
        if account.api_key_env
    ]
    there = [account.api_key_env for account in accounts if account.slot in snapshot.house_keys]
    missing = [account.api_key_env for account in accounts if account.slot not in snapshot.house_keys]
    if there:
        absent = f"; not set: {', '.join(missing)}" if missing else ""
        return CheckResult("keys", "ok", f"{', '.join(there)}{absent}")
    advice = f"Set one of {', '.join(missing)}, in the environment or in .env." if missing else ""
    served = f"the demo model {snapshot.demo} serves" if snapshot.demo else "nothing serves"
    return CheckResult("keys", "warning", f"none is set: {served}", advice)


def check_database(error: str | None, *, location: str, exists: bool) -> CheckResult:
    """Report whether the database can be read, from what `read_database_status` found.

    Args:
        error: Why the database cannot be read; None if it can.
        location: Where the database is.
        exists: Whether the database exists already. A missing one is created at the first start.
    """
    if error is not None:
        return CheckResult(
            "database", "fault", error, "Mend it, or name another in DATABASE_URL or PATCHBAY_DATA_DIR."
        )
    return CheckResult("database", "ok", location if exists else f"{location} is made at the first start")


def check_migrations(revision: str | None, known_revisions: Sequence[str]) -> CheckResult:
    """Check whether the database's schema is that of this version.

    Args:
        revision: The last migration that was applied; None if there was none.
        known_revisions: The migrations of this version, the newest first.
    """
    if revision is None:
        return CheckResult("migrations", "ok", "none yet: the first start applies them")
    if revision not in known_revisions:
        says = f"{revision} is unknown: a newer version of Patchbay has made it"
        return CheckResult(
            "migrations", "fault", says, "Run the version that made it, or name another database."
        )
    if (behind := known_revisions.index(revision)) > 0:
        advice = "The next start upgrades the database. Back it up first."
        return CheckResult(
            "migrations",
            "warning",
            f"{behind} behind: at {revision}, and the newest is {known_revisions[0]}",
            advice,
        )
    return CheckResult("migrations", "ok", f"at {revision}, the newest")


def check_port(host: str, port: int) -> CheckResult:
    """Check whether the server can listen on the port, or a Patchbay server already answers there."""
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _answers(host, port):
            return CheckResult("port", "ok", f"{where}: a server answers there")
        advice = "Stop what listens there, or set PATCHBAY_PORT (0 takes a free one) or PATCHBAY_HOST."
        return CheckResult("port", "fault", f"{where}: {error.strerror or error}", advice)
    return CheckResult("port", "ok", f"{where} is free")


def _answers(host: str, number: int) -> bool:
    """Whether a Patchbay answers at that host and port."""
    with closing(http.client.HTTPConnection(host, number, timeout=2)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().read(64) == b'{"status":"ok"}'
        except (OSError, http.client.HTTPException):
            return False


def check_disk_space(folder: Path, spool_bytes: int) -> CheckResult:
    """Check whether the disk has enough free space for the data folder.

    Args:
        folder: The data folder. It does not have to exist yet.
        spool_bytes: The most bytes that the ledger's spool may take.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    says = f"{free / _GIBIBYTE:.1f} GiB free at {folder}"
    if free >= max(spool_bytes, _SMALL):
        return CheckResult("disk", "ok", says)
    advice = "Make room, set PATCHBAY_DATA_DIR to a larger disk, or PATCHBAY_LEDGER_SPOOL_MB to less."
    return CheckResult("disk", "fault" if free < _SMALL else "warning", says, advice)


def check_clock(now: datetime, database_time: datetime | None) -> CheckResult:
    """Check whether this machine's clock is roughly right.

    Args:
        now: The time of this machine's clock.
        database_time: The time of the database server's clock; None for SQLite, which has none of its own.
    """
    advice = "Set the clock, and let NTP keep it: retirements, budgets and TLS go by it."
    if now < _WRITTEN:
        return CheckResult("clock", "fault", f"{now:%Y-%m-%d %H:%M}Z, which is long ago", advice)
    if database_time is not None and abs(now - database_time) > _DRIFT:
        apart = abs(now - database_time).total_seconds()
        return CheckResult("clock", "warning", f"{apart:.0f} s from that of the database's server", advice)
    return CheckResult("clock", "ok", f"{now:%Y-%m-%d %H:%M}Z")


def check_demo_model(gguf_file: Path | None) -> CheckResult:
    """Check whether the embedded demo model can be started: whether its GGUF file and the library to run it exist."""
    try:
        path = find_model_file("" if gguf_file is None else str(gguf_file.expanduser()))
        import_xllamacpp()
    except CannotStartError as error:
        return CheckResult("demo model", "warning", str(error), "Without it a provider's key is needed.")
    return CheckResult("demo model", "ok", path.name)
