"""A stored key on its way through a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import SecretStr
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = "**********"


class LentKey(SecretStr):
    """A stored key that is opened whenever its value is asked for, and holds it at no time.

    It prints as stars, equals nothing but itself, and is not pickled. Copies are itself.

    Attributes:
        was_opened: Whether anybody asked for it.
    """

    def __init__(self, opened: Callable[[], str]) -> None:
        super().__init__(_SHOWN)
        self._opened = opened
        self.was_opened = False

    @override
    def get_secret_value(self) -> str:
        """The key.

        Raises:
            UnreadableKeyError: If it does not open.
        """
        self.was_opened = True
        return self._opened()

    @override
    def __eq__(self, other: object) -> bool:
        return self is other

    @override
    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")
