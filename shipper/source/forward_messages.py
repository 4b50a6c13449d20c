"""Messages of the forward protocol v1: their four modes, and their events as rows of a delivery.

RULES
- Modes are told apart by the second element, as in Fluentd: an array (Forward), a string or binary (PackedForward, with the option
  `compressed` CompressedPackedForward), anything else is a time (Message). nil in place of a message is a heartbeat: ignored.
- A message of another shape ends the connection. Within a message nothing is given up that can be kept: an entry that is no pair
  of time and record, or a record that is no map, becomes a row of its JSON text, and is counted (`odd`); but an entry that is a
  mere number, true or false is counted and not taken (`malformed`), as a bomb of zeros would consist of those.
- `[[time, metadata], record]` (forward v1.5, Fluent Bit) has its time; metadata that is not empty is counted and not kept.
- A record of nil is no event (as in Fluentd). Entries over `ENTRY_BYTES_MAX`, or made to fill memory, are counted and not taken;
  a row over `DELIVERY_BYTES_MAX` is cut to it, counted.
- An identity is the hash of the chunk and the entry's position in it, which counts entries that are not taken too.

THEORY
Whatever the mode, the entries lie in the message one behind the other as they do in a PackedForward; so all are one code. The option
stands behind the entries, so a message is whole in memory before its first row goes; what it expands to is not.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from shipper.source.forward_expand import expanded
from shipper.source.forward_pack import (
    BROKEN,
    PIECE_BYTES,
    ForwardError,
    Splitter,
    as_bytes,
    as_text,
    decode,
    decode_one,
    pieces,
    row_of,
    stamp,
    unpacker,
)  # fmt: skip
from shipper.source.push import DELIVERY_BYTES_MAX, TAG_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRY_BYTES_MAX = 4 << 20
CONTAINERS_MAX = 1_400_000
"""Bytes in one entry that may begin a small map or array, each some 72 bytes in memory."""
OPTION_BYTES_MAX = 4096
CHUNK_BYTES_MAX = 512
ENTRIES_AT_ONCE = 4096
NO_EVENTS_MAX = 10_000
"""Entries of one message that give no row; beyond, it is no log, and walking through it would only cost time."""
_LARGE_BYTES = 2 * PIECE_BYTES
_NIL = 0xC0
_ARRAY_HEADERS = {0xDC: 3, 0xDD: 5} | dict.fromkeys(range(0x90, 0xA0), 1)
_STRINGS = frozenset([*range(0xA0, 0xC0), 0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB])
_SMALL_CONTAINERS = bytes(range(0x80, 0xA0))
_NO_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])


class Limits(msgspec.Struct, frozen=True):
    """Bytes of one message as it comes, and of what it expands to."""

    message: int
    expanded: int


class Message:
    """One message: where its entries are, and what became of them."""

    def __init__(self, tag: str, packed: bytes, option: dict[object, object], *, plain: bool) -> None:
        """`packed` holds the entries; `plain`, that they are known to be whole and cannot be compressed. Raises ForwardError."""
        self.tag, self.packed, self.plain = tag, packed, plain
        self.chunk = _chunk(option)
        self.key = _hash(self.chunk) if self.chunk else b""
        self.compression = _compression(option)
        size = option.get("size")
        self.size = size if type(size) is int else None
        self.count = 0
        """Entries met so far."""
        self.counts: Counter[str] = Counter()
        """What was odd about them, by kind."""
        self.open = 0
        """Deliveries that hold rows of this message and were not answered."""
        self.whole = False
        """All rows are handed over."""
        self.refused = False


class Batch(msgspec.Struct):
    """Rows of one message. The list of identities is empty where there is no chunk."""

    rows: list[bytes]
    times: list[str]
    ids: list[bytes]
    size: int = 0
    """Bytes of the rows."""


class Walker:
    """Goes through a run of whole MessagePack objects that should be messages."""

    def __init__(self, run: bytes) -> None:
        """`run` as `Splitter.take` gives it."""
        self.size = len(run)
        self._run, self._unpacker = run, unpacker(run)

    def next(self) -> Message | None:
        """The next message, or None when there are no more. Raises ForwardError for what is none."""
        run, walk = self._run, self._unpacker
        while (at := walk.tell()) < len(run):
            if run[at] != _NIL:
                return self._message()
            walk.skip()
        return None

    def _message(self) -> Message:
        walk = self._unpacker
        if self._run[walk.tell()] not in _ARRAY_HEADERS:
            raise ForwardError("malformed", "a message is no array")
        count = walk.read_array_header()
        if not 2 <= count <= 4 or self._run[walk.tell()] not in _STRINGS:
            raise ForwardError("malformed", "a message has no tag, or not two to four elements")
        tag = clean_tag(walk.unpack())
        kind = self._run[walk.tell()]
        if kind in _STRINGS:
            packed, used = as_bytes(walk.unpack()), 2
        elif kind in _ARRAY_HEADERS:
            packed, used = self._span(1)[_ARRAY_HEADERS[kind] :], 2
        elif count > 2:
            packed, used = b"\x92" + self._span(2), 3
        else:
            raise ForwardError("malformed", "a message has a time and no record")
        return Message(tag, packed, self._option(count - used), plain=kind not in _STRINGS)

    def _span(self, count: int) -> bytes:
        """The bytes of the next objects."""
        start = self._unpacker.tell()
        for _ in range(count):
            self._unpacker.skip()
        return self._run[start : self._unpacker.tell()]

    def _option(self, count: int) -> dict[object, object]:
        if not count:
            return {}
        written = self._span(1)
        option = decode_one(written) if count == 1 and len(written) <= OPTION_BYTES_MAX else BROKEN
        if option is None:
            return {}
        if not isinstance(option, dict):
            raise ForwardError("malformed", f"a message's option is no map of {OPTION_BYTES_MAX} bytes at most, or not the last")
        return option


def clean_tag(tag: str | bytes) -> str:
    """A tag as `shipper.tag` has it: without control characters, cut."""
    head = as_text(tag[: 8 * TAG_CHARS_MAX])
    return (head if head.isprintable() else head.translate(_NO_CONTROLS))[:TAG_CHARS_MAX]


def _chunk(option: dict[object, object]) -> str | bytes | None:
    chunk = option.get("chunk")
    if chunk is None or (isinstance(chunk, (str, bytes)) and len(chunk) <= CHUNK_BYTES_MAX):
        return chunk
    raise ForwardError("malformed", f"the option `chunk` is no text of {CHUNK_BYTES_MAX} bytes at most")


def _compression(option: dict[object, object]) -> str:
    """An empty text for none, which Fluentd also calls `text`."""
    written = option.get("compressed")
    if written is None:
        return ""
    named = as_text(written) if isinstance(written, (str, bytes)) else "unknown"
    return "" if named == "text" else named


@lru_cache(256)
def _hash(chunk: str | bytes) -> bytes:
    """22 characters for a chunk."""
    return urlsafe_b64encode(blake2b(as_bytes(chunk), digest_size=16).digest())[:22]


def batches(message: Message, limits: Limits) -> Iterator[Batch]:
    """The events of a message, some at a time. Raises ForwardError where the rest cannot be understood."""
    if message.plain and len(message.packed) <= PIECE_BYTES:
        yield _batch(message, decode(message.packed) if message.packed else [])
        return
    splitter = Splitter(limits.message)
    for piece in _content(message, limits):
        splitter.feed(piece)
        # What is held beside a piece is one entry that did not fit into the pieces before.
        while run := splitter.take(1 if splitter.held > _LARGE_BYTES else ENTRIES_AT_ONCE):
            yield _batch(message, decode(run) if _is_modest(run) else [_TOO_LARGE])
    if splitter.held:
        raise ForwardError("malformed", "the entries of a message are cut short")


_TOO_LARGE = object()


def _content(message: Message, limits: Limits) -> Iterable[bytes | memoryview]:
    if message.compression and not message.plain:
        return expanded(message.packed, message.compression, limits.expanded)
    return pieces(message.packed)


def _is_modest(run: bytes) -> bool:
    """Whether decoding these bytes cannot fill the memory."""
    if len(run) <= _LARGE_BYTES:
        return True
    containers = len(run) - len(run.translate(None, _SMALL_CONTAINERS))
    return len(run) <= ENTRY_BYTES_MAX and containers <= CONTAINERS_MAX


def _batch(message: Message, entries: list[object]) -> Batch:
    batch = Batch([], [], [])
    rows, times, key = batch.rows, batch.times, message.key
    for position, entry in enumerate(entries, message.count):
        if entry is BROKEN or entry is _TOO_LARGE:
            message.counts["malformed" if entry is BROKEN else "too_large"] += 1
            continue
        time, record = _event(message, entry)
        if record is None:
            continue
        row, given_up = row_of(record)
        if given_up:
            message.counts["nested"] += given_up
        if len(row) > DELIVERY_BYTES_MAX:
            message.counts["cut"] += 1
            row = row[:DELIVERY_BYTES_MAX].decode("utf-8", "ignore").encode()
        rows.append(row)
        times.append(stamp(time))
        batch.size += len(row)
        if key:
            batch.ids.append(b"%b-%d" % (key, position))
    message.count += len(entries)
    if sum(message.counts[kind] for kind in ("malformed", "empty", "too_large")) > NO_EVENTS_MAX:
        raise ForwardError("malformed", f"more than {NO_EVENTS_MAX} entries of a message are no events")
    return batch


def _event(message: Message, entry: object) -> tuple[object, object]:
    """Time and record of an entry; a record of None is no event."""
    if not isinstance(entry, list) or len(entry) != 2:
        kept = isinstance(entry, (list, dict, str, bytes))
        message.counts["odd" if kept else "malformed"] += 1
        return None, entry if kept else None
    time, record = entry
    if isinstance(time, list) and 1 <= len(time) <= 2:
        if len(time) == 2 and time[1]:
            message.counts["metadata"] += 1
        time = time[0]
    if not isinstance(record, dict):
        message.counts["empty" if record is None else "odd"] += 1
    return time, record
