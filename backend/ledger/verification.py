"""Verifies the hash chains and signatures of the audit trail, and reports every place where they do not fit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .audit import START
from .chains import ChainEnd, extended_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .audit import ChainLength, Entry, Head, Verifier
    from .chains import ChainLink

Fault = Literal["changed", "removed", "inserted", "reordered", "truncated", "forged"]
BESIDE_PRUNED: Final = 2 * 86_400_000_000
"""Two days in microseconds: from when an attempt began until its end is signed, with a store that was away in between."""
_SEARCHED: Final = 20_000
"""Places up to which an entry is looked for that may have been moved."""


class Break(NamedTuple):
    """Evidence that the audit trail or the ledger was tampered with.

    Attributes:
        fault: The kind of tampering, as far as it can be told.
        where: The row that is affected.
        says: The evidence as a sentence.
    """

    fault: Fault
    where: str
    says: str


class SignedLink(NamedTuple):
    """A chain link's hash as signed by a head, and the time of signing in microseconds since 1970 (UTC)."""

    hash: str
    at: int


class Signatures(NamedTuple):
    """The links of all chains that heads have signed.

    Attributes:
        tips: The signed links by chain and writer, each by its sequence.
        unverified: The number of last heads that cannot be verified, because their master key is gone.
        last: The last head; None if there is none.
    """

    tips: Mapping[tuple[str, str], Mapping[int, SignedLink]]
    unverified: int
    last: Head | None

    def of(self, chain: str, writer: str) -> Mapping[int, SignedLink]:
        """The signed links of the chain of ``writer``, by sequence; empty if no head has signed any."""
        return self.tips.get((chain, writer), {})


def check_heads(heads: Iterable[Head], verifier: Verifier) -> tuple[Signatures, list[Break]]:
    """Verify the signatures of ``heads``, in the order of their numbers.

    Returns:
        The links that the heads have signed, and all faults found.
    """
    walk = _Heads(verifier)
    for head in heads:
        walk.see(head)
    return Signatures(walk.tips, walk.unverified, walk.last), walk.breaks


class _Heads:
    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.tips: dict[tuple[str, str], dict[int, SignedLink]] = {}
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
            self.tips.setdefault((tip.chain, tip.writer), {})[tip.sequence] = SignedLink(tip.hash, head.at)

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(Break(fault, where, says))


class ChainWalk:
    """Verifies one writer's chain of entries, link by link. Pass the entries to `see` in order.

    Args:
        writer: The writer whose chain it is.
        grown: The recorded length of the chain; None if none is recorded.
        signed: The signed links of the chain, by sequence.
    """

    def __init__(self, writer: str, grown: ChainLength | None, signed: Mapping[int, SignedLink]) -> None:
        self._writer = writer
        self._grown = grown
        self._signed = signed
        self._sequence = 0
        self._hash = START
        self.breaks: list[Break] = []

    @property
    def count(self) -> int:
        """The number of the last link seen."""
        return self._sequence

    def see(self, entry: Entry) -> None:
        """Verify ``entry``, which must be the next link. Faults are added to ``breaks``."""
        expected = self._sequence + 1
        if entry.sequence < expected:
            self._add("inserted", entry.name, "entries are numbered from 1")
            return
        if self._grown is not None and entry.sequence > self._end():
            self._add("inserted", entry.name, f"the chain ends with entry {self._end()}")
        elif entry.sequence > expected:
            self._add("removed", self._range(expected, entry.sequence - 1), "there is a gap")
        self._check_content(entry, is_next=entry.sequence == expected)
        signed = self._signed.get(entry.sequence)
        if signed is not None and signed.hash != entry.hash:
            self._add("changed", entry.name, "a signed head has another hash for it")
        self._sequence, self._hash = entry.sequence, entry.hash

    def end(self) -> None:
        """After the last entry, verify that none is missing at the end. Faults are added to ``breaks``."""
        signed = max(self._signed, default=0)
        if self._sequence < self._end():
            by = "a signed head" if signed > self._sequence else "what is noted beside it"
            missing = self._range(self._sequence + 1, self._end())
            self._add("truncated", missing, f"by {by}, the chain goes on")
        elif self._grown is not None and (self._grown.sequence, self._grown.hash) != (
            self._sequence,
            self._hash,
        ):
            self._add("changed", f"the tail of {self._writer}", "it is not what the chain ends with")
        self.breaks += _beside(self._writer, self._grown, self._signed)

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
        """The highest known number of the last link."""
        return max(self._grown.sequence if self._grown else 0, *self._signed, 0)

    def _range(self, first: int, last: int) -> str:
        number = f"entry {first}" if first == last else f"entries {first} to {last}"
        return f"{number} of {self._writer}"

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(Break(fault, where, says))


