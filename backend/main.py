"""The composition root: chooses the implementation of every interface, and builds the FastAPI application."""

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
from backend.agents.as_models import AgentModels
from backend.agents.assistant import assistant
from backend.agents.gate import Gate
from backend.agents.runner import Runner
from backend.background import Background
from backend.budgets import Budgets
from backend.conversations.creation import ConversationCreator
from backend.database.audit import AuditTrail, record_alone
from backend.database.budgets import SqlBudgets, opened_counters
from backend.database.changes import Changes
from backend.database.confirmations import SqlConfirmationStore
from backend.database.conversations import SqlConversationStore
from backend.database.journals import FileJournals
from backend.database.keys import SqlKeyStore, confirmation_seals
from backend.database.ledger import sql_ledger
from backend.database.overrides import SqlOverrideStore
from backend.database.remembered import CachedKeyStore, CachedSessionStore, CachedTokenStore, Version
from backend.database.retention import RetentionDays, applying_retention
from backend.database.runs import SqlRunStore
from backend.database.sessions import SessionStore
from backend.database.storage import cleaned, connected_database, opened_database, probe
from backend.database.tokens import TokenStore
from backend.database.transactions import sessions_on, transactions
from backend.database.usage import SqlUsageStore
from backend.keys.keychain import Keychain
from backend.keys.master_keys import load_master_keys
from backend.keys.removals import Removals
from backend.keys.signing import HeadKeys
from backend.keys.vault import Vault
from backend.ledger.shipper import Shipper
from backend.overrides import Overrides
from backend.recent import RecentAttempts
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
from backend.routers.dependencies import LaunchToken, Services, admit
from backend.routers.headers import SecurityHeadersMiddleware
from backend.routers.openapi import DescribedApp
from backend.routers.origins import PublicUrlMiddleware
from backend.routers.stopping import Stop, StopMiddleware
from backend.settings import Settings, environment
from backend.tools.retirements import headline
from backend.utils.llm import Patchbay, Table
from backend.watchers import LedgerMetrics, Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.agents.seals import Seals
    from backend.database.transactions import Transactions
    from backend.ledger.store import LedgerStore
    from backend.routers.dependencies import Facade, LocalModelView

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
    patchbay: Facade | None = None,
    local_model: LocalModelView | None = None,
    announce: Callable[[str], None] | None = None,
    launch_token: str | None = None,
    watchers: Watchers | None = None,
    may_freeze: bool = True,
) -> FastAPI:
    """The application. It opens nothing before its startup.

    To stop the server, begin ``app.state.stop`` (`Stop`) first, so that long requests end with an error.

    Args:
        settings: The settings; by default from the environment.
        patchbay: The LLM clients, which the caller closes; by default a `Patchbay` on the default table, closed at shutdown.
        local_model: The built-in model, to show its state. The caller starts and stops it.
        announce: Called once with the first access token, which is never shown again.
            By default it goes to standard error, as a login link.
        watchers: The watchers of the given ``patchbay``. Without them, nothing is counted or recorded, refused users' keys
            included.
        launch_token: A further token of the first user, valid until the application stops.
        may_freeze: Whether the warm-up exempts what the process then holds from garbage collection, until the application
            stops. False where the process does more than serve.

    Raises:
        MasterKeyError: A configured master key is invalid.
        UnusableDatabaseError: At startup: the database, or the folder of journals, cannot be created or read.
    """
    settings = settings or Settings()
    print_token = announce or _link_printer(settings)
    master_keys = load_master_keys(settings.master_keys, settings.master_keys_path)
    vault = Vault(master_keys)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        background = Background()
        async with (
            _watchers(watchers, settings) as told,
            opened_database(settings) as engine,
            connected_database(
                settings
            ) as apart,  # of its own, so that removals are seen also while all others are busy
        ):
            sessions, transacting = sessions_on(engine), transactions(engine)
            given = TokenStore(sessions)
            async with (
                _version(settings) as version,
                opened_counters(settings.database_path, settings.database_url, background) as counters,
                _facade(patchbay, told, counters) as facade,
            ):
                _warn_of_retirements(facade)
                kept, stored = (
                    CachedKeyStore(sessions, version),
                    SqlConversationStore(sessions, transacting),
                )
                remembered = CachedTokenStore(given, version)
                overriding = await _overrides(facade, sessions)
                trail, head_keys = AuditTrail(sessions), HeadKeys(master_keys)
                seals = await confirmation_seals(sessions, master_keys)
                running = _agents(facade, transacting, stored, seals)
                creation = ConversationCreator(stored, FileJournals(settings.journals_path))
                removals = Removals(SqlKeyStore(sessions_on(apart)))
                known = LaunchToken(launch_token, FIRST_USER, remembered) if launch_token else remembered
                app.state.services = Services(
                    conversations=stored,
                    creation=creation,
                    tokens=known,
                    sessions=CachedSessionStore(SessionStore(sessions), version),
                    facade=facade,
                    keychain=Keychain(kept, vault, removals=removals),
                    database=probe(settings, apart),
                    local_model=local_model,
                    background=background,
                    metrics=told.metrics,
                    overrides=overriding,
                    usage=SqlUsageStore(engine),
                    budgets=_budgets(facade, sessions),
                    agents=running,
                    recent=told.recent or RecentAttempts(),
                    spool=told.spool,
                    responder_sources=(AgentModels(running),),
                    given_tokens=remembered,
                    has_own_weights=settings.local_llm_gguf is not None,
                )
                prune = partial(asyncio.to_thread, told.prune_texts)
                if (first := await given.create_first(FIRST_USER)) is not None:
                    print_token(first)
                changes = _changes(settings, removals, overriding, version)
                async with AsyncExitStack() as stack:
                    for duty in (
                        removals.polling(background),
                        changes.heard(background),
                        told.keys.writing(kept, background),
                        cleaned(settings, background),
                        applying_retention(
                            engine, RetentionDays(settings.ledger_days, settings.usage_days), background
                        ),
                        background.repeating(
                            "conversations.unstored", creation.store_abandoned, every=STORE_SECONDS
                        ),
                        background.repeating("agents", running.sweep, every=AGENTS_SECONDS),
                        background.once("texts", prune),
                        background.repeating("texts.old", prune, every=TEXTS_SECONDS),
                        trail.signing(head_keys, background, every=SIGN_SECONDS),
                        _looking_after(facade, overriding, background, may_freeze=may_freeze),
                        _shipping(told, sql_ledger(engine), background),
                    ):
                        await stack.enter_async_context(duty)
                    yield
                    await asyncio.gather(
                        creation.drain(DRAIN_SECONDS, app.state.stop.hurry), running.gate.drain(DRAIN_SECONDS)
                    )

    # FastAPI's own pages would load their scripts from elsewhere, and be open to everybody: `openapi` has one of ours.
    app = DescribedApp(
        title="Patchbay",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(admit)],
        redirect_slashes=False,  # it would lead to wherever the request says that it was sent
    )
    app.state.stop = Stop()
    app.state.access = access.ROUTES
    # The last is the outermost, so a fault of ours is answered with the headers of every answer, too.
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(StopMiddleware, stop=app.state.stop)
    app.add_middleware(ServerErrorMiddleware, handler=errors.answer)
    if settings.public_url:
        app.add_middleware(PublicUrlMiddleware, url=settings.public_url)
    app.add_middleware(SecurityHeadersMiddleware)
    errors.install(app)
    wire_paths.install(app)
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
async def _facade(given: Facade | None, watchers: Watchers, counters: SqlBudgets) -> AsyncIterator[Facade]:
    """The facade that was given; else a new one, closed at the end."""
    if given is not None:
        yield given
        return
    own = watchers.facade(Table(environ=environment()), budgets=counters)
    try:
        yield own
    finally:
        await own.aclose()


