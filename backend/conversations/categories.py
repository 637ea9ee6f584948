"""The fixed categories of a conversation, and the folders that every user has."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Category(StrEnum):
    """The main subject of a conversation."""

    WORK = "work"
    TECHNOLOGY = "technology"
    FINANCE = "finance"
    EDUCATION = "education"
    PERSONAL = "personal"
    FAMILY = "family"
    HEALTH = "health"
    TRAVEL = "travel"
    SHOPPING = "shopping"
    SOCIAL = "social"
    ENTERTAINMENT = "entertainment"
    OTHER = "other"


SYSTEM_FOLDERS: Final[tuple[Mapping[str, Any], ...]] = (
    {"id": "work", "name": "Work", "description": "Jobs, projects, meetings, clients", "is_default": False},
    {
        "id": "personal",
        "name": "Personal",
        "description": "Family, health, home, errands",
        "is_default": True,
    },
    {"id": "social", "name": "Social", "description": "Friends, parties, leisure", "is_default": False},
)
"""Every user's folders. Exactly one is the default."""

FOLDER_OF: Final[Mapping[Category, str | None]] = MappingProxyType(
    {
        Category.WORK: "work",
        Category.TECHNOLOGY: "work",
        Category.FINANCE: "personal",
        Category.EDUCATION: "personal",
        Category.PERSONAL: "personal",
        Category.FAMILY: "personal",
        Category.HEALTH: "personal",
        Category.TRAVEL: "personal",
        Category.SHOPPING: "personal",
        Category.SOCIAL: "social",
        Category.ENTERTAINMENT: "social",
        Category.OTHER: None,  # says nothing about where it belongs
    }
)
"""The folder that is home to a category."""
