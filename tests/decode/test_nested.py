"""Nested JSON: texts that are objects become them, against taking each record apart, and in the record's own bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.decode.json import Json
from shipper.model.columns import Columns
from tests.kit.records import PlainGate, batch_of, values

READS = ("payload", "payload.a", "in.deep", "in.deep.a", "level")


def decode(rows: list[bytes], nested: tuple[str, ...] = ("payload", "in.deep")) -> Columns:
    """The columns of a batch."""
    made = Json(Json.Config(nested=list(nested)), READS, ("client",))
    return made.decode(PlainGate(made.guards).admit(batch_of(rows)))


def unnested(record: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a record: by hand."""
    found = dict(record)
    if isinstance(found.get("payload"), str):
        found["payload"] = as_object(found["payload"])
    if isinstance(found.get("in.deep"), str):
        found["in.deep"] = as_object(found["in.deep"])
    elif found.get("in.deep") is None and isinstance(found.get("in"), dict) and isinstance(found["in"].get("deep"), str):
        found["in"] = {**found["in"], "deep": as_object(found["in"]["deep"])}
    return found


def as_object(text: str) -> Any:
    """The object that a text is, or the text."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        found = json.loads(text.strip(" \t\r\n"), parse_constant=refuse)
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


objects = st.dictionaries(st.sampled_from(["a", "payload", "in", "\u00fc"]), values, max_size=3)
texts = st.one_of(
    objects.map(json.dumps),
    objects.map(lambda found: json.dumps(found, indent=1, ensure_ascii=False)),
    st.sampled_from(["{", "{]", "[1]", "text", "", " {} ", '{"a":1}{', "{'a':1}", '{"a":NaN}', "\u00a0{}", '{"a":"line\nend"}']),
)
members = st.dictionaries(
    st.sampled_from(["payload", "in", "in.deep", "level", "x"]),
    texts | values | st.dictionaries(st.sampled_from(["deep", "payload"]), texts | values, max_size=2),
    max_size=4,
)
rows = members.flatmap(
    lambda record: st.sampled_from(
        [
            json.dumps(record, ensure_ascii=False, separators=(",", ":")),
            json.dumps(record),
            json.dumps(record).replace('"payload"', '"pay\\u006coad"', 1),
            json.dumps(record).replace("{", "\\u007b") if '"{' not in json.dumps(record)[1:] else json.dumps(record),
        ]
    ).filter(lambda text: text.startswith("{"))
)


@settings(deadline=None, max_examples=300)
@given(st.lists(rows, min_size=1, max_size=5), st.booleans())
def test_a_text_that_is_an_object_becomes_it(found: list[str], with_text: bool) -> None:
    """Whatever stands beside: the row, and its columns; also where the batch goes row by row."""
    columns = decode([row.encode() for row in found] + [b"text"] * with_text)
    for row, text in enumerate(found):
        expected = unnested(json.loads(text))
        shown = columns.rows[row] + b"}"
        assert b"\n" not in shown
        assert repr(json.loads(shown)) == repr(expected)
        assert repr(columns.column("payload")[row]) == repr(expected.get("payload"))
        own = expected.get("in.deep")
        inner = expected.get("in")
        assert repr(columns.column("in.deep")[row]) == repr(
            own if own is not None else inner.get("deep") if isinstance(inner, dict) else None
        )


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (
            rb'{"payload":"{\"n\": 1.0e99, \"m\": 10000000000000000000000}","x":1.50}',
            b'{"payload":{"n": 1.0e99, "m": 10000000000000000000000},"x":1.50}',
        ),
        (rb'{"x":1.50, "payload": "{\n \"a\": 1\n}"}', b'{"x":1.50, "payload": {  "a": 1 }}'),
        (rb'{"x":{"payload":"{}"},"payload":"{}"}', b'{"x":{"payload":"{}"},"payload":{}}'),
        (rb'{"in":{"x":1.50,"deep":"{\"a\":\"\u00fc\"}"}}', rb'{"in":{"x":1.50,"deep":{"a":"' + "\u00fc".encode() + b'"}}}'),
    ],
)
def test_the_bytes_of_the_record_stay_as_they_are(row: bytes, kept: bytes) -> None:
    """Numbers of any size, blanks between members; only line ends become blanks."""
    assert decode([row]).rows == [kept[:-1]]


def test_a_row_that_was_changed_is_named_for_those_who_go_by_guards() -> None:
    """What stands in it was not seen as it is now."""
    columns = decode([b'{"payload":"x"}', rb'{"payload":"{\"a.b\":1}"}', b'{"a":1}'])
    assert list(columns.changed) == [1]
    assert columns.marks is not None


def test_nothing_is_looked_for_when_no_row_may_hold_an_object() -> None:
    """The guard tells: rows stay the same objects."""
    made = Json(Json.Config(nested=["payload"]), READS, ())
    safe = PlainGate(made.guards).admit(batch_of([b'{"payload":"x{"}', b'{"other":"{}"}']))
    assert not any(mark.startswith("nested") for mark in safe.marks)
    assert made.decode(safe).column("payload") == ["x{", None]


def test_an_object_that_is_too_deep_stays_a_text() -> None:
    """It is JSON, but for no parser here."""
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    row = json.dumps({"payload": deep}).encode()
    assert decode([row]).rows == [row[:-1]]


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"b":[{"a":1,"a":1}]}', '{"a":1,"\\u0061":2}'])
def test_an_object_that_has_a_member_twice_stays_a_text(text: str) -> None:
    """Elasticsearch takes the text, and would refuse the object."""
    row = json.dumps({"payload": text}).encode()
    columns = decode([row])
    assert (columns.rows[0] + b"}", columns.column("payload")[0]) == (row, text)
