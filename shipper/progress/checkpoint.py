r"""Checkpoint: what is on disk of the progress of one pipeline into one output. Pure: bytes in, bytes out.

LAYOUT
    shipper-checkpoint 1 <sha256 of the body, 64 hex digits>\n
    <body: one JSON object>
The file is written whole: beside it, fsynced, renamed over it, its directory fsynced (`edge/store.py`). So it is the old or the
new one, never a mixture; whatever fails the checksum was not written by us and is refused, not ignored: starting over in
silence would ship everything again under new identities, or skip it (beats#35893).

RULES
- Anything a reader of version 1 does not know is an error: a newer agent's state is not guessed at.
- It holds no record content: paths, identities, offsets, hashes, times, index names, file lengths.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from shipper.model.errors import HostError

_MAGIC = b"shipper-checkpoint"
VERSION = 1


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """The state of one pipeline into one output."""

    pipeline: str
    destination: str
    """What the output calls itself; a guard against a state directory moved by hand."""
    machine_id: str
    """Where it was written. On another machine (a cloned image) identities are minted anew."""
    horizon: dict[str, Any]
    """See `encode.index.Horizon`."""
    sources: list[list[dict[str, Any]]] = []
    """Per source of the pipeline, in order, the streams it knows (see `source.events.StreamState`)."""
    last_seconds: dict[str, int] = {}
    """Per stream, the event time of the last settled record."""
    cuts: dict[str, int] = {}
    """Per stream, where a record was cut by time and is to be cut again (see `remainders.py`)."""
    output: dict[str, int] | None = None
    """What the output keeps: for `local`, the lengths of its files."""


def encode(checkpoint: Checkpoint) -> bytes:
    """The file's content."""
    body = msgspec.json.encode(checkpoint)
    return b"%b %d %b\n%b" % (_MAGIC, VERSION, hashlib.sha256(body).hexdigest().encode(), body)


def decode(data: bytes, path: str) -> Checkpoint:
    """Read a file's content. Raises HostError, naming `path`, for anything that is not exactly what `encode` wrote."""
    head, newline, body = data.partition(b"\n")
    words = head.split(b" ")
    hint = f"Move the file aside to start over, which ships everything again: `shipper state reset` does so. File: {path}"
    if not newline or len(words) != 3 or words[0] != _MAGIC:
        raise HostError("the checkpoint is not one of ours (empty, zero-filled or foreign); it is not ignored", hint)
    if words[1] != b"%d" % VERSION:
        raise HostError(f"the checkpoint has version {words[1].decode('ascii', 'replace')[:9]}, this agent reads {VERSION}", hint)
    if hashlib.sha256(body).hexdigest().encode() != words[2]:
        raise HostError("the checkpoint fails its checksum: the disk or another program changed it", hint)
    try:
        return msgspec.json.decode(body, type=Checkpoint)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HostError("the checkpoint's body cannot be read by this version", hint) from error
