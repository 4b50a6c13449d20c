"""Events and commands of the file source: all that `Tail` says to its driver and hears from it.

RULES
- Events are past tense, commands imperative. Sizes and offsets are bytes, `_s` are Unix seconds.
- A handle is a number the driver gives to an open file; it is used until `Close` and never again.
- A compressed file (`names.is_packed`) is read as its content: offsets, sizes and heads are of decompressed bytes everywhere but in
  `Entry`, which has what the listing shows.
- Each of `Scan`, `ListSiblings`, `Open` and `Read` is answered by exactly one of its events. At most one `Open` or `Read` is
  outstanding at a time, and at most one `Feed`: one window of bytes is the most that is in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class StreamState(msgspec.Struct):
    """What the checkpoint holds of a stream."""

    id: str
    path: str
    dev: int
    ino: int
    offset: int
    """Settled: everything before it has a verdict."""
    fingerprint_length: int
    fingerprint: str
    """blake2b (16 bytes, hex) of the first `fingerprint_length` bytes of the file."""
    guard: str
    """blake2b (16 bytes, hex) of the last <= 1024 bytes before `guard_offset`; empty: nobody knows them."""
    first_seen: float
    ended: bool = False
    """Read and settled to its end: there is nothing left to read unless the file grows."""
    cut: int | None = None
    """A record was cut here though it may not have ended; reading again must cut it there too."""
    guard_offset: int = 0
    """A record boundary at or before `offset`, equal to it unless a batch settled in part; where nothing is settled, the end of
    the file as it was when it was new."""
    size: int = 0
    """The largest size that was seen; what lies beyond `offset` is lost when the file cannot be found again."""
    mtime_s: float = 0.0
    """Last change that was seen; siblings changed since then came after this file."""
    home: str = ""
    """The live path it was rotated away from; empty: it still lies at its live path."""
    given_up: str = ""
    """Why nothing more is read of it, though there may be more: a decompression bomb, say."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One regular file as a listing shows it."""

    path: str
    """The real path, links resolved."""
    dev: int
    ino: int
    size: int
    mtime_s: float


class Refusal(msgspec.Struct, frozen=True):
    """A path that the glob matches and the edge will not open."""

    path: str
    reason: str


class Resume(msgspec.Struct, frozen=True):
    """The source starts; streams of its checkpoint, or None where there never was one. Must come first."""

    streams: Sequence[StreamState] | None


class Listed(msgspec.Struct, frozen=True):
    """All files of the source. Files missing from a listing that is not `complete` are not taken as gone."""

    entries: Sequence[Entry]
    refused: Sequence[Refusal]
    wall_s: float
    complete: bool = True


class SiblingsListed(msgspec.Struct, frozen=True):
    """The files in the directory of `path` whose names are related to its own, itself included.

    Files missing from a listing that is not `complete` (the directory may not be read, say) are not taken as gone.
    """

    path: str
    entries: Sequence[Entry]
    complete: bool = True


class Opened(msgspec.Struct, frozen=True):
    """The file is open; `head` is its first <= 1024 bytes."""

    handle: int
    path: str
    dev: int
    ino: int
    size: int
    head: bytes
    whole: bool = True
    """`size` is exact; False: a compressed file that holds at least so much."""
    torn: bool = False
    """The compressed file ends too early; it may still be written."""


class OpenFailed(msgspec.Struct, frozen=True):
    """It could not be opened. ESTALE: another file lies at the path by now."""

    path: str
    errno: int
    dev: int = 0
    ino: int = 0
    reason: str = ""


class Got(msgspec.Struct, frozen=True):
    """Bytes read at `offset`, maybe fewer than asked; size and number of names as they were after reading."""

    handle: int
    offset: int
    data: bytes
    size_now: int
    nlink: int
    whole: bool = True
    """`size_now` is exact; False: a compressed file that holds at least so much, and more than was read."""
    torn: bool = False
    """The compressed file ends too early; it may still be written."""
    underway: bool = False
    """A compressed file is being decompressed up to the offset: nothing yet, ask again."""


