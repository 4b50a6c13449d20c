"""JSON: columns against `json.loads` of each row alone, for batches of every kind of row."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.decode.json import RESERVED, Json
from shipper.model.batch import SafeBatch, split_rows
from shipper.model.columns import Columns
from tests.kit.records import FIELDS, MARKER, NO_OBJECTS, ODD_OBJECTS, STREAM, PlainGate, batch_of, objects, rows

ADDS = ("client", "stream")
KEPT_FREE = (*RESERVED, *ADDS)


def decoder() -> Json:
    """A decoder that reads `FIELDS` and keeps the members of two stages free."""
    return Json(Json.Config(), FIELDS, ADDS)


def safe(found: list[bytes], base: int = 0) -> SafeBatch:
    """The rows behind a gate that changes nothing."""
    return PlainGate(decoder().guards).admit(batch_of(found, base))


def decode(found: list[bytes], base: int = 0) -> tuple[Columns, set[int]]:
    """Decode a batch of rows."""
    columns = decoder().decode(safe(found, base))
    return columns, columns.odd


def naive(row: bytes) -> dict[str, Any] | None:
    """What a row alone says; None where it is no object. Lone surrogates are U+FFFD."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    def integer(digits: str) -> float:
        return int(digits) if len(digits) < 4300 else float(digits)

    try:
        found = json.loads(row.strip(b" \t\r\n").decode(), parse_constant=refuse, parse_int=integer)
    except (ValueError, RecursionError):
        return None
    return sound(found) if isinstance(found, dict) else None


def sound(value: Any) -> Any:
    """The same without surrogates; those of pairs are characters already."""
    if isinstance(value, dict):
        return {sound(name): sound(item) for name, item in value.items()}
    if isinstance(value, list):
        return list(map(sound, value))
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


def value_of(record: dict[str, Any], name: str) -> Any:
    """A field as the module's rules read it."""
    if "." not in name or record.get(name) is not None:
        return record.get(name)
    outer, inner = name.split(".")
    return record[outer].get(inner) if isinstance(record.get(outer), dict) else None


def is_odd(record: dict[str, Any]) -> bool:
    """Whether a member of ours is there already, also spelt with dots, or nothing a fragment could follow."""
    dotted = ("log.offset", "log.file", "host.name", "shipper.", "client.", "stream.")
    taken = record.keys() & set(KEPT_FREE) or any(name.startswith(dotted) for name in record)
    return bool(taken) or not record or record.get("@timestamp", 0) is None


@settings(deadline=None)
@given(rows, st.integers(0, 10**12))
def test_columns_equal_what_each_row_says_alone(found: list[bytes], base: int) -> None:
    """Whatever stands beside a row: values, text, flags and origin are its own."""
    columns, odd = decode(found, base)
    assert columns.count == len(found)
    for number, row in enumerate(found):
        record = naive(row)
        text = columns.rows[number] + b"}"
        assert b"\n" not in text
        if record is None:
            record = {"message": row.decode()}
            assert [flag.partition(":")[0] for flag in columns.flags[number]] == ["parse_error"]
        else:
            assert columns.flags.get(number, ()) in ((), ("lone_surrogate",))
        assert repr(naive(text)) == repr(record)
        assert [repr(columns.column(name)[number]) for name in FIELDS] == [repr(value_of(record, name)) for name in FIELDS]
        assert (number in odd) >= is_odd(record)
        assert (number in odd) <= (is_odd(record) or re.search(rb'"(log|host|shipper|client|stream)\.', row) is not None)
    ends = list(accumulate((len(row) + 1 for row in found), initial=base))
    assert (list(columns.starts), list(columns.stops)) == (ends[:-1], ends[1:])


