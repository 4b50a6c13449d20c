"""Explanation: what each step of a pipeline does with some lines: before, after, why. Nothing is delivered, nothing is kept.

RULES
- The chain is the one that `run` uses, and is watched at its work: what is told is what it did, not what it might have done.
- What is shown of a record has passed the gate.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shipper import rehearsal
from shipper.encode.document import common_fragment
from shipper.model.batch import SafeBatch, Stream, split_rows
from shipper.model.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipper.config.pipeline import Pipeline

_WIDTH = 10


def explain(pipeline: Pipeline, data: bytes, source: int, env: Mapping[str, str]) -> str:
    """What each step does with the lines of `data`, as text. Raises ConfigError."""
    parts = rehearsal.make(pipeline, env)
    stream = Stream("rehearsal-------------", common_fragment("-", "rehearsal"), "-", rehearsal.NOON)
    taken = parts.intakes[source](stream).take(data if data.endswith(b"\n") else data + b"\n", 0, final=True)
    if taken.batch is None:
        skipped = ", ".join(f"{size} bytes {cause}" for cause, size in taken.skipped.items())
        return f"no record in it: {skipped or 'empty input'}"
    batch = taken.batch
    watch = _Watch(pipeline, source, batch.count)
    for row, (start, stop) in enumerate(zip(batch.starts, batch.stops, strict=True)):
        watch.say(row, "frame", f"bytes {start} to {stop} of the input{_flagged(batch.flags.get(row, ()))}")
    outcome = parts.chains[source].run(batch, 0, rehearsal.NOON, 0.0, watch)
    for row, (index, document) in enumerate(rehearsal.documents(outcome, batch.count)):
        if index:
            watch.say(row, "route", f"{index}  ({watch.routes[row]})")
            watch.say(row, "document", rehearsal.json_line(document))
    pages: list[str] = []
    for row, lines in enumerate(watch.lines):
        pages += [f"record {row + 1} of {batch.count}", *lines]
    hits = ", ".join(f"{rule} x{count}" for rule, count in sorted(outcome.masked.items()))
    return "\n".join([*pages, f"masked before anything else saw it: {hits}" if hits else "nothing to mask"])


class _Watch:
    """Follows a batch through the chain; `lines` are what there is to tell of each row."""

    def __init__(self, pipeline: Pipeline, source: int, count: int) -> None:
        self.lines: list[list[str]] = [[] for _ in range(count)]
        self._pipeline, self._decoder = pipeline, pipeline.sources[source].decode.type
        self.routes = [""] * count
        """Which route took each row, and why."""
        self._over: set[int] = set()
        """Rows that were dropped or held."""
        self._rows: list[bytes] = []
        self._fragments = 0
        self._flags: dict[int, tuple[str, ...]] = {}

    def __call__(self, step: str, left: object = None, /) -> None:
        if isinstance(left, SafeBatch):
            for row, text in enumerate(split_rows(left.block, left.ends)):
                self.say(row, step, rehearsal.printable(text))
        elif isinstance(left, Columns) and step != "encode":
            for row in range(left.count):
                if row not in self._over:
                    self._tell(step, left, row)
            self._rows, self._fragments, self._flags = list(left.rows), len(left.fragments), dict(left.flags)

    def say(self, row: int, step: str, text: str) -> None:
        """Tell of a row."""
        self.lines[row].append(f"  {step:<{_WIDTH}} {text}")

    def _tell(self, step: str, left: Columns, row: int) -> None:
        fresh = [flag for flag in left.flags.get(row, ()) if flag not in self._flags.get(row, ())]
        if step == "decode":
            why = next((flag.partition(":")[2] for flag in fresh if flag.startswith("parse_error:")), "")
            own = rehearsal.printable(left.rows[row] + b"}")
            self.say(row, step, f"not of the format {self._decoder}: {why}" if why else f"{self._decoder}: {own}")
        elif step == "date":
            moment = datetime.fromtimestamp(left.seconds[row], UTC)
            self.say(row, step, f"{moment:%Y-%m-%dT%H:%M:%SZ}{_flagged(fresh)}")
        elif step == "route":
            self.routes[row] = self._route(left, row)
        else:
            self.say(row, step, f"{self._done(left, row) or 'nothing to do'}{_flagged(fresh)}")
        self._end(left, row)

    def _end(self, left: Columns, row: int) -> None:
        if row in left.dropped or row in left.held:
            held = left.held.get(row)
            self.say(row, "dropped", left.dropped[row] if held is None else f"{held.reason}, and told of in a summary")
            self._over.add(row)

    def _done(self, left: Columns, row: int) -> str:
        """What a stage did to a row."""
        new = left.fragments[self._fragments :]
        added = b"".join(pieces if isinstance(pieces, bytes) else pieces[row] for pieces in new)
        told = []
        if left.rows[row] != self._rows[row]:
            told.append(f"now {rehearsal.printable(left.rows[row] + b'}')}")
        if added:
            told.append(f"+ {rehearsal.printable(b'{' + added.removeprefix(b',') + b'}')}")
        return ", ".join(told)

    def _route(self, left: Columns, row: int) -> str:
        """The first route whose condition holds."""
        for number, spec in enumerate(self._pipeline.routes):
            if spec.when is None or spec.when.mask(left)[row]:
                why = f"when {spec.when.text}" if spec.when is not None else "everything else"
                return f"route {number + 1}: {why}"
        return "no route"


def _flagged(flags: Any) -> str:
    return f"  [{', '.join(rehearsal.printable(flag.encode()) for flag in flags)}]" if flags else ""
