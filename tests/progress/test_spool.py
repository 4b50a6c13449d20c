"""The spool's format: what goes in comes out, rows have places of their own, and nothing is made of damaged bytes."""

from __future__ import annotations

import re
import struct

import pytest
from crc32c import crc32c
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.progress import spool
from shipper.progress.spool import HEAD_BYTES, HEADER_BYTES, Damage, Entry, Header, scan
from shipper.source.push import Delivery
from tests.kit.site import ROOT

IDENTITY = "abcdefghijklmnopqrst-_"
rows = st.lists(st.binary(max_size=30).map(lambda row: row.replace(b"\n", b"")), min_size=1, max_size=8)
texts = st.text(max_size=6) | st.sampled_from(["app", "app.web", ""])
ids = st.text("abcXYZ019-_", max_size=64).map(str.encode)


@st.composite
def deliveries(draw):
    """Any delivery: columns there or not, equal for all or not, in runs or not."""
    some = draw(rows)

    def column(values):
        one_each = st.lists(values, min_size=len(some), max_size=len(some))
        return st.none() | values.map(lambda value: [value] * len(some)) | one_each

    return Delivery(some, draw(column(texts)), draw(column(texts)), draw(column(ids)))


def written(some, base=0):
    """The bytes of a segment's entries, from offset `base` + header on, and where each begins."""
    data, places = b"", []
    for one in some:
        payload = spool.encode(one)
        places.append(base + HEADER_BYTES + len(data))
        data += spool.seal(payload, places[-1]) + payload
    return data, places


def columns(one):
    """A delivery or what came of it, as rows with all that belongs to them."""
    count = len(one.rows)
    return list(zip(one.rows, one.tags or [""] * count, one.times or [""] * count, one.ids or [b""] * count, strict=True))


def read_in_pieces(data, offset, sizes):
    """What a reader finds that has pieces of these sizes at hand, more only where it is asked for."""
    found, at, end, number, wants = [], offset, offset + len(data), 0, 0
    while at < end:
        size = min(max(sizes[number % len(sizes)], wants), end - at)
        number += 1
        result = scan(data[at - offset : at - offset + size], at, end)
        assert result.next > at or result.wants > size
        found += result.found
        at, wants = result.next, result.wants
    return found


def merged(found):
    """Damage that goes on is one."""
    out = []
    for one in found:
        if isinstance(one, Damage) and out and isinstance(out[-1], Damage) and out[-1].end == one.start:
            out[-1] = Damage(out[-1].start, one.end, one.cause)
        else:
            out.append(one)
    return out


def places_of(found):
    """Entries and damage by place."""
    return [(type(one).__name__, one.start, one.end) for one in found]


@given(
    st.lists(deliveries(), min_size=1, max_size=6), st.integers(0, 2**62), st.lists(st.integers(1, 300), min_size=1, max_size=5)
)
def test_deliveries_come_out_as_they_went_in_whatever_the_pieces(some, base, sizes):
    """Law: rows, tags, times and ids, in order; places strictly increasing, within the entry, and each row's own bytes."""
    data, places = written(some, base)
    found = read_in_pieces(data, base + HEADER_BYTES, sizes)
    assert [one.start for one in found] == places
    parts = [spool.decode(one.payload, one.start + HEAD_BYTES) for one in found]
    assert [columns(part) for part in parts] == [columns(one) for one in some]
    assert [(part.tags, part.times, part.ids) for part in parts] == [(one.tags, one.times, one.ids) for one in some]
    for one, part in zip(found, parts, strict=True):
        bounds = list(zip(part.starts, part.stops, strict=True))
        assert one.start < bounds[0][0] and bounds[-1][1] == one.end
        assert all(start < stop for start, stop in bounds)
        assert part.starts[1:] == part.stops[:-1]
        at = base + HEADER_BYTES
        assert [data[start - at : stop - at] for start, stop in bounds] == [row + b"\n" for row in part.rows]
        assert part.block == b"".join(row + b"\n" for row in part.rows)


