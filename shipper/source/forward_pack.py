"""MessagePack as forward's senders write it: where objects end, what they hold, and how a record reads as JSON.

RULES
- Nothing is decoded before all of it is there, and never more than some `PIECE_BYTES` at once, unless one entry is larger.
- Strings and binaries become text. A byte that is not UTF-8 becomes the character of its number (as Latin-1 has it); a row cannot
  be flagged here, so it is not said which characters were such bytes.
- `EventTime` (type 0 of forward v1) becomes a time, other extension types the hex text of their content, NaN and infinities null.
- Keys become strings: numbers, null, true and false as JSON writes them, others as JSON text. Of equal keys the last one counts.
- What is nested deeper than `NESTING_MAX` becomes null, and is counted; objects over 1,024 levels are no MessagePack for us.

THEORY
A header of five bytes may claim four milliard elements, and an empty map of one byte takes 64 in memory. So the bytes are first
walked without making objects (`skip`), which also tells where an object ends however the network cut it; only whole objects, a
bounded number of bytes of them, are decoded. A map with keys that are no text is decoded again with a hook, as its keys' hashes
could be chosen by the sender.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 256 << 10
NESTING_MAX = 254
"""As deep as orjson goes."""
_READ_BYTES = 4096
"""What a splitter allocates at first; it grows with what is fed."""
_STRAYS = {0xDC80 + byte: 0x80 + byte for byte in range(0x80)}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  only ever shifted and written
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799  # years 1 and 9999
_NANOSECONDS = 1_000_000_000
_EVENT_TIME = 0
"""Extension type of EventTime; its content is two big-endian numbers of four bytes (forward protocol v1)."""
BROKEN = object()
"""Stands for an object whose extent is known and whose content makes no sense."""
_BAD = (ValueError, TypeError, OverflowError)


class ForwardError(Exception):
    """What a sender sent is not taken: `kind` of the note, and the reason in words that hold nothing of it."""

    def __init__(self, kind: str, reason: str) -> None:
        """Take the note's kind and the reason."""
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class EventTime(msgspec.Struct, frozen=True):
    """Seconds since 1970 and nanoseconds."""

    seconds: int
    nanoseconds: int


class Splitter:
    """Finds where objects end in a stream that is cut anywhere. Holds one unfinished object, and what was not taken yet."""

    def __init__(self, limit: int) -> None:
        """An unfinished object over `limit` bytes is refused."""
        self._limit = limit
        self._finder = msgpack.Unpacker(read_size=_READ_BYTES, max_buffer_size=0)
        self._kept = bytearray()
        self._base = 0
        self._fault: ForwardError | None = None

    @property
    def held(self) -> int:
        """Bytes fed and not taken."""
        return len(self._kept)

    def feed(self, data: bytes | memoryview) -> None:
        """Take more bytes of the stream."""
        self._finder.feed(data)
        self._kept += data

    def take(self, most: int) -> bytes:
        """Return whole objects as they stand, `most` at most; nothing if there is none. Raises ForwardError for what is none."""
        if self._fault is not None:
            raise self._fault
        end = self._base
        try:
            for _ in range(most):
                self._finder.skip()
                end = self._finder.tell()
        except msgpack.OutOfData:
            pass
        except ValueError:
            self._fault = ForwardError("malformed", "what came is no MessagePack, or nested over 1,024 levels")
        if end == self._base:
            self._refuse()
            return b""
        with memoryview(self._kept) as view:
            run = bytes(view[: end - self._base])
        del self._kept[: len(run)]
        self._base = end
        return run

    def _refuse(self) -> None:
        if self._fault is not None:
            raise self._fault
        if len(self._kept) > self._limit:
            raise ForwardError("too_large", f"one message is larger than {self._limit} bytes")


def pieces(data: bytes) -> Iterator[memoryview]:
    """Cut into `PIECE_BYTES`."""
    view = memoryview(data)
    return (view[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))


