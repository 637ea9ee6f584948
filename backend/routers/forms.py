"""HTML forms of the application's own pages: limited, and refused from other origins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

from .dependencies import OwnerDep  # noqa: TC001 - FastAPI reads signatures at run time
from .logins import is_own_form

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_FIELDS: Final = 100
_KIND: Final = "application/x-www-form-urlencoded"


def want_our_page(request: Request) -> None:
    """Check that the browser confirms that a page of this application sent the form.

    Raises:
        HTTPException: The browser does not confirm it.
    """
    if not is_own_form(request):
        raise HTTPException(403, "Only a page of the console itself may ask for this.")


async def _form(request: Request, _: OwnerDep) -> Mapping[str, str]:
    want_our_page(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise HTTPException(415, f"A form is sent as {_KIND}.")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(422, "That is no form of ours.") from None
    return dict(pairs)


FormDep = Annotated["Mapping[str, str]", Depends(_form)]
"""The fields of a form. Of a repeated field, the last value."""
