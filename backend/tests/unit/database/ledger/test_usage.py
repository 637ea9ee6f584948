"""What was used is told by what people ask for, and never from single rows."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from backend.database.ledger import make_ledger_store
from backend.database.usage import SqlUsageStore
from backend.ledger.usage import (
    DIMENSIONS,
    MissingRollupError,
    UsageFilter,
    UsagePeriod,
    UsageSums,
    format_dollars,
)
from backend.tests.fakes.records import DAY, NOON, WRITER, record, spooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.ledger.usage import Dimension, GroupSums

TODAY = UsagePeriod.last_days(1, date(2026, 11, 29))
MONTH = UsagePeriod.last_days(30, date(2026, 11, 29))


def call(number: int) -> str:
    return f"0193a1b2-c3d4-7e5f-8a9b-{number:012d}"


ROWS = [
    record(call=call(1)),
    record(call=call(2), feature="chat", endpoint="gemini:gemini-3-flash", cost=900_000_000, user="bob"),
    record(call=call(3), outcome="failed", cost=None, tenant="globex"),
    record(call=call(3), number=2, endpoint="gemini:gemini-3-flash", degraded=True, tenant="globex"),
    record(call=call(4), user=None, tenant=None, key_owner="user", at=NOON - DAY),
]


@pytest.fixture
async def store(engine: AsyncEngine) -> SqlUsageStore:
    await make_ledger_store(engine).add(spooled(ROWS))
    return SqlUsageStore(engine)


def attempts(used: Sequence[GroupSums]) -> dict[str | None, int]:
    return {each.key: each.total.attempts for each in used}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("feature", {"conv_folder": 4, "chat": 1}),
        ("model", {"openai:gpt-6-luna": 3, "gemini:gemini-3-flash": 2}),
        ("user", {"ann": 3, "bob": 1, None: 1}),
        ("tenant", {"acme": 2, "globex": 2, None: 1}),
        ("owner", {"house": 4, "user": 1}),
        ("outcome", {"ok": 4, "failed": 1}),
        ("day", {"2026-11-28": 1, "2026-11-29": 4}),
        ("hour", {"2026-11-28T12:00Z": 1, "2026-11-29T12:00Z": 4}),
    ],
)
async def test_usage_is_told_by(store: SqlUsageStore, by: Dimension, expected: dict[str | None, int]) -> None:
    assert attempts(await store.sum_by_dimension(by, MONTH)) == expected


@pytest.mark.parametrize("by", DIMENSIONS)
async def test_every_dimension_adds_up_to_the_total(store: SqlUsageStore, by: Dimension) -> None:
    used = await store.sum_by_dimension(by, MONTH)

    sums = zip(*(each.total for each in used), strict=True)
    assert UsageSums(*map(sum, sums)) == await store.sum_total(MONTH)


async def test_all_is_summed(store: SqlUsageStore) -> None:
    assert await store.sum_total(MONTH) == UsageSums(
        calls=4,
        attempts=5,
        failures=1,
        degraded=1,
        input=5_000,
        output=250,
        cached=1_000,
        cache_write=0,
        reasoning=50,
        cost=3 * 450_000_000 + 900_000_000,
        unpriced=1,
    )


async def test_days_outside_of_the_period_do_not_count(store: SqlUsageStore) -> None:
    assert (await store.sum_total(TODAY)).attempts == 4
    assert attempts(await store.sum_by_dimension("hour", TODAY)) == {"2026-11-29T12:00Z": 4}
    assert await store.sum_total(UsagePeriod(date(2026, 11, 30), date(2027, 12, 1))) == UsageSums()


async def test_a_period_may_be_longer_than_a_life(store: SqlUsageStore) -> None:
    ages = UsagePeriod(date(1970, 1, 1), date(9999, 12, 31))

    assert (await store.sum_total(ages, UsageFilter(user="ann"))).attempts == 3


async def test_the_dearest_comes_first_and_days_come_in_their_order(store: SqlUsageStore) -> None:
    assert [each.key for each in await store.sum_by_dimension("feature", MONTH)] == ["conv_folder", "chat"]
    assert [each.key for each in await store.sum_by_dimension("day", MONTH, limit=1)] == ["2026-11-28"]


@pytest.mark.parametrize(
    ("by", "only", "expected"),
    [
        ("model", UsageFilter(feature="conv_folder"), {"openai:gpt-6-luna": 3, "gemini:gemini-3-flash": 1}),
        ("feature", UsageFilter(tenant="acme"), {"conv_folder": 1, "chat": 1}),
        ("day", UsageFilter(user="ann"), {"2026-11-29": 3}),
        ("day", UsageFilter(user="ann", tenant="acme"), {"2026-11-29": 1}),
        ("day", UsageFilter(user="ann", tenant=""), {}),
        ("user", UsageFilter(tenant="globex"), {"ann": 2}),
        ("day", UsageFilter(tenant="nobody"), {}),
        ("feature", UsageFilter(owner="user", outcome="ok"), {"conv_folder": 1}),
        ("hour", UsageFilter(model="gemini:gemini-3-flash"), {"2026-11-29T12:00Z": 2}),
    ],
)
async def test_a_part_is_told_alone(
    store: SqlUsageStore, by: Dimension, only: UsageFilter, expected: dict[str | None, int]
) -> None:
    assert attempts(await store.sum_by_dimension(by, MONTH, only)) == expected


async def test_what_is_not_kept_together_is_refused_by_name(store: SqlUsageStore) -> None:
    with pytest.raises(MissingRollupError, match="user and feature together"):
        await store.sum_by_dimension("user", MONTH, UsageFilter(feature="chat"))


async def test_the_last_calls_come_first_with_all_their_attempts(store: SqlUsageStore) -> None:
    found = await store.list_requests(limit=2)

    assert [each.call for each in found] == [call(4), call(3)]
    assert [each.number for each in found[1].attempts] == [1, 2]
    assert found[1].attempts[1] == ROWS[3]


async def test_pages_go_on_where_the_last_one_ended(store: SqlUsageStore) -> None:
    assert [each.call for each in await store.list_requests(before=call(3))] == [call(2), call(1)]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (UsageFilter(feature="chat"), [2]),
        (UsageFilter(user="ann"), [3, 1]),
        (UsageFilter(tenant="globex"), [3]),
        (UsageFilter(outcome="failed"), [3]),
        (UsageFilter(model="gemini:gemini-3-flash", owner="house"), [3, 2]),
        (UsageFilter(user="nobody"), []),
    ],
)
async def test_calls_are_found_by(store: SqlUsageStore, only: UsageFilter, expected: list[int]) -> None:
    assert [each.call for each in await store.list_requests(only)] == list(map(call, expected))


async def test_a_search_finds_the_same(store: SqlUsageStore) -> None:
    for only in (
        UsageFilter(),
        UsageFilter(user="ann"),
        UsageFilter(outcome="failed"),
        UsageFilter(model="gemini:gemini-3-flash"),
    ):
        found = await store.search_requests(only)

        assert (found.requests, found.further) == (await store.list_requests(only), None)


async def test_a_search_goes_on_where_the_last_one_ended(store: SqlUsageStore) -> None:
    first = await store.search_requests(limit=3)
    second = await store.search_requests(limit=3, before=first.further)

    assert [each.call for each in (*first.requests, *second.requests)] == [call(4), call(3), call(2), call(1)]
    assert second.further is None


@pytest.mark.usefixtures("store")
async def test_a_search_gives_up_and_says_where(engine: AsyncEngine) -> None:
    impatient = SqlUsageStore(engine, most_looked_at=2)

    found = await impatient.search_requests(UsageFilter(outcome="failed"))
    assert (found.requests, found.further) == ((), call(3))

    found = await impatient.search_requests(UsageFilter(feature="chat", outcome="failed"))
    assert (found.requests, found.further) == ((), None)


async def test_working_processes_are_known_by_their_last_attempts(store: SqlUsageStore) -> None:
    (worker,) = await store.list_recent_workers()

    assert (worker.writer, worker.table_hash, worker.attempts) == (WRITER, "f3a9", len(ROWS))
    assert worker.at == max(row.at for row in ROWS)


async def test_sums_are_told_by_two_things_at_once(store: SqlUsageStore) -> None:
    cells = await store.sum_by_combination(["feature", "owner"], MONTH, UsageFilter(outcome="ok"))

    assert {cell.keys: cell.total.attempts for cell in cells} == {
        keys: sum((row.feature, row.key_owner) == keys for row in ROWS if row.outcome == "ok")
        for keys in {(row.feature, row.key_owner) for row in ROWS if row.outcome == "ok"}
    }
    with pytest.raises(MissingRollupError, match="user and feature together"):
        await store.sum_by_combination(["user", "feature"], MONTH)


async def test_one_call_is_found_by_its_id(store: SqlUsageStore) -> None:
    found = await store.find_request(call(3))

    assert found is not None
    assert found.attempts == tuple(ROWS[2:4])
    assert await store.find_request("nothing") is None
    assert await store.find_request("no\0thing") is None


@pytest.mark.parametrize(
    ("pico", "told"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (450_000_000, "0.00045"),
        (-(10**12), "-1"),
        (12 * 10**12 + 5 * 10**11, "12.5"),
    ],
)
def test_dollars_are_exact(pico: int, told: str) -> None:
    assert format_dollars(pico) == told


def test_as_json_it_has_no_pico_dollars() -> None:
    told: dict[str, Any] = UsageSums(calls=1, cost=450_000_000).as_dict()

    assert told["cost_usd"] == "0.00045"
    assert "cost" not in told
