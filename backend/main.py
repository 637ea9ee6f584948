"""Builds the FastAPI application: chooses the implementation of every interface, and connects them."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import Depends
from starlette.middleware.errors import ServerErrorMiddleware

from backend.access import ADMIN
from backend.agents.agent import Agents
from backend.agents.as_models import AgentResponderSource
from backend.agents.assistant import make_assistant_agent
from backend.agents.gate import ConfirmationGate
from backend.agents.runner import AgentRunner
from backend.background import BackgroundTaskRunner
from backend.budgets import BudgetManager
from backend.conversations.creation import ConversationCreator
from backend.database.audit import AuditTrail, commit_audit_event
from backend.database.budgets import SqlBudgetStore, open_budget_store
from backend.database.changes import ChangeListener
from backend.database.confirmations import SqlConfirmationStore
from backend.database.conversations import SqlConversationStore
from backend.database.journals import FileJournalStore
from backend.database.keys import SqlKeyStore, make_confirmation_signer
from backend.database.ledger import make_ledger_store
from backend.database.overrides import SqlOverrideStore
from backend.database.remembered import (
    AccessDataVersion,
    CachedBrowserSessionStore,
    CachedKeyStore,
    CachedTokenStore,
)
from backend.database.retention import RetentionDays, apply_retention_periodically
from backend.database.runs import SqlRunStore
from backend.database.sessions import BrowserSessionStore
from backend.database.storage import (
    erase_deleted_data_periodically,
    make_database_probe,
    open_and_migrate_database,
    open_database_engine,
)
from backend.database.tokens import TokenStore
from backend.database.transactions import get_transaction_runner, make_session_factory
from backend.database.usage import SqlUsageStore
from backend.keys.keychain import Keychain
from backend.keys.master_keys import load_master_keys
from backend.keys.removals import KeyRemovalTracker
from backend.keys.signing import AuditSigningKeys
from backend.keys.vault import KeyVault
from backend.ledger.shipper import Shipper
from backend.overrides import OverrideManager
from backend.recent import RecentAttemptStats
from backend.routers import (
    access,
    agents,
    budgets,
    changes,
    chat,
    chat_completions,
    complete,
    console,
    conversations,
    errors,
    health,
    keys,
    llm,
    messages,
    metrics,
    models,
    openapi,
    overrides,
    pages,
    responses,
    token_pages,
    tokens,
    usage,
    wire_paths,
)
from backend.routers.bodies import BodyLimitMiddleware
from backend.routers.dependencies import LaunchTokenLookup, Services, authorize
from backend.routers.headers import SecurityHeadersMiddleware
from backend.routers.openapi import DocumentedFastAPI
from backend.routers.origins import PublicUrlMiddleware
from backend.routers.stopping import GracefulStop, StopMiddleware
from backend.settings import Settings, read_environment
from backend.tools.retirements import make_retirement_headline
from backend.utils.llm import Patchbay, Table
from backend.watchers import LedgerMetrics, Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.agents.seals import DigestSigner
    from backend.database.transactions import TransactionRunner
    from backend.ledger.store import LedgerStore
    from backend.routers.dependencies import LLMFacade, LocalModelView

log = logging.getLogger(__name__)

FIRST_USER: Final = ADMIN

WATCH_SECONDS: Final = 1.0
FIGURES_SECONDS: Final = 1.0
"""The greatest age, in seconds, of the ledger's figures among the metrics."""
DRAIN_SECONDS: Final = 5.0
"""Seconds that a stop waits for paid model answers that their requests no longer wait for."""
TEXTS_SECONDS: Final = 600.0
"""Seconds between two deletions of expired texts."""
SIGN_SECONDS: Final = 60.0
"""Seconds between two signed heads of the audit trail, if it has grown."""
AGENTS_SECONDS: Final = 15.0
"""Seconds between two searches for expired confirmations and executions without a result."""
STORE_SECONDS: Final = 1.0
"""Seconds between two tries to store finished conversations."""


