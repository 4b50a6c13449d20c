r"""Spool: the format of the durable log behind the push inputs. Pure: bytes in, bytes out. `docs/spool.md` has it on one page.

LAYOUT (all numbers little-endian)
    segment  `SHPSPOOL` | u32 version | 22 bytes identity, 2 NUL | u64 base | u64 previous | u32 CRC32C of what is before | entries
    entry    mark FF "RC" FF | u32 CRC32C of what follows | u32 bytes of payload | u64 offset of this entry | payload
    payload  u8 version | u32 rows | u32 bytes of meta | meta (JSON, or nothing) | the rows, each with a newline behind it

THEORY: the log is one row of bytes; it is cut into segments, each named by the offset of its own first byte (`base`), header
included. So an offset stays true for ever, like that in a file that never rotates, and a row's place in it is the row's identity.
`previous` says where the log before this segment ended: less than `base` where a torn tail was cut off. Those offsets are
never used again: should the tail have been good once, its ids must not meet other records.

RULES
- A length is believed only within its segment and `LENGTH_MAX`, and an entry only if the checksum over length, offset and payload
  holds. The offset in it keeps out what a file system left there of another file, or of another time.
- Behind a damaged place the next good entry is searched by its mark, which no UTF-8 text contains. So damage costs the entries
  it touches, whichever byte it hit, and nothing is ever made of a part of one.
- Rows are unredacted, as in any log on the same disk; they leave only through the gate.
"""

from __future__ import annotations

import re
import struct
from itertools import chain, groupby
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import msgspec
from crc32c import crc32c

from shipper.model.batch import contiguous

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VERSION = 1
LENGTH_MAX = 64 << 20
"""Most bytes of a payload. Part of the format: longer ones are damage to a reader."""
_HEADER = struct.Struct("<8sI22s2xQQI")
_HEAD = struct.Struct("<4sIIQ")
_SUMMED = struct.Struct("<IQ")
_PAYLOAD = struct.Struct("<BII")
_MAGIC = b"SHPSPOOL"
_MARK = b"\xffRC\xff"
HEADER_BYTES = _HEADER.size
"""Of a segment, before its first entry."""
HEAD_BYTES = _HEAD.size
"""Of an entry, before its payload."""
_NAME = re.compile(r"(\d{20})\.spool")
_IDENTITY = re.compile(rb"[A-Za-z0-9_-]{22}")
_T = TypeVar("_T")
Cause: TypeAlias = Literal["checksum", "format", "header", "missing", "dropped"]


class Delivered(Protocol):
    """What is written: `source.push.Delivery`."""

    @property
    def rows(self) -> Sequence[bytes]:
        """Without newlines in them."""

    @property
    def tags(self) -> Sequence[str] | None:
        """One for each row."""

    @property
    def times(self) -> Sequence[str] | None:
        """One for each row."""

    @property
    def ids(self) -> Sequence[bytes] | None:
        """One for each row, ASCII."""


class Spooled(msgspec.Struct):
    """Rows as they come out of the spool: what a `Batch` takes."""

    block: bytes
    """The rows, a newline behind each."""
    rows: list[bytes]
    starts: list[int]
    """Offset in the log of each row's first byte; strictly increasing, and never that of another row."""
    stops: list[int]
    """Offset behind each row's newline."""
    tags: list[str] | None = None
    """As delivered; an empty text for a row without one."""
    times: list[str] | None = None
    ids: list[bytes] | None = None
    """As delivered; empty for a row without one."""

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.rows)


class Header(msgspec.Struct, frozen=True):
    """What a segment says of itself."""

    identity: str
    base: int
    previous: int
    """Where the log before it ended; at most `base`."""
    version: int = VERSION


class Entry(msgspec.Struct, frozen=True):
    """An entry whose checksum holds, at [start, end) of the log."""

    start: int
    end: int
    payload: memoryview


class Damage(msgspec.Struct, frozen=True):
    """Bytes of the log that give no rows."""

    start: int
    end: int
    cause: Cause
    """`checksum`: changed since they were written. `format`: as written, but by no version known here. `header`: of a segment; no
    row is in it. `missing`: not there. `dropped`: the spool was full and is allowed to drop."""
    rows: int = 0
    """How many rows were in it, where that is known: `dropped`."""


