"""Private keys whose lines are spread over rows: one secret, remembered per stream.

RULES
- It begins where a row holds `-----BEGIN ... PRIVATE KEY-----` without its end, and is over behind the row with
  `-----END ... PRIVATE KEY-----`, or after `ROWS_MAX` rows.
- In between, other writers' rows may stand. Masked are: runs of base64 of 40 characters or more, wherever; the last word
  of a plain row, if it is base64 of any length (the last line of a key is short); in a JSON row the last word of the string under
  the name in which the key began; in the row with the end, the line before it.
- At most `STREAMS_MAX` streams are remembered; beyond that the oldest is forgotten.
"""

from __future__ import annotations

import re

import msgspec

ROWS_MAX = 200
STREAMS_MAX = 1024

_RUN = re.compile(rb"[A-Za-z0-9+/=]{40,}")
_LAST_WORD = re.compile(rb"[A-Za-z0-9+/]+={0,2}(?=[\s\x0c]*\Z)")
_WORD_BEFORE_END = re.compile(rb"[A-Za-z0-9+/]+={0,2}(?=(?:[\r\n]| \x0c)*\Z)")
_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_NAME_BEFORE = re.compile(rb'("(?:[^"\\]|\\.){1,128}+"\s{0,4}:\s{0,4}")[^"]*\Z')
_VALUE = re.compile(rb'[^"]*')


def is_open(found: bytes) -> bool:
    """Whether a hit of the block rule begins a key and does not end it."""
    return b"-----BEGIN" in found and b"-----END" not in found


class OpenBlock(msgspec.Struct):
    """A key whose end has not come yet."""

    rows: int
    """Rows seen since it began."""
    opening: bytes
    """`"name":"` as it stood before the key in a JSON row; empty for a plain row."""


class Blocks:
    """The open blocks of all streams."""

    def __init__(self) -> None:
        """Start with none."""
        self._open: dict[str, OpenBlock] = {}

    def get(self, stream: str) -> OpenBlock | None:
        """The block that is open in a stream."""
        return self._open.get(stream)

    def begin(self, stream: str, text: bytes, place: int) -> None:
        """A block began at `place` of a row (`text`: its shadow)."""
        found = _NAME_BEFORE.search(text, max(0, place - 4096), place) if text.lstrip()[:1] in (b"{", b"[") else None
        self._open.pop(stream, None)
        if len(self._open) >= STREAMS_MAX:
            self._open.pop(next(iter(self._open)))
        self._open[stream] = OpenBlock(0, found[1] if found else b"")

    def content(self, stream: str, text: bytes) -> list[tuple[int, int]]:
        """The regions of a following row (its shadow) that belong to the block; closes it when it is over."""
        block = self._open[stream]
        block.rows += 1
        ended = _END.search(text)
        if ended or block.rows >= ROWS_MAX:
            del self._open[stream]
        stop = ended.start() if ended else len(text)
        regions = [found.span() for found in _RUN.finditer(text, 0, stop)]
        start = 0
        if block.opening:
            start = text.find(block.opening)
            if start < 0:
                return regions
            value = _VALUE.match(text, start + len(block.opening))
            stop = min(stop, value.end() if value else stop)
        word = _WORD_BEFORE_END if ended and stop == ended.start() else _LAST_WORD
        last = word.search(text, max(start, stop - 256), stop)
        if last and (not block.opening or last.start() >= start + len(block.opening)):
            regions.append(last.span())
        return regions
