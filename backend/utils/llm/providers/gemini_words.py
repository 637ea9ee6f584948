"""Gemini's JSON: what the adapter means becomes the body of a request, the body of an answer what the adapter reads.

The SDK does both field by field, through tables for two services at once; here its types do it themselves. Their names
are the API's, except that a request's settings stand together in the SDK's type and in two places on the wire.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.genai.errors import APIError
from google.genai.types import GenerateContentResponse
from pydantic import ValidationError

from .gemini_names import make_known

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from google.genai.types import GenerateContentConfig
    from pydantic import BaseModel

_BESIDE = ("systemInstruction", "safetySettings", "tools", "toolConfig", "cachedContent")
"""What stands beside ``generationConfig``, not in it."""
_NOT_SENT = {"http_options", "automatic_function_calling", "should_return_http_response"}


def body_of(contents: list[Any], config: GenerateContentConfig) -> dict[str, Any]:
    """The body of a request."""
    settings = _plain(config, exclude=_NOT_SENT)
    beside = {key: settings.pop(key) for key in _BESIDE if key in settings}
    return {"contents": [_plain(one) for one in contents], **beside, "generationConfig": settings}


def _plain(value: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """Without warnings: the adapter puts texts where the SDK's types have bytes."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude, warnings=False)


def path_of(model: str, method: str) -> str:
    """Below the base URL."""
    return f"/v1beta/{model if '/' in model else f'models/{model}'}:{method}"


def response_of(told: Any) -> GenerateContentResponse:
    """An answer, or a part of a stream, from its JSON.

    Raises:
        APIError: If it tells an error.
        ValueError: If it is no answer.
    """
    raise_for(told)
    make_known(told, GenerateContentResponse)
    try:
        return GenerateContentResponse.model_validate(told)
    except ValidationError:
        return _leniently(told)


def _leniently(told: Any) -> GenerateContentResponse:
    """As the SDK reads it: without what it does not know, and with what it calls by another name."""
    from google.genai.models import _GenerateContentResponse_from_mldev

    if not isinstance(told, dict):
        raise ValueError("The answer is not an object.")  # noqa: TRY004 - the provider's fault, not ours
    return GenerateContentResponse._from_response(  # noqa: SLF001 - there is no other way in
        response=_GenerateContentResponse_from_mldev(told, None, None), kwargs={}
    )


def raise_for(told: Any) -> None:
    """Raise the error that ``told`` is; nothing if it is none.

    Raises:
        APIError: The SDK's.
    """
    error = told.get("error") if isinstance(told, dict) else None
    if isinstance(error, dict) and error:
        code = error.get("code")
        APIError.raise_error(code if isinstance(code, int) else 0, told, None)


def error_of(response: httpx2.Response) -> Exception:
    """The SDK's exception for an answer that is an error."""
    try:
        APIError.raise_for_response(response)
    except APIError as error:
        return error
    return APIError(response.status_code, _json(response.content))


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
