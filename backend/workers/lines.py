"""The messages between a supervisor and its workers: lines of JSON over the worker's standard input and output.

The messages contain secrets, so they are not in environment variables or arguments, where other users could read them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from backend.local_model.process import State


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class ModelAddress(_Message):
    """The address at which the supervisor's model answers.

    Attributes:
        base_url: The base URL of its OpenAI-compatible API.
        key: The key that the model requires.
    """

    base_url: str
    key: SecretStr

    @field_serializer("key", when_used="json")
    def _told(self, key: SecretStr) -> str:
        return key.get_secret_value()


class ModelState(_Message):
    """The state of the built-in model, sent at the start and after each change.

    Attributes:
        label: The name of the model, for people.
        reason: What to do, if the model has failed.
        address: The address, if the model is ready.
    """

    kind: Literal["model"] = "model"
    label: str
    state: State
    reason: str | None = None
    address: ModelAddress | None = None


class Start(_Message):
    """The first message to a worker: everything that it needs to begin to serve.

    Attributes:
        channel: The file descriptor of the worker's channel.
        launch_token: A further token of the first user, as in `create_app`.
        model: The built-in model.
    """

    kind: Literal["start"] = "start"
    channel: int
    launch_token: SecretStr
    model: ModelState

    @field_serializer("launch_token", when_used="json")
    def _told(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Leave(_Message):
    """Orders a worker to report that it is not ready, so that load balancers go elsewhere, while it still accepts requests."""

    kind: Literal["leave"] = "leave"


class Stop(_Message):
    """Orders a worker to accept no further connections, finish the requests in flight, and end.

    Attributes:
        seconds: The most seconds for requests in flight.
    """

    kind: Literal["stop"] = "stop"
    seconds: float


Order = Annotated[Start | ModelState | Leave | Stop, Field(discriminator="kind")]
"""A message to a worker."""
ORDERS: TypeAdapter[Order] = TypeAdapter(Order, config=ConfigDict(hide_input_in_errors=True))
READY = b"ready"
"""A worker's message that it is ready to serve."""
STOPPING = b"stopping"
"""A worker's message that it begins to stop by itself."""