@given(st.lists(deliveries(), min_size=1, max_size=5))
def test_gather_makes_one_of_many_and_fills_what_some_lack(some):
    """A row without tag, time or id has an empty one; a column that nobody has stays away."""
    data, places = written(some)
    parts = [
        spool.decode(one.payload, one.start + HEAD_BYTES) for one in scan(data, HEADER_BYTES, HEADER_BYTES + len(data)).found
    ]
    whole = spool.gather(parts)
    assert columns(whole) == [row for one in some for row in columns(one)]
    assert whole.count == sum(len(one.rows) for one in some)
    assert whole.block == b"".join(part.block for part in parts)
    assert whole.starts == sorted(set(whole.starts))
    assert whole.stops == [stop for part in parts for stop in part.stops]
    for name in ("tags", "times", "ids"):
        assert (getattr(whole, name) is None) == all(getattr(one, name) is None for one in some)


def test_one_tag_of_many_rows_is_written_once_and_runs_as_runs():
    """A chunk of 20,000 rows does not carry its tag 20,000 times."""
    count = 20_000
    shared = spool.encode(Delivery([b"{}"] * count, ["a" * 100] * count, ["2026-02-05T14:30:45.123Z"] * count))
    assert len(shared) < 3 * count + 200
    runs = spool.encode(Delivery([b"{}"] * count, ["a"] * 9_000 + ["b"] * 11_000))
    assert b'{"tags":[[9000,"a"],[11000,"b"]]}' in runs[:60]


SEGMENT = [
    Delivery([b'{"n":1}', b'{"n":2}'], ["app", "web"], ["2026-02-05T14:30:45.123Z", ""], [b"x-1", b"x-2"]),
    Delivery([b'{"n":3}']),
    Delivery([b"", b"text", b'{"n":"\xc3\xbc"}'], ["app"] * 3),
    Delivery([b'{"n":4}'] * 3, None, ["t"] * 3),
]


def good_rows(found):
    """All rows of the entries that could be read, with their places."""
    rows = []
    for one in found:
        part = spool.decode(one.payload, one.start + HEAD_BYTES) if isinstance(one, Entry) else None
        if part is not None:
            rows += zip(part.starts, part.stops, columns(part), strict=True)
    return rows


@pytest.mark.parametrize("size", [7, 64, 10_000])
def test_any_flipped_bit_costs_its_own_entry_only(size):
    """Each bit of each byte: all other entries come out, the damage is that entry exactly, and no row is wrong."""
    data, places = written(SEGMENT, base=5)
    start, bounds = places[0], [*places, places[0] + len(data)]
    whole = read_in_pieces(data, start, [size])
    for position in range(len(data)):
        hit = next(number for number in range(len(places)) if bounds[number + 1] > start + position)
        expected = places_of(whole)
        expected[hit] = ("Damage", *expected[hit][1:])
        for bit in range(0, 8, 1 if size == 64 else 3):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            found = merged(read_in_pieces(bytes(damaged), start, [size]))
            assert places_of(found) == expected
            assert set(map(str, good_rows(found))) <= set(map(str, good_rows(whole)))


@given(
    st.lists(deliveries(), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=12), st.integers(0, 12)), max_size=3),
    st.lists(st.integers(1, 200), min_size=1, max_size=3),
)
def test_no_change_of_the_bytes_makes_a_row_that_was_not_written(some, changes, sizes):
    """Law: whatever is put in, taken out or overwritten, what comes out was written, at that place; and all bytes are told of."""
    data, places = written(some)
    damaged = data
    for at, put, taken in changes:
        at %= len(data) + 1
        damaged = damaged[:at] + put + damaged[at + taken :]
    found = read_in_pieces(damaged, places[0], sizes)
    assert set(map(str, good_rows(found))) <= set(map(str, good_rows(read_in_pieces(data, places[0], [10_000]))))
    bounds = [places[0], *(one.end for one in found)]
    assert [one.start for one in found] == bounds[:-1]
    assert bounds[-1] == places[0] + len(damaged)


