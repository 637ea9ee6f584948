"""A user's key on its way through a request.

Long after a request, timers that it set and cancelled hold its context, and with it its caller. So keys are given back when
the request is over: from then on what is lent holds no value.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import SecretStr
from typing_extensions import override

from backend.utils.llm.secrets import KeptSecret

from .errors import KeyGivenBackError, KeyRemovedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import KeptKey

_SHOWN = "**********"


def _never() -> bool:
    return False


def _always() -> bool:
    return True


class LentKey(KeptSecret):
    """A key that a request may use.

    It prints as stars, equals nothing but itself, and is not pickled. Copies are itself.

    Attributes:
        version: Which one it is.
        name: The row of the version.
    """

    def __init__(self, version: KeptKey, is_over: Callable[[], bool] = _never) -> None:
        super().__init__(_SHOWN)
        self.version = version
        self.name = version.place.row
        self._is_removed = is_over

    @override
    def get_secret_value(self) -> str:
        """The key.

        Raises:
            KeyRemovedError: If its user has removed it since it was lent.
            UnreadableKeyError: If it does not open.
            KeyGivenBackError: If it came with a request that is over.
        """
        if self._is_removed():
            self._is_removed = _always
            self.give_back()
            raise KeyRemovedError(self.version.place.provider)
        return self._value_now()

    @abstractmethod
    def _value_now(self) -> str: ...

    @property
    @abstractmethod
    def was_used(self) -> bool:
        """Whether the request made use of it."""

    @abstractmethod
    def give_back(self) -> None:
        """Forget the value: the request is over."""

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


class StoredKey(LentKey):
    """One that is stored. It is opened when its value is first asked for.

    Work that outlives the request may go on with it: then it is opened each time, and not kept.
    """

    def __init__(
        self, opened: Callable[[], str], version: KeptKey, is_over: Callable[[], bool] = _never
    ) -> None:
        super().__init__(version, is_over)
        self._open = opened
        self._value: SecretStr | None = None
        self._was_used = self._is_over = False

    @property
    @override
    def was_used(self) -> bool:
        return self._was_used

    @override
    def _value_now(self) -> str:
        self._was_used = True
        value = self._value or SecretStr(self._open())
        if not self._is_over:
            self._value = value
        return value.get_secret_value()

    @override
    def give_back(self) -> None:
        self._is_over, self._value = True, None


class BroughtKey(LentKey):
    """One that came with the request, and goes with it."""

    def __init__(self, key: SecretStr, version: KeptKey, is_over: Callable[[], bool] = _never) -> None:
        super().__init__(version, is_over)
        self._value: SecretStr | None = key

    @property
    @override
    def was_used(self) -> bool:
        return True

    @override
    def _value_now(self) -> str:
        value = self._value
        if value is None:
            raise KeyGivenBackError(self.version.place.provider)
        return value.get_secret_value()

    @override
    def give_back(self) -> None:
        self._value = None
