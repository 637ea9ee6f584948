"""The pages of the console.

Clients that accept only JSON get the same data as JSON. No page calls a provider.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from backend.access import DataOwner
from backend.agents.runner import AgentRunner
from backend.console.views.agents import RunWithState as ToldRun
from backend.console.views.agents import make_agents_view
from backend.console.views.config import PAST, make_config_view
from backend.console.views.conversations import make_conversations_view
from backend.console.views.explain import ExplainQuestion, make_explain_view
from backend.console.views.features import DAYS, FeatureFilter, make_features_view
from backend.console.views.models import make_models_view
from backend.console.views.now import make_now_view
from backend.console.views.playground import make_playground_view
from backend.console.views.requests import PAGE, make_request_view, make_requests_view
from backend.console.views.signs import LocalModelStatus, ProcessFaults
from backend.console.views.spend import ROWS, By, SpendSums, make_spend_view
from backend.ledger.store import StoreUnreachableError
from backend.ledger.usage import CombinationSums, Dimension, GroupSums, UsagePeriod, UsageStore
from backend.utils.llm.budgets import BudgetBalance
from backend.utils.llm.caller import Caller
from backend.utils.llm.errors import BudgetUnavailableError, LLMError

from .dependencies import GrantDep, OwnerDep, Services, ServicesDep
from .origins import service_base_url
from .questions import ExplainPageQuery, FeaturesPageQuery, RequestsPageQuery, SpendPageQuery
from .rendering import PRIVATE, PageRoute, can_see_whole_service, render_page_or_json

RECENT: Final = 20
"""How many conversations the page shows."""
PENDING: Final = 50
RUNS: Final = 20
"""How many of the user's runs the page shows."""
MONTH: Final = 30
_CROSSED: Final = frozenset({"feature", "model", "owner"})
"""What is summed together with the day."""


router: Final = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)


@router.get("/")
async def show_status_page(request: Request, grant: GrantDep, services: ServicesDep) -> Response:
    """Show whether the service works, and whether a problem lies with providers or with the service itself.

    Users who may not see the whole service are redirected to their own conversations.
    """
    if not can_see_whole_service(grant):
        return RedirectResponse("/conversations", status_code=303, headers=PRIVATE)
    at = datetime.now(UTC)
    (hours, database), balances, qos = await asyncio.gather(
        _hours(services, at), _balances(services), services.compute_qos_info()
    )
    process = _process(services, database)
    view = await asyncio.to_thread(make_now_view, qos, services.recent, process, hours, balances, at)
    return await render_page_or_json(request, "now", view, user=grant.user_id)


