"""``agent``: runs agents, and decides on tool calls that wait for a person's confirmation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from backend.commands.call import open_feature_patchbay
from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    SHORT,
    ExitStatus,
    Json,
    check_printable_name,
    err,
    exit_on_storage_errors,
    open_audited_sessions,
    open_sessions,
    out,
    print_json,
    read_settings,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from langchain_core.language_models import BaseChatModel
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.agents.confirmations import Confirmation
    from backend.agents.events import Event
    from backend.agents.runner import AgentRunner
    from backend.agents.seals import DigestSigner
    from backend.settings import Settings

app = make_command_app("Runs of agents, and what waits for a person's yes.", no_args_is_help=True)
T = TypeVar("T")
_DRAIN = 30.0
"""Seconds that a command waits for what it began to run."""
_WHOLE_ID = 32
"""Letters of a confirmation's id."""
_HEADS = ("id", "agent", "what", "risk", "until", "state")

User = Annotated[str, typer.Option(help="As this user.", callback=check_printable_name)]
Which = Annotated[str, typer.Argument(metavar="ID", help="Its id as `pending` shows it, or the head of it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask here once more.")]


@app.command("run")
def run_agent(
    agent: Annotated[str, typer.Argument(help="An agent, such as assistant.")],
    text: Annotated[str, typer.Argument(help="What to say to it.")],
    *,
    conversation: Annotated[str | None, typer.Option(help="The thread that it belongs to.")] = None,
    user: User = "admin",
    as_json: Json = False,
) -> None:
    """Send TEXT to AGENT, and print its run's events until the run ends or waits for somebody to confirm a tool call."""
    _follow(lambda runner: runner.start_run(_owner(user), agent, text, conversation), as_json=as_json)


@app.command("resume")
def resume_agent_run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Its id.")],
    *,
    user: User = "admin",
    as_json: Json = False,
) -> None:
    """Continue a run that was interrupted, or that stopped because its model was unavailable."""
    _follow(lambda runner: runner.resume_run(_owner(user), run_id), as_json=as_json)


@app.command("pending")
def list_pending_confirmations(*, user: User = "admin", as_json: Json = False) -> None:
    """List the user's open confirmations: tool calls that nobody has decided on, and calls whose result is unknown."""
    from backend.agents.events import confirmation_to_json

    with exit_on_storage_errors(as_json=as_json):
        found = asyncio.run(
            _with_runner(None, lambda runner: runner.gate.list_pending_confirmations(_owner(user)))
        )
    if as_json:
        print_json(
            {
                "confirmations": [
                    confirmation_to_json(confirmation, untruncated=True) for confirmation in found
                ]
            }
        )
        return
    out.print(TextTable(_HEADS, [_row(confirmation) for confirmation in found]))
    for confirmation in found:
        _print_call(confirmation)


@app.command("approve")
def approve_tool_call(
    which: Which,
    *,
    again: Annotated[bool, typer.Option("--again", help="Run it although it may have run before.")] = False,
    yes: Yes = False,
    user: User = "admin",
    as_json: Json = False,
) -> None:
    """Confirm a waiting tool call: execute it exactly as shown, and continue its agent's run."""
    _decide(which, user, as_json=as_json, yes=yes, again=again)


@app.command("edit")
def approve_with_edited_arguments(
    which: Which,
    arguments: Annotated[str, typer.Argument(help="The arguments that it is to run with, as a JSON object.")],
    *,
    yes: Yes = False,
    user: User = "admin",
    as_json: Json = False,
) -> None:
    """Confirm a waiting tool call with other ARGUMENTS: execute it with these, and continue its agent's run."""
    from backend.agents.canonical import parse_json_object

    try:
        read = parse_json_object(arguments)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from error
    _decide(which, user, as_json=as_json, yes=yes, arguments=read)


