"""Disk: which file of today a position means, and what its bytes say.

RULES
- Files are those that the sources of the pipeline list, and what rotation left beside them or beside a path of the other agent;
  the hands of the file source list and open them, so nothing outside the roots is opened.
- A position with an inode means the file with that inode: the same device, or the same directory where the device is not known or
  was numbered anew. A directory lies on one file system, so an inode in it is one file.
- A position with a fingerprint means the one file that shows it; the path decides between several. One with neither means the
  file that lies at its path.
- A fingerprint that stands beside an inode must fit too: inodes are reused.
- A path alone does not tell a file from the one that took its place. Where a sibling's inode changed (a rename does that) after
  the state was saved, the position is that of the first sibling written after it, else of the last one: a wrong guess sends lines
  twice, while taking the live file would pass over as many bytes of it as the other one had.

Costs: one scan, one listing a live path; heads are read only where a fingerprint is asked for, once a file and kind.
"""

from __future__ import annotations

import codecs
import math
import os
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge.files import FileHands
from shipper.edge.globs import translate_path
from shipper.source.events import Close, Entry, Got, Listed, ListSiblings, Open, Opened, OpenFailed, Read, Scan, SiblingsListed
from shipper.source.identity import HEAD_BYTES, digest, guard_size
from shipper.source.names import family, is_compressed, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shipper.edge.takeover.position import Kind, Position, Print

_CHUNK_BYTES = 1 << 16
_NEWLINES = {"utf-16-le": b"\n\0", "utf-16-be": b"\0\n"}
_MARKS = {codecs.BOM_UTF16_LE: b"\n\0", codecs.BOM_UTF16_BE: b"\0\n"}


class UnreadableError(Exception):
    """A file cannot be opened or read, or changed meanwhile; its text says why."""


class Found(msgspec.Struct, frozen=True):
    """A file on disk."""

    source: int
    """The number of the source that reads it."""
    entry: Entry
    home: str
    """The live path it has or had."""
    is_listed: bool
    """A source lists it under its name of today; else it was rotated away from there."""


class Measured(msgspec.Struct, frozen=True):
    """What the bytes of a file say of an offset."""

    head: bytes
    """The first <= 1024."""
    size: int
    offset: int
    """The offset, or the start of the line it lies in."""
    guard: bytes
    """Hash of the <= 1024 bytes before `offset`."""
    end_guard: bytes
    """The same before `size`."""


