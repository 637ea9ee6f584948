"""The built-in model as a worker sees it: the supervisor runs it, and sends its state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from backend.local_model import LocalModelUnavailable
from backend.local_model.process import LocalModelAddress
from backend.utils.llm.forks import ForkSafe

if TYPE_CHECKING:
    from backend.local_model.process import State

    from .lines import BuiltInModelState


class SharedBuiltInModel(ForkSafe):
    """The built-in model in a worker process: the supervisor runs the model, and sends its state to all workers.

    Thread-safe.

    Args:
        initial_state: The state of the model when the worker starts.
    """

    def __init__(self, initial_state: BuiltInModelState) -> None:
        self._model_state = initial_state
        super().__init__()

    @override
    def _begin(self) -> None:
        self._changed = threading.Condition()

    def update_state(self, new_state: BuiltInModelState) -> None:
        """Replace the model's state by a new one from the supervisor, and wake the threads that wait in `address`."""
        with self._changed:
            self._model_state = new_state
            self._changed.notify_all()

    @property
    def label(self) -> str:
        """The model's name for display."""
        return self._model_state.label

    @property
    def state(self) -> State:
        """The last state that the supervisor has reported, such as ``starting``."""
        return self._model_state.state

    @property
    def reason(self) -> str | None:
        """Advice for the user if the model has failed or does not answer; else None."""
        return self._model_state.reason

    def current_address(self) -> LocalModelAddress | None:
        """Return the model's address if the model is ready, else None. Does not wait."""
        address = self._model_state.address
        return (
            None if address is None else LocalModelAddress(address.base_url, address.key.get_secret_value())
        )

    def address(self, timeout: float) -> LocalModelAddress:
        """Wait until the model is ready, and return its address. Blocks the thread.

        Args:
            timeout: The maximum wait, in seconds.

        Raises:
            LocalModelUnavailable: The model failed, does not answer, was stopped or was never started, or
                ``timeout`` is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._model_state.state != "starting", timeout)
            if (address := self.current_address()) is not None:
                return address
            if self._model_state.state == "starting":
                raise LocalModelUnavailable(f"{self.label} is still starting. Try again in a moment.")
            raise LocalModelUnavailable(self.reason or f"{self.label} is not running.")
