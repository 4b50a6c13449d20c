"""Our own: what `shipper state export` wrote, or a checkpoint of ours, to begin elsewhere or again where that one stood.

FORMAT
    {"shipper_state": 1, "pipeline": ..., "destination": ..., "streams": [{<fields of source.events.StreamState>}, ...]}
Paths are as in the checkpoint: a byte that is not UTF-8 is NUL and two hex digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge import store
from shipper.edge.takeover.position import OFFSET_MAX, Position, Print, StateFile
from shipper.model.errors import HostError
from shipper.progress import checkpoint
from shipper.source.events import StreamState
from shipper.source.identity import HEAD_BYTES, digest

if TYPE_CHECKING:
    from pathlib import Path

NAME = "shipper"
VERSION = 1
_MAGIC = b"shipper-checkpoint "
_FORM = "`shipper_state` 1 and `streams`, as `shipper state export` writes it"


class Exported(msgspec.Struct):
    """What `state export` writes."""

    shipper_state: int
    pipeline: str
    destination: str
    streams: list[StreamState]


class Blake2b(msgspec.Struct, frozen=True):
    """Our own fingerprint: the hash of the first `size` bytes."""

    size: int

    def values(self, head: bytes) -> list[str]:
        """The hash in hex."""
        return [digest(head[: self.size]).hex()] if len(head) >= self.size else []


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one."""
    del path
    return head.startswith(_MAGIC) or (head.lstrip().startswith(b"{") and b'"shipper_state"' in head)


def read(path: Path) -> list[Position]:
    """Its positions. Raises HostError."""
    file = StateFile(path)
    if file.data.startswith(_MAGIC):
        found = checkpoint.decode(file.data, str(path))
        items: list[Any] = [state for states in found.sources for state in states]
        return [_position(file, number, _state(file, number, item)) for number, item in enumerate(items, 1)]
    try:
        exported = msgspec.json.decode(file.data, type=Exported)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        file.json(_FORM)  # says the line where it is no JSON
        raise file.bad(1, _FORM) from None
    if exported.shipper_state != VERSION:
        raise file.bad(1, _FORM)
    return [_position(file, number, state) for number, state in enumerate(exported.streams, 1)]


def _state(file: StateFile, number: int, item: Any) -> StreamState:
    try:
        return msgspec.convert(item, StreamState)
    except msgspec.ValidationError:
        raise HostError(f"{file.path}: stream {number}: expected the fields of a stream of this version") from None


def _position(file: StateFile, number: int, state: StreamState) -> Position:
    where, size = f"stream {number}", state.fingerprint_length
    if not 0 <= state.offset <= OFFSET_MAX or not 0 <= size <= HEAD_BYTES or state.guard_offset < 0:
        raise HostError(f"{file.path}: {where}: expected offsets of bytes, and a fingerprint of at most {HEAD_BYTES}")
    mark = Print(Blake2b(size), state.fingerprint) if size else None
    guard = (state.guard_offset, state.guard) if state.guard and 0 < state.guard_offset <= state.offset else None
    path = store.unquoted(state.path)
    return Position(where=where, path=path, offset=state.offset, dev=state.dev, ino=state.ino, print=mark, guard=guard)
