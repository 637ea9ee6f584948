"""What the HTTP edge is given in its unit tests: everything in memory."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from backend.access import DataOwner, Grant, make_default_grant
from backend.conversations.creation import ConversationCreator
from backend.conversations.store import ConversationPage, InvalidCursorError
from backend.database.sessions import IDLE, LIFETIME
from backend.database.tokens import utc_now
from backend.routers.dependencies import Services
from backend.tests.fakes.journals import InMemoryJournals
from backend.tests.fakes.keys import keychain
from backend.tests.fakes.models import ScriptedModels
from backend.utils.llm.caller import Caller, current_caller
from backend.utils.llm.diagnostics.qos import ProviderInfo, QosInfo
from backend.utils.llm.errors import UnknownFeatureError
from backend.utils.llm.routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from langchain_core.language_models import BaseChatModel

    from backend.conversations.action_items import ActionItem
    from backend.conversations.store import Conversation
    from backend.local_model import State
    from backend.utils.llm.diagnostics.models import ModelInfo

PROVIDER = ProviderInfo(
    api="openai", host="provider.test", access="key", api_key_envs=("KEY",), house_key="present"
)
ANN = {"authorization": "Bearer token-of-ann"}
BOB = {"authorization": "Bearer token-of-bob"}


class InMemoryConversations:
    """A `ConversationStore` that forgets. Its cursor is the number of those already seen."""

    def __init__(self) -> None:
        self.kept: list[Conversation] = []

    async def add(self, conversation: Conversation) -> None:
        if all(one.id != conversation.id for one in self.kept):
            self.kept.insert(0, conversation)

    async def get(self, owner: DataOwner, conversation_id: str) -> Conversation | None:
        return next(
            (conversation for conversation in self._of(owner) if conversation.id == conversation_id), None
        )

    async def list_page(self, owner: DataOwner, *, limit: int, cursor: str | None = None) -> ConversationPage:
        if cursor is not None and not cursor.isdigit():
            raise InvalidCursorError(cursor)
        seen = int(cursor or 0)
        found = self._of(owner)
        more = str(seen + limit) if len(found) > seen + limit else None
        return ConversationPage(tuple(found[seen : seen + limit]), more)

    async def add_action_item(self, owner: DataOwner, conversation_id: str, item: ActionItem) -> bool:
        found = await self.get(owner, conversation_id)
        if found is not None:
            items = (*found.action_items, item)
            self.kept[self.kept.index(found)] = found.model_copy(update={"action_items": items})
        return found is not None

    async def delete(self, owner: DataOwner, conversation_id: str) -> bool:
        found = await self.get(owner, conversation_id)
        if found is not None:
            self.kept.remove(found)
        return found is not None

    def _of(self, owner: DataOwner) -> list[Conversation]:
        return [
            conversation
            for conversation in self.kept
            if DataOwner(conversation.user_id, conversation.tenant_id) == owner
        ]


class InMemoryTokens:
    """``token-of-ann``, ``token-of-bob`` and ``token-of-admin``, and those of ``more``, by what is sent."""

    def __init__(self, **more: Grant) -> None:
        usually = (replace(make_default_grant(user), token_id=user) for user in ("ann", "bob", "admin"))
        self._given = {f"token-of-{grant.user_id}": grant for grant in usually} | more

    async def find_grant(self, plain: str) -> Grant | None:
        return self._given.get(plain)


class InMemorySessions:
    """`Sessions` that forget. At first ``session-of-ann`` and ``session-of-bob`` are open."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        now = clock()
        self._open = {f"session-of-{user}": (make_default_grant(user), now, now) for user in ("ann", "bob")}

    async def open_session(self, user_id: str, token_id: str | None = None) -> str:
        now, plain = self._clock(), secrets.token_urlsafe()
        self._open[plain] = (make_default_grant(user_id), now, now)
        return plain

    async def find_grant(self, plain: str) -> Grant | None:
        owner, opened, used = self._open.get(plain, (None, self._clock(), self._clock()))
        now = self._clock()
        if owner is None or now - opened >= LIFETIME or now - used >= IDLE:
            return None
        self._open[plain] = (owner, opened, now)
        return owner

    async def end_session(self, plain: str) -> None:
        self._open.pop(plain, None)


@dataclass(frozen=True)
class FakeRoute:
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return self.facts


@dataclass
class FakeFacade:
    """Serves scripted models, and explains with whom the caller in context is."""

    models: Callable[[str], BaseChatModel] = field(default_factory=ScriptedModels)
    demo: bool = False

    def get_llm(self, feature: str) -> BaseChatModel:
        return self.models(feature)

    def chat_models(self) -> dict[str, str]:
        return {"conv_folder": "which folder it belongs to"}

    def has_chat_model(self, name: str) -> bool:
        return name in self.chat_models()

    @property
    def demo_active(self) -> bool:
        return self.demo

    def get_qos_info(self) -> QosInfo:
        return QosInfo(
            table_hash="abc",
            source=None,
            profile="premium",
            profile_layer="file",
            byok_profile="byok",
            demo="local:smollm2",
            demo_active=True,
            problems=(),
            features={},
            providers=dict.fromkeys(("gemini", "openai"), PROVIDER),
        )

    def get_models(self) -> tuple[ModelInfo, ...]:
        return ()

    def fault_of(self, base_url: str) -> str | None:
        return "it is misplaced" if "misplaced" in base_url else None

    def declared_needs(self, feature: str) -> Needs:
        if feature != "conv_folder" and not self.demo:
            raise UnknownFeatureError(feature, ["conv_folder"])
        return Needs()

    def explain(
        self,
        feature: str,
        *,
        caller: Caller | None = None,
        needs: Needs | None = None,
        balances: bool = True,
    ) -> FakeRoute:
        if self.demo:
            return FakeRoute({"feature": feature, "demo": True})
        if feature != "conv_folder":
            raise UnknownFeatureError(feature, ["conv_folder"])
        tokens = needs.tokens if needs else 0
        asking = caller or current_caller()
        return FakeRoute(
            {
                "feature": feature,
                "user": asking.user_id,
                "tokens": tokens,
                "policy": asking.effective_key_policy,
            }
        )


@dataclass(frozen=True)
class FakeDatabase:
    """A database that is well, or has this fault."""

    why: str | None = None

    async def find_fault(self) -> str | None:
        return self.why


@dataclass(frozen=True)
class FakeLocalModel:
    state: State = "starting"
    reason: str | None = None
    label: str = "a demo model"


def services(
    models: Callable[[str], BaseChatModel] | None = None, local_model: FakeLocalModel | None = None
) -> Services:
    conversations = InMemoryConversations()
    return Services(
        conversations=conversations,
        creation=ConversationCreator(conversations, InMemoryJournals()),
        tokens=InMemoryTokens(),
        sessions=InMemorySessions(),
        facade=FakeFacade(models or ScriptedModels()),
        keychain=keychain(),
        database=FakeDatabase(),
        local_model=local_model,
    )


def scope(path: str) -> dict[str, Any]:
    """Ann's request to post JSON to ``path``, as a server tells an application of it."""
    headers = {**ANN, "content-type": "application/json", "host": "test"}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