def create_app(  # noqa: PLR0913 - the composition root
    settings: Settings | None = None,
    *,
    patchbay: LLMFacade | None = None,
    local_model: LocalModelView | None = None,
    announce: Callable[[str], None] | None = None,
    launch_token: str | None = None,
    watchers: Watchers | None = None,
    may_freeze: bool = True,
) -> FastAPI:
    """Build the FastAPI application. Files and connections are opened only at its startup.

    Before you stop the server, call ``app.state.stop.begin`` (see `GracefulStop`), so that long requests end
    with an error.

    Args:
        settings: The settings; by default read from the environment.
        patchbay: The LLM clients, which the caller closes; by default a `Patchbay` on the default table,
            closed at shutdown.
        local_model: The built-in model, whose state is shown. The caller starts and stops it.
        announce: Called once with the first access token, which is never shown again. By default a login
            link with the token is written to standard error.
        launch_token: A further token of the first user, valid until the application stops.
        watchers: The observers with which the given ``patchbay`` was made. Without them no attempt is
            counted or recorded, and nobody learns that a provider refuses a user's key.
        may_freeze: Whether to exempt all objects that exist after the warm-up from garbage collection, until
            the application stops. Pass False if the process does more than serve.

    Raises:
        MasterKeyError: A configured master key is invalid.
        UnusableDatabaseError: At startup: the database, or the folder of journals, cannot be created or
            read.
    """
    settings = settings or Settings()
    print_token = announce or _link_printer(settings)
    master_keys = load_master_keys(settings.master_keys, settings.master_keys_path)
    vault = KeyVault(master_keys)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        background = BackgroundTaskRunner()
        async with (
            _watchers(watchers, settings) as active_watchers,
            open_and_migrate_database(settings) as engine,
            open_database_engine(
                settings
            ) as apart,  # of its own, so that removals are seen also while all others are busy
        ):
            sessions, transacting = make_session_factory(engine), get_transaction_runner(engine)
            given = TokenStore(sessions)
            async with (
                _version(settings) as version,
                open_budget_store(settings.database_path, settings.database_url, background) as counters,
                _facade(patchbay, active_watchers, counters) as facade,
            ):
                _warn_of_retirements(facade)
                kept, stored = (
                    CachedKeyStore(sessions, version),
                    SqlConversationStore(sessions, transacting),
                )
                remembered = CachedTokenStore(given, version)
                overriding = await _overrides(facade, sessions)
                trail, head_keys = AuditTrail(sessions), AuditSigningKeys(master_keys)
                seals = await make_confirmation_signer(sessions, master_keys)
                running = _agents(facade, transacting, stored, seals)
                creation = ConversationCreator(stored, FileJournalStore(settings.conversation_journals_path))
                removals = KeyRemovalTracker(SqlKeyStore(make_session_factory(apart)))
                known = (
                    LaunchTokenLookup(launch_token, FIRST_USER, remembered) if launch_token else remembered
                )
                app.state.services = Services(
                    conversations=stored,
                    creation=creation,
                    tokens=known,
                    sessions=CachedBrowserSessionStore(BrowserSessionStore(sessions), version),
                    facade=facade,
                    keychain=Keychain(kept, vault, removals=removals),
                    database=make_database_probe(settings, apart),
                    local_model=local_model,
                    background=background,
                    metrics=active_watchers.metrics,
                    overrides=overriding,
                    usage=SqlUsageStore(engine),
                    budgets=_budgets(facade, sessions),
                    agents=running,
                    recent=active_watchers.recent or RecentAttemptStats(),
                    spool=active_watchers.spool,
                    responder_sources=(AgentResponderSource(running),),
                    given_tokens=remembered,
                    has_own_weights=settings.local_llm_gguf is not None,
                )
                prune = partial(asyncio.to_thread, active_watchers.prune_texts)
                if (first := await given.issue_first_token(FIRST_USER)) is not None:
                    print_token(first)
                changes = _changes(settings, removals, overriding, version)
                async with AsyncExitStack() as stack:
                    for duty in (
                        removals.poll_periodically(background),
                        changes.listen(background),
                        active_watchers.keys.write_periodically(kept, background),
                        erase_deleted_data_periodically(settings, background),
                        apply_retention_periodically(
                            engine, RetentionDays(settings.ledger_days, settings.usage_days), background
                        ),
                        background.run_repeatedly(
                            "conversations.unstored",
                            creation.recover_abandoned_journals,
                            interval_s=STORE_SECONDS,
                        ),
                        background.run_repeatedly(
                            "agents", running.end_expired_runs, interval_s=AGENTS_SECONDS
                        ),
                        background.run_until_success("texts", prune),
                        background.run_repeatedly("texts.old", prune, interval_s=TEXTS_SECONDS),
                        trail.sign_hash_chains_periodically(head_keys, background, interval_s=SIGN_SECONDS),
                        _looking_after(facade, overriding, background, may_freeze=may_freeze),
                        _shipping(active_watchers, make_ledger_store(engine), background),
                    ):
                        await stack.enter_async_context(duty)
                    yield
                    await asyncio.gather(
                        creation.wait_for_model_calls(DRAIN_SECONDS, app.state.stop.hurry),
                        running.gate.wait_for_running_calls(DRAIN_SECONDS),
                    )

    # FastAPI's own pages would load their scripts from elsewhere, and be open to everybody: `openapi` has one of ours.
    app = DocumentedFastAPI(
        title="Patchbay",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(authorize)],
        redirect_slashes=False,  # it would lead to wherever the request says that it was sent
    )
    app.state.stop = GracefulStop()
    app.state.access = access.ROUTES
    # The last is the outermost, so a fault of ours is answered with the headers of every answer, too.
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(StopMiddleware, stop=app.state.stop)
    app.add_middleware(ServerErrorMiddleware, handler=errors.respond_to_error)
    if settings.public_url:
        app.add_middleware(PublicUrlMiddleware, url=settings.public_url)
    app.add_middleware(SecurityHeadersMiddleware)
    errors.install_error_handlers(app)
    wire_paths.install_wire_error_handler(app)
    for room in (  # those that are asked most come first, as they are looked through in turn
        *(health, conversations, chat, chat_completions, responses, messages, complete, models, agents),
        *(llm, overrides, budgets, keys, usage, metrics, tokens, pages),
        *(console, changes, token_pages, openapi),
    ):
        app.include_router(room.router)
    return app


