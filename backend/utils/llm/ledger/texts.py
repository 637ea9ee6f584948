"""Prompts and answers, of those features whose row says so, and for as many days: `keep_text_days`."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from .line_file import LineFile

if TYPE_CHECKING:
    from collections.abc import Iterator

_encoded = json.JSONEncoder(separators=(",", ":")).encode
_PREFIX, _SUFFIX = "until-", ".jsonl"


class AttemptText(NamedTuple):
    """The prompt and the answer of one attempt, as text: pictures, sounds and files are left out.

    Attributes:
        call: The call's id, and ``number`` the attempt's place in it, as its record has them.
        until: The first day on which it is not kept any more (UTC), as ``2026-12-06``.
        feature: What was called.
        user: The caller's user.
        tenant: The caller's organisation.
        messages: What was asked: for each message who speaks, in LangChain's words, and the text.
        answer: The answer's text, or the part of it that had come; None if nothing had.
        tool_calls: The tools that it calls: for each the name and the arguments.
    """

    call: str
    number: int
    until: str
    feature: str
    user: str | None
    tenant: str | None
    messages: list[list[str]]
    answer: str | None
    tool_calls: list[list[object]]

    def as_json(self) -> str:
        """The text as an object of JSON on one line, in ASCII."""
        return _encoded(self._asdict())

    @classmethod
    def of_json(cls, text: str | bytes) -> Self:
        """The text that `as_json` wrote.

        Raises:
            ValueError: It is no JSON.
            TypeError: It is no such text.
        """
        return cls(**json.loads(text))


class TextSink(Protocol):
    """Keeps what was asked and answered in each attempt until a day. It is told before the answer is handed on."""

    def keep(self, text: AttemptText) -> None:
        """Keep ``text`` until its day, and no longer. As `LedgerSink.append`, it does not wait, and changes no outcome."""


class TextFolder:
    """Keeps texts in a folder, with a file for each day on which some are to go. `prune` removes those whose day has come.

    Threads and processes may share it, as a `LineFile`.

    Args:
        path: The folder. It is made when it is first needed, for its owner alone.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def keep(self, text: AttemptText) -> None:
        """See `TextSink`.

        Raises:
            OSError: The disk is full, or fails.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(LineFile(self._path / f"{_PREFIX}{text.until}{_SUFFIX}")) as file:
            file.append(text.as_json())

    def of(self, call: str) -> Iterator[AttemptText]:
        """The texts of a call that are kept. Reads all that there is.

        Raises:
            OSError: A file cannot be read.
        """
        mark = f'"{call}"'.encode()
        for path in sorted(self._path.glob(f"{_PREFIX}*{_SUFFIX}")):
            with path.open("rb") as lines:
                for line in lines:
                    if mark in line:
                        with suppress(ValueError):
                            yield AttemptText.of_json(line)

    def prune(self, today: date) -> int:
        """Remove what is not kept any more on ``today``, and say how many files that were.

        Raises:
            OSError: One cannot be removed.
        """
        old = [path for path in self._path.glob(f"{_PREFIX}*{_SUFFIX}") if _day(path) <= today]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def _day(path: Path) -> date:
    """The day on which it goes; what is called otherwise stays."""
    try:
        return date.fromisoformat(path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))
    except ValueError:
        return date.max
