"""Stores the prompts and answers of features whose row sets ``keep_text_days``, for that many days."""

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
    """The prompt and the answer of one attempt, as text. Images, audio and files are left out.

    Attributes:
        call: The call's id, as in the attempt's record.
        number: The attempt's position in the call, as in its record.
        until: The day on which the text is removed (UTC), such as ``2026-12-06``.
        feature: The feature that was called.
        user: The caller's user.
        tenant: The caller's organisation.
        messages: The prompt's messages, each as a pair of LangChain's name of its role, and its text.
        answer: The answer's text, or the part received before a failure; None if there was none.
        tool_calls: The tool calls in the answer, each as a pair of the tool's name and its arguments.
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
        """Encode the text as a JSON object on one line, in ASCII."""
        return _encoded(self._asdict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Decode a text that `as_json` encoded.

        Raises:
            ValueError: The text is not JSON.
            TypeError: The JSON is not an `AttemptText`.
        """
        return cls(**json.loads(text))


class TextSink(Protocol):
    """Stores prompts and answers until they expire. Applications implement it, or use `TextFolder`.

    `keep` is called before the answer is returned to the caller.
    """

    def keep(self, text: AttemptText) -> None:
        """Store ``text``, which must be removed on the day ``text.until``.

        Must be thread-safe and return without waiting, like `LedgerSink.append`. Its exceptions are logged.
        """


class TextFolder:
    """Stores prompts and answers in a folder, with one file for each day on which texts expire.

    Call `prune` to remove expired files. Threads and processes may share the folder.

    Args:
        path: The folder. It is created with the first text, for its owner only.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def keep(self, text: AttemptText) -> None:
        """Append ``text`` to the file of the day on which it expires.

        Raises:
            OSError: The disk is full or fails.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(LineFile(self._path / f"{_PREFIX}{text.until}{_SUFFIX}")) as file:
            file.append(text.as_json())

    def find_texts(self, call: str) -> Iterator[AttemptText]:
        """Find the stored prompts and answers of the call with the id ``call``. Reads every file of the folder.

        Raises:
            OSError: A file cannot be read.
        """
        mark = f'"{call}"'.encode()
        for path in sorted(self._path.glob(f"{_PREFIX}*{_SUFFIX}")):
            with path.open("rb") as lines:
                for line in lines:
                    if mark in line:
                        with suppress(ValueError):
                            yield AttemptText.from_json(line)

    def prune(self, today: date) -> int:
        """Remove the files that expire on ``today`` or earlier, and return the number of files removed.

        Raises:
            OSError: A file cannot be removed.
        """
        old = [path for path in self._path.glob(f"{_PREFIX}*{_SUFFIX}") if _day(path) <= today]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def _day(path: Path) -> date:
    """The day on which the file expires; files with other names are never removed."""
    try:
        return date.fromisoformat(path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))
    except ValueError:
        return date.max
