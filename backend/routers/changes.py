"""Changes that users make on pages of the console, sent as HTML forms.

They do the same as the JSON routes below `/v1`.
"""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from backend.access import DataOwner
from backend.agents.gate import LONGEST_REASON, ApprovalDecision
from backend.agents.runner import AgentRunner

from .agents import get_agent_runner, get_run_owner
from .dependencies import GrantDep, IdentityDep, ServicesDep
from .forms import FormDep
from .json_model import InvalidBodyError
from .overrides import NewOverride, get_override_manager
from .rendering import PRIVATE, PageRoute

router: Final = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)


@router.post("/config/overrides")
async def store_override_from_form(form: FormDep, admin: GrantDep, services: ServicesDep) -> Response:
    """Store the override that a form describes, and redirect to the page of the feature table."""
    overrides = get_override_manager(services)
    await overrides.store_override(_wanted(form).to_override_request(admin.user_id))
    await overrides.apply_to_table()
    return _back()


@router.post("/config/overrides/{override_id}/revert")
async def revert_override_from_form(
    override_id: str, _: FormDep, admin: GrantDep, services: ServicesDep
) -> Response:
    """End an override, and redirect to the page of the feature table."""
    overrides = get_override_manager(services)
    await overrides.revert_override(override_id, admin.user_id)
    await overrides.apply_to_table()
    return _back()


@router.post("/agents/confirmations/{confirmation_id}")
async def decide_confirmation_from_form(
    confirmation_id: str, form: FormDep, identity: IdentityDep, services: ServicesDep
) -> Response:
    """Approve or reject a pending confirmation, as a form says, and redirect to the page of agents.

    The response comes when the agent's run has ended or needs another confirmation.
    """
    runner, owner = get_agent_runner(services), get_run_owner(identity)
    if form.get("decision") == "approve":
        again = await _is_again(runner, owner, confirmation_id, form)
        events = runner.approve(ApprovalDecision(owner, confirmation_id, form.get("digest", ""), again))
    else:
        events = runner.reject(owner, confirmation_id, form.get("reason", "")[:LONGEST_REASON])
    async with aclosing(events):
        async for _ in events:
            pass
    return RedirectResponse("/agents", status_code=303, headers=PRIVATE)


async def _is_again(
    runner: AgentRunner, owner: DataOwner, confirmation_id: str, form: Mapping[str, str]
) -> bool:
    """Whether the person saw that the call may have been executed before, at this very time, and confirms to repeat it."""
    if "again" not in form:
        return False
    return form["again"] == str((await runner.gate.get_confirmation(owner, confirmation_id)).leased_until)


def _wanted(form: Mapping[str, str]) -> NewOverride:
    """The override that the form's fields ask for.

    Raises:
        InvalidBodyError: A field is invalid.
    """
    links = tuple(filter(None, (link.strip() for link in form.get("links", "").split(","))))
    try:
        until = datetime.now(UTC) + timedelta(hours=int(form.get("hours", "")))
    except (ValueError, OverflowError):
        raise InvalidBodyError([{"type": "hours", "loc": ("hours",), "msg": "must be a number"}]) from None
    try:
        return NewOverride(
            feature=form.get("feature", "").strip(), links=links, reason=form.get("reason", ""), until=until
        )
    except ValidationError as error:
        raise InvalidBodyError(error.errors(include_input=False, include_url=False)) from None


def _back() -> Response:
    return RedirectResponse("/config#overrides", status_code=303, headers=PRIVATE)
