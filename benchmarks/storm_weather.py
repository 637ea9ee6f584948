"""The weather of a storm: a table, who calls what in which way, and what each endpoint does with each request of a call.

All of it follows from a seed. What a request meets depends on the number of its call, its endpoint and how often the call has asked
that before; not on the clock: so what a call could have had is known, however slow the machine is.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal, NamedTuple

from typing_extensions import override

from backend.utils.llm.testing import Cut, Hang, LoopbackProvider, SlowFirstByte, Status, Text, Trickle
from backend.utils.llm.testing.replies import Json, Reset

if TYPE_CHECKING:
    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.recording import RecordedRequest
    from backend.utils.llm.testing.transmission import ReplyContext

Fault = Literal["503", "500", "429", "429 told", "reset", "cut", "hang"]
Way = Literal["invoke", "ainvoke", "stream", "astream", "structured", "astructured", "left", "cancelled"]

FAULTS: tuple[Fault, ...] = ("503", "503", "500", "429", "429 told", "reset", "cut")
SHARE_OF_FAULTS = 0.04
SHARE_OF_SLOW = 0.1
SHARE_OF_USERS = 0.3
BROWN_OUTS = 8
SHARE_OF_A_BROWN_OUT = 0.04
"""Of all calls, while one endpoint is away."""
AWAY: tuple[Fault, ...] = ("503", "reset", "429", "hang")
DEADLINE, HURRY, TIMEOUT, WAIT, ATTEMPTS = 20, 3, 4, 20, 3
"""Seconds, and requests to one endpoint: of every feature, but for the one that is in a hurry, whose endpoint often hangs."""
SHARE_THAT_HANGS = 0.2
USERS = 40
WAYS: tuple[Way, ...] = (
    *("invoke", "ainvoke", "ainvoke", "stream", "astream", "astream"),
    *("structured", "astructured", "left", "cancelled"),
)
CHAINS: dict[str, tuple[str, ...]] = {
    "alone": ("openai:s1",),
    "pair": ("openai:a1", "gemini:b1"),
    "three": ("anthropic:c1", "openai:a2", "gemini:b2"),
    "group": ("openai:a1", "gemini:b1", "openai:a2"),
    "many": ("gemini:b2", "openai:a1"),
    "words": ("openai:a2", "anthropic:c1"),
    "places": ("openai:s1", "gemini:b1"),
    "hedged": ("openai:a2", "gemini:b2"),
    "hurried": ("openai:h1",),
}
ROWS = {
    "group": 'select = "least_busy"',
    "many": 'limits = { requests = "40/second" }',
    "words": 'limits = { tokens = "200000/minute" }',
    "places": "limits = { concurrency = 4 }",
    "hedged": "hedge = true",
    "hurried": "",
}
_PROMPT = re.compile(r"#(\d+) for ([\w-]+)")
_LONG = " ".join(f"word{n}" for n in range(12))


class BrownOut(NamedTuple):
    """An endpoint is away for the calls from ``first`` on, up to ``last``."""

    model: str
    first: int
    last: int
    fault: Fault


class Deed(NamedTuple):
    """One call: what, how, and on whose behalf; None for the house."""

    number: int
    feature: str
    way: Way
    user: int | None

    @property
    def deadline(self) -> int:
        """Of its feature, in seconds."""
        return HURRY if self.feature == "hurried" else DEADLINE

    @property
    def payer(self) -> str:
        """Whose key may be seen at the provider."""
        return "house" if self.user is None else f"user-{self.user}"

    @property
    def prompt(self) -> str:
        """What is asked: it tells the provider which call it is."""
        return f"{_LONG} #{self.number} for {self.payer}"


@dataclass(frozen=True)
class Weather:
    """What happens in a storm of so many calls."""

    seed: int
    calls: int
    brown_outs: tuple[BrownOut, ...] = field(init=False)

    def __post_init__(self) -> None:
        chance, length = self._chance("brown-outs"), int(self.calls * SHARE_OF_A_BROWN_OUT)
        models = sorted({name.split(":")[1] for chain in CHAINS.values() for name in chain})
        found = []
        for place in range(BROWN_OUTS):
            first = int(self.calls * (place + chance.random() / 2) / BROWN_OUTS)
            found.append(BrownOut(chance.choice(models), first, first + length, chance.choice(AWAY)))
        object.__setattr__(self, "brown_outs", tuple(found))

    def _chance(self, *what: object) -> Random:
        return Random(" ".join(map(str, (self.seed, *what))))  # noqa: S311 - the same each time

    def deed(self, number: int) -> Deed:
        """The call of that number."""
        chance = self._chance("deed", number)
        user = chance.randrange(USERS) if chance.random() < SHARE_OF_USERS else None
        return Deed(number, chance.choice(list(CHAINS)), chance.choice(WAYS), user)

    def brown_out(self, number: int, model: str) -> BrownOut | None:
        """The one that the call meets there, if there is one."""
        return next(
            (out for out in self.brown_outs if out.model == model and out.first <= number < out.last), None
        )

    def fault(self, number: int, model: str, place: int) -> Fault | None:
        """What is wrong with the answer to the call's request to ``model``, of which ``place`` were before."""
        if (away := self.brown_out(number, model)) is not None:
            return away.fault
        chance = self._chance("fault", number, model, place)
        if model == "h1":
            return "hang" if self._chance("hang", number).random() < SHARE_THAT_HANGS else None
        return chance.choice(FAULTS) if chance.random() < SHARE_OF_FAULTS else None

    def reply(self, number: int, model: str, place: int, *, wants_json: bool) -> Reply:
        """The same as the provider does it."""
        chance, text = self._chance("reply", number, model, place), f"{_LONG} answer to {number}."
        match self.fault(number, model, place):
            case "503" | "500" | "429" as status:
                return Status(int(status))
            case "429 told":
                return Status(429, retry_after=1)
            case "reset":
                return Reset()
            case "hang":
                return Hang()
            case "cut":
                return Cut(chance.randrange(3), text)
            case None:
                well: Reply = Json({"number": number}) if wants_json else Text(text)
                return self._late(well, chance)

    def _late(self, well: Reply, chance: Random) -> Reply:
        if chance.random() >= SHARE_OF_SLOW:
            return well
        return SlowFirstByte(chance.uniform(0.1, 0.6), well) if chance.random() < 0.5 else Trickle(well, 0.05)  # noqa: PLR2004 - one half


