"""What is in the body of a request: content codings undone within limits, and the records in it, all of them or a refusal.

RULES
- Codings: gzip (also in several members), deflate (with zlib's header or raw, RFC 9110, 8.4.1.2 tells of both), zstd, identity,
  and several after each other as `Content-Encoding` lists them, at most `CODINGS_MAX`.
- Decoded bodies are at most as large as the source allows, and at most `RATIO_MAX` times what came, once they are larger than
  `RATIO_FREE` (CVE-2024-36129: a small body of zstd that becomes 10 GB). Decoding stops there.
- A request is taken whole or not at all: the first line or element that is no JSON object refuses it, by its number from 1 on,
  and so does a record that is larger than a delivery may be.
- Rows are records on one line. Of JSON with line breaks between its members these become blanks; in texts there are none.
- What JSON allows and msgspec does not read (escapes of lone surrogates) is taken all the same. NaN and Infinity are no JSON.
"""

from __future__ import annotations

import json
import re
import zlib
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from shipper.source.push import DELIVERY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CODINGS_MAX = 3
RATIO_MAX = 300
RATIO_FREE = 1 << 20
ROWS_MAX = 400_000
"""Records of one request."""
LINES_MAX = 2 * ROWS_MAX
"""Lines of one request: a record may have an action line before it."""
COMMAS_MAX = 10 * ROWS_MAX
"""Commas of an array, which has at most one element more."""
_GZIP, _RAW = 31, -15
"""Window bits that tell zlib of the format (zlib manual, inflateInit2)."""
_ZSTD_WINDOW = 8 << 20
"""RFC 8878, 3.1.1.1.2: decoders should support 8 MiB."""
_ZSTD_SLICE = 512
"""Bytes decoded at a time: a block of 4 bytes may become 128 KiB, so at most 16 MiB at a time come of it."""
_PIECE = 1 << 18
_STRAYS = {0xDC80 + byte: 0x80 + byte for byte in range(0x80)}
_BLANKS = b" \t\r\n"
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_BOM = b"\xef\xbb\xbf"
_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_SEPARATOR = re.compile(r"[ \t\r\n]*([,\]])[ \t\r\n]*")
_TOO_MANY = f"a request holds at most {ROWS_MAX} records"


