"""Tests that tell a key, each in a way of its own: all but those named `test_clean_…` have to fail.

They are run by `backend.tests.unit.test_canaries`, and by nobody else.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

KEY = "sk-canary-leaked"
log = logging.getLogger("some.library")


def test_a_record_at_debug() -> None:
    log.debug("signed with %s", KEY)


def test_a_record_of_which_only_a_part_is_printed() -> None:
    log.debug("signed", extra={"headers": {"authorization": KEY}})


def test_an_argument_that_is_cut_when_printed() -> None:
    log.debug("signed with %.2s", KEY)


def broken(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def test_a_traceback() -> None:
    try:
        broken(ValueError(KEY))
    except ValueError:
        log.exception("it broke")


def test_the_cause_in_a_traceback() -> None:
    try:
        broken(RuntimeError("it broke"), ValueError(KEY))
    except RuntimeError:
        log.exception("it broke")


def test_a_key_of_the_house(provider: LoopbackProvider) -> None:
    log.debug("served at %s with house-key-of-openai", provider.openai_url)


def test_a_statement_of_sqlalchemy() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("SELECT :key"), {"key": KEY})
    engine.dispose()  # else Python 3.13 warns of its connection, in the next test


def test_standard_output() -> None:
    print(KEY)  # noqa: T201 - it is what is not to be done


def test_standard_error() -> None:
    sys.stderr.write(KEY)


@pytest.fixture
def _telling_at_its_end() -> Iterator[None]:
    yield
    log.debug(KEY)


@pytest.mark.usefixtures("_telling_at_its_end")
def test_a_fixture() -> None:
    pass


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text(f"key={KEY}")


def kept(path: Path) -> sqlite3.Connection:
    """A database that holds the key, between other texts."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE keys AS SELECT 'ann' AS user, ? AS key, 'openai' AS provider", (KEY,))
    database.commit()
    return database


def test_a_page_of_a_database(tmp_path: Path) -> None:
    with closing(kept(tmp_path / "patchbay.sqlite3")):
        pass


def test_a_page_that_was_freed(tmp_path: Path) -> None:
    with closing(kept(tmp_path / "patchbay.sqlite3")) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("DROP TABLE keys")
        database.commit()


OPEN: list[sqlite3.Connection] = []


def test_a_write_ahead_log(tmp_path: Path) -> None:
    OPEN.append(kept(tmp_path / "patchbay.sqlite3"))
    assert KEY.encode() not in (tmp_path / "patchbay.sqlite3").read_bytes()


@pytest.mark.writes_keys("*.toml", "a table to be read")
def test_another_file_than_the_one_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "llm.env").write_text(KEY)


@pytest.mark.writes_keys("*.toml", "a table to be read")
def test_clean_file_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "llm.toml").write_text(KEY)


def test_clean_words(tmp_path: Path) -> None:
    log.debug("a task-queue, a disk-cache; sk- is how a key begins")
    (tmp_path / "notes.txt").write_text("nothing")
