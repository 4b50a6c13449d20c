"""The forward protocol against nonsense, random bytes and bombs."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.source import forward_expand, forward_messages
from shipper.source.push import DELIVERY_BYTES_MAX
from tests.source.forward_peer import EVENTS, MODES, Peer, T, forward, in_mode, pack

WRONG = {
    "a number": b"\x05", "a map": pack({"a": 1}), "a string": pack("PING"), "no element": b"\x90", "one element": pack(["t"]),
    "five elements": pack(["t", T, {}, {}, {}]), "a tag that is a number": pack([1, T, {}]), "no tag": pack([None, T, {}]),
    "a time and no record": pack(["t", T]), "an option that is a list": pack(["t", T, {}, [1]]),
    "an option too many": pack(["t", [], {}, {}]), "a chunk that is a number": pack(["t", T, {}, {"chunk": 5}]),
    "a chunk that is too long": pack(["t", T, {}, {"chunk": "c" * 600}]), "a large option": pack(["t", T, {}, {"x": "x" * 5000}]),
    "a byte that is none": b"\xc1", "entries cut short": pack(["t", pack([T, {"a": 1}])[:-1]]),
    "entries that are none": pack(["t", b"\xc1"]), "an unknown compression": pack(["t", b"", {"compressed": "lzma"}]),
    "a compression that is a number": pack(["t", b"", {"compressed": 1}]),
    "no gzip": pack(["t", b"no gzip", {"compressed": "gzip"}]), "no zstd": pack(["t", b"no zstd", {"compressed": "zstd"}]),
    "gzip cut short": pack(["t", gzip.compress(pack([T, {}]))[:-1], {"compressed": "gzip"}]),
    "gzip and something else": pack(["t", gzip.compress(pack([T, {}])) + b"\0", {"compressed": "gzip"}]),
    "gzip with a wrong checksum": pack(["t", gzip.compress(pack([T, {}]))[:-8] + bytes(8), {"compressed": "gzip"}]),
    "zstd cut short": pack(["t", zstandard.compress(pack([T, {"a": "b" * 99}]))[:-3], {"compressed": "zstd"}]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_message_that_makes_no_sense_ends_the_connection_after_what_came_before(wrong: str) -> None:
    """It is noted without its content, never acknowledged, and what comes behind it is not read."""
    bad = WRONG[wrong]
    peer = Peer(answering=False).send(pack(["t", T, {"good": 1}, {"chunk": "before"}]) + bad + pack(["t", T, {"late": 1}]))
    assert peer.closed is None
    while peer.waiting:
        peer.answer()
    assert peer.rows[0] == b'{"good":1}'
    assert b'{"late":1}' not in peer.rows
    assert peer.heard == [{"ack": "before"}]
    assert peer.kinds == ["malformed"]
    assert peer.closed
    assert peer.send(pack(["t", T, {"later": 1}])).end().rows[0] == b'{"good":1}'


def test_nil_instead_of_a_message_is_ignored() -> None:
    """A heartbeat on a stream, as for Fluentd."""
    peer = Peer().send(b"\xc0\xc0" + pack(["t", T, {"a": 1}]) + b"\xc0").end()
    assert (peer.rows, peer.notes, peer.closed) == ([b'{"a":1}'], [], "")


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
@settings(max_examples=400, deadline=None)
def test_random_bytes_raise_nothing(data: bytes, cuts: list[int]) -> None:
    """The connection goes on or ends; at the end all is let go of."""
    source = forward()
    peer = Peer(source)
    places = [0, *sorted(cuts), len(data)]
    peer.send(*(data[start:stop] for start, stop in zip(places, places[1:], strict=False)))
    peer.end()
    assert peer.closed is not None
    assert source._account.used == 0


def test_changed_bytes_in_good_messages_raise_nothing() -> None:
    """Every mode, thousands of small changes, with a fixed seed."""
    chance = random.Random(5)
    good = [in_mode(mode, "app", EVENTS, {"chunk": "c", "size": 3}) for mode in MODES]
    good.append(pack(["t", zstandard.compress(pack(*map(list, EVENTS))), {"compressed": "zstd"}]))
    for _ in range(4000):
        data = bytearray(chance.choice(good) + chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        source = forward()
        peer = Peer(source).send(bytes(data)).end()
        assert peer.closed is not None
        assert source._account.used == 0
        assert all(b"\n" not in row for row in peer.rows)


def peak(data: bytes, **settings_: Any) -> tuple[Peer, int]:
    """What comes of data, and the bytes that Python allocated for it at most."""
    peer = Peer(forward(**settings_), answering=False)
    tracemalloc.start()
    try:
        for at in range(0, len(data), 65_536):
            peer.send(data[at : at + 65_536])
            while peer.waiting:
                peer.answer()
                peer.deliveries.clear()
        return peer, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [b"\xdd\xff\xff\xff\xff" * 1000, b"\xdf\xff\xff\xff\xff" * 1000, b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x00"],
)  # fmt: skip
def test_a_header_that_claims_much_allocates_little(data: bytes) -> None:
    """Nothing is made before its bytes are there."""
    _, most = peak(data)
    assert most < 1 << 20


def test_a_message_over_the_limit_ends_the_connection() -> None:
    """While it is still coming in: an endless one never fills the memory."""
    peer, most = peak(b"\xc6\x7f\xff\xff\xff" + bytes(8 << 20), max_message=1 << 20)
    assert peer.kinds == ["too_large"]
    assert peer.closed
    assert most < 6 << 20


@pytest.mark.parametrize("filler", [b"\x80", b"\x90", b"\xc0", b"\x81\xa0\x80"])
def test_a_record_made_to_fill_memory_is_counted_and_not_taken(filler: bytes) -> None:
    """An empty map of one byte takes 64 in memory; the others of the message are taken."""
    count = (6 << 20) // len(filler)
    bad = b"\x92\x01\x81\xa1a\xdd" + count.to_bytes(4, "big") + filler * count
    peer, most = peak(pack(["t", pack([T, {"a": 1}]) + bad + pack([T, {"a": 2}]), {"chunk": "c"}]))
    assert peer.notes == [("too_large", {"count": 1})]
    assert peer.heard == [{"ack": "c"}]
    assert most < 64 << 20


def test_a_row_over_the_limit_of_a_delivery_is_cut_and_counted() -> None:
    """A control character is one byte and becomes six."""
    peer = Peer().send(pack(["t", T, {"a": "ü\x01" * (1 << 20)}]))
    (row,) = peer.rows
    assert DELIVERY_BYTES_MAX - 4 < len(row) <= DELIVERY_BYTES_MAX
    row.decode()
    assert peer.notes == [("cut", {"count": 1})]


@pytest.mark.parametrize("filler", [b"\x92\x01\x81\xa1a\x90", b"\xa1x"])
def test_a_bomb_of_gzip_is_refused_with_little_memory(filler: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its ratio, by its size, and by its members, whatever it expands to; it is not acknowledged."""
    monkeypatch.setattr(forward_expand, "RATIO_FREE_BYTES", 1 << 16)
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = zeros.compress(filler * ((1 << 19) // len(filler))) + zeros.flush()
    for limit, entries in ((1 << 30, bomb), (1 << 15, bomb), (1 << 30, bomb * 2)):
        peer, most = peak(pack(["t", entries, {"compressed": "gzip", "chunk": "c"}]), max_expanded=limit)
        assert peer.kinds[-1] == "too_large"
        assert peer.sent == b""
        assert most < 24 << 20


def test_a_bomb_of_zstd_is_refused_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ratio knows no bounds, and a frame could ask for a window of gigabytes."""
    monkeypatch.setattr(forward_expand, "RATIO_FREE_BYTES", 1 << 18)
    peer, most = peak(pack(["t", zstandard.compress(b"\x92\x01\x80" * (1 << 23), 19), {"compressed": "zstd", "chunk": "c"}]))
    assert (peer.kinds[-1], peer.sent) == ("too_large", b"")
    assert most < 24 << 20
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    ).compressobj()
    peer = Peer().send(pack(["t", wide.compress(b"x") + wide.flush(), {"compressed": "zstd"}]))
    assert peer.kinds == ["malformed"]


@pytest.mark.parametrize("nonsense", [b"\0", b"\x92\x01\xc0", b"\xc3"])
def test_a_message_of_nothing_but_nonsense_is_not_walked_to_its_end(nonsense: bytes) -> None:
    """Ten million zeros would only cost time."""
    peer = Peer().send(pack(["t", nonsense * 1_000_000, {"chunk": "c"}]))
    (kind, fields), (last, _) = peer.notes
    assert (kind in ("malformed", "empty"), last) == (True, "malformed")
    assert fields["count"] <= forward_messages.NO_EVENTS_MAX + forward_messages.ENTRIES_AT_ONCE  # type: ignore[operator]
    assert (peer.rows, peer.sent) == ([], b"")


def test_more_members_than_anybody_writes_are_refused() -> None:
    """Each costs time and holds nothing."""
    member = gzip.compress(b"", 1)
    peer = Peer().send(pack(["t", member * (forward_expand.MEMBERS_MAX + 1), {"compressed": "gzip"}]))
    assert peer.kinds == ["too_large"]


@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from(["gzip", "zstd"]))
@settings(max_examples=60, deadline=None)
def test_several_members_are_one_content(parts: list[bytes], compression: str) -> None:
    """As if all had been compressed at once."""
    compress = gzip.compress if compression == "gzip" else zstandard.compress
    data = b"".join(map(compress, parts))
    assert b"".join(forward_expand.expanded(data, compression, 1 << 20)) == b"".join(parts)


def test_all_connections_together_buffer_so_much() -> None:
    """Who would exceed it goes; the memory of who is gone is free again."""
    source = forward(max_message=1 << 20)
    peers = [Peer(source).send(b"\xc6\x00\x0f\xff\xff" + bytes(1 << 19)) for _ in range(15)]
    assert all(peer.closed is None for peer in peers)
    late = Peer(source).send(b"\xc6\x00\x0f\xff\xff" + bytes(1 << 19))
    assert (late.kinds, bool(late.closed)) == (["too_large"], True)
    for peer in peers:
        peer.end()
    assert source._account.used == 0
