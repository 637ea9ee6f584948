"""Tools that an agent may call, made from typed functions, each with its risk and its approval policy."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from backend.access import DataOwner

from .canonical import sha256_of_json, to_canonical_json
from .threads import ToolThreads

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
    """The context of a tool call: for which user and which run the tool is called.

    If a tool function has a parameter of this type, it receives this value. The model does not see the
    parameter.

    Attributes:
        key: The idempotency key of the call. If the call is repeated, the key is the same.
    """

    user_id: str
    tenant_id: str
    run_id: str
    key: str

    @property
    def owner(self) -> DataOwner:
        """The user for whom the tool is called."""
        return DataOwner(self.user_id, self.tenant_id)


class InvalidArgumentsError(Exception):
    """The arguments of a tool call are invalid. The message is for the model, and contains no values of arguments."""


class ArgumentsValidator(Protocol):
    """A function that validates the arguments of a tool call."""

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Validate ``given`` and add defaults; returns JSON-ready values.

        Raises:
            InvalidArgumentsError: The arguments are invalid.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that agents may call.

    Attributes:
        name: The tool's name for the model: letters, digits, ``_`` and ``-``.
        description: The tool's description for the model.
        parameters: The JSON Schema of the arguments.
        arguments: Validates the arguments of a call, and adds defaults.
        run: Executes the tool with valid arguments, and returns a text or a JSON value.
        risk: What a call does: ``read``, ``write``, or ``dangerous`` if it cannot be undone.
        policy: Whether a call is executed: ``allow``, ``deny``, or ``ask`` if a person must approve it.
        title: The tool's name for people.
        version: The version of the tool. Change it if the behaviour changes and the arguments do not.
        seconds: The time limit of a call.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    arguments: ArgumentsValidator
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
    def definition_hash(self) -> str:
        """A hash of the tool's name, JSON Schema and version.

        Each call stores the hash of its time. If the hash differs later, the tool has changed.
        """
        return sha256_of_json(self.name, self.parameters, self.version)[:16]

    @property
    def risk_and_policy(self) -> str:
        """The tool's risk and policy as text, such as ``write/ask``.

        Each call stores the text of its time. If the text differs later, risk or policy has changed.
        """
        return f"{self.risk}/{self.policy}"

    def with_policy(self, policy: Policy) -> Tool:
        """Return a copy of the tool with another policy."""
        return replace(self, policy=policy)

    def to_function_definition(self) -> dict[str, Any]:
        """Return the function definition of the tool, as models receive it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def validate_arguments(self, raw_arguments: Mapping[str, Any]) -> str:
        """Validate the arguments of a call, and add defaults.

        Returns:
            The arguments as canonical JSON. Exactly this text is shown to people and used to execute the tool.

        Raises:
            InvalidArgumentsError: The arguments are invalid.
        """
        try:
            text = to_canonical_json(self.arguments(raw_arguments))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidArgumentsError(f"The arguments are no JSON: {error}.") from error
        if len(text) > LONGEST:
            raise InvalidArgumentsError(f"The arguments are longer than {LONGEST} characters.")
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
    """Make a tool from a function with typed parameters, which may be synchronous or asynchronous.

    The docstring of the function becomes the description of the tool. A `Field` in an `Annotated` type
    describes a parameter. Each call of a synchronous function runs in a thread of its own; while eight calls
    hang, further calls are refused.

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
        self._threads = ToolThreads()
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
        """Validate ``given``, and add defaults. See `ArgumentsValidator`."""
        try:
            return self.model.model_validate(dict(given)).model_dump(mode="json", by_alias=True)
        except ValidationError as error:
            raise InvalidArgumentsError(_fault_text(error)) from None

    async def run(self, arguments: dict[str, Any], execution: Execution) -> Any:
        """Call the function."""
        values = self.model.model_validate(arguments)
        named = {name: getattr(values, name) for name in self.model.model_fields}
        if self._execution is not None:
            named[self._execution] = execution
        if self._is_async:
            return await self._function(**named)
        return await self._threads.run_in_thread(partial(self._function, **named))


def _fault_text(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    faults = [
        f"{'.'.join(map(str, details['loc'])) or 'arguments'}: {details['msg']}"
        for details in found[:_FAULTS_SHOWN]
    ]
    more = [f"{len(found) - _FAULTS_SHOWN} more"] if len(found) > _FAULTS_SHOWN else []
    return "; ".join([*faults, *more]) + "."
