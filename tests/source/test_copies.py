"""The rules of truncation and of copies (copytruncate)."""

from __future__ import annotations

import errno
from collections import Counter

import pytest

from tests.kit.tail_world import LIVE, World, copytruncate, restart, rotate, started


def test_a_truncated_file_is_a_new_stream_from_0() -> None:
    """On the same handle."""
    world = started()
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"c\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c"]
    assert len({began.stream.id for began in world.began}) == 2
    assert not world.lost


def test_a_file_truncated_and_regrown_past_the_offset_is_a_new_stream() -> None:
    """Seen by the guard before the offset, read again with every read."""
    world = started()
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"much longer than before\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "much longer than before"]


def test_a_regrown_file_of_records_of_one_length_with_a_constant_end_is_a_new_stream() -> None:
    """The last bytes before the offset are what they were; those a little before are not."""
    world = started(text=b"".join(b"%04d" % n + b"x" * 120 + b"\n" for n in range(20)))
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"".join(b"%04d" % n + b"x" * 120 + b"\n" for n in range(20, 60)))
    world.advance(6)
    assert [text[:4] for text in world.texts()] == [f"{n:04d}" for n in range(60)]


def test_a_file_rewritten_to_the_same_size_is_a_new_stream() -> None:
    """The time of its change tells that something happened."""
    world = started()
    world.fs.now += 1
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"c\nd\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c", "d"]


def test_unread_bytes_are_lost_with_their_number_when_nobody_has_a_copy() -> None:
    """What was seen and not read."""
    world = started()
    world.pause()
    world.fs.write(LIVE, b"unread\n")
    world.advance(6)
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"c\n")
    world.resume()
    world.advance(6)
    assert world.texts() == ["a", "b", "c"]
    assert [(lost.bytes, lost.cause) for lost in world.lost] == [(7, "truncated")]


@pytest.mark.parametrize("include", [LIVE, "/var/log/app.log*"])
def test_a_copy_is_not_read_again_when_all_was_read_in_the_original(include: str) -> None:
    """copytruncate with the reader at the end of the file (beats#40056)."""
    world = started(include)
    copytruncate(world)
    world.fs.write(LIVE, b"c\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]
    assert not world.lost


@pytest.mark.parametrize("include", [LIVE, "/var/log/app.log*"])
def test_the_stream_goes_on_in_the_copy_when_the_original_had_unread_bytes(include: str) -> None:
    """Then the live file, from 0."""
    world = started(include)
    world.fs.write(LIVE, b"unread\n")
    copytruncate(world)
    world.fs.write(LIVE, b"c\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "unread", "c"]
    assert len({began.stream.id for began in world.began}) == 2
    assert not world.lost


def test_the_stream_goes_on_in_the_copy_when_the_original_was_truncated_while_the_agent_was_down() -> None:
    """Found by fingerprint and guard."""
    world = started()
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"unread\n")
    copytruncate(world)
    world.fs.write(LIVE, b"c\n")
    world.start()
    world.advance(20)
    assert world.texts() == ["a", "b", "unread", "c"]
    assert world.resent == 0


def test_a_copy_is_held_while_its_original_lives() -> None:
    """Not minted, and nothing of it fed."""
    world = started("/var/log/app.log*")
    world.fs.copy(LIVE, f"{LIVE}.1")
    world.advance(30)
    assert world.texts() == ["a", "b"]
    assert len(world.began) == 1


def test_a_held_copy_still_counts_when_it_is_renamed_and_the_original_truncated() -> None:
    """The next rotation moves it on."""
    world = started("/var/log/app.log*")
    world.fs.copy(LIVE, f"{LIVE}.1")
    world.advance(6)
    world.fs.rename(f"{LIVE}.1", f"{LIVE}.2")
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"c\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]


def test_a_sibling_that_only_begins_like_the_live_file_is_read() -> None:
    """Its last bytes stand nowhere in the live one."""
    header = b"#" * 1100 + b"\n"
    world = started("/var/log/app.log*", text=header + b"a\n" + b"." * 100 + b"\n")
    world.fs.write(f"{LIVE}.1", header + b"other\n")
    world.advance(20)
    assert "other" in world.texts()


def test_a_sibling_that_only_ends_like_the_live_file_is_read() -> None:
    """Records of one length with a constant end: files rotated by size have equal last bytes at equal places."""
    world = started(text=b"0000" + b"x" * 100 + b"\n")
    rotate(world, b"1111" + b"x" * 100 + b"\n", b"2222" + b"x" * 100 + b"\n", b"3333" + b"x" * 100 + b"\n")
    world.advance(20)
    assert [text[:4] for text in world.texts()] == ["0000", "1111", "2222", "3333"]


def test_other_files_with_the_same_bytes_are_distinct() -> None:
    """Only siblings by name are taken for copies."""
    world = World("/var/log/*.log")
    world.fs.write("/var/log/a.log", b"same\n")
    world.fs.write("/var/log/b.log", b"same\n")
    world.start()
    world.advance(11)
    assert world.texts() == ["same", "same"]


def test_lines_written_between_copy_and_truncation_are_counted_when_they_were_seen() -> None:
    """Row 4: nobody can give them any more; the loss says how many bytes at least."""
    world = started()
    world.pause()
    world.fs.now += 1
    world.fs.copy(LIVE, f"{LIVE}.1")
    world.fs.now += 1
    world.fs.write(LIVE, b"in the race\n")
    world.advance(6)
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"c\n")
    world.resume()
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]
    assert [(lost.bytes, lost.cause) for lost in world.lost] == [(12, "truncated")]


