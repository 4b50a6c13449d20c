"""Dead letters: durable when said so, read back exactly, bounded."""

from __future__ import annotations

import asyncio
import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver.traffic import Letter
from shipper.edge import dead_letters
from shipper.edge.dead_letters import DeadLetters, FullError
from shipper.model.errors import HostError


def letter(key, document=b'{"a":1}', index="logs"):
    """A letter."""
    return Letter(key, index, document, "document_parsing_exception", "a", 400)


def append(store, *batches):
    """Append batches, each by itself."""

    async def go():
        for batch in batches:
            await store.append(batch)

    asyncio.run(go())


def ids(store):
    """What is read back."""
    return [one.id for one in store.read()]


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=5))
def test_letters_are_read_back_once_each_in_order(tmp_path_factory, batches):
    """For any letters: reading gives the first of each id, in the order written, also by a new reader."""
    directory = tmp_path_factory.mktemp("dead")
    append(DeadLetters(directory), *([letter(key) for key in batch] for batch in batches))
    assert list(dict.fromkeys(key for batch in batches for key in batch)) == ids(DeadLetters(directory))


def test_letter_has_everything_to_judge_and_replay_it(tmp_path):
    """Id, index, error, status, time and the document as it was."""
    store = DeadLetters(tmp_path, clock=lambda: 1770301845.123)
    document = '{"message":"W\u00fclfrath","n":1.50}'.encode()
    append(store, [letter("x", document)])
    (one,) = store.read()
    assert ("x", "logs", "document_parsing_exception", "a", 400) == (
        one.id,
        one.index,
        one.error.type,
        one.error.field,
        one.status,
    )
    assert "2026-02-05T14:30:45.123Z" == one.time
    assert document == bytes(one.document)


@pytest.mark.parametrize("document", [b'{"a":', b"\xff", b'{"a":1}x', b"[" * 5000 + b"]" * 5000])
def test_letter_keeps_a_document_that_is_not_json_as_text(tmp_path, document):
    """The file stays readable whatever was refused."""
    store = DeadLetters(tmp_path)
    append(store, [letter("x", document), letter("y")])
    first, second = store.read()
    assert document.decode("utf-8", "replace") == first.document_text
    assert "y" == second.id


def test_same_id_in_another_index_is_another_letter(tmp_path):
    """Ids are compared within their index."""
    store = DeadLetters(tmp_path)
    append(store, [letter("x", index="a"), letter("x", index="b")])
    assert ["a", "b"] == [one.index for one in store.read()]


def test_append_is_fsynced_before_it_returns(tmp_path, monkeypatch):
    """File and, for a new segment, its directory; later letters only the file."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)), real(descriptor))
    )
    store = DeadLetters(tmp_path / "dead")
    append(store, [letter("a")])
    assert [False, True, True] == synced
    append(store, [letter("b")])
    assert [False, True, True, False] == synced


def test_append_cuts_off_what_a_crash_left_torn(tmp_path):
    """Half a letter from before is gone, and the next one stands whole."""
    append(DeadLetters(tmp_path), [letter("a")])
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    for cut in range(1, len(whole)):
        segment.write_bytes(whole + whole.replace(b'"a"', b'"b"', 1)[:cut])
        if cut < len(whole):
            assert ["a"] == ids(DeadLetters(tmp_path))
    append(DeadLetters(tmp_path), [letter("c")])
    assert ["a", "c"] == ids(DeadLetters(tmp_path))
    assert 2 == segment.read_bytes().count(b"\n")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_append_leaves_nothing_behind_when_the_disk_refuses(tmp_path, monkeypatch, error):
    """HostError; nothing of the letters is read; the same letters again are written once."""
    store = DeadLetters(tmp_path)
    append(store, [letter("a")])
    real = os.fsync

    def refuse(_descriptor):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(HostError):
        append(store, [letter("b")])
    monkeypatch.setattr(os, "fsync", real)
    assert ["a"] == ids(store)
    append(store, [letter("b")])
    assert ["a", "b"] == ids(store)
    if error == errno.EIO:
        assert 2 == len(list(tmp_path.iterdir()))


def test_append_is_refused_when_full_and_nothing_is_dropped(tmp_path):
    """The bound holds over all segments and over restarts."""
    store = DeadLetters(tmp_path, bytes_max=1000)
    append(store, [letter("a", b'{"x":"%s"}' % (b"x" * 500))])
    for one in (store, DeadLetters(tmp_path, bytes_max=1000)):
        with pytest.raises(FullError):
            append(one, [letter("b", b'{"x":"%s"}' % (b"x" * 500))])
    append(store, [letter("c")])
    assert ["a", "c"] == ids(store)


def test_segments_rotate(tmp_path, monkeypatch):
    """A segment that reached its size is not written to any more."""
    monkeypatch.setattr(dead_letters, "SEGMENT_BYTES_MAX", 300)
    append(DeadLetters(tmp_path), *([letter(f"{n}")] for n in range(9)))
    append(DeadLetters(tmp_path), [letter("x")])
    assert len(list(tmp_path.iterdir())) >= 3
    assert [*(f"{n}" for n in range(9)), "x"] == ids(DeadLetters(tmp_path))


def test_letters_are_for_the_agents_user_only(tmp_path):
    """Mode 0600 in a directory of 0700."""
    directory = tmp_path / "dead"
    append(DeadLetters(directory), [letter("a")])
    (segment,) = directory.iterdir()
    assert (0o600, 0o700) == (stat.S_IMODE(segment.stat().st_mode), stat.S_IMODE(directory.stat().st_mode))


def test_read_finds_nothing_where_nothing_is(tmp_path):
    """No directory, no letters."""
    assert [] == list(DeadLetters(tmp_path / "none").read())
