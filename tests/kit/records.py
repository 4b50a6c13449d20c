"""Records and windows: hostile rows, a gate that changes nothing, and readers that cut a source into windows.

A `Found` is a record as a reader finds it: first and last byte in the source, text, marks.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from hypothesis import strategies as st

from shipper.encode.document import common_fragment
from shipper.frame.frame import Cut, Frame
from shipper.intake import Intake
from shipper.model.batch import Batch, SafeBatch, Stream

Found = tuple[int, int, bytes, tuple[str, ...]]
STREAM = Stream("A" * 22, common_fragment("/var/log/app.log", "web-1"), "/var/log/app.log", 1_770_000_000.0)
MARKER = "Zq7Wx"
"""Stands in hostile rows where their content is; must not come out in flags."""

window_sizes = st.lists(st.integers(1, 60), min_size=1, max_size=6)
"""Sizes of windows in bytes, used over and over."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["ERROR", "info", "2026-02-05T14:30:45.123Z", 1_770_301_845, "", '"}', "\\", "{", "\u2028", "line\nbreak"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=5
)
"""Any JSON value without lone surrogates."""

NO_OBJECTS = [
    b"[1,2]", b"17", b"null", b'"text"', b"true", b" ", b"\t", b"\r", b"}", b"{", b"{]}", b"plain text", b"{}{}", b'{"a":1}{"a":2}',
    b'{"a":', b"1}", b'{"a":1,}', b"{'a':1}", b'{"a":NaN}', b'{"level":Infinity}', b'{"a":"\x01"}', b'{"a":"\\x"}', b'{"a":01}', b'{"level":tru}',
    b'{"a":"' + MARKER.encode(), b"Traceback " + MARKER.encode(), b'{"' + MARKER.encode() + b'":}', b'[{"' + MARKER.encode() + b'":1}]',
    b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", b'{"level":' + b'{"x":' * 10_000 + b"1" + b"}" * 10_001, b"[" * 10_000,
]  # fmt: skip
"""Rows that are no JSON object, or one that is too deep for any parser here."""
ODD_OBJECTS = [
    b"{}", b"{ }", b"{\t}", b' {"level":"x"} ', b'{"level":1,"level":2}', b'{"level":1e999}', b'{"a":1e999,"level":"x"}', b'{"level":-1e999}',
    b'{"level":' + b"9" * 5000 + b"}", b'{"a":' + b"9" * 5000 + b"}", b'{"level":"\\ud800"}', b'{"a":"\\udc00\\ud800","level":3}',
    b'{"\\ud834":1,"level":4}', b'{"a":"\\\\ud800","level":"\\ud83d\\ude00"}', b'{"\\u006cevel":5}', b'{"lo\\u0067":5}', b'{"@timestamp":null}',
    b'{"\\u0040timestamp":null}', b'{"sh\\u0069pper":1}', b'{"host":1e999}', b'{"log":{"n":1e999},"level":"x"}', b'{"client":' + b"8" * 5000 + b"}",
    b'{"log":null}', b'{"host":"web","level":"ERROR"}', b'{"host"\t:1}', b'{"log":{"level":"info"}}', b'{"log.offset":7}', b'{"host.name":"x"}', b'{"client.ip":"x"}',
    b'{"shipper.flags":1,"shipper":"y"}', b'{"note":"{ \\"host.name\\": 1 }"}', b'{"level":"\xc3\xbc"}\r', b'{"a":{"b":{"c":1}},"a.b":2}',
]  # fmt: skip
"""Objects that are awkward."""

FIELDS = ("level", "a", "a.b", "service", "@timestamp", "host.name", "log")


