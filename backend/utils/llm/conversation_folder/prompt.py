"""Builds the prompt: the conversation in three lines, and a numbered list of the user's folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .verdict import get_default_folder_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .verdict import Folder

MAX_FOLDERS_SHOWN = 20
_NAME, _DESCRIPTION, _TITLE, _CATEGORY, _OVERVIEW = 40, 80, 120, 40, 600

SYSTEM = (
    "You file conversations into folders. Choose the folder that fits the main theme. "
    "Choose another than the default only when it clearly matches. "
    "Give a confidence above 0.9 only to a clear match. Reason in one short sentence."
)


def build_folders_context(folders: Sequence[Folder]) -> str:
    """Describe each folder in one numbered line. Names and descriptions are cut and cannot break the line."""
    if not folders:
        return "There are no folders."
    return "\n".join(_folder_line(number, folder) for number, folder in enumerate(folders, start=1))


def build_conversation_folder_context(title: str, overview: str, category: str) -> str:
    """Describe the conversation for the prompt in three lines: title, category and overview, each shortened."""
    return "\n".join(
        [
            f"Title: {_plain(title, _TITLE)}",
            f"Category: {_plain(category, _CATEGORY)}",
            f"Overview: {_plain(overview, _OVERVIEW)}",
        ]
    )


def select_relevant_folders(
    folders: Sequence[Folder], conversation: str, category_folder_id: str | None
) -> Sequence[Folder]:
    """Select at most `MAX_FOLDERS_SHOWN` folders to show to the model, in the user's order.

    The category's folder and the default folder are preferred, then the folders that share most words with
    the conversation.
    """
    if len(folders) <= MAX_FOLDERS_SHOWN:
        return folders
    fallbacks = {category_folder_id, get_default_folder_id(folders)}
    words = _words(conversation)

    def rank(position: int) -> tuple[bool, int, int]:
        folder = folders[position]
        shared = words & _words(f"{folder['name']} {folder.get('description') or ''}")
        return folder["id"] not in fallbacks, -len(shared), position

    chosen = sorted(range(len(folders)), key=rank)[:MAX_FOLDERS_SHOWN]
    return [folders[position] for position in sorted(chosen)]


def _folder_line(number: int, folder: Folder) -> str:
    line = f"{number}. {_quoted(folder['name'], _NAME)}"
    if folder.get("description"):
        line += f" -> {_quoted(folder['description'], _DESCRIPTION)}"
    if folder.get("category_mapping"):
        line += f" [home for {_plain(folder['category_mapping'], _CATEGORY)} conversations]"
    return line + (" DEFAULT" if folder.get("is_default") else "")


def _quoted(text: str, limit: int) -> str:
    return json.dumps(_plain(text, limit), ensure_ascii=False)


def _plain(text: str, limit: int) -> str:
    """``text`` on one line, without control characters, cut to ``limit`` characters."""
    printable = "".join(character if character.isprintable() else " " for character in str(text)[: limit * 4])
    return " ".join(printable.split())[:limit]


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip(".,:;!?\"'()[]") for word in text.casefold().split())
