"""Chain: the walk of a batch. Gate, decoder, stages, routing, documents; bytes in, a payload out. Pure: no I/O, no clock.

RULES
- The gate comes first; everything after it sees a `SafeBatch`. It does not raise: it fails closed, row by row.
- A stage that raises is a bug, not an end: its rows go on without its work, flagged `stage_error`, and the failure is noted once
  a batch. (Rows it had already dropped or held stay so.)
- What a row's document depends on is in the row, its stream and the horizon; never the time of processing.
- Stages and routes see documents as they will be: what frames, sources and stages added, the file, the host and the flags are
  columns where a name of theirs is read, and a record that says the same itself does not get its way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import chain
from operator import eq
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from shipper.decode import timestamp
from shipper.encode import document, ecs, index
from shipper.model.batch import split_rows
from shipper.model.columns import OURS, meet
from shipper.model.errors import MisuseError
from shipper.model.shown import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.model.batch import Batch, SafeBatch
    from shipper.model.columns import Columns, Held, Values
    from shipper.model.payload import Payload


class Lap(Protocol):
    """Called after each step: to measure, or to look at what it left."""

    def __call__(self, step: str, left: object = None, /) -> None:
        """`left` is a SafeBatch after `redact`, the columns after every other step; to be looked at only."""
        ...


_UNREAD = "timestamp"
"""`shipper.timestamp` in a document: the text of its time, where that could not be read and nothing else of the record holds it."""


def unmeasured(_step: str, _left: object = None, /) -> None:
    """The lap of a run that nobody looks at."""


class Gate(Protocol):
    """What the chain asks of the redaction gate."""

    def admit(self, batch: Batch) -> SafeBatch:
        """Redact a batch."""
        ...

    def text(self, value: str) -> str:
        """Redact a text, once per stream or label."""
        ...


class Decoder(Protocol):
    """What the chain asks of a decoder."""

    @property
    def timeline(self) -> timestamp.Timeline | None:
        """Reads the times of its records, where they are not the pipeline's: text formats know how theirs are written."""
        ...

    @property
    def speaks_ecs(self) -> bool:
        """Whether its rows have ECS names."""
        ...

    def decode(self, batch: SafeBatch) -> Columns:
        """Columns of a batch, with the origin of their rows, and which rows are odd."""
        ...


class Working(Protocol):
    """What the chain asks of a stage; see `stages/stage.py`."""

    adds: Sequence[str]

    def process(self, columns: Columns, now: float) -> None:
        """Work on a batch."""
        ...


class Dating(msgspec.Struct, frozen=True):
    """What a document's time and id are made of, and what its source adds."""

    stamp_fields: Sequence[str]
    """Looked at in order for the event's time."""
    content_key: bytes | None = None
    """Key of the hash that `id: content` makes of a record; None: ids are made of the origin."""
    objects: Sequence[str] = ()
    """Members that the source adds, objects in every document."""
    ecs: bool = False
    """Whether records get ECS names in their documents, where their decoder does not speak ECS anyway."""
    timeline: timestamp.Timeline | None = None
    """How the pipeline's times are written, where a decoder does not know it better."""
    adds: Sequence[str] = ()
    """All that frames, sources and stages add, by dotted name."""


class Outcome(msgspec.Struct):
    """What became of a batch's rows, but for their delivery."""

    payload: Payload
    dropped: dict[int, str]
    """Reason by row."""
    held: dict[int, Held]
    """Rows that settle with a generated document."""
    last_seconds: int
    """Event time of the last row; dates rows without time that follow it in the stream."""
    masked: dict[str, int]
    """Redaction hits by rule."""
    flagged: Counter[str]
    """Rows by flag."""
    stage_errors: list[tuple[str, str]]
    """(stage, class of the exception and where it was raised; no text of it, which may quote a record)."""


