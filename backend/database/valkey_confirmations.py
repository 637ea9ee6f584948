"""Confirmations in Valkey or Redis: each change is one Lua script, which is atomic.

A crash of the server loses what it has not yet written to disk, claims included. For more durability, keep confirmations in
the database.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from backend.agents.confirmations import OPEN, Confirmation
from backend.agents.errors import ConfirmationsUnreachableError
from backend.ledger.audit import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from redis.asyncio import Redis

    from backend.access import DataOwner
    from backend.agents.confirmations import StateChange
    from backend.budgets import AuditWriter
    from backend.ledger.audit import Kind

KEPT: Final = 90 * 86_400
"""Seconds for which an answered confirmation is kept, so that a second decision is told so."""
_PREFIX: Final = "patchbay:{agents}:"
"""The braces keep all keys in one slot of a cluster, as a script needs them."""
_NUMBERS: Final = frozenset({"number", "asked_at", "expires_at", "decided_at", "leased_until"})
_PLACED: Final = f"""
local function place(key, id, state, opened, due)
  if state == 'pending' or state == 'executing' or state == 'unknown' then
    redis.call('ZADD', opened, redis.call('HGET', key, 'asked_at'), id)
    redis.call('PERSIST', key)
  else
    redis.call('ZREM', opened, id)
    redis.call('EXPIRE', key, {KEPT})
  end
  if state == 'pending' then
    redis.call('ZADD', due, redis.call('HGET', key, 'expires_at'), id)
  elseif state == 'executing' then
    redis.call('ZADD', due, redis.call('HGET', key, 'leased_until'), id)
  else
    redis.call('ZREM', due, id)
  end
end
"""
_ADD: Final = (
    _PLACED
    + f"""
local fields = cjson.decode(ARGV[1])
if redis.call('HSETNX', KEYS[2], fields.call .. '/' .. fields.number, fields.id) == 0 then return 0 end
redis.call('EXPIRE', KEYS[2], {KEPT})
for name, value in pairs(fields) do redis.call('HSET', KEYS[1], name, value) end
place(KEYS[1], fields.id, fields.state, KEYS[3], KEYS[4])
return 1
"""
)
_CHANGE: Final = (
    _PLACED
    + """
local wanted = cjson.decode(ARGV[1])
for name, value in pairs(wanted.equal) do
  if redis.call('HGET', KEYS[1], name) ~= value then return {} end