def _extension(code: int, data: bytes) -> EventTime | str:
    if code == _EVENT_TIME and len(data) == 8:
        return EventTime(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big"))
    return data.hex()


def _mapping(pairs: list[tuple[object, object]]) -> dict[str, object]:
    return {_key(key): value for key, value in pairs}


_FAST: dict[str, Any] = {"unicode_errors": "surrogateescape", "ext_hook": _extension}
_CAREFUL: dict[str, Any] = {**_FAST, "strict_map_key": False, "object_pairs_hook": _mapping}


def unpacker(run: bytes) -> Any:
    """An unpacker over whole objects."""
    made = msgpack.Unpacker(read_size=_READ_BYTES, max_buffer_size=0, **_FAST)
    made.feed(run)
    return made


def decode(run: bytes) -> list[object]:
    """Decode whole objects, in order; `BROKEN` for what cannot be. Strings may hold lone surrogates: see `row_of`."""
    try:
        return list(unpacker(run))
    except _BAD:
        return list(_one_by_one(run))


def decode_one(data: bytes) -> object:
    """Decode one whole object, or return `BROKEN`."""
    try:
        return msgpack.unpackb(data, **_FAST)
    except _BAD:
        return _careful(data)


def _one_by_one(run: bytes) -> Iterator[object]:
    splitter = Splitter(len(run))
    splitter.feed(run)
    while one := splitter.take(1):
        yield _careful(one)


def _careful(data: bytes) -> object:
    try:
        return msgpack.unpackb(data, **_CAREFUL)
    except _BAD:
        return BROKEN


def pack(value: object) -> bytes:
    """Encode an answer; text that was decoded here comes out as it came in."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def as_bytes(value: str | bytes) -> bytes:
    """The bytes of a decoded string, as they came."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def as_text(value: str | bytes) -> str:
    """Text without lone surrogates."""
    decoded = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    return decoded if decoded.isascii() else decoded.translate(_STRAYS)


def row_of(value: object) -> tuple[bytes, int]:
    """A decoded value as JSON on one line, and how many values in it were nested too deeply and are null now."""
    try:
        row, given_up = orjson.dumps(value, _default), 0
    except TypeError:
        plain = _Plain()
        row, given_up = orjson.dumps(plain.of(value, 1)), plain.given_up
    # A copy: orjson 3.13 hands out its buffer unshrunk, and a short row would hold 4 KiB for as long as it is kept.
    return b"%b" % row, given_up


def _default(value: object) -> str:
    """What orjson does not know."""
    if isinstance(value, bytes):
        return as_text(value)
    if isinstance(value, EventTime):
        return stamp(value)
    if isinstance(value, msgpack.Timestamp):
        return bytes(value.to_bytes()).hex()
    raise TypeError


class _Plain:
    """Makes plain JSON values of decoded ones."""

    def __init__(self) -> None:
        self.given_up = 0

    def of(self, value: object, level: int) -> object:
        """The value, which stands on this level; a mapping or list outermost has level 1."""
        if isinstance(value, (str, bytes)):
            return as_text(value)
        if isinstance(value, (dict, list)):
            if level > NESTING_MAX:
                self.given_up += 1
                return None
            if isinstance(value, list):
                return [self.of(one, level + 1) for one in value]
            return {as_text(key): self.of(one, level + 1) for key, one in value.items()}
        return value if value is None or isinstance(value, (bool, int, float)) else _default(value)


def _key(key: object) -> str:
    return as_text(key) if isinstance(key, (str, bytes)) else row_of(key)[0].decode()


@lru_cache(4096)
def _second(seconds: int) -> str:
    if not seconds or not _SECONDS_MIN <= seconds <= _SECONDS_MAX:
        return ""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def stamp(time: object) -> str:
    """An event's time as `2026-02-05T14:30:45.123456789Z`.

    It comes as EventTime, as whole seconds, or as a float, which knows no more than microseconds. Return an empty text for 0, by
    which senders mean "now", and for what is no time of the years 1 to 9999.
    """
    if type(time) is EventTime:
        head = _second(time.seconds)
        fraction = f".{time.nanoseconds:09d}" if time.nanoseconds < _NANOSECONDS else ""
    elif type(time) is int:
        head, fraction = _second(time), ""
    elif type(time) is float and _SECONDS_MIN <= time <= _SECONDS_MAX:
        seconds, microseconds = divmod(round(time * 1e6), 1_000_000)
        head, fraction = _second(seconds), f".{microseconds:06d}"
    else:
        return ""
    return f"{head}{fraction}Z" if head else ""