@settings(deadline=None)
@given(st.lists(objects() | st.sampled_from([row for row in ODD_OBJECTS if naive(row) is not None]), min_size=1, max_size=6))
def test_the_fast_path_agrees_with_the_careful_one_when_all_rows_are_objects(found: list[bytes]) -> None:
    """The same batch, once with a line of text behind it that sends it row by row."""
    fast, odd = decode(found)
    careful, odd_too = decode([*found, b"text"])
    assert fast.rows == careful.rows[:-1]
    assert (list(fast.starts), list(fast.stops)) == (list(careful.starts)[:-1], list(careful.stops)[:-1])
    assert [repr(fast.column(name)) for name in FIELDS] == [repr(careful.column(name)[:-1]) for name in FIELDS]
    assert (fast.flags, odd) == ({row: flags for row, flags in careful.flags.items() if row < len(found)}, odd_too - {len(found)})


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            lambda row, at, text: row[:at] + text + row[at:],
            st.sampled_from(NO_OBJECTS),
            st.integers(0, 3),
            st.just(MARKER.encode()),
        ),
        min_size=1,
    )
)
def test_a_parse_error_never_quotes_the_record(found: list[bytes]) -> None:
    """Its words are about the kind of fault and its place."""
    columns, _ = decode(found)
    assert MARKER not in json.dumps(list(columns.flags.values()))


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"{",
                b"}",
                b'"',
                b":",
                b",",
                b"1",
                b"\\",
                b"a",
                b"\n",
                b"[",
                b"]",
                b" ",
                b"\xc3\xbc",
                b"\\ud800",
                b'{"a":1}',
                b'"level":',
            ]
        )
    ).map(b"".join)
)
def test_a_block_of_fragments_of_json_keeps_rows_and_columns_together(block: bytes) -> None:
    """Two objects on a line never stand for one over two lines: faults that cancel out are not taken for a common block."""
    found = block.split(b"\n")
    columns, _ = decode(found)
    expected = [naive(row) for row in found]
    assert [repr(value) for value in columns.column("level")] == [
        repr(None if record is None else record.get("level")) for record in expected
    ]
    assert [row for row in range(len(found)) if any(flag.startswith("parse_error") for flag in columns.flags.get(row, ()))] == [
        row for row, record in enumerate(expected) if record is None
    ]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"plain text", "invalid character (byte 0)"),
        (b"", "Input data was truncated"),
        (b"  ", "Input data was truncated"),
        (b'{"a":', "Input data was truncated"),
        (b"[1,2]", "not an object but array"),
        (b"17", "not an object but int"),
        (b"null", "not an object but null"),
        (b'"text"', "not an object but str"),
        (b'{"a":1}{"b":2}', "trailing characters (byte 8)"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        (b'{"a":NaN}', "invalid character (byte 5)"),
    ],
)
def test_a_row_that_is_no_object_becomes_text_with_the_reason(row: bytes, why: str) -> None:
    """The record is kept whole in `message`; the reason is words about the fault."""
    columns, _ = decode([row])
    assert columns.flags == {0: (f"parse_error:{why}",)}
    assert json.loads(columns.rows[0] + b"}") == {"message": row.decode()}


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (rb'{"level":"\ud800"}', rb'{"level":"\ufffd"}'),
        (rb'{"level":"\uDFFF x"}', rb'{"level":"\ufffd x"}'),
        (rb'{"level":"\ud83d\ude00 \ude00"}', rb'{"level":"\ud83d\ude00 \ufffd"}'),
        (rb'{"level":"\\ud800 \ud800"}', rb'{"level":"\\ud800 \ufffd"}'),
        (rb'{"\ud800":1,"level":"x"}', rb'{"\ufffd":1,"level":"x"}'),
    ],
)
def test_a_lone_surrogate_is_replaced_when_a_record_escapes_one(row: bytes, kept: bytes) -> None:
    """Python's `json` writes such escapes; the record keeps its members, its length and says so."""
    columns, _ = decode([row])
    assert columns.rows == [kept[:-1]]
    assert columns.flags == {0: ("lone_surrogate",)}
    assert columns.column("level") == [json.loads(kept)["level"]]


@pytest.mark.parametrize(
    "over_two", [b'{"level":2,\n"a":1}', b'{"a":{}\n,"level":2}', b'{"level":2\n}', b'{"level":[1\n,2]}', b'\n{"level":2}']
)
def test_columns_stay_with_their_rows_when_two_faults_would_cancel_out(over_two: bytes) -> None:
    """Two objects on one line and one on two lines make the right number of values, of the wrong rows."""
    found = [b'{"level":0}{"level":1}', *over_two.split(b"\n"), b'{"level":3}']
    columns, _ = decode(found)
    assert columns.column("level") == [(naive(row) or {}).get("level") for row in found]
    assert columns.flags.keys() == {row for row in range(len(found)) if naive(found[row]) is None}