class Disk:
    """The files of one pipeline, as they lie there now. `close` it."""

    def __init__(self, configs: Mapping[int, Any], paths: Iterable[str], saved_s: float = math.inf) -> None:
        """Take the settings of the file sources, by their number, and the paths of the other agent; list what is there.

        `saved_s` is when its state was saved, Unix seconds.
        """
        self._configs, self._saved_s = configs, saved_s
        self._hands = {number: FileHands(config) for number, config in configs.items()}
        self._tests = {number: _test(config) for number, config in configs.items()}
        self._files: dict[tuple[int, int], Found] = {}
        self._by_path: dict[str, Found] = {}
        self._by_inode: dict[int, list[Found]] = defaultdict(list)
        self._values: dict[Kind, dict[int | str, list[Found]]] = {}
        homes = {number: self._scan(number) for number in configs}
        for path in dict.fromkeys(filter(None, paths)):
            self._take_home(path, homes)
        for number, live in homes.items():
            for home in sorted(live):
                self._take_siblings(number, home)

    def close(self) -> None:
        """Close what is open."""
        for hands in self._hands.values():
            hands.close()

    @property
    def listed(self) -> list[Found]:
        """The files that the sources list."""
        return [found for found in self._files.values() if found.is_listed]

    # --- Listing ---

    def _scan(self, number: int) -> set[str]:
        """Take what a source lists. Returns the live paths."""
        [listed] = self._hands[number].perform(Scan())
        assert isinstance(listed, Listed)
        paths = {entry.path for entry in listed.entries}
        homes = {path: home if (home := family(path)) in paths else path for path in paths}
        for entry in listed.entries:
            self._add(Found(number, entry, homes[entry.path], is_listed=True))
        return set(homes.values())

    def _take_home(self, path: str, homes: dict[int, set[str]]) -> None:
        """Note the live path that a path of the other agent had, under the source that includes it."""
        number = self.source_of(path)
        if number is not None:
            homes[number].add(family(os.path.realpath(path)))

    def source_of(self, path: str) -> int | None:
        """The source that includes a path, or the live path that a rotated name comes from; None where none does."""
        names = dict.fromkeys((path, os.path.realpath(path)))
        names |= dict.fromkeys(map(family, tuple(names)))
        return next((number for number, test in self._tests.items() if any(map(test, names))), None)

    def _take_siblings(self, number: int, home: str) -> None:
        [siblings] = self._hands[number].perform(ListSiblings(home))
        assert isinstance(siblings, SiblingsListed)
        for entry in siblings.entries:
            if entry.path != home and (entry.dev, entry.ino) not in self._files:
                self._add(Found(number, entry, home, is_listed=False))

    def _add(self, found: Found) -> None:
        key = (found.entry.dev, found.entry.ino)
        if key not in self._files:
            self._files[key] = self._by_path[found.entry.path] = found
            self._by_inode[key[1]].append(found)

    # --- Finding ---

    def at(self, path: str) -> Found | None:
        """The file at a path, links resolved."""
        return self._by_path.get(os.path.realpath(path))

    def find(self, position: Position) -> tuple[Found | None, str]:
        """The file that a position means, or why there is none."""
        if position.ino is not None:
            found = self._with_inode(position, position.ino)
            if found is not None and (position.print is None or found in self._showing(position.print)):
                return found, ""
        if position.print is not None:
            return self._with_print(position, position.print)
        if position.ino is None:
            path = os.path.realpath(position.path)
            found = self._rotated_since(path) or self._by_path.get(path)
            return found, "" if found is not None else self._why_not(position)
        return None, self._why_not(position)

    def _with_inode(self, position: Position, ino: int) -> Found | None:
        if position.dev is not None and (found := self._files.get((position.dev, ino))) is not None:
            return found
        if not position.path:
            return None
        directory = split(os.path.realpath(position.path))[0]
        return next((found for found in self._by_inode.get(ino, ()) if split(found.entry.path)[0] == directory), None)

    def _rotated_since(self, path: str) -> Found | None:
        """The file that lay at a path when the state was saved, if it was rotated away since, judged by the times of its siblings."""
        siblings = [found for found in self._files.values() if found.home == path != found.entry.path]
        moved = sorted((found for found in siblings if _changed_s(found) > self._saved_s), key=_written_s)
        later = (found for found in moved if _written_s(found) > self._saved_s)
        return next(later, moved[-1] if moved else None)

    def _with_print(self, position: Position, mark: Print) -> tuple[Found | None, str]:
        shown = self._showing(mark)
        if len(shown) == 1:
            return shown[0], ""
        path = os.path.realpath(position.path) if position.path else ""
        found = next((found for found in shown if found.entry.path == path), None)
        if found is not None:
            return found, ""
        return None, f"{len(shown)} files begin as it did" if shown else self._why_not(position)

    def _showing(self, mark: Print) -> list[Found]:
        """The files that show a fingerprint."""
        if mark.kind not in self._values:
            index = self._values[mark.kind] = defaultdict(list)
            plain = (found for found in self._files.values() if not is_left_alone(found))
            for found in plain:
                for value in self._values_of(found, mark.kind):
                    index[value].append(found)
        return self._values[mark.kind].get(mark.value, [])

    def _values_of(self, found: Found, kind: Kind) -> Iterable[int | str]:
        try:
            with self._opened(found) as (opened, read):
                size = min(kind.size, opened.size)
                return kind.values(read(0, size) if size > len(opened.head) else opened.head[:size])
        except UnreadableError:
            return ()

    def _why_not(self, position: Position) -> str:
        """Why nothing was found."""
        if not position.path:
            return "no file begins as it did"
        if os.path.realpath(position.path) in self._by_path:
            return "another file lies there now"
        return "gone, or compressed since"

    # --- Reading ---

    @contextmanager
    def _opened(self, found: Found) -> Iterator[tuple[Opened, Callable[[int, int], bytes]]]:
        """The file, opened, and a function that reads `size` bytes at an offset. Raises UnreadableError."""
        hands, entry = self._hands[found.source], found.entry
        [opened] = hands.perform(Open(entry.path, entry.dev, entry.ino))
        if isinstance(opened, OpenFailed):
            raise UnreadableError(opened.reason or os.strerror(opened.errno))
        assert isinstance(opened, Opened)

        def read(offset: int, size: int) -> bytes:
            data = b""
            while len(data) < size:
                [got] = hands.perform(Read(opened.handle, offset + len(data), size - len(data)))
                if not isinstance(got, Got):
                    raise UnreadableError(os.strerror(getattr(got, "errno", 0)))
                if not got.data:
                    raise UnreadableError("it became shorter meanwhile")
                data += got.data
            return data

        try:
            yield opened, read
        finally:
            hands.perform(Close(opened.handle))

    def measure(self, found: Found, offset: int, record_bytes_max: int) -> Measured:
        """See what a file shows of an offset that is not beyond its size.

        An offset inside a line goes back to its start; inside one longer than `record_bytes_max`, which we cut too, it stays.
        Raises UnreadableError.
        """
        encoding = getattr(self._configs[found.source], "encoding", "utf-8")
        with self._opened(found) as (opened, read):
            if offset > opened.size:
                raise UnreadableError(f"offset {offset} is beyond its size {opened.size}")
            start = line_start(read, offset, _newline(encoding, opened.head), record_bytes_max)
            guards = [digest(read(end - guard_size(end), guard_size(end))) for end in (start, opened.size)]
        return Measured(opened.head[:HEAD_BYTES], opened.size, start, *guards)

    def shows(self, found: Found, guard: tuple[int, str]) -> bool:
        """Whether a file has the bytes before an offset that a guard tells of. Raises UnreadableError."""
        offset, value = guard
        with self._opened(found) as (opened, read):
            size = guard_size(offset)
            return offset <= opened.size and digest(read(offset - size, size)).hex() == value