class AttemptWalk:
    """Verifies one writer's chain of attempts, from one signed link to the next. Pass the rows to `see` in order.

    Numbers may be missing, because a row that the store refuses is set aside. So the hash at the next signed link
    decides. Pruned rows are missing at the beginning of a chain; links signed within `BESIDE_PRUNED` after them are not
    counted as breaks.

    Args:
        writer: The writer whose chain it is.
        grown: The recorded length of the chain; None if none is recorded.
        signed: The signed links of the chain, by sequence.
        pruned: Attempts that began before this time, in microseconds since 1970 (UTC), may have been pruned.
    """

    def __init__(
        self, writer: str, grown: ChainLength | None, signed: Mapping[int, SignedLink], pruned: int = 0
    ) -> None:
        self._writer = writer
        self._grown = grown
        self._signed = signed
        self._pruned = pruned
        ends = {sequence: one.hash for sequence, one in signed.items()}
        if grown is not None:
            ends.setdefault(grown.sequence, grown.hash)
        self._ends = deque(ChainEnd(*end) for end in sorted(ends.items()))
        self._at = self._start = ChainEnd()
        self._seen = 0
        self.breaks: list[Break] = []
        self.count = 0
        self.unverified = 0

    def see(self, row: ChainLink) -> None:
        """Add ``row`` to the chain's hash, and compare the hash where a head has signed it."""
        while self._ends and self._ends[0].sequence < row.sequence:
            self._pass(self._ends.popleft())
        if self._ends:
            self._at = extended_end(self._at, [row])
        elif all(one.fault != "inserted" for one in self.breaks):
            self._add("inserted", f"attempt {row.sequence} of {self._writer}", "its chain ends before it")
        self._seen += 1

    def end(self) -> None:
        """After the last row, verify that none is missing at the end."""
        while self._ends:
            self._pass(self._ends.popleft())
        self.count += self._seen
        if self._is_taken_back():
            self._add("changed", f"the tail of {self._writer}", "it is not what a head has signed")
        self.breaks += _beside(self._writer, self._grown, self._signed)

    def _pass(self, end: ChainEnd) -> None:
        """Compare the hash of the rows seen with that of the signed link ``end``, and continue from there."""
        if self._at != end:
            first = self._start.sequence + 1
            if self._may_be_pruned(end):
                self.unverified += self._seen
            else:
                is_short = self._seen <= end.sequence - first
                where = f"attempts {first} to {end.sequence} of {self._writer}"
                self._add("removed" if is_short else "changed", where, "they are not what their chain says")
        self.count += self._seen
        self._seen = 0
        self._at = self._start = end

    def _is_taken_back(self) -> bool:
        last = max(self._signed, default=0)
        if self._grown is None or not last:
            return False
        is_other = self._grown.sequence == last and self._grown.hash != self._signed[last].hash
        return self._grown.sequence < last or is_other

    def _may_be_pruned(self, end: ChainEnd) -> bool:
        signed = self._signed.get(end.sequence)
        return signed is not None and signed.at < self._pruned + BESIDE_PRUNED

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(Break(fault, where, says))


def _beside(writer: str, grown: ChainLength | None, signed: Mapping[int, SignedLink]) -> Iterator[Break]:
    """The contradictions between what is recorded about a chain and the links that heads have ``signed``."""
    last = max(signed, default=0)
    if grown is None:
        says = "nothing is noted of this chain: it was inserted, or that was removed"
        yield Break("removed", f"the tail of {writer}", says)
    elif grown.signed != last:
        fault: Fault = "truncated" if grown.signed > last else "changed"
        yield Break(fault, f"the heads over {writer}", f"they sign {last}, not {grown.signed}")
