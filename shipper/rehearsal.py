"""Rehearsal: a pipeline without the outside. Runs its `tests:`.

RULES
- The chain is the one that `run` uses; only time stands still, at the record's own: windows are off, throttle counts by events.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from shipper import assembly
from shipper.config.pipeline import Expectation, Pipeline, RouteSpec, TestSpec
from shipper.encode.index import Horizon
from shipper.model.batch import Batch, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipper.chain import Outcome
    from shipper.flow import Parts

NOON = 1_770_292_800.0
"""2026-02-05T12:00:00Z: what a rehearsed record without a time is dated."""
_MISSING = object()
_DIGITS_MAX = 4300
"""Digits of an integer that Python reads."""
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Result(msgspec.Struct):
    """How one test of a pipeline went."""

    name: str
    problems: list[str]

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return not self.problems


def make(pipeline: Pipeline, env: Mapping[str, str]) -> Parts:
    """The parts of a pipeline, windows off. Raises ConfigError."""
    still = msgspec.structs.replace(pipeline, routes=[RouteSpec(spec.when, spec.index, None) for spec in pipeline.routes])
    surroundings = assembly.Surroundings(env=env, host_name="rehearsal", hash_key=b"rehearsal" * 4)
    return assembly.make_parts(still, surroundings, Horizon(NOON))


def run_tests(pipeline: Pipeline, env: Mapping[str, str]) -> list[Result]:
    """Run all tests of a pipeline; each starts with parts of its own, as nothing was seen before."""
    if not pipeline.tests:
        return []
    return [Result(test.name, _problems(test, make(pipeline, env))) for test in pipeline.tests]


def _problems(test: TestSpec, parts: Parts) -> list[str]:
    batch = _batch(parts, test)
    if batch is None:
        return [] if not test.expect else ["no record came out of it"]
    outcome = parts.chains[test.source or 0].run(batch, 0, NOON, 0.0)
    found = documents(outcome, batch.count)
    if len(found) != len(test.expect):
        return [f"expected {len(test.expect)} records, got {len(found)}: {', '.join(str(item[0]) for item in found)}"]
    problems = []
    for number, (expected, (index, document)) in enumerate(zip(test.expect, found, strict=True)):
        where = f"record {number + 1}: " if len(found) > 1 else ""
        problems += [where + problem for problem in _compare(expected, index, document)]
    return problems


def _batch(parts: Parts, test: TestSpec) -> Batch | None:
    """The records of a test, framed; `raw` goes through the source's own frame."""
    source = test.source or 0
    path = parts.redact_text(test.path or "/rehearsal.log")
    common, told = parts.commons[source](path)
    stream = Stream("rehearsal-------------", common, path, NOON, told)
    if test.raw:
        data = "".join(piece if piece.endswith("\n") else piece + "\n" for piece in test.raw).encode("utf-8", "surrogateescape")
        return parts.intakes[source](stream).take(data, 0, final=True).batch
    rows = [text.encode("utf-8", "surrogateescape").rstrip(b"\n") for text in test.given]
    block = b"".join(row + b"\n" for row in rows)
    batch = Batch(stream, block, len(rows), 0)
    if block.count(b"\n") != len(rows):
        ends, at = [], -1
        for row in rows:
            at += len(row) + 1
            ends.append(at)
        batch.ends = ends
        batch.starts, batch.stops = [0, *(end + 1 for end in ends[:-1])], [end + 1 for end in ends]
    return batch


def documents(outcome: Outcome, count: int) -> list[tuple[str, Any]]:
    """For each row: its index and document, or "" and the reason it was dropped for."""
    payload = outcome.payload
    rows = range(payload.count) if payload.rows is None else payload.rows
    found: dict[int, tuple[str, Any]] = {}
    for number, row in enumerate(rows):
        action, document = payload.document(number)
        found[row] = (_loaded(action)["create"]["_index"], _loaded(document))
    for row, reason in outcome.dropped.items():
        found[row] = ("", reason)
    for row, held in outcome.held.items():
        found[row] = ("", held.reason)
    return [found[row] for row in range(count)]


def _compare(expected: Expectation, index: str, document: Any) -> list[str]:
    if not index or expected.dropped is not None:
        reason = None if index else document
        if reason == expected.dropped:
            return []
        got = f"a document in {index}" if index else f"dropped: {reason}"
        return [f"expected {'dropped: ' + expected.dropped if expected.dropped else 'a document'}, got {got}"]
    problems = []
    if expected.index is not None and expected.index != index:
        problems.append(f"expected index {expected.index}, got {index}")
    for name, wanted in expected.fields.items():
        value = reach(document, name)
        if value is _MISSING or value != wanted or (value is True) != (wanted is True):
            shown = "nothing" if value is _MISSING else json_line(value)
            problems.append(f"expected {name} to be {json_line(wanted)}, got {shown}")
    return problems


def reach(document: Any, name: str) -> Any:
    """The value of a dotted name: a member spelt so, or down through objects; `_MISSING` where there is none."""
    if not isinstance(document, dict):
        return _MISSING
    if name in document:
        return document[name]
    head, dot, rest = name.partition(".")
    while dot:
        if head in document and (found := reach(document[head], rest)) is not _MISSING:
            return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return _MISSING


def _loaded(data: bytes) -> Any:
    """A document as the standard library reads it: numbers of any size, which records may hold, too."""
    return json.loads(data, parse_int=lambda digits: int(digits) if len(digits) < _DIGITS_MAX else float(digits))


def json_line(value: Any) -> str:
    """A value on one line, without what a terminal may take for a command."""
    return printable(json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def printable(text: bytes) -> str:
    """A text without what a terminal may take for a command."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text.decode("utf-8", "replace"))