def _test(config: Any) -> Callable[[str], bool]:
    """Whether a source includes a path."""
    includes = [translate_path(pattern).fullmatch for pattern in config.include]
    excludes = [translate_path(pattern).fullmatch for pattern in config.exclude]
    return lambda path: any(match(path) for match in includes) and not any(match(path) for match in excludes)


def _changed_s(found: Found) -> float:
    """When its inode changed last: written to, renamed, or given other rights."""
    try:
        return os.stat(found.entry.path, follow_symlinks=False).st_ctime
    except OSError:
        return -math.inf


def _written_s(found: Found) -> float:
    return found.entry.mtime_s


def is_left_alone(found: Found) -> bool:
    """Whether it is compressed: offsets of other agents are none of ours there."""
    return is_compressed(found.entry.path)


def _newline(encoding: str, head: bytes) -> bytes:
    """How a line ends. `utf-16` goes by the mark, or by which order has more lines, as the intake does."""
    if encoding != "utf-16":
        return _NEWLINES.get(encoding, b"\n")
    little, big = (head.decode(name, "replace").count("\n") for name in _NEWLINES)
    return _MARKS.get(head[:2], b"\n\0" if little >= big else b"\0\n")


def line_start(read: Callable[[int, int], bytes], offset: int, newline: bytes, most: int) -> int:
    """The start of the line that `offset` lies in, `offset` itself at a start; where that is more than `most` back, `offset`.

    `read(offset, size)` gives bytes of the file. In UTF-16 a newline begins at an even offset.
    """
    width = len(newline)
    end = offset - offset % width
    while end > 0:
        begin = max(0, end - _CHUNK_BYTES)
        data = read(begin, end - begin)
        at = data.rfind(newline)
        while at >= 0 and at % width:
            at = data.rfind(newline, 0, at + width - 1)
        if at >= 0:
            found = begin + at + width
            return found if offset - found <= most else offset
        end = begin
        if offset - end > most + width:
            return offset
    return 0 if offset <= most else offset