class Scan(msgspec.Struct, frozen=True):
    """What is in a piece of a segment."""

    found: list[Entry | Damage]
    """Without a gap, from the piece's first byte to `next`."""
    next: int
    """Where to go on."""
    wants: int
    """Bytes from there on that must be at hand to find anything more; 0 at the segment's end."""


class _Meta(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    tags: str | list[tuple[int, str]] | None = None
    times: str | list[str] | None = None
    ids: list[str] | None = None


_decode_meta = msgspec.json.Decoder(_Meta).decode


def segment_name(base: int) -> str:
    """The file of the segment that begins at `base`."""
    return f"{base:020}.spool"


def base_of(name: str) -> int | None:
    """The base of the segment with this file name; None if it is none."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def encode_header(header: Header) -> bytes:
    """The first bytes of a segment. `identity` has 22 characters of base64url."""
    identity = header.identity.encode()
    assert _IDENTITY.fullmatch(identity)
    assert header.previous <= header.base
    head = _HEADER.pack(_MAGIC, header.version, identity, header.base, header.previous, 0)[:-4]
    return head + crc32c(head).to_bytes(4, "little")


def decode_header(data: bytes, base: int) -> Header | None:
    """What a segment named by `base` says of itself; None where that is damaged. Its version may be one not known here."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, identity, own_base, previous, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or checksum != crc32c(data[: HEADER_BYTES - 4]):
        return None
    if own_base != base or previous > base or not _IDENTITY.fullmatch(identity):
        return None
    return Header(identity.decode(), base, previous, version)


def encode(delivery: Delivered) -> bytes:
    """The payload of an entry. There is a row at least, and rows hold no newline; texts are such that UTF-8 has them."""
    rows = delivery.rows
    assert rows
    block = b"\n".join([*rows, b""])
    assert block.count(b"\n") == len(rows)
    text = _encode_meta(delivery, len(rows))
    return b"".join((_PAYLOAD.pack(VERSION, len(rows), len(text)), text, block))


def _encode_meta(delivery: Delivered, count: int) -> bytes:
    """What stands beside the rows: nothing where there is nothing."""
    tags, times, ids = delivery.tags, delivery.times, delivery.ids
    if tags is None and times is None and ids is None:
        return b""
    assert all(len(column) == count for column in (tags, times, ids) if column is not None)
    meta = _Meta()
    if tags is not None:
        meta.tags = tags[0] if _is_shared(tags) else [(len(list(run)), tag) for tag, run in groupby(tags)]
    if times is not None:
        meta.times = times[0] if _is_shared(times) else list(times)
    if ids is not None:
        meta.ids = [one.decode("ascii") for one in ids]
    return msgspec.json.encode(meta)


def _is_shared(texts: Sequence[str]) -> bool:
    return texts.count(texts[0]) == len(texts)


def seal(payload: bytes, offset: int) -> bytes:
    """The head of an entry that will stand at `offset` of the log."""
    assert len(payload) <= LENGTH_MAX
    checksum = crc32c(payload, crc32c(_SUMMED.pack(len(payload), offset)))
    return _HEAD.pack(_MARK, checksum, len(payload), offset)


def rows_in(payload: bytes | memoryview) -> int:
    """How many rows an entry holds, by its own word."""
    return int(_PAYLOAD.unpack_from(payload)[1]) if len(payload) >= _PAYLOAD.size else 0


def decode(payload: bytes | memoryview, offset: int) -> Spooled | None:
    """The rows of a payload that stands at `offset` of the log (behind the entry's head). None for what `encode` did not write."""
    if len(payload) < _PAYLOAD.size:
        return None
    version, count, meta_bytes = _PAYLOAD.unpack_from(payload)
    block_at = _PAYLOAD.size + meta_bytes
    if version != VERSION or block_at > len(payload):
        return None
    block = bytes(payload[block_at:])
    rows = block.split(b"\n")
    if rows.pop() or not rows or len(rows) != count:
        return None
    starts, stops = contiguous(rows, offset + block_at)
    spooled = Spooled(block, rows, list(starts), list(stops))
    return _with_meta(spooled, payload[_PAYLOAD.size : block_at]) if meta_bytes else spooled


def _with_meta(spooled: Spooled, text: bytes | memoryview) -> Spooled | None:
    try:
        meta = _decode_meta(text)
        ids = None if meta.ids is None else [one.encode("ascii") for one in meta.ids]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    tags = meta.tags
    if isinstance(tags, list):
        if min((length for length, _ in tags), default=0) < 1 or sum(length for length, _ in tags) != spooled.count:
            return None
        spooled.tags = list(chain.from_iterable([tag] * length for length, tag in tags))
    elif tags is not None:
        spooled.tags = [tags] * spooled.count
    spooled.times = [meta.times] * spooled.count if isinstance(meta.times, str) else meta.times
    spooled.ids = ids
    lengths = {len(column) for column in (spooled.times, ids) if column is not None}
    return spooled if lengths <= {spooled.count} else None


def gather(parts: Sequence[Spooled]) -> Spooled:
    """The rows of several entries as one; at least one entry."""
    if len(parts) == 1:
        return parts[0]
    return Spooled(
        b"".join([part.block for part in parts]),
        _chained(part.rows for part in parts),
        _chained(part.starts for part in parts),
        _chained(part.stops for part in parts),
        tags=_chained(part.tags or [""] * part.count for part in parts) if any(part.tags for part in parts) else None,
        times=_chained(part.times or [""] * part.count for part in parts) if any(part.times for part in parts) else None,
        ids=_chained(part.ids or [b""] * part.count for part in parts) if any(part.ids for part in parts) else None,
    )


def _chained(lists: Iterable[list[_T]]) -> list[_T]:
    return list(chain.from_iterable(lists))


def scan(data: bytes, offset: int, end: int) -> Scan:
    """Find entries and damage in a piece of a segment.

    `data` stands at `offset` of the log, behind the segment's header; the segment ends at `end`. It may begin and end anywhere: what
    begins with a part of an entry begins with damage; what ends with one is to be given again, with `wants` bytes.
    """
    assert offset + len(data) <= end
    is_last = offset + len(data) == end
    view = memoryview(data)
    found: list[Entry | Damage] = []
    at, damaged_at, wants = 0, -1, 0
    while at < len(data):
        size = _size_at(data, at, offset, end)
        wants = HEAD_BYTES if not size and len(data) - at < HEAD_BYTES and not is_last else size
        if at + wants > len(data):
            break
        if size and _holds(view[at : at + size]):
            if damaged_at >= 0:
                found.append(Damage(offset + damaged_at, offset + at, "checksum"))
                damaged_at = -1
            found.append(Entry(offset + at, offset + at + size, view[at + HEAD_BYTES : at + size]))
            at += size
        else:
            damaged_at = at if damaged_at < 0 else damaged_at
            at = _next_mark(data, at + 1, is_last=is_last)
        wants = 0
    if damaged_at >= 0:
        found.append(Damage(offset + damaged_at, offset + at, "checksum"))
    return Scan(found, offset + at, wants or (0 if is_last else HEAD_BYTES))


def _size_at(data: bytes, at: int, offset: int, end: int) -> int:
    """Bytes of the entry that seems to stand at `at`; 0 if none does."""
    if len(data) - at < HEAD_BYTES:
        return 0
    mark, _, length, own_offset = _HEAD.unpack_from(data, at)
    size = HEAD_BYTES + int(length)
    is_one = mark == _MARK and own_offset == offset + at and length <= LENGTH_MAX and own_offset + size <= end
    return size if is_one else 0


def _holds(entry: memoryview) -> bool:
    """Whether the checksum of an entry is right."""
    checksum = int.from_bytes(entry[4:8], "little")
    return crc32c(entry[8:]) == checksum


def _next_mark(data: bytes, at: int, *, is_last: bool) -> int:
    """Where the next entry may begin: at a mark, or at what may be the first bytes of one."""
    found = data.find(_MARK, at)
    if found >= 0 or is_last:
        return found if found >= 0 else len(data)
    return max(at, len(data) - len(_MARK) + 1)


def is_torn(rest: int, last_byte: int) -> bool:
    """Whether the `rest` bytes behind a log's last good entry are of a write that did not end: too few, or no newline at the end.

    What ends as an entry ends may have been good once, and acknowledged: that is damage.
    """
    return rest < HEAD_BYTES or last_byte != 0x0A
