"""The rules of going on after a restart."""

from __future__ import annotations

from tests.kit.tail_world import LIVE, restart, rotate, started


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
