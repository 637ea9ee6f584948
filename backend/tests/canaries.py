"""The guard over the whole suite: no key of a test is told.

Tests' keys look like keys: ``sk-…``, or ``house-key-of-…``. A test fails if one of them is in a record of any logger, at DEBUG,
with its traceback and everything else that a record carries; in what the test printed; or in a file below its ``tmp_path``,
databases with their journals among them. Where a test writes a key to a file itself, it says so and why:
``@pytest.mark.writes_keys("lmi.*", "a file to import")``.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

MARKER = "writes_keys(files, why): the test itself writes keys to the files below tmp_path that match this pattern."
KEY = re.compile(r"(?<![A-Za-z0-9])sk-[a-z0-9_-]{2,}|house-key-of-")
KEY_IN_A_FILE = re.compile(rb"sk-[a-z0-9_-]{2,}|house-key-of-")
"""On a page of a database anything may stand before it."""
RESERVED = "sqlalchemy"
"""Loggers that tell only WARNING and above unless asked by name."""


def keys_in(text: str) -> list[str]:
    """What looks like a key."""
    return KEY.findall(text)


def keys_in_files(folder: Path, written: str | None = None) -> Iterator[str]:
    """What looks like a key in any file below ``folder``, but for those that match ``written``."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not (written and path.match(written)):
            yield from (f"{path.name}: {key.decode()}" for key in KEY_IN_A_FILE.findall(path.read_bytes()))


class LogReader(logging.Handler):
    """Reads every record as whoever prints all of it would."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        told = keys_in(f"{self.format(record)} {vars(record)}")
        self._found += [f"log of {record.name}: {key}" for key in told]

    def taken(self) -> list[str]:
        """What was found since it was last taken."""
        found, self._found = self._found, []
        return found


class Guard:
    """The plugin."""

    def __init__(self) -> None:
        self._logs = LogReader()

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", MARKER)
        logging.getLogger().addHandler(self._logs)
        _read_everything()
        logging.getLogger(RESERVED).setLevel(logging.DEBUG)

    def pytest_unconfigure(self) -> None:
        logging.getLogger().removeHandler(self._logs)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        told = [*self._logs.taken(), *_printed(report)]
        if report.when == "teardown":
            told += _left_by(item)
            _read_everything()
        if told:
            report.outcome = "failed"
            report.longrepr = "\n".join(["A key was told.", *dict.fromkeys(told), report.longreprtext])
        return report


def _read_everything() -> None:
    """Set the root logger's level, unless it is set: Python then forgets what it knows of every other logger.

    pytest's own ``log_level`` does so twelve times for each test.
    """
    if logging.getLogger().level != logging.DEBUG:
        logging.getLogger().setLevel(logging.DEBUG)


def _printed(report: pytest.TestReport) -> Iterator[str]:
    for name, text in report.sections:
        if "log" not in name:
            yield from (f"{name}: {key}" for key in keys_in(text))


def _left_by(item: pytest.Item) -> Iterator[str]:
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    marker = item.get_closest_marker("writes_keys")
    if folder is not None:
        yield from keys_in_files(folder, marker and marker.args[0])
