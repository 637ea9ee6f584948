"""What a supervisor and its workers say to each other over the worker's standard input and output, one line of JSON each.

Nothing of it is in an environment or among arguments, where others could read it: there are secrets in it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from backend.local_model.process import State


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class ModelAddress(_Message):
    """Where the supervisor's model answers.

    Attributes:
        base_url: In OpenAI's protocol.
        key: That it wants.
    """

    base_url: str
    key: SecretStr

    @field_serializer("key", when_used="json")
    def _told(self, key: SecretStr) -> str:
        return key.get_secret_value()


class ModelState(_Message):
    """How the built-in model is now. Told at the start, and whenever it changes.

    Attributes:
        label: Its name, for people.
        reason: A way out, if it failed.
        address: If it is ready.
    """

    kind: Literal["model"] = "model"
    label: str
    state: State
    reason: str | None = None
    address: ModelAddress | None = None


class Start(_Message):
    """The first line to a worker.

    Attributes:
        channel: The descriptor by which connections come.
        launch_token: A further token of the first user, as of `create_app`.
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
    """Say that no further requests should be sent, and take them all the same."""

    kind: Literal["leave"] = "leave"


class Stop(_Message):
    """Take no further connections, and end.

    Attributes:
        seconds: That answers under way may take.
    """

    kind: Literal["stop"] = "stop"
    seconds: float


Order = Annotated[Start | ModelState | Leave | Stop, Field(discriminator="kind")]
"""A line to a worker."""
ORDERS: TypeAdapter[Order] = TypeAdapter(Order, config=ConfigDict(hide_input_in_errors=True))
READY = b"ready"
"""All that a worker says: it serves."""
