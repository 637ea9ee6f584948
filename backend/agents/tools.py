"""Tools that an agent may call, made from typed functions, each with its risk and its approval policy."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from backend.access import Owner

from .canonical import canonical, digest
from .threads import Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

Risk = Literal["read", "write", "dangerous"]
"""The effect of a call: it reads, it changes something, or it changes something irreversibly."""
Policy = Literal["allow", "ask", "deny"]
"""Whether a call is executed, is executed after a person's approval, or is refused."""

SECONDS: Final = 30.0
LONGEST: Final = 64 * 1024
"""The most characters of a call's arguments, as canonical JSON."""
_FAULTS_SHOWN: Final = 5
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST_NAME: Final = 64
"""Characters of a name, and which, as providers take it."""


class Execution(NamedTuple):
    """Tells a tool for which user and run it is called.

    A tool function that has a parameter of this type gets the value; the model does not see that parameter.

    Attributes:
        key: An idempotency key: the same whenever the same call is repeated.
    """

    user_id: str
    tenant_id: str
    run_id: str
    key: str

    @property
    def owner(self) -> Owner:
        """The user for whom the tool is called, as the owner of stored data."""
        return Owner(self.user_id, self.tenant_id)


class ArgumentsError(Exception):
    """The arguments of a tool call are invalid. The message is for the model, and quotes no argument."""


class Arguments(Protocol):
    """Validates the arguments of a call."""

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Validate ``given`` and add defaults; returns JSON-ready values.

        Raises:
            ArgumentsError: The arguments are invalid.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that an agent may call.

    Attributes:
        name: The name by which the model calls the tool: letters, digits, ``_`` and ``-``.
        description: The description for the model.
        parameters: The JSON Schema of its arguments.
        arguments: Validates the arguments and adds defaults.
        run: Executes the tool with valid arguments, and returns a text or a JSON-ready value.
        title: The name that people are shown.
        version: Changed by the developer when the behaviour changes and the arguments do not.
        seconds: The time limit of a call.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    arguments: Arguments
    run: Callable[[dict[str, Any], Execution], Awaitable[Any]]
    risk: Risk = "write"
    policy: Policy = "ask"
    title: str = ""
    version: str = "1"
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > _LONGEST_NAME or not _NAME.issuperset(self.name):
            raise ValueError(
                f"a tool is named by up to {_LONGEST_NAME} letters, digits, _ and -: {self.name!r}"
            )

    @property
    def definition(self) -> str:
        """A hash of the tool's name, arguments and version, to notice that the tool has changed since a confirmation."""
        return digest(self.name, self.parameters, self.version)[:16]

    @property
    def terms(self) -> str:
        """The tool's risk and policy as one text, to notice that they have changed since a confirmation."""
        return f"{self.risk}/{self.policy}"

    def with_policy(self, policy: Policy) -> Tool:
        """A copy of the tool with another approval policy."""
        return replace(self, policy=policy)

    def as_function(self) -> dict[str, Any]:
        """Convert the tool to a function definition for the model."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def accepted(self, given: Mapping[str, Any]) -> str:
        """Validate the arguments of a call and add defaults.

        Returns:
            The arguments as canonical JSON: what people read, and exactly what is executed.

        Raises:
            ArgumentsError: The arguments are invalid.
        """
        try:
            text = canonical(self.arguments(given))
        except (ValueError, TypeError, RecursionError) as error:
            raise ArgumentsError(f"The arguments are no JSON: {error}.") from error
        if len(text) > LONGEST:
            raise ArgumentsError(f"The arguments are longer than {LONGEST} characters.")
        return text


def tool(  # noqa: PLR0913 - what a tool says of itself
    function: Callable[..., Any],
    *,
    risk: Risk = "write",
    policy: Policy = "ask",
    name: str = "",
    title: str = "",
    version: str = "1",
    seconds: float = SECONDS,
) -> Tool:
    """Make a tool from a function, synchronous or not, whose parameters have types.

    The function's docstring is the tool's description; `Field` in an `Annotated` type describes a parameter. A
    synchronous function runs in a thread of its own: a call that hangs blocks nothing else, and while eight of them hang,
    the function is not called again.

    Raises:
        TypeError: A parameter has no type, or cannot be passed by name.
    """
    takes = _Function(function)
    schema = takes.model.model_json_schema()
    schema.pop("title", None)
    return Tool(
        name=name or function.__name__,
        description=inspect.cleandoc(function.__doc__ or ""),
        parameters=schema,
        arguments=takes.accept,
        run=takes.run,
        risk=risk,
        policy=policy,
        title=title or (name or function.__name__).replace("_", " ").capitalize(),
        version=version,
        seconds=seconds,
    )


class _Function:
    """A function as a tool calls it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = get_type_hints(function, include_extras=True)
        self._function = function
        self._execution = next((name for name, hint in hints.items() if hint is Execution), None)
        self._threads = Threads()
        self._is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.model: type[BaseModel] = create_model(
            function.__name__, __config__=ConfigDict(extra="forbid"), **self._fields(hints)
        )

    def _fields(self, hints: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self._function).parameters.items():
            if name == self._execution:
                continue
            if name not in hints or parameter.kind not in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            ):
                raise TypeError(
                    f"{self._function.__name__}: {name} needs a type, and has to be passed by name"
                )
            fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        return fields

    def accept(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``given`` validated, with defaults. See `Arguments`."""
        try:
            return self.model.model_validate(dict(given)).model_dump(mode="json", by_alias=True)
        except ValidationError as error:
            raise ArgumentsError(_told(error)) from None

    async def run(self, arguments: dict[str, Any], execution: Execution) -> Any:
        """Call the function."""
        values = self.model.model_validate(arguments)
        named = {name: getattr(values, name) for name in self.model.model_fields}
        if self._execution is not None:
            named[self._execution] = execution
        if self._is_async:
            return await self._function(**named)
        return await self._threads.run(partial(self._function, **named))


def _told(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    faults = [
        f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in found[:_FAULTS_SHOWN]
    ]
    more = [f"{len(found) - _FAULTS_SHOWN} more"] if len(found) > _FAULTS_SHOWN else []
    return "; ".join([*faults, *more]) + "."
