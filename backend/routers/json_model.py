"""Validates JSON bodies with the pydantic model of their route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, get_origin

from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from .bodies import SMALL
from .json_shape import JsonShape, JsonShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BODY: Final = ("body",)


class InvalidBodyError(HTTPException):
    """The request body is not valid JSON, or does not fit the pydantic model of its route: status 422."""

    def __init__(self, problems: Sequence[Any]) -> None:
        super().__init__(422, "The request is not valid.")
        self._problems = problems

    def errors(self) -> Sequence[Any]:
        """The errors in pydantic's form, each with ``type``, ``loc`` and ``msg``."""
        return self._problems

    @property
    def is_malformed_json(self) -> bool:
        """Whether the body cannot be parsed as JSON."""
        return any(problem["type"] == "json_invalid" for problem in self._problems)


class JsonBodyValidator:
    """Parses and strictly validates JSON bodies with a pydantic model, with little memory for long lists.

    A long list is validated last, in several pieces. So errors in other fields are reported first, only one
    piece at a time is in memory twice, and other threads can run between two pieces.
    """

    def __init__(self, wanted: Any) -> None:
        self._model: TypeAdapter[Any] = TypeAdapter(wanted)
        self._lists = _lists_of(wanted)

    def parse_body(self, body: bytes) -> Any:
        """Parse and validate ``body``, and return it as an instance of the pydantic model.

        Raises:
            InvalidBodyError: The body is invalid. The error contains names of fields but no values.
        """
        try:
            shape = JsonShape(body)
        except JsonShapeError as error:
            raise InvalidBodyError([{"type": "json_shape", "loc": _BODY, "msg": str(error)}]) from None
        if len(body) > SMALL:
            try:
                return self._read_long(body, shape)
            except InvalidBodyError as error:
                if not error.is_malformed_json:
                    raise
        return self._validated(body)  # which tells the place

    def _read_long(self, body: bytes, shape: JsonShape) -> Any:
        beside = self._validated(shape.without_long_list(body))
        name = next((name for name in self._lists if name in beside.model_fields_set), None)
        if name is None:
            return self._validated(body)
        items: list[Any] = []
        for piece in shape.split_long_list(body):
            items += _checked(self._lists[name].validate_json, piece, (*_BODY, name), len(items))
        fields = {name: getattr(beside, name) for name in beside.model_fields_set}
        return _checked(self._model.validate_python, fields | {name: tuple(items)}, _BODY)

    def _validated(self, body: bytes) -> Any:
        return _checked(self._model.validate_json, body, _BODY)


def _lists_of(wanted: Any) -> Mapping[str, TypeAdapter[Any]]:
    """The fields of a model that are tuples, by name. Validation of each ends at the first faulty item."""
    if not (isinstance(wanted, type) and issubclass(wanted, BaseModel)):
        return {}
    return {
        name: _failing_fast(field.annotation)
        for name, field in wanted.model_fields.items()
        if get_origin(field.annotation) is tuple
    }


def _failing_fast(kind: Any) -> TypeAdapter[Any]:
    wanted: Any = Annotated[kind, FailFast()]
    return TypeAdapter(wanted)


def _checked(validate: Callable[..., Any], given: Any, place: tuple[str, ...], before: int = 0) -> Any:
    """The validated value of ``given``. Faults are reported at ``place``, in a list after ``before`` earlier items."""
    try:
        return validate(given, strict=True)
    except ValidationError as error:
        problems: Sequence[Any] = error.errors(include_url=False, include_input=False)
    raise InvalidBodyError(
        [problem | {"loc": (*place, *_counted(problem["loc"], before))} for problem in problems]
    )


def _counted(place: tuple[str | int, ...], before: int) -> tuple[str | int, ...]:
    """``place``, with the index in the whole list."""
    if before and place and isinstance(place[0], int):
        return (place[0] + before, *place[1:])
    return place
