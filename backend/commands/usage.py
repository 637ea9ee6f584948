"""``usage``: shows the usage and cost of calls; prunes, exports and reprices the ledger."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands import completion
from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    Json,
    current_os_user,
    err,
    exit_on_storage_errors,
    exit_with_error,
    open_audited_sessions,
    open_sessions,
    out,
    parse_duration,
    print_json,
    read_settings,
)
from backend.ledger.usage import Dimension, MissingRollupError, UsageFilter, UsagePeriod, build_usage_report
from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.database.usage import SqlUsageStore
    from backend.ledger.prices import PriceFile
    from backend.ledger.usage import GroupSums, LedgerRequest, PrunedCounts, UsageSums

app = make_command_app(help="What calls used and cost, by feature if nothing else is asked for.")
DAYS = 30
"""The default period: this many days, today included."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _day(text: str) -> date:
    """Parse a day: ``2026-11-29``, ``today``, or a number of days before today: ``30d``."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        return (
            _today()
            if text == "today"
            else _today() - max(parse_duration(text) - timedelta(days=1), timedelta())
        )
    except (ValueError, OverflowError, typer.BadParameter) as error:
        raise typer.BadParameter(f"{text!r} is no day. Write 2026-11-29, today, 30d or 2w.") from error


Since = Annotated[
    date | None,
    typer.Option(
        parser=_day, metavar="DAY", help="The first day, in UTC: 2026-11-29, or 7d for the last seven."
    ),
]
Until = Annotated[
    date | None, typer.Option(parser=_day, metavar="DAY", help="The last day, by default today.")
]
CsvPath = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write CSV.")]
ParquetPath = Annotated[
    Path | None, typer.Option("--parquet", metavar="FILE", help="Write Parquet; needs pyarrow.")
]
PricesPath = Annotated[
    Path, typer.Option("--prices", metavar="FILE", help="Prices by endpoint, as JSON or TOML.")
]
Count = Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)]
Feature = Annotated[
    str | None, typer.Option(help="Of this feature alone.", autocompletion=completion.complete_features)
]
Model = Annotated[
    str | None,
    typer.Option(help="Of this provider:model alone.", autocompletion=completion.complete_endpoints),
]
User = Annotated[str | None, typer.Option(help="Of this user alone.")]
Tenant = Annotated[str | None, typer.Option(help="Of this tenant alone.")]
Owner = Annotated[str | None, typer.Option(help="Of house or user keys alone.")]
Outcome = Annotated[str | None, typer.Option(help="Of attempts with this outcome alone, such as failed.")]


@app.callback(invoke_without_command=True)
def show_usage_by_feature(
    context: typer.Context, *, since: Since = None, until: Until = None, as_json: Json = False
) -> None:
    """Show the usage and cost of calls by feature, for the last 30 days unless --since or --until says otherwise."""
    if context.invoked_subcommand is not None and (since or until or as_json):
        raise typer.BadParameter(f"Options of {context.invoked_subcommand} stand behind it.")
    if context.invoked_subcommand is None:
        _tell("feature", _period(since, until), UsageFilter(), 100, as_json=as_json)


@app.command("by")
def show_usage_by_dimension(  # noqa: PLR0913 - one for each option of the command line
    dimension: Annotated[Dimension, typer.Argument(help="What to tell it by.")],
    *,
    since: Since = None,
    until: Until = None,
    feature: Feature = None,
    model: Model = None,
    user: User = None,
    tenant: Tenant = None,
    owner: Owner = None,
    outcome: Outcome = None,
    limit: Count = 100,
    as_json: Json = False,
) -> None:
    """Show what calls used and cost, grouped by feature, model, user, tenant, owner of the key, outcome, day or hour."""
    only = UsageFilter(feature, model, user, tenant, owner, outcome)
    _tell(dimension, _period(since, until), only, limit, as_json=as_json)


@app.command("requests")
def show_calls(  # noqa: PLR0913 - one for each option of the command line
    call: Annotated[str | None, typer.Argument(help="One call, by its id.")] = None,
    *,
    feature: Feature = None,
    model: Model = None,
    user: User = None,
    tenant: Tenant = None,
    owner: Owner = None,
    outcome: Outcome = None,
    before: Annotated[str | None, typer.Option(metavar="CALL", help="Those before this call.")] = None,
    limit: Count = 20,
    as_json: Json = False,
) -> None:
    """Show the last calls, or the call with the id CALL, with all attempts of each."""
    only = UsageFilter(feature, model, user, tenant, owner, outcome)
    with _asking(as_json=as_json):
        found = asyncio.run(_requests(call, only, limit, before))
    if call is not None and not found:
        message = "No call has this id."
        exit_with_error(LookupError(message), {"code": "not_found", "message": message}, as_json=as_json)
    if as_json:
        print_json([request.as_dict() for request in found])
    else:
        from backend.commands.usage_grids import make_attempts_grid

        out.print(make_attempts_grid(found))


@app.command("prune")
def prune_ledger_attempts(
    *,
    older_than: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="TIME", help="Attempts that began longer ago: 90d."),
    ],
    sums_older_than: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="TIME",
            help="Also sums of days longer ago: 800d. They stay otherwise.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete old attempts and old runs of agents. Servers may be running.

    The daily sums of the attempts are kept, unless --sums-older-than says otherwise.
    """
    before = _today() - older_than
    with _asking(as_json=as_json):
        gone = asyncio.run(_pruned(before, None if sums_older_than is None else _today() - sums_older_than))
    if as_json:
        print_json({**gone._asdict(), "before": before.isoformat()})
    else:
        out.print(
            f"{gone.rows} attempts from before {before} are gone, {gone.sums} sums, and {gone.runs} runs of agents.",
            markup=False,
        )