@app.command("reject")
def reject_tool_call(
    which: Which,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the model.")] = "",
    user: User = "admin",
    as_json: Json = False,
) -> None:
    """Reject a tool call that waits for confirmation, and continue its agent's run without executing it."""
    with exit_on_storage_errors(as_json=as_json):
        one = asyncio.run(_found(which, user))
    _follow(lambda runner: runner.reject(one.owner, one.id, reason), as_json=as_json)


def _decide(
    which: str, user: str, *, as_json: bool, yes: bool, again: bool = False, arguments: Any = None
) -> None:
    from backend.agents.gate import ApprovalDecision

    with exit_on_storage_errors(as_json=as_json):
        one = asyncio.run(_found(which, user))
    if not yes:
        _print_call(one, whole=True)
        typer.confirm(
            "Run this?" if arguments is None else "Run this with the other arguments?", abort=True, err=True
        )
    decision = ApprovalDecision(one.owner, one.id, one.digest, again and one.state == "unknown", arguments)
    _follow(lambda runner: runner.approve(decision), as_json=as_json)


async def _found(which: str, user: str) -> Confirmation:
    """The open confirmation whose id begins with ``which``.

    Raises:
        ConfirmationNotFoundError: No confirmation matches, or several do.
        ConfirmationError: The confirmation is no longer open; the error's type says why.
    """
    from backend.agents.errors import ConfirmationNotFoundError
    from backend.agents.gate import make_decided_or_expired_error

    async def look(runner: AgentRunner) -> Sequence[Confirmation]:
        waiting = [
            confirmation
            for confirmation in await runner.gate.list_pending_confirmations(_owner(user))
            if confirmation.id.startswith(which)
        ]
        return waiting or await _asked_before(runner, which, user)

    found = await _with_runner(None, look)
    if len(found) != 1:
        raise ConfirmationNotFoundError
    if found[0].state not in ("pending", "unknown"):
        raise make_decided_or_expired_error(found[0].state)
    return found[0]


async def _asked_before(runner: AgentRunner, which: str, user: str) -> Sequence[Confirmation]:
    """The confirmations in the user's last runs whose id begins with ``which``; a complete id is found in any run."""
    if len(which) == _WHOLE_ID:
        return [await runner.gate.get_confirmation(_owner(user), which)]
    asked = [
        await runner.gate.latest_confirmation_by_call(run.id)
        for run in await runner.list_recent_runs(_owner(user))
    ]
    heads = [
        confirmation.id
        for of_run in asked
        for confirmation in of_run.values()
        if confirmation.id.startswith(which)
    ]
    return [await runner.gate.get_confirmation(_owner(user), found) for found in heads]


def _follow(events: Callable[[AgentRunner], AsyncGenerator[Event, None]], *, as_json: bool) -> None:
    """Print the events as they arrive."""
    from backend.agents.assistant import FEATURE

    async def follow(runner: AgentRunner) -> list[Event]:
        received_events: list[Event] = []
        async with aclosing(events(runner)) as stream:
            async for event in stream:
                received_events.append(event)
                if not as_json:
                    _print(event)
        await runner.gate.wait_for_running_calls(_DRAIN)
        return received_events

    with exit_on_storage_errors(as_json=as_json), open_feature_patchbay(FEATURE, as_json=as_json) as patchbay:
        received_events = asyncio.run(_with_runner(patchbay.get_llm, follow, decides=True))
    if as_json:
        print_json({"events": [{"event": event.kind, **event.as_dict()} for event in received_events]})
    if (status := _status(received_events)) is not None:
        raise typer.Exit(status)


def _status(events: Sequence[Event]) -> ExitStatus | None:
    """The exit status after these events; None if the run has ended well, or waits for a person."""
    from backend.agents.events import RunEnded

    last = events[-1]
    if not isinstance(last, RunEnded) or last.state not in ("failed", "exhausted", "expired"):
        return None
    return ExitStatus.LATER if last.error is not None and last.error.retryable else ExitStatus.NO


