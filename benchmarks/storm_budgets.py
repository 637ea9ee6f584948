"""Budgets in a storm over several processes: each user's tokens, counted in a database that crashes meanwhile.

While it is away, calls that count for a user are refused, and those that count for the house go on, as their budgets say. Its crash
takes the last moments of the counters: what calls used that were under way then, or just over, is excused, and nothing else. So it is with a worker that is killed, and its own calls.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import bindparam, text

from backend.database.budgets import REST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

FEATURES: Final = ("pair", "three", "group")
"""Whose requests count for users' budgets."""
OF_HOUSE: Final = ("words", "places")
LONGEST: Final = 64
"""Tokens of an answer, at most."""
MOST: Final = LONGEST + 70
"""What a request sets aside, at most: a prompt with its schema is shorter."""
TOKENS: Final = 0.08
"""What each user may use, for each call of the storm: some two thirds of what they would."""
LOST_SECONDS: Final = 1.0
"""Before a crash, of which it may take what was counted: a worker counts 20 ms after a request, PostgreSQL writes it down within 0.6 s."""
REFUSED: Final = frozenset({"BudgetExceededError", "BudgetUnavailableError"})
_UNASKED: Final = re.compile(r"(\S+) was not asked: (?:it could use|the counters of the budget)")

_USED: Final = text(
    "SELECT user_id, call, sum(coalesce(input, 0) + coalesce(output, 0)) FROM ledger_attempts"
    " WHERE user_id IS NOT NULL AND feature IN :features GROUP BY user_id, call"
).bindparams(bindparam("features", FEATURES, expanding=True))
_COUNTED: Final = text("SELECT subject, spent FROM budget_counters WHERE budget = 'users'")
_ASTRAY: Final = text(
    "SELECT coalesce(sum(abs(c.reserved - coalesce(r.amount, 0))), 0) FROM budget_counters c LEFT JOIN (SELECT budget, per,"
    " subject, begins, sum(amount) AS amount FROM budget_reservations GROUP BY budget, per, subject, begins) r"
    " USING (budget, per, subject, begins)"
)


def refused(error: str) -> frozenset[str]:
    """The endpoints that a call did not ask because a budget had no room for them, by the text of its error."""
    return frozenset(_UNASKED.findall(error))


class Crash(NamedTuple):
    """When somebody crashed who counts, by the clock that all processes of a machine share.

    Attributes:
        worker: Which; None for the database, by which all count.
    """

    at: float
    worker: int | None = None

    def excuses(self, note: Mapping[str, Any]) -> bool:
        """Whether it may have taken what a call used."""
        is_concerned = self.worker in {None, note["worker"]}
        return is_concerned and bool(note["began"] < self.at and note["at"] > self.at - LOST_SECONDS)


class Away(NamedTuple):
    """When the database was away, after a crash."""

    begins: float
    ends: float

    def meets(self, note: Mapping[str, Any]) -> bool:
        """Whether a call came meanwhile, or in the second afterwards for which a worker leaves it alone."""
        return bool(note["began"] < self.ends + REST_SECONDS and note["at"] > self.begins)


NEVER: Final = Away(0.0, 0.0)


def cap(calls: int) -> int:
    """What each user may use in a storm of so many calls."""
    return max(MOST, int(calls * TOKENS))


def table(calls: int) -> str:
    """The budgets, as TOML."""
    of_users = f'per = "user"\ntokens = {cap(calls)}\nkeys = "any"\nfeatures = {list(FEATURES)}'
    of_house = f'per = "owner"\ntokens = 1000000000000\nfeatures = {list(OF_HOUSE)}\nwhen_away = "open"'
    return "".join(
        f'[budgets.{name}]\nperiod = "total"\n{row}\n'
        for name, row in {"users": of_users, "house": of_house}.items()
    )


class Faults(NamedTuple):
    """How many of each there are; there should be none.

    Attributes:
        overspent: Users who used more than they may.
        uncounted: Users who used more than was counted.
        overcounted: Users for whom more was counted than they used.
        astray: Tokens that are set aside and belong to no request.
        refused: Users who were refused as if they had used up what they had not.
        away: Calls that were refused because the database was away when it was not.
    """

    overspent: int
    uncounted: int
    overcounted: int
    astray: int
    refused: int
    away: int


async def faults(
    connection: AsyncConnection,
    calls: int,
    notes: Iterable[Mapping[str, Any]],
    away: Away,
    killed: Sequence[Crash],
) -> Faults:
    """What is wrong with the budgets, when the ledger is whole.

    Args:
        connection: To the database.
        calls: Of the storm.
        notes: Of each call that ended: who asked (``user``), in which ``worker``, its id (``call``), from when (``began``) to when
            (``at``), its ``error``, and whether that was final (``is_final``).
        away: When the database was.
        killed: When workers were.
    """
    crashes = (Crash(away.begins), *killed)
    used: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    ended = list(notes)
    whole = {note["call"] for note in ended if not any(crash.excuses(note) for crash in crashes)}
    for user, call, tokens in await connection.execute(_USED):
        used[user] += tokens
        if call not in whole:
            excused[user] += tokens
    counted: dict[str, int] = dict((await connection.execute(_COUNTED)).tuples().all())
    said_full = {
        note["user"] for note in ended if note["error"] == "BudgetExceededError" and note["is_final"]
    }
    most = cap(calls)
    return Faults(
        overspent=sum(tokens - excused[user] > most for user, tokens in used.items()),
        uncounted=sum(tokens - excused[user] > counted.get(user, 0) for user, tokens in used.items()),
        overcounted=sum(tokens > used[user] for user, tokens in counted.items()),
        astray=int((await connection.execute(_ASTRAY)).scalar_one()),
        refused=sum(counted.get(user, 0) + excused[user] + MOST <= most for user in said_full),
        away=sum(note["error"] == "BudgetUnavailableError" and not away.meets(note) for note in ended),
    )
