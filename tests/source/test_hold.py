"""Deleted files that are held open to be read: how much disk they may take, and what is said when it is too much."""

from __future__ import annotations

import errno

import pytest

from shipper.source.reading import Limits
from tests.kit.tail_world import LIVE, World, restart, rotate, started


def blocked(hold: str, *, include: str = "/var/log/*.log") -> World:
    """A world whose output takes nothing, with two files of 1,000 unread bytes each, open and then deleted one after the other."""
    world = World(include, hold=hold)
    for name in ("a", "b"):
        world.fs.write(f"/var/log/{name}.log", name.encode() + b"1\n")
    world.start()
    world.pause()
    for name in ("a", "b"):
        world.fs.write(f"/var/log/{name}.log", (name.encode() * 9 + b"\n") * 100)
    world.advance(6)
    for name in ("a", "b"):
        world.fs.unlink(f"/var/log/{name}.log")
        world.advance(6)
    return world


def test_deleted_files_are_read_to_their_end_within_the_hold() -> None:
    """Row 11: the output was blocked when they were deleted."""
    world = blocked("1GiB")
    assert len(world.fs.handles) == 2
    world.resume()
    world.advance(20)
    assert len(world.texts()) == 202
    assert not world.lost
    assert not world.fs.handles


def test_the_file_deleted_first_is_given_up_when_they_hold_too_much() -> None:
    """Counted in bytes, once; the other one is read."""
    world = blocked("1500B")
    assert [(lost.bytes, lost.cause) for lost in world.lost] == [(1000, "held_too_much")]
    assert "held_too_much" in world.kinds()
    assert len(world.fs.handles) == 1
    world.resume()
    world.advance(20)
    assert len(world.texts()) == 102
    world.settle()
    restart(world)
    world.advance(20)
    assert len(world.lost) == 1


def test_deleted_files_are_closed_at_once_when_nothing_may_be_held() -> None:
    """`hold: 0`."""
    world = blocked("0")
    assert [lost.bytes for lost in world.lost] == [1000, 1000]
    assert not world.fs.handles


def test_nothing_is_lost_when_a_deleted_file_was_read_to_its_end() -> None:
    """It is just closed."""
    world = started(hold="0")
    world.fs.unlink(LIVE)
    world.advance(6)
    assert not world.lost
    assert not world.fs.handles
    assert [ended.reason for ended in world.ended] == ["deleted"]


@pytest.mark.parametrize("include", [LIVE, "/var/log/app.log*"])
def test_a_file_given_up_is_read_on_in_its_compressed_copy(include: str) -> None:
    """The disk is free of it, and nothing is lost."""
    world = started(include, hold="0")
    world.pause()
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n")
    world.advance(6)
    world.fs.compress(f"{LIVE}.1", f"{LIVE}.1.gz")
    world.fs.unlink(f"{LIVE}.1")
    world.notice(names=True)
    world.advance(12)
    world.resume()
    world.advance(20)
    assert sorted(world.texts()) == ["a", "b", "c", "d"]
    assert not world.lost


def test_files_with_unread_bytes_are_closed_when_too_many_are_open() -> None:
    """Those that still have a name: they are opened again in their turn."""
    world = World("/var/log/*.log", limits=Limits(open_files=4, read_size_bytes=64))
    for number in range(20):
        world.fs.write(f"/var/log/{number:02d}.log", b"line %d\n" % number * 50)
    world.pause()
    world.start()
    world.pause()
    world.advance(11)
    assert world.most_handles <= 6
    world.resume()
    world.advance(11)
    assert len(world.texts()) == 1000
    assert world.most_handles <= 6


@pytest.mark.parametrize("include", ["/var/log/*.log", "/var/log/*.log*"])
def test_a_deleted_file_counts_while_nothing_is_read_wherever_its_last_name_was(include: str) -> None:
    """A chain of one backup while the output is blocked: each rename deletes the file before; what is held is bounded all the same."""
    world = World(include, hold="1500B")
    world.fs.write(LIVE, b"first\n")
    world.start()
    world.pause()
    for number in range(5):
        world.fs.write(LIVE, (b"%d" % number * 9 + b"\n") * 100)
        world.advance(1)
        world.fs.rename(LIVE, f"{LIVE}.1")
        world.fs.write(LIVE, b"x%d\n" % number)
        world.advance(1)
    world.advance(20)
    assert sum(lost.bytes for lost in world.lost) >= 2000
    assert {lost.cause for lost in world.lost} == {"held_too_much"}


@pytest.mark.parametrize("compressed_s", [0, 1, 3, 10])
def test_a_file_is_not_missed_when_its_content_is_read_compressed(compressed_s: float) -> None:
    """It was listed, could not be opened before it was compressed, and is read all the same: no alarm."""
    world = started("/var/log/*.log")
    world.advance(6)
    world.settle()
    world.crash()
    rotate(world, b"unseen\n", b"live\n")
    world.fs.denied[f"{LIVE}.1"] = errno.ENOENT
    world.start()
    world.advance(compressed_s)
    world.fs.compress(f"{LIVE}.1", f"{LIVE}.1.gz")
    world.fs.unlink(f"{LIVE}.1")
    world.advance(30)
    assert sorted(world.texts()) == ["a", "b", "live", "unseen"] and not world.lost
    assert "missed" not in world.kinds()
