"""Who is this file: the examination that ends with one finding.

RULES
- One file is examined at a time; it asks for one `Open` or `Read` at a time, and looks at a few hundred bytes.
- Files whose inode a lost stream had come first, then the others in order of their last change.
- A file without a byte has no identity. A file that shows what a lost stream showed is that stream. A file beside a live one
  that begins like it is a copy as long as its last bytes stand in the live one too; otherwise it is new.
- A compressed file that shows what any stream of its live path showed is that stream, if the stream's own file is gone, and is
  held otherwise. One that ends too early and shows nobody's bytes is left until it is whole, or did not grow for a while.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from shipper.source.events import Got, Open, Opened, OpenFailed, Read, ReadFailed
from shipper.source.identity import GUARD_BYTES, HEAD_BYTES, digest, guard_size
from shipper.source.names import unpacked

if TYPE_CHECKING:
    from shipper.source.known import Known, Stream, Table


_UNKNOWN = 1 << 62
"""The size of a compressed file of which only the first bytes were decompressed."""


class Verdict(Enum):
    """What an examination finds."""

    SAME = "it still is its stream"
    REPLACED = "it is not its stream any more"
    RESUMED = "it is a stream that was lost"
    COPY = "it is a copy of a live file"
    ORIGINAL = "it is the live file whose copy was seen first, and taken for new"
    TORN = "it is compressed, ends too early, and nobody can say yet who it is"
    COVERED = "it is a copy, and all of it was read in the original"
    NEW = "nobody knows it"
    EMPTY = "it has no byte yet"
    FAILED = "it cannot be opened or read"
    LATER = "the file it looks like must be examined first"


class Finding(msgspec.Struct):
    """The outcome. `stream` is the one resumed, or shown by a twin; `other` the file it was compared with."""

    known: Known
    verdict: Verdict
    head: bytes = b""
    stream: Stream | None = None
    other: Known | None = None
    errno: int = 0
    reason: str = ""
    proof: tuple[int, bytes] | None = None
    """Of a file longer than its fingerprint of which nothing was settled: its size and the guard of its end."""


Question: TypeAlias = Open | Read
Answer: TypeAlias = Opened | OpenFailed | Got | ReadFailed
Steps: TypeAlias = Generator[Question, Answer, Finding]


class _FailedError(Exception):
    """The file under examination gave an error."""

    def __init__(self, errno: int, reason: str = "") -> None:
        super().__init__(errno)
        self.errno, self.reason = errno, reason


class Examiner:
    """The queue of files to examine, and the examination under way."""

    __slots__ = ("_order", "_queue", "_steps", "_table", "known")

    def __init__(self, table: Table) -> None:
        """Nobody waits."""
        self._table = table
        self._queue: list[tuple[bool, float, int, Known]] = []
        self._order = count()
        self._steps: Steps | None = None
        self.known: Known | None = None
        """Under examination."""

    def add(self, known: Known, *, urgent: bool = False) -> None:
        """Let it wait to be examined, unless it does; `urgent` puts it before those that are not."""
        if not known.queued or urgent:
            known.queued = True
            heappush(self._queue, (not urgent, known.mtime_s, next(self._order), known))

    def __bool__(self) -> bool:
        """Whether anybody waits or is under examination."""
        return bool(self._queue) or self._steps is not None

    def start(self, busy: Known | None) -> Question | None:
        """Begin with the next file, other than `busy` (whose bytes are being cut right now)."""
        aside = None
        question: Question | None = None
        while self._queue and self._steps is None:
            item = heappop(self._queue)
            known = item[3]
            if known is busy:
                aside = item
                continue
            if not known.queued:
                continue
            known.queued = known.stale = False
            if self._table.files.get(known.key) is known:
                self.known, self._steps = known, _examine(known, self._table)
                question = next(self._steps)
        if aside is not None:
            heappush(self._queue, aside)
        return question

    def answer(self, answer: Answer) -> Question | Finding:
        """Go on with the answer to the last question."""
        assert self._steps is not None
        try:
            return self._steps.send(answer)
        except StopIteration as stop:
            self.known = self._steps = None
            finding: Finding = stop.value
            return finding


def _examine(known: Known, table: Table) -> Steps:
    try:
        head, known.size = yield from _head(known)
        return (yield from _judge(known, head, table))
    except _FailedError as failure:
        return Finding(known, Verdict.FAILED, errno=failure.errno, reason=failure.reason)


def _judge(known: Known, head: bytes, table: Table) -> Steps:
    size = known.size
    own = known.stream
    if own is not None and own.given_up and own.print.matches(head):
        return Finding(known, Verdict.SAME, head)
    if own is not None:
        same = yield from _is_same(known, head, size)
        return Finding(known, Verdict.SAME if same else Verdict.REPLACED, head)
    if not head:
        return Finding(known, Verdict.TORN if known.torn else Verdict.EMPTY)
    waits = known.torn and not known.final and table.lies_at(unpacked(known.path))  # its plain file has more of it
    for stream in () if waits else table.candidates(known, head, size):
        if (yield from _proves(known, stream)):
            asks = not known.packed and stream.proof() is None  # its fingerprint, now longer, may be a common header
            return Finding(known, Verdict.RESUMED, head, stream, proof=(yield from _last_bytes(known, head)) if asks else None)
    twin = yield from _twin(known, head, table)
    if twin is not None:
        return twin
    if known.copied is not None and size <= known.copied.position and known.copied.id in table.orphans:
        return Finding(known, Verdict.COVERED, head)
    for other in table.originals(known, head):
        verdict = yield from _compare(known, other, head)
        if verdict is not Verdict.NEW:
            return Finding(known, verdict, head, other=other)
    if known.packed:
        return Finding(known, Verdict.NEW, head, proof=(yield from _content(known)))
    for copy in table.copies_of(known, head):
        if _is_proven(copy) and (yield from _proves(known, copy)):
            return Finding(known, Verdict.ORIGINAL, head, copy)
    return Finding(known, Verdict.NEW, head, proof=(yield from _last_bytes(known, head)))


def _twin(known: Known, head: bytes, table: Table) -> Generator[Question, Answer, Finding | None]:
    """Whether a compressed file and a plain one are one content; None: as far as can be told they are not."""
    for stream in table.twins(known):
        if stream.id in table.orphans or stream.position > known.size or not stream.print.matches(head):
            continue
        if not (yield from _proves(known, stream)):
            continue
        holder = table.holder(stream)
        if holder is None:
            return Finding(known, Verdict.RESUMED, head, stream)
        verdict = Verdict.COPY if _is_proven(stream) else (yield from _compare(known, holder, head))
        if verdict is not Verdict.NEW:
            return Finding(known, verdict, head, stream, holder)
    if not known.torn:
        return None
    if not known.final:
        return Finding(known, Verdict.TORN)
    shown = any(s.position >= known.size and s.print.matches(head) for s in table.twins(known))
    return Finding(known, Verdict.COVERED, head) if shown else None


def _is_proven(stream: Stream) -> bool:
    """Whether what a stream knows tells its file from others with the same first KiB, which may be a common header."""
    return stream.proof() is not None or stream.print.length < HEAD_BYTES


def _content(known: Known) -> Generator[Question, Answer, tuple[int, bytes] | None]:
    """Of a new compressed file that is not to be read from its beginning: go to its end, so that its size is known."""
    if known.begin:
        yield from _measure(known)
        known.begin = known.size
    return None


def _measure(known: Known) -> Generator[Question, Answer, None]:
    """Go to the end of a compressed file, so that its size is known."""
    while not known.whole and not known.torn:
        yield from _read(known, known.size, 1)


def _is_same(known: Known, head: bytes, size: int) -> Generator[Question, Answer, bool]:
    """Whether a file still shows what its stream knows of it."""
    stream = known.stream
    assert stream is not None
    return stream.position <= size and stream.print.matches(head) and (yield from _proves(known, stream))


def _proves(known: Known, stream: Stream) -> Generator[Question, Answer, bool]:
    """Whether the bytes before the stream's offset stand in the file."""
    proof = stream.proof()
    if proof is None:
        return True
    offset, guard = proof
    size = guard_size(offset)
    data, _ = yield from _read(known, offset - size, size)
    return digest(data) == guard


