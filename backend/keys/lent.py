"""A stored key on its way through a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import SecretStr
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = "**********"


class LentKey(SecretStr):
    """A stored key that is opened when its value is first asked for, and gone with the request.

    It prints as stars, equals nothing but itself, and is not pickled. Copies are itself.
    """

    def __init__(self, opened: Callable[[], str]) -> None:
        super().__init__(_SHOWN)
        self._open = opened
        self._value: SecretStr | None = None

    @property
    def was_opened(self) -> bool:
        """Whether anybody asked for it."""
        return self._value is not None

    @override
    def get_secret_value(self) -> str:
        """The key.

        Raises:
            UnreadableKeyError: If it does not open.
        """
        if self._value is None:
            self._value = SecretStr(self._open())
        return self._value.get_secret_value()

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
