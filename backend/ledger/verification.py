"""Verifies the hash chains and signatures of the audit trail and the ledger, and reports every fault."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .audit import START
from .chains import ChainEnd, extend_chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .audit import AuditEntry, ChainLength, SignatureVerifier, SignedHead
    from .chains import ChainLink

Fault = Literal["changed", "removed", "inserted", "reordered", "truncated", "forged"]
BESIDE_PRUNED: Final = 2 * 86_400_000_000
"""Two days in microseconds: from when an attempt began until its end is signed, with a store that was away in between."""
_SEARCHED: Final = 20_000
"""Places up to which an entry is looked for that may have been moved."""


class ChainBreak(NamedTuple):
    """Evidence that the audit trail or the ledger was tampered with.

    Attributes:
        fault: The kind of tampering, as far as it can be determined.
        where: The affected row.
        says: The evidence, as a sentence.
    """

    fault: Fault
    where: str
    says: str


class SignedLink(NamedTuple):
    """The hash of a chain's link as signed by a head, and when it was signed, in microseconds since 1970 (UTC)."""

    hash: str
    at: int


class HeadSignatures(NamedTuple):
    """All links of hash chains that heads have signed.

    Attributes:
        tips: The signed links by the kind and the writer of their chain, then by sequence.
        unverified: How many of the last heads cannot be verified, because their master key no longer exists.
        last: The last head; None if there is none.
    """

    tips: Mapping[tuple[str, str], Mapping[int, SignedLink]]
    unverified: int
    last: SignedHead | None

    def signed_links(self, chain: str, writer: str) -> Mapping[int, SignedLink]:
        """Return the signed links of the chain of ``writer``, by sequence; empty if heads have signed none of them.

        ``chain`` is the kind of chain, `ENTRIES` or `ATTEMPTS`.
        """
        return self.tips.get((chain, writer), {})


def verify_heads(
    heads: Iterable[SignedHead], verifier: SignatureVerifier
) -> tuple[HeadSignatures, list[ChainBreak]]:
    """Verify the sequence, hashes and signatures of ``heads``, which are in the order of their numbers.

    Returns:
        The links that the heads have signed, and all faults found.
    """
    walk = _Heads(verifier)
    for head in heads:
        walk.see(head)
    return HeadSignatures(walk.tips, walk.unverified, walk.last), walk.breaks


class _Heads:
    def __init__(self, verifier: SignatureVerifier) -> None:
        self._verifier = verifier
        self.tips: dict[tuple[str, str], dict[int, SignedLink]] = {}
        self.breaks: list[ChainBreak] = []
        self.unverified = 0
        self.last: SignedHead | None = None

    def see(self, head: SignedHead) -> None:
        where, before = f"head {head.number}", self.last
        expected = before.number + 1 if before else 1
        if head.number < expected:
            self._add("inserted", where, "heads are numbered from 1")
        elif head.number > expected:
            self._add("removed", f"head {expected}", f"the one after it is head {head.number}")
        elif head.compute_hash() != head.hash:
            self._add("changed", where, "its content does not have its hash")
        elif head.previous != (before.hash if before else START):
            self._add("changed", where, "it does not follow the head before it")
        self._check_signature(head, where)
        self._collect(head, where)
        self.last = head

    def _check_signature(self, head: SignedHead, where: str) -> None:
        try:
            signature = bytes.fromhex(head.signature)
        except ValueError:
            signature = b""
        verified = self._verifier.is_valid_signature(head.key, head.hash.encode(), signature)
        if verified is False:
            self._add("forged", where, "its signature is none of its key")
        # A head that is verified vouches for all before it, whose hashes it holds.
        self.unverified = 0 if verified else self.unverified + 1

    def _collect(self, head: SignedHead, where: str) -> None:
        try:
            tips = head.parse_tips()
        except ValueError:
            self._add("changed", where, "its tips cannot be read")
            return
        for tip in tips:
            self.tips.setdefault((tip.chain, tip.writer), {})[tip.sequence] = SignedLink(tip.hash, head.at)

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(ChainBreak(fault, where, says))


