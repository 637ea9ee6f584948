"""What each dialect of JSON Schema can say, by the checker that is written from the vendors' pages."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import json
import pathlib
import typing
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr

from backend.tests.fakes.work import stays_within
from backend.utils.llm.clients import use
from backend.utils.llm.errors import LLMError
from backend.utils.llm.schema_dialects import AZURE, GEMINI, GRAMMAR, MINIMAL, OPENAI, rewrite_for_dialect
from backend.utils.llm.structured import schema_of
from backend.utils.llm.testing import Json, LoopbackProvider, strict_schemas
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.strict_schemas import find_schema_faults
from backend.utils.llm.testing.values import make_value_for_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.schema_dialects import SchemaDialect

# Shapes --------------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Grade(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool = True


class Discriminated(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class ListOfDiscriminated(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]


class PlainUnion(BaseModel):
    pet: Cat | Dog | None = None


class Primitives(BaseModel):
    value: int | str | bool | None


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Required(BaseModel):
    name: str
    children: list[Required]


class Linked(BaseModel):
    value: int
    next: Linked | None = None


class Expression(BaseModel):
    left: Expression | int
    right: Expression | int


class Even(BaseModel):
    odd: Odd | None = None


class Odd(BaseModel):
    even: Even | None = None


class Pair(BaseModel):
    pair: tuple[int, str]


class SamePair(BaseModel):
    pair: tuple[float, float]


class Row(BaseModel):
    cells: tuple[str, ...]


class Nested(BaseModel):
    cells: list[tuple[Cat, Dog]]


class Anything(BaseModel):
    value: Any


class BareList(BaseModel):
    values: list  # type: ignore[type-arg]


class BareDict(BaseModel):
    values: dict  # type: ignore[type-arg]


class OpenMap(BaseModel):
    scores: dict[str, float]


class MapOfModels(BaseModel):
    pets: Mapping[str, Cat]


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class Defaults(BaseModel):
    owner: str | None = None
    limit: int = 10
    tags: list[str] = Field(default_factory=list)
    pet: Cat = Cat(kind="cat")


class Described(BaseModel):
    """What is told beside a reference."""

    pet: Cat = Field(description="the one at home", title="Pet")
    other: Cat | None = Field(None, description="one more", examples=[{"kind": "cat"}])


class Bounded(BaseModel):
    name: str = Field(min_length=1, max_length=20, pattern=r"^\w+$")
    count: int = Field(ge=0, lt=10, multiple_of=2)
    share: float = Field(gt=0, le=1)
    tags: list[str] = Field(min_length=1, max_length=3)
    unique: set[str]


class Lookaround(BaseModel):
    word: str = Field(json_schema_extra={"pattern": "^(?!no)"})


class Formats(BaseModel):
    day: dt.date
    moment: dt.datetime
    hour: dt.time
    length: dt.timedelta
    number: uuid.UUID
    address: ipaddress.IPv4Address
    place: pathlib.Path
    secret: SecretStr
    price: decimal.Decimal
    raw: bytes


class Enums(BaseModel):
    colour: Colour
    grade: Grade
    word: Literal["a", "b"]
    number: Literal[1, 2]
    mixed: Literal["a", 1] | None
    yes: Literal[True]
    none: None


class Aliased(BaseModel):
    from_: str = Field(alias="from")
    title: str
    type: str
    properties: int


class Remarked(BaseModel):
    model_config = ConfigDict(json_schema_extra={"x-widget": "card", "examples": []})
    old: int = Field(deprecated=True, json_schema_extra={"x-order": 1, "readOnly": True})


class Empty(BaseModel):
    pass


class Items(RootModel[list[Cat]]):
    pass


class Either(RootModel[Annotated[Cat | Dog, Field(discriminator="kind")]]):
    pass


class Word(RootModel[str]):
    pass


T = typing.TypeVar("T")


class Box(BaseModel, typing.Generic[T]):
    content: T


class Person(typing.TypedDict):
    """Somebody."""

    name: Annotated[str, ..., "The full name"]
    age: int


class Partial(typing.TypedDict, total=False):
    name: typing.Required[str]
    nickname: str


class WithNotRequired(typing.TypedDict):
    name: str
    age: NotRequired[int]
    friends: NotRequired[list[Person]]


class Extended(typing_extensions.TypedDict):
    name: str
    mood: typing_extensions.NotRequired[typing_extensions.Annotated[str, "ok", "How they are"]]


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0
    label: str | None = None


@dataclasses.dataclass
class Line:
    ends: list[Point]


ADDRESS = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
TITLED = {"title": "Home", "description": "Where.", **ADDRESS}
WITH_DEFINITIONS = {
    "title": "Homes",
    "type": "object",
    "properties": {"home": {"$ref": "#/$defs/Address", "description": "beside a reference"}},
    "required": ["home"],
    "$defs": {"Address": ADDRESS},
}
DRAFT_7 = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Old",
    "type": "object",
    "properties": {
        "home": {"$ref": "#/definitions/Address"},
    },
    "definitions": {"Address": ADDRESS},
}
ROOT_REFERENCE = {
    "title": "Tree",
    "$ref": "#/$defs/Tree",
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/Tree"}, "value": {"type": "integer"}},
        }
    },
}
ROOT_RECURSION = {
    "title": "Chain",
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
}
NULLABLE = {
    "title": "Nullable",
    "type": "object",
    "properties": {
        "word": {"type": ["string", "null"], "maxLength": 5},
        "home": {"type": ["object", "null"], "properties": {"town": {"type": "string"}}},
    },
}
ALL_OF = {
    "title": "Merged",
    "type": "object",
    "properties": {
        "home": {
            "allOf": [{"$ref": "#/$defs/Address"}],
            "description": "as pydantic wrote it once",
            "default": {},
        },
    },
    "$defs": {"Address": ADDRESS},
}
UNTYPED_ENUM = {
    "title": "Choice",
    "properties": {"pick": {"enum": ["a", 1, 2.5, None, True]}, "only": {"const": "x"}},
}
CONDITIONAL = {**TITLED, "if": {"properties": {"town": {"const": "x"}}}, "then": {"required": ["town"]}}
NEGATED = {"title": "Not", "type": "object", "properties": {"word": {"not": {"const": "x"}}}}
BOTH = {
    "title": "Both",
    "type": "object",
    "properties": {"word": {"allOf": [{"type": "string"}, {"minLength": 1}]}},
}
JOINED = {
    "title": "Joined",
    "type": "object",
    "properties": {
        "home": {"allOf": [ADDRESS, {"properties": {"zip": {"type": "integer"}}, "required": ["zip"]}]},
        "other": {"allOf": [{"$ref": "#/$defs/Address"}, {"description": "a remark"}]},
    },
    "$defs": {"Address": ADDRESS},
}
AT_ODDS = {
    "title": "Odds",
    "type": "object",
    "properties": {"x": {"allOf": [{"type": "string"}, {"type": "null"}]}},
}
PATTERNED = {"title": "Map", "type": "object", "patternProperties": {"^a": {"type": "string"}}}
DANGLING = {"title": "Lost", "type": "object", "properties": {"a": {"$ref": "#/$defs/Nowhere"}}}
FOREIGN = {"title": "Far", "type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}}
LIST_ROOT = {"title": "Words", "type": "array", "items": {"type": "string"}}
CHOICE_ROOT = {
    "title": "One",
    "anyOf": [ADDRESS, {"type": "object", "properties": {"zip": {"type": "integer"}}}],
}
NAMED_LIKE_KEYWORDS = {
    "title": "Odd",
    "type": "object",
    "properties": {
        "$ref": {"type": "string"},
        "default": {"type": "string"},
        "enum": {"type": "integer"},
        "anyOf": {"type": "null"},
    },
}

SHAPES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(
            Discriminated,
            ListOfDiscriminated,
            PlainUnion,
            Primitives,
            Node,
            Required,
            Linked,
            Expression,
            Even,
        ),
        *(
            Pair,
            SamePair,
            Row,
            Nested,
            Anything,
            BareList,
            BareDict,
            OpenMap,
            MapOfModels,
            Extra,
            Closed,
            Defaults,
        ),
        *(Described, Bounded, Lookaround, Formats, Enums, Aliased, Remarked, Empty, Items, Either, Word),
        *(Person, Partial, WithNotRequired, Extended, Point, Line),
    )
} | {
    "a generic": Box[Cat],
    "a list in a generic": Box[list[Pair]],
    "a title": TITLED,
    "definitions": WITH_DEFINITIONS,
    "draft 7": DRAFT_7,
    "a reference as root": ROOT_REFERENCE,
    "a reference to the root": ROOT_RECURSION,
    "several types": NULLABLE,
    "allOf of one": ALL_OF,
    "an enum without a type": UNTYPED_ENUM,
    "if and then": CONDITIONAL,
    "not": NEGATED,
    "allOf of two": BOTH,
    "allOf of objects": JOINED,
    "allOf that contradicts itself": AT_ODDS,
    "patternProperties": PATTERNED,
    "a reference to nowhere": DANGLING,
    "a reference to another file": FOREIGN,
    "a list as root": LIST_ROOT,
    "a choice as root": CHOICE_ROOT,
    "properties named like keywords": NAMED_LIKE_KEYWORDS,
}
OPEN = {"Anything", "BareList", "BareDict", "OpenMap", "MapOfModels", "Extra"}
"""What no closed dialect can say: values of any type, and keys that nobody knows."""
UNSAID = {
    *("if and then", "not", "allOf that contradicts itself", "patternProperties", "a reference to nowhere"),
    "a reference to another file",
}
"""What no dialect can say."""
RECURSIVE = {
    "Node",
    "Required",
    "Linked",
    "Expression",
    "Even",
    "a reference as root",
    "a reference to the root",
}
DIALECTS: dict[str, tuple[SchemaDialect, strict_schemas.SchemaRules, set[str]]] = {
    "OpenAI": (OPENAI, strict_schemas.OPENAI, OPEN | UNSAID),
    "Azure": (AZURE, strict_schemas.AZURE, OPEN | UNSAID),
    "many": (MINIMAL, strict_schemas.AZURE, OPEN | UNSAID | RECURSIVE),
    "Gemini": (GEMINI, strict_schemas.GEMINI, UNSAID),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_dialect_says_nothing_that_its_vendor_refuses(shape: str, dialect: str) -> None:
    ours, rules, unsaid = DIALECTS[dialect]

    written = schema_of(SHAPES[shape]).to_dialect(ours)

    assert (written is None) == (shape in unsaid)
    assert written is None or find_schema_faults(written, rules) == []


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - OPEN - UNSAID))
def test_what_a_grammar_is_made_of_is_closed_and_keeps_every_constraint(shape: str) -> None:
    written = schema_of(SHAPES[shape]).to_dialect(GRAMMAR)

    assert written is not None
    assert '"default"' not in json.dumps(written) or shape == "properties named like keywords"


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - UNSAID))
def test_an_answer_by_the_whole_schema_fits(shape: str) -> None:
    schema = schema_of(SHAPES[shape])

    found = schema.parse(json.dumps(make_value_for_schema(schema.json_schema or {})))

    assert found is not None


@pytest.fixture(scope="module")
def patchbay() -> Iterator[tuple[Patchbay, LoopbackProvider]]:
    features = {
        "chat": "openai:gpt-6-luna",
        "responses": "openai:gpt-6.1-terra",
        "gemini": "gemini:gemini-3.5-flash-lite",
    }
    rows = '[models."openai:gpt-6.1-terra"]\napi_mode = "responses"\n'
    with LoopbackProvider() as provider, use(made := loopback_patchbay(provider, features, rows)):
        yield made, provider
        made.close()


@pytest.mark.parametrize("api", ["chat", "responses", "gemini"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_schema_is_refused(shape: str, api: str, patchbay: tuple[Patchbay, LoopbackProvider]) -> None:
    """Each is asked for in one request, by a server that refuses what the vendor would."""
    made, provider = patchbay
    schema = SHAPES[shape]
    value = (
        make_value_for_schema(schema_of(schema).json_schema or {}) if shape not in UNSAID else {"town": "x"}
    )
    provider.always(Json(value))
    before = len(provider.requests)

    parsed = made.get_llm(api).with_structured_output(schema).invoke("hi")

    assert parsed is not None
    assert len(provider.requests) == before + 1


@pytest.mark.parametrize("api", ["chat", "responses", "gemini"])
def test_a_server_that_refuses_a_schema_says_where(
    api: str, patchbay: tuple[Patchbay, LoopbackProvider]
) -> None:
    """So that the test above can fail."""
    made, _ = patchbay
    wrong = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A", "title": "A"}}, "$defs": {"A": {}}}
    schema = replace(schema_of(TITLED), is_strict=True, _expressed=dict.fromkeys((OPENAI, GEMINI), wrong))

    with pytest.raises(LLMError) as caught:
        made.get_llm(api).bind(schema=schema).invoke("hi")

    assert caught.value.attempts[0].status == 400


class TestWords:
    """What a keyword cannot say stands in the description: the model reads it, and the answer is tested."""

    def test_a_constraint(self) -> None:
        name = properties(Bounded, OPENAI)["name"]

        assert name["description"] == "(minLength: 1, maxLength: 20)"
        assert name["pattern"] == r"^\w+$"

    def test_beside_what_was_described(self) -> None:
        class Short(BaseModel):
            title: str = Field(max_length=5, description="In a word.")

        assert properties(Short, GEMINI)["title"]["description"] == "In a word. (maxLength: 5)"

    def test_a_pattern_that_looks_around(self) -> None:
        assert "pattern" not in properties(Lookaround, OPENAI)["word"]
        assert "(?!no)" in properties(Lookaround, OPENAI)["word"]["description"]

    def test_the_places_of_a_tuple(self) -> None:
        pair = properties(Pair, OPENAI)["pair"]

        assert (pair["minItems"], pair["maxItems"]) == (2, 2)
        assert 'in this order: ["integer", "string"]' in pair["description"]

    def test_the_places_of_a_tuple_as_they_were_written_once(self) -> None:
        pair = {"type": "array", "items": [{"type": "integer"}, {"type": "string"}], "additionalItems": False}

        written = rewrite_for_dialect({"type": "object", "properties": {"pair": pair}}, GEMINI) or {}

        assert written["properties"]["pair"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]

    def test_a_tuple_that_the_dialect_knows_is_one(self) -> None:
        assert [place["type"] for place in properties(Pair, GEMINI)["pair"]["prefixItems"]] == [
            "integer",
            "string",
        ]

    def test_a_description_beside_a_reference(self) -> None:
        assert properties(Described, OPENAI)["pet"] == {
            "description": "the one at home",
            "anyOf": [{"$ref": "#/$defs/Cat"}],
        }


class TestRecursion:
    """A model that contains itself keeps its definition."""

    def test_the_strict_dialect_refers_to_it(self) -> None:
        written = schema_of(Node).strict_schema or {}

        assert written["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}

    def test_where_it_is_unrolled_what_leads_back_is_not_required(self) -> None:
        written = schema_of(Required).to_dialect(GEMINI) or {}

        assert written["$defs"]["Required"]["required"] == ["name"]


class TestTypedDicts:
    """They are validated, and what they leave out may be left out."""

    def test_a_key_that_may_be_missing_makes_it_loose(self) -> None:
        assert schema_of(Person).is_strict
        assert not schema_of(WithNotRequired).is_strict

    def test_it_may_be_missing_in_the_answer(self) -> None:
        assert schema_of(WithNotRequired).parse('{"name": "Ada"}') == {"name": "Ada"}

    def test_what_stands_behind_a_type_describes_it(self) -> None:
        assert properties(Person, OPENAI)["name"]["description"] == "The full name"

    def test_a_value_of_another_type_does_not_fit(self) -> None:
        with pytest.raises(ValueError, match="age: int_parsing"):
            schema_of(Person).parse('{"name": "Ada", "age": "old"}')


class TestSizes:
    """What is larger than a vendor takes is sent loose."""

    def test_too_many_properties(self) -> None:
        wide = {
            "title": "wide",
            "type": "object",
            "properties": {f"p{n}": {"type": "null"} for n in range(101)},
        }

        assert rewrite_for_dialect(wide, AZURE) is None
        assert rewrite_for_dialect(wide, OPENAI) is not None

    def test_too_many_levels(self) -> None:
        deep: dict[str, Any] = {"type": "object", "properties": {}}
        for _ in range(10):
            deep = {"type": "object", "properties": {"in": deep}}

        assert rewrite_for_dialect(deep, OPENAI) is None
        assert rewrite_for_dialect(deep, GEMINI) is not None

    def test_too_many_choices(self) -> None:
        word = {"type": "string", "enum": [f"{n}" for n in range(1001)]}

        assert rewrite_for_dialect({"type": "object", "properties": {"word": word}}, OPENAI) is None

    @pytest.mark.parametrize("levels", [200, 5_000])
    def test_a_schema_of_any_depth_is_read_in_a_moment(self, levels: int) -> None:
        deep: dict[str, Any] = {"type": "string"}
        for _ in range(levels):
            deep = {"type": "array", "items": deep}

        assert rewrite_for_dialect({"type": "object", "properties": {"in": deep}}, GEMINI) is None

    def test_definitions_that_share_others_take_no_longer(self) -> None:
        layers = {
            f"L{n}": {"type": "object", "properties": {side: {"$ref": f"#/$defs/L{n + 1}"} for side in "ab"}}
            for n in range(60)
        }
        schema = {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/L0"}},
            "$defs": {**layers, "L60": {"type": "null"}},
        }

        assert stays_within(1, lambda: [rewrite_for_dialect(schema, dialect) for dialect in (OPENAI, GEMINI)])


JSON_SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer", "minimum": 1},
            {"enum": ["a", 1, None]},
            {"const": True},
            {"type": ["string", "null"], "maxLength": 3},
            {"$ref": "#/$defs/D", "description": "again"},
            {"$ref": "#"},
            {},
            True,
            {"type": "array"},
            {"type": "string", "format": "uri", "pattern": "(?=a)"},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"oneOf": some, "discriminator": {}}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"allOf": some, "default": 1}, st.lists(inner, max_size=2)),
        st.builds(lambda one: {"type": "array", "items": one, "uniqueItems": True}, inner),
        st.builds(lambda some: {"type": "array", "prefixItems": some}, st.lists(inner, max_size=3)),
        st.builds(
            lambda some, kept, open_: {"type": "object", "properties": some, "required": kept, **open_},
            st.dictionaries(st.sampled_from(["a", "b", "$ref", "items"]), inner, max_size=3),
            st.lists(st.sampled_from(["a", "b", "z"]), unique=True, max_size=2),
            st.sampled_from([{}, {"additionalProperties": True}, {"additionalProperties": False}]),
        ),
    ),
    max_leaves=12,
)


@given(JSON_SCHEMAS, JSON_SCHEMAS)
def test_whatever_is_said_is_taken(root: Any, definition: Any) -> None:
    """Of any schema: each dialect says something that its vendor takes, or nothing."""
    schema = {"type": "object", "properties": {"root": root}, "$defs": {"D": definition}}

    for ours, rules, _ in DIALECTS.values():
        written = rewrite_for_dialect(schema, ours)
        assert written is None or find_schema_faults(written, rules) == []


def properties(shape: Any, dialect: SchemaDialect) -> dict[str, Any]:
    """The properties of ``shape`` in ``dialect``."""
    written = schema_of(shape).to_dialect(dialect)
    assert written is not None
    found = written["properties"]
    assert isinstance(found, dict)
    return found