end
local function time(name) return tonumber(redis.call('HGET', KEYS[1], name) or '0') end
local at = tonumber(wanted.at)
if wanted.before and time(wanted.before) <= at then return {} end
if wanted.after and time(wanted.after) > at then return {} end
for name, value in pairs(wanted.values) do redis.call('HSET', KEYS[1], name, value) end
place(KEYS[1], wanted.equal.id, wanted.values.state, KEYS[2], KEYS[3])
return redis.call('HGETALL', KEYS[1])
"""
)


class ValkeyConfirmationStore:
    """A `ConfirmationStore` in Valkey or Redis.

    Args:
        client: A client of the server, with ``decode_responses=False``.
        write_audit_entry: Adds an entry to the audit trail. Called after each change.
    """

    def __init__(self, client: Redis, write_audit_entry: AuditWriter) -> None:
        self._client = client
        self._note = write_audit_entry
        self._add = partial(client.register_script(_ADD))
        self._change = partial(client.register_script(_CHANGE))

    async def add(self, confirmation: Confirmation) -> bool:
        """Store a new confirmation; False if one with the same run, call and number is already stored.

        Raises:
            ConfirmationsUnreachableError: The server does not answer.
        """
        keys = [_key(confirmation.id), _of_run(confirmation.run), _open(confirmation.owner), _DUE]
        if not await _answer(self._add(keys=keys, args=[json.dumps(_fields(confirmation))])):
            return False
        kind: Kind = "agent.asked" if confirmation.state == "pending" else "agent.recorded"
        actor = confirmation.user_id if confirmation.state == "pending" else SYSTEM
        await self._note(kind, confirmation.id, actor=actor, details=confirmation.audit_fields())
        return True

    async def get(self, owner: DataOwner, confirmation_id: str) -> Confirmation | None:
        """Return the confirmation with the given id; None if it does not exist, or belongs to another owner."""
        found = await self._all([confirmation_id])
        return found[0] if found and found[0].owner == owner else None

    async def record_denied_access(self, owner: DataOwner, confirmation_id: str, now: int) -> None:  # noqa: ARG002 - the trail has a clock
        """Record in the audit trail that ``owner`` asked for another owner's confirmation. Ignores unknown ids."""
        if await _answer(self._client.exists(_key(confirmation_id))):
            await self._note("agent.denied", confirmation_id, actor=owner.user_id, details={})

    async def apply_change(
        self, owner: DataOwner, confirmation_id: str, change: StateChange
    ) -> Confirmation | None:
        """Change the confirmation if the conditions in ``change`` hold, and return it; else return None."""
        is_its = {"id": confirmation_id, "user_id": owner.user_id, "tenant_id": owner.tenant_id}
        wanted = {
            "equal": {**is_its, "state": change.source, **_texts(change.equal)},
            "values": _texts({"state": change.target, **change.values}),
            "at": str(change.at),
            **({"before": change.before} if change.before else {}),
            **({"after": change.after} if change.after else {}),
        }
        keys = [_key(confirmation_id), _open(owner), _DUE]
        row = await _answer(self._change(keys=keys, args=[json.dumps(wanted)]))
        if not row:
            return None
        one = _confirmation(dict(zip(row[::2], row[1::2], strict=True)))
        details = {**one.audit_fields(), **change.details}
        await self._note(change.kind, one.id, actor=change.actor, details=details)
        return one

    async def list_for_run(self, run_id: str) -> Sequence[Confirmation]:
        """List all confirmations of a run, in the order in which they were created."""
        found = await self._all(await _answer(self._client.hvals(_of_run(run_id))))
        return sorted(found, key=lambda confirmation: (confirmation.asked_at, confirmation.number))

    async def list_open(self, owner: DataOwner, limit: int) -> Sequence[Confirmation]:
        """List at most ``limit`` open confirmations of ``owner``, the newest first.

        A confirmation is open if it is pending or executing, or if the result of its execution is unknown.
        """
        ids = await _answer(self._client.zrevrange(_open(owner), 0, limit - 1))
        return [confirmation for confirmation in await self._all(ids) if confirmation.state in OPEN]

    async def list_overdue(self, now: int, limit: int) -> Sequence[Confirmation]:
        """List at most ``limit`` confirmations of all owners whose deadline has passed at ``now``.

        Each is pending and has expired, or is executing and has no result in time. ``now`` is in microseconds
        since 1970.
        """
        return await self._all(
            await _answer(self._client.zrangebyscore(_DUE, "-inf", now, start=0, num=limit))
        )

    async def _all(self, ids: Iterable[str | bytes]) -> list[Confirmation]:
        """The existing confirmations of ``ids``, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for item in ids:
            pipeline.hgetall(_key(item if isinstance(item, str) else item.decode()))
        return [_confirmation(row) for row in await _answer(pipeline.execute()) if row]


async def _answer(asked: Awaitable[Any] | Any) -> Any:
    """The server's answer to ``asked``.

    Raises:
        ConfirmationsUnreachableError: The server does not answer.
    """
    try:
        return await asked
    except (RedisError, OSError) as error:
        raise ConfirmationsUnreachableError from error


def _key(confirmation_id: str) -> str:
    return f"{_PREFIX}confirmation:{confirmation_id}"


def _of_run(run_id: str) -> str:
    return f"{_PREFIX}run:{run_id}"


def _open(owner: DataOwner) -> str:
    return f"{_PREFIX}open:{json.dumps(owner)}"


_DUE: Final = f"{_PREFIX}due"


def _fields(one: Confirmation) -> dict[str, str]:
    return _texts(one._asdict())


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """``values`` as texts, because numbers in a script have 14 digits and a time has 16. None is left out."""
    return {name: str(value) for name, value in values.items() if value is not None}


def _confirmation(row: Mapping[bytes, bytes]) -> Confirmation:
    values: dict[str, Any] = {name.decode(): value.decode() for name, value in row.items()}
    numbers = {name: int(values[name]) for name in _NUMBERS & values.keys()}
    return Confirmation(**(values | numbers))
