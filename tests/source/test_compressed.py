"""Compressed rotated files: found by their content, read on where the plain file stopped, never twice."""

from __future__ import annotations

import errno

import pytest

from shipper.source.events import ReadFailed
from shipper.source.reading import Limits
from tests.kit.tail_world import LIVE, World, restart, rotate, started

GLOBS = [LIVE, "/var/log/app.log*"]
LONG = b"".join(b"%06d %s\n" % (n, b"x" * 90) for n in range(200))


def squeeze(world: World, path: str, ending: str = ".gz", mtime_s: float | None = None) -> None:
    """Compress a file and remove the plain one."""
    world.fs.compress(path, path + ending, mtime_s=mtime_s)
    world.fs.unlink(path)


def down(world: World, *, settled: bool = True) -> None:
    """Stop the agent, its checkpoint written or as it last was."""
    if settled:
        world.settle()
    world.crash()
    world.fs.now += 1


# --- While the agent was down ---


@pytest.mark.parametrize("include", GLOBS)
@pytest.mark.parametrize("ending", [".gz", ".zst", ".xz", ".bz2"])
def test_a_file_rotated_and_compressed_while_the_agent_was_down_is_read_on_where_it_stopped(include: str, ending: str) -> None:
    """The identity is that of the decompressed bytes."""
    world = started(include)
    down(world)
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n")
    squeeze(world, f"{LIVE}.1", ending)
    world.start()
    world.advance(20)
    assert world.texts() == ["a", "b", "c", "d"]
    assert world.resent == 0
    assert not world.lost
    assert len({began.stream.id for began in world.began}) == 2


@pytest.mark.parametrize("include", GLOBS)
def test_several_rotated_and_compressed_files_are_read_in_order(include: str) -> None:
    """The one that was begun, those nobody knows, the live one."""
    world = started(include)
    down(world)
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n", b"e\n", b"f\n")
    squeeze(world, f"{LIVE}.3")
    squeeze(world, f"{LIVE}.2")
    world.start()
    world.advance(20)
    assert world.texts() == ["a", "b", "c", "d", "e", "f"]
    assert not world.lost


def test_dated_files_are_in_the_order_of_their_dates_when_they_were_compressed_later() -> None:
    """kubelet compresses a file when the next one is rotated, and the compressed one has that time."""
    world = started()
    down(world)
    for day, text in (("20260205-143045", b"c\n"), ("20260205-150000", b"d\n"), ("20260205-153000", b"e\n")):
        world.fs.rename(LIVE, f"{LIVE}.{day}")
        world.fs.now += 10
        world.fs.write(LIVE, text)
    squeeze(world, f"{LIVE}.20260205-150000", mtime_s=world.fs.wall() + 5)
    squeeze(world, f"{LIVE}.20260205-143045", mtime_s=world.fs.wall() + 6)
    world.start()
    world.advance(20)
    assert world.texts() == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("include", GLOBS)
def test_a_long_compressed_file_is_gone_on_with_at_the_settled_offset(include: str) -> None:
    """Longer than a window and a fingerprint, with a common head."""
    world = started(include, text=LONG)
    down(world)
    world.fs.write(LIVE, LONG + b"last\n")
    rotate(world, LONG + b"new\n")
    squeeze(world, f"{LIVE}.1")
    world.start()
    world.advance(20)
    assert len(world.texts()) == 3 * 200 + 2
    assert world.resent == 0


HEADER = b"#" * 1100 + b"\n"
"""A common head, longer than a fingerprint."""


@pytest.mark.parametrize("held", [False, True])
def test_compressed_files_with_a_common_header_are_all_read_when_they_come_at_once(held: bool) -> None:
    """Nothing of the first ones is read when the others are examined: an equal first KiB proves nothing."""
    world = started(text=HEADER + b"a\n")
    down(world)
    rotate(world, HEADER + b"b\n" * 40, HEADER + b"c\n", HEADER + b"d\n" * 9, HEADER + b"e\n")
    for number in (4, 3, 2, 1):
        squeeze(world, f"{LIVE}.{number}")
    if held:
        world.fs.denied[LIVE] = errno.EACCES
    world.start()
    world.advance(20)
    world.fs.denied.clear()
    world.advance(60)
    assert sorted(text for text in world.texts() if text[0] != "#") == ["a", *["b"] * 40, "c", *["d"] * 9, "e"]
    assert not world.lost


def test_a_compressed_file_that_could_not_be_opened_is_read_after_a_crash_though_later_ones_were() -> None:
    """The checkpoint tells that everything since its last change is still to be looked at."""
    world = started()
    down(world)
    world.fs.now += 1
    rotate(world, b"c\n", b"d\n")
    squeeze(world, f"{LIVE}.1")
    world.fs.denied[f"{LIVE}.1.gz"] = errno.EACCES
    world.start()
    world.advance(20)
    assert "d" in world.texts()
    world.settle()
    world.crash()
    world.fs.denied.clear()
    world.start()
    world.advance(20)
    assert sorted(world.texts()) == ["a", "b", "c", "d"]