def encoded(record: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """A record as different writers write it."""
    compact = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return st.sampled_from([compact, json.dumps(record).encode()])


def objects(fields: Sequence[str] = FIELDS) -> st.SearchStrategy[bytes]:
    """Rows that are JSON objects, with the given fields and others."""
    names = st.sampled_from([*fields, "other", "client", "shipper", "tags"]) | st.text(max_size=5)
    return st.dictionaries(names, values, max_size=5).flatmap(encoded)


rows = st.lists(objects() | st.sampled_from(ODD_OBJECTS) | st.sampled_from(NO_OBJECTS), min_size=1, max_size=8)
"""Batches of rows of all kinds."""


class PlainGate:
    """A gate that changes nothing, but tells of the guards as the real one does."""

    def __init__(self, guards: Mapping[str, bytes]) -> None:
        """`guards` are the decoder's."""
        self._guards = {name: re.compile(pattern) for name, pattern in guards.items()}

    def admit(self, batch: Batch) -> SafeBatch:
        """The same rows."""
        safe = SafeBatch(batch, batch.block, [])
        safe.marks = frozenset(name for name, pattern in self._guards.items() if pattern.search(batch.block))
        return safe

    def text(self, value: str) -> str:
        """The same text."""
        return value


def batch_of(rows: Sequence[bytes], base: int = 0) -> Batch:
    """Rows as contiguous lines of the source."""
    return Batch(STREAM, b"".join(row + b"\n" for row in rows), len(rows), base)


def extras_of(cut: Cut) -> list[bytes]:
    """The fragment of each record, where there are some."""
    return [cut.extras] * cut.count if isinstance(cut.extras, bytes) else list(cut.extras or ())


def found_in(cut: Cut, base: int) -> list[Found]:
    """The records of a cut; holds what every cut promises of its block."""
    rows = cut.block.split(b"\n")
    assert rows.pop() == b""
    assert len(rows) == cut.count
    cut.block.decode()
    if cut.origin is None:
        ends = [base + end for end in _ends(cut.block)]
        origin: tuple[Sequence[int], Sequence[int]] = [base, *ends][: cut.count], ends
    else:
        origin = cut.origin
    assert set(cut.flags) <= set(range(cut.count))
    return [
        (*bounds, row, tuple(cut.flags.get(n, ())))
        for n, (row, bounds) in enumerate(zip(rows, zip(*origin, strict=True), strict=True))
    ]


def _ends(block: bytes) -> list[int]:
    return [found.end() for found in re.finditer(rb"\n", block)]


def cut_in_windows(frame: Frame, source: bytes, sizes: Sequence[int]) -> tuple[list[Found], Counter[str]]:
    """All records of a source. What was not taken is given again, with more behind it."""
    found: list[Found] = []
    skipped: Counter[str] = Counter()
    at = 0
    for size in cycle(sizes):
        cut = frame.cut(source[at : at + size], at, final=at + size >= len(source))
        while cut.next_offset == at and at + size < len(source):
            assert not cut.count
            size *= 2
            cut = frame.cut(source[at : at + size], at, final=at + size >= len(source))
        found += found_in(cut, at)
        skipped.update(cut.skipped)
        ended, at = at + size >= len(source), cut.next_offset
        if ended:
            break
    assert at == len(source)
    return found, skipped


def take_in_windows(intake: Intake, source: bytes, sizes: Sequence[int], fresh: Any = None) -> tuple[list[Found], Counter[str]]:
    """All records of a source through an intake; `fresh` makes a new one wherever a restart could happen."""
    found: list[Found] = []
    skipped: Counter[str] = Counter()
    settled = at = 0
    for size in cycle(sizes):
        taken = intake.take(source[at : at + size], at, final=at + size >= len(source))
        while taken.read_from == at and at + size < len(source):
            assert taken.batch is None
            size *= 2
            taken = intake.take(source[at : at + size], at, final=at + size >= len(source))
        assert settled <= taken.next_offset <= taken.read_from <= max(at + size, len(source))
        found += _found_in_batch(taken.batch)
        skipped.update(taken.skipped)
        ended = at + size >= len(source)
        settled, at = taken.next_offset, taken.read_from
        if ended:
            break
        if fresh is not None and settled == at:
            intake = fresh()
    assert settled == at == len(source)
    return found, skipped


def _found_in_batch(batch: Batch | None) -> Iterator[Found]:
    if batch is None:
        return
    assert batch.count
    origin = (batch.starts, batch.stops) if batch.starts is not None and batch.stops is not None else None
    yield from found_in(Cut(batch.block, batch.count, 0, origin, batch.flags), batch.base)
