"""The laws every stage obeys, and the hostile records they are tried with.

rows        a stage adds, removes and reorders no rows, and touches none, unless it says what it `changes`: then they are records
            as before but for those members, no name stands there twice, and rows that got a member of ours, or lost all, are odd
columns     say after it what the rows say, for every name that is asked for
fragments   each list spliced has `count` items, or it is one fragment for all; those of a row together are empty, or begin with a
            comma and make it a JSON object that has besides its own only what `adds` declares, or the stage calls the row odd
batching    process(a + b) leaves what process(a); process(b) leaves, row by row, generated documents included
settling    a row is dropped with a reason, or held, or neither; each held row is counted by exactly one summary
deadlines   `due` returns nothing before `deadline()`; after it the deadline is later than now, or None
repeating   the same rows in a fresh stage yield the same
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from shipper.model.columns import Columns, meet, reach

Record = Mapping[str, object]
Make = Callable[[], Any]
"""Makes a fresh stage."""
RowOutcome = tuple[bytes, str | None, str | None, str, tuple[str, ...]]
"""Fragments of a row, reason it was dropped for, id of what holds it, the record it is now, its flags."""
STREAM = "AAAAAAAAAAAAAAAAAAAAAA"
ROW_BYTES = 100
NOW = 1000.0

addresses = st.one_of(
    st.sampled_from(
        ["81.2.69.142", "10.1.2.3", "89.160.20.112:443", "[2001:218::1]:80", "::ffff:2.125.160.216", "fe80::1%eth0", " 1.128.0.0"]
    ),
    st.ip_addresses().map(str),
)
hostile = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\u2028\ud7ff\U0010ffff", "x" * 100_000, '"}', "\\", 10**30, -0.0, 1e308]),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none() | st.integers(), max_size=3),
    addresses,
    st.sampled_from(["curl/8.5.0", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"]),
)
"""Any value a decoded field may have."""


def records(fields: Sequence[str], max_size: int = 12) -> st.SearchStrategy[list[Record]]:
    """Lists of records in which the given fields have values of all kinds, often the same ones, or are missing."""
    common = st.sampled_from(["ERROR", "api", "worker", None, "81.2.69.142"])
    return st.lists(st.dictionaries(st.sampled_from(list(fields)), common | hostile), max_size=max_size)


def columns_of(rows: Sequence[Record], reads: Sequence[str], first: int = 0, seconds: Sequence[int] | None = None) -> Columns:
    """A batch of these records as the chain would hand it to a stage; `first` is the number of its first row in the stream."""
    encoded = [json.dumps(row, ensure_ascii=False).encode()[:-1] for row in rows]
    columns = Columns(STREAM, encoded, {name: [reach(row, name) for row in rows] for name in reads})
    columns.asked = frozenset(reads)
    columns.odd = {number for number, row in enumerate(rows) if not row}
    columns.starts = [(first + row) * ROW_BYTES for row in range(len(rows))]
    columns.stops = [start + ROW_BYTES for start in columns.starts]
    columns.seconds = list(seconds) if seconds is not None else [1_770_000_000 + (first + row) // 3 for row in range(len(rows))]
    return columns


def outcomes(columns: Columns) -> list[RowOutcome]:
    """What a stage left of each row."""
    held: dict[int, Any] = dict(columns.held)
    return [
        (
            b"".join(_of_row(columns, row)),
            columns.dropped.get(row),
            held[row].id if row in held else None,
            _exact(json.loads(columns.rows[row] + b"}")),
            columns.flags.get(row, ()),
        )
        for row in range(columns.count)
    ]


def _of_row(columns: Columns, row: int) -> list[bytes]:
    """The fragments of a row, those of all rows among them."""
    return [pieces if isinstance(pieces, bytes) else pieces[row] for pieces in columns.fragments]


def check_laws(make: Make, rows: Sequence[Record], cut: int = 0, seconds: Sequence[int] | None = None) -> None:
    """Check all laws with these records; batching with a cut before row `cut`."""
    stage = make()
    whole = columns_of(rows, stage.reads, seconds=seconds)
    assert stage.process(whole, NOW) is None
    assert len(rows) == whole.count == len(whole.rows)
    check_rows(whole, rows, getattr(stage, "changes", ()))
    check_fragments(whole, stage.adds, rows)
    assert not whole.dropped.keys() & whole.held.keys()
    assert all(whole.dropped.values())
    assert set(whole.dropped) | set(whole.held) <= set(range(len(rows)))
    expected = outcomes(whole)
    assert expected == _in_parts(make, rows, [], seconds)[0]
    check_deadlines(stage, [whole])
    parts, documents = _in_parts(make, rows, [cut], seconds)
    assert expected == parts
    assert _in_parts(make, rows, [], seconds)[1] == documents
    one_by_one, documents_one = _in_parts(make, rows, list(range(1, len(rows))), seconds)
    assert (expected, documents) == (one_by_one, documents_one)


def check_rows(columns: Columns, rows: Sequence[Record], changes: Sequence[str]) -> None:
    """Laws of rows and of columns; `rows` are the records as they were."""
    now = [json.loads(row + b"}", object_pairs_hook=_no_duplicates) for row in columns.rows]
    if not changes:
        assert columns.rows == [json.dumps(row, ensure_ascii=False).encode()[:-1] for row in rows]
    elif "*" not in changes:
        assert [_exact(_without(record, changes)) for record in now] == [_exact(_without(row, changes)) for row in rows]
    for number, record in enumerate(now):
        fresh = [name for name in record if name not in rows[number]]
        assert number in columns.odd or (record and not any(meet(name, ours) for name in fresh for ours in columns.ours))
    for name in set(columns.asked) - columns.beside:
        assert list(map(_exact, columns.column(name))) == [_exact(reach(record, name)) for record in now], name


def _without(record: Record, names: Sequence[str]) -> Record:
    """A record without the members of these names, in whatever spelling."""
    found: dict[str, Any] = json.loads(json.dumps({name: value for name, value in record.items() if name not in names}))
    for *path, last in (name.split(".") for name in names):
        inner: Any = found
        for step in path:
            inner = inner.get(step) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.pop(last, None)
    return found


def _exact(value: object) -> str:
    """A value as a text that tells 1 from true and 1.0."""
    return json.dumps(value, sort_keys=True)


def check_fragments(columns: Columns, adds: Sequence[str], rows: Sequence[Record]) -> None:
    """Law of fragments; a record that has a key of `adds` itself gets another one here, as `decode` moves it away."""
    assert all(map(columns.is_splice, columns.fragments))
    outer = {name.partition(".")[0] for name in adds}
    for number, row in enumerate(rows):
        fragment = b"".join(_of_row(columns, number))
        assert fragment == b"" or fragment.startswith(b",")
        own = {key: value for key, value in row.items() if key not in outer and key not in adds}
        spliced = json.loads(json.dumps({"-": 0, **own}).encode()[:-1] + fragment + b"}", object_pairs_hook=_no_duplicates)
        more = {key: value for key, value in spliced.items() if key not in {"-", *own}}
        assert number in columns.odd or all(_is_declared(key, value, adds) for key, value in more.items())


def _is_declared(name: str, value: object, adds: Sequence[str]) -> bool:
    """Whether a stage said that it adds this, or each member of it."""
    if any(name == added or name.startswith(f"{added}.") for added in adds):
        return True
    return (
        isinstance(value, dict)
        and bool(value)
        and all(_is_declared(f"{name}.{key}", inner, adds) for key, inner in value.items())
    )


def check_deadlines(stage: Any, batches: Sequence[Columns]) -> None:
    """Laws of deadlines and of settling, for stages that generate documents; `batches` are all that this one processed at NOW."""
    if not hasattr(stage, "due"):
        assert not any(columns.held for columns in batches)
        return
    held: list[Any] = [one for columns in batches for one in columns.held.values()]
    rows = Counter(one.id for one in held)
    taken: list[Any] = []
    deadline = stage.deadline()
    assert (deadline is None) == (not rows)
    while deadline is not None:
        assert stage.due(deadline - 0.001) == []
        taken += stage.due(deadline)
        later = stage.deadline()
        assert later is None or later > deadline
        deadline = later
    assert stage.flush() == []
    assert rows == Counter({summary.id: summary.count for summary in taken})


def _in_parts(
    make: Make, rows: Sequence[Record], cuts: Sequence[int], seconds: Sequence[int] | None
) -> tuple[list[RowOutcome], list[bytes]]:
    """Outcomes and generated documents of the rows, given in batches that are cut before the rows `cuts`."""
    stage = make()
    found: list[RowOutcome] = []
    bounds = [0, *cuts, len(rows)]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        columns = columns_of(rows[start:stop], stage.reads, start, seconds[start:stop] if seconds is not None else None)
        stage.process(columns, NOW)
        found += outcomes(columns)
    documents = [summary.document() for summary in stage.flush()] if hasattr(stage, "flush") else []
    return found, documents


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), "duplicate key"
    return dict(pairs)