def test_numbers_beyond_any_type_are_kept_when_they_are_read() -> None:
    """JSON sets no limit: the bytes stay, the column has what Python can hold."""
    found = [b'{"level":1e999}', b'{"level":' + b"7" * 5000 + b"}", b'{"level":' + b"7" * 100 + b"}"]
    columns, _ = decode(found)
    assert [row + b"}" for row in columns.rows] == found
    assert columns.column("level") == [float("inf"), float("inf"), int("7" * 100)]
    assert columns.flags == {}


@pytest.mark.parametrize("separator", [b"\n", b"\n  ", b" \n\t"])
def test_an_object_over_several_lines_is_one_row_when_the_frame_says_so(separator: bytes) -> None:
    """With `ends` rows may hold newlines: between members they become blanks, in the original they count for the origin."""
    pretty = b"{" + separator + b'"level":"x",' + separator + b'"a":1' + separator + b"}"
    empty = b"{" + separator + b"}"
    trace = b"Traceback:\n  File x"
    batch = batch_of([pretty, empty, trace], 5)
    batch.ends = [len(pretty), len(pretty) + 1 + len(empty), len(batch.block) - 1]
    batch.starts, batch.stops = [5, 50, 70], [50, 60, 99]
    safe_batch = PlainGate(decoder().guards).admit(batch)
    assert split_rows(safe_batch.block, safe_batch.ends) == [pretty, empty, trace]
    columns = decoder().decode(safe_batch)
    assert columns.column("level") == ["x", None, None]
    assert json.loads(columns.rows[0] + b"}") == {"level": "x", "a": 1}
    assert json.loads(columns.rows[2] + b"}") == {"message": trace.decode()}
    assert columns.odd == {1}
    assert (columns.starts, columns.stops) == ([5, 50, 70], [50, 60, 99])
    assert all(b"\n" not in row for row in columns.rows)


@pytest.mark.parametrize("written", [b'{"shipper":{"gate_error":"ValueError"}}', b"{ }", b"{}"])
def test_a_row_is_odd_when_the_gate_wrote_it_after_it_looked(written: bytes) -> None:
    """The guards are looked for in what was read: a marker of the gate, or a row that it emptied, is noticed all the same."""
    before = b'{"level":"x"}'
    batch = SafeBatch(batch_of([before, b'{"password":"hunter22" }']), before + b"\n" + written + b"\n", [1])
    columns = decoder().decode(batch)
    assert columns.odd == {1}
    assert columns.rows[1] == written[:-1]


@pytest.mark.parametrize("written", [b"[REDACTED:rule]", b'{"a":1', b'"a":1}'])
def test_a_row_is_rewritten_when_the_gate_left_no_object_of_it(written: bytes) -> None:
    """Braces that a rule of the user's masked: the row is text, and its neighbours are what they were."""
    before = b'{"level":"x"}'
    batch = SafeBatch(
        batch_of([before, b'{"password":"hunter22"}', before]), before + b"\n" + written + b"\n" + before + b"\n", [1]
    )
    columns = decoder().decode(batch)
    assert columns.column("level") == ["x", None, "x"]
    assert json.loads(columns.rows[1] + b"}") == {"message": written.decode()}


def test_flags_of_the_frame_stand_before_those_of_the_decoder() -> None:
    """A truncated record is usually no JSON any more: both are told."""
    batch = batch_of([b'{"a":"x', b'{"a":1}'])
    batch.flags = {0: ("truncated",), 1: ("invalid_utf8",)}
    columns = decoder().decode(PlainGate(decoder().guards).admit(batch))
    assert columns.flags == {0: ("truncated", "parse_error:Input data was truncated"), 1: ("invalid_utf8",)}
    assert columns.stream_id == STREAM.id


def test_dotted_names_beside_our_objects_are_odd_only_where_something_adds_them() -> None:
    """`host.ip` stands beside the object `host`, unless a stage splices it; so does `log.level` beside `log`."""
    found = [b'{"host.ip":"192.0.2.1"}', b'{"host.id":7}', b'{"log.level":"x"}', b'{"host.name":"x"}']

    def odd(*adds: str) -> set[int]:
        made = Json(Json.Config(), ["level"], adds)
        return made.decode(PlainGate(made.guards).admit(batch_of(found))).odd

    assert odd() == {3}
    assert odd("host.ip", "host.os.type", "log.origin") == {0, 3}
