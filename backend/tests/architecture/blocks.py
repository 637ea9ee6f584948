"""The blocks of code that the pages show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
_FENCED = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of a page.

    Attributes:
        page: Its path in the repository.
        number: Its place on the page, from 1.
        language: As it is marked; empty if it is not.
        text: What stands in it.
    """

    page: str
    number: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which a list of exceptions names it."""
        return self.text.partition("\n")[0]

    @property
    def name(self) -> tuple[str, str]:
        """What a list of exceptions calls it."""
        return self.page, self.first

    def __str__(self) -> str:
        return f"{self.page} {self.number}"

    def commands(self) -> Iterator[str]:
        """Each command in it, with what it continues in; of a console, without what it prints."""
        lines = _joined(self.text).splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        yield from (line for line in lines if line.strip() and not line.startswith("#"))

    def ours(self) -> Iterator[list[str]]:
        """The arguments of each of our own commands in it."""
        for command in (one for one in self.commands() if "-m backend " in one):
            words = shlex.split(command.replace("$(", "").replace(")", " "), comments=True)
            for number in (
                at for at, word in enumerate(words) if words[at - 1 : at + 1] == ["-m", "backend"]
            ):
                rest = [
                    word.removesuffix(";") if word.endswith(";") else word for word in words[number + 1 :]
                ]
                yield rest[: next((at for at, word in enumerate(rest) if word in _ENDS), len(rest))]

    def addresses(self) -> Iterator[tuple[str, str]]:
        """What it asks a server on this machine for: the method, and the path."""
        for call in re.findall(r"curl (?:[^']|'[^']*')*?(?=\n\S|\Z)", _joined(self.text)):
            if (found := re.search(r'(?:127\.0\.0\.1|localhost):\d+(/[^\s"?]*)', call)) is not None:
                named = re.search(r"-X (\w+)", call)
                yield (named[1] if named else "POST" if " -d " in call else "GET"), found[1]


_ENDS = {"|", ">", "&&", "do"}
"""What ends a command's arguments."""


def _joined(text: str) -> str:
    """``text`` with its continued lines in one."""
    return re.sub(r"\\\n\s*", "", text)


def pages() -> list[Path]:
    """Every page for people but the changelog."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(page for page in found if page.name != "CHANGELOG.md")


def blocks(*languages: str) -> list[Block]:
    """Every block in one of the languages, or in any."""
    return [
        block for page in pages() for block in blocks_of(page) if not languages or block.language in languages
    ]


def blocks_of(page: Path) -> Iterator[Block]:
    """Those of one page."""
    name = str(page.relative_to(ROOT))
    for number, (indent, language, text) in enumerate(_FENCED.findall(page.read_text("utf-8")), 1):
        yield Block(name, number, language.strip(), re.sub(f"^{indent}", "", text, flags=re.MULTILINE))
