"""What an adopter's type checker is told. `make types` reads it strictly and without pydantic's plugin; nothing runs it."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel

from backend.utils.llm import Caller, OwnEndpoint, Receipt, StructuredAnswer, get_llm, receipt_of, receipts


class Items(BaseModel):
    """A schema of theirs."""

    names: list[str]


def structured() -> None:
    """A schema that is a type gives its objects."""
    model = get_llm("f")
    assert_type(model.with_structured_output(Items).invoke("hi"), Items)
    assert_type(model.with_structured_output({"title": "items"}).invoke("hi"), dict[str, Any])
    assert_type(model.with_structured_output(Items, include_raw=True).invoke("hi"), StructuredAnswer[Items])


def callers() -> None:
    """Keys are texts."""
    Caller(user_id="u1", keys={"openai": "sk-user"})
    OwnEndpoint(base_url="https://llm.example", model="m", key="sk-user")


def receipts_of_calls() -> str | None:
    """Receipts are typed."""
    with receipts() as seen:
        assert_type(seen, list[Receipt])
    return receipt_of(get_llm("f").invoke("hi"))["cost_usd"]