@asynccontextmanager
async def _watchers(given: Watchers | None, settings: Settings) -> AsyncIterator[Watchers]:
    """The watchers that were given; else new ones, whose spool is closed at the end."""
    if given is not None:
        yield given
        return
    own = Watchers.of(settings)
    with own.spool:
        yield own


@asynccontextmanager
async def _facade(
    given: LLMFacade | None, watchers: Watchers, counters: SqlBudgetStore
) -> AsyncIterator[LLMFacade]:
    """The facade that was given; else a new one, closed at the end."""
    if given is not None:
        yield given
        return
    own = watchers.facade(Table(environ=read_environment()), budgets=counters)
    try:
        yield own
    finally:
        await own.aclose()


def _agents(
    facade: LLMFacade,
    transacting: TransactionRunner,
    conversations: SqlConversationStore,
    seals: DigestSigner,
) -> AgentRunner:
    """The agents of this application."""
    known = Agents([make_assistant_agent(conversations)])
    gate = ConfirmationGate(SqlConfirmationStore(transacting), known, seals=seals)
    return AgentRunner(known, facade.get_llm, SqlRunStore(transacting), gate)


def _budgets(facade: LLMFacade, sessions: async_sessionmaker[AsyncSession]) -> BudgetManager | None:
    """The budgets that calls count for; None if the facade has a table of its own."""
    if not isinstance(facade, Patchbay):
        return None
    return BudgetManager(facade.budgets, facade.table, partial(commit_audit_event, sessions))


