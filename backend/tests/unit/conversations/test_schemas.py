from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from backend.conversations.action_items import ActionItems
from backend.conversations.categories import FOLDER_OF, SYSTEM_FOLDERS, Category
from backend.conversations.discard import Discard
from backend.conversations.structure import Structure

SCHEMAS = [ActionItems, Discard, Structure]


def parts(schema: Any) -> list[dict[str, Any]]:
    """Every schema within ``schema``, itself included."""
    if isinstance(schema, list):
        return [part for one in schema for part in parts(one)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(part for one in schema.values() for part in parts(one))]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_string_and_list_has_an_end(schema: type[BaseModel]) -> None:
    found = parts(schema.model_json_schema())

    assert all("maxLength" in one or "enum" in one for one in found if one.get("type") == "string")
    assert all("maxItems" in one for one in found if one.get("type") == "array")


def test_what_is_too_long_is_cut_not_lost() -> None:
    structure = Structure(title="t" * 200, overview="o" * 900, category=Category.WORK)
    items = ActionItems.model_validate({"items": [{"description": "d" * 500}] * 9})

    assert (len(structure.title), len(structure.overview)) == (80, 300)
    assert (len(items.items), len(items.items[0].description)) == (5, 120)


@pytest.mark.parametrize("blank", ["", "   ", "\n"])
def test_a_title_of_blanks_is_no_title(blank: str) -> None:
    with pytest.raises(ValidationError):
        Structure(title=blank, overview="o", category=Category.WORK)


def test_a_category_outside_the_list_is_refused() -> None:
    with pytest.raises(ValidationError):
        Structure.model_validate({"title": "t", "overview": "o", "category": "gardening"})


def test_every_category_has_a_folder_but_other() -> None:
    folders = {folder["id"] for folder in SYSTEM_FOLDERS}

    assert set(FOLDER_OF) == set(Category)
    assert {category for category, folder in FOLDER_OF.items() if folder is None} == {Category.OTHER}
    assert set(FOLDER_OF.values()) - {None} == folders


def test_exactly_one_system_folder_is_the_default() -> None:
    assert [folder["name"] for folder in SYSTEM_FOLDERS if folder["is_default"]] == ["Personal"]
