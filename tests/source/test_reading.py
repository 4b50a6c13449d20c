"""The rules of reading: handles, errors, pace, back-pressure."""

from __future__ import annotations

import errno

import pytest

from shipper.source.events import Listed
from shipper.source.reading import Limits
from tests.kit.tail_world import LIVE, World, rotate, started


def test_idle_files_are_closed_when_too_many_are_open() -> None:
    """And opened again when they grow."""
    world = World("/var/log/*.log", limits=Limits(open_files=4))
    for number in range(20):
        world.fs.write(f"/var/log/{number:02d}.log", b"first of %d\n" % number)
    world.start()
    assert len(world.fs.handles) <= 4
    assert world.most_handles <= 6
    for number in range(20):
        world.fs.write(f"/var/log/{number:02d}.log", b"second of %d\n" % number)
    world.advance(11)
    assert len(world.texts()) == 40


def test_a_file_is_read_later_when_the_system_has_no_handles_left() -> None:
    """EMFILE is no reason to give a file up."""
    world = World("/var/log/*.log")
    world.fs.max_handles = 3
    for number in range(10):
        world.fs.write(f"/var/log/{number}.log", b"%d\n" % number)
    world.start()
    assert "handles" in world.kinds()
    world.advance(120)
    assert len(world.texts()) == 10


def test_a_file_is_read_when_permission_is_granted_later() -> None:
    """Noted once, tried again after 1 to 60 s; others are not held up."""
    world = World("/var/log/*.log")
    world.fs.write("/var/log/a.log", b"secret\n")
    world.fs.write("/var/log/b.log", b"open\n")
    world.fs.denied["/var/log/a.log"] = errno.EACCES
    world.start()
    world.advance(200)
    assert world.texts() == ["open"]
    assert world.kinds() == ["unreadable"]
    del world.fs.denied["/var/log/a.log"]
    world.advance(61)
    assert world.texts() == ["open", "secret"]


def test_a_resumed_stream_is_not_given_up_when_its_file_may_not_be_opened() -> None:
    """Permission may be granted again."""
    world = started()
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"c\n")
    world.fs.denied[LIVE] = errno.EACCES
    world.start()
    world.advance(30)
    assert not world.lost
    del world.fs.denied[LIVE]
    world.advance(61)
    assert world.texts() == ["a", "b", "c"]
    assert world.resent == 0


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_file_is_read_on_when_a_read_failed(code: int) -> None:
    """With a back-off."""
    world = started()
    world.fs.read_errors = [code]
    world.fs.write(LIVE, b"c\n")
    world.advance(10)
    assert world.texts() == ["a", "b", "c"]
    assert world.kinds() == ["unreadable"]


def test_lines_stay_whole_when_reads_are_short() -> None:
    """A read may give less than was asked for."""
    world = started()
    world.fs.short_reads = [1, 3, 1, 5, 2]
    world.fs.write(LIVE, b"a longer line\nand another\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "a longer line", "and another"]


def test_nothing_is_fed_while_paused_and_rotations_are_still_seen() -> None:
    """Discovery goes on."""
    world = started()
    world.pause()
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n")
    world.advance(6)
    rotate(world, b"e\n")
    world.advance(6)
    assert world.texts() == ["a", "b"]
    world.fs.unlink(f"{LIVE}.2")
    world.resume()
    world.advance(1)
    assert world.texts() == ["a", "b", "c", "d", "e"]


def test_files_take_turns_when_several_have_much_to_read() -> None:
    """None starves behind a large one."""
    world = World("/var/log/*.log", limits=Limits(read_size_bytes=2000))
    for name in "abc":
        world.fs.write(f"/var/log/{name}.log", b"".join(b"%s%04d\n" % (name.encode(), n) for n in range(2000)))
    world.start()
    texts = world.texts()
    assert max(texts.index("b0000"), texts.index("c0000")) < texts.index("a1999")
    assert len(texts) == 6000


def test_live_files_come_before_backlog_and_backlog_still_moves() -> None:
    """A rotated file has every fourth turn at least."""
    world = World("/var/log/*", limits=Limits(read_size_bytes=2000))
    world.fs.write("/var/log/a.log.1", b"".join(b"old%04d\n" % n for n in range(2000)))
    world.fs.now += 1
    world.fs.write("/var/log/a.log", b"".join(b"new%04d\n" % n for n in range(2000)))
    world.start()
    texts = world.texts()
    assert texts.index("new1999") < texts.index("old1999")
    assert texts.index("old0000") < texts.index("new1500")


def test_a_line_longer_than_a_window_is_read_with_a_larger_window() -> None:
    """The usual window is the smaller one."""
    world = World(LIVE, limits=Limits(read_size_bytes=64))
    world.fs.write(LIVE, b"x" * 500 + b"\nshort\n")
    world.start()
    assert world.texts() == ["x" * 500, "short"]


def test_a_noticed_file_is_read_after_the_linger_and_not_at_every_notice() -> None:
    """Small appends go together."""
    world = started()
    world.advance(1)
    world.fs.write(LIVE, b"c\n")
    world.notice(LIVE)
    assert world.texts() == ["a", "b", "c"]
    reads = world.reads
    for _ in range(10):
        world.fs.write(LIVE, b"d\n")
        world.notice(LIVE)
    assert world.reads == reads
    world.advance(0.3)
    assert world.reads == reads + 1
    assert len(world.texts()) == 13


def test_a_file_that_grew_is_read_at_the_next_scan_when_nothing_was_noticed() -> None:
    """The scan is what is relied on, every 5 s."""
    world = started()
    world.fs.write(LIVE, b"c\n")
    world.advance(5)
    assert world.texts() == ["a", "b", "c"]


def test_a_new_file_is_found_at_once_when_the_watch_says_that_names_changed() -> None:
    """Within 250 ms."""
    world = started("/var/log/*.log")
    world.advance(1)
    world.fs.write("/var/log/pod.log", b"p\n")
    world.notice("/var/log/pod.log", names=True)
    world.advance(0.25)
    assert "p" in world.texts()


def test_idle_files_cost_no_reads() -> None:
    """A scan compares sizes and times."""
    world = World("/var/log/*.log", limits=Limits(open_files=16))
    for number in range(200):
        world.fs.write(f"/var/log/{number}.log", b"%d\n" % number)
    world.start()
    world.advance(30)
    reads = world.reads
    world.advance(300)
    assert world.reads == reads


def test_a_window_is_out_one_at_a_time_when_the_chain_is_slow() -> None:
    """Nothing is read ahead."""
    world = World("/var/log/*.log")
    world.hold_feeds = True
    for name in "ab":
        world.fs.write(f"/var/log/{name}.log", name.encode() + b"\n")
    world.start()
    world.advance(20)
    assert world.texts() == []
    world.answer_feed()
    assert sorted(world.texts()) == ["a", "b"]


def test_files_missing_from_an_incomplete_listing_are_not_taken_as_gone() -> None:
    """A directory that could not be read for once."""
    world = started()
    world.send(Listed([], [], world.fs.wall(), complete=False))
    world.fs.write(LIVE, b"c\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c"]
    assert not world.ended
