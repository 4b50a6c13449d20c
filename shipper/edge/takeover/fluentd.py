r"""Fluentd: the `pos_file` of its `in_tail`.

FORMAT (fluentd, lib/fluent/plugin/in_tail/position_file.rb; the same since v0.12)
    <path>\t<offset, 16 hex digits>\t<inode, 16 hex digits>\n
- An offset of `ffffffffffffffff` says that the file is not watched any more.
- Inode 0 with offset 0 is written when a file is first seen, before it is read.
- A path that stands there twice counts as its last line says, by inode where `follow_inodes` is on: so a line counts for its path
  and inode.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from shipper.edge.takeover.position import OFFSET_MAX, Position, StateFile

if TYPE_CHECKING:
    from pathlib import Path

NAME = "fluentd"
_LINE = re.compile(rb"([^\t\n]+)\t([0-9a-fA-F]{1,16})\t([0-9a-fA-F]{1,16})[ \r]*")
_UNWATCHED = 0xFFFF_FFFF_FFFF_FFFF


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one."""
    del path
    return _LINE.fullmatch(head.lstrip(b"\n").partition(b"\n")[0]) is not None


def read(path: Path) -> list[Position]:
    """Its positions. Raises HostError."""
    file = StateFile(path)
    found: dict[tuple[bytes, int], Position] = {}
    for number, line in enumerate(file.data.split(b"\n"), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise file.bad(number, "a path, a tab, the offset in hex, a tab and the inode in hex, as in Fluentd's pos_file")
        found[match[1], int(match[3], 16)] = _position(match, number)
    return list(found.values())


def _position(match: re.Match[bytes], number: int) -> Position:
    offset, ino = int(match[2], 16), int(match[3], 16)
    unusable = ""
    if offset == _UNWATCHED:
        unusable = "not watched any more by Fluentd"
    elif not ino:
        unusable = "not begun by Fluentd"
    elif offset > OFFSET_MAX:
        unusable = "an offset that no file has"
    where, path = f"line {number}", os.fsdecode(match[1])
    if unusable:
        return Position(where=where, path=path, ino=ino or None, unusable=unusable)
    return Position(where=where, path=path, offset=offset, ino=ino)