class StormProvider(LoopbackProvider):
    """Does what the weather says, and remembers how often each call has asked each endpoint.

    Attributes:
        asked: By the call's number and the model's name.
        faults: How many answers were none, by the brown-out; None for single ones.
        arrived: How many requests came. None is kept, so that memory shows what we keep.
        wrong_keys: How many of them had another key than their payer's.
    """

    def __init__(self, weather: Weather) -> None:
        super().__init__()
        self.weather = weather
        self.asked: Counter[tuple[int, str]] = Counter()
        self.faults: Counter[BrownOut | None] = Counter()
        self.arrived = self.wrong_keys = 0

    @override
    def record_request(self, request: RecordedRequest) -> int:
        """As the class."""
        is_right = is_signed_by_its_payer(str(request.body), request.key)
        with self._changed:
            self.arrived += 1
            self.wrong_keys += not is_right
            return self.arrived

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        """As the class."""
        number, _ = told(exchange.prompt.turns[-1].text)
        with self._changed:
            place = self.asked[number, exchange.model]
            self.asked[number, exchange.model] += 1
            if self.weather.fault(number, exchange.model, place) is not None:
                self.faults[self.weather.brown_out(number, exchange.model)] += 1
        return self.weather.reply(
            number, exchange.model, place, wants_json=exchange.prompt.schema is not None
        )


def told(text: str) -> tuple[int, str]:
    """The call's number and its payer, as a prompt tells them."""
    found = _PROMPT.findall(text)[-1]
    return int(found[0]), found[1]


def is_signed_by_its_payer(body: str, key: str | None) -> bool:
    """Whether the key is the one of whoever the prompt says pays."""
    _, payer = told(body)
    return (key or "").startswith("house-key-of-" if payer == "house" else f"sk-{payer}-")


def rows(version: int, more: str = "") -> str:
    """The table's rows of features, each with ``more``; every version says something else of a limit, as people change it."""
    common = f"house_fallback = false\noptions.timeout = {TIMEOUT}\noptions.first_chunk_timeout = {TIMEOUT}\nwait = {WAIT}\nattempts = {ATTEMPTS}\nstructured_output = true\n"
    made = "".join(
        f"[features.{name}]\ndeadline = {HURRY if name == 'hurried' else DEADLINE}\n{common}{more}\n{ROWS.get(name, '')}\n"
        for name in CHAINS
    )
    return made.replace("200000/minute", f"{200_000 + version}/minute")
