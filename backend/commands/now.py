"""``now``: asks a running server whether failures are its own or a provider's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    ExitStatus,
    Json,
    exit_on_errors,
    exit_with_error,
    out,
    print_json,
    read_settings,
)
from backend.printing import TextTable

app = make_command_app()
_SECONDS = 10.0
"""That the server may take."""


class NoServerAnswerError(Exception):
    """No server answers at the given address, it answers with an error, or it refuses the access token."""

    code = "no_answer"


@app.command()
def show_server_status(
    *,
    url: Annotated[
        str | None, typer.Option(help="Where the server is; by default where one of this machine would be.")
    ] = None,
    token: Annotated[
        str, typer.Option(envvar="PATCHBAY_TOKEN", help="An admin's access token.", show_envvar=True)
    ] = "",
    as_json: Json = False,
) -> None:
    """Show whether a running server works, and whether failures are its own or a provider's; exit 1 if anything is bad.

    Also shows which endpoints cool down and why, and which limits and budgets are nearly used up.
    """
    with exit_on_errors(as_json=as_json):
        settings = read_settings()
    address = (url or settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")
    try:
        status = _asked(address, token)
    except NoServerAnswerError as error:
        exit_with_error(error, {"code": error.code, "message": str(error)}, as_json=as_json)
    if as_json:
        print_json(status)
    else:
        _print(status)
    if status["level"] == "bad":
        raise typer.Exit(ExitStatus.NO)


def _asked(address: str, token: str) -> dict[str, Any]:
    """Get the status page of the server at ``address``, as JSON.

    Raises:
        NoServerAnswerError: The server does not answer, or refuses the token.
    """
    import httpx

    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    try:
        response = httpx.get(f"{address}/", headers=headers, timeout=_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoServerAnswerError(
            f"No server answers at {address} ({type(error).__name__}). Name another by --url."
        ) from error
    if response.status_code in {303, 401, 403}:
        raise NoServerAnswerError(
            "A token with the scope debug is needed: PATCHBAY_TOKEN=… `tokens make NAME --scope debug` prints one."
        )
    if response.is_error:
        raise NoServerAnswerError(f"The server at {address} answers {response.status_code}.")
    return dict(response.json())


def _print(status: dict[str, Any]) -> None:
    from backend.console import wording

    window = status["window"]
    out.print(status["verdict"], markup=False)
    for sign in status["signs"]:
        out.print(f"  {sign['blame']}: {sign['says']}", markup=False)
    if window["attempts"]:
        failed, attempts = (
            wording.format_percent(window["failure_rate"]),
            wording.format_quantity(window["attempts"], "attempt"),
        )
        took = f"{wording.format_seconds(window['p50_s'])}, 95 % within {wording.format_seconds(window['p95_s'])}"
        out.print(f"The last quarter of an hour: {attempts}, {failed} failed, {took}.", markup=False)
    if status["endpoints"]:
        heads = ("endpoint", "state", "attempts", "failed", "429", "median", "95 %", "last success")
        at = datetime.fromisoformat(status["at"])
        out.print(TextTable(heads, [_row(item, at) for item in status["endpoints"]], right=range(2, 7)))


def _row(one: dict[str, Any], at: datetime) -> tuple[str, ...]:
    from backend.console import wording

    lately, success = one["now"], one["now"]["success_at"]
    return (
        one["name"],
        one["state"] or "",
        str(lately["attempts"]),
        wording.format_percent(lately["failure_rate"] if lately["attempts"] else None),
        str(lately["limited"]),
        wording.format_seconds(lately["p50_s"]),
        wording.format_seconds(lately["p95_s"]),
        wording.format_time_ago(None if success is None else datetime.fromisoformat(success), at),
    )
