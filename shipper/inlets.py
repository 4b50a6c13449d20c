"""Inlets: from the sources of a checked pipeline and its checkpoint to what runs them.

RULES
- A source class says by `inlet` what runs it: `file` (follows files), `listen` (the default: has a `connection`), `pipe`, `journal`.
- A source whose protocol can say "not now" (`tells_when_full`) goes on answering while the spool is full; others are not read.
- A listening source has a spool beside the checkpoint, named by its type and its number among those of its type, so that other
  sources may come and go before it.
- A stream of the checkpoint goes to the source that includes its file (or has its name), the same number first. On another
  machine (a cloned image) identities are minted anew, offsets kept.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge import log, store
from shipper.edge.files import FileHands, open_file_budget
from shipper.edge.globs import translate_path
from shipper.edge.inlet import Inlet
from shipper.edge.watch import Watch
from shipper.source import events
from shipper.source.events import StreamState
from shipper.source.push import DELIVERY_BYTES_MAX
from shipper.source.reading import LIMITS
from shipper.source.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.config.pipeline import Component, Pipeline
    from shipper.edge.inlet import Inflow
    from shipper.edge.push_inlet import PushInlet
    from shipper.flow import Flow
    from shipper.progress import checkpoint

_WINDOW_MARGIN_BYTES = 1 << 16
_PUSH = "push:"
"""Begins what stands for the path of a stream that is no file."""


class Inlets:
    """The inlets of one flow, in the order of its sources."""

    def __init__(self, flow: Flow, pipeline: Pipeline, place: Path | None, *, once: bool) -> None:
        """`place` is where the flow's state is; None: nothing is kept longer than the run. `once`: nothing listens."""
        self._flow, self._pipeline, self._once = flow, pipeline, once
        self._watches: list[Watch] = []
        self._temporary = tempfile.TemporaryDirectory(prefix="shipper-spool-") if place is None else None
        self._spools = Path(self._temporary.name) if self._temporary is not None else (place or Path()) / "spool"
        names = _names(pipeline)
        self.all: list[Inflow] = [
            self._files(source.component, source.frame.factory) if name == "" else self._other(source.component, name)
            for source, name in zip(pipeline.sources, names, strict=True)
        ]

    async def open(self, before: checkpoint.Checkpoint | None) -> None:
        """Take up the streams of a checkpoint, and listen. Raises HostError."""
        names = set(_names(self._pipeline))
        for left in sorted(self._spools.glob("*/*.spool")):
            if left.parent.name not in names:
                names.add(left.parent.name)
                log.write(
                    "warning",
                    "a source that is gone left records in its spool; bring it back to have them",
                    spool=str(left.parent),
                )
        for inlet, streams in zip(self.all, known_streams(before, self._pipeline), strict=True):
            if isinstance(inlet, Inlet):
                inlet.offer(events.Resume(streams))
            else:
                await inlet.open(streams[0] if streams else None)  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Stop watching, remove what is temporary."""
        for watch in self._watches:
            watch.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _files(self, component: Component, frame: Any) -> Inlet:
        loop, config = asyncio.get_running_loop(), component.config
        # A window must be longer than the longest record, or a file with such a record is never read on.
        window = max(LIMITS.read_size_bytes_max, self._pipeline.max_record + _WINDOW_MARGIN_BYTES)
        files = sum(source.component.inlet == "file" for source in self._pipeline.sources)
        usual = getattr(frame, "window_bytes", LIMITS.read_size_bytes)
        limits = msgspec.structs.replace(
            LIMITS, read_size_bytes=usual, read_size_bytes_max=max(window, usual), open_files=open_file_budget(files)
        )
        tail = Tail(config, mint_identity, limits)
        inlet = Inlet(tail, FileHands(config), self._flow, loop.time)
        if not self._once:
            inlet.watch = self._watch(inlet, config)
        return inlet

    def _watch(self, inlet: Inlet, config: Any) -> Watch:
        def noticed(paths: frozenset[str], names: bool) -> None:  # noqa: FBT001
            inlet.offer(events.Noticed(paths, names))
            self._flow.wake()

        watch = Watch(asyncio.get_running_loop(), noticed, poll=config.poll)
        self._watches.append(watch)
        return watch

    def _other(self, component: Component, name: str) -> Inflow:
        if component.inlet != "journal":
            return self._pushed(component, name)
        from shipper.edge.journal import JournalInlet

        inlet = JournalInlet(name, component.config, self._flow, mint_identity, time.time)
        inlet.follow = not self._once
        return inlet

    def _pushed(self, component: Component, name: str) -> PushInlet:
        from shipper.edge.push_inlet import PushInlet
        from shipper.edge.spool import Limits, Spool

        config = component.config
        limits = Limits(size_max=config.spool, drop_oldest=config.when_full == "drop_oldest")
        inlet = PushInlet(name, Spool(self._spools / name, limits), self._flow, mint_identity, time.time)
        if component.inlet == "pipe":
            from shipper.edge.pipe import Pipe

            # As for other senders, a record is no larger than a delivery may be.
            inlet.receiver = Pipe(inlet.take, inlet.ended, max_record=min(self._pipeline.max_record, DELIVERY_BYTES_MAX))
        elif not self._once:
            from shipper.edge.listener import Listener

            inlet.is_endless = True
            inlet.holds_up = not getattr(component.factory, "tells_when_full", False)
            inlet.receiver = Listener(config, component.factory(config, time.time), inlet.take, inlet.noted)
        return inlet


def _names(pipeline: Pipeline) -> list[str]:
    """The name of each source that has a spool, empty for the others: `forward`, `forward-2`."""
    seen: Counter[str] = Counter()
    names = []
    for source in pipeline.sources:
        kind = source.component.type
        if source.component.inlet == "file":
            names.append("")
            continue
        seen[kind] += 1
        names.append(kind if seen[kind] == 1 else f"{kind}-{seen[kind]}")
    return names


def mint_identity() -> str:
    """128 random bits, 22 characters of base64url."""
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


def known_streams(before: checkpoint.Checkpoint | None, pipeline: Pipeline) -> list[list[StreamState] | None]:
    """The streams of each source as the checkpoint has them, None for a source that is new.

    Where no source includes a file (a link leads to it) its stream goes to the same number. A spool's goes to its own source or to
    none: another source would take its offset for that of its own spool.
    """
    if before is None or not before.sources:
        return [None] * len(pipeline.sources)
    found: list[list[StreamState]] = [[] for _ in pipeline.sources]
    names = _names(pipeline)
    tests = [
        (lambda path, name=name: path == _PUSH + name) if name else _is_included(source.component.config)
        for source, name in zip(pipeline.sources, names, strict=True)
    ]
    for number, states in enumerate(before.sources):
        order = sorted(range(len(tests)), key=number.__ne__)
        for state in (msgspec.convert(state, StreamState) for state in states):
            state.path, state.home = store.unquoted(state.path), store.unquoted(state.home)
            at = next((at for at in order if tests[at](state.home or state.path)), None)
            if at is None and number < len(tests) and not names[number] and not state.path.startswith(_PUSH):
                at = number
            if at is not None:
                found[at].append(state)
    if before.machine_id != store.machine_id():
        _mint_anew([state for states in found for state in states], before)
    return [streams if streams or number < len(before.sources) else None for number, streams in enumerate(found)]


def _is_included(config: Any) -> Callable[[str], bool]:
    """Whether a path is one of those that a source includes."""
    patterns = [translate_path(pattern) for pattern in config.include]
    return lambda path: any(pattern.fullmatch(path) for pattern in patterns)


def _mint_anew(streams: list[StreamState], before: checkpoint.Checkpoint) -> None:
    """A cloned machine: both would send the same ids."""
    log.write("warning", "this state was written on another machine: its streams get new identities", streams=len(streams))
    for stream in streams:
        old, stream.id = stream.id, mint_identity()
        if old in before.last_seconds:
            before.last_seconds[stream.id] = before.last_seconds[old]
