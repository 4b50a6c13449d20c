"""State commands: what `shipper state list|set|export|import` do to the progress of one pipeline into one output.

RULES
- `list` and `export` read the checkpoint, which is replaced whole, and so may run beside an agent. `set` and `import` hold the lock
  of the state directory; a dry run of `import` does not.
- An existing checkpoint is extended, never started anew: streams, horizon, output lengths and the machine it was written on are
  kept. One that is broken or of another destination is refused, as `run` does.
- An imported stream has a new identity: nobody sent documents under it.
- `set` keeps the identity. An id is made of identity, start and end, so what is read a second time is refused by Elasticsearch as
  a duplicate, and only what is missing there comes in; `again` mints anew, and everything from there on is sent as new. The
  output `local` compares no ids: what is read a second time is written a second time. Going back with the same identity also
  holds the reference of index windows until the old end is passed, so that a record finds its old index.
- Skipping forward says how many bytes are passed over: nobody will send them.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge import store
from shipper.edge.takeover import agents, own
from shipper.edge.takeover.disk import Disk, UnreadableError, is_left_alone
from shipper.edge.takeover.plan import Made, Outcome, Planner, stream_of
from shipper.edge.takeover.position import OFFSET_MAX
from shipper.encode.index import Horizon
from shipper.model.errors import HostError
from shipper.progress import checkpoint
from shipper.source.events import StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shipper.config.pipeline import Pipeline


class Kept(msgspec.Struct, frozen=True):
    """Where the progress of a pipeline is kept, and what making identities takes."""

    pipeline: Pipeline
    destination: str
    """What the output calls itself."""
    directory: Path
    """The state directory."""
    mint: Callable[[], str]
    """Returns a new identity; `inlets.mint_identity`."""
    wall: Callable[[], float] = time.time
    """Unix seconds."""


class StreamRow(msgspec.Struct, frozen=True):
    """One stream, for `list`. Sizes are bytes."""

    path: str
    identity: str
    offset: int
    size: int
    """Today, where the file lies at its path; else as last seen."""
    percent: int
    state: str
    """`read`: to its end; `behind`; `done`: rotated and read to its end; `moved`: not at its path, looked for by the next run."""
    changed_s: float
    """Last change of the file, Unix seconds."""
    source: int


class Import(msgspec.Struct, frozen=True):
    """What `import` came to."""

    agent: str
    outcomes: list[Outcome]
    unknown: list[str]
    """Files that the pipeline reads and that neither the agent nor we know: the next run reads them from their first byte."""
    written: bool


# --- list and export


def list_streams(kept: Kept) -> list[StreamRow]:
    """Every stream of the pipeline, by path. Raises HostError for a checkpoint that is not whole."""
    before = _load(kept)
    if before is None:
        return []
    rows = [_row(number, state) for number, states in enumerate(_states(before)) for state in states]
    return sorted(rows, key=lambda row: (row.path, row.identity))


def _row(number: int, state: StreamState) -> StreamRow:
    size, changed_s, word = state.size, state.mtime_s, "moved"
    try:
        status = os.stat(state.path)
    except OSError:
        pass
    else:
        if (status.st_dev, status.st_ino) == (state.dev, state.ino):
            size, changed_s = status.st_size, status.st_mtime
            word = "read" if state.offset >= size else "behind"
    if state.ended and state.offset >= size:
        word = "done"
    percent = 100 if state.offset >= size else 100 * state.offset // size
    return StreamRow(state.path, state.id, state.offset, size, percent, word, changed_s, number)


def export(kept: Kept) -> bytes:
    """The streams of the pipeline as JSON, which `import` understands. Raises HostError, also where there is no progress."""
    before = _load(kept)
    if before is None:
        raise _nothing(kept)
    streams = [_quoted(state) for states in _states(before) for state in states]
    exported = own.Exported(own.VERSION, before.pipeline, before.destination, streams)
    return msgspec.json.format(msgspec.json.encode(exported), indent=1) + b"\n"


# --- import


def take_over(kept: Kept, file: Path, *, agent: str | None = None, dry_run: bool = False, force: bool = False) -> Import:
    """Begin where another agent stopped, as its state in `file` says; `agent` is one of `agents.NAMES`, None finds out.

    Raises HostError for a state that cannot be read, while an agent runs, and for a checkpoint that is not whole.
    """
    name = agent or agents.recognise(file)
    positions = agents.read(file, name)
    with _held(kept, is_needed=not dry_run) as place:
        before = _load(kept)
        known = [state for states in _states(before) for state in states] if before is not None else []
        disk = _disk(kept, [position.path for position in positions], agents.saved_s(file))
        try:
            planner = Planner(disk, known, kept.mint, int(kept.pipeline.max_record))
            outcomes = planner.plan(positions, kept.wall(), force=force)
            unknown = _unknown(disk, outcomes, known)
        finally:
            disk.close()
        if place is not None and planner.made:
            _save(place, _extended(kept, before, planner.made))
    return Import(name, outcomes, unknown, place is not None and bool(planner.made))


def _unknown(disk: Disk, outcomes: list[Outcome], known: list[StreamState]) -> list[str]:
    """Files that the sources list and nobody knows."""
    seen = {outcome.file for outcome in outcomes if outcome.status in ("imported", "kept")}
    inodes = {(state.dev, state.ino) for state in known}
    listed = [found for found in disk.listed if found.entry.size]
    return sorted(
        found.entry.path for found in listed if found.entry.path not in seen and (found.entry.dev, found.entry.ino) not in inodes
    )


# --- set


def set_offset(kept: Kept, path: str, to: int | str, *, again: bool = False) -> Outcome:
    """Move the progress in one file to a byte offset, `beginning` or `end`. Raises HostError where that cannot be done.

    `again` gives it a new identity: what is read a second time is sent as new, not refused as a duplicate.
    """
    with _held(kept) as place:
        assert place is not None
        before = _load(kept)
        known = [state for states in _states(before) for state in states] if before is not None else []
        disk = _disk(kept, [path])
        try:
            made, outcome = _moved(kept, disk, known, path, _Target(to, again))
        except UnreadableError as error:
            raise HostError(f"{path}: {error}", "Nothing was changed.") from error
        finally:
            disk.close()
        after = _extended(kept, before, [made])
        if outcome.offset < outcome.stated and made.state.id == made.replaces:
            after.horizon["quiet"] = False
        _save(place, after)
    return outcome


class _Target(msgspec.Struct, frozen=True):
    to: int | str
    again: bool


def _moved(kept: Kept, disk: Disk, known: list[StreamState], path: str, target: _Target) -> tuple[Made, Outcome]:
    """The stream of a file at another offset. Raises HostError, UnreadableError."""
    found = disk.at(path)
    if found is None or is_left_alone(found):
        raise HostError(f"{path}: no source of the pipeline {kept.pipeline.name} reads such a file", "Nothing was changed.")
    size, to = found.entry.size, target.to
    if not size:
        raise HostError(f"{path} is empty: there is nothing to move in it", "Nothing was changed.")
    offset = {"beginning": 0, "end": size}[to] if isinstance(to, str) else to
    if not 0 <= offset <= size:
        raise HostError(f"{path} has {size} bytes: its progress cannot be at {offset}", "Nothing was changed.")
    planner = Planner(disk, known, kept.mint, int(kept.pipeline.max_record))
    measured = disk.measure(found, offset, int(kept.pipeline.max_record))
    old = planner.known(found, measured.head)
    identity = old.id if old is not None and not target.again else kept.mint()
    state = stream_of(found, measured, identity, kept.wall())
    if old is not None:
        state.first_seen = old.first_seen
    compares = kept.pipeline.output.type != "local"
    outcome = Outcome(
        status="imported", path=path, file=found.entry.path, stated=old.offset if old is not None else 0,
        offset=state.offset, size=state.size, identity=state.id, reason=_moved_text(old, state, offset, compares=compares),
    )  # fmt: skip
    return Made(found.source, state, old.id if old is not None else ""), outcome


def _moved_text(old: StreamState | None, state: StreamState, asked: int, *, compares: bool) -> str:
    """What a move means, in words; `compares`: the output refuses ids that it has."""
    stood, back = old.offset if old is not None else 0, asked - state.offset
    text = f"from {stood} to {state.offset} of {state.size}"
    if back:
        text += f" ({back} back, to the start of the line)"
    if state.offset > stood:
        text += f"; {state.offset - stood} bytes are passed over, nobody sends them"
    elif state.offset < stood and old is not None and state.id == old.id:
        fate = "what is there already stays once" if compares else "this output compares none, and writes them again"
        text += f"; {stood - state.offset} bytes are read again under their old ids: {fate}"
    elif state.offset < stood:
        text += f"; {stood - state.offset} bytes are read again under new ids: what is there already comes twice"
    return text


def parse_target(text: str) -> int | str:
    """What `set` takes: `beginning`, `end` or a number of bytes. Raises ValueError."""
    if text in ("beginning", "end"):
        return text
    if not text.isascii() or not text.isdecimal() or int(text) > OFFSET_MAX:
        raise ValueError(f"expected beginning, end or an offset in bytes, got {text[:40]!r}")
    return int(text)


# --- the checkpoint


@contextmanager
def _held(kept: Kept, *, is_needed: bool = True) -> Iterator[Path | None]:
    """Hold the state directory; gives the place of the checkpoint, None where the lock is not needed. Raises HostError."""
    if not is_needed:
        yield None
        return
    held = store.Store(kept.directory)
    held.open()
    try:
        yield held.place(kept.pipeline.name, kept.destination)
    finally:
        held.close()


def _load(kept: Kept) -> checkpoint.Checkpoint | None:
    """The checkpoint, None where there is none. Makes nothing. Raises HostError for one that is not whole."""
    if not (kept.directory / kept.pipeline.name).is_dir():
        return None
    path = store.Store(kept.directory).place(kept.pipeline.name, kept.destination) / "checkpoint"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"the checkpoint {path} cannot be read: {error.strerror}", "Run this as the agent's user.") from error
    found = checkpoint.decode(data, str(path))
    if found.destination != kept.destination:
        raise HostError(f"the checkpoint {path} belongs to {found.destination}", "State directories are not to be moved by hand.")
    return found


def _nothing(kept: Kept) -> HostError:
    return HostError(
        f"the pipeline {kept.pipeline.name} has no progress into {kept.destination} in {kept.directory}",
        "Name the state directory with --state, or run the pipeline first.",
    )


def _states(before: checkpoint.Checkpoint) -> list[list[StreamState]]:
    """The streams by source, with their paths as the file system has them. Raises HostError."""
    try:
        found = [[msgspec.convert(item, StreamState) for item in items] for items in before.sources]
    except msgspec.ValidationError as error:
        raise HostError(
            "the checkpoint holds streams of another version", "Use the version of the agent that wrote it."
        ) from error
    for state in (state for states in found for state in states):
        state.path, state.home = store.unquoted(state.path), store.unquoted(state.home)
    return found


def _quoted(state: StreamState) -> StreamState:
    return msgspec.structs.replace(state, path=store.quoted(state.path), home=store.quoted(state.home))


def _disk(kept: Kept, paths: list[str], saved_s: float = math.inf) -> Disk:
    """The files of the pipeline's file sources. Raises HostError where it has none."""
    sources = enumerate(source.component for source in kept.pipeline.sources)
    configs = {number: component.config for number, component in sources if component.inlet == "file"}
    if not configs:
        raise HostError(f"the pipeline {kept.pipeline.name} follows no files", "Offsets are kept for files alone.")
    return Disk(configs, paths, saved_s)