class EntryChainVerifier:
    """Verifies one process's hash chain of audit entries.

    Pass its entries to `verify_next` in order, then call `verify_end`.

    Args:
        writer: The id of the process.
        grown: The recorded length of the chain; None if none is recorded.
        signed: The links of the chain that heads have signed, by sequence.

    Attributes:
        breaks: The faults found.
    """

    def __init__(self, writer: str, grown: ChainLength | None, signed: Mapping[int, SignedLink]) -> None:
        self._writer = writer
        self._grown = grown
        self._signed = signed
        self._sequence = 0
        self._hash = START
        self.breaks: list[ChainBreak] = []

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last verified entry; 0 before the first."""
        return self._sequence

    def verify_next(self, entry: AuditEntry) -> None:
        """Verify ``entry``, the next entry of the chain, and add faults to ``breaks``."""
        expected = self._sequence + 1
        if entry.sequence < expected:
            self._add("inserted", entry.display_name, "entries are numbered from 1")
            return
        if self._grown is not None and entry.sequence > self._end():
            self._add("inserted", entry.display_name, f"the chain ends with entry {self._end()}")
        elif entry.sequence > expected:
            self._add("removed", self._range(expected, entry.sequence - 1), "there is a gap")
        self._check_content(entry, is_next=entry.sequence == expected)
        signed = self._signed.get(entry.sequence)
        if signed is not None and signed.hash != entry.hash:
            self._add("changed", entry.display_name, "a signed head has another hash for it")
        self._sequence, self._hash = entry.sequence, entry.hash

    def verify_end(self) -> None:
        """Verify, after the last entry, that none is missing at the end, and add faults to ``breaks``."""
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

    def _check_content(self, entry: AuditEntry, *, is_next: bool) -> None:
        if entry.compute_hash() == entry.hash:
            if is_next and entry.previous != self._hash:
                self._add("changed", entry.display_name, "it does not follow the entry before it")
        elif (place := self._place_of(entry)) is not None:
            self._add("reordered", entry.display_name, f"its place is {place}")
        else:
            self._add("changed", entry.display_name, "its content does not have its hash")

    def _place_of(self, entry: AuditEntry) -> int | None:
        places = range(1, min(self._end(), _SEARCHED) + 1)
        return next((n for n in places if entry._replace(sequence=n).compute_hash() == entry.hash), None)

    def _end(self) -> int:
        """The highest known number of the last link."""
        return max(self._grown.sequence if self._grown else 0, *self._signed, 0)

    def _range(self, first: int, last: int) -> str:
        number = f"entry {first}" if first == last else f"entries {first} to {last}"
        return f"{number} of {self._writer}"

    def _add(self, fault: Fault, where: str, says: str) -> None:
        self.breaks.append(ChainBreak(fault, where, says))


class AttemptChainVerifier:
    """Verifies one process's hash chain of attempts: pass its rows to `verify_next`, then call `verify_end`.

    The chain may have gaps, because rows that the store refuses are not added. So hashes are compared only
    at links that heads have signed, and at the recorded end. Pruned rows are missing at the beginning of a
    chain: a difference at a link signed less than `BESIDE_PRUNED` after ``pruned`` is no fault.

    Args:
        writer: The id of the process.
        grown: The recorded length of the chain; None if none is recorded.
        signed: The links of the chain that heads have signed, by sequence.
        pruned: Attempts that began before this time may be pruned. In microseconds since 1970 (UTC).

    Attributes:
        breaks: The faults found.
        count: How many rows were read, including unverified ones. Complete after `verify_end`.
        unverified: How many rows could not be verified, because earlier rows were pruned.
    """

    def __init__(
        self, writer: str, grown: ChainLength | None, signed: Mapping[int, SignedLink], pruned: int = 0
    ) -> None:
        self._writer = writer
        self._grown = grown
        self._signed = signed
        self._pruned = pruned
        ends = {sequence: link.hash for sequence, link in signed.items()}
        if grown is not None:
            ends.setdefault(grown.sequence, grown.hash)
        self._ends = deque(ChainEnd(*end) for end in sorted(ends.items()))
        self._at = self._start = ChainEnd()
        self._rows_since_end = 0
        self.breaks: list[ChainBreak] = []
        self.count = 0
        self.unverified = 0

    def verify_next(self, row: ChainLink) -> None:
        """Add ``row``, the next row of the chain, to the hash. At a signed link, compare the hash."""
        while self._ends and self._ends[0].sequence < row.sequence:
            self._pass(self._ends.popleft())
        if self._ends:
            self._at = extend_chain(self._at, [row])
        elif all(item.fault != "inserted" for item in self.breaks):
            self._add("inserted", f"attempt {row.sequence} of {self._writer}", "its chain ends before it")
        self._rows_since_end += 1

    def verify_end(self) -> None:
        """Verify, after the last row, that none is missing at the end, and add faults to ``breaks``."""
        while self._ends:
            self._pass(self._ends.popleft())
        self.count += self._rows_since_end
        if self._is_taken_back():
            self._add("changed", f"the tail of {self._writer}", "it is not what a head has signed")
        self.breaks += _beside(self._writer, self._grown, self._signed)

    def _pass(self, end: ChainEnd) -> None:
        """Compare the hash of the rows seen with that of the signed link ``end``, and continue from there."""
        if self._at != end:
            first = self._start.sequence + 1
            if self._may_be_pruned(end):
                self.unverified += self._rows_since_end
            else:
                is_short = self._rows_since_end <= end.sequence - first
                where = f"attempts {first} to {end.sequence} of {self._writer}"
                self._add("removed" if is_short else "changed", where, "they are not what their chain says")
        self.count += self._rows_since_end
        self._rows_since_end = 0
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
        self.breaks.append(ChainBreak(fault, where, says))


def _beside(writer: str, grown: ChainLength | None, signed: Mapping[int, SignedLink]) -> Iterator[ChainBreak]:
    """The contradictions between what is recorded about a chain and the links that heads have ``signed``."""
    last = max(signed, default=0)
    if grown is None:
        says = "nothing is noted of this chain: it was inserted, or that was removed"
        yield ChainBreak("removed", f"the tail of {writer}", says)
    elif grown.signed != last:
        fault: Fault = "truncated" if grown.signed > last else "changed"
        yield ChainBreak(fault, f"the heads over {writer}", f"they sign {last}, not {grown.signed}")
