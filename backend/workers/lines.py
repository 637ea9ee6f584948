"""The messages between supervisor and workers: lines of JSON over the worker's standard input and output.

The messages contain secrets, so they are not in environment variables or arguments, where other users
could read them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from backend.local_model.process import State


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class BuiltInModelAddress(_Message):
    """The address of the built-in model, which runs in the supervisor, in a message to workers.

    Attributes:
        base_url: The base URL of the model's OpenAI-compatible API.
        key: The API key that the model requires.
    """

    base_url: str
    key: SecretStr

    @field_serializer("key", when_used="json")
    def _key_text(self, key: SecretStr) -> str:
        return key.get_secret_value()


class BuiltInModelState(_Message):
    """The state of the built-in model. Sent to each worker at its start and after each change.

    Attributes:
        kind: The type of the message.
        label: The model's name for display.
        state: The state, such as ``starting``.
        reason: Advice for the user if the model has failed or does not answer; else None.
        address: The model's address if it is ready; else None.
    """

    kind: Literal["model"] = "model"
    label: str
    state: State
    reason: str | None = None
    address: BuiltInModelAddress | None = None


class StartWorker(_Message):
    """The first message to a worker, with everything that it needs to start serving.

    Attributes:
        kind: The type of the message.
        channel: The file descriptor of the worker's end of the channel.
        launch_token: An additional access token of the first user. See `create_app`.
        model: The state of the built-in model.
    """

    kind: Literal["start"] = "start"
    channel: int
    launch_token: SecretStr
    model: BuiltInModelState

    @field_serializer("launch_token", when_used="json")
    def _token_text(self, token: SecretStr) -> str:
        return token.get_secret_value()


class ReportNotReady(_Message):
    """Orders a worker to report in its readiness check that it is not ready, while it still accepts requests.

    Load balancers then send requests elsewhere before the worker stops.
    """

    kind: Literal["leave"] = "leave"


class StopWorker(_Message):
    """Orders a worker to accept no more connections, finish the requests in flight, and exit.

    Attributes:
        kind: The type of the message.
        seconds: The maximum time for the requests in flight.
    """

    kind: Literal["stop"] = "stop"
    seconds: float


Order = Annotated[StartWorker | BuiltInModelState | ReportNotReady | StopWorker, Field(discriminator="kind")]
"""A message to a worker."""
ORDERS: TypeAdapter[Order] = TypeAdapter(Order, config=ConfigDict(hide_input_in_errors=True))
READY = b"ready"
"""A worker's message that it is ready to serve."""
STOPPING = b"stopping"
"""A worker's message that it begins to stop by itself."""