def _extended(kept: Kept, before: checkpoint.Checkpoint | None, made: list[Made]) -> checkpoint.Checkpoint:
    """The checkpoint with the streams that were made. Sources nobody took a file of stay as new as they were."""
    if before is None:
        before = checkpoint.Checkpoint(
            pipeline=str(kept.pipeline.name),
            destination=kept.destination,
            machine_id=store.machine_id(),
            horizon={**msgspec.to_builtins(Horizon(kept.wall())), "quiet": True},
        )
    replaced = {one.replaces for one in made}
    sources: list[list[dict[str, Any]]] = [[item for item in items if item["id"] not in replaced] for items in before.sources]
    seconds = dict(before.last_seconds)
    for one in made:
        sources += [[] for _ in range(one.source + 1 - len(sources))]
        sources[one.source].append(msgspec.to_builtins(_quoted(one.state)))
        if one.replaces and one.replaces != one.state.id:
            seconds.pop(one.replaces, None)
    return msgspec.structs.replace(before, sources=sources, last_seconds=seconds, horizon=dict(before.horizon))


def _save(place: Path, after: checkpoint.Checkpoint) -> None:
    """Write the checkpoint, durably. Raises HostError."""
    try:
        asyncio.run(store.save(place / "checkpoint", checkpoint.encode(after)))
    except OSError as error:
        raise HostError(f"the checkpoint in {place} cannot be written: {error.strerror}", "Nothing was changed.") from error