def test_a_held_copy_is_taken_for_its_own_original_when_another_file_lies_at_the_live_path() -> None:
    """The original was truncated, written and rotated away before either was looked at again: nothing is lost, nothing is new."""
    world = started("/var/log/*", text=b"0\n")
    world.pause()
    rotate(world, b"first\n")
    world.fs.write(LIVE, b"second\n")
    world.fs.now += 0.01
    world.fs.copy(LIVE, "/var/log/app.log-20260205")
    world.advance(6)
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, b"third\n")
    rotate(world, b"fourth\n")
    world.resume()
    world.advance(20)
    assert sorted(world.texts()) == ["0", "first", "fourth", "second", "third"]
    assert not world.lost


def test_a_live_file_is_not_read_again_when_a_scan_showed_its_copy_first() -> None:
    """The listing missed it: the stream of the copy is its own, and the copy is held."""
    world = started("/var/log/app.log*")
    rotate(world, b"c\nd\n")
    live = world.fs.names.pop(LIVE)
    world.fs.create(f"{LIVE}.2")
    world.fs.write(f"{LIVE}.2", bytes(live.data))
    world.advance(6)
    world.fs.names[LIVE] = live
    world.advance(12)
    world.fs.write(LIVE, b"e\n")
    world.advance(12)
    assert world.texts() == ["a", "b", "c", "d", "e"]


def test_a_copy_is_not_read_again_when_a_restart_found_it_before_its_original_could_be_read() -> None:
    """The stream goes back to the live file, whose bytes could not be read at that moment; the copy is held."""
    world = started("/var/log/app.log*")
    world.settle()
    world.fs.read_errors = [errno.EIO] * 3
    restart(world)
    world.fs.now += 0.01
    world.fs.copy(LIVE, f"{LIVE}.1")
    world.advance(20)
    world.fs.write(LIVE, b"c\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]


def test_a_copy_of_a_file_that_has_the_inode_of_one_read_to_its_end_is_not_read_twice() -> None:
    """The live file is examined after its copy: what ended is the other one."""
    world = started("/var/log/app.log*")
    rotate(world, b"c\n")
    world.advance(20)
    number = world.fs.names[f"{LIVE}.1"].number
    world.fs.unlink(f"{LIVE}.1")
    world.fs.rename(LIVE, f"{LIVE}.2")
    world.fs.now += 0.01
    world.fs.create(LIVE, number)
    world.fs.write(LIVE, b"d\ne\nf\n")
    world.fs.now += 0.01
    world.fs.copy(LIVE, f"{LIVE}.1")
    world.advance(20)
    assert world.texts() == ["a", "b", "c", "d", "e", "f"]


def test_a_lost_stream_is_not_given_up_while_its_copy_waits_for_its_next_try() -> None:
    """Several listings in one moment ask for the file again: its patience is of time, not of tries."""
    world = started("/var/log/app.log*")
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"unread\n")
    copytruncate(world)
    world.fs.write(LIVE, b"c\n")
    world.fs.denied[f"{LIVE}.1"] = errno.EACCES
    world.start()
    for _ in range(20):
        world.notice(LIVE, names=True)
        world.fs.write(LIVE, b".\n")
        world.advance(0.5)
    world.fs.denied.clear()
    world.advance(60)
    assert Counter(world.texts()) == {"a": 1, "b": 1, "unread": 1, "c": 1, ".": 20}
    assert not world.lost
