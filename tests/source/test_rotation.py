"""The rules of rename rotation and deletion, one by one, against a file system in memory."""

from __future__ import annotations

import errno

import pytest

from shipper.source.reading import Limits
from tests.kit.fake_fs import Inode
from tests.kit.tail_world import LIVE, World, rotate, started

GRACE = 6.0


# --- Rename rotation ---


def test_the_old_file_is_read_to_its_end_before_the_new_one_when_it_is_renamed() -> None:
    """What was written between the last read and the rename comes first."""
    world = started()
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("include", [LIVE, "/var/log/app.log*", "/var/log/*"])
def test_files_rotated_twice_between_scans_are_found_and_read_in_order(include: str) -> None:
    """The middle one was never seen under its live name."""
    world = started(include)
    rotate(world, b"c\n", b"d\n", b"e\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("include", [LIVE, "/var/log/app.log*"])
def test_files_are_read_in_order_when_they_are_renamed_before_they_could_be_opened(include: str) -> None:
    """The file that lay there last was not read either, and waits itself for one that came before it."""
    world = started(include)
    rotate(world, b"c\n", b"d\n")
    opened, more = world.fs.open, [b"e\n"]

    def late(path: str, number: int | None = None) -> tuple[int, Inode]:
        if more:
            rotate(world, more.pop())
        return opened(path, number)

    world.fs.open = late  # type: ignore[method-assign]
    world.advance(12)
    assert world.texts() == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("suffix", ["-20260205", ".2026-02-05_14-30", "-20260205-1770300000", ".old"])
def test_dated_names_are_siblings(suffix: str) -> None:
    """logrotate's dateext, Python's TimedRotatingFileHandler, kubelet."""
    world = started()
    world.save()
    world.crash()
    world.fs.write(LIVE, b"c\n")
    world.fs.rename(LIVE, LIVE + suffix)
    world.fs.now += 1
    world.fs.write(LIVE, b"d\n")
    world.start()
    assert world.texts() == ["a", "b", "c", "d"]
    assert world.resent == 2


def test_the_old_file_is_closed_after_a_grace_when_it_is_rotated() -> None:
    """A writer may keep it open for some seconds."""
    world = started()
    rotate(world, b"c\n")
    world.advance(6)
    world.fs.write(f"{LIVE}.1", b"late\n")
    world.advance(0.5)
    assert not world.ended
    world.advance(GRACE)
    assert "late" in world.texts()
    world.advance(GRACE)
    assert [(ended.stream_id, ended.reason) for ended in world.ended] == [(world.began[0].stream.id, "rotated")]
    assert len(world.fs.handles) == 1


def test_an_unterminated_last_line_is_taken_when_a_rotated_file_is_quiet() -> None:
    """Flushed by time, once."""
    world = started(text=b"a\nhalf")
    rotate(world, b"c\n")
    world.advance(12)
    assert world.texts() == ["a", "c", "half"]


def test_a_rotated_file_is_opened_again_when_it_grows_late() -> None:
    """It stays known by its inode as long as it is seen."""
    world = started("/var/log/app.log*")
    rotate(world, b"c\n")
    world.advance(20)
    assert world.ended
    world.fs.write(f"{LIVE}.1", b"late\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c", "late"]
    assert [began.minted for began in world.began] == [True, True, False]


def test_rotated_files_that_were_there_before_are_not_read_when_no_glob_matches_them() -> None:
    """What nobody asked for."""
    world = World(LIVE)
    world.fs.write(f"{LIVE}.1", b"ancient\n")
    world.fs.now += 10
    world.fs.write(LIVE, b"a\n")
    world.start()
    rotate(world, b"b\n")
    world.advance(20)
    assert world.texts() == ["a", "b"]


def test_a_program_with_a_similar_name_is_not_read_when_its_neighbour_rotates() -> None:
    """`app-web.log` is not a rotation of `app.log`."""
    world = started()
    world.fs.write("/var/log/app-web.log", b"alien\n")
    world.fs.write("/var/log/app.logger", b"alien\n")
    rotate(world, b"c\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]


def test_a_rotated_file_is_read_on_when_it_moves_out_of_the_glob() -> None:
    """By its handle."""
    world = started()
    world.fs.write(LIVE, b"c\n")
    world.fs.rename(LIVE, "/archive/app")
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]
    assert [ended.reason for ended in world.ended] == ["rotated"]


def test_the_new_target_is_followed_and_the_old_one_drained_when_a_symlink_is_swapped() -> None:
    """Kubernetes style."""
    world = World("/var/log/link.log")
    world.fs.write("/pods/1.log", b"a\n")
    world.fs.symlink("/pods/1.log", "/var/log/link.log")
    world.start()
    world.fs.write("/pods/1.log", b"b\n")
    world.fs.write("/pods/2.log", b"c\n")
    world.fs.symlink("/pods/2.log", "/var/log/link.log")
    world.advance(20)
    assert sorted(world.texts()) == ["a", "b", "c"]


def test_a_partial_line_is_kept_until_it_ends() -> None:
    """One record, once."""
    world = started(text=b"a\nha")
    world.advance(10)
    world.fs.write(LIVE, b"lf\n")
    world.advance(6)
    assert world.texts() == ["a", "half"]


def test_a_partial_line_is_one_record_when_it_ends_after_a_restart() -> None:
    """The offset stays at its start."""
    world = started(text=b"a\nha")
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"lf\n")
    world.start()
    assert world.texts() == ["a", "half"]


