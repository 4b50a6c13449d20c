"""Compressed entries of forward: piece by piece, bounded in bytes, ratio and members, and never whole in memory.

RULES
- gzip (several members, as Fluentd appends them: forward protocol v1, CompressedPackedForward) and zstd (Fluentd 1.19).
- Refused are: more than `most` bytes; over `RATIO_FREE_BYTES` a ratio beyond `RATIO_MAX`, which logs do not reach; more than
  `MEMBERS_MAX` members; what ends within a member, or goes on after it with something else.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from shipper.source.forward_pack import PIECE_BYTES, ForwardError, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATIO_MAX = 250
"""Deflate can do 1,030; repeated log lines compress to a hundredth."""
RATIO_FREE_BYTES = 4 << 20
MEMBERS_MAX = 100_000
_SLICE_BYTES = 4096
"""Input handed to zlib at once: at each member's end the rest of it is copied."""
_ZSTD_SLICE_BYTES = 256
"""The same for zstd, whose output cannot be limited by call: 4 bytes may become 128 KiB."""
_GZIP = 31


def expanded(data: bytes, compression: str, most: int) -> Iterator[bytes]:
    """Yield the content in pieces of `PIECE_BYTES` at most. Raises ForwardError for what is refused."""
    expand = _EXPANDERS.get(compression)
    if expand is None:
        raise ForwardError("malformed", "the option `compressed` names no compression that is known here")
    total = 0
    for piece in expand(data):
        total += len(piece)
        if total > most or (total > RATIO_FREE_BYTES and total > RATIO_MAX * len(data)):
            raise ForwardError("too_large", f"{len(data)} compressed bytes expand to more than {total} bytes")
        yield piece


def _gunzip(data: bytes) -> Iterator[bytes]:
    members, started = 0, False
    inflate = zlib.decompressobj(_GZIP)
    for at in range(0, len(data), _SLICE_BYTES):
        rest = data[at : at + _SLICE_BYTES]
        while rest:
            started = True
            try:
                piece = inflate.decompress(rest, PIECE_BYTES)
            except zlib.error:
                raise ForwardError("malformed", "compressed entries are broken") from None
            if piece:
                yield piece
            rest = inflate.unconsumed_tail
            if inflate.eof:
                rest, inflate, members, started = inflate.unused_data, zlib.decompressobj(_GZIP), members + 1, False
                _check(members)
        yield from _pending(inflate)
    if started and not inflate.eof:
        raise ForwardError("malformed", "compressed entries are cut short")


def _pending(inflate: zlib._Decompress) -> Iterator[bytes]:
    """What zlib still holds although its input is used up."""
    while not inflate.eof and (piece := inflate.decompress(b"", PIECE_BYTES)):
        yield piece


def _check(members: int) -> None:
    if members > MEMBERS_MAX:
        raise ForwardError("too_large", f"more than {MEMBERS_MAX} compressed members")


def _unzstd(data: bytes) -> Iterator[bytes]:
    import zstandard

    # The window is what a frame may have us allocate; 8 MiB is what every decoder should support (RFC 8878, 3.1.1.1.2).
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 << 20)
    frames, started = 0, False
    frame = decompressor.decompressobj()
    for at in range(0, len(data), _ZSTD_SLICE_BYTES):
        rest = data[at : at + _ZSTD_SLICE_BYTES]
        while rest:
            started = True
            try:
                piece = frame.decompress(rest)
            except zstandard.ZstdError:
                raise ForwardError("malformed", "compressed entries are broken") from None
            yield from map(bytes, pieces(piece))
            rest = frame.unused_data
            if frame.eof:
                frame, frames, started = decompressor.decompressobj(), frames + 1, False
                _check(frames)
    if started:
        raise ForwardError("malformed", "compressed entries are cut short")


_EXPANDERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {"gzip": _gunzip, "zstd": _unzstd}