@router.get("/features")
async def show_features_page(
    query: Annotated[FeaturesPageQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """Show which endpoint serves each feature, and each feature's recent statistics."""
    at = datetime.now(UTC)
    period = UsagePeriod.last_days(DAYS, at.date())
    days = await _crossed(services, ["feature", "day"], period)
    qos = await services.compute_qos_info()
    wanted = FeatureFilter(query.text.strip(), query.only, query.page)
    view = await asyncio.to_thread(make_features_view, qos, services.recent, days, period, wanted, at)
    return await render_page_or_json(request, "features", view, user=admin.user_id)


@router.get("/explain")
async def show_explain_page(
    query: Annotated[ExplainPageQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """Show which endpoint would serve a call now, and why. Nothing is sent to a provider."""
    question, qos = query.explain_question, await services.compute_qos_info()
    answer = await asyncio.to_thread(_explained, services, question) if question.feature else None
    view = make_explain_view(
        question,
        answer,
        features=sorted(qos.features),
        providers=sorted(name for name, provider in qos.providers.items() if provider.access == "key"),
        base_url=service_base_url(request),
    )
    return await render_page_or_json(request, "explain", view, user=admin.user_id)


@router.get("/requests")
async def show_requests_page(
    query: Annotated[RequestsPageQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """Show the latest calls that match the filter."""
    if query.call is not None:
        return RedirectResponse(f"/requests/{quote(query.call, safe='')}", status_code=303, headers=PRIVATE)
    store = _ledger(services)
    found = await store.search_requests(query.usage_filter, limit=PAGE, before=query.before)
    qos = await services.compute_qos_info()
    models = sorted({endpoint for info in qos.features.values() for endpoint in info.chain})
    view = make_requests_view(
        found,
        query.usage_filter,
        query.before,
        datetime.now(UTC),
        features=sorted(qos.features),
        models=models,
    )
    return await render_page_or_json(request, "requests", view, user=admin.user_id)


@router.get("/requests/{call}")
async def show_request_page(call: str, request: Request, admin: GrantDep, services: ServicesDep) -> Response:
    """Show one call with all of its attempts."""
    found = await _ledger(services).find_request(call)
    if found is None:
        raise HTTPException(404, "No call has this id. A call is here some moments after it ended.")
    qos = await services.compute_qos_info()
    return await render_page_or_json(
        request, "request", make_request_view(found, qos.table_hash), user=admin.user_id
    )


@router.get("/spend")
async def show_spend_page(
    query: Annotated[SpendPageQuery, Query()], request: Request, admin: GrantDep, services: ServicesDep
) -> Response:
    """Show what calls cost, and the balances of budgets."""
    today = datetime.now(UTC).date()
    period = UsagePeriod.last_days(int(query.days), today)
    sums, balances = await asyncio.gather(_spend_sums(services, query.by, period), _balances(services))
    view = await asyncio.to_thread(make_spend_view, query.by, period, sums, balances)
    return await render_page_or_json(request, "spend", view, user=admin.user_id, days=int(query.days))


@router.get("/config")
async def show_config_page(request: Request, admin: GrantDep, services: ServicesDep) -> Response:
    """Show the feature table in force, which version of it each process uses, and its overrides."""
    workers = await services.usage.list_recent_workers() if services.usage else ()
    kept = await services.overrides.list_recent_overrides(PAST) if services.overrides else None
    view = make_config_view(await services.compute_qos_info(), workers, kept, datetime.now(UTC))
    return await render_page_or_json(request, "config", view, user=admin.user_id)


@router.get("/models")
async def show_models_page(request: Request, admin: GrantDep, services: ServicesDep) -> Response:
    """Show when each model is retired, what it can do, and what it costs."""
    today = datetime.now(UTC).date()
    used = await _used(services, "model", UsagePeriod.last_days(MONTH, today))
    qos, known = await services.compute_qos_info(), await asyncio.to_thread(services.facade.get_models)
    view = make_models_view(known, qos.retirements, used, today)
    return await render_page_or_json(request, "models", view, user=admin.user_id)


@router.get("/conversations")
async def show_conversations_page(request: Request, owner: OwnerDep, services: ServicesDep) -> Response:
    """Show the user's latest conversations."""
    recent = await services.conversations.list_page(owner, limit=RECENT)
    view = make_conversations_view(recent, base_url=service_base_url(request))
    return await render_page_or_json(request, "conversations", view, user=owner.user_id)


@router.get("/agents")
async def show_agents_page(
    request: Request,
    owner: OwnerDep,
    services: ServicesDep,
    whole: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Show the user's pending confirmations and latest agent runs.

    The confirmation with the id ``whole`` is shown in full.
    """
    runner, mine = services.agents, DataOwner(owner.user_id, owner.tenant_id)
    pending = await runner.gate.list_pending_confirmations(mine, PENDING) if runner else ()
    runs = await _runs(runner, mine) if runner else ()
    known = list(runner.agents) if runner else None
    view = make_agents_view(known, pending, runs, datetime.now(UTC), whole)
    return await render_page_or_json(request, "agents", view, user=owner.user_id)


@router.get("/playground")
async def show_playground_page(request: Request, owner: OwnerDep, services: ServicesDep) -> Response:
    """Show a chat in which the user can try a feature."""
    view = make_playground_view(await services.compute_qos_info(), base_url=service_base_url(request))
    return await render_page_or_json(request, "playground", view, user=owner.user_id)


async def _runs(runner: AgentRunner, owner: DataOwner) -> Sequence[ToldRun]:
    return [
        ToldRun(run, await runner.current_state(run), (await runner.load_progress(run)).spent)
        for run in await runner.list_recent_runs(owner, RUNS)
    ]


def _explained(services: Services, question: ExplainQuestion) -> dict[str, Any] | str:
    given = {
        "tools": question.tools,
        "structured_output": question.structured,
        "images": question.images,
        "audio": question.audio,
        "video": question.video,
        "pdf": question.pdf,
        "tokens": question.tokens,
    }
    stated_needs: dict[str, Any] = {name: value for name, value in given.items() if value}
    caller = Caller(
        user_id=question.user,
        tenant_id=question.tenant,
        tier=question.tier,
        keys=dict.fromkeys(question.byok, "a-key"),
    )
    try:
        needs = services.facade.declared_needs(question.feature)._replace(**stated_needs)
        return services.facade.explain(question.feature, caller=caller, needs=needs).as_dict()
    except LLMError as error:
        return str(error)


def _process(services: Services, database: str | None) -> ProcessFaults:
    model, spool = services.local_model, services.spool
    figures = spool and spool.stats
    return ProcessFaults(
        database=database,
        failing=services.background.failing_tasks,
        ledger_fault=figures.fault if figures else None,
        lost=figures.lost if figures else 0,
        local_model=LocalModelStatus(model.label, model.state, model.reason) if model else None,
    )


async def _hours(services: Services, at: datetime) -> tuple[Sequence[CombinationSums] | None, str | None]:
    """The sums of the last days by endpoint and hour; or why they cannot be read, because this page is needed in such times, too."""
    if services.usage is None:
        return None, None
    period = UsagePeriod((at - timedelta(days=1)).date(), at.date())
    try:
        return await services.usage.sum_by_combination(["model", "hour"], period), None
    except StoreUnreachableError:
        return None, await services.database.find_fault() or "storage_unavailable"


async def _balances(services: Services) -> Sequence[BudgetBalance]:
    """The counters of budgets; none if they cannot be read."""
    try:
        return await services.budgets.list_balances() if services.budgets else ()
    except BudgetUnavailableError:
        return ()


async def _spend_sums(services: Services, by: By, period: UsagePeriod) -> SpendSums:
    store = _ledger(services)
    before = UsagePeriod.last_days((period.until - period.since).days + 1, period.since - timedelta(days=1))
    month = UsagePeriod(min(period.until.replace(day=1), period.until - timedelta(days=7)), period.until)
    earlier, by_day = await asyncio.gather(store.sum_total(before), store.sum_by_dimension("day", month))
    if by in _CROSSED:
        return SpendSums.from_days(await store.sum_by_combination([by, "day"], period), earlier, by_day)
    used, total = await asyncio.gather(
        store.sum_by_dimension(by, period, limit=ROWS + 1), store.sum_total(period)
    )
    return SpendSums(used=used, days=(), total=total, before=earlier, by_day=by_day)


async def _used(services: Services, by: Dimension, period: UsagePeriod) -> Sequence[GroupSums]:
    return await services.usage.sum_by_dimension(by, period) if services.usage else ()


async def _crossed(
    services: Services, by: Sequence[Dimension], period: UsagePeriod
) -> Sequence[CombinationSums]:
    return await services.usage.sum_by_combination(by, period) if services.usage else ()


def _ledger(services: Services) -> UsageStore:
    if services.usage is None:
        raise HTTPException(404, "This service keeps no ledger.")
    return services.usage
