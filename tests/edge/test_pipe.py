"""Pipe: standard input a line at a time: cut anywhere, refused, held up and ended; lines against a slow obvious version."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge import pipe
from shipper.edge.pipe import READ_BYTES, WINDOWS_OPEN, Lines, Pipe
from shipper.source.push import DELIVERY_ROWS_MAX, Delivery
from tests.edge.listening import until

MAX = 12
Answer = Callable[[bool], None]


class Spool:
    """Takes deliveries, or refuses the next `refusing`; without `answering` answers wait."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.waiting: list[Answer] = []
        self.answering, self.refusing, self.refused, self.ended = True, 0, 0, 0

    def take(self, delivery: Delivery, answer: Answer) -> None:
        """As the inlet does."""
        if self.refusing:
            self.refusing, self.refused = self.refusing - 1, self.refused + 1
            asyncio.get_running_loop().call_soon(answer, False)
            return
        self.deliveries.append(delivery)
        if self.answering:
            asyncio.get_running_loop().call_soon(answer, True)
        else:
            self.waiting.append(answer)

    def end(self) -> None:
        """Counted: it must come once."""
        self.ended += 1

    @property
    def rows(self) -> list[bytes]:
        """All rows."""
        return [row for delivery in self.deliveries for row in delivery.rows]


def run(descriptor: int, script: Callable[[Pipe, Spool], Awaitable[None]], spool: Spool | None = None) -> Spool:
    """Open a pipe on a descriptor, run a script, close both."""
    spool = spool or Spool()

    async def scene() -> None:
        made = Pipe(spool.take, spool.end, max_record=MAX, descriptor=descriptor)
        await made.open()
        try:
            await script(made, spool)
        finally:
            await made.close()
            os.close(descriptor)

    asyncio.run(scene())
    return spool


async def to_the_end(_pipe: Pipe, spool: Spool) -> None:
    """Until the input has ended."""
    await until(lambda: spool.ended > 0)


def held(data: bytes) -> int:
    """The reading end of a pipe with this in it, ended."""
    reader, writer = os.pipe()
    threading.Thread(target=lambda: (os.write(writer, data), os.close(writer))).start()
    return reader


def naive(text: bytes) -> list[bytes]:
    """The lines of a text, the whole of it in memory."""
    rows = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    return [row[:MAX] for row in rows if row]


pieces = st.lists(
    st.sampled_from([b"a", b"{}", b"\n", b"\r\n", b"\r", b"x" * MAX, b"y" * (MAX + 1), b"z" * 40, b"\n\n", b" "]), max_size=20
)


@given(text=pieces.map(b"".join), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_lines_are_the_same_however_the_input_is_cut(text: bytes, sizes: list[int]) -> None:
    """Line ends of both kinds, empty lines, overlong ones, a last one without end: as if all were in memory."""
    lines, found, at, turn = Lines(MAX), list[bytes](), 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        found += lines.take(text[at : at + size])
        at, turn = at + size, turn + 1
    assert found + lines.take(b"") == naive(text)


def test_lines_hold_no_more_than_the_longest_record_and_a_piece() -> None:
    """A line without end costs no memory, and the next one is whole."""
    lines = Lines(MAX)
    assert lines.take(b"q" * 100) == [b"q" * MAX]
    assert [lines.take(b"q" * 100) for _ in range(50)] == [[]] * 50
    assert lines._rest == b""
    assert lines.take(b"q\nnext\n") == [b"next"]


@pytest.mark.parametrize(
    ("text", "row"), [(b"caf\xe9", "café"), (b"\xff\xfe", "\xff\xfe"), ("11 letters\u20ac".encode(), "11 letters")]
)
def test_rows_are_always_utf8(text: bytes, row: str) -> None:
    """Bytes that are none become the characters of the same numbers; no cut leaves a part of a character."""
    for end in (b"\n", b""):
        lines = Lines(MAX)
        found = [*lines.take(text + end), *lines.take(b"")]
        assert found == [row.encode()]


def test_characters_that_come_in_two_pieces_are_whole() -> None:
    """What is no UTF-8 yet is not mended before the line is there."""
    lines = Lines(MAX)
    assert [*lines.take(b"\xe2\x82"), *lines.take(b"\xac\n\xe9"), *lines.take(b"\n")] == ["€".encode(), "é".encode()]


def test_pipe_delivers_all_lines_and_says_once_that_it_ended() -> None:
    """The last line needs no end."""
    spool = run(held(b'{"n":1}\n\r\nplain\r\nlast'), to_the_end)
    assert (spool.rows, spool.ended) == ([b'{"n":1}', b"plain", b"last"], 1)


def test_pipe_reads_a_file_that_is_standard_input(tmp_path: Path) -> None:
    """`shipper run - < file`, also where it is longer than a window."""
    path = tmp_path / "input"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(100_000)))
    spool = run(os.open(path, os.O_RDONLY), to_the_end)
    assert spool.rows == [b"%d" % number for number in range(100_000)]
    assert max(len(delivery.rows) for delivery in spool.deliveries) <= DELIVERY_ROWS_MAX


