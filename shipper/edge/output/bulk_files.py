"""Bulk files: one append-only file per index, kept exact by lengths. Blocking; one thread at a time.

RULES
- Documents are written at the known length of their file, so that writing again after a failure overwrites.
- Known lengths grow only by `grow`, which the caller calls when a post is wholly written and its answer is given.
- `sync` fsyncs the files that changed, and the directory where files are new. A failed fsync is final: the kernel may drop
  the pages and report success the next time (LWN 752063, "PostgreSQL's fsync() surprise"), so the process must end; the
  restart cuts back to what was durable.
- `restore` cuts files back to the lengths of the checkpoint, removes files it does not name that are ours by their first
  bytes, and refuses one that is missing or shorter than recorded: documents that were settled are gone.

BOUNDS: at most `_OPEN_MAX` files are open; the longest unused is synced and closed. Memory: the split lines of one post.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import OrderedDict
from itertools import chain, compress, repeat
from operator import eq, itemgetter
from typing import TYPE_CHECKING

from shipper.edge.store import sync_directory
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_SUFFIX = ".ndjson"
_OPEN_MAX = 32
_HEAD = b'{"create":{"_index":"'
_INDEX_AT = 5  # of an action line split at its quotes
# Elasticsearch's rules for index names (reference, "Create index"), which also leave out all that is not a plain file name.
_NAME = re.compile(r'[^\s/\\*?"<>|,#:.+\-\x00-\x1f\x7f][^\s/\\*?"<>|,#:\x00-\x1f\x7f]*')
_NAME_BYTES_MAX = 240  # a file name has 255 at most on common file systems


def is_plain_name(index: bytes) -> bool:
    """Whether an index name may be a file's name."""
    try:
        return len(index) <= _NAME_BYTES_MAX and _NAME.fullmatch(index.decode()) is not None
    except UnicodeDecodeError:
        return False


