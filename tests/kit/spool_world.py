"""A world for the spool: a disk that fails, crashes and forgets; lives of the agent; and what is read back by the next one."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from shipper.edge import spool_files, store
from shipper.edge.spool import FullError, Limits, Spool
from shipper.model.errors import HostError
from shipper.progress.spool import HEAD_BYTES, encode
from shipper.source.push import Delivery
from tests.kit import virtual_loop

IDENTITY = "abcdefghijklmnopqrst-_"
OTHER = "0" * 22
SMALL = Limits(size_max=1600, segment_max=300, entry_max=1000, commit_bytes=400, waiting_max=4000)


class Crash(BaseException):
    """The machine stops."""


class Disk:
    """Stands for `os`: counts calls that change the disk, fails or crashes at one of them, and knows what is durable."""

    def __init__(self, directory, at=0, error=None, lasts=1):
        self.directory, self.at, self.error, self.lasts = directory, at, error, lasts
        self.calls = self.fsyncs = self.bytes_read = 0
        self.files = {}
        """By inode: the number of a file that is there now, and what of it is durable by that number."""
        self.contents = {}
        self.names = {}
        """Names that are durable, and the number of the file."""
        for path in sorted(directory.glob("*.spool")):
            self.names[path.name] = self._number(path.stat().st_ino)
            self.contents[self.names[path.name]] = path.read_bytes()

    def __getattr__(self, name):
        return getattr(os, name)

    def _call(self):
        self.calls += 1
        if self.at <= self.calls < self.at + self.lasts:
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            raise Crash

    def _number(self, inode):
        return self.files.setdefault(inode, len(self.files) + len(self.contents) + 1000)

    def open(self, path, flags, mode=0o777):
        if not flags & os.O_CREAT or Path(path).suffix != ".spool":
            return os.open(path, flags, mode)
        self._call()
        descriptor = os.open(path, flags, mode)
        self.files.pop(os.fstat(descriptor).st_ino, None)
        return descriptor

    def pread(self, descriptor, size, at):
        data = os.pread(descriptor, size, at)
        self.bytes_read += len(data)
        return data

    def pwrite(self, descriptor, data, at):
        if self.at <= self.calls + 1 < self.at + self.lasts:
            os.pwrite(descriptor, data[: len(data) // 2], at)
        self._call()
        return os.pwrite(descriptor, data[:150], at)

    def ftruncate(self, descriptor, length):
        self._call()
        os.ftruncate(descriptor, length)

    def truncate(self, path, length):
        self._call()
        os.truncate(path, length)

    def unlink(self, path):
        if Path(path).exists():
            self._call()
        os.unlink(path)

    def fsync(self, descriptor):
        self._call()
        self.fsyncs += 1
        os.fsync(descriptor)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self.names = {path.name: self._number(path.stat().st_ino) for path in self.directory.glob("*.spool")}
        else:
            self.contents[self._number(found.st_ino)] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def lose(self, how):
        """The power fails: what was not fsynced is gone, or nothing, or half of it, or there are zeros in its place."""
        if how == "kept":
            return
        there = {path.name: (self._number(path.stat().st_ino), path.read_bytes()) for path in self.directory.glob("*.spool")}
        if how == "gone":
            there = {name: (number, b"") for name, number in self.names.items()}
        for path in self.directory.glob("*.spool"):
            path.unlink()
        for name, (number, now) in there.items():
            durable = self.contents.get(number, b"")
            more = len(now) - len(durable)
            rest = {"gone": b"", "half": now[len(durable) :][: more // 2], "zeros": bytes(max(0, more))}[how]
            (self.directory / name).write_bytes(durable + rest)


def under(monkeypatch, disk):
    """Let everything that the spool does to the disk go through `disk`."""
    monkeypatch.setattr(spool_files, "os", disk)
    monkeypatch.setattr(store, "os", disk)
    return disk


async def at_once(call):
    """In place of a thread."""
    return call()


def make(directory, limits=SMALL):
    """A spool in virtual time."""
    return Spool(directory, limits, at_once)


def payload(*rows):
    """An entry with these rows."""
    return encode(Delivery([row if isinstance(row, bytes) else b"%d" % row for row in rows]))


def numbered(first, count, width=1):
    """Rows that are all different, and the payload of an entry with them."""
    rows = [b"%0*d" % (width, number) for number in range(first, first + count)]
    return rows, payload(*rows)


def drain(spool, offset=0, limit=200):
    """Read to the end: (start, row) of all rows, damage, and where the end is."""
    rows, damage = [], []
    for _ in range(10_000):
        window = spool.read(offset, limit)
        assert window.next_offset >= offset
        if window.next_offset == offset:
            return rows, damage, offset
        if window.spooled is not None:
            assert window.spooled.stops[-1] == window.next_offset
            rows += zip(window.spooled.starts, window.spooled.rows, strict=True)
        damage += window.damage
        offset = window.next_offset
    raise AssertionError("the reader goes on for ever")


def reopened(directory, settled=0, limits=SMALL):
    """What the next process finds."""
    spool = make(directory, limits)
    opened = spool.open(OTHER, settled)
    try:
        return opened, *drain(spool, settled)
    finally:
        spool._log.close()


class Scene:
    """A run of a spool: what was handed over, what was acknowledged and where, what was read, how far it is settled."""

    def __init__(self):
        self.offered, self.acknowledged, self.read = [], [], {}
        self.settled = 0
        self.spool = None

    def take(self, rows):
        """Rows were read: what stands at an offset never changes."""
        for start, row in rows:
            assert self.read.setdefault(start, row) == row

    async def offer(self, *sizes, tries=1):
        """Hand over entries at once, and see which are acknowledged."""
        entries = []
        for size in sizes:
            rows, entry = numbered(len(self.offered), 1 + size % 3, size)
            self.offered += rows
            entries.append((rows, entry))
        for _ in range(tries):
            self.spool.settle(self.settled)
            futures = [self.spool.append(entry) for _, entry in entries]
            ends = await asyncio.gather(*futures, return_exceptions=True)
            for (rows, _), end in zip(entries, ends, strict=True):
                if isinstance(end, int):
                    self.acknowledged += rows
                elif not isinstance(end, (HostError, FullError)):
                    raise end
            entries = [entry for entry, end in zip(entries, ends, strict=True) if not isinstance(end, int)]

    def settle_all(self):
        """Read to the end, and deliver it."""
        rows, damage, self.settled = drain(self.spool, self.settled)
        assert damage == []
        self.take(rows)
        self.spool.settle(self.settled)

    async def play(self, tries=1):
        """Several segments, groups over segments, an entry larger than a segment, and what is settled goes."""
        await self.offer(10, tries=tries)
        await self.offer(40, 50, 60, 5, tries=tries)
        self.settle_all()
        await self.offer(400, tries=tries)
        await self.offer(70, tries=tries)
        self.settle_all()
        await self.offer(20, 90, 30, tries=tries)


def run(directory, scene, tries=1):
    """One life of the agent."""
    scene.spool = make(directory)

    async def life():
        scene.spool.open(IDENTITY, scene.settled)
        await scene.play(tries)
        await scene.spool.close()

    try:
        virtual_loop.run(life())
    finally:
        if scene.spool._task is not None:
            scene.spool._task.exception()
        scene.spool._log.close()


def filled(directory, limits=SMALL, count=12):
    """A spool with several segments. Returns (start, row) of all rows, entries' bounds, and the files' content."""
    spool = make(directory, limits)

    async def life():
        spool.open(IDENTITY)
        ends = [await spool.append(numbered(100 * number, 3, 12)[1]) for number in range(count)]
        rows = drain(spool)[0]
        await spool.close()
        return rows, ends

    rows, ends = virtual_loop.run(life())
    files = {path.name: path.read_bytes() for path in sorted(directory.glob("*.spool"))}
    assert len(files) > 2
    return rows, [(end - HEAD_BYTES - len(numbered(0, 3, 12)[1]), end) for end in ends], files


def restore(directory, files):
    """Put the files back as they were."""
    for path in directory.glob("*.spool"):
        path.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