class ReadFailed(msgspec.Struct, frozen=True):
    """The read failed. EFBIG: a decompression bomb; EILSEQ: compressed data that cannot be decoded."""

    handle: int
    errno: int
    left: int = 0
    """Bytes of a compressed file that were not decoded, at least."""


class Consumed(msgspec.Struct, frozen=True):
    """A `Feed` was cut into records: the next one starts at `next_offset`, and reading goes on at `read_from` (left out: there)."""

    stream_id: str
    next_offset: int
    read_from: int | None = None
    unfinished: bool = False
    """Whole lines are left, as their record may go on in the next file: that one need not wait for them."""


class Noticed(msgspec.Struct, frozen=True):
    """The watch saw files change; `names` says that names came, went or moved, so that a scan is worth it."""

    paths: frozenset[str]
    names: bool = False


class WatchFailed(msgspec.Struct, frozen=True):
    """There is no watch (any more): look more often."""

    reason: str


class Settled(msgspec.Struct, frozen=True):
    """The ledger has verdicts for everything before `offset`."""

    stream_id: str
    offset: int


class Paused(msgspec.Struct, frozen=True):
    """Take no more data for now."""


class Resumed(msgspec.Struct, frozen=True):
    """Data is welcome again."""


class Drain(msgspec.Struct, frozen=True):
    """Read what is there to the end, unfinished lines included, and say `Drained` (`--once`)."""


class Scan(msgspec.Struct, frozen=True):
    """List all files of the source."""


class ListSiblings(msgspec.Struct, frozen=True):
    """List the files beside `path` whose names are related to its own."""

    path: str


class Open(msgspec.Struct, frozen=True):
    """Open the file, if it still is this inode, and read its head."""

    path: str
    dev: int
    ino: int


class Read(msgspec.Struct, frozen=True):
    """Read at most `size` bytes at `offset`."""

    handle: int
    offset: int
    size: int


class Close(msgspec.Struct, frozen=True):
    """Close the file."""

    handle: int


class Began(msgspec.Struct, frozen=True):
    """A stream is followed from `stream.offset` on. `minted`: its identity is new and must be durable before it is used.

    It comes again for a stream that `Ended`, when its file grew late.
    """

    stream: StreamState
    minted: bool


class Ended(msgspec.Struct, frozen=True):
    """All there is of a stream was fed, or nothing more will be: `rotated`, `deleted`, or the cause of a loss."""

    stream_id: str
    reason: str


class Lost(msgspec.Struct, frozen=True):
    """Bytes nobody can give any more, at least so many.

    Causes: `truncated`, `replaced`, `vanished` (its bytes are not where they were and nobody has a copy), `held_too_much` (deleted
    files held more disk than `hold` allows), `bomb` and `corrupt` (compressed files; `bytes` are those of the file as it lies).
    """

    stream_id: str
    bytes: int
    cause: str
    path: str = ""
    """Of the file, as it is known; empty where the stream has none. Nobody has heard of a stream that was lost while we were down."""


class Note(msgspec.Struct, frozen=True):
    """For the agent's own log."""

    kind: str
    path: str
    fields: dict[str, object]


class Feed(msgspec.Struct, frozen=True):
    """Bytes of a stream, the first one at `offset`. `final`: nothing follows, an unfinished record must be taken."""

    stream_id: str
    data: bytes
    offset: int
    final: bool


class Drained(msgspec.Struct, frozen=True):
    """Everything there was has been fed (said once, after `Drain`)."""


Event: TypeAlias = (
    Resume | Listed | SiblingsListed | Opened | OpenFailed | Got | ReadFailed | Consumed | Noticed | WatchFailed | Settled | Paused
    | Resumed | Drain
)  # fmt: skip
Command: TypeAlias = Scan | ListSiblings | Open | Read | Close | Began | Ended | Lost | Note | Feed | Drained
