"""Values for JSON schemas: whatever the schema, the value satisfies it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from backend.utils.llm.testing.patterns import make_matching_text
from backend.utils.llm.testing.values import make_value_for_schema
from backend.utils.llm.testing.wire import split_evenly, split_words


class Mood(Enum):
    calm = "calm"
    busy = "busy"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(gt=7, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]


class Node(BaseModel):
    label: str = Field(min_length=3, max_length=5)
    parent: Node | None = None
    children: list[Node] = []


class Everything(BaseModel):
    """One field for each thing that the generator understands."""

    title: Annotated[str, Field(min_length=30, max_length=40)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{2,4}$")]
    mood: Mood
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    either: int | str
    ratio: Annotated[float, Field(gt=0, lt=0.5)]
    even: Annotated[int, Field(multiple_of=4, ge=5)]
    below: Annotated[int, Field(lt=-10)]
    day: date
    at: AwareDatetime
    local: datetime
    uid: UUID
    tags: Annotated[list[Annotated[str, Field(max_length=3)]], Field(min_length=2, max_length=4)]
    unique: Annotated[set[int], Field(min_length=3)]
    pair: tuple[int, str]
    counts: dict[str, int]
    anything: Any
    cost: Decimal
    tree: Node
    maybe: bool | None = None


@pytest.mark.parametrize("model", [Everything, Node, Cat, Dog], ids=lambda model: model.__name__)
def test_a_models_schema_is_satisfied(model: type[BaseModel]) -> None:
    """What is generated from a Pydantic schema validates, strictly, and no text in it is empty."""
    written = json.dumps(make_value_for_schema(model.model_json_schema()))

    model.model_validate_json(written)

    assert '""' not in written


def test_geminis_dialect_is_understood() -> None:
    """Capitals, `nullable`, and bounds as text."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "n": {"type": "INTEGER", "minimum": 3},
            "s": {"type": "STRING", "maxLength": "2", "nullable": True},
        },
        "required": ["n"],
    }

    value = make_value_for_schema(schema)

    assert value == {"n": 3, "s": "s"}


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        (r"^[a-z]+$", 6),
        (r"^\d{4}-\d{2}$", 0),
        (r"^(?:ab|cd)*x?$", 4),
        (r"^[^a-z\s]{2,}$", 0),
        (r"colou?r", 12),
        (r"^\w+@\w+\.com$", 0),
        (r"^.{3}$", 3),
        (r"^(?P<key>k\d)\/[\]\-]$", 0),
    ],
)
def test_plain_patterns_are_sampled(pattern: str, least: int) -> None:
    """The text matches and is as long as it must be."""
    text = make_matching_text(pattern, min_length=least)

    assert text is not None
    assert re.search(pattern, text)
    assert len(text) >= least


@pytest.mark.parametrize("pattern", [r"^(?=a)a$", "(", r"^\p{L}$", "[b", r"^a$|^(b"])
def test_other_patterns_are_declined(pattern: str) -> None:
    """What is beyond the sampler is None, never an error."""
    assert make_matching_text(pattern, min_length=3) is None


numbers = st.tuples(st.integers(-50, 50), st.integers(0, 20)).map(
    lambda bounds: {"type": "integer", "minimum": bounds[0], "maximum": bounds[0] + bounds[1]}
)
reals = st.tuples(st.integers(-50, 50), st.integers(1, 20)).map(
    lambda bounds: {
        "type": "number",
        "exclusiveMinimum": bounds[0],
        "exclusiveMaximum": bounds[0] + bounds[1],
    }
)
texts = st.tuples(st.integers(0, 12), st.integers(1, 12)).map(
    lambda bounds: {"type": "string", "minLength": bounds[0], "maxLength": bounds[0] + bounds[1]}
)
constants = st.lists(st.text(min_size=1) | st.integers() | st.none(), min_size=1, max_size=3).map(
    lambda values: {"enum": values}
)
formats = st.sampled_from(["date", "date-time"]).map(lambda name: {"type": "string", "format": name})
leaves = (
    numbers
    | reals
    | texts
    | constants
    | formats
    | st.just({"type": "boolean"})
    | st.just({"$ref": "#/$defs/leaf"})
)


def arrays(items: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.tuples(st.integers(0, 3), st.integers(0, 3))
    return st.tuples(items, bounds).map(
        lambda drawn: {"type": "array", "items": drawn[0], "minItems": drawn[1][0], "maxItems": sum(drawn[1])}
    )


def objects(values: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.text("abcdef_", min_size=1, max_size=6), values, max_size=4)
    return properties.flatmap(
        lambda rows: (
            st.lists(st.sampled_from(sorted(rows)), unique=True).map(
                lambda required: {
                    "type": "object",
                    "properties": rows,
                    "required": required,
                    "additionalProperties": False,
                }
            )
            if rows
            else st.just({"type": "object", "properties": {}})
        )
    )


schemas = st.recursive(
    leaves,
    lambda inner: (
        arrays(inner) | objects(inner) | inner.map(lambda schema: {"anyOf": [{"type": "null"}, schema]})
    ),
    max_leaves=12,
)


@given(schema=schemas, leaf=texts | numbers)
def test_random_schemas_are_satisfied(schema: dict[str, Any], leaf: dict[str, Any]) -> None:
    """For every schema of the supported subset, the JSON is accepted by it, with or without optional parts."""
    root = schema | {"$defs": {"leaf": leaf}}

    for optional in (True, False):
        value = json.loads(json.dumps(make_value_for_schema(root, include_optional=optional)))
        assert accepts(root, value, root), value


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Whether the schema accepts the value: an independent reading of JSON schema's words."""
    if "$ref" in schema:
        return accepts(root["$defs"]["leaf"], value, root)
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(accepts(branch, value, root) for branch in schema["anyOf"])
    return CHECKS[schema["type"]](schema, value, root)


def accepts_text(schema: dict[str, Any], value: Any, _: Any) -> bool:
    if kind := {"date": date, "date-time": AwareDatetime}.get(schema.get("format", "")):
        return bool(TypeAdapter(kind).validate_json(json.dumps(value)))
    return isinstance(value, str) and max(schema["minLength"], 1) <= len(value) <= schema["maxLength"]


def accepts_object(schema: dict[str, Any], value: Any, root: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(schema.get("required", ())) <= set(value) <= set(schema["properties"])
        and all(accepts(schema["properties"][name], value[name], root) for name in value)
    )


CHECKS: dict[str, Any] = {
    "null": lambda _, value, __: value is None,
    "boolean": lambda _, value, __: isinstance(value, bool),
    "integer": lambda schema, value, _: (
        type(value) is int and schema["minimum"] <= value <= schema["maximum"]
    ),
    "number": lambda schema, value, _: schema["exclusiveMinimum"] < value < schema["exclusiveMaximum"],
    "string": accepts_text,
    "array": lambda schema, value, root: (
        schema["minItems"] <= len(value) <= schema["maxItems"]
        and all(accepts(schema["items"], item, root) for item in value)
    ),
    "object": accepts_object,
}


@given(text=st.text(), count=st.integers(1, 20))
def test_pieces_of_a_text_are_the_text(text: str, count: int) -> None:
    """Words and slices lose nothing."""
    assert "".join(split_words(text)) == text
    assert "".join(split_evenly(text, count)) == text
    assert len(split_evenly(text, count)) <= count
