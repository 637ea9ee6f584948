"""Who asks what in the soak: the table, ten thousand users, and the kinds of calls, each with the outcome it must have."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler
from pydantic import BaseModel, SecretStr

from backend.utils.llm import Caller, LLMError, get_llm, use_caller
from backend.utils.llm.errors import AllAttemptsFailedError, CallTimeoutError, RejectedCredentialError

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk

    from backend.utils.llm.types import KeyPolicy

USERS = 10_000
CALLS_OF_A_CONVERSATION = 20_000
"""After so many calls of all users everybody begins a new conversation."""
PROVIDERS = ("alpha", "beta", "gamma", "delta")
HOUSE_KEYS = {
    "ALPHA_A": "alpha-house.a",
    "ALPHA_B": "alpha-house.b",
    "BETA": "beta-house",
    "GAMMA": "gamma-house",
    "DELTA": "delta-house",
}
FAULTS = (
    {"a1": "503", "g1": "hang up"},
    {"frail": "hang up"},
    {"b1": "429"},
    {"a1": "hang up", "frail": "503"},
    {"a1": "500", "g1": "429", "frail": "429"},
)
"""What fails for a while, each in its turn. Beside ``frail`` there is always somebody else who serves."""


def table(origin: str, version: int) -> str:
    """The table; every version says something else of weights, limits and deadlines, as people change them."""
    return f"""
[providers.alpha]
api = "openai"
base_url = "{origin}/alpha/v1"
limits = {{ requests = "{100_000 + version}/minute" }}
user_limits = {{ requests = "600/minute", tokens = "10000000/day" }}
[providers.alpha.accounts.a]
api_key_env = "ALPHA_A"
weight = 2
[providers.alpha.accounts.b]
api_key_env = "ALPHA_B"
[providers.beta]
api = "openai"
base_url = "{origin}/beta/v1"
api_key_env = "BETA"
limits = {{ concurrency = 48 }}
user_limits = {{ concurrency = 4 }}
[providers.gamma]
api = "gemini"
base_url = "{origin}/gamma"
limits = {{ requests = "{100_000 + version}/minute" }}
api_key_env = "GAMMA"
[providers.delta]
api = "anthropic"
base_url = "{origin}/delta"
api_key_env = "DELTA"

[models."alpha:r1"]
api_mode = "responses"
[models."alpha:a2"]
context_window = 4000
limits = {{ requests = "{50_000 + version}/minute" }}

[groups.weighted]
endpoints = ["alpha:a1", "beta:b1"]
select = {{ by = "weighted", weights = {{ "alpha:a1" = {2 + version % 3} }} }}

[profiles.premium]
ordered = ["alpha:a1", "beta:b1"]
weighted = "group:weighted"
latency = ["alpha:a1", "beta:b1", "gamma:g1"]
busy = ["alpha:a2", "beta:b2"]
used = ["alpha:a1", "beta:b1"]
cost = ["alpha:a1", "beta:b2"]
tier = ["alpha:a2", "beta:b2"]
context = ["alpha:a2", "beta:b2"]
split = ["alpha:a2"]
shadow = ["alpha:a2"]
limited = ["alpha:a2", "beta:b2"]
tools = ["alpha:a2", "beta:b2"]
gemini = ["gamma:g1", "alpha:a2"]
anthropic = ["delta:d1", "alpha:a2"]
responses = "alpha:r1"
frail = "alpha:frail"
hurried = "alpha:a2"
[profiles.byok]
extends = "premium"

