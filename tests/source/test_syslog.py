"""The source syslog: framing against a naive reader of the whole stream, however it is cut; limits; what is noted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import Endpoint, Size
from shipper.model.localtime import Timezone
from shipper.model.syslog import Reader
from shipper.source.push import DELIVERY_BYTES_MAX, DELIVERY_ROWS_MAX, Command, Deliver, Note
from shipper.source.syslog import Messages, Syslog

MAX = 480
OLD = b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed"
NEW = b'<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 [a b="c"] two\nlines'


def counted(message: bytes) -> bytes:
    """A message with its length before it."""
    return b"%d %b" % (len(message), message)


def connection(peer: str = "192.0.2.1:7", clock: Callable[[], float] | None = None, **more: object) -> Messages:
    """The machine of a new connection."""
    config = Syslog.Config(listen=[Endpoint("127.0.0.1:514")], **{"max_message": Size(MAX), **more})
    return Syslog(config, clock).connection(peer, lambda size: b"\0" * size, 100.0)


def rows_of(commands: Sequence[Command]) -> list[bytes]:
    """All rows that are delivered."""
    return [row for command in commands if isinstance(command, Deliver) for row in command.delivery.rows]


def notes_of(commands: Sequence[Command]) -> list[tuple[str, dict[str, object]]]:
    """All notes."""
    return [(command.kind, command.fields) for command in commands if isinstance(command, Note)]


def played(pieces: Sequence[bytes], *, ends: bool = True) -> tuple[list[bytes], Counter[str], Counter[str]]:
    """Rows, counts of notes, and bytes that they tell of, of a stream that comes in pieces."""
    machine = connection()
    commands: list[Command] = []
    for piece in [b"", *pieces]:
        commands += machine.received(piece, 100.0)
    if ends:
        commands += machine.ended(100.0)
    counts, sizes = Counter[str](), Counter[str]()
    for kind, fields in notes_of(commands):
        counts[kind] += int(str(fields.get("count", 1)))
        sizes[kind] += int(str(fields["bytes"]))
    assert all(isinstance(command, (Deliver, Note)) for command in commands)
    return rows_of(commands), counts, sizes


def naive(source: bytes) -> tuple[list[bytes], Counter[str], Counter[str]]:
    """The rules of the module on the whole stream."""
    messages: list[bytes] = []
    counts, sizes = Counter[str](), Counter[str]()

    def cut(size: int) -> None:
        counts["too_large"] += 1
        sizes["too_large"] += size

    at = 0
    while at < len(source):
        if head := re.match(rb"([1-9]\d{0,8}) (?=<\d{1,3}>)", source[at:]):
            size, rest = int(head[1]), source[at + head.end() :][: int(head[1])]
            if size > MAX and len(rest) >= MAX:
                cut(size - MAX)
            if len(rest) < size:
                counts["cut_off"] += 1
                sizes["cut_off"] += size - len(rest)
            messages.append(rest[:MAX])
            at += head.end() + size
        else:
            line = re.match(rb"[^\n\0]*", source[at:])
            assert line
            ended = at + line.end() < len(source)
            text = line[0].removesuffix(b"\r") if ended else line[0]
            if len(text) > MAX + (not ended):
                cut(len(line[0]) - MAX)
            messages.append(text[:MAX])
            at += line.end() + 1
    reader = Reader()
    return [reader.row(message) for message in messages if message.rstrip(b"\r")], counts, sizes


SCRIPTS = [
    OLD + b"\n" + OLD + b"\r\n" + NEW.replace(b"\n", b" ") + b"\0" + OLD,
    counted(NEW) + counted(OLD) + OLD + b"\n" + counted(OLD + b"\n") + b"\n" + counted(b"<1>x\0"),
    b"17 files copied\n9 lives\n12 <x>\n3\n\n\r\n" + OLD,
    b"text\n2026-02-05T14:30:45Z h t: x\n\0\0" + counted(NEW)[:-3],
    b"<1>"
    + b"y" * 500
    + b"\n"
    + counted(b"<2>" + b"z" * 600)
    + OLD
    + b"\n"
    + b"<3>"
    + b"w" * 478
    + b"\r\n"
    + b"<1>"
    + b"v" * 477
    + b"\r\n",
    b"1 <1>x\n1234567890 <1>y\n99 <",
    b"<1>z\n" + b"x" * 700,
    b"x" * (MAX + 1),
    counted(b"<2>" + b"z" * 600)[:-10],
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_stream_is_read_the_same_cut_at_every_byte(script: bytes) -> None:
    """Whole, in two pieces at every place, and byte by byte: the rows, notes and sizes of a naive reader."""
    expected = naive(script)
    for pieces in [
        [script],
        *([script[:at], script[at:]] for at in range(1, len(script))),
        [script[at : at + 1] for at in range(len(script))],
    ]:
        assert played(pieces) == expected


pieces = st.lists(
    st.sampled_from(
        [
            OLD,
            NEW,
            b"\n",
            b"\0",
            b"\r",
            b"\r\n",
            counted(NEW),
            counted(OLD),
            b"7 <1>",
            b"<1>",
            b"x" * 100,
            b"9",
            b" ",
            b"600 <1>",
            b"\xff",
        ]
    )
    | st.binary(max_size=5),
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(pieces, st.integers(1, 700))
def test_any_stream_is_read_as_a_naive_reader_does(parts: list[bytes], size: int) -> None:
    """Whatever it holds, in pieces of any size; what is kept back meanwhile is bounded."""
    source = b"".join(parts)
    assert played([source[at : at + size] for at in range(0, len(source), size)]) == naive(source)
    machine = connection()
    for part in parts:
        machine.received(part, 100.0)
        assert len(machine._buffer) <= MAX + 20


def test_messages_that_come_together_are_delivered_together() -> None:
    """One delivery for a call, and none for half a message."""
    machine = connection()
    (command,) = machine.received(OLD + b"\n" + counted(NEW) + OLD, 100.0)
    assert isinstance(command, Deliver)
    assert [json.loads(row)["process.name"] for row in command.delivery.rows] == ["su", "su"]
    assert (command.delivery.tags, command.delivery.times, command.delivery.ids) == (None, None, None)
    assert machine.received(b"", 100.0) == []
    assert machine.deadline() is None
    assert machine.expire(1e9) == ()


def test_deliveries_are_bounded_in_rows_and_bytes() -> None:
    """More goes on in several, each with a number of its own."""
    commands = connection().received(b"<1>x\n" * (DELIVERY_ROWS_MAX + 1), 100.0)
    assert [len(command.delivery.rows) for command in commands] == [DELIVERY_ROWS_MAX, 1]
    assert [command.number for command in commands] == [1, 2]
    message = b"<1>" + b"\1" * 400 + b"\n"  # six times as long in JSON
    commands = connection().received(message * 3000, 100.0)
    assert len(rows_of(commands)) == 3000
    assert max(sum(map(len, command.delivery.rows)) for command in commands) <= DELIVERY_BYTES_MAX


def test_what_the_spool_refuses_is_noted_with_its_count() -> None:
    """As syslog has no answer; nothing is sent in any case."""
    machine = connection()
    machine.received(b"<1>x\n<1>y\n", 100.0)
    machine.received(b"<1>z\n", 100.0)
    assert machine.durable(2, 101.0) == ()
    assert notes_of(machine.refused(1, 101.0)) == [("refused", {"peer": "192.0.2.1:7", "count": 2})]
    assert machine._outlet._open == {}


def test_an_endless_line_takes_constant_memory() -> None:
    """Its head goes on at once; the rest is counted when it ends, or the connection does."""
    machine = connection()
    commands = [command for _ in range(100) for command in machine.received(b"x" * 10_000, 100.0)]
    assert [json.loads(row)["message"] for row in rows_of(commands)] == ["x" * MAX]
    assert len(machine._buffer) == 0
    ended = machine.received(b"\n<1>y\n", 100.0)
    assert notes_of(ended) == [("too_large", {"peer": "192.0.2.1:7", "count": 1, "bytes": 1_000_000 - MAX})]
    assert len(rows_of(ended)) == 1


@pytest.mark.parametrize(
    ("datagram", "message"),
    [(OLD, "'su root' failed"), (OLD + b"\n", "'su root' failed"), (OLD + b"\0", "'su root' failed"), (counted(b"<1>x"), "4 <1>x"), (b"<1>two\nlines", "two\nlines")],
)  # fmt: skip
def test_a_datagram_is_one_message(datagram: bytes, message: str) -> None:
    """Whatever it holds; RFC 5426 has no lengths in it."""
    machine = connection("udp:127.0.0.1:514")
    (row,) = rows_of(machine.received(datagram, 100.0))
    assert json.loads(row)["message"] == message
    assert machine.ended(100.0) == []


def test_large_and_blank_datagrams_are_cut_and_left_out() -> None:
    """The head goes on, with a note."""
    machine = connection("unixgram:/dev/log")
    assert machine.received(b"", 100.0) == []
    assert machine.received(b"\n", 100.0) == []
    commands = machine.received(b"x" * 500, 100.0)
    assert json.loads(rows_of(commands)[0])["message"] == "x" * MAX
    assert notes_of(commands) == [("too_large", {"peer": "unixgram:/dev/log", "count": 1, "bytes": 20})]


def test_the_year_comes_from_the_time_of_arrival() -> None:
    """By the clock of the source, in the zone of its settings; without a clock there is no time."""
    for arrival, year in (("2025-12-31T22:00:00+00:00", 2026), ("2027-01-01T22:00:00+00:00", 2027)):
        seconds = datetime.fromisoformat(arrival).timestamp()
        machine = connection(clock=lambda seconds=seconds: seconds, timezone=Timezone("Europe/Berlin"))
        (row,) = rows_of(machine.received(b"<1>Jan  1 00:30:00 h t: x\n", 100.0))
        assert json.loads(row)["@timestamp"] == f"{year - 1}-12-31T23:30:00.000Z"
    (row,) = rows_of(connection().received(b"<1>Jan  1 00:30:00 h t: x\n", 100.0))
    assert "@timestamp" not in json.loads(row)
