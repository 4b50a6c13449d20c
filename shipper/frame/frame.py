"""Frame: the contract of what is ONE record. One frame is one file in this package; its module name is its YAML type.

A frame is pure: it cuts a window of source bytes into whole records and says where the next unread record starts. What it did
not take is given to it again, from that offset on, with more behind it. So it remembers nothing between calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Cut(msgspec.Struct, frozen=True):
    """Records found in a window."""

    block: bytes
    """The records, each followed by one newline and containing none."""
    count: int
    next_offset: int
    """Source offset of the next unread record."""
    origin: tuple[Sequence[int], Sequence[int]] | None = None
    """(starts, stops) in the source; None: the records are contiguous lines of the source."""
    flags: Mapping[int, tuple[str, ...]] = {}
    skipped: Mapping[str, int] = {}
    """Source bytes that are no record, by cause: `blank`, `nul`."""
    extras: Sequence[bytes] | bytes | None = None
    """What the frame knows of each record, or of all of them, as a fragment."""
    times: Sequence[str] | None = None
    """The frame's own time of each record. May be made when it is asked for."""
    lines: list[bytes] | None = None
    """The records with their newlines as a list, where it was made anyway."""


class Frame(Protocol):
    """What a reader asks of a frame."""

    adds: Sequence[str]
    """Top-level keys that `extras` bring into documents."""

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut `data`, whose first byte is source byte `base` and starts a record, into records.

        `final` says that nothing will follow: an unfinished last record is taken too, flagged `unterminated`. Otherwise it is
        left for the next call. An empty cut has count 0; its `next_offset` may still move past blank lines and NUL runs.
        """
        ...
