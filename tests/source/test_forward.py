"""The forward protocol: all modes cut anywhere, what records become, chunks and their acknowledgement."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.source import forward_connection, forward_expand, forward_messages, forward_pack
from shipper.source.push import DELIVERY_BYTES_MAX, DELIVERY_ROWS_MAX, TAG_CHARS_MAX
from tests.source.forward_peer import EVENTS, MODES, Peer, T, event_time, in_mode, pack

ROWS = [b'{"message":"erste Zeile","n":1}', '{"message":"ü\\n","deep":{"a":[1,null,true]}}'.encode(), b"{}"]
TIMES = ["2026-02-05T14:30:45.123456789Z", "2026-02-05T14:30:46Z", "2026-02-05T14:30:45.500000Z"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_rows_times_and_tags(mode: str) -> None:
    """Records as JSON on one line, times in one form whatever they came as, and no identities without a chunk."""
    peer = Peer().send(in_mode(mode, "app.web", EVENTS)).end()
    assert peer.rows == ROWS
    assert peer.times == TIMES
    assert peer.tags == ["app.web"] * 3
    assert peer.ids == [None] * 3
    assert (peer.sent, peer.notes, peer.closed) == (b"", [], "")


conversations = st.lists(
    st.tuples(
        st.sampled_from(MODES),
        st.lists(
            st.tuples(
                st.sampled_from([T, T + 0.25, event_time(T, 5)]),
                st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2),
            ),
            max_size=3,
        ),
        st.sampled_from([{}, {"chunk": "eins"}, {"chunk": b"\xff\x00", "size": 2}]),
    ),
    max_size=4,
)


def outcome(data: bytes, cuts: list[int]) -> tuple[Any, ...]:
    """What comes of a conversation that arrives in parts."""
    peer = Peer()
    places = [0, *cuts, len(data)]
    peer.send(*(data[start:stop] for start, stop in zip(places, places[1:], strict=False))).end()
    return peer.rows, peer.times, peer.tags, peer.ids, sorted(map(str, peer.heard)), sorted(peer.kinds), peer.closed


@given(conversations)
@settings(max_examples=60, deadline=None)
def test_a_conversation_cut_at_any_place_gives_the_same(
    conversation: list[tuple[str, list[tuple[Any, Any]], dict[str, Any]]],
) -> None:
    """At each single place in two, and byte by byte."""
    data = b"".join(in_mode(mode, "t", events, option) for mode, events, option in conversation)
    whole = outcome(data, [])
    assert outcome(data, list(range(1, len(data)))) == whole
    for place in range(1, len(data)):
        assert outcome(data, [place]) == whole


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4), st.sampled_from(MODES))
@settings(max_examples=150, deadline=None)
def test_a_row_says_what_the_record_said(record: dict[str, Any], mode: str) -> None:
    """Read as JSON it is the record again, and it is one line."""
    (row,) = Peer().send(in_mode(mode, "t", [(T, record)])).rows
    assert json.loads(row) == record
    assert b"\n" not in row


@pytest.mark.parametrize(
    ("written", "row"),
    [
        (b"\x81\xa1a\xa3x\xff\xfe", '{"a":"xÿþ"}'),
        (b"\x81\xa1a\xc4\x03x\xc3\xbc", '{"a":"xü"}'),
        (b"\x81\xa1a\xc4\x01\x80", '{"a":"\x80"}'),
        (b"\x81\xa1\xfc\x01", '{"ü":1}'),
        (b"\x81\xc4\x01a\x01", '{"a":1}'),
        (pack({"a": float("nan"), "b": float("inf"), "c": -float("inf")}), '{"a":null,"b":null,"c":null}'),
        (pack({"a": 2**64 - 1, "b": -(2**63)}), '{"a":18446744073709551615,"b":-9223372036854775808}'),
        (pack({"a": msgpack.ExtType(5, b"\x01\xff")}), '{"a":"01ff"}'),
        (pack({"a": msgpack.ExtType(0, b"\x01")}), '{"a":"01"}'),
        (pack({"a": event_time(T, 7)}), '{"a":"2026-02-05T14:30:45.000000007Z"}'),
        (b"\x81\xa1a\xd6\xff\x00\x00\x00\x01", '{"a":"00000001"}'),
        (pack({2: "x", None: "y", True: "z", 1.5: "w"}), '{"2":"x","null":"y","true":"z","1.5":"w"}'),
        (b"\x81\x92\x01\xa1a\x02", '{"[1,\\"a\\"]":2}'),
        (b"\x82\xa1a\x01\xa1a\x02", '{"a":2}'),
        (b"\x81\xa1a\x81\x01\xa2\xff\xfe", '{"a":{"1":"ÿþ"}}'),
        (pack({"a": "two\nlines\u2028\x00"}), '{"a":"two\\nlines\u2028\\u0000"}'),
    ],
)
def test_what_json_cannot_hold_is_written_as_near_as_can_be(written: bytes, row: str) -> None:
    """Stray bytes, binaries, extensions, keys that are no text, numbers that are none."""
    for message in (pack("t", T), pack("t") + b"\x91\x92" + pack(T)):
        head = b"\x93" if message == pack("t", T) else b"\x92"
        assert Peer().send(head + message + written).rows == [row.encode()]


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (0, ""), (None, ""), ("now", ""), (True, ""), (event_time(0, 5), ""), (float("nan"), ""), (1e300, ""), (2**63, ""), ([], ""),
        (-1, "1969-12-31T23:59:59Z"), (253_402_300_799, "9999-12-31T23:59:59Z"), (253_402_300_800, ""),
        (event_time(2**32 - 1, 999_999_999), "2106-02-07T06:28:15.999999999Z"), (event_time(T, 2**32 - 1), "2026-02-05T14:30:45Z"),
        (float(T) - 0.000001, "2026-02-05T14:30:44.999999Z"), (0.9999999, "1970-01-01T00:00:01.000000Z"),
        (-62_135_596_800, "0001-01-01T00:00:00Z"),
        ([event_time(T, 0), {}], "2026-02-05T14:30:45.000000000Z"), ([[T]], ""), (msgpack.ExtType(3, b"x"), ""),
    ],
)  # fmt: skip
def test_a_time_is_said_in_one_form_or_not_at_all(time: object, said: str) -> None:
    """Nanoseconds where they were given; 0 means now to senders, so it is no time."""
    peer = Peer().send(pack(["t", pack([time, {"a": 1}])]))
    assert (peer.times, peer.rows, peer.notes) == ([said], [b'{"a":1}'], [])


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("app.web", "app.web"), ("", ""), ("a\r\nb\x00\x1b[1m\x85\u2028", "ab[1m"), ("x" * 5000, "x" * TAG_CHARS_MAX),
        (b"caf\xe9", "café"), ("übung", "übung"), (b"a\x80b", "ab"), ("\n" * 3 + "y" * 200, "y" * TAG_CHARS_MAX),
    ],
)  # fmt: skip
def test_a_tag_has_no_control_characters_and_is_cut(tag: str | bytes, said: str) -> None:
    """It goes into documents and names of indices."""
    assert Peer().send(pack([tag, T, {}])).tags == [said]


def test_metadata_beside_the_time_is_counted_and_not_kept() -> None:
    """Fluent Bit writes `[[time, metadata], record]`."""
    peer = Peer().send(pack(["t", [[[T, {}], {"a": 1}], [[T, {"k": "v"}], {"a": 2}]]]))
    assert peer.rows == [b'{"a":1}', b'{"a":2}']
    assert peer.times == ["2026-02-05T14:30:45Z"] * 2
    assert peer.notes == [("metadata", {"count": 1})]


def test_what_is_no_event_is_kept_as_text_and_counted() -> None:
    """An entry that is no pair, a record that is no map; a record of nil is none, as for Fluentd."""
    entries = [[T, {"a": 1}], [T], "text", [T, "record"], [T, None], [T, [1]], {"x": 1}, 5, None, True, 0.5]
    for message in (pack(["t", entries]), pack(["t", pack(*entries)])):
        peer = Peer().send(message)
        assert peer.rows == [b'{"a":1}', b"[1770301845]", b'"text"', b'"record"', b"[1]", b'{"x":1}']
        assert peer.times == ["2026-02-05T14:30:45Z", "", "", "2026-02-05T14:30:45Z", "2026-02-05T14:30:45Z", ""]
        assert sorted(peer.notes) == [("empty", {"count": 1}), ("malformed", {"count": 4}), ("odd", {"count": 5})]
        assert peer.closed is None


def test_an_entry_that_cannot_be_decoded_is_counted_and_the_others_are_taken() -> None:
    """A timestamp extension of the wrong length: its extent is known, its content makes no sense."""
    bad = b"\x92\x01\x81\xa1a\xc7\x03\xff\x00\x00\x00"
    peer = Peer().send(pack(["t", pack([T, {"a": 1}]) + bad + pack([T, {"a": 2}]), {"chunk": "c"}]))
    assert peer.rows == [b'{"a":1}', b'{"a":2}']
    assert [one[-2:] for one in peer.ids if one] == [b"-0", b"-2"]
    assert peer.notes == [("malformed", {"count": 1})]
    assert peer.heard == [{"ack": "c"}]


@pytest.mark.parametrize("depth", [100, 252, 253, 254, 300, 900])
def test_what_is_nested_too_deeply_becomes_null_and_is_counted(depth: int) -> None:
    """The record goes on without it."""
    deep: Any = "end"
    for _ in range(depth):
        deep = [deep]
    peer = Peer().send(pack(["t", T, {"a": deep, "b": 1}]))
    (row,) = peer.rows
    assert row.endswith(b',"b":1}')
    assert row.count(b"[") == min(depth, 253)
    assert peer.notes == ([] if depth <= 253 else [("nested", {"count": 1})])


def test_nesting_over_a_thousand_levels_ends_the_connection() -> None:
    """The decoder goes no deeper."""
    peer = Peer().send(b"\x91" * 2000)
    assert peer.kinds == ["malformed"]
    assert peer.closed


@pytest.mark.parametrize("mode", MODES)
def test_a_chunk_is_acknowledged_after_it_is_durable_and_not_before(mode: str) -> None:
    """Once, with the very chunk."""
    peer = Peer(answering=False).send(in_mode(mode, "t", EVENTS[:1], {"chunk": "p8n9gmxTQVC8/nh2wlKKeQ=="}))
    assert peer.sent == b""
    peer.answer()
    assert peer.heard == [{"ack": "p8n9gmxTQVC8/nh2wlKKeQ=="}]


@pytest.mark.parametrize("written", [b"\xa3abc", b"\xc4\x03abc", b"\xa2\xff\xfe", b"\xa0"])
def test_an_acknowledgement_repeats_the_chunk_as_it_was_written(written: bytes) -> None:
    """String or binary, UTF-8 or not: the sender compares it."""
    peer = Peer().send(b"\x94" + pack("t", T, {}) + b"\x81" + pack("chunk") + written)
    assert peer.sent == b"\x81" + pack("ack") + written


def test_a_chunk_without_events_is_acknowledged_at_once() -> None:
    """There is nothing to wait for."""
    peer = Peer(answering=False)
    for message in (["t", [], {"chunk": "a"}], ["t", b"", {"chunk": "b"}], ["t", [[T, None]], {"chunk": "c"}]):
        peer.send(pack(message))
    assert peer.heard == [{"ack": "a"}, {"ack": "b"}, {"ack": "c"}]
    assert peer.deliveries == []


def test_identities_come_of_the_chunk_and_the_position() -> None:
    """The same when it is sent again, in whatever mode, by whomever; another chunk has others."""
    once = [Peer().send(in_mode(mode, "t", EVENTS, {"chunk": "eins"})).ids for mode in MODES[1:]]
    assert once[0] == once[1] == once[2]
    assert len(set(once[0])) == 3
    assert all(one and re.fullmatch(rb"[A-Za-z0-9_-]{22}-[0-9]+", one) for one in once[0])
    assert not set(once[0]) & set(Peer().send(in_mode("packed", "t", EVENTS, {"chunk": "zwei"})).ids)
    assert Peer().send(in_mode("packed", "t", EVENTS, {"chunk": ""})).ids == [None] * 3


def large(count: int, size: int) -> bytes:
    """Entries of so many bytes."""
    return pack(*([T, {"n": number, "x": "x" * size}] for number in range(count)))


@pytest.mark.parametrize(("count", "size"), [(30_000, 100), (90, 200_000), (45_000, 0), (3, 3 << 20)])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_large_message_is_delivered_in_parts_and_acknowledged_after_the_last(count: int, size: int, compressed: bool) -> None:
    """Each within its limits, few of them unanswered at a time, in order, each row once."""
    packed = large(count, size)
    peer = Peer(answering=False)
    content = gzip.compress(packed, 1) if compressed else packed
    peer.send(pack(["t", content, {"chunk": "c", "size": count} | ({"compressed": "gzip"} if compressed else {})]))
    open_most = 0
    while peer.waiting:
        assert peer.sent == b""
        open_most = max(open_most, len(peer.waiting))
        peer.answer()
    assert peer.heard == [{"ack": "c"}]
    assert 2 <= open_most <= forward_connection.DELIVERIES_OPEN
    assert [json.loads(row)["n"] for row in peer.rows] == list(range(count))
    assert len(set(peer.ids)) == count
    for delivery in peer.deliveries:
        assert len(delivery.rows) <= DELIVERY_ROWS_MAX
        assert sum(map(len, delivery.rows)) <= DELIVERY_BYTES_MAX
        assert len(delivery.rows) == len(delivery.tags or []) == len(delivery.times or []) == len(delivery.ids or [])
    assert peer.notes == []


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_refused_part_means_no_acknowledgement_and_the_end(which: int) -> None:
    """What follows is not taken, as it could not be kept either; the sender has it still."""
    peer = Peer(answering=False).send(pack(["t", large(45_000, 0), {"chunk": "c"}]))
    for number in range(3):
        peer.answer(durable=number != which)
    assert peer.sent == b""
    assert peer.closed == "the records were not taken"
    assert peer.kinds == ["refused"]


def test_chunks_that_share_a_delivery_are_acknowledged_with_it() -> None:
    """Messages that come together go together; those with a chunk apart from those without."""
    peer = Peer(answering=False)
    chunked = [pack(["t", T, {"n": number}, {"chunk": f"c{number}"}]) for number in range(3)]
    peer.send(b"".join(chunked) + pack(["u", T, {"n": 3}]) * 2 + chunked[0])
    assert [(len(one.rows), one.tags, one.ids is None) for one in peer.deliveries] == [
        (3, ["t"] * 3, False), (2, ["u"] * 2, True), (1, ["t"], False),
    ]  # fmt: skip
    peer.answer()
    assert peer.heard == [{"ack": "c0"}, {"ack": "c1"}, {"ack": "c2"}]


def test_answers_in_any_order_acknowledge_what_is_whole() -> None:
    """A later chunk may be durable first."""
    peer = Peer(answering=False)
    for name in ("a", "b"):
        peer.send(pack(["t", T, {}, {"chunk": name}]))
    peer.waiting.reverse()
    peer.answer()
    assert peer.heard == [{"ack": "b"}]
    peer.answer()
    assert peer.heard == [{"ack": "b"}, {"ack": "a"}]


def test_what_came_whole_before_the_end_is_delivered_after_it() -> None:
    """A sender without acknowledgement may be gone long before its large message is taken."""
    peer = Peer(answering=False).send(pack(["t", large(150_000, 0)]) + b"\x93\xa1t").end()
    while peer.waiting:
        peer.answer()
    assert len(peer.rows) == 150_000
    assert peer.notes == [("truncated", {"bytes": 3})]
    assert peer.closed == ""


def test_a_size_that_does_not_fit_is_noted() -> None:
    """The events are taken and acknowledged all the same."""
    peer = Peer().send(pack(["t", [[T, {}]], {"size": 2, "chunk": "c"}]))
    assert (peer.notes, peer.heard) == ([("size", {"count": 1})], [{"ack": "c"}])


def test_entries_that_span_pieces_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pieces of a few bytes the result is that of large ones."""
    whole = Peer().send(in_mode("packed", "t", EVENTS * 20, {"chunk": "c"}))
    for size in (1, 7, 64):
        monkeypatch.setattr(forward_pack, "PIECE_BYTES", size)
        monkeypatch.setattr(forward_expand, "PIECE_BYTES", size)
        monkeypatch.setattr(forward_messages, "PIECE_BYTES", size)
        monkeypatch.setattr(forward_messages, "_LARGE_BYTES", 2 * size)
        for mode in MODES[1:]:
            cut = Peer().send(in_mode(mode, "t", EVENTS * 20, {"chunk": "c"}))
            assert (cut.rows, cut.times, cut.ids) == (whole.rows, whole.times, whole.ids)
