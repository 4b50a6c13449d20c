"""The rules of the tail: which files it finds, and when it is done."""

from __future__ import annotations

from shipper.source.events import Listed, Open, Refusal, Resume
from tests.kit.tail_world import LIVE, World, restart, rotate, started

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
