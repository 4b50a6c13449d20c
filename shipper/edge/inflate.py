"""Inflate: a compressed file read as its content, window by window, with one decoder that goes forward.

RULES
- gzip (ISA-L), zstd, xz and bzip2, chosen by the file's name. Several members or frames behind each other are one content, zero
  bytes between them are padding, anything else behind the last one is garbage and not read.
- Offsets count bytes of content. Going on where the last read ended costs nothing; going back starts again from byte 0.
- A call decodes at most `TURN_BYTES`. Where the offset asked for lies further ahead, the answer is `underway`: ask again.
- A file that ends inside a member is torn: it may still be written. Its size is what could be decoded, and may grow.
- Bounds: a content more than `RATIO` times its file (beyond `FREE_BYTES`), or larger than `CONTENT_BYTES`, is a bomb and fails with
  EFBIG; a window that needs more than 128 MiB fails. What cannot be decoded fails with EILSEQ; what came before it is given.
- Memory: the bytes of the last read, one decoder, `_INPUT` bytes of input. zstd may give 32 MiB for one KiB of hostile input.

THEORY
gzip: RFC 1952 (members, zero padding as gzip(1) skips it). zstd: RFC 8878 (frames, skippable frames). xz: the .xz format, 2.2
(stream padding). Decompression bombs: CVE-2024-36129.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

TURN_BYTES = 8 << 20
RATIO = 1_000
FREE_BYTES = 64 << 20
CONTENT_BYTES = 64 << 30
_INPUT = 1 << 16
_OUTPUT = 1 << 17
_MEMORY = 128 << 20
_ZSTD_SLICE = 1 << 10
_HEAD = 1 << 10
_SKIPPABLE = b"*M\x18"


class Piece(msgspec.Struct, frozen=True):
    """What a read gave: bytes at the offset asked for, and what is known of the content."""

    data: bytes
    size: int
    """Bytes of content, at least; exact if `whole`."""
    whole: bool
    """All of the file was decoded."""
    torn: bool = False
    """The file ends inside a member."""
    underway: bool = False
    """The offset was not reached yet: ask again."""


class _Decoder(Protocol):
    """One member, as the standard library's `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool:
        """Whether the member is at its end."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes of what was given."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was given behind the end of the member."""
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decode at most so many bytes."""
        ...


class _Zstd:
    """A frame in slices so small that hostile input cannot fill the memory."""

    def __init__(self) -> None:
        import zstandard

        self._frame = zstandard.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()
        self._input, self._at = b"", 0
        self._output = memoryview(b"")
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As the standard library's decoders do."""
        if data:
            self._input, self._at = self._input[self._at :] + data, 0
        while not self._output and self._at < len(self._input) and not self._frame.eof:
            piece = self._input[self._at : self._at + _ZSTD_SLICE]
            self._at += len(piece)
            self._output = memoryview(self._frame.decompress(piece))
        found = bytes(self._output[:max_length])
        self._output = self._output[max_length:]
        done = not self._output
        self.eof = done and self._frame.eof
        self.needs_input = done and not self.eof and self._at >= len(self._input)
        if self.eof:
            self.unused_data = self._frame.unused_data + self._input[self._at :]
        return found


def _gzip() -> _Decoder:
    from isal import igzip_lib

    decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decoder


def _xz() -> _Decoder:
    import lzma

    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)


def _bzip2() -> _Decoder:
    import bz2

    return bz2.BZ2Decompressor()


_FORMATS: dict[str, tuple[bytes, Callable[[], _Decoder]]] = {
    ".gz": (b"\x1f\x8b", _gzip),
    ".zst": (b"\x28\xb5\x2f\xfd", _Zstd),
    ".xz": (b"\xfd7zXZ\x00", _xz),
    ".bz2": (b"BZh", _bzip2),
}