@asynccontextmanager
async def _shipping(
    watchers: Watchers, store: LedgerStore, background: BackgroundTaskRunner
) -> AsyncIterator[None]:
    """Ship the facade's records, and those of processes that have ended."""
    shipper = Shipper(watchers.spool, store)
    figures = LedgerMetrics(watchers.metrics.registry, watchers.spool, shipper)

    async def update() -> None:
        figures.update()

    try:
        async with (
            shipper.run_in_background(background),
            background.run_repeatedly("ledger.figures", update, interval_s=FIGURES_SECONDS),
        ):
            yield
    finally:
        figures.unregister()


async def _overrides(facade: LLMFacade, sessions: async_sessionmaker[AsyncSession]) -> OverrideManager | None:
    """The stored overrides, applied to the table; None if the facade has a table of its own."""
    if not isinstance(facade, Patchbay):
        return None
    overriding = OverrideManager(SqlOverrideStore(sessions), facade.table)
    await overriding.apply_to_table()
    return overriding


@asynccontextmanager
async def _version(settings: Settings) -> AsyncIterator[AccessDataVersion]:
    """The version of tokens and keys, for the cache."""
    version = AccessDataVersion(settings.database_path if settings.database_url is None else None)
    try:
        yield version
    finally:
        version.close()


def _changes(
    settings: Settings,
    removals: KeyRemovalTracker,
    overriding: OverrideManager | None,
    version: AccessDataVersion,
) -> ChangeListener:
    """Listens to other processes' changes of keys, overrides and tokens, which are also polled."""
    url = settings.database_url
    changes = ChangeListener(None if url is None else url.get_secret_value())
    changes.subscribe("tokens", version.bump_async)
    changes.subscribe("keys", version.bump_async)
    changes.subscribe("keys", removals.poll_removals)
    if overriding is not None:
        changes.subscribe("overrides", overriding.apply_to_table)
    return changes


def _warn_of_retirements(facade: LLMFacade) -> None:
    """Log one line about retirements, whatever the number of features; `check` and `/v1/llm/qos` have the details."""
    if (line := make_retirement_headline(facade.get_qos_info().retirements)) is not None:
        log.warning(line)


@asynccontextmanager
async def _looking_after(
    facade: LLMFacade,
    overriding: OverrideManager | None,
    background: BackgroundTaskRunner,
    *,
    may_freeze: bool,
) -> AsyncIterator[None]:
    """Apply a changed table within a second or two, and prepare in the background what the first requests would wait for."""
    if not isinstance(facade, Patchbay) or overriding is None:
        yield
        return
    with _unfrozen_afterwards() if may_freeze else nullcontext():
        async with (
            background.run_repeatedly("table", overriding.apply_to_table, interval_s=WATCH_SECONDS),
            background.run_until_success("warm-up", partial(_warm_up, facade, may_freeze=may_freeze)),
        ):
            yield


@contextmanager
def _unfrozen_afterwards() -> Iterator[None]:
    """Unfreeze at the end, unless somebody wants it frozen, such as a parent that forks its servers."""
    frozen_before = gc.get_freeze_count()
    try:
        yield
    finally:
        if not frozen_before:
            gc.unfreeze()


async def _warm_up(facade: Patchbay, *, may_freeze: bool) -> None:
    """Load what calls need, and exempt it from garbage collection if that may be.

    Else a full collection, at each long transcript, would traverse it: a quarter of a second in which every thread waits.
    """
    await asyncio.to_thread(facade.warm_up)
    if may_freeze:
        gc.collect()
        gc.freeze()


def _link_printer(settings: Settings) -> Callable[[str], None]:
    def print_link(token: str) -> None:
        link = f"http://{settings.host}:{settings.port}/login?token={token}"
        sys.stderr.write(f"First start: log in with this link, which is not shown again.\n  {link}\n")

    return print_link