def _agents(
    facade: Facade, transacting: Transactions, conversations: SqlConversationStore, seals: Seals
) -> Runner:
    """The agents of this application."""
    known = Agents([assistant(conversations)])
    gate = Gate(SqlConfirmationStore(transacting), known, seals=seals)
    return Runner(known, facade.get_llm, SqlRunStore(transacting), gate)


def _budgets(facade: Facade, sessions: async_sessionmaker[AsyncSession]) -> Budgets | None:
    """The budgets that calls count for; None if the facade has a table of its own."""
    if not isinstance(facade, Patchbay):
        return None
    return Budgets(facade.budgets, facade.table, partial(record_alone, sessions))


@asynccontextmanager
async def _shipping(watchers: Watchers, store: LedgerStore, background: Background) -> AsyncIterator[None]:
    """Ship the facade's records, and those of processes that have ended."""
    shipper = Shipper(watchers.spool, store)
    figures = LedgerMetrics(watchers.metrics.registry, watchers.spool, shipper)

    async def update() -> None:
        figures.update()

    try:
        async with (
            shipper.shipping(background),
            background.repeating("ledger.figures", update, every=FIGURES_SECONDS),
        ):
            yield
    finally:
        figures.withdraw()


async def _overrides(facade: Facade, sessions: async_sessionmaker[AsyncSession]) -> Overrides | None:
    """The stored overrides, applied to the table; None if the facade has a table of its own."""
    if not isinstance(facade, Patchbay):
        return None
    overriding = Overrides(SqlOverrideStore(sessions), facade.table)
    await overriding.put_in_force()
    return overriding


@asynccontextmanager
async def _version(settings: Settings) -> AsyncIterator[Version]:
    """The version of tokens and keys, for the cache."""
    version = Version(settings.database_path if settings.database_url is None else None)
    try:
        yield version
    finally:
        version.close()


def _changes(
    settings: Settings, removals: Removals, overriding: Overrides | None, version: Version
) -> Changes:
    """Listens to other processes' changes of keys, overrides and tokens, which are also polled."""
    url = settings.database_url
    changes = Changes(None if url is None else url.get_secret_value())
    changes.on("tokens", version.look)
    changes.on("keys", version.look)
    changes.on("keys", removals.level_up)
    if overriding is not None:
        changes.on("overrides", overriding.put_in_force)
    return changes


def _warn_of_retirements(facade: Facade) -> None:
    """Log one line about retirements, whatever the number of features; `check` and `/v1/llm/qos` have the details."""
    if (line := headline(facade.get_qos_info().retirements)) is not None:
        log.warning(line)


@asynccontextmanager
async def _looking_after(
    facade: Facade, overriding: Overrides | None, background: Background, *, may_freeze: bool
) -> AsyncIterator[None]:
    """Apply a changed table within a second or two, and prepare in the background what the first requests would wait for."""
    if not isinstance(facade, Patchbay) or overriding is None:
        yield
        return
    with _unfrozen_afterwards() if may_freeze else nullcontext():
        async with (
            background.repeating("table", overriding.put_in_force, every=WATCH_SECONDS),
            background.once("warm-up", partial(_warm_up, facade, may_freeze=may_freeze)),
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