@app.command("export")
def export_attempts(
    *,
    csv: CsvPath = None,
    parquet: ParquetPath = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Write all attempts of a period to a CSV or Parquet file."""
    path = csv or parquet
    if path is None or (csv and parquet):
        raise typer.BadParameter("Write --csv FILE or --parquet FILE.")
    with _asking(as_json=as_json):
        count = asyncio.run(_exported(path, _period(since, until), parquet=csv is None))
    if as_json:
        print_json({"rows": count, "file": str(path)})
    else:
        out.print(f"{count} attempts are in {path}.", markup=False)


@app.command("recompute")
def recompute_costs(
    *,
    prices: PricesPath,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Compute the costs of a period's attempts again, with prices from a file.

    Attempts whose token counts are unknown are not changed.
    """
    from backend.ledger.prices import read_price_file

    period = _period(since, until)
    with _asking(as_json=as_json):
        count = asyncio.run(_recomputed(period, read_price_file(prices)))
    if as_json:
        print_json({"changed": count, "since": str(period.since), "until": str(period.until)})
    else:
        out.print(
            f"{count} attempts from {period.since} to {period.until} cost something else now.", markup=False
        )


def _tell(by: Dimension, period: UsagePeriod, only: UsageFilter, limit: int, *, as_json: bool) -> None:
    from backend.commands.usage_grids import make_usage_grid

    with _asking(as_json=as_json):
        used, total = asyncio.run(_used(by, period, only, limit))
    if as_json:
        print_json(build_usage_report(by, period, used, total))
    elif not used:
        out.print(f"Nothing from {period.since} to {period.until}.", markup=False)
    else:
        out.print(make_usage_grid(by, used, total))
        if len(used) == limit:
            err.print(f"There may be more than these {limit}: --limit shows them. The total is of all.")
        if total.unpriced:
            err.print(f"{total.unpriced} attempts have no known price, and are in no cost.")


async def _used(
    by: Dimension, period: UsagePeriod, only: UsageFilter, limit: int
) -> tuple[Sequence[GroupSums], UsageSums]:
    async with _store() as store:
        return await store.sum_by_dimension(by, period, only, limit=limit), await store.sum_total(
            period, only
        )


async def _requests(
    call: str | None, only: UsageFilter, limit: int, before: str | None
) -> Sequence[LedgerRequest]:
    async with _store() as store:
        if call is None:
            return await store.list_requests(only, limit=limit, before=before)
        found = await store.find_request(call)
        return [found] if found else []


async def _pruned(before: date, sums_before: date | None) -> PrunedCounts:
    from backend.database.retention import prune_ledger

    async with open_audited_sessions(read_settings()) as sessions:
        return await prune_ledger(sessions.kw["bind"], before, sums_before, actor=current_os_user())


async def _exported(path: Path, period: UsagePeriod, *, parquet: bool) -> int:
    from backend.commands.exports import open_csv_file, open_parquet_file
    from backend.database.export import export_ledger_rows

    count = 0
    async with _engine() as engine:
        with (open_parquet_file if parquet else open_csv_file)(path) as write:
            async for rows in export_ledger_rows(engine, period):
                write(rows)
                count += len(rows)
    return count


async def _recomputed(period: UsagePeriod, prices: PriceFile) -> int:
    from backend.database.recompute import recompute_costs

    async with open_audited_sessions(read_settings()) as sessions:
        engine, rates = sessions.kw["bind"], prices.to_token_rates()
        return await recompute_costs(engine, period, rates, prices.version, actor=current_os_user())


@asynccontextmanager
async def _store() -> AsyncIterator[SqlUsageStore]:
    from backend.database.usage import SqlUsageStore

    async with _engine() as engine:
        yield SqlUsageStore(engine)


@asynccontextmanager
async def _engine() -> AsyncIterator[AsyncEngine]:
    async with open_sessions(read_settings()) as sessions:
        yield sessions.kw["bind"]


@contextmanager
def _asking(*, as_json: bool) -> Iterator[None]:
    from backend.commands.exports import MissingPackageError
    from backend.ledger.prices import UnusablePricesError
    from backend.ledger.store import StoreUnreachableError

    with exit_on_storage_errors(as_json=as_json):
        try:
            yield
        except (MissingRollupError, StoreUnreachableError, MissingPackageError, UnusablePricesError) as error:
            exit_with_error(error, {"code": error.code, "message": str(error)}, as_json=as_json)
        except OSError as error:
            exit_with_error(error, {"code": "file", "message": str(error)}, as_json=as_json)


def _period(since: date | None, until: date | None) -> UsagePeriod:
    """The period from ``since`` to ``until``. Raises typer.BadParameter if it ends before it begins."""
    last = until or _today()
    first = since or UsagePeriod.last_days(DAYS, last).since
    if first > last:
        raise typer.BadParameter(f"{first} is after {last}.")
    return UsagePeriod(first, last)


def _today() -> date:
    return Time().now().date()
