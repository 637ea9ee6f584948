"""The console's views for people on call: each is an HTML page, and JSON for clients that accept only that. None calls a provider."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from backend.access import Owner
from backend.agents.runner import Runner
from backend.console.views.agents import RunInState as ToldRun
from backend.console.views.agents import agents_view
from backend.console.views.config import PAST, config_view
from backend.console.views.conversations import conversations_view
from backend.console.views.explain import Question, explain_view
from backend.console.views.features import DAYS, FeatureFilter, features_view
from backend.console.views.models import models_view
from backend.console.views.now import now_view
from backend.console.views.playground import playground_view
from backend.console.views.requests import PAGE, request_view, requests_view
from backend.console.views.signs import LocalModel, Process
from backend.console.views.spend import ROWS, By, SpendSums, spend_view
from backend.ledger.store import StoreAwayError
from backend.ledger.usage import CrossSums, Dimension, GroupSums, Period, UsageStore
from backend.utils.llm.budgets import Balance
from backend.utils.llm.caller import Caller
from backend.utils.llm.errors import BudgetUnavailableError, LLMError

from .dependencies import GrantDep, OwnerDep, Services, ServicesDep
from .origins import base_url
from .questions import ExplainQuery, FeaturesQuery, RequestsQuery, SpendQuery
from .rendering import PRIVATE, Page, is_on_call, rendered

RECENT: Final = 20
"""How many conversations the page shows."""
PENDING: Final = 50
RUNS: Final = 20
"""How many of the user's runs the page shows."""
MONTH: Final = 30
_CROSSED: Final = frozenset({"feature", "model", "owner"})
"""What is summed together with the day."""


router: Final = APIRouter(route_class=Page, default_response_class=Response, include_in_schema=False)


@router.get("/")
async def now(request: Request, grant: GrantDep, services: ServicesDep) -> Response:
    """Is it us or them? Users who do not run the service are redirected to their own page."""
    if not is_on_call(grant):
        return RedirectResponse("/conversations", status_code=303, headers=PRIVATE)
    at = datetime.now(UTC)
    (hours, database), balances, qos = await asyncio.gather(
        _hours(services, at), _balances(services), services.qos_info()
    )
    process = _process(services, database)
    view = await asyncio.to_thread(now_view, qos, services.recent, process, hours, balances, at)
    return await rendered(request, "now", view, user=grant.user_id)


