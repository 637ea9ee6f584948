"""Starts the whole service, sends a sample conversation through it, and serves until it is stopped.

The sample conversation is sent over HTTP with an access token, like that of any user.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
from rich.markup import escape
from rich.table import Table as Grid

from backend.access import ADMIN
from backend.conversations.outcome import EXTRACT
from backend.conversations.sample import SAMPLE
from backend.database.engine import UnusableDatabaseError
from backend.database.journals import FileJournalStore
from backend.database.storage import open_and_migrate_database
from backend.database.tokens import TokenStore
from backend.database.transactions import make_session_factory
from backend.keys.errors import MasterKeyError
from backend.keys.master_keys import load_master_keys
from backend.local_model import LocalModel, LocalModelUnavailable
from backend.printing import EscapingConsole, format_receipt
from backend.routers.conversations import IDEMPOTENCY_KEY
from backend.server import GRACE_SECONDS, build_server
from backend.settings import read_environment
from backend.signals import SignalHandler
from backend.utils.llm import LLMError, Table
from backend.workers.supervisor import Supervisor, SupervisorTimes

if TYPE_CHECKING:
    from backend.server import Server
    from backend.settings import Settings
    from backend.utils.llm.model_config.snapshot import TableSnapshot

SAMPLE_SECONDS = 300.0
START_SECONDS = 120.0
BACKLOG = 2_048
"""The most clients that wait for their connection to be accepted, for example while no worker runs."""
out = EscapingConsole(highlight=False, emoji=False)


def serve(settings: Settings, *, once: bool, workers: int = 1) -> int:
    """Run the service until it is interrupted. With ``once``, only until the sample conversation is processed.

    SIGINT and SIGTERM stop the service gracefully. A second signal cuts off requests in flight, a third ends
    the process at once.

    Args:
        settings: The application's settings.
        once: Whether to stop after the sample conversation.
        workers: The number of server processes. With more than one, SIGHUP replaces them.

    Returns:
        The exit status: 0 after a graceful stop; 1 if the service could not start, or with ``once`` if a
        step of the sample failed; 130 or 143 if a signal interrupted the sample.
    """
    variables = read_environment()
    local_model = LocalModel(settings.local_llm_gguf, environ=variables)
    launch_token = secrets.token_urlsafe(32)
    with ExitStack() as running:
        try:
            table = Table(environ=variables)
            listener = running.enter_context(_listen(settings, any_port=once))
            server = (
                Supervisor(
                    workers,
                    local_model,
                    launch_token,
                    times=SupervisorTimes(leaving=settings.leaving_seconds),
                )
                if workers > 1
                else running.enter_context(
                    build_server(settings, table, local_model, launch_token, settings.leaving_seconds)
                )
            )
        except (LLMError, MasterKeyError, OSError) as error:
            _print(str(error))
            return 1
        run = _Run(settings, table, local_model, listener, server, launch_token)
        with SignalHandler(run.stop) as signals:
            try:
                whole = asyncio.run(run.go(once=once))
            except (MasterKeyError, UnusableDatabaseError) as error:
                _print(str(error))
                return 1
            finally:
                local_model.stop()
    if signals.exit_status is not None:
        _print("\nStopped.")
    return 0 if whole else signals.exit_status or 1


def _listen(settings: Settings, *, any_port: bool) -> socket.socket:
    """A listening socket; on a free port, if the configured one is taken and ``any_port`` will do.

    Raises:
        OSError: The port is taken; the message says how to choose another.
    """
    try:
        return socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if any_port:
            return socket.create_server((settings.host, 0), backlog=BACKLOG)
        raise OSError(
            error.errno, f"Port {settings.port} is taken. Choose another: PATCHBAY_PORT=8001 ./backend/run.sh"
        ) from None


class _Run:
    """One run of the service."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        local_model: LocalModel,
        listener: socket.socket,
        server: Server | Supervisor,
        launch_token: str,
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.origin = f"http://{host}:{port}"
        self.settings = settings
        self.table = table
        self.local_model = local_model
        self.listener = listener
        self.server = server
        self.launch_token = launch_token
        self.first_token: str | None = None

    def stop(self) -> None:
        """Stop gracefully; at a second call, without waiting for answers. From any thread."""
        is_starting = not self.server.is_started
        self.server.stop(0 if self.server.is_stopping else GRACE_SECONDS)
        if is_starting:
            # Nobody asks it yet, and the start waits for it.
            threading.Thread(target=self.local_model.stop, daemon=True).start()

    async def go(self, *, once: bool) -> bool:
        """Run until the server ends. True if it started; with ``once``, only if the sample succeeded, too."""
        async with open_and_migrate_database(self.settings) as engine:
            # uvicorn would tell of what is wrong with it by a stack, and only when the model has started
            FileJournalStore(self.settings.conversation_journals_path)
            load_master_keys(self.settings.master_keys, self.settings.master_keys_path)
            tokens = TokenStore(make_session_factory(engine))
            self.first_token = await tokens.issue_first_token(ADMIN)
        await self._start_model()
        serving = asyncio.create_task(self.server.serve(self.listener))
        while not self.server.is_started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        if serving.done():
            return self.server.is_started and not once
        whole = await self._shown_sample(again=once)
        if once:
            self.server.stop(GRACE_SECONDS)
        elif not self.server.is_stopping:
            self._print_link()
        await serving
        return whole or not once

    async def _start_model(self) -> None:
        """Start the built-in model, if any feature runs on it. If it cannot start, the service starts nevertheless."""
        snapshot = self.table.snapshot
        if not _runs_embedded(snapshot) or self.server.is_stopping:
            return
        if snapshot.demo_active:
            variables = ", ".join(
                name for _, provider in sorted(snapshot.providers.items()) for name in provider.api_key_envs
            )
            note = (
                f"No provider's key is configured, so [b]every feature is served by {escape(self.local_model.label)}[/b]."
                " It shows that everything works, not how well. What a conversation is about it cannot tell: that is cut"
                f" from the transcript.\nFor real answers set one of {variables}."
            )
            out.print_panel(note, "demo")
        self.local_model.start()
        with out.status(f"Starting {self.local_model.label}, about two seconds…"):
            try:
                await asyncio.to_thread(self.local_model.address, START_SECONDS)
                _print(f"{self.local_model.label} is ready.")
            except LocalModelUnavailable as unavailable:
                if not self.server.is_stopping:
                    _print(f"The built-in model could not start: {unavailable}")

    async def _shown_sample(self, *, again: bool) -> bool:
        """As `_show_sample`, but an exception does not end the service."""
        try:
            return await self._show_sample(again=again)
        except (httpx.HTTPError, ValueError) as error:
            if not self.server.is_stopping:
                _print(f"The sample conversation could not be sent: {type(error).__name__}")
            return False

    async def _show_sample(self, *, again: bool) -> bool:
        """Send the sample conversation through the service and print the result; True if nothing is missing.

        Skipped for a user with own keys, who would pay for it, and, unless ``again``, for a user who has conversations
        already.
        """
        headers = {"Authorization": f"Bearer {self.launch_token}"}
        async with httpx.AsyncClient(
            base_url=self.origin, headers=headers, timeout=SAMPLE_SECONDS, trust_env=False
        ) as http:
            if (await http.get("/v1/keys")).raise_for_status().json()["keys"]:
                _print(
                    "The sample conversation is left out: you have keys of your own, and would pay for it."
                )
                return True
            response = await http.get("/v1/conversations", params={"limit": 1})
            if not again and response.raise_for_status().json()["items"]:
                _print("The sample conversation is left out: you have conversations. `--once` runs it again.")
                return True
            with out.status("Running the sample conversation through it, some seconds with the demo model…"):
                answer = await http.post(
                    "/v1/conversations",
                    json=SAMPLE.model_dump(mode="json"),
                    headers={} if again else {IDEMPOTENCY_KEY: "sample"},
                )
        conversation = answer.json()
        if answer.is_error:
            _print(f"The sample conversation failed: {answer.status_code} {conversation}")
            return False
        _print_conversation(conversation)
        return bool(
            conversation["title"]
            and conversation["category"]
            and conversation["folder"]
            and not conversation["errors"]
        )

    def _print_link(self) -> None:
        _print(f"\nOpen {self.origin}/login?token={self.launch_token}")
        _print("The link holds until the service stops. Ctrl-C stops it.")
        if self.first_token is not None:
            _print(f"\nYour access token for the API, shown only this once:\n  {self.first_token}")