async def _with_runner(
    models: Callable[[str], BaseChatModel] | None,
    work: Callable[[AgentRunner], Awaitable[T]],
    *,
    decides: bool = False,
) -> T:
    settings = read_settings()
    async with (open_audited_sessions if decides else open_sessions)(settings) as sessions:
        seals = await _seals(sessions, settings) if decides else None
        async with _runner(models, sessions, seals) as runner:
            return await work(runner)


async def _seals(sessions: async_sessionmaker[AsyncSession], settings: Settings) -> DigestSigner:
    from backend.database.keys import make_confirmation_signer
    from backend.keys.master_keys import load_master_keys

    return await make_confirmation_signer(
        sessions, load_master_keys(settings.master_keys, settings.master_keys_path)
    )


@asynccontextmanager
async def _runner(
    models: Callable[[str], BaseChatModel] | None,
    sessions: async_sessionmaker[AsyncSession],
    seals: DigestSigner | None,
) -> AsyncIterator[AgentRunner]:
    from backend.agents.agent import Agents
    from backend.agents.assistant import make_assistant_agent
    from backend.agents.gate import ConfirmationGate
    from backend.agents.runner import AgentRunner
    from backend.database.confirmations import SqlConfirmationStore
    from backend.database.conversations import SqlConversationStore
    from backend.database.runs import SqlRunStore
    from backend.database.transactions import get_transaction_runner

    def nobody(feature: str) -> BaseChatModel:
        raise AssertionError(f"{feature} is not asked here")

    transacting = get_transaction_runner(sessions.kw["bind"])
    agents = Agents([make_assistant_agent(SqlConversationStore(sessions, transacting))])
    gate = ConfirmationGate(SqlConfirmationStore(transacting), agents, seals=seals)
    yield AgentRunner(agents, models or nobody, SqlRunStore(transacting), gate)


def _owner(user: str) -> Any:
    from backend.access import DataOwner

    return DataOwner(user)


def _print(event: Event) -> None:
    from backend.agents.events import AnswerDelta, ConfirmationChanged, RunEnded, ToolCalled, ToolResult

    match event:
        case AnswerDelta():
            out.print(event.text, end="", markup=False)
        case ToolCalled():
            err.print(f"\n{_came_to(event.tool, event.verdict, event.message)}", markup=False)
        case ToolResult():
            err.print(_came_to(event.tool, event.status, event.message), markup=False)
        case ConfirmationChanged():
            _print_asked(event.confirmation)
        case RunEnded():
            out.print()
            why = f" ({event.reason})" if event.reason else ""
            err.print(
                f"Run {event.run_id} is {event.state}{why}. {event.message or ''}".rstrip(), markup=False
            )
        case _:
            pass


def _came_to(tool: str, what: str, why: str) -> str:
    """A call and its result on one line, with control characters escaped: a model may choose the tool's name, and a tool the reason."""
    from backend.agents.rendering import escape_to_one_line

    return escape_to_one_line(f"{tool}: {what} ({why})" if why else f"{tool}: {what}")


def _print_asked(one: Confirmation) -> None:
    """Print a pending confirmation and how to continue; of a decided confirmation, its state."""
    if one.state not in ("pending", "unknown"):
        err.print(f"{one.id[:SHORT]}  {one.title}: {one.state}", markup=False)
        return
    _print_call(one)
    more = " --again" if one.state == "unknown" else ""
    err.print(
        f"To answer: agent approve {one.id[:SHORT]}{more}, or agent reject {one.id[:SHORT]}", markup=False
    )


def _print_call(one: Confirmation, *, whole: bool = False) -> None:
    from backend.agents.rendering import render_argument_lines

    err.print(f"{one.id[:SHORT]}  {one.title} ({one.risk}, {one.state})", markup=False)
    for line in render_argument_lines(one.arguments, untruncated=whole):
        more = f" … {line.left_out} more characters" if line.left_out else ""
        err.print(f"    {line.name}: {line.text}{more}", markup=False)


def _row(one: Confirmation) -> tuple[str, ...]:
    return one.id[:SHORT], one.agent, one.title, one.risk, f"{_moment(one.expires_at):%H:%M:%SZ}", one.state


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