[features.latency]
house_fallback = true
select = "latency"
[features.busy]
house_fallback = true
select = "least_busy"
[features.used]
house_fallback = true
select = "least_used"
[features.cost]
house_fallback = true
select = "cost"
structured_output = true
[features.tier]
house_fallback = true
[features.tier.select]
by = "tier"
default = "free"
tiers.free = {{ endpoints = ["beta:b2", "alpha:a2"], tokens = "1000000/day" }}
tiers.pro = {{ endpoints = ["alpha:a2", "beta:b2"], tokens = "5000000/hour" }}
[features.context]
house_fallback = true
select = "context"
[features.split]
house_fallback = true
split = {{ "beta:b2" = 20 }}
deadline = {60 + version % 5}
[features.shadow]
house_fallback = true
shadow = {{ "beta:b2" = 20 }}
[features.limited]
house_fallback = true
limits = {{ requests = "60/second", concurrency = 4 }}
[features.tools]
house_fallback = true
tools = true
[features.hurried]
house_fallback = true
deadline = 0.4
[features.ordered]
house_fallback = true
[features.weighted]
house_fallback = true
[features.gemini]
house_fallback = true
[features.responses]
house_fallback = true
[features.frail]
house_fallback = true
"""


class Found(BaseModel):
    """What a structured answer is to be."""

    number: int


def look_up(number: int) -> str:
    """Look a number up."""
    return str(number)


# Who ------------------------------------------------------------------------------------------------------------------


class User(NamedTuple):
    """One of those who ask.

    Attributes:
        payers: Whose key may be seen at the provider, by the names that `witness` knows.
        owner: Whose key it is by the receipt; None if either's.
        is_whole: Whether somebody is left for them when one endpoint fails.
    """

    caller: Caller
    payers: str
    owner: str | None
    is_whole: bool = True

    @property
    def is_revoked(self) -> bool:
        """Whether the provider refuses their key."""
        return self.payers.startswith("bad")


def user(number: int, call: int) -> User:
    """The user of that number, at the time of that call: half of them bring keys."""
    match number % 20:
        case 10 | 11:
            return _with_keys(number, call, f"u{number}", PROVIDERS[:1])
        case 12:
            return _with_keys(number, call, f"u{number}", PROVIDERS, "byok_then_house")
        case 13:
            return _with_keys(number, call, f"bad-u{number}", PROVIDERS)
        case place if place > 13:  # noqa: PLR2004 - the rest of the half
            return _with_keys(number, call, f"u{number}", PROVIDERS)
        case _:
            return User(_caller(number, call, {}, None), "house", "house")


def _with_keys(
    number: int, call: int, name: str, providers: tuple[str, ...], policy: KeyPolicy | None = None
) -> User:
    keys = {provider: SecretStr(f"{provider}-{name}") for provider in providers}
    caller = _caller(number, call, keys, policy)
    if policy is not None:
        return User(caller, f"{name}+house", None)
    return User(caller, name, "user", is_whole=providers == PROVIDERS)


def _caller(number: int, call: int, keys: dict[str, SecretStr], policy: KeyPolicy | None) -> Caller:
    return Caller(
        user_id=f"user {number}",
        tier="pro" if number % 3 else None,
        conversation_id=f"conversation {number} {call // CALLS_OF_A_CONVERSATION}",
        keys=keys,
        key_policy=policy,
    )


# What -----------------------------------------------------------------------------------------------------------------

Way = Literal["whole", "stream", "leave", "cancel", "structured", "tool", "seen"]
SYNCHRONOUS: frozenset[Way] = frozenset({"whole", "stream", "leave", "structured"})


@dataclass(frozen=True)
class Kind:
    """One kind of call.

    Attributes:
        says: What the prompt asks of the provider.
        share: How often, against the others.
    """

    feature: str
    way: Way = "whole"
    says: str = "plain"
    share: int = 2

    def is_good(self, error: BaseException, user: User) -> bool:
        """Whether a call of this kind may end with ``error``."""
        if user.is_revoked:
            return isinstance(error, (RejectedCredentialError, CallTimeoutError))
        if self.feature == "frail" or not user.is_whole:
            return isinstance(error, LLMError)
        if self.says == "slow":
            return isinstance(error, (CallTimeoutError, AllAttemptsFailedError))
        # Whoever would have mended what does not fit may be down: on a ladder only the last rung repairs.
        return self.says == "unfit" and isinstance(error, AllAttemptsFailedError)


KINDS = (
    Kind("ordered", share=12),
    Kind("ordered", "stream"),
    Kind("ordered", "seen"),
    Kind("weighted", share=6),
    Kind("latency", share=6),
    Kind("latency", "stream"),
    Kind("busy", "stream", share=4),
    Kind("busy", "leave", "long"),
    Kind("busy", "cancel", "long"),
    Kind("used", share=4),
    Kind("cost", "structured", share=6),
    Kind("cost", "structured", "unfit"),
    Kind("tier", share=6),
    Kind("context", share=6),
    Kind("split", share=6),
    Kind("shadow", share=4),
    Kind("limited", share=4),
    Kind("tools", "tool", "tool", share=4),
    Kind("gemini", share=2),
    Kind("anthropic", share=1),
    Kind("anthropic", "stream", share=1),
    Kind("gemini", "stream", share=2),
    Kind("gemini", "leave", "long", share=1),
    Kind("gemini", "cancel", "long", share=1),
    Kind("responses", share=4),
    Kind("frail", share=4),
    Kind("hurried", says="slow", share=1),
)
_SHARES = [kind.share for kind in KINDS]


class WrongOutcomeError(Exception):
    """A call had an outcome that it should not have."""


class Deed(NamedTuple):
    """One call: everything about it follows from its number."""

    number: int
    user: User
    kind: Kind
    is_sync: bool

    @classmethod
    def of(cls, number: int) -> Deed:
        """The call of that number. In ten thousand calls everybody asks once."""
        dice = random.Random(number)  # noqa: S311 - nothing secret hangs on it
        kind = dice.choices(KINDS, _SHARES)[0]
        is_sync = kind.way in SYNCHRONOUS and dice.random() < 0.1  # noqa: PLR2004 - a tenth of them
        return cls(number, user(number * 7919 % USERS, number), kind, is_sync)

    async def done(self) -> str:
        """Do it; what came of it.

        Raises:
            WrongOutcomeError: What should not have.
        """
        with use_caller(self.user.caller):
            try:
                await self._do()
            except Exception as error:
                return self._excused(error)
        return self._expected_answer()

    def done_here(self) -> str:
        """As `done`, in this thread."""
        with use_caller(self.user.caller):
            try:
                self._do_here()
            except Exception as error:
                return self._excused(error)
        return self._expected_answer()

    def _excused(self, error: Exception) -> str:
        if isinstance(error, WrongOutcomeError) or not self.kind.is_good(error, self.user):
            raise WrongOutcomeError(f"{self}: {type(error).__name__}: {error}") from error
        return type(error).__name__

    def _expected_answer(self) -> str:
        if self.user.is_revoked and self.kind.way not in {"leave", "cancel"}:
            raise WrongOutcomeError(f"{self}: answered with a revoked key")
        return self.kind.way

    async def _do(self) -> None:
        match self.kind.way:
            case "stream":
                self._check_text(await self._read())
            case "leave":
                async with aclosing(self._model.astream(self._prompt)) as chunks:
                    _ = [await anext(chunks) for _ in range(3)]
            case "cancel":
                await self._cancel()
            case "structured":
                self._check_found(await self._model.with_structured_output(Found).ainvoke(self._prompt))
            case "tool":
                self._check_call(await self._model.bind_tools([look_up]).ainvoke(self._prompt))
            case "seen":
                config: Any = {"callbacks": [BaseCallbackHandler()], "tags": [f"call {self.number}"]}
                self._check_answer(await self._model.ainvoke(self._prompt, config))
            case "whole":
                self._check_answer(await self._model.ainvoke(self._prompt))

    def _do_here(self) -> None:
        match self.kind.way:
            case "stream":
                self._check_text("".join(chunk.text for chunk in self._model.stream(self._prompt)))
            case "leave":
                _ = list(islice(self._model.stream(self._prompt), 3))
            case "structured":
                self._check_found(self._model.with_structured_output(Found).invoke(self._prompt))
            case _:
                self._check_answer(self._model.invoke(self._prompt))

    async def _read(self) -> str:
        return "".join([chunk.text async for chunk in self._model.astream(self._prompt)])

    async def _cancel(self) -> None:
        """Read half a stream in a task, cancel it there, and leave the generator to the loop."""
        begun = asyncio.Event()
        reading = asyncio.create_task(self._read_on(begun))
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        reading.cancel()
        try:
            await reading
        except asyncio.CancelledError:
            return
        raise WrongOutcomeError(f"{self}: read to its end")

    async def _read_on(self, begun: asyncio.Event) -> None:
        async for _ in self._model.astream(self._prompt):
            begun.set()

    @property
    def _model(self) -> Any:
        cache_key = self.user.caller.user_id if self.number % 7 == 0 else None
        return get_llm(self.kind.feature, cache_key=cache_key)

    @property
    def _prompt(self) -> str:
        filler = "lorem ipsum " * (self.number % 50)
        return f"{filler}{self.kind.says} #{self.number} for {self.user.payers}"

    # What came ----------------------------------------------------------------------------------------------------------

    def _check_text(self, text: str) -> None:
        self._require(text.endswith(f"the answer to {self.number}"), text)

    def _check_answer(self, answer: AIMessage | AIMessageChunk) -> None:
        self._check_text(answer.text)
        self._check_receipt(answer)

    def _check_found(self, found: Found) -> None:
        self._require(found.number == self.number, found)

    def _check_call(self, answer: AIMessage) -> None:
        self._require([call["args"] for call in answer.tool_calls] == [{"number": self.number}], answer)
        self._check_receipt(answer)

    def _check_receipt(self, answer: AIMessage | AIMessageChunk) -> None:
        owner = answer.response_metadata["receipt"]["key_owner"]
        self._require(self.user.owner in {None, owner}, f"paid by {owner}")

    def _require(self, holds: bool, what: object) -> None:  # noqa: FBT001 - an assertion
        if not holds:
            raise WrongOutcomeError(f"{self}: {what!r:.200}")