@given(st.lists(deliveries(), min_size=1, max_size=4), st.data())
def test_torn_tail_costs_nothing_of_what_is_before_it(some, data):
    """Cut anywhere: the whole entries before the cut come out, the rest is one piece of damage."""
    whole, places = written(some)
    cut = data.draw(st.integers(0, len(whole) - 1))
    found = read_in_pieces(whole[:cut], places[0], [64])
    ends = [*places[1:], places[0] + len(whole)]
    assert [one.end for one in found if isinstance(one, Entry)] == [end for end in ends if end <= places[0] + cut]
    assert len(merged([one for one in found if isinstance(one, Damage)])) <= 1


@pytest.mark.parametrize("length", [2**32 - 1, spool.LENGTH_MAX + 1, 1000])
def test_length_beyond_the_segment_is_never_waited_for(length):
    """A reader asks for no bytes that are not there, and makes room for none; what comes behind is read."""
    data, places = written(SEGMENT)
    lying = data[:8] + length.to_bytes(4, "little") + data[12:]
    end = places[0] + len(data)
    found = scan(lying, places[0], end)
    assert places_of(found.found)[:2] == [("Damage", places[0], places[1]), ("Entry", places[1], places[2])]
    assert (found.next, found.wants) == (end, 0)
    assert scan(lying[:30], places[0], end).wants <= HEAD_BYTES


def test_entry_of_another_place_is_damage():
    """What a file system left of an older file is no record, though it was one there."""
    payload = spool.encode(SEGMENT[1])
    there = spool.seal(payload, 1000) + payload
    assert places_of(scan(there, 1000, 1000 + len(there)).found) == [("Entry", 1000, 1000 + len(there))]
    assert places_of(scan(there, 1001, 1001 + len(there)).found) == [("Damage", 1001, 1001 + len(there))]


def test_row_that_looks_like_an_entry_is_a_row():
    """A sender that writes an entry into its record, mark and all, gets a record; also where the bytes before are damaged."""
    payload = spool.encode(SEGMENT[1])
    forged = spool.seal(payload, 12_345) + payload
    data, places = written([Delivery([forged.replace(b"\n", b" ") + b"!"]), SEGMENT[0]])
    end = places[0] + len(data)
    assert places_of(scan(data, places[0], end).found) == [("Entry", places[0], places[1]), ("Entry", places[1], end)]
    lying = data[:8] + b"\xff\xff" + data[10:]
    assert places_of(scan(lying, places[0], end).found) == [("Damage", places[0], places[1]), ("Entry", places[1], end)]


def payload_of(count=1, meta=b"", block=b"row\n", version=spool.VERSION):
    """A payload made by hand."""
    return struct.pack("<BII", version, count, len(meta)) + meta + block


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        payload_of(version=2),
        payload_of(count=2),
        payload_of(count=2**32 - 1),
        payload_of(block=b"row"),
        payload_of(count=0, block=b""),
        payload_of()[:5] + b"\xff" * 4 + b"row\n",
        payload_of(meta=b"{"),
        payload_of(meta=b"null"),
        payload_of(meta=b'{"other":1}'),
        payload_of(meta=b'{"tags":[[2,"a"]]}'),
        payload_of(meta=b'{"tags":[]}'),
        payload_of(meta=b'{"tags":[[2,"a"],[-1,"b"]]}'),
        payload_of(meta=b'{"tags":[[1000000000000,"a"]]}'),
        payload_of(meta=b'{"times":["a","b"]}'),
        payload_of(meta=b'{"times":[]}'),
        payload_of(meta=b'{"ids":"a"}'),
        payload_of(meta=b'{"ids":[]}'),
        payload_of(meta='{"ids":["ü"]}'.encode()),
        payload_of(meta=b'{"tags":' + b"[" * 5000),
    ],
)
def test_payload_that_was_not_written_by_encode_is_refused_as_a_value(payload):
    """A newer version, counts that do not agree, columns of another length: None, and nothing is raised."""
    assert spool.decode(payload, 0) is None
    assert spool.rows_in(payload) >= 0


