"""The built-in model as a worker sees it: the supervisor runs it, and sends its state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from backend.local_model import LocalModelUnavailable
from backend.local_model.process import Address
from backend.utils.llm.forks import PerProcess

if TYPE_CHECKING:
    from backend.local_model.process import State

    from .lines import ModelState


class SharedModel(PerProcess):
    """The embedded model as a worker sees it: the supervisor runs the model for all workers, and sends messages about it.

    Thread-safe.

    Args:
        told: The state of the model at the start.
    """

    def __init__(self, told: ModelState) -> None:
        self._told = told
        super().__init__()

    @override
    def _begin(self) -> None:
        self._changed = threading.Condition()

    def tell(self, told: ModelState) -> None:
        """Update the model's state with a message of the supervisor's, and wake up those who wait for its address."""
        with self._changed:
            self._told = told
            self._changed.notify_all()

    @property
    def label(self) -> str:
        """The name of the model, as it is shown to people."""
        return self._told.label

    @property
    def state(self) -> State:
        """The last state that the supervisor has reported."""
        return self._told.state

    @property
    def reason(self) -> str | None:
        """What to do if the model has failed; else None."""
        return self._told.reason

    def current(self) -> Address | None:
        """The model's address if it is ready now, else None. Never waits."""
        address = self._told.address
        return None if address is None else Address(address.base_url, address.key.get_secret_value())

    def address(self, timeout: float) -> Address:
        """Wait until the model is ready, and return its address.

        Args:
            timeout: The most seconds to wait.

        Raises:
            LocalModelUnavailable: The model failed, was stopped or never started, or ``timeout`` seconds passed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._told.state != "starting", timeout)
            if (address := self.current()) is not None:
                return address
            if self._told.state == "starting":
                raise LocalModelUnavailable(f"{self.label} is still starting. Try again in a moment.")
            raise LocalModelUnavailable(self.reason or f"{self.label} is not running.")