def _print(text: str) -> None:
    """Print a line unwrapped, so that it can be copied."""
    out.print(text, markup=False, soft_wrap=True)


def _runs_embedded(snapshot: TableSnapshot) -> bool:
    """Whether the built-in model serves any of the house's calls."""
    endpoints = (endpoint for chain in snapshot.chains[snapshot.profile].values() for endpoint in chain)
    return snapshot.demo_active or any(endpoint.provider.access == "embedded" for endpoint in endpoints)


def _print_conversation(conversation: dict[str, Any]) -> None:
    folder = conversation["folder"] or {}
    lines = Grid.grid(padding=(0, 2))
    lines.add_row("title", escape(conversation["title"] or "-"))
    lines.add_row("category", escape(conversation["category"] or "-"))
    lines.add_row("overview", escape(conversation["overview"] or "-"))
    for item in conversation["action_items"]:
        lines.add_row("to do", escape(_item(item)))
    lines.add_row("folder", escape(f"{folder.get('folder_id')} ({folder.get('validation_status')})"))
    for feature, code in conversation["errors"].items():
        lines.add_row("failed", escape(f"{feature}: {code}"))
    if cut := [
        part.replace("_", " ") for part, made_by in conversation["made_by"].items() if made_by == EXTRACT
    ]:
        lines.add_row("", f"[dim]Cut from the transcript without a model: {', '.join(cut)}.[/dim]")
    out.print_panel(lines, "sample conversation")
    for receipt in conversation["receipts"].values():
        _print(format_receipt(receipt))


def _item(item: dict[str, Any]) -> str:
    return f"{item['owner']}: {item['description']}" if item["owner"] else str(item["description"])