class Chain:
    """Turns batches of one source into payloads. Made once per source; called in the agent's thread."""

    def __init__(
        self,
        gate: Gate,
        decoder: Decoder,
        stages: Sequence[tuple[str, Working]],
        router: index.Router,
        dating: Dating,
    ) -> None:
        """`stages` are (name, stage) in order."""
        self.gate = gate
        self._decoder = decoder
        self._stages = tuple(stages)
        added = [name for _, stage in stages for name in stage.adds if name not in getattr(stage, "scalars", ())]
        self._adds = frozenset((*dating.objects, *(name.partition(".")[0] for name in added)))
        self._ours = OURS.union(dating.objects, dating.adds, *(stage.adds for _, stage in stages))
        self._asked = frozenset(router.reads).union(*(getattr(stage, "reads", ()) for _, stage in stages))
        self._shown = [self._met(stage.adds) for _, stage in stages]
        self._extra, self._flags = self._met(dating.adds), self._met(["shipper"]) - {"shipper.tag"}
        self._place = self._met(["log.file", "host.name"]) - {"log", "host"}
        self._router = router
        self._stamp_fields, self._content_key = tuple(dating.stamp_fields), dating.content_key
        self._timeline = decoder.timeline or dating.timeline or timestamp.Timeline()
        self._renaming = ecs.Renaming(self._stamp_fields, self._ours) if dating.ecs and not decoder.speaks_ecs else None
        self._extras = _SafeExtras(gate)
        self._tags = _SafeTags(gate)

    def _met(self, added: Sequence[str]) -> frozenset[str]:
        """Of the columns that are asked for, those that what is added has a say in."""
        return frozenset(name for name in self._asked if any(meet(name, other) for other in added))

    def run(self, batch: Batch, ticket: int, before: float, now: float, lap: Lap = unmeasured) -> Outcome:
        """Process a batch.

        Args:
            batch: unredacted rows; not used afterwards.
            ticket: the ledger's, for the payload.
            before: event time, in Unix seconds, for rows without one.
            now: monotonic seconds, for stages that remember.
            lap: called after each step, see `Lap`.
        """
        ids = batch.ids if self._content_key is None else content_ids(batch, self._content_key)
        tags = None if batch.tags is None else list(map(self._tags.__getitem__, batch.tags))
        safe = self.gate.admit(batch)
        extras = self._extras.all(batch.extras)
        lap("redact", safe)
        columns = self._decoder.decode(safe)
        columns.ids, columns.tags, columns.path = ids, tags, batch.stream.path
        columns.asked, columns.ours = self._asked, self._ours
        for name, value in batch.stream.told.items():
            columns.fields[name] = [value] * columns.count
        columns.beside = {*batch.stream.told, "shipper.tag"}
        columns.fields["shipper.tag"] = tags or [None] * columns.count  # never what a record itself says there
        lap("decode", columns)
        stamps = self._date(columns, safe, before, batch.stream.first_seen)
        columns.dropped.update(safe.dropped)
        if extras is not None:
            columns.splice(extras)
            if self._extra:
                show(columns, [extras], self._extra)
        if self._place:
            show(columns, [document.place(batch.stream)], self._place)
        if "log.offset" in self._asked:
            columns.assign("log.offset", columns.starts)
        self._show_flags(columns)
        lap("date", columns)
        errors = self._run_stages(columns, now, lap)
        self._show_flags(columns)
        names = self._router.assign(columns)
        for row, held in columns.held.items():
            if held.index is None:
                held.index = names[row].encode()
        lap("route", columns)
        if self._renaming is not None:
            self._renaming.rename(columns)
            lap("ecs", columns)
        assembly = document.Assembly(batch.stream, columns, names, stamps, self._adds)
        payload = assembly.payload(ticket)
        lap("encode", columns)
        return Outcome(payload, columns.dropped, columns.held, columns.seconds[-1], safe.masked, _flagged(columns), errors)

    def _run_stages(self, columns: Columns, now: float, lap: Lap) -> list[tuple[str, str]]:
        errors = []
        for (name, stage), shown in zip(self._stages, self._shown, strict=True):
            before = len(columns.fragments)
            known = {other: columns.column(other) for other in shown}
            try:
                stage.process(columns, now)
                spliced = columns.fragments[before:]
                assert all(map(columns.is_splice, spliced)), "a fragment for each row"
                if shown and spliced:  # but for columns that the stage set itself
                    show(columns, spliced, [other for other, values in known.items() if columns.column(other) is values])
            except Exception as error:  # a bug in a stage must not stop the log of everybody else
                errors.append((name, _told(error, getattr(stage, "file", ""))))
                del columns.fragments[before:]
                for row in range(columns.count):
                    columns.flags[row] = (*columns.flags.get(row, ()), f"stage_error:{name}")
            lap(name, columns)
        return errors

    def _show_flags(self, columns: Columns) -> None:
        if self._flags:
            show(columns, [document.flag_fragments(columns.flags, columns.tags, columns.count)], self._flags, alone=True)

    def _date(self, columns: Columns, safe: SafeBatch, before: float, first_seen: float) -> Sequence[bytes] | None:
        """Fill in the event times; return the stamps to splice, None where the records have their own, canonical."""
        values: Values = timestamp.first_present(map(columns.column, self._stamp_fields))
        if safe.times is not None and None in values:
            values = timestamp.first_present([values, safe.times])
        parts = [(timeline or self._timeline, rows) for timeline, rows in columns.timelines or [(None, range(columns.count))]]

        def read(after: float) -> timestamp.Times:
            return timestamp.read_together(parts, values, after)

        times = timestamp.read_first(read, before) if before == int(first_seen) else read(before)
        columns.seconds = times.seconds
        for row, flag in times.flags.items():
            columns.flags[row] = (*columns.flags.get(row, ()), flag, *_unread(columns, row, flag))
        if not columns.stamped:
            return times.stamps
        own = columns.column("@timestamp")
        if own.count(None) == columns.count:
            return times.stamps
        if values is own and not times.flags and all(map(eq, own, map(bytes.decode, times.stamps))):
            return None
        columns.odd.update(row for row, value in enumerate(own) if value is not None)
        return times.stamps


