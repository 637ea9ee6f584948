"""The content of the pages, as frozen values: everything is decided here, so that templates only lay out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from backend.conversations.categories import SYSTEM_FOLDERS
from backend.conversations.outcome import EXTRACT
from backend.conversations.store import Page, Summary
from backend.conversations.text import one_line
from backend.local_model import State
from backend.utils.llm.diagnostics.health import HealthInfo
from backend.utils.llm.diagnostics.qos import FeatureInfo, QosInfo
from backend.utils.llm.receipt import called

from .dependencies import LocalModelView

_FOLDER_NAMES: Final = {folder["id"]: folder["name"] for folder in SYSTEM_FOLDERS}
_DEMO: Final = "the built-in demo model"
_EXAMPLE: Final = {
    "time_zone": "Europe/Vienna",
    "started_at": "2026-11-21T09:00:00+01:00",
    "segments": [{"speaker": "Ann", "text": "I will send you the contract by Friday.", "start": 0, "end": 3}],
}


@dataclass(frozen=True, slots=True)
class KeyView:
    """A provider whose key is missing. ``variable`` is where the key goes, if the table in force tells."""

    provider: str
    host: str
    variable: str | None


@dataclass(frozen=True, slots=True)
class DemoView:
    """The demo model serves every feature, and each of ``keys`` would end that."""

    label: str
    keys: tuple[KeyView, ...]


@dataclass(frozen=True, slots=True)
class ModelView:
    """The state of the local model."""

    label: str
    state: State
    reason: str | None


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A line of the table in force. ``chain`` is everything that is tried, in order."""

    name: str
    about: str
    endpoint: str | None
    chain: tuple[str, ...]
    profile: str
    layer: str
    problem: str | None
    instead_of: str | None


@dataclass(frozen=True, slots=True)
class RestingView:
    """An endpoint or a key that is left alone. Times are readable and, for programs, in ISO 8601."""

    name: str
    owner: str
    state: str
    reason: str
    since: tuple[str, str]
    until: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """One answered call. Tokens and time are those of all its attempts; what is unknown is None."""

    feature: str
    endpoint: str
    served_model: str | None
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation in the list.

    Attributes:
        tasks: Owner, if there is one, and what they took on.
        cut: The parts that no model made.
        errors: Feature and code of what went wrong.
    """

    title: str
    overview: str | None
    category: str | None
    tasks: tuple[tuple[str | None, str], ...]
    cut: tuple[str, ...]
    folder: str | None
    status: str
    when: str
    timestamp: str
    errors: tuple[tuple[str, str], ...]
    receipts: tuple[ReceiptView, ...]


@dataclass(frozen=True, slots=True)
class StartView:
    """The start page."""

    demo: DemoView | None
    local_model: ModelView | None
    problems: tuple[str, ...]
    profile: str
    health: tuple[RestingView, ...]
    features: tuple[FeatureView, ...]
    conversations: tuple[ConversationView, ...]
    more: bool
    curl: str


def start_view(qos: QosInfo, local_model: LocalModelView | None, recent: Page, *, base_url: str) -> StartView:
    """The start page of a process that is asked at ``base_url``, without a slash at its end."""
    return StartView(
        demo=_demo(qos, local_model) if qos.demo_active else None,
        local_model=_model(local_model) if local_model else None,
        problems=qos.problems,
        profile=qos.profile,
        health=tuple(map(_resting, qos.health)),
        features=tuple(_feature(name, info) for name, info in qos.features.items()),
        conversations=tuple(_conversation(summary) for summary in recent.items),
        more=recent.next_cursor is not None,
        curl=_curl(base_url),
    )


def _demo(qos: QosInfo, local_model: LocalModelView | None) -> DemoView:
    missing = (
        KeyView(name, provider.host, ", ".join(provider.api_key_envs) or None)
        for name, provider in qos.providers.items()
        if provider.house_key == "absent"
    )
    return DemoView(local_model.label if local_model else _DEMO, tuple(missing))


def _model(local_model: LocalModelView) -> ModelView:
    return ModelView(local_model.label, local_model.state, local_model.reason)


def _feature(name: str, info: FeatureInfo) -> FeatureView:
    first_choice = info.preferred if info.degraded else None
    return FeatureView(
        name, info.about, info.endpoint, info.chain, info.profile, info.layer, info.problem, first_choice
    )


def _resting(info: HealthInfo) -> RestingView:
    users = "a user" if info.keys == 1 else f"{info.keys} users"
    return RestingView(
        name=called(info.endpoint, info.account),
        owner="the house" if info.key_owner == "house" else users,
        state=info.state,
        reason=info.reason,
        since=_time(info.since),
        until=None if info.until is None else _time(info.until),
    )


def _time(moment: datetime) -> tuple[str, str]:
    return f"{moment.astimezone(UTC):%d %b, %H:%M:%S} UTC", moment.isoformat()


def _conversation(summary: Summary) -> ConversationView:
    return ConversationView(
        title=one_line(summary.title or "") or "Untitled",
        overview=summary.overview and one_line(summary.overview),
        category=summary.category,
        tasks=tuple((item.owner, item.description) for item in summary.action_items),
        cut=tuple(part.replace("_", " ") for part, by in summary.made_by.items() if by == EXTRACT),
        folder=_folder(summary),
        status=summary.status,
        when=_readable(summary.created_at),
        timestamp=summary.created_at.isoformat(),
        errors=tuple(summary.errors.items()),
        receipts=tuple(_receipt(feature, receipt) for feature, receipt in summary.receipts.items()),
    )


def _folder(summary: Summary) -> str | None:
    folder_id = summary.folder.folder_id if summary.folder else None
    return folder_id and _FOLDER_NAMES.get(folder_id, folder_id)


def _readable(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%d %b %Y, %H:%M} UTC"


def _receipt(feature: str, receipt: Mapping[str, Any]) -> ReceiptView:
    attempts = receipt.get("attempts", ())
    usages = [attempt["usage"] for attempt in attempts if attempt.get("usage")]
    return ReceiptView(
        feature=feature,
        endpoint=receipt.get("endpoint") or "unknown",
        served_model=receipt.get("served_model"),
        attempts=len(attempts),
        input_tokens=sum(usage["input"] for usage in usages) if usages else None,
        output_tokens=sum(usage["output"] for usage in usages) if usages else None,
        milliseconds=round(sum(attempt["duration_ms"] for attempt in attempts)),
    )


def _curl(base_url: str) -> str:
    return (
        f"curl {base_url}/v1/conversations \\\n"
        '  -H "Authorization: Bearer $PATCHBAY_TOKEN" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{json.dumps(_EXAMPLE)}'"
    )
