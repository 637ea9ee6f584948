"""An answer to a JSON Schema fits it, or the first place where it does not is told, without a word of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.work import stays_within
from backend.utils.llm.schema_checks import find_schema_violation
from backend.utils.llm.schema_dialects import GEMINI, OPENAI, rewrite_for_dialect
from backend.utils.llm.structured import SchemaMismatchError, schema_of

PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 9},
        "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
        "mood": {"enum": ["good", 1, None]},
        "kind": {"const": True},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        "home": {"$ref": "#/$defs/Home"},
        "either": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/Home"}]},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "whole": {"type": ["integer", "null"]},
        "both": {"allOf": [{"type": "integer"}, {"maximum": 3}]},
        "any": {},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {
        "Home": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "near": {"$ref": "#/$defs/Home"}},
            "required": ["town"],
        }
    },
}
FITTING: list[dict[str, Any]] = [
    {},
    {"age": 0},
    {"age": 36.0},
    {"mood": None},
    {"mood": 1},
    {"kind": True},
    {"tags": ["a", "b"]},
    {"pair": [1, "a"]},
    {"home": {"town": "Rom", "near": {"town": "Ostia", "more": 1}}},
    {"either": 1},
    {"either": {"town": "Rom"}},
    {"scores": {"x": 1.5}},
    {"whole": None},
    {"both": 3},
    {"any": [{}]},
]
MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name: beyond minLength"),
    ({"name": "canary" * 2}, "name: beyond maxLength"),
    ({"name": 1}, "name: not string"),
    ({"age": "36"}, "age: not integer"),
    ({"age": True}, "age: not integer"),
    ({"age": 36.5}, "age: not integer"),
    ({"age": -1}, "age: beyond minimum"),
    ({"age": 150}, "age: beyond exclusiveMaximum"),
    ({"mood": "canary"}, "mood: none of 3 values"),
    ({"mood": True}, "mood: none of 3 values"),
    ({"kind": 1}, "kind: not the one value"),
    ({"tags": []}, "tags: beyond minItems"),
    ({"tags": ["a", "b", "c"]}, "tags: beyond maxItems"),
    ({"tags": ["a", 1]}, "tags.1: not string"),
    ({"pair": ["a", 1]}, "pair.0: not integer"),
    ({"home": {}}, "home.town: missing"),
    ({"home": {"town": "Rom", "near": {"town": 1}}}, "home.near.town: not string"),
    ({"either": "canary"}, "either: none of 2 choices"),
    ({"scores": {"canary": "x"}}, "scores.*: not number"),
    ({"whole": "x"}, "whole: not integer or null"),
    ({"both": 4}, "both: beyond maximum"),
    ({"canary": 1}, "answer: a key that is not allowed"),
]


@pytest.mark.parametrize("more", FITTING, ids=json.dumps)
def test_what_fits_is_the_answer(more: dict[str, Any]) -> None:
    value = {"name": "Ada", **more}

    assert schema_of(PERSON).parse(json.dumps(value)) == value


@pytest.mark.parametrize(("more", "says"), MISFITS, ids=json.dumps)
def test_what_does_not_fit_is_told_by_its_place(more: dict[str, Any], says: str) -> None:
    with pytest.raises(SchemaMismatchError, match=f"^{says.replace('*', '[*]')}$") as caught:
        schema_of(PERSON).parse(json.dumps({"name": "Ada", **more}))

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"', "{}"])
def test_an_answer_is_an_object_with_what_is_required(text: str) -> None:
    with pytest.raises(SchemaMismatchError):
        schema_of(PERSON).parse(text)


def test_any_json_object_will_do_where_no_schema_is_held_to() -> None:
    schema = schema_of({"title": "answer", "type": "object"}, "json_mode")

    assert schema.parse('{"a": [1]}') == {"a": [1]}
    with pytest.raises(SchemaMismatchError):
        schema.parse("[1]")


def test_a_schema_that_is_written_down_alike_is_read_once() -> None:
    assert schema_of(PERSON) is schema_of(json.loads(json.dumps(PERSON)))


def test_choices_within_choices_take_a_moment() -> None:
    node = {"$ref": "#/$defs/Node"}
    branch = {"type": "object", "properties": {"next": node}, "required": ["next"]}
    schema = {
        "type": "object",
        "properties": {"root": node},
        "$defs": {"Node": {"anyOf": [branch, {**branch}]}},
    }
    value: Any = 1
    for _ in range(60):
        value = {"next": value}

    assert stays_within(1, lambda: find_schema_violation({"root": value}, schema))
    assert find_schema_violation({"root": value}, schema) is not None


def test_a_schema_that_goes_in_a_circle_fits_nothing() -> None:
    with pytest.raises(SchemaMismatchError):
        schema_of(
            {
                "title": "x",
                "type": "object",
                "properties": {"a": {"$ref": "#/properties/a"}, "b": {"$ref": "#/$defs/b"}},
                "$defs": {"b": {"$ref": "#/$defs/b"}},
            }
        ).parse('{"a": 1, "b": 1}')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    VALUES,
    st.dictionaries(
        st.sampled_from(
            [
                "type",
                "enum",
                "items",
                "anyOf",
                "required",
                "properties",
                "$ref",
                "minimum",
                "format",
                "allOf",
                "const",
                "description",
            ]
        ),
        VALUES,
    ),
)
def test_no_schema_and_no_value_raise_anything(value: Any, schema: dict[str, Any]) -> None:
    assert find_schema_violation(value, schema) is None or isinstance(
        find_schema_violation(value, schema), str
    )
    for dialect in (OPENAI, GEMINI):
        rewrite_for_dialect({"type": "object", "properties": {"a": schema}}, dialect)