def _told(error: Exception, file: str) -> str:
    """An error for the log: its class and the line, in `file` if it came from there; its text only where that holds no record."""
    at = error.__traceback__
    place = ""
    while at is not None:
        path = at.tb_frame.f_code.co_filename
        if path == file or not place.startswith(f"{file}:"):
            place = f"{path}:{at.tb_lineno}"
        at = at.tb_next
    told = f": {error}" if isinstance(error, MisuseError) else ""
    return f"{type(error).__name__} at {place.rpartition('/')[2]}{told}"


def _unread(columns: Columns, row: int, flag: str) -> tuple[str, ...]:
    """A flag with the text of a time that could not be read and is no member of the record, as in formats of text."""
    text = columns.column("@timestamp")[row] if flag == "timestamp_unreadable" else None
    return (f"{_UNREAD}:{text}",) if isinstance(text, str) and b'"@timestamp"' not in columns.rows[row] else ()


def _flagged(columns: Columns) -> Counter[str]:
    """Rows by flag, without the values of flags that have one."""
    flagged: Counter[str] = Counter()
    for name, count in Counter(chain.from_iterable(columns.flags.values())).items():
        flagged[name.partition(":")[0]] += count
    flagged.pop(_UNREAD, None)  # beside the flag that says so
    return flagged


def content_ids(batch: Batch, key: bytes) -> list[bytes]:
    """A keyed hash (BLAKE2b, RFC 7693) of each framed record before redaction: equal records have equal ids, which tell nothing."""
    secret = hashlib.sha256(key).digest()
    return [hashlib.blake2b(row, key=secret, digest_size=16).hexdigest().encode() for row in split_rows(batch.block, batch.ends)]


class _SafeExtras(dict[bytes, bytes]):
    """A frame's fragment -> the same, redacted. Bounded; forgets everything when full."""

    _MAX = 10_000

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def all(self, fragments: Sequence[bytes] | bytes | None) -> Sequence[bytes] | bytes | None:
        """The fragments of a batch, or the one of all its rows."""
        if fragments is None or isinstance(fragments, bytes):
            return self[fragments] if fragments else None
        return list(map(self.__getitem__, fragments))

    def __missing__(self, fragment: bytes) -> bytes:
        if not fragment:
            return fragment
        if len(self) >= self._MAX:
            self.clear()
        value: Any = msgspec.json.decode(b"{" + fragment[1:] + b"}")
        self[fragment] = b"," + msgspec.json.encode(redacted(value, self._gate))[1:-1]
        return self[fragment]


class _SafeTags(dict[str, str]):
    """A tag -> the same, redacted. Bounded likewise."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def __missing__(self, tag: str) -> str:
        if len(self) >= _SafeExtras._MAX:  # noqa: SLF001  one bound for both
            self.clear()
        self[tag] = self._gate.text(tag)
        return self[tag]


def redacted(value: Any, gate: Gate) -> Any:
    """Every text in a small document, keys too, past the gate."""
    if isinstance(value, dict):
        return {gate.text(key): redacted(item, gate) for key, item in value.items()}
    return gate.text(value) if isinstance(value, str) else value
