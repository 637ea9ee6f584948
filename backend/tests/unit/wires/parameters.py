"""What becomes of each parameter of a wire, as rows, and what a vendor's own SDK says that there is.

A newer SDK with a parameter, or a kind of tool, item or block, that has no row fails a test: somebody has to decide.
"""

from __future__ import annotations

import re
import typing
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
from typing_extensions import is_typeddict

from backend.wires.faults import RequestFaultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from backend.wires.wire import Wire

Fate = Literal["served", "accepted", "left out", "refused"]
"""``accepted`` changes nothing for an answer, ``left out`` is named in a header."""
PAGE = Path(__file__).parents[4] / "docs/reference/parameters.md"


class Row(NamedTuple):
    """A parameter, with what a client may send and what becomes of it.

    Attributes:
        more: The fields of the request beside the necessary ones.
        told: What is read, by the path of an attribute; the names in the header; or the place that an error names.
    """

    name: str
    more: Mapping[str, Any]
    fate: Fate
    told: Any = None


def served(name: str, more: Mapping[str, Any], **told: Any) -> Row:
    """A row of what is served; ``told`` are attributes of the request, with ``__`` for a dot."""
    return Row(name, more, "served", told)


def accepted(name: str, more: Mapping[str, Any]) -> Row:
    """A row of what may be sent and changes nothing."""
    return Row(name, more, "accepted")


def left_out(name: str, more: Mapping[str, Any], *told: str) -> Row:
    """A row of what is not served; by default it is told by its own name."""
    return Row(name, more, "left out", list(told) or [name.rpartition(" ")[2]])


def refused(name: str, more: Mapping[str, Any], place: str) -> Row:
    """A row of what is refused, with the place that the error names."""
    return Row(name, more, "refused", place)


def same(prefix: str, kinds: Iterable[str], more: Any) -> list[Row]:
    """Rows of kinds that are left out alike; ``more`` makes the fields of a kind."""
    return [left_out(f"{prefix}: {kind}", more(kind)) for kind in kinds]


def named(rows: Sequence[Row]) -> list[Any]:
    """``rows`` as parameters of a test, each with a name."""
    return [pytest.param(row, id=f"{row.name} {number}") for number, row in enumerate(rows)]


def check(wire: Wire, necessary: Mapping[str, Any], row: Row) -> None:
    """Check that ``wire`` does with a row what it says."""
    body = {**necessary, **row.more}
    if row.fate == "refused":
        with pytest.raises(RequestFaultError) as caught:
            wire.parse_request(body)
        assert (caught.value.fault.status, caught.value.fault.param) == (400, row.told)
        return
    request = wire.parse_request(body).request
    assert request.ignored == (row.told if row.fate == "left out" else [])
    for path, value in row.told.items() if row.fate == "served" else ():
        assert reduce(_member, path.split("__"), request) == value


def _member(held: Any, name: str) -> Any:
    if isinstance(held, list | tuple):
        return held[int(name)]
    return held[name] if isinstance(held, dict) else getattr(held, name)


# What there is -------------------------------------------------------------------------------------------------------


def fields_of(form: Any, prefix: str = "") -> set[str]:
    """The names of the fields of a `TypedDict`, or of several."""
    return {f"{prefix}{name}" for one in _forms_in(form) for name in typing.get_type_hints(one)}


def kinds_of(form: Any, prefix: str, field: str = "type") -> set[str]:
    """The words that may stand in a field of a `TypedDict`, or of several."""
    hints = (typing.get_type_hints(one).get(field) for one in _forms_in(form))
    return {f"{prefix}: {word}" for hint in hints for word in _words_in(hint)}


def words_of(form: Any, prefix: str) -> set[str]:
    """The words of a `Literal`."""
    return {f"{prefix}: {word}" for word in _words_in(form)}


def _forms_in(form: Any) -> Iterator[Any]:
    if is_typeddict(form):
        yield form
        return
    for inner in typing.get_args(form):
        yield from _forms_in(inner)


def _words_in(hint: Any) -> Iterator[str]:
    if typing.get_origin(hint) is Literal:
        yield from map(str, typing.get_args(hint))
        return
    for inner in typing.get_args(hint):
        yield from _words_in(inner)


# What the page tells -------------------------------------------------------------------------------------------------


def fates_of(rows: Sequence[Row]) -> dict[str, str]:
    """The fates of each name, as the page tells them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        fates = found.setdefault(row.name, [])
        if row.fate not in fates:
            fates.append(row.fate)
    return {name: ", ".join(fates) for name, fates in found.items()}


def told_by_the_page(heading: str) -> dict[str, str]:
    """The names and fates in the tables below a heading of the page. A line may hold several names."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found: dict[str, str] = {}
    for line in re.findall(r"^\| `.*$", section, re.MULTILINE):
        names, fates, *_ = line.strip("|").split("|")
        found |= {name: fates.strip() for name in re.findall(r"`([^`]+)`", names)}
    return found