@router.get("/features")
async def features(
    asked: Annotated[FeaturesQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """What each feature runs on, and how it does."""
    at = datetime.now(UTC)
    period = Period.last(DAYS, at.date())
    days = await _crossed(services, ["feature", "day"], period)
    qos = await services.qos_info()
    wanted = FeatureFilter(asked.text.strip(), asked.only, asked.page)
    view = await asyncio.to_thread(features_view, qos, services.recent, days, period, wanted, at)
    return await rendered(request, "features", view, user=admin.user_id)


@router.get("/explain")
async def explain(
    asked: Annotated[ExplainQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """How a call would be routed now, and why. Nothing is sent."""
    question, qos = asked.question, await services.qos_info()
    answer = await asyncio.to_thread(_explained, services, question) if question.feature else None
    view = explain_view(
        question,
        answer,
        features=sorted(qos.features),
        providers=sorted(name for name, one in qos.providers.items() if one.access == "key"),
        base_url=base_url(request),
    )
    return await rendered(request, "explain", view, user=admin.user_id)


@router.get("/requests")
async def requests(
    asked: Annotated[RequestsQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """The last calls that match the filter."""
    if asked.call is not None:
        return RedirectResponse(f"/requests/{quote(asked.call, safe='')}", status_code=303, headers=PRIVATE)
    store = _ledger(services)
    found = await store.search(asked.only, limit=PAGE, before=asked.before)
    qos = await services.qos_info()
    models = sorted({endpoint for info in qos.features.values() for endpoint in info.chain})
    view = requests_view(
        found, asked.only, asked.before, datetime.now(UTC), features=sorted(qos.features), models=models
    )
    return await rendered(request, "requests", view, user=admin.user_id)


@router.get("/requests/{call}")
async def one_request(call: str, request: Request, admin: GrantDep, services: ServicesDep) -> Response:
    """One call with its attempts."""
    found = await _ledger(services).request(call)
    if found is None:
        raise HTTPException(404, "No call has this id. A call is here some moments after it ended.")
    qos = await services.qos_info()
    return await rendered(request, "request", request_view(found, qos.table_hash), user=admin.user_id)


@router.get("/spend")
async def spend(
    asked: Annotated[SpendQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """What calls cost, and the balances of budgets."""
    today = datetime.now(UTC).date()
    period = Period.last(int(asked.days), today)
    told, balances = await asyncio.gather(_told(services, asked.by, period), _balances(services))
    view = await asyncio.to_thread(spend_view, asked.by, period, told, balances)
    return await rendered(request, "spend", view, user=admin.user_id, days=int(asked.days))


@router.get("/config")
async def config(request: Request, admin: GrantDep, services: ServicesDep) -> Response:
    """The table in force, in each process, and people's changes of it."""
    workers = await services.usage.workers() if services.usage else ()
    kept = await services.overrides.all(PAST) if services.overrides else None
    view = config_view(await services.qos_info(), workers, kept, datetime.now(UTC))
    return await rendered(request, "config", view, user=admin.user_id)


@router.get("/models")
async def models(request: Request, admin: GrantDep, services: ServicesDep) -> Response:
    """The models: when each goes off sale, what it can do, and what it costs."""
    today = datetime.now(UTC).date()
    used = await _used(services, "model", Period.last(MONTH, today))
    qos, known = await services.qos_info(), await asyncio.to_thread(services.facade.get_models)
    view = models_view(known, qos.retirements, used, today)
    return await rendered(request, "models", view, user=admin.user_id)


@router.get("/conversations")
async def conversations(request: Request, owner: OwnerDep, services: ServicesDep) -> Response:
    """The user's last conversations."""
    recent = await services.conversations.page(owner, limit=RECENT)
    view = conversations_view(recent, base_url=base_url(request))
    return await rendered(request, "conversations", view, user=owner.user_id)


@router.get("/agents")
async def agents(
    request: Request,
    owner: OwnerDep,
    services: ServicesDep,
    whole: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """The user's pending confirmations and last runs; the confirmation ``whole`` is shown in full."""
    runner, mine = services.agents, Owner(owner.user_id, owner.tenant_id)
    pending = await runner.gate.pending(mine, PENDING) if runner else ()
    runs = await _runs(runner, mine) if runner else ()
    known = list(runner.agents) if runner else None
    view = agents_view(known, pending, runs, datetime.now(UTC), whole)
    return await rendered(request, "agents", view, user=owner.user_id)


@router.get("/playground")
async def playground(request: Request, owner: OwnerDep, services: ServicesDep) -> Response:
    """A chat with a feature, to try it."""
    view = playground_view(await services.qos_info(), base_url=base_url(request))
    return await rendered(request, "playground", view, user=owner.user_id)


async def _runs(runner: Runner, owner: Owner) -> Sequence[ToldRun]:
    return [
        ToldRun(run, await runner.shown_state(run), (await runner.progress(run)).spent)
        for run in await runner.recent(owner, RUNS)
    ]


def _explained(services: Services, question: Question) -> dict[str, Any] | str:
    given = {
        "tools": question.tools,
        "structured_output": question.structured,
        "images": question.images,
        "audio": question.audio,
        "video": question.video,
        "pdf": question.pdf,
        "tokens": question.tokens,
    }
    said: dict[str, Any] = {name: value for name, value in given.items() if value}
    caller = Caller(
        user_id=question.user,
        tenant_id=question.tenant,
        tier=question.tier,
        keys=dict.fromkeys(question.byok, "a-key"),
    )
    try:
        needs = services.facade.declared_needs(question.feature)._replace(**said)
        return services.facade.explain(question.feature, caller=caller, needs=needs).as_dict()
    except LLMError as error:
        return str(error)


def _process(services: Services, database: str | None) -> Process:
    model, spool = services.local_model, services.spool
    figures = spool and spool.figures
    return Process(
        database=database,
        failing=services.background.failing,
        ledger_fault=figures.fault if figures else None,
        lost=figures.lost if figures else 0,
        local_model=LocalModel(model.label, model.state, model.reason) if model else None,
    )


async def _hours(services: Services, at: datetime) -> tuple[Sequence[CrossSums] | None, str | None]:
    """The sums of the last days by endpoint and hour; or why they cannot be read, because this page is needed in such times, too."""
    if services.usage is None:
        return None, None
    period = Period((at - timedelta(days=1)).date(), at.date())
    try:
        return await services.usage.crossed(["model", "hour"], period), None
    except StoreAwayError:
        return None, await services.database.fault() or "storage_unavailable"


async def _balances(services: Services) -> Sequence[Balance]:
    """The counters of budgets; none if they cannot be read."""
    try:
        return await services.budgets.all() if services.budgets else ()
    except BudgetUnavailableError:
        return ()


async def _told(services: Services, by: By, period: Period) -> SpendSums:
    store = _ledger(services)
    before = Period.last((period.until - period.since).days + 1, period.since - timedelta(days=1))
    month = Period(min(period.until.replace(day=1), period.until - timedelta(days=7)), period.until)
    earlier, by_day = await asyncio.gather(store.total(before), store.used("day", month))
    if by in _CROSSED:
        return SpendSums.of(await store.crossed([by, "day"], period), earlier, by_day)
    used, total = await asyncio.gather(store.used(by, period, limit=ROWS + 1), store.total(period))
    return SpendSums(used=used, days=(), total=total, before=earlier, by_day=by_day)


async def _used(services: Services, by: Dimension, period: Period) -> Sequence[GroupSums]:
    return await services.usage.used(by, period) if services.usage else ()


async def _crossed(services: Services, by: Sequence[Dimension], period: Period) -> Sequence[CrossSums]:
    return await services.usage.crossed(by, period) if services.usage else ()


def _ledger(services: Services) -> UsageStore:
    if services.usage is None:
        raise HTTPException(404, "This service keeps no ledger.")
    return services.usage
