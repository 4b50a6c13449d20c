"""Compressed files as their content: members, padding, garbage, torn tails, bombs, and going back."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge import inflate
from shipper.edge.inflate import Inflated

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
BODY = b"".join(b"line %d of a log\n" % number for number in range(60_000))
endings = pytest.mark.parametrize("ending", list(COMPRESS))


@contextmanager
def opened(directory: Path, ending: str, raw: bytes) -> Iterator[Inflated]:
    """A file of these bytes, open."""
    path = directory / f"app.log.1{ending}"
    path.write_bytes(raw)
    with path.open("rb") as file:
        yield Inflated(file.fileno(), str(path))


def whole(content: Inflated, window: int = 100_000) -> tuple[bytes, inflate.Piece]:
    """All of it, window by window, and the last answer."""
    data = b""
    while True:
        piece = content.read(len(data), window)
        data += piece.data
        if not piece.data and not piece.underway:
            return data, piece


@endings
def test_the_members_of_a_file_are_one_content(tmp_path: Path, ending: str) -> None:
    """As `cat a.gz b.gz > c.gz` makes them; zeros behind a member are padding."""
    make = COMPRESS[ending]
    with opened(tmp_path, ending, make(BODY[:500_000]) + make(b"") + make(BODY[500_000:]) + bytes(512)) as content:
        data, last = whole(content)
    assert data == BODY
    assert (last.size, last.whole, last.torn) == (len(BODY), True, False)


@endings
def test_garbage_behind_the_last_member_is_not_read(tmp_path: Path, ending: str) -> None:
    """As gzip(1) does, with a warning."""
    with opened(tmp_path, ending, COMPRESS[ending](BODY) + b"no member at all") as content:
        data, last = whole(content)
    assert data == BODY
    assert last.whole


@endings
def test_a_torn_file_is_read_as_far_as_it_goes_and_on_when_it_grows(tmp_path: Path, ending: str) -> None:
    """The compressor is still at work."""
    raw = COMPRESS[ending](BODY)
    path = tmp_path / f"a{ending}"
    path.write_bytes(raw[: len(raw) * 2 // 3])
    with path.open("rb") as file:
        content = Inflated(file.fileno(), str(path))
        data, last = whole(content)
        assert BODY.startswith(data)
        assert (last.size, last.whole, last.torn) == (len(data), False, True)
        path.write_bytes(raw)
        while piece := content.read(len(data), 50_000).data:
            data += piece
    assert data == BODY


@endings
def test_the_size_is_told_when_the_end_was_reached(tmp_path: Path, ending: str) -> None:
    """Before that it is a lower bound, larger than what was read."""
    with opened(tmp_path, ending, COMPRESS[ending](BODY)) as content:
        first = content.read(0, 1024)
        assert not first.whole
        assert 1024 < first.size <= len(BODY)
        last = content.read(len(BODY) - 10, 10)
        assert last.data == BODY[-10:]
        assert last.whole


@given(
    ending=st.sampled_from(list(COMPRESS)), reads=st.lists(st.tuples(st.integers(0, 70_000), st.integers(1, 5_000)), max_size=8)
)
def test_any_sequence_of_reads_gives_what_slices_give(
    tmp_path_factory: pytest.TempPathFactory, ending: str, reads: list[tuple[int, int]]
) -> None:
    """Forward, back, and beyond the end."""
    body = BODY[:60_000]
    with opened(tmp_path_factory.mktemp("inflate"), ending, COMPRESS[ending](body)) as content:
        for offset, size in reads:
            assert content.read(offset, size).data == body[offset : offset + size]


@endings
def test_a_bomb_fails_after_what_a_log_may_hold(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2024-36129: by ratio."""
    monkeypatch.setattr(inflate, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(inflate, "RATIO", 100)
    with opened(tmp_path, ending, COMPRESS[ending](bytes(50 << 20))) as content:
        read = 0
        with pytest.raises(OSError, match="bomb") as failed:
            while True:
                read += len(content.read(read, 1 << 18).data)
        assert failed.value.errno == errno.EFBIG
        assert 1 << 20 <= read < 41 << 20
        assert content.left() >= 1


@endings
def test_a_content_larger_than_any_log_fails(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The absolute cap."""
    monkeypatch.setattr(inflate, "CONTENT_BYTES", 300_000)
    with opened(tmp_path, ending, COMPRESS[ending](BODY)) as content, pytest.raises(OSError, match="bomb"):
        whole(content, 10_000)


@endings
def test_what_is_not_of_its_format_cannot_be_decoded(tmp_path: Path, ending: str) -> None:
    """A plain file with the wrong name, and one with a broken member behind a good one."""
    with opened(tmp_path, ending, b"a plain line\n" * 100) as content, pytest.raises(OSError, match="format") as failed:
        content.read(0, 100)
    assert failed.value.errno == errno.EILSEQ


@endings
def test_a_broken_member_fails_after_what_came_before_it(tmp_path: Path, ending: str) -> None:
    """Flipped bytes."""
    raw = bytearray(COMPRESS[ending](BODY))
    raw[len(raw) // 2 : len(raw) // 2 + 64] = bytes(64)
    with opened(tmp_path, ending, COMPRESS[ending](BODY) + bytes(raw)) as content:
        data = b""
        with pytest.raises(OSError, match="decoded") as failed:
            while True:
                data += content.read(len(data), 100_000).data
        assert failed.value.errno == errno.EILSEQ
        assert data.startswith(BODY)


def test_a_far_offset_is_reached_in_several_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call decodes more than a turn's bytes; the memory is that of one window."""
    monkeypatch.setattr(inflate, "TURN_BYTES", 1 << 18)
    with opened(tmp_path, ".gz", gzip.compress(BODY)) as content:
        turns = 0
        while (piece := content.read(len(BODY) - 100, 100)).underway:
            turns += 1
            assert not piece.data
        assert turns >= 3
        assert piece.data == BODY[-100:]
        assert len(content._kept) < 1 << 19
