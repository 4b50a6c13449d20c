"""The rules of the tail, one by one, against a file system in memory."""

from __future__ import annotations

import errno

import pytest

from shipper.source.events import Listed, Open, Refusal, Resume
from shipper.source.reading import Limits
from tests.kit.tail_world import World

LIVE = "/var/log/app.log"
GRACE = 6.0


def started(*include: str, text: bytes = b"a\nb\n", **config: object) -> World:
    """A world whose agent has read `text` in the live file."""
    world = World(*(include or (LIVE,)), **config)
    world.fs.write(LIVE, text)
    world.start()
    return world


def rotate(world: World, *texts: bytes) -> None:
    """Rotate by renaming, once for each text, which goes to the new file. Each in a moment of its own."""
    for text in texts:
        number = 1
        while f"{LIVE}.{number}" in world.fs.names:
            number += 1
        for last in range(number, 1, -1):
            world.fs.rename(f"{LIVE}.{last - 1}", f"{LIVE}.{last}")
        world.fs.rename(LIVE, f"{LIVE}.1")
        world.fs.now += 0.01
        world.fs.write(LIVE, text)
        world.fs.now += 0.01


def copytruncate(world: World, copy: str = f"{LIVE}.1") -> None:
    """Copy the live file away and truncate it."""
    world.fs.now += 0.01
    world.fs.copy(LIVE, copy)
    world.fs.truncate(LIVE)
    world.fs.now += 0.01


def restart(world: World) -> None:
    """Crash and start from the last checkpoint."""
    world.crash()
    world.start()


# --- Discovery ---


def test_a_file_is_read_from_the_beginning_when_the_source_starts() -> None:
    """The default start."""
    assert started().texts() == ["a", "b"]


def test_the_identity_is_minted_and_told_before_the_first_byte_is_fed() -> None:
    """So that it can be durable before it is used."""
    world = started()
    assert [began.minted for began in world.began] == [True]
    assert world.saved()[0].offset == 0


def test_files_of_the_first_scan_are_read_from_their_end_when_start_says_so() -> None:
    """`start: end` leaves out what was there, and only that."""
    world = started(start="end")
    world.fs.write(LIVE, b"c\n")
    world.fs.write("/var/log/app.log", b"")
    world.advance(6)
    assert world.texts() == ["c"]


def test_files_found_later_are_read_from_byte_0_when_start_is_end() -> None:
    """A pod's file that appears must be read whole."""
    world = started("/var/log/*.log", start="end")
    world.fs.write("/var/log/new.log", b"first\n")
    world.advance(6)
    assert world.texts() == ["first"]


def test_the_replacement_after_a_rename_is_read_from_0_when_start_is_end() -> None:
    """Whatever `start` says."""
    world = started(start="end")
    rotate(world, b"new\n")
    world.advance(6)
    assert world.texts() == ["new"]


def test_start_end_does_not_count_when_there_is_a_checkpoint() -> None:
    """What came while the agent was down is not left out."""
    world = started("/var/log/*.log", start="end")
    world.save()
    world.crash()
    world.fs.write("/var/log/late.log", b"late\n")
    world.start()
    assert world.texts() == ["late"]


def test_an_old_file_is_left_out_until_it_changes_when_ignore_older_is_set() -> None:
    """It is read from its first byte then."""
    world = World(LIVE, ignore_older="1m")
    world.fs.write(LIVE, b"old\n")
    world.fs.now += 120
    world.start()
    assert world.texts() == []
    world.fs.write(LIVE, b"new\n")
    world.advance(6)
    assert world.texts() == ["old", "new"]


def test_an_old_file_is_read_on_when_it_has_unfinished_state() -> None:
    """`ignore_older` is for files that were never begun."""
    world = started(ignore_older="1m")
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"c\n")
    world.fs.now += 300
    world.start()
    assert world.texts() == ["a", "b", "c"]


def test_a_file_of_a_few_bytes_is_read_at_once() -> None:
    """No waiting for a full fingerprint (vector#2701, beats#44749)."""
    assert started(text=b"x\n").texts() == ["x"]


def test_nothing_is_minted_while_a_file_is_empty() -> None:
    """An empty file shows nothing to know it by."""
    world = started(text=b"")
    assert not world.began
    world.fs.write(LIVE, b"a\n")
    world.advance(6)
    assert world.texts() == ["a"]


def test_files_with_an_equal_first_kib_are_distinct() -> None:
    """The same header in many files (otel-contrib#19765)."""
    world = World("/var/log/*.log")
    for number in range(20):
        world.fs.write(f"/var/log/{number:02d}.log", b"#" * 2000 + b"\n%d\n" % number)
    world.start()
    assert sorted(world.texts()[1::2]) == sorted(str(number) for number in range(20))
    assert len({began.stream.id for began in world.began}) == 20