def test_pipe_of_nothing_ends_at_once() -> None:
    """`shipper run - < /dev/null`."""
    spool = run(os.open("/dev/null", os.O_RDONLY), to_the_end)
    assert (spool.rows, spool.ended) == ([], 1)


def test_input_that_cannot_be_read_is_at_its_end_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory, say: nothing else could come of it."""
    with caplog.at_level("ERROR", logger="shipper"):
        spool = run(os.open(tmp_path, os.O_RDONLY), to_the_end)
    assert (spool.rows, spool.ended) == ([], 1)
    assert [record.message for record in caplog.records] == ["stdin cannot be read; that is taken for its end"]


def test_pipe_that_does_not_block_is_not_taken_for_ended() -> None:
    """Who started us may have made it so (O_NONBLOCK is the pipe's, not the process's): no data is not the end of data."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)

    async def script(_pipe: Pipe, spool: Spool) -> None:
        await asyncio.sleep(0.05)
        os.write(writer, b"late\n")
        await until(lambda: spool.rows == [b"late"])
        assert not spool.ended
        os.close(writer)
        await until(lambda: spool.ended == 1)

    run(reader, script)


def test_refused_deliveries_are_offered_again_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has them. Nothing that was read later overtakes them."""
    monkeypatch.setattr(pipe, "RETRY_S", 0.02)
    spool = Spool()
    spool.refusing = 5
    reader, writer = os.pipe()

    async def script(_pipe: Pipe, spool: Spool) -> None:
        for number in range(6):
            os.write(writer, b"%d\n" % number)
            await asyncio.sleep(0.01)
        os.close(writer)
        await until(lambda: spool.ended > 0)

    run(reader, script, spool)
    assert (spool.rows, spool.refused, spool.ended) == ([b"%d" % number for number in range(6)], 5, 1)


def test_no_more_than_a_few_windows_are_read_ahead_of_the_disk(tmp_path: Path) -> None:
    """The writer waits then; what is read goes on as windows become durable."""
    path = tmp_path / "input"
    path.write_bytes((b"x" * 9 + b"\n") * (READ_BYTES // 10 * 12))
    spool = Spool()
    spool.answering = False
    descriptor = os.open(path, os.O_RDONLY)

    async def script(_pipe: Pipe, spool: Spool) -> None:
        await until(lambda: os.lseek(descriptor, 0, os.SEEK_CUR) == WINDOWS_OPEN * READ_BYTES)
        await asyncio.sleep(0.05)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == WINDOWS_OPEN * READ_BYTES
        while not spool.ended:
            waiting, spool.waiting = spool.waiting, []
            for answer in waiting:
                answer(True)
            await asyncio.sleep(0)

    run(descriptor, script, spool)
    assert len(spool.rows) == path.stat().st_size // 10


def test_paused_pipe_reads_nothing_until_it_is_resumed() -> None:
    """One window may be on its way when the pause comes."""
    reader, writer = os.pipe()

    async def script(made: Pipe, spool: Spool) -> None:
        made.pause()
        os.write(writer, b"first\n")
        await until(lambda: spool.rows == [b"first"])
        os.write(writer, b"second\n")
        await asyncio.sleep(0.05)
        assert spool.rows == [b"first"]
        made.resume()
        await until(lambda: spool.rows == [b"first", b"second"])
        os.close(writer)

    run(reader, script)


def test_close_keeps_the_line_that_was_begun_and_waits_until_it_is_durable() -> None:
    """The writer has written it, and will not again."""
    reader, writer = os.pipe()
    spool = Spool()

    async def script(_pipe: Pipe, spool: Spool) -> None:
        os.write(writer, b"whole\nbegun")
        await until(lambda: spool.rows == [b"whole"])
        spool.answering = False
        asyncio.get_running_loop().call_later(0.05, lambda: spool.waiting.pop()(True))

    run(reader, script, spool)
    os.close(writer)
    assert (spool.rows, spool.waiting) == ([b"whole", b"begun"], [])


def test_nothing_is_read_after_the_close() -> None:
    """What is written then stays in the pipe: its writer finds out that nobody reads."""
    reader, writer = os.pipe()
    copy = os.dup(reader)

    async def script(_pipe: Pipe, spool: Spool) -> None:
        os.write(writer, b"one\n")
        await until(lambda: spool.rows == [b"one"])

    run(reader, script)
    os.write(writer, b"two\n")
    assert os.read(copy, 100) == b"two\n"
    os.close(writer)
    os.close(copy)


def test_close_tells_of_what_could_not_be_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A spool that is full at the end of the agent: what was read is lost, with its number of rows in the log."""
    monkeypatch.setattr(pipe, "RETRY_S", 0.02)
    spool = Spool()
    spool.refusing = 10**6

    async def script(_pipe: Pipe, spool: Spool) -> None:
        await until(lambda: spool.refused > 0)

    with caplog.at_level("ERROR", logger="shipper"):
        run(held(b"a\nb\n"), script, spool)
    assert [(record.message, record.fields) for record in caplog.records] == [
        ("stdin: what was read last could not be kept", {"rows": 2})
    ]