def _last_bytes(known: Known, head: bytes) -> Generator[Question, Answer, tuple[int, bytes] | None]:
    """What tells a new file from others with the same first KiB while nothing of it is settled."""
    if known.size <= len(head):
        return None
    data, _ = yield from _read(known, known.size - GUARD_BYTES, GUARD_BYTES)
    return (known.size, digest(data)) if len(data) == GUARD_BYTES else None


def _compare(known: Known, other: Known, head: bytes) -> Generator[Question, Answer, Verdict]:
    """Whether the first and the last KiB of `known` stand at the same places of the live file `other`."""
    try:
        begin, size = yield from _head(other)
        if not (yield from _is_same(other, begin, size)):
            return Verdict.LATER
    except _FailedError:
        return Verdict.LATER
    if begin[: len(head)] != head:
        return Verdict.NEW
    yield from _measure(known)
    at = max(0, known.size - HEAD_BYTES)
    mine = head if not at else (yield from _read(known, at, HEAD_BYTES))[0]
    try:
        theirs, _ = yield from _read(other, at, len(mine))
        return Verdict.COPY if theirs == mine else Verdict.NEW
    except _FailedError:
        return Verdict.LATER


def _head(known: Known) -> Generator[Question, Answer, tuple[bytes, int]]:
    """The first bytes and the size; opens the file if it is not."""
    if known.handle is not None:
        data, size = yield from _read(known, 0, HEAD_BYTES)
        return data, size if known.whole or known.torn else _UNKNOWN
    answer = yield from _open(known)
    return answer.head, answer.size if answer.whole or answer.torn else _UNKNOWN


def _open(known: Known) -> Generator[Question, Answer, Opened]:
    answer = yield Open(known.path, *known.key)
    if isinstance(answer, OpenFailed):
        raise _FailedError(answer.errno, answer.reason)
    assert isinstance(answer, Opened)
    known.handle, known.whole, known.torn, known.deleted = answer.handle, answer.whole, answer.torn, False
    return answer


def _read(known: Known, offset: int, size: int) -> Generator[Question, Answer, tuple[bytes, int]]:
    """Up to `size` bytes, short only where the file ends, and the file's size. Opens the file if it was closed to make room."""
    data, size_now = b"", 0
    while len(data) < size:
        if known.handle is None:
            yield from _open(known)
            assert known.handle is not None
        answer = yield Read(known.handle, offset + len(data), size - len(data))
        if isinstance(answer, ReadFailed):
            raise _FailedError(answer.errno)
        assert isinstance(answer, Got)
        size_now = answer.size_now
        known.whole, known.deleted = answer.whole, answer.nlink == 0
        known.torn = answer.torn or (known.torn and not answer.whole)  # a read that does not reach the end cannot tell
        if known.packed and (answer.whole or answer.torn):
            known.size = size_now
        data += answer.data
        if not answer.data or offset + len(data) >= size_now:
            break
    return data, size_now