def test_hard_links_are_read_once() -> None:
    """Two names, one inode."""
    world = World("/var/log/*.log")
    world.fs.write("/var/log/b.log", b"once\n")
    world.fs.link("/var/log/b.log", "/var/log/a.log")
    world.start()
    world.advance(11)
    assert world.texts() == ["once"]
    assert "renamed" not in world.kinds()


def test_a_link_made_later_is_no_rename() -> None:
    """The name it had is the name it keeps."""
    world = started("/var/log/*.log")
    world.fs.link(LIVE, "/var/log/a.log")
    world.advance(11)
    assert world.texts() == ["a", "b"]
    assert "renamed" not in world.kinds()


def test_refused_paths_are_noted_once() -> None:
    """Not at every scan."""
    world = started()
    for _ in range(2):
        world.send(Listed([], [Refusal("/var/log/fifo", "a FIFO")], world.fs.wall(), complete=False))
    assert world.kinds().count("refused") == 1


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


def test_a_compressed_file_is_left_out_with_a_note() -> None:
    """For now."""
    world = started("/var/log/app.log*")
    world.fs.write(f"{LIVE}.2.gz", b"\x1f\x8b")
    world.advance(6)
    assert world.kinds() == ["compressed"]
    assert world.texts() == ["a", "b"]


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


# --- Restart ---


def test_nothing_is_read_again_when_all_was_settled() -> None:
    """Offset and identity are kept."""
    world = started()
    world.settle()
    restart(world)
    world.fs.write(LIVE, b"c\n")
    world.advance(6)
    assert world.texts() == ["a", "b", "c"]
    assert world.resent == 0
    assert len({began.stream.id for began in world.began}) == 1


def test_the_same_ids_are_fed_again_when_nothing_was_settled() -> None:
    """Collapsed by the output."""
    world = started()
    world.save()
    restart(world)
    assert world.texts() == ["a", "b"]
    assert world.resent == 2


def test_siblings_are_found_and_read_in_order_when_files_rotated_while_the_agent_was_down() -> None:
    """Three times, one of them unseen under any live name."""
    world = started()
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"c\n")
    rotate(world, b"d\n", b"e\n", b"f\n")
    world.start()
    assert world.texts() == ["a", "b", "c", "d", "e", "f"]


def test_siblings_read_before_are_not_read_again_after_a_restart() -> None:
    """Known by state."""
    world = started("/var/log/app.log*")
    rotate(world, b"c\n", b"d\n")
    world.advance(12)
    world.settle()
    restart(world)
    world.advance(12)
    assert world.texts() == ["a", "b", "c", "d"]
    assert world.resent == 0


def test_a_file_copied_elsewhere_is_recognised_when_its_inode_is_another_after_a_restart() -> None:
    """Fingerprint and guard are enough under its own name."""
    world = started()
    world.settle()
    world.crash()
    world.fs.write(LIVE, b"c\n")
    world.fs.create("/var/log/holder")
    world.fs.copy(LIVE, "/tmp/copy")
    world.fs.rename("/tmp/copy", LIVE)
    world.start()
    assert world.texts() == ["a", "b", "c"]
    assert world.resent == 0


def test_a_new_identity_is_minted_when_a_new_file_has_the_old_inode() -> None:
    """Inode reuse while down (beats#1341, vector#23076); the bytes nobody can give are lost and counted."""
    world = started(text=b"a\nb\nnever settled\n")
    world.settled = {world.began[0].stream.id: 4}
    world.save()
    world.crash()
    number = world.fs.names[LIVE].number
    world.fs.unlink(LIVE)
    assert world.fs.create(LIVE).number == number
    world.fs.write(LIVE, b"other content, and longer than before\n")
    world.start()
    world.advance(1)
    assert world.texts()[-1] == "other content, and longer than before"
    assert world.began[-1].minted
    assert [(lost.bytes, lost.cause) for lost in world.lost] == [(14, "vanished")]


def test_a_truncated_and_regrown_file_is_new_when_that_happened_while_the_agent_was_down() -> None:
    """The guard tells, though first KiB and size would do (loki PR 924)."""
    header = b"#" * 1100 + b"\n"
    world = started(text=header + b"a\nb\n")
    world.settle()
    world.crash()
    world.fs.truncate(LIVE)
    world.fs.write(LIVE, header + b"x\ny\nz\n")
    world.start()
    assert world.texts()[-3:] == ["x", "y", "z"]
    assert not world.conflicts