@given(st.binary(max_size=60))
@example(payload_of())
def test_decode_raises_for_no_bytes(payload):
    """Law: rows or None."""
    part = spool.decode(payload, 7)
    assert part is None or len(part.rows) == len(part.starts) == len(part.stops) == spool.rows_in(payload)


@given(st.integers(0, 2**63), st.integers(0, 1000))
def test_header_comes_back_and_every_flipped_bit_is_found(base, gap):
    """Identity, base, previous; a header under another name is not that segment's."""
    header = Header(IDENTITY, base, max(0, base - gap))
    data = spool.encode_header(header)
    assert len(data) == HEADER_BYTES
    assert spool.decode_header(data + b"more", base) == header
    assert spool.decode_header(data, base + 1) is None
    assert spool.decode_header(data[:-1], base) is None
    for position in range(len(data)):
        assert spool.decode_header(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :], base) is None


def test_header_of_a_newer_version_says_so():
    """It is told from damage, so that a newer agent's state is refused and not quarantined."""
    header = Header(IDENTITY, 3, 3, version=9)
    assert spool.decode_header(spool.encode_header(header), 3) == header


@pytest.mark.parametrize(("field", "value"), [("identity", b"a" * 21 + b"/"), ("base", 2), ("previous", 4)])
def test_header_that_contradicts_itself_is_damage(field, value):
    """A right checksum over a wrong thing."""
    fields = {"identity": IDENTITY.encode(), "base": 3, "previous": 3, field: value}
    head = struct.pack("<8sI22s2xQQ", b"SHPSPOOL", 1, *fields.values())
    assert spool.decode_header(head + struct.pack("<I", crc32c(head)), 3) is None


@given(st.integers(0, 2**64 - 1))
def test_names_of_segments_sort_as_their_offsets(base):
    """And come back; other names are none."""
    name = spool.segment_name(base)
    assert spool.base_of(name) == base
    assert (name < spool.segment_name(2**63)) == (base < 2**63)
    assert spool.base_of(name + "x") is spool.base_of("x" + name) is spool.base_of(name[1:]) is spool.base_of("lock") is None


@pytest.mark.parametrize(
    ("rest", "last_byte", "expected"), [(1, 10, True), (HEAD_BYTES - 1, 10, True), (HEAD_BYTES, 10, False), (5000, 0, True)]
)
def test_tail_is_torn_where_it_does_not_end_as_entries_end(rest, last_byte, expected):
    """What ends with a newline may have been acknowledged, and is kept as damage."""
    assert spool.is_torn(rest, last_byte) is expected


def test_encode_takes_no_delivery_that_could_not_be_read_back():
    """A newline in a row, no row at all, a column too short: bugs of a protocol, which end here and not in a wrong record."""
    for wrong in (
        Delivery([b"a\nb"]),
        Delivery([]),
        Delivery([b"a"], ["x", "y"]),
        Delivery([b"a"], None, []),
        Delivery([b"a"], None, None, []),
    ):
        with pytest.raises(AssertionError):
            spool.encode(wrong)


def test_description_of_the_format_reads_a_segment(capsys):
    """The lines of Python in docs/spool.md read what is written here, and pass over damage."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "spool.md").read_text(), re.DOTALL)[1]
    names: dict[str, object] = {}
    exec(code, names)
    data, places = written(SEGMENT, base=77)
    data = data[:80] + b"\x00" + data[81:]
    segment = spool.encode_header(Header(IDENTITY, 77, 77)) + data
    expected = [(start, columns(one)) for start, one in zip(places, SEGMENT, strict=True)][1:]
    found = list(names["entries"](segment))
    assert [(offset, rows) for offset, _, rows in found] == [(offset, [row for row, *_ in rows]) for offset, rows in expected]
    assert found[1][1] == {"tags": "app"}
