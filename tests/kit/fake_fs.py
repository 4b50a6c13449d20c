"""A file system in memory: inodes, names, symbolic links, open files. Errors and short reads on demand.

RULES
- A path names an inode; several may name the same (hard links). An inode lives while it has a name or an open handle.
- Inode numbers are reused on purpose: the lowest free one is given to the next file, as ext4 and tmpfs like to.
- Directories exist by the names in them. Times come from `now`, which the test moves.
"""

from __future__ import annotations

import errno
from fnmatch import fnmatchcase

DEVICE = 66
_START_S = 1_770_300_000.0


class Inode:
    """A regular file."""

    def __init__(self, number: int, now: float) -> None:
        """Empty, with one name to come."""
        self.number, self.mtime_s = number, now
        self.data = bytearray()
        self.content: bytes | None = None
        """What a compressed file decompresses to."""
        self.torn = False
        """The compressor is not done: `content` is what came so far."""
        self.links = 0
        self.opens = 0


class FakeFs:
    """One device."""

    def __init__(self) -> None:
        """Empty."""
        self.now = 0.0
        self.names: dict[str, Inode] = {}
        self.symlinks: dict[str, str] = {}
        self.handles: dict[int, Inode] = {}
        self.denied: dict[str, int] = {}
        """Errno that opening a path gives."""
        self.open_errors: list[int] = []
        """Errnos that the next opens give."""
        self.read_errors: list[int] = []
        """Errnos that the next reads give."""
        self.short_reads: list[int] = []
        """Most bytes that the next reads give."""
        self.max_handles = 1 << 30
        self._numbers: set[int] = set()
        self._next_handle = 3

    def wall(self) -> float:
        """Unix seconds."""
        return _START_S + self.now

    # --- What programs do ---

    def write(self, path: str, data: bytes) -> Inode:
        """Append, creating the file if need be."""
        inode = self.names.get(path) or self.create(path)
        self.append(inode, data)
        return inode

    def append(self, inode: Inode, data: bytes) -> None:
        """Append to a file by its inode, as a program does that kept it open."""
        inode.data += data
        inode.mtime_s = self.wall()

    def create(self, path: str, number: int | None = None) -> Inode:
        """Make an empty file; what lay at the path loses its name."""
        if path in self.names:
            self.unlink(path)
        number = number if number is not None else next(n for n in range(11, 1 << 30) if n not in self._numbers)
        self._numbers.add(number)
        inode = Inode(number, self.wall())
        self._name(path, inode)
        return inode

    def link(self, path: str, other: str) -> None:
        """Give a file a further name."""
        self._name(other, self.names[path])

    def symlink(self, target: str, path: str) -> None:
        """Make (or swap) a symbolic link."""
        self.symlinks[path] = target

    def rename(self, path: str, other: str) -> None:
        """Rename, replacing what lay there."""
        inode = self.names.pop(path)
        if other in self.names:
            self.unlink(other)
        self.names[other] = inode

    def unlink(self, path: str) -> None:
        """Remove a name."""
        inode = self.names.pop(path)
        inode.links -= 1
        self._release(inode)

    def truncate(self, path: str, size: int = 0) -> None:
        """Cut a file, in place."""
        inode = self.names[path]
        del inode.data[size:]
        inode.mtime_s = self.wall()

    def copy(self, path: str, other: str) -> Inode:
        """Copy a file to a new one."""
        data = bytes(self.names[path].data)
        inode = self.create(other)
        self.append(inode, data)
        return inode

    def compress(self, path: str, other: str, *, mtime_s: float | None = None, part: float = 1.0) -> Inode:
        """Make a compressed copy, as far as the compressor came (`part`); it has the time of the original, or another."""
        original = self.names[path]
        inode = self.create(other)
        size = len(original.data)
        inode.content, inode.torn = bytes(original.data[: int(size * part)]), part < 1.0
        inode.data += b"\x1f\x8b" + bytes(1 + len(inode.content) // 10)
        inode.mtime_s = original.mtime_s if mtime_s is None else mtime_s
        return inode

    def _name(self, path: str, inode: Inode) -> None:
        inode.links += 1
        self.names[path] = inode

    def _release(self, inode: Inode) -> None:
        if not inode.links and not inode.opens:
            self._numbers.discard(inode.number)

    # --- What the agent does ---

    def glob(self, patterns: list[str], exclude: list[str]) -> list[str]:
        """Real paths of the files that match, in order; a symbolic link is followed."""
        found = []
        for path in sorted({*self.names, *self.symlinks}):
            if any(fnmatchcase(path, p) for p in patterns) and not any(fnmatchcase(path, p) for p in exclude):
                real = self.symlinks.get(path, path)
                if real in self.names and real not in found:
                    found.append(real)
        return found

    def open(self, path: str, number: int) -> tuple[int, Inode]:
        """Open for reading, if it still is this inode. Raises OSError."""
        if self.open_errors:
            raise OSError(self.open_errors.pop(0), "on demand")
        if path in self.denied:
            raise OSError(self.denied[path], "denied")
        if path not in self.names:
            raise OSError(errno.ENOENT, "missing")
        if len(self.handles) >= self.max_handles:
            raise OSError(errno.EMFILE, "too many")
        inode = self.names[path]
        if inode.number != number:
            raise OSError(errno.ESTALE, "another")
        self._next_handle += 1
        inode.opens += 1
        self.handles[self._next_handle] = inode
        return self._next_handle, inode

    def read(self, handle: int, offset: int, size: int) -> tuple[bytes, Inode]:
        """Read. Raises OSError."""
        if self.read_errors:
            raise OSError(self.read_errors.pop(0), "on demand")
        if self.short_reads:
            size = min(size, self.short_reads.pop(0))
        inode = self.handles[handle]
        return bytes(inode.data[offset : offset + size]), inode

    def close(self, handle: int) -> None:
        """Close; the inode goes if that was its last hold."""
        inode = self.handles.pop(handle)
        inode.opens -= 1
        self._release(inode)