# --- Deletion ---


def test_a_deleted_file_is_read_to_its_end_by_its_handle() -> None:
    """Then closed after a grace; its stream stays known for a while, should a compressed copy turn up."""
    world = started()
    world.fs.write(LIVE, b"c\n")
    world.fs.unlink(LIVE)
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]
    assert [ended.reason for ended in world.ended] == ["deleted"]
    assert not world.fs.handles
    world.fs.write(LIVE, b"d\n")
    world.advance(6)
    world.settle()
    assert sorted((state.ended, state.ino) for state in world.saved()) == [(False, 11), (True, 11)]


def test_a_file_deleted_before_its_first_open_is_noted() -> None:
    """Missed, with its bytes."""
    world = World(LIVE)
    world.fs.write(LIVE, b"a\n")
    world.fs.denied[LIVE] = errno.ENOENT
    world.start()
    world.fs.unlink(LIVE)
    world.advance(6)
    assert [(note.kind, note.fields["bytes"]) for note in world.notes if note.kind == "missed"] == [("missed", 2)]


def test_a_deleted_and_created_file_is_new_when_it_gets_the_same_inode() -> None:
    """Inode reuse while running, after the handle was closed."""
    world = World("/var/log/*.log", limits=Limits(open_files=1))
    world.fs.write("/var/log/a.log", b"a\n")
    world.fs.write("/var/log/b.log", b"b\n")
    world.start()
    number = world.fs.names["/var/log/a.log"].number
    world.fs.unlink("/var/log/a.log")
    assert world.fs.create("/var/log/a.log").number == number
    world.fs.now += 1
    world.fs.write("/var/log/a.log", b"c\n")
    world.advance(20)
    assert sorted(world.texts()) == ["a", "b", "c"]


def test_a_storm_of_rotations_loses_nothing() -> None:
    """Row 2: forty files, each rotated five times between two scans."""
    world = World("/var/log/*.log")
    paths = [f"/var/log/{number:02d}.log" for number in range(40)]
    for path in paths:
        world.fs.write(path, path.encode() + b" 0\n")
    world.start()
    for turn in range(1, 6):
        for path in paths:
            for last in range(turn, 1, -1):
                world.fs.rename(f"{path}.{last - 1}", f"{path}.{last}")
            world.fs.rename(path, f"{path}.1")
            world.fs.now += 0.001
            world.fs.write(path, path.encode() + b" %d\n" % turn)
    world.advance(20)
    for path in paths:
        assert [text for text in world.texts() if text.startswith(path + " ")] == [f"{path} {turn}" for turn in range(6)]


def test_the_files_of_a_directory_that_is_removed_are_read_by_their_handles() -> None:
    """Row 83: a node is drained while the output is blocked."""
    world = World("/pods/*/0.log")
    for number in range(20):
        world.fs.write(f"/pods/{number}/0.log", b"first of %d\n" % number)
    world.start()
    world.pause()
    for number in range(20):
        world.fs.write(f"/pods/{number}/0.log", b"second of %d\n" % number)
        world.fs.unlink(f"/pods/{number}/0.log")
    world.advance(6)
    world.resume()
    world.advance(20)
    assert len(world.texts()) == 40
    assert not world.lost
    assert not world.fs.handles
