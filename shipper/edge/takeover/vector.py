"""Vector: `checkpoints.json` of its `file` source, one in `<data_dir>/<name of the source>/`.

FORMAT (vectordotdev/vector, lib/file-source/src/checkpointer.rs and fingerprinter.rs)
    {"version": "1", "checkpoints": [{"fingerprint": {...}, "position": 123, "modified": "2026-02-05T14:30:45Z"}]}
- It knows no paths. A fingerprint is one of `first_lines_checksum` (`first_line_checksum` in old files), `dev_inode: [dev, ino]`,
  and the old `checksum` and `unknown`, which Vector itself replaces when 0.15 to 0.50 read them.
- `first_lines_checksum` is CRC-64/ECMA-182 over the first `lines` lines (1 unless configured), line ends included, behind
  `ignored_header_bytes` (0 unless configured), at most `max_line_length` bytes (100 KiB unless configured). The settings are not
  in the file: up to `LINES` lines are tried, with the other two as they are by default.
- Versions before 0.28 filled the buffer with zeros before the checksum (vector#15700); run a later one once, which mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge.takeover.position import Position, Print, StateFile, is_number
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "vector"
LINES = 10
LINE_BYTES = 100 << 10
_FORM = 'an object with `version` "1" and `checkpoints`, as in Vector\'s checkpoints.json'
_POLYNOMIAL = 0x42F0E1EBA9EA3693
_MASK = (1 << 64) - 1


def _table() -> list[int]:
    """The remainder of each byte."""
    found = []
    for byte in range(256):
        value = byte << 56
        for _ in range(8):
            value = ((value << 1) ^ _POLYNOMIAL if value >> 63 else value << 1) & _MASK
        found.append(value)
    return found


_TABLE = _table()


def crc64(data: bytes, value: int = 0) -> int:
    """CRC-64/ECMA-182 (ECMA-182, annex B: no reflection, no final xor), continued from `value`."""
    table = _TABLE
    for byte in data:
        value = table[value >> 56 ^ byte] ^ (value << 8 & _MASK)
    return value


class FirstLines(msgspec.Struct, frozen=True):
    """The kind `first_lines_checksum`."""

    @property
    def size(self) -> int:
        """Bytes it wants to see."""
        return LINE_BYTES

    def values(self, head: bytes) -> list[int]:
        """The checksums over the first 1, 2, ... `LINES` lines of a file; the longest `LINE_BYTES` count as whole."""
        head = head[:LINE_BYTES]
        found: list[int] = []
        value = at = 0
        while len(found) < LINES and at < len(head):
            end = head.find(b"\n", at) + 1
            if not end and len(head) < LINE_BYTES:
                break
            value, at = crc64(head[at : end or None], value), end or len(head)
            found.append(value)
        return found


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one, or a directory holds one."""
    if path.is_dir():
        return (path / "checkpoints.json").is_file()
    return head.lstrip().startswith(b"{") and b'"checkpoints"' in head


def read(path: Path) -> list[Position]:
    """Its positions. Raises HostError."""
    file = StateFile(path / "checkpoints.json" if path.is_dir() else path)
    found = file.json(_FORM)
    if not isinstance(found, dict) or not isinstance(found.get("checkpoints"), list):
        raise file.bad(1, _FORM)
    if found.get("version") != "1":
        raise file.bad(1, '`version` "1", the only one that is known of Vector\'s checkpoints.json')
    return [_position(file, number, item) for number, item in enumerate(found["checkpoints"], 1)]


def _position(file: StateFile, number: int, item: Any) -> Position:
    where = f"checkpoint {number}"
    prints = item.get("fingerprint") if isinstance(item, dict) else None
    if not isinstance(prints, dict) or len(prints) != 1 or not is_number(item.get("position")):
        raise HostError(f"{file.path}: {where}: expected `fingerprint` with one kind in it, and `position` in bytes")
    [(kind, value)] = prints.items()
    match kind, value:
        case "dev_inode", [dev, ino] if is_number(dev, _MASK) and is_number(ino, _MASK):
            return Position(where=where, offset=item["position"], dev=dev, ino=ino)
        case (("first_lines_checksum" | "first_line_checksum"), int()) if is_number(value, _MASK):
            return Position(where=where, offset=item["position"], print=Print(FirstLines(), value))
        case (("checksum" | "unknown"), _):
            return Position(where=where, unusable=f"an old fingerprint of Vector ({kind}); run Vector 0.15 to 0.50 once")
    raise HostError(f"{file.path}: {where}: expected a fingerprint of the kind first_lines_checksum or dev_inode")
