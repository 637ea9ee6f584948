"""Limits on the text that goes to a model, and on the text that a model returns.

The demo model's output is constrained by a grammar, and surely ends only if the schema limits every string
and every list. A longer answer of another model is truncated, not rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

CUT = "\n[... the middle is left out ...]\n"


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "half_a_character", "holds half of a surrogate pair, which is no text"
        ) from error
    return text


WHOLE = AfterValidator(_whole)
"""Validates text from outside: JSON can carry characters that no database or provider accepts."""

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A text that is not blank: a grammar lets a model answer with blanks."""


@dataclass(frozen=True, slots=True)
class MaxLength:
    """The maximum length of a string or list in a model's answer, for use in `Annotated`.

    The model sees the maximum in the JSON Schema. A longer value is truncated, not rejected.
    """

    length: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._cut, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(schema)
        described["maxItems" if described.get("type") == "array" else "maxLength"] = self.length
        return described

    def _cut(self, value: Any) -> Any:
        return value[: self.length]


def truncate_middle(text: str, limit: int) -> str:
    """Cut out the middle of ``text`` if it is longer than ``limit`` characters; otherwise return it unchanged."""
    if len(text) <= limit:
        return text
    room = limit - len(CUT)
    tail = room // 2
    return text[: room - tail] + CUT + text[len(text) - tail :]


def collapse_to_one_line(text: str) -> str:
    """Replace line breaks, control characters and repeated blanks in ``text`` by single blanks."""
    # Most texts are printable as a whole, which is seen much quicker than letter by letter.
    plain = (
        text
        if text.isprintable()
        else "".join(character if character.isprintable() else " " for character in text)
    )
    return " ".join(plain.split())
