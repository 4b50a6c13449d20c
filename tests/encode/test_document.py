"""Documents: bodies taken apart again and compared with a naive merge of dicts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode.document import Assembly, common_fragment, generated, merge
from shipper.model.batch import Stream
from shipper.model.columns import Columns
from shipper.model.payload import Payload
from tests.kit.records import STREAM, values

OURS = ("log", "host", "shipper", "client", "@timestamp", "stream")
OBJECTS = ("log", "host", "shipper", "client")
STAMP = "2026-02-05T14:30:45.123Z"
names = st.sampled_from(
    [*OURS, "message", "level", "log.offset", "log.file.path", "log.file.path.x", "log.level", "host.name", "host.ip", "shipper.x", "client.geo", "client.geo.city.x", "a.b"]
) | st.text(max_size=4)  # fmt: skip
own = st.sampled_from(
    [STAMP, {"name": "theirs"}, {"offset": 9, "level": "x"}, {"file": {"path": "p", "inode": 3}}, {"geo": 1}, "scalar", None]
)
records = st.dictionaries(names, values | own, max_size=5)
places = st.sampled_from([None, {"geo": {"city": "London"}}, {"as": {"number": 1}}])
flags = st.sampled_from(
    [
        (),
        ("truncated",),
        ("truncated", "partial"),
        ("parse_error:not JSON",),
        ("redacted:password", "redacted:token", "stage_error:a", "stage_error:b"),
        ("sample_rate:10", "unconverted:status", "unconverted:bytes"),
        ("sample_rate:3.33333", "late"),
    ]
)


class Held:
    """Stands for held rows."""

    index: bytes | None = None


def flags_member(found: tuple[str, ...]) -> dict[str, Any]:
    """What flags become in a document."""
    member: dict[str, Any] = {}
    for flag in found:
        key, colon, value = flag.partition(":")
        if key in ("redacted", "stage_error", "unconverted"):
            member.setdefault(key, []).append(value)
        elif colon:
            member[key] = float(value) if key == "sample_rate" else value
        else:
            member.setdefault("flags", []).append(flag)
    return {"shipper": member} if member else {}


def naive(record: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """A record and our members merged as dicts; what is in the way moves to `shipper.record`."""
    moved = {}
    for name, value in record.items():
        outer, _, rest = name.partition(".")
        if value is None:
            continue
        if name in ours:
            if value != ours[name] and not (isinstance(value, dict) and isinstance(ours[name], dict)):
                moved[name] = value
        elif (
            (name in OBJECTS and not isinstance(value, dict))
            or outer == "shipper" != name
            or ("." in name and outer in ours and reaches(ours[outer], rest))
        ):
            moved[name] = value
    kept = joined({name: value for name, value in record.items() if name not in moved}, ours)
    return joined(kept, {"shipper": {"record": moved}}) if moved else kept


def reaches(value: Any, path: str) -> bool:
    """Whether our object has something at a dotted path, or before its end."""
    for step in path.split("."):
        if not isinstance(value, dict):
            return True
        if step not in value:
            return False
        value = value[step]
    return True


def joined(first: Any, second: Any) -> Any:
    """Objects joined at any depth, the second winning."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    return {**first, **{name: joined(first[name], value) if name in first else value for name, value in second.items()}}


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, refused where a name stands twice."""
    assert len(dict(pairs)) == len(pairs), "a name stands twice"
    return dict(pairs)


def documents(payload: Payload) -> list[tuple[str, str, dict[str, Any]]]:
    """The documents of a body as Elasticsearch reads it: (index, id, document)."""
    lines = payload.body.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 2 * payload.count
    found = []
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        create = json.loads(action, object_pairs_hook=unique)
        assert create.keys() == {"create"}
        assert create["create"].keys() == {"_index", "_id"}
        found.append((create["create"]["_index"], create["create"]["_id"], json.loads(document, object_pairs_hook=unique)))
    cuts = payload.cuts()
    assert [payload.body[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)] == [
        b"%b\n%b\n" % pair for pair in zip(lines[::2], lines[1::2], strict=True)
    ]
    return found


@settings(deadline=None)
@given(st.data())
def test_documents_are_those_of_a_naive_merge_of_dicts(data: st.DataObject) -> None:
    """For any records, fragments, flags, odd and left-out rows: two lines a document, no name twice, ids and rows right."""
    count = data.draw(st.integers(1, 6))
    made = data.draw(st.lists(records, min_size=count, max_size=count))
    clients = data.draw(st.lists(places, min_size=count, max_size=count))
    marks = data.draw(st.dictionaries(st.integers(0, count - 1), flags.filter(bool)))
    stamped = data.draw(st.booleans())
    gone = data.draw(st.dictionaries(st.integers(0, count - 1), st.booleans(), max_size=2))
    bounds = data.draw(st.lists(st.integers(0, 10**15), min_size=2 * count, max_size=2 * count, unique=True).map(sorted))
    contiguous = data.draw(st.booleans())

    columns = Columns(STREAM.id, [json.dumps(record, ensure_ascii=False).encode()[:-1] for record in made], {})
    columns.starts, columns.stops = (bounds[:count], bounds[1 : count + 1]) if contiguous else (bounds[::2], bounds[1::2])
    columns.splice([b',"stream":"stdout"' if row % 2 else b"" for row in range(count)])
    columns.splice([b"" if place is None else b',"client":' + json.dumps(place).encode() for place in clients])
    columns.ids = data.draw(st.none() | st.just([b"id%d" % row for row in range(count)]))
    columns.flags = dict(marks)
    for row, drop in gone.items():
        columns.drop(row, "throttled") if drop else columns.hold(row, Held())
    stamps = [STAMP.encode()] * count if stamped else None

    ours = [
        {
            **({"@timestamp": STAMP} if stamped else {}),
            "log": {"offset": columns.starts[row], "file": {"path": "/var/log/app.log"}},
            "host": {"name": "web-1"},
            **({"stream": "stdout"} if row % 2 else {}),
            **({} if clients[row] is None else {"client": clients[row]}),
            **flags_member(marks.get(row, ())),
        }
        for row in range(count)
    ]
    odd = {row for row in range(count) if not made[row] or any(name.partition(".")[0] in OURS for name in made[row])}
    odd |= data.draw(st.sets(st.integers(0, count - 1)))
    columns.odd = odd
    payload = Assembly(STREAM, columns, [f"app-{row % 2}" for row in range(count)], stamps, ("client",)).payload(7)

    kept = [row for row in range(count) if row not in gone]
    assert (payload.ticket, payload.count, payload.durable) == (7, len(kept), 0)
    assert (payload.rows is None) == (not gone)
    assert list(payload.rows if payload.rows is not None else kept) == kept
    assert payload.indices == {name: n for name in ("app-0", "app-1") if (n := sum(row % 2 == int(name[-1]) for row in kept))}
    identities = [
        f"{STREAM.id}-{columns.starts[row]}-{columns.stops[row]}" if columns.ids is None else f"id{row}" for row in range(count)
    ]
    expected = [(f"app-{row % 2}", identities[row], naive(made[row], ours[row])) for row in kept]
    assert documents(payload) == expected
    assert len({identity for _, identity, _ in documents(payload)}) == len(kept)


@settings(deadline=None)
@given(records)
def test_a_row_that_needs_no_merge_is_the_same_document_when_it_is_merged(record: dict[str, Any]) -> None:
    """A row taken for odd by mistake, because it quotes a name of ours, loses nothing."""
    plain = {name: value for name, value in record.items() if name.partition(".")[0] not in OURS}
    row = json.dumps(plain).encode()[:-1]
    fragment = b',"log":{"offset":1}}\n' if plain else b'"log":{"offset":1}}\n'
    assert json.loads(merge(row, fragment)) == json.loads(row + fragment)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"host": "web"}, {"shipper": {"record": {"host": "web"}}}),
        ({"log": "text", "client": 7}, {"shipper": {"record": {"log": "text", "client": 7}}}),
        ({"shipper": "x"}, {"shipper": {"record": {"shipper": "x"}}}),
        ({"shipper": "x", "host": "y"}, {"shipper": {"record": {"shipper": "x", "host": "y"}}}),
        ({"shipper": {"mine": 1}, "host": "y"}, {"shipper": {"mine": 1, "record": {"host": "y"}}}),
        ({"shipper.flags": ["x"]}, {"shipper": {"record": {"shipper.flags": ["x"]}}}),
        ({"log": {"level": "info", "offset": "theirs"}}, {"log": {"level": "info", "offset": 5, "file": {"path": "f"}}}),
        ({"log": {"file": {"line": 3}}}, {"log": {"offset": 5, "file": {"path": "f", "line": 3}}}),
        ({"log.level": "info"}, {"log.level": "info"}),
        ({"log.offset": 1, "host.name": "h"}, {"shipper": {"record": {"log.offset": 1, "host.name": "h"}}}),
        ({"client": {"ip": "::1"}}, {"client": {"ip": "::1"}}),
        ({"client.ip": "::1"}, {"client.ip": "::1"}),
        ({"@timestamp": STAMP}, {}),
        (
            {"@timestamp": "2026-02-05T15:30:45.123+01:00"},
            {"shipper": {"record": {"@timestamp": "2026-02-05T15:30:45.123+01:00"}}},
        ),
        ({"@timestamp": None, "log": None, "host": None}, {}),
        ({"client": None}, {"client": None}),
        ({}, {}),
    ],
)
def test_an_odd_record_is_merged_member_by_member(record: dict[str, Any], expected: dict[str, Any]) -> None:
    """Objects join, scalars in the way and dotted spellings move to `shipper.record`, null gives way."""
    ours = {"@timestamp": STAMP, "log": {"offset": 5, "file": {"path": "f"}}, "host": {"name": "n"}}
    fragment = b"," + json.dumps(ours).encode()[1:] + b"\n"
    found = json.loads(merge(json.dumps(record).encode()[:-1], fragment, OBJECTS), object_pairs_hook=unique)
    assert found == {**ours, **expected}


@pytest.mark.parametrize(
    "row",
    [
        b'{"host":"x","n":1e999',
        b'{"host":"x","n":' + b"9" * 5000,
        b'{"host":"x","n":1.10',
        b'{"host":"x","n":"\\u00fc\\/"',
        b'{"host":"x","n":{ "a" : [1 , 2]}',
    ],
)
def test_what_is_not_in_the_way_keeps_its_bytes_when_a_row_is_merged(row: bytes) -> None:
    """Numbers of any size and precision, escapes and blanks go on as they were written."""
    assert merge(row, b',"host":{"name":"n"}}\n').startswith(b"{" + row.partition(b",")[2] + b",")


def test_a_record_goes_on_as_text_when_it_is_nested_too_deeply_to_merge() -> None:
    """No parser takes it apart; nothing of it is lost."""
    row = b'{"host":"x","a":' + b"[" * 10_000 + b"]" * 10_000
    found = json.loads(merge(row, b',"host":{"name":"n"},"shipper":{"flags":["x"]}}\n'))
    assert found == {
        "message": (row + b"}").decode(),
        "host": {"name": "n"},
        "shipper": {"flags": ["x"], "parse_error": "nested too deeply"},
    }


@pytest.mark.parametrize("row", [b"{", b"{ ", b"{\t\r"])
def test_an_empty_record_becomes_a_document_of_our_members_alone(row: bytes) -> None:
    """There is nothing for a comma to follow."""
    assert json.loads(merge(row, b',"log":{"offset":1}}\n')) == {"log": {"offset": 1}}


@settings(deadline=None)
@given(st.text(), st.text())
def test_the_common_fragment_is_json_when_paths_are_hostile(path: str, host: str) -> None:
    """Quotes, newlines and characters of every kind are escaped; it closes the object `log`."""
    fragment = common_fragment(path, host)
    assert b"\n" not in fragment
    assert json.loads(b'{"log":{"offset":1' + fragment + b"}") == {
        "log": {"offset": 1, "file": {"path": path}},
        "host": {"name": host},
    }


def test_documents_of_our_own_are_a_body_like_any_other() -> None:
    """Throttle summaries: index, id and text as given, counted by index."""
    payload = generated(-3, [(b"app-2026.02.05", "t-1", b'{"count":2}'), (b"app-2026.02.05", "t-2", b'{"count":5}')])
    assert documents(payload) == [("app-2026.02.05", "t-1", {"count": 2}), ("app-2026.02.05", "t-2", {"count": 5})]
    assert (payload.ticket, payload.rows, payload.indices) == (-3, None, {"app-2026.02.05": 2})


def test_a_flagged_row_says_so_when_others_do_not() -> None:
    """Flags stand in the row's own document alone."""
    columns = Columns("s", [b'{"a":1', b'{"a":2'], {})
    columns.starts, columns.stops = [0, 8], [8, 16]
    columns.flags = {1: ("truncated",)}
    payload = Assembly(Stream("s", common_fragment("f", "h"), "f", 0.0), columns, ["i", "i"], None).payload(1)
    assert ["shipper" in document for _, _, document in documents(payload)] == [False, True]
