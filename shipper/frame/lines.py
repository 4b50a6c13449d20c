"""Lines: a record is what stands between newlines.

RULES
- CR before the newline belongs to the line end. Blank lines are no records (as in Filebeat); their bytes are counted.
- Runs of NUL bytes, which a file system leaves after a power cut (moby#40584), are taken out of a line and counted.
- A UTF-8 byte order mark at the start of a file is no part of the first record.
- Bytes that are not UTF-8 are kept: each becomes the character of the same number (as Latin-1 has it), and the record is flagged
  `invalid_utf8`. So the text stays readable where it was Latin-1, and can be turned back where it holds no such character itself.

THEORY
The common block needs none of this: a few searches at memchr speed prove it, and it goes on as it was read, as one slice.
"""

from __future__ import annotations

from shipper.config.fields import ComponentConfig
from shipper.frame.frame import Cut
from shipper.model.batch import split_lines

_BOM = b"\xef\xbb\xbf"
_STRAYS = {0xDC80 + byte: 0x80 + byte for byte in range(0x80)}


class Lines:
    """One record a line. The default frame of a file."""

    class Config(ComponentConfig):
        """No settings."""

    adds = ()

    def __init__(self, config: Config | None = None) -> None:
        """A frame without settings."""

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut whole lines; see `Frame.cut`."""
        end = len(data) if final else data.rfind(b"\n") + 1
        if not end:
            return Cut(b"", 0, base)
        block = data if end == len(data) else data[:end]
        lines = plain(block, base)
        return Cut(block, len(lines), base + end, lines=lines) if lines else _cut_carefully(block, base)


def plain(block: bytes, base: int) -> list[bytes]:
    """The lines of `block` where every one of them is a record exactly as it stands, else none."""
    # Searching for two newlines in a row is slower than splitting and looking for an empty line among the results.
    lines = split_lines(block, None)
    if not block.endswith(b"\n") or b"\n" in lines:
        return []
    if b"\0" in block or (b"\r" in block and b"\r\n" in block) or (base == 0 and block.startswith(_BOM)):
        return []
    return lines if is_utf8(block) else []


def is_utf8(block: bytes) -> bool:
    """Whether `block` decodes as UTF-8."""
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def as_utf8(row: bytes) -> bytes:
    """Return `row` with each byte that is not UTF-8 as the character of that number."""
    return row.decode("utf-8", "surrogateescape").translate(_STRAYS).encode()


def _cut_carefully(block: bytes, base: int) -> Cut:
    """Line by line: what `plain` found, or what `final` leaves at the end."""
    rows: list[bytes] = []
    starts: list[int] = []
    stops: list[int] = []
    flags: dict[int, tuple[str, ...]] = {}
    skipped: dict[str, int] = {}
    at = base
    for line in split_keeping(block):
        start, at = at, at + len(line)
        row, marks, nuls = clean(line, start)
        if nuls:
            skipped["nul"] = skipped.get("nul", 0) + nuls
        if not row:
            skipped["blank"] = skipped.get("blank", 0) + len(line) - nuls
            continue
        if marks:
            flags[len(rows)] = marks
        rows.append(row)
        starts.append(start)
        stops.append(at)
    text = b"\n".join(rows) + b"\n" if rows else b""
    return Cut(text, len(rows), base + len(block), (starts, stops), flags, skipped)


def split_keeping(block: bytes) -> list[bytes]:
    """Split at newlines only (a lone CR is content), keeping them."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def clean(line: bytes, start: int) -> tuple[bytes, tuple[str, ...], int]:
    """Return the record of one line that starts at source byte `start`, without its line end; its marks; NULs taken out."""
    marks: tuple[str, ...] = () if line.endswith(b"\n") else ("unterminated",)
    row = line.removesuffix(b"\n").removesuffix(b"\r")
    if start == 0:
        row = row.removeprefix(_BOM)
    nuls = row.count(b"\0")
    if nuls:
        row = row.replace(b"\0", b"")
    if not is_utf8(row):
        row, marks = as_utf8(row), (*marks, "invalid_utf8")
    return row, marks, nuls