class Inflated:
    """The content of one compressed file. The owner keeps the file descriptor and closes it."""

    def __init__(self, fd: int, name: str) -> None:
        """`name` tells the format by its ending; it must be one of `source.names.PACKED`."""
        self._fd = fd
        self._magic, self._make = _FORMATS[name[name.rfind(".") :]]
        self._head = b""
        self._given = 0
        """The end of what was given so far."""
        self._start()

    def _start(self) -> None:
        self._decoder: _Decoder | None = None
        self._input = b""
        self._taken = 0
        """Bytes of the file that were read."""
        self._kept, self._kept_at = bytearray(), 0
        self._whole = self._torn = False
        self._failure: OSError | None = None

    @property
    def _reached(self) -> int:
        return self._kept_at + len(self._kept)

    def left(self) -> int:
        """Bytes of the file that were not decoded, at least 1. Raises OSError."""
        return max(1, os.fstat(self._fd).st_size - self._taken)

    def read(self, offset: int, size: int) -> Piece:
        """Up to `size` bytes of content at `offset`.

        Raises OSError: of the file; EFBIG for a bomb and EILSEQ for what cannot be decoded, once all that comes before was given
        and more is asked for.
        """
        end = offset + size
        if end <= len(self._head):
            return Piece(self._head[offset:end], max(self._reached, len(self._head)), self._whole, self._torn)
        if offset < self._kept_at:
            self._start()
        budget = TURN_BYTES
        while self._reached <= end and budget > 0 and self._failure is None:
            gained = self._step(offset)
            budget -= gained
            if not gained:
                break
        at = offset - self._kept_at
        data = bytes(self._kept[max(0, at) : max(0, at) + size]) if at <= len(self._kept) else b""
        if self._failure is not None and end > self._reached <= self._given:
            raise self._failure
        self._given = max(self._given, offset + len(data))
        underway = not data and bool(size) and budget <= 0
        return Piece(data, self._reached + (self._failure is not None), self._whole, self._torn, underway)

    def _step(self, offset: int) -> int:
        """Decode some more; what lies before `offset` is dropped. Returns how many bytes came, 0: there are none for now."""
        try:
            data = self._decode()
        except Exception as error:  # each library has an error class of its own; bz2 raises OSError without a number
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self._failure = OSError(errno.EILSEQ, f"not to be decoded: {type(error).__name__}")
            return 0
        reached = self._reached + len(data)
        if reached > CONTENT_BYTES or (reached > FREE_BYTES and reached > RATIO * max(1, self._taken)):
            self._failure = OSError(errno.EFBIG, "more content than a log has: a decompression bomb")
            return 0
        if len(self._head) < _HEAD and self._reached <= len(self._head):
            self._head += data[len(self._head) - self._reached : _HEAD]
        self._kept += data
        dropped = min(max(0, offset - self._kept_at), len(self._kept))
        if dropped:
            del self._kept[:dropped]
            self._kept_at += dropped
        return len(data)

    def _decode(self) -> bytes:
        """The next bytes of content; none: the file has no more for now. Raises what the decoders raise."""
        while True:
            if self._decoder is None and not self._next_member():
                return b""
            decoder = self._decoder
            assert decoder is not None
            if decoder.needs_input and not self._input:
                self._fill()
                if not self._input:
                    self._torn = True
                    return b""
            given, self._input = self._input, b""
            data = decoder.decompress(given, _OUTPUT)
            if decoder.eof:
                self._input = decoder.unused_data
                self._decoder = None
            if data:
                return data

    def _next_member(self) -> bool:
        """Begin the next member, if one is there."""
        while len(self._input) < len(self._magic):
            self._input = self._input.lstrip(b"\0") if self._taken > len(self._input) else self._input
            if not self._fill():
                break
        first = self._taken == len(self._input)
        if not first:
            self._input = self._input.lstrip(b"\0")
        start = self._input[: len(self._magic)]
        if start == self._magic or (self._make is _Zstd and start[1:] == _SKIPPABLE and 0x50 <= start[0] <= 0x5F):
            self._decoder, self._whole, self._torn = self._make(), False, False
            return True
        self._torn = self._magic.startswith(start) and (bool(start) or first)
        if first and not self._torn:
            raise OSError(errno.EILSEQ, "not of the format that its name says")
        self._whole = not self._torn
        return False

    def _fill(self) -> int:
        more = os.pread(self._fd, _INPUT, self._taken)
        self._taken += len(more)
        self._input += more
        return len(more)