def test_a_long_stream_is_found_compressed_after_a_crash_when_nothing_of_it_was_settled() -> None:
    """Its last boundary proves who it is, though no verdict came; it was small when it was new."""
    world = started()
    world.settle()
    world.fs.write(LIVE, b"c\n")
    world.advance(1)
    rotate(world, b"first\n")
    world.advance(6)
    world.fs.write(LIVE, LONG)
    world.advance(6)
    world.save()
    world.crash()
    world.fs.now += 1
    rotate(world, b"d\n")
    squeeze(world, f"{LIVE}.1")
    world.start()
    world.advance(20)
    assert len(world.texts()) == 205
    assert len({began.stream.id for began in world.began}) == 3
    assert not world.lost


# --- Known content is left alone ---


@pytest.mark.parametrize("include", GLOBS)
@pytest.mark.parametrize("later", [True, False])
def test_a_file_that_was_read_to_its_end_is_left_alone_when_it_is_compressed(include: str, later: bool) -> None:
    """Whatever time the compressor gives it, and after a restart too."""
    world = started(include)
    rotate(world, b"c\n")
    world.advance(20)
    squeeze(world, f"{LIVE}.1", mtime_s=world.fs.wall() if later else None)
    world.advance(20)
    rotate(world, b"d\n")
    world.advance(20)
    world.settle()
    restart(world)
    rotate(world, b"e\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "c", "d", "e"]
    assert world.resent == 0


@pytest.mark.parametrize("include", GLOBS)
def test_a_file_compressed_while_the_agent_was_down_is_left_alone_when_all_was_read(include: str) -> None:
    """Even if it looks newer than what was read."""
    world = started(include)
    rotate(world, b"c\n")
    world.advance(20)
    down(world)
    squeeze(world, f"{LIVE}.1", mtime_s=world.fs.wall())
    world.start()
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]
    restart(world)
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]


@pytest.mark.parametrize("include", GLOBS)
def test_the_rest_is_read_when_the_compressed_file_has_more_than_was_read(include: str) -> None:
    """A line came after the plain file was closed."""
    world = started(include)
    rotate(world, b"c\n")
    world.advance(20)
    world.crash()
    world.fs.write(f"{LIVE}.1", b"late\n")
    squeeze(world, f"{LIVE}.1")
    world.start()
    world.advance(20)
    assert sorted(world.texts()) == ["a", "b", "c", "late"]


def test_compressed_files_that_were_there_before_are_not_read_when_no_glob_matches_them() -> None:
    """What nobody asked for."""
    world = World(LIVE)
    world.fs.write(f"{LIVE}.1", b"ancient\n")
    squeeze(world, f"{LIVE}.1")
    world.fs.now += 10
    world.fs.write(LIVE, b"a\n")
    world.start()
    rotate(world, b"b\n")
    world.advance(20)
    assert world.texts() == ["a", "b"]


# --- While it runs ---


@pytest.mark.parametrize("include", GLOBS)
def test_the_plain_file_is_read_by_its_handle_when_it_is_compressed_meanwhile(include: str) -> None:
    """Row 13: the compressed one is not read besides."""
    world = started(include)
    world.pause()
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n")
    world.advance(6)
    squeeze(world, f"{LIVE}.1")
    world.advance(6)
    world.resume()
    world.advance(30)
    rotate(world, b"e\n")
    world.advance(30)
    assert world.texts() == ["a", "b", "c", "d", "e"]
    assert not world.lost


@pytest.mark.parametrize("include", GLOBS)
def test_the_compressed_file_is_read_when_the_plain_one_had_been_closed(include: str) -> None:
    """No handle was left when the output was blocked."""
    world = started(include, limits=Limits(open_files=1))
    world.pause()
    world.fs.write("/var/log/app.log-other", b"")
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n")
    restart(world)
    world.pause()
    squeeze(world, f"{LIVE}.1")
    world.advance(6)
    world.resume()
    world.advance(30)
    assert world.texts() == ["a", "b", "c", "d"]
    assert not world.lost


@pytest.mark.parametrize("include", GLOBS)
def test_a_file_that_is_still_being_compressed_is_waited_for(include: str) -> None:
    """Row 14: the tail is missing until the compressor is done."""
    world = started(include)
    down(world)
    world.fs.write(LIVE, LONG)
    rotate(world, b"d\n")
    packed = world.fs.compress(f"{LIVE}.1", f"{LIVE}.1.gz", part=0.4)
    content = bytes(world.fs.names[f"{LIVE}.1"].data)
    world.fs.unlink(f"{LIVE}.1")
    world.start()
    world.advance(2)
    packed.content, packed.torn = content, False
    world.fs.append(packed, b"more")
    world.advance(30)
    assert len(world.texts()) == 203
    assert world.texts()[-1] == "d"
    assert not world.lost


