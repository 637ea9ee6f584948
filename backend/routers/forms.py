"""HTML forms of the application's own pages: limited in size, and refused from pages of other sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

from .dependencies import OwnerDep  # noqa: TC001 - FastAPI reads signatures at run time
from .logins import is_same_origin_form

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_FIELDS: Final = 100
_KIND: Final = "application/x-www-form-urlencoded"


def require_same_origin_form(request: Request) -> None:
    """Refuse a form unless the browser's headers confirm that a page of this application sent it.

    Raises:
        HTTPException: The headers do not confirm it (403).
    """
    if not is_same_origin_form(request):
        raise HTTPException(403, "Only a page of the console itself may ask for this.")


async def _form(request: Request, _: OwnerDep) -> Mapping[str, str]:
    require_same_origin_form(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise HTTPException(415, f"A form is sent as {_KIND}.")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(422, "That is no form of ours.") from None
    return dict(pairs)


FormDep = Annotated["Mapping[str, str]", Depends(_form)]
"""The fields of a form. Of a repeated field, the last value."""