def test_the_rest_is_lost_with_its_bytes_when_a_file_vanished_while_the_agent_was_down() -> None:
    """Noted, counted, and the source goes on."""
    world = started(text=b"a\nb\nccc\n")
    world.settled = {world.began[0].stream.id: 4}
    world.save()
    world.crash()
    world.fs.unlink(LIVE)
    world.start()
    world.advance(1)
    assert [(lost.bytes, lost.cause) for lost in world.lost] == [(4, "vanished")]
    assert "lost" in world.kinds()


def test_a_cut_is_honoured_when_the_file_is_read_again() -> None:
    """A record that was cut by time is the same record after a crash, though its line went on."""
    world = started(text=b"a\nhalf")
    rotate(world, b"c\n")
    world.advance(12)
    assert "half" in world.texts()
    world.crash()
    world.fs.write(f"{LIVE}.1", b" and the rest\n")
    world.start()
    world.advance(12)
    assert not world.conflicts
    assert sorted(world.texts()) == [" and the rest", "a", "c", "half"]


# --- Truncation and copies ---


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


# --- Deletion ---


def test_a_deleted_file_is_read_to_its_end_by_its_handle() -> None:
    """Then closed after a grace, and forgotten when it is settled."""
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
    assert [state.path for state in world.saved()] == [LIVE]


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


# --- Handles, errors, pace ---


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


# --- Drain ---


def test_everything_is_read_unterminated_lines_included_when_drained() -> None:
    """`--once`."""
    world = World("/var/log/*.log")
    world.fs.write("/var/log/a.log", b"a\nhalf")
    world.fs.write("/var/log/b.log", b"b\n")
    world.start()
    world.drain()
    assert sorted(world.texts()) == ["a", "b", "half"]
    assert world.drained


def test_drained_is_said_when_there_is_nothing_to_read() -> None:
    """No files at all."""
    world = World(LIVE)
    world.start()
    world.drain()
    assert world.drained


def test_a_second_drain_finds_nothing_more_when_all_was_settled() -> None:
    """The checkpoint says so, cut line and all."""
    world = started(text=b"a\nhalf")
    world.drain()
    world.settle()
    restart(world)
    world.drain()
    assert world.texts() == ["a", "half"]
    assert world.resent == 0
    assert world.drained


def test_a_drained_run_goes_on_behind_the_cut_when_the_file_grew() -> None:
    """The rest of the line is another record."""
    world = started(text=b"a\nhalf")
    world.drain()
    world.settle()
    world.crash()
    world.fs.write(LIVE, b" rest\nb\n")
    world.start()
    assert world.texts() == ["a", "half", " rest", "b"]


# --- The checkpoint ---


def test_the_snapshot_has_the_guard_of_an_earlier_boundary_when_a_feed_settled_in_part() -> None:
    """The offset is exact all the same."""
    world = started(text=b"a\nb\n")
    stream = world.began[0].stream.id
    assert world.tail is not None
    state = world.tail.snapshot({stream: 2})[0]
    assert (state.offset, state.guard_offset) == (2, 0)
    state = world.tail.snapshot({stream: 4})[0]
    assert (state.offset, state.guard_offset) == (4, 4)


def test_the_fingerprint_grows_with_the_file() -> None:
    """Up to 1 KiB."""
    world = started()
    assert world.tail is not None
    assert world.tail.states()[0].fingerprint_length == 4
    world.fs.write(LIVE, b"x" * 2000 + b"\n")
    world.advance(6)
    assert world.tail.states()[0].fingerprint_length == 1024
    world.settle()
    restart(world)
    world.fs.write(LIVE, b"end\n")
    world.advance(6)
    assert world.texts()[-1] == "end"
    assert world.resent == 0


def test_unchanged_states_are_the_same_objects_in_the_next_snapshot() -> None:
    """So that a checkpoint of many idle files costs little."""
    world = started()
    world.settle()
    assert world.tail is not None
    first, second = world.tail.states(), world.tail.states()
    assert first[0] is second[0]


def test_expire_does_nothing_when_nothing_is_due() -> None:
    """The contract of a machine."""
    world = started()
    assert world.tail is not None
    assert list(world.tail.expire(world.fs.now)) == []
    due = world.tail.deadline()
    assert due is not None
    assert due > world.fs.now


def test_one_question_is_outstanding_at_a_time() -> None:
    """However many files there are."""
    world = World("/var/log/*.log")
    for number in range(5):
        world.fs.write(f"/var/log/{number}.log", b"%d\n" % number)
    world.start()
    world.crash()
    world.tail = None
    fresh = World("/var/log/*.log")
    fresh.fs = world.fs
    fresh.start()
    assert fresh.tail is not None
    commands = fresh.tail.handle(Resume(None), 0.0)
    assert sum(isinstance(command, Open) for command in commands) <= 1