def by_index(part: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Divide a bulk body. Returns the index of each document, and the documents (with actions) of each index."""
    lines = part.split(b"\n")
    lines.pop()
    actions, documents = lines[::2], lines[1::2]
    indices = list(map(itemgetter(_INDEX_AT), map(bytes.split, actions, repeat(b'"'), repeat(_INDEX_AT + 1))))
    distinct = dict.fromkeys(indices)
    if len(distinct) == 1:
        return indices, {indices[0]: part}
    divided: dict[bytes, bytes] = {}
    for index in distinct:
        own = compress(zip(actions, documents, strict=True), map(eq, indices, repeat(index)))
        divided[index] = b"\n".join(chain(chain.from_iterable(own), (b"",)))
    return indices, divided


class BulkFiles:
    """The files in one directory."""

    def __init__(self, directory: Path) -> None:
        """Touch nothing."""
        self.directory = directory
        self.lengths: dict[str, int] = {}
        """Length by file name; what `state()` of the output is."""
        self._open: OrderedDict[str, int] = OrderedDict()
        self._unsynced: set[str] = set()
        self._made: set[str] = set()
        self._has_new_entry = False
        self._is_broken = False

    def make(self) -> None:
        """Make the directory and see that it can be written to. Raises HostError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            sync_directory(self.directory.parent)
            probe = self.directory / ".shipper-probe"
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            probe.unlink()
        except OSError as error:
            message = f"{self.directory}: cannot write output files here: {error.strerror}"
            raise HostError(message, "choose another `directory`, or make this one writable") from None

    def restore(self, state: Mapping[str, int] | None) -> None:
        """Bring the files to where the checkpoint was; None: there is none, keep and continue what is ours. Raises HostError."""
        try:
            found = {path.name: path.stat().st_size for path in self.directory.glob(f"*{_SUFFIX}") if _is_ours(path)}
            if state is None:
                self.lengths = {name: self._whole_length(name, size) for name, size in found.items()}
                state = self.lengths
            self._check(state)
            for name in found.keys() - state.keys():
                (self.directory / name).unlink()
            for name, length in state.items():
                self._cut(name, length)
        except OSError as error:
            raise HostError(f"{self.directory}: cannot restore the output files: {error.strerror}") from None
        self.lengths = {name: length for name, length in state.items() if length}

    def write(self, parts: Sequence[bytes]) -> tuple[dict[str, int], list[bytes]]:
        """Write documents behind the known lengths. Returns (new lengths, index of each document).

        Documents whose index is not a plain file name are left out; the caller says so. Raises OSError; the files are cut back
        as far as the disk lets us, and the known lengths stay. Raises HostError for a file that is not ours, and where an fsync
        failed.
        """
        assert not self._is_broken
        indices: list[bytes] = []
        chunks: dict[str, list[bytes]] = {}
        for part in parts:
            found, divided = by_index(part)
            indices += found
            for index, body in divided.items():
                if is_plain_name(index):
                    chunks.setdefault(index.decode() + _SUFFIX, []).append(body)
        lengths: dict[str, int] = {}
        try:
            for name, bodies in chunks.items():
                lengths[name] = self._append(name, bodies)
        except OSError:
            for name in chunks:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor(name), self.lengths.get(name, 0))
            raise
        return lengths, indices

    def grow(self, lengths: Mapping[str, int]) -> None:
        """The post that was written is answered: from now on it belongs to the state."""
        self.lengths.update(lengths)

    def sync(self) -> None:
        """Make durable whatever was written. Raises HostError; then nothing may be written any more."""
        try:
            assert not self._is_broken
            for name in sorted(self._unsynced):
                self._sync_file(name, self._descriptor(name))
            if self._has_new_entry:
                sync_directory(self.directory)
                self._has_new_entry = False
        except OSError as error:
            raise self._broken_by(error) from None

    def close(self) -> None:
        """Close the files; does not sync."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _append(self, name: str, bodies: Sequence[bytes]) -> int:
        """Write behind the known length. Returns the new one."""
        descriptor = self._descriptor(name)
        self._unsynced.add(name)
        at = self.lengths.get(name, 0)
        for body in bodies:
            rest = memoryview(body)
            while rest:
                written = os.pwrite(descriptor, rest, at)
                at += written
                rest = rest[written:]
        return at

    def _descriptor(self, name: str) -> int:
        """The file, open for writing. One that is neither known nor empty belongs to somebody else: HostError."""
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        while len(self._open) >= _OPEN_MAX:
            eldest = next(iter(self._open))
            if eldest in self._unsynced:
                self._sync_file(eldest, self._open[eldest])
            os.close(self._open.pop(eldest))
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.directory / name, flags, 0o640)
        self._open[name] = descriptor
        if name not in self.lengths and name not in self._made:
            if os.fstat(descriptor).st_size:
                raise HostError(f"{self.directory / name}: there already, and not written by this output", "move it away")
            self._made.add(name)
            self._has_new_entry = True
        return descriptor

    def _sync_file(self, name: str, descriptor: int) -> None:
        """Fsync one file; that it still has a name is part of durable. Raises HostError; then nothing may be written any more."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise self._broken_by(error) from None
        if os.fstat(descriptor).st_nlink == 0:
            raise HostError(
                f"{self.directory / name}: removed while it was written", "stop the agent before output files are moved"
            )
        self._unsynced.discard(name)

    def _broken_by(self, error: OSError) -> HostError:
        """What to raise when something cannot be made durable: these files are not to be used again."""
        self._is_broken = True
        return HostError(f"{self.directory}: output files cannot be made durable: {error.strerror}")

    def _check(self, state: Mapping[str, int]) -> None:
        """Refuse before anything is changed."""
        for name, length in state.items():
            path = self.directory / name
            size = path.stat().st_size if path.is_file() else 0
            if size < length:
                message = f"{path}: {size} bytes, but {length} were delivered to it" if size else f"{path}: missing"
                raise HostError(message, "put it back, or forget the progress of this output with `shipper state reset`")

    def _cut(self, name: str, length: int) -> None:
        """Cut one file to a length. Not fsynced: what comes back after a crash is cut again."""
        path = self.directory / name
        if not path.is_file():
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_size > length:
                os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)

    def _whole_length(self, name: str, size: int) -> int:
        """The length without a torn document at the end (a crash, and then the state was reset)."""
        ends = [0, *_document_ends(self.directory / name)]
        return size if ends[-1] == size else ends[-1]


def _is_ours(path: Path) -> bool:
    """Whether a file begins like one of ours: empty, or with (a part of) an action line for the index it is named after."""
    if path.is_symlink() or not path.is_file():
        return False
    expected = _HEAD + path.name.removesuffix(_SUFFIX).encode() + b'","_id":"'
    with path.open("rb") as file:
        start = file.read(len(expected))
    return expected.startswith(start)


def _document_ends(path: Path) -> Iterator[int]:
    """The last position at which a document ends, if any: line pairs are counted from the start."""
    at, lines, end = 0, 0, 0
    with path.open("rb") as file:
        for line in file:
            at += len(line)
            lines += line.endswith(b"\n")
            if lines % 2 == 0 and line.endswith(b"\n"):
                end = at
    yield end
