"""Who a file is: its fingerprint, the guard before an offset, and the trail of boundaries whose guards are still needed.

THEORY
Device and inode find a file again cheaply, but inodes are reused and copies have others. The fingerprint (hash of the first
<= 1024 bytes, growing while the file is shorter) tells files apart; the guard (hash of the last <= 1024 bytes before an offset)
proves that the bytes read so far are still there, which defends against reuse as well as truncate-and-regrow (the committed
frontier guard of open-telemetry/otel-arrow, filelog receiver design). That design takes 64 bytes; records of one length with a
constant end then look alike, so ours is long enough to hold what differs in a record, its time for one.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b

HEAD_BYTES = 1024
GUARD_BYTES = 1024
_HASH_BYTES = 16
_TRAIL_ITEMS = 64


def digest(data: bytes) -> bytes:
    """Hash for fingerprints and guards, 16 bytes."""
    return blake2b(data, digest_size=_HASH_BYTES).digest()


NOTHING = digest(b"")


def guard_size(offset: int) -> int:
    """How many bytes the guard of `offset` covers."""
    return min(GUARD_BYTES, offset)


class Fingerprint:
    """Hash of the first `length` <= 1024 bytes of a file; grows with what is read of it."""

    __slots__ = ("length", "value")

    def __init__(self, head: bytes) -> None:
        """Take the first bytes of a file; those beyond 1024 do not count."""
        head = head[:HEAD_BYTES]
        self.length = len(head)
        self.value = digest(head)

    @classmethod
    def known(cls, length: int, value: bytes) -> Fingerprint:
        """One from the checkpoint."""
        found = cls(b"")
        found.length, found.value = length, value
        return found

    def matches(self, head: bytes) -> bool:
        """Whether a file with this head can be the same. An empty fingerprint matches nothing."""
        return 0 < self.length <= len(head) and digest(head[: self.length]) == self.value

    def grow(self, data: bytes, offset: int) -> None:
        """Take bytes of the same file, read at `offset`. Only those from byte 0 on count: until it is full, reads start there."""
        if offset == 0 and self.length < min(len(data), HEAD_BYTES):
            self.length, self.value = min(len(data), HEAD_BYTES), digest(data[:HEAD_BYTES])


class Trail:
    """Record boundaries that are not settled yet, with their guards: at most 64; when full, every second one is dropped.

    A dropped boundary costs nothing but precision: the guard of an earlier one is kept in the checkpoint instead.
    """

    __slots__ = ("_guards", "_offsets")

    def __init__(self, offset: int, guard: bytes) -> None:
        """Begin at a boundary that counts as settled."""
        self._offsets = [offset]
        self._guards = [guard]

    def add(self, offset: int, guard: bytes) -> None:
        """Add a boundary; offsets grow."""
        if offset <= self._offsets[-1]:
            return
        if len(self._offsets) >= _TRAIL_ITEMS:
            self._offsets[1:-1:2] = []
            self._guards[1:-1:2] = []
        self._offsets.append(offset)
        self._guards.append(guard)

    def at(self, offset: int) -> tuple[int, bytes]:
        """The last boundary at or before `offset`, and its guard."""
        number = max(0, bisect_right(self._offsets, offset) - 1)
        return self._offsets[number], self._guards[number]

    def last(self) -> tuple[int, bytes]:
        """The last boundary, and its guard."""
        return self._offsets[-1], self._guards[-1]

    def prune(self, settled: int) -> None:
        """Forget what lies before the boundary that `settled` needs."""
        number = bisect_right(self._offsets, settled) - 1
        if number > 0:
            del self._offsets[:number], self._guards[:number]
