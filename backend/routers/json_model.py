"""Validates a JSON body as the model of its route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, get_origin

from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from .bodies import SMALL
from .json_shape import Shape, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BODY: Final = ("body",)


class InvalidBodyError(HTTPException):
    """The JSON body does not fit the model that its route declares."""

    def __init__(self, problems: Sequence[Any]) -> None:
        super().__init__(422, "The request is not valid.")
        self._problems = problems

    def errors(self) -> Sequence[Any]:
        """The faults, each with ``type``, ``loc`` and ``msg``, as pydantic lists them."""
        return self._problems

    @property
    def is_no_json(self) -> bool:
        """Whether the body is no JSON at all."""
        return any(problem["type"] == "json_invalid" for problem in self._problems)


class JsonModel:
    """Validates JSON bodies with a pydantic model, strictly, in a way that keeps memory low for long lists.

    The items of a body's long list are validated last, and piece by piece: so only one piece at a time is in memory
    twice, other threads get to run, and an invalid body is refused before its items are read.
    """

    def __init__(self, wanted: Any) -> None:
        self._model: TypeAdapter[Any] = TypeAdapter(wanted)
        self._lists = _lists_of(wanted)

    def read(self, body: bytes) -> Any:
        """Parse and validate ``body``.

        Raises:
            InvalidBodyError: The body is invalid. The error repeats no input but the names of fields.
        """
        try:
            shape = Shape(body)
        except ShapeError as error:
            raise InvalidBodyError([{"type": "json_shape", "loc": _BODY, "msg": str(error)}]) from None
        if len(body) > SMALL:
            try:
                return self._read_long(body, shape)
            except InvalidBodyError as error:
                if not error.is_no_json:
                    raise
        return self._validated(body)  # which tells the place

    def _read_long(self, body: bytes, shape: Shape) -> Any:
        beside = self._validated(shape.beside_list(body))
        name = next((name for name in self._lists if name in beside.model_fields_set), None)
        if name is None:
            return self._validated(body)
        items: list[Any] = []
        for piece in shape.pieces(body):
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
