"""Walks the audit trail, and names what does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .audit import START

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .audit import Entry, Grown, Head, Verifier

Fault = Literal["changed", "removed", "inserted", "reordered", "truncated", "forged"]
_SEARCHED: Final = 20_000
"""Places up to which an entry is looked for that may have been moved."""


class Break(NamedTuple):
    """A place where the trail does not hold.

    Attributes:
        fault: What was done to it, as far as can be told.
        where: Which row.
        says: A sentence.
    """

    fault: Fault
    where: str
    says: str


class Signatures(NamedTuple):
    """What the heads vouch for.

    Attributes:
        tips: Chain and writer to the signed hashes by sequence.
        unverified: Heads, the last ones, whose master key is gone, so that nobody can tell whether they were signed.
        last: The last head.
    """

    tips: Mapping[tuple[str, str], Mapping[int, str]]
    unverified: int
    last: Head | None

    def of(self, chain: str, writer: str) -> Mapping[int, str]:
        """The signed hashes of one chain."""
        return self.tips.get((chain, writer), {})


def check_heads(heads: Iterable[Head], verifier: Verifier) -> tuple[Signatures, list[Break]]:
    """Check ``heads``, which are in the order of their numbers, and collect what they sign."""
    walk = _Heads(verifier)
    for head in heads:
        walk.see(head)
    return Signatures(walk.tips, walk.unverified, walk.last), walk.breaks


class _Heads:
    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.tips: dict[tuple[str, str], dict[int, str]] = {}
        self.breaks: list[Break] = []
        self.unverified = 0
        self.last: Head | None = None

    def see(self, head: Head) -> None:
        where, before = f"head {head.number}", self.last
        expected = before.number + 1 if before else 1
        if head.number < expected:
            self._add("inserted", where, "heads are numbered from 1")
        elif head.number > expected:
            self._add("removed", f"head {expected}", f"the one after it is head {head.number}")
        elif head.digest() != head.hash:
            self._add("changed", where, "its content does not have its hash")
        elif head.previous != (before.hash if before else START):
            self._add("changed", where, "it does not follow the head before it")
        self._check_signature(head, where)
        self._collect(head, where)
        self.last = head

    def _check_signature(self, head: Head, where: str) -> None:
        try:
            signature = bytes.fromhex(head.signature)
        except ValueError:
            signature = b""
        verified = self._verifier.verifies(head.key, head.hash.encode(), signature)
        if verified is False:
            self._add("forged", where, "its signature is none of its key")
        # A head that is verified vouches for all before it, whose hashes it holds.
        self.unverified = 0 if verified else self.unverified + 1

    def _collect(self, head: Head, where: str) -> None:
        try:
            tips = head.all_tips()
        except ValueError:
            self._add("changed", where, "its tips cannot be read")
            return
        for tip in tips:
            self.tips.setdefault((tip.chain, tip.writer), {})[tip.sequence] = tip.hash

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(Break(fault, where, says))


class ChainWalk:
    """One writer's chain of entries, link by link. `see` takes the entries in the order of their numbers.

    Args:
        writer: Whose.
        grown: What is noted beside the chain; None if nothing is.
        signed: The signed hashes by sequence.
    """

    def __init__(self, writer: str, grown: Grown | None, signed: Mapping[int, str]) -> None:
        self._writer = writer
        self._grown = grown
        self._signed = signed
        self._sequence = 0
        self._hash = START
        self.breaks: list[Break] = []

    @property
    def count(self) -> int:
        """The number of the last link that was seen."""
        return self._sequence

    def see(self, entry: Entry) -> None:
        """Check that ``entry`` is the next link."""
        expected = self._sequence + 1
        if entry.sequence < expected:
            self._add("inserted", entry.name, "entries are numbered from 1")
            return
        if self._grown is not None and entry.sequence > self._end():
            self._add("inserted", entry.name, f"the chain ends with entry {self._end()}")
        elif entry.sequence > expected:
            self._add("removed", self._range(expected, entry.sequence - 1), "there is a gap")
        self._check_content(entry, is_next=entry.sequence == expected)
        if self._signed.get(entry.sequence, entry.hash) != entry.hash:
            self._add("changed", entry.name, "a signed head has another hash for it")
        self._sequence, self._hash = entry.sequence, entry.hash

    def end(self) -> None:
        """Check that nothing is missing behind the last one."""
        signed = max(self._signed, default=0)
        if self._sequence < self._end():
            by = "a signed head" if signed > self._sequence else "what is noted beside it"
            missing = self._range(self._sequence + 1, self._end())
            self._add("truncated", missing, f"by {by}, the chain goes on")
        elif self._grown is None:
            self._add(
                "removed",
                f"the tail of {self._writer}",
                "nothing is noted of this chain: it was inserted, or that was removed",
            )
        elif (self._grown.sequence, self._grown.hash) != (self._sequence, self._hash):
            self._add("changed", f"the tail of {self._writer}", "it is not what the chain ends with")
        if self._grown is not None and self._grown.signed != signed:
            fault: Fault = "truncated" if self._grown.signed > signed else "changed"
            self._add(
                fault, f"the heads over {self._writer}", f"they sign {signed}, not {self._grown.signed}"
            )

    def _check_content(self, entry: Entry, *, is_next: bool) -> None:
        if entry.digest() == entry.hash:
            if is_next and entry.previous != self._hash:
                self._add("changed", entry.name, "it does not follow the entry before it")
        elif (place := self._place_of(entry)) is not None:
            self._add("reordered", entry.name, f"its place is {place}")
        else:
            self._add("changed", entry.name, "its content does not have its hash")

    def _place_of(self, entry: Entry) -> int | None:
        places = range(1, min(self._end(), _SEARCHED) + 1)
        return next((n for n in places if entry._replace(sequence=n).digest() == entry.hash), None)

    def _end(self) -> int:
        """The number of the last link, by whatever knows of one."""
        return max(self._grown.sequence if self._grown else 0, *self._signed, 0)

    def _range(self, first: int, last: int) -> str:
        number = f"entry {first}" if first == last else f"entries {first} to {last}"
        return f"{number} of {self._writer}"

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(Break(fault, where, says))


def walk_chain(
    entries: Iterable[Entry], writer: str, grown: Grown | None, signed: Mapping[int, str]
) -> ChainWalk:
    """The walk over all of a writer's ``entries``, to its end."""
    walk = ChainWalk(writer, grown, signed)
    for entry in entries:
        walk.see(entry)
    walk.end()
    return walk