class RefusedError(Exception):
    """A request that is refused: the status, a type as Elasticsearch names it, and a reason that quotes no content."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        """Take what the client is told."""
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason


class _Object(msgspec.Struct):
    """Any JSON object: all members are passed over, and their syntax checked on the way."""


def _no_constant(name: str) -> None:
    raise ValueError(name)


_object = msgspec.json.Decoder(_Object)
_python = json.JSONDecoder(parse_constant=_no_constant)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def codings(header: str) -> list[str]:
    """The codings that `Content-Encoding` lists, in the order they were done. Raises RefusedError: 415."""
    names = [name.strip().lower() for name in header.split(",") if name.strip()]
    names = [name for name in names if name != "identity"]
    if len(names) > CODINGS_MAX or any(name not in _CODINGS for name in names):
        raise RefusedError(415, "media_type_header_exception", "Content-Encoding: gzip, deflate and zstd are understood")
    return names


def undone(body: bytes, header: str, max_body: int) -> bytes:
    """Return a body without the codings that `Content-Encoding` lists. Raises RefusedError: 400, 413, 415."""
    names = codings(header)
    for name in reversed(names):
        limit = min(max_body, max(RATIO_FREE, RATIO_MAX * len(body)))
        try:
            body = _joined(_CODINGS[name](body), limit)
        except (zlib.error, ValueError) as error:
            raise RefusedError(400, "parse_exception", f"the body is not sound {name}") from error
    return body


def _joined(pieces: Iterator[bytes], limit: int) -> bytes:
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise RefusedError(413, "too_large", f"the decoded body is larger than {limit} bytes")
        found.append(piece)
    return b"".join(found)


def _inflated(body: bytes, bits: int) -> Iterator[bytes]:
    """All members of a zlib or gzip body, in pieces. Raises zlib.error; ValueError where the last one is not whole."""
    while body:
        member = zlib.decompressobj(bits)
        while not member.eof:
            piece = member.decompress(body, _PIECE)
            body = member.unconsumed_tail
            yield piece
            if not piece and not body and not member.eof:
                raise ValueError("cut off")
        body = member.unused_data


def _gunzipped(body: bytes) -> Iterator[bytes]:
    return _inflated(body, _GZIP)


def _deflated(body: bytes) -> Iterator[bytes]:
    """By the two bytes a zlib header is (RFC 1950, 2.2), else raw."""
    zlibbed = len(body) >= 2 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _inflated(body, zlib.MAX_WBITS if zlibbed else _RAW)


def _unzstd(body: bytes) -> Iterator[bytes]:
    """All frames of a zstd body. Raises ValueError where it is not sound or not whole."""
    import zstandard  # 15 ms that only such requests cost

    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    at = 0
    while at < len(body):
        frame = decoder.decompressobj()
        while not frame.eof:
            piece = body[at : at + _ZSTD_SLICE]
            if not piece:
                raise ValueError("cut off")
            at += len(piece)
            try:
                yield frame.decompress(piece)
            except zstandard.ZstdError as error:
                raise ValueError("not zstd") from error
        at -= len(frame.unused_data)


_CODINGS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _deflated,
    "zstd": _unzstd,
}


def lines(body: bytes) -> list[bytes]:
    """The lines of a text; blank ones are no records. Bytes that are not UTF-8 become the characters of their number."""
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode("utf-8", "surrogateescape").translate(_STRAYS).encode()
    rows = [row.removesuffix(b"\r") for row in split(body)]
    return [row for row in rows if row]


def ndjson(body: bytes) -> list[bytes]:
    """The lines of NDJSON. Raises RefusedError: 400 where one is no object, 413 for too many."""
    body = body.removeprefix(_BOM)
    rows = split(body)
    if trusted(body, rows):
        return rows[:-1]
    found = []
    for number, row in enumerate(rows):
        text = row.strip(_BLANKS)
        if not text:
            continue
        if not is_object(text):
            raise RefusedError(400, "no_object", f"line {number + 1} is no JSON object")
        found.append(text.translate(_BREAKS))
    return found


def trusted(body: bytes, rows: list[bytes]) -> bool:
    """Whether each of `rows`, the body split at newlines, but the last, which is blank, is a JSON object; False: not sure.

    One call for all of them; where each begins with `{` and ends with `}` and the counts agree none of them is two or a half
    (see `decode/json.py`).
    """
    found = rows[:-1]
    try:
        if rows[-1] or {*map(_FIRST, found)} != {ord("{")} or {*map(_LAST, found)} != {ord("}")}:
            return False
        body.decode()
        return len(_object.decode_lines(body)) == len(rows) - 1
    except (IndexError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def elements(body: bytes) -> list[bytes]:
    """The objects of a JSON array, or the one object a body is, else NDJSON. Raises RefusedError: 400, 413."""
    text = body.removeprefix(_BOM).strip(_BLANKS)
    if not text.startswith(b"["):
        return [text.translate(_BREAKS)] if b"\n" in text and is_object(text) else ndjson(body)
    if text.count(b",") > COMMAS_MAX:
        raise RefusedError(413, "too_large", "the array may hold too many elements")
    try:
        text.decode()
        found = [bytes(element) for element in _array.decode(text)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _elements_by_python(text, error)
    for number, element in enumerate(found):
        if not element.startswith(b"{"):
            raise RefusedError(400, "no_object", f"element {number + 1} is no JSON object")
    if len(found) > ROWS_MAX:
        raise RefusedError(413, "too_large", _TOO_MANY)
    return [element.translate(_BREAKS) for element in found]


def _elements_by_python(text: bytes, refusal: Exception) -> list[bytes]:
    """The elements of an array that msgspec does not read, as they stand."""
    found: list[bytes] = []
    try:
        array = text.decode()
        at, more = len(array) - len(array[1:].lstrip(_BLANKS.decode())), True
        while more:
            stop = _python.raw_decode(array, at)[1]
            found.append(array[at:stop].encode())
            after = _SEPARATOR.match(array, stop)
            if after is None:
                raise ValueError("no array")
            at, more = after.end(), after[1] == ","
        if at < len(array):
            raise ValueError("more than an array")
    except (ValueError, RecursionError):
        raise RefusedError(400, "no_array", "the body is no JSON array") from refusal
    return found


def is_object(row: bytes) -> bool:
    """Whether `row` is one JSON object in UTF-8."""
    try:
        text = row.decode()
        _object.decode(row)
        return True
    except (UnicodeDecodeError, RecursionError):
        return False
    except msgspec.DecodeError:
        pass
    try:
        return isinstance(json.loads(text, parse_constant=_no_constant), dict)
    except (ValueError, RecursionError):
        return False


def fitting(rows: list[bytes]) -> list[bytes]:
    """The same rows. Raises RefusedError: 413 where one is too large for a delivery."""
    for number, row in enumerate(rows):
        if len(row) > DELIVERY_BYTES_MAX:
            raise RefusedError(413, "too_large", f"record {number + 1} is larger than {DELIVERY_BYTES_MAX} bytes")
    return rows


def split(body: bytes) -> list[bytes]:
    """The lines of a body. Raises RefusedError: 413 where they are too many, before there is a list of them."""
    if body.count(b"\n") > LINES_MAX:
        raise RefusedError(413, "too_large", _TOO_MANY)
    return body.split(b"\n")
