"""The words of Gemini's own that stand in its answers: reasons, ratings, kinds. One that is not known becomes "other".

The SDK makes a word of its own of what it does not know, and says it in a Python warning, whatever stands there.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def make_known(told: object, kind: type[BaseModel]) -> None:
    """Change the JSON ``told``, which is to become a ``kind``, so that it says nothing that its types do not know."""
    if isinstance(told, list):
        for one in told:
            make_known(one, kind)
    elif isinstance(told, dict):
        fields = _fields(kind)
        for name in fields.keys() & told.keys():
            if issubclass(inner := fields[name], BaseModel):
                make_known(told[name], inner)
            else:
                told[name] = _known(told[name], inner)


def _known(word: object, kind: type[Enum]) -> object:
    if not isinstance(word, str):
        return [_known(one, kind) for one in word] if isinstance(word, list) else word
    if word.upper() in _words(kind):
        return word
    return _other(kind) if word else None


@cache
def _words(kind: type[Enum]) -> frozenset[str]:
    """As the SDK reads them, which takes upper case for lower."""
    return frozenset({*kind.__members__, *(one.value.upper() for one in kind)})


@cache
def _other(kind: type[Enum]) -> str:
    """What stands for all else; by Google's custom that, or the first, which says nothing."""
    other = kind.__members__.get("OTHER") or next(iter(kind))
    return str(other.value)


@cache
def _fields(kind: type[BaseModel]) -> Mapping[str, type[BaseModel | Enum]]:
    """The fields of ``kind`` that are words, or have fields, by both names that each of them has."""
    found = {}
    for name, field in kind.model_fields.items():
        for inner in _types(field.annotation):
            found[name] = found[field.alias or name] = inner
    return found


def _types(annotation: Any) -> Iterator[type[BaseModel | Enum]]:
    is_enum = isinstance(annotation, type) and issubclass(annotation, Enum) and annotation.__members__
    if is_enum or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)