@pytest.mark.parametrize("include", GLOBS)
def test_a_truncated_compressed_file_is_read_as_far_as_it_goes(include: str) -> None:
    """Row 14: after a while without growth, with a note."""
    world = started(include)
    down(world)
    rotate(world, LONG, b"d\n")
    world.fs.compress(f"{LIVE}.1", f"{LIVE}.1.gz", part=0.5)
    world.fs.unlink(f"{LIVE}.1")
    world.start()
    world.advance(40)
    assert len(world.texts()) == 2 + 100 + 1
    assert "torn" in world.kinds()


@pytest.mark.parametrize("name", [f"{LIVE}.20260205-143045.tmp", f"{LIVE}.20260205-143045.gz.tmp"])
@pytest.mark.parametrize("include", GLOBS)
def test_the_temporary_names_of_a_rotation_are_ignored(include: str, name: str) -> None:
    """Row 84: kubelet died while it compressed."""
    world = started(include)
    rotate(world, b"c\n")
    world.fs.copy(f"{LIVE}.1", name)
    world.advance(20)
    world.settle()
    restart(world)
    world.advance(20)
    assert world.texts() == ["a", "b", "c"]


@pytest.mark.parametrize("include", GLOBS)
def test_a_compressed_file_of_known_content_is_left_alone_when_it_leaves_its_temporary_name(include: str) -> None:
    """Row 84: kubelet compresses to `*.tmp`, removes the plain file last."""
    world = started(include)
    rotate(world, b"c\n")
    world.advance(20)
    world.fs.compress(f"{LIVE}.1", f"{LIVE}.1.tmp", mtime_s=world.fs.wall())
    world.advance(6)
    world.fs.rename(f"{LIVE}.1.tmp", f"{LIVE}.1.gz")
    world.advance(6)
    world.fs.unlink(f"{LIVE}.1")
    world.advance(6)
    rotate(world, b"d\n")
    world.advance(20)
    assert world.texts() == ["a", "b", "c", "d"]


# --- The first run ---


def test_compressed_files_that_the_glob_names_are_read_on_the_very_first_run() -> None:
    """As the plain ones beside them."""
    world = World("/var/log/app.log*")
    world.fs.write(f"{LIVE}.2", b"a\n")
    squeeze(world, f"{LIVE}.2")
    world.fs.now += 1
    world.fs.write(LIVE, b"b\n")
    world.start()
    world.advance(20)
    assert sorted(world.texts()) == ["a", "b"]
    world.settle()
    restart(world)
    world.advance(20)
    assert world.resent == 0
    assert len(world.texts()) == 2


def test_compressed_files_that_the_glob_names_are_left_out_when_start_is_end() -> None:
    """And stay so after a restart."""
    world = World("/var/log/app.log*", start="end")
    world.fs.write(f"{LIVE}.2", LONG)
    squeeze(world, f"{LIVE}.2")
    world.fs.write(LIVE, b"old\n")
    world.start()
    world.fs.write(LIVE, b"new\n")
    world.advance(20)
    world.settle()
    restart(world)
    world.advance(20)
    assert world.texts() == ["new"]


@pytest.mark.parametrize("name", ["app.log.2.lz4", "app.log.2.Z", "app.log.tar.gz"])
def test_what_cannot_be_read_is_left_out_with_a_note(name: str) -> None:
    """Archives of files, and formats that no library of ours reads."""
    world = started("/var/log/app.log*")
    world.fs.write(f"/var/log/{name}", b"\x1f\x8b")
    world.advance(6)
    assert world.kinds() == ["compressed"]
    assert world.texts() == ["a", "b"]


# --- Hostile ones ---


@pytest.mark.parametrize(("code", "cause"), [(errno.EFBIG, "bomb"), (errno.EILSEQ, "corrupt")])
def test_a_bomb_or_a_corrupt_file_is_given_up_with_what_is_left_of_it(code: int, cause: str) -> None:
    """Row 34: once, and not again after a restart."""
    world = World("/var/log/app.log*", limits=Limits(read_size_bytes=5000))
    world.fs.write(f"{LIVE}.2", LONG)
    squeeze(world, f"{LIVE}.2")
    world.failing = lambda read: ReadFailed(read.handle, code, 77) if read.offset + read.size > 15_000 else None
    world.start()
    world.advance(20)
    world.settle()
    restart(world)
    world.advance(20)
    assert [(lost.bytes, lost.cause) for lost in world.lost] == [(77, cause)]
    assert [ended.reason for ended in world.ended] == [cause]
    assert 50 < len(world.texts()) < 200
    assert not world.fs.handles
