"""Bodies of requests: types, codings, what is refused, limits, fuzz, and the fast way against the slow one."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import Size
from shipper.source import http_body
from shipper.source.push import DELIVERY_BYTES_MAX
from tests.kit.http_client import ELASTIC, NDJSON, Client, config, request


@pytest.mark.parametrize(
    ("kind", "body", "rows"),
    [
        (NDJSON, b'{"a":1}\r\n\n {"b":2} \n', [b'{"a":1}', b'{"b":2}']),
        (NDJSON, b'\xef\xbb\xbf{"a":1}', [b'{"a":1}']),
        (NDJSON, b'{"a":"\\ud800"}\n{"b":1e999}\n', [b'{"a":"\\ud800"}', b'{"b":1e999}']),
        (NDJSON, b"", []),
        ("application/json", b'[{"a":1},\n {"b":[2,\r\n3]}]\n', [b'{"a":1}', b'{"b":[2,  3]}']),
        ("application/json", b' [ {"a":"\\udc00"} , {"b":1e999} ] ', [b'{"a":"\\udc00"}', b'{"b":1e999}']),
        ("application/json", b"[]", []),
        ("application/json", b'{\n"a": 1\n}', [b'{ "a": 1 }']),
        ("application/json; charset=utf-8", b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        ("text/plain", b"one\r\n\ntwo \xff\n", [b"one", "two \u00ff".encode()]),
        ("Application/Vnd.Elasticsearch+JSON;compatible-with=8", b'[{"a":1}]', [b'{"a":1}']),
    ],
)
def test_bodies_become_rows_by_their_content_type(kind: str, body: bytes, rows: list[bytes]) -> None:
    """NDJSON, arrays, one object, text; every row on one line."""
    client = Client().send(request(body=body, kind=kind))
    assert client.reply[0] == 200
    assert client.rows == rows
    assert client.reply[2] == {"accepted": len(rows)}


@pytest.mark.parametrize(
    ("kind", "body", "where"),
    [
        (NDJSON, b'{"a":1}\n\nnothing\n', "line 3 "),
        (NDJSON, b'{"a":1}{"b":2}\n', "line 1 "),
        (NDJSON, b'{"a":1}\n{"b":"\xff"}\n', "line 2 "),
        (NDJSON, b'{"a":NaN}', "line 1 "),
        (NDJSON, b'{"a":' + b"[" * 100_000, "line 1 "),
        ("application/json", b'[{"a":1},2]', "element 2 "),
        ("application/json", b'[{"a":"\\ud800"},[]]', "element 2 "),
        ("application/json", b'[{"a":1},]', "no JSON array"),
        ("application/json", b'[{"a":"\\ud800"} 1]', "no JSON array"),
        ("application/json", b'[{"a":"\\ud800"}]]', "no JSON array"),
        ("application/json", b"[" * 100_000, "no JSON array"),
        ("application/json", b'[{"a":"\xff"}]', "no JSON array"),
        ("application/json", b"17", "line 1 "),
    ],
)
def test_a_body_with_one_bad_record_is_refused_whole(kind: str, body: bytes, where: str) -> None:
    """400 says which it is; nothing is taken, nothing quoted."""
    client = Client().send(request(body=body, kind=kind))
    status, _, document = client.reply
    assert status == 400
    assert where in document["error"]["reason"]
    assert client.rows == []
    assert client.notes == [("malformed", {"peer": "192.0.2.1:5", "status": 400})]


def encodings(body: bytes) -> dict[str, bytes]:
    """A body in each coding, also in members and in two codings."""
    half = len(body) // 2
    raw = zlib.compressobj(wbits=-15)
    return {
        "gzip": gzip.compress(body[:half]) + gzip.compress(body[half:]),
        "x-gzip": gzip.compress(body),
        "Deflate": zlib.compress(body),
        "deflate ": raw.compress(body) + raw.flush(),
        "zstd": zstandard.compress(body[:half]) + zstandard.compress(body[half:]),
        "gzip, zstd": zstandard.compress(gzip.compress(body)),
        "identity": body,
    }


@pytest.mark.parametrize("coding", encodings(b""))
def test_content_codings_are_undone(coding: str) -> None:
    """Also in several members, and one after the other."""
    rows = [b'{"n":%d,"text":"some"}' % number for number in range(5000)]
    body = encodings(b"\n".join(rows) + b"\n")[coding]
    client = Client().send(request(body=body, headers={"Content-Encoding": coding}))
    assert client.reply[0] == 200
    assert client.rows == rows


@pytest.mark.parametrize("coding", ["gzip", "Deflate", "deflate ", "zstd", "gzip, zstd"])
def test_bodies_that_are_cut_off_or_damaged_are_refused(coding: str) -> None:
    """400, whatever byte is missing."""
    body = encodings(b'{"a":1}\n')[coding]
    for stop in range(1, len(body)):
        status = Client().send(request(body=body[:stop], headers={"Content-Encoding": coding})).reply[0]
        assert status == 400 or (status == 200 and coding in ("gzip", "zstd"))  # cut between members
    assert Client().send(request(body=b"\0" * 9 + body, headers={"Content-Encoding": coding})).reply[0] == 400


@pytest.mark.parametrize("coding", ["gzip", "Deflate", "zstd"])
def test_bombs_end_at_the_limit(coding: str) -> None:
    """413 for what is too large when decoded, and for what grows out of proportion."""
    bomb = encodings(b"\n" * (16 << 20))[coding]
    client = Client(config(max_body=Size(8 << 20))).send(request(body=bomb, headers={"Content-Encoding": coding}))
    assert client.reply[0] == 413
    assert client.notes[0][0] == "too_large"
    grown = encodings(b"ab\n" * (3 << 20))[coding]
    assert Client().send(request(body=grown, kind="text/plain", headers={"Content-Encoding": coding})).reply[0] == 413


def test_requests_of_too_many_records_are_refused_before_they_are_split() -> None:
    """413: a blank line or a comma costs more in memory than on the wire."""
    assert Client().send(request(body=b"\n" * (http_body.LINES_MAX + 1))).reply[0] == 413
    rows = b"[" + b"{}," * http_body.ROWS_MAX + b"{}]"
    assert Client().send(request(body=rows, kind="application/json")).reply[0] == 413
    items = b'{"delete":{}}\n' * (http_body.ROWS_MAX + 1)
    assert Client().send(request(path="/i/_bulk", body=items)).reply[0] == 413
    commas = b"[" + b"1," * (http_body.COMMAS_MAX + 1) + b"1]"
    assert Client().send(request(body=commas, kind="application/json")).reply[0] == 413


def test_records_that_are_larger_than_a_delivery_are_refused() -> None:
    """413 says which; in a bulk request the others are taken."""
    large = b'{"a":"' + b"x" * DELIVERY_BYTES_MAX + b'"}'
    client = Client().send(request(body=b"{}\n" + large))
    assert client.reply[0] == 413
    assert "record 2 " in client.reply[2]["error"]["reason"]
    client = Client().send(request(path="/i/_bulk", body=b'{"create":{}}\n' + large + b'\n{"create":{}}\n{}\n'))
    assert [item["create"]["status"] for item in client.reply[2]["items"]] == [400, 201]


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=80)
    | st.lists(
        st.sampled_from([b"{", b"}", b"[", b"]", b",", b'"', b"\\ud800", b"\n", b'{"create":{"_index":"a"}}\n', b"{}\n", b"1"])
    ).map(b"".join),
    st.sampled_from([NDJSON, "application/json", "text/plain", ELASTIC]),
    st.sampled_from(["", *encodings(b"")]),
    st.sampled_from(["/", "/_bulk", "/a/_bulk"]),
    st.booleans(),
)
def test_every_body_has_an_answer(body: bytes, kind: str, coding: str, path: str, sound: bool) -> None:
    """One answer, and the connection goes on; rows are UTF-8 on one line."""
    body = encodings(body)[coding] if sound and coding else body
    client = Client().send(request(path=path, body=body, kind=kind, headers={"Content-Encoding": coding} if coding else {}))
    assert client.reply[0] in (200, 400, 415)
    assert not client.closed
    for row in client.rows:
        row.decode()
        assert b"\n" not in row
        assert kind == "text/plain" or isinstance(json.loads(row), dict)


json_rows = st.lists(
    st.sampled_from(
        [b"{}", b'{"a":{}}', b'{"a":"\\ud800"}', b'{"a":"x\xc3\xbc"}', b"", b" ", b"1", b'{"a":1}{}', b'{"a":"\xff"}', b"{}\r"]
    ),
    max_size=6,
)


@given(json_rows)
def test_the_fast_way_takes_and_refuses_what_the_slow_way_does(rows: list[bytes]) -> None:
    """NDJSON against one line after the other, read by Python's own parser."""
    expected: list[bytes] | None = []
    for row in (row.strip() for row in rows):
        try:
            if row:
                assert isinstance(json.loads(row.decode()), dict)
                expected = None if expected is None else [*expected, row]
        except (ValueError, AssertionError):
            expected = None
    try:
        found: list[bytes] | None = http_body.ndjson(b"".join(row + b"\n" for row in rows))
    except http_body.RefusedError as refusal:
        assert refusal.status == 400
        found = None
    assert found == expected
