"""Programs that log through Python's RotatingFileHandler and TimedRotatingFileHandler: each record arrives once, or is told lost."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kit.fake_elastic import Behaviour, Server
from tests.kit.site import Site, wait_until
from tests.real.rotation_world import RotationWorld, Writer, bytes_of, numbers_on_disk, unblock

SEED = int(os.environ.get("SHIPPER_TEST_SEED", "20260205"))
BLOCKED = [Behaviour("stall")] * 10_000


@pytest.fixture
def world(site: Site) -> Iterator[RotationWorld]:
    """A world with a local output."""
    made = RotationWorld(site)
    yield made
    made.close()


@pytest.fixture
def blocked(site: Site) -> Iterator[RotationWorld]:
    """A world with an output that can be blocked."""
    with Server() as server:
        made = RotationWorld(site, server)
        yield made
        made.close()


def end_exactly(world: RotationWorld, writer: Writer) -> None:
    """Stop the writer; everything must have arrived once."""
    written = writer.stop()
    print(f"seed {SEED}: {len(written)} written, {writer.count} rotations, {world.kills} kills")
    world.check_exact(written)


def rotating(world: RotationWorld, *, backups: int, per_s: int = 1000, max_bytes: int = 30_000) -> Writer:
    """A program with a RotatingFileHandler."""
    return world.begin("handlers", "--per-s", per_s, "--max-bytes", max_bytes, "--backups", backups)


# --- Nothing is deleted unread


@pytest.mark.parametrize("include", ["*.log", "*.log*"])
def test_each_record_arrives_once_over_a_chain_of_five_backups(world: RotationWorld, include: str) -> None:
    """Tens of rotations, some four a second: files are renamed five times and deleted, each within two seconds."""
    world.configure(include)
    writer = rotating(world, backups=5)
    wait_until(lambda: writer.count >= 20, "20 rotations")
    end_exactly(world, writer)


@pytest.mark.parametrize("include", ["*.log", "*.log*"])
def test_each_record_arrives_once_when_killed_while_a_chain_grows(world: RotationWorld, include: str) -> None:
    """Four kills at random moments, with rotations before and while it is down; all backups are kept."""
    rng = random.Random(f"{SEED} chain {include}")
    world.configure(include)
    writer = rotating(world, backups=300)
    world.kill_over_rotations(rng, lambda: writer.count, 4)
    wait_until(lambda: writer.count >= 20, "20 rotations")
    end_exactly(world, writer)


@pytest.mark.parametrize(("include", "kills"), [("*.log", 0), ("*.log*", 2)])
def test_each_record_arrives_once_when_files_rotate_by_the_second(world: RotationWorld, include: str, kills: int) -> None:
    """TimedRotatingFileHandler gives names with date and time; with kills at least two of them come while the agent is down."""
    rng = random.Random(f"{SEED} timed {include} {kills}")
    world.configure(include)
    writer = world.begin("handlers", "--per-s", 1000)
    world.kill_over_rotations(rng, lambda: writer.count, kills)
    wait_until(lambda: writer.count >= 5, "5 rotations")
    end_exactly(world, writer)


# --- Backups that are too few


def check_loss(world: RotationWorld, writer: Writer) -> tuple[int, int]:
    """Return the bytes of what is missing and the bytes told lost, which are no more, stand in log and account, and have a cause."""
    written = writer.stop()
    on_disk = numbers_on_disk(world.site.logs)
    wait_until(lambda: world.check_running() and on_disk <= world.numbers().keys(), "what is on the disk to arrive")
    told = world.stop()["lost_bytes"]
    logged: Counter[str] = Counter()
    for cause, count in world.losses():
        logged[cause] += count
    rest = world.site.once().account  # what was being searched for when the agent was stopped is given up here
    seen = world.numbers()
    missing = bytes_of(set(written) - seen.keys())
    lost = sum(told.values()) + sum(rest["lost_bytes"].values())
    print(f"seed {SEED}: {len(written)} written, {missing} bytes of them missing; told {told}, then {rest['lost_bytes']}")
    assert not seen.keys() - set(written) and max(seen.values()) == 1
    assert logged == told and all(told)
    assert 0 < lost <= missing
    return missing, lost


@pytest.mark.parametrize("include", ["*.log", "*.log*"])
def test_bytes_given_up_are_told_when_backups_are_deleted_and_may_not_be_held(blocked: RotationWorld, include: str) -> None:
    """The output is blocked, one backup is kept and deleted files may hold 20 KB: what goes beyond it is counted to the byte."""
    assert blocked.server is not None
    blocked.configure(include, hold="20KB")
    writer = rotating(blocked, backups=1, per_s=500, max_bytes=40_000)
    blocked.server.script[:] = BLOCKED
    before = writer.count
    wait_until(lambda: writer.count >= before + 8, "8 rotations")
    unblock(blocked.server)
    missing, lost = check_loss(blocked, writer)
    assert lost == missing


def test_bytes_known_and_deleted_are_told_when_backups_are_too_few_while_down(blocked: RotationWorld) -> None:
    """What the agent had seen and not delivered when it was killed is counted when the files are gone at the next start."""
    assert blocked.server is not None
    writer = rotating(blocked, backups=1, per_s=500, max_bytes=40_000)
    blocked.server.script[:] = BLOCKED
    before = writer.count
    wait_until(lambda: writer.count >= before + 1, "a rotation")
    blocked.kill()
    before = writer.count
    wait_until(lambda: writer.count >= before + 4, "4 rotations while the agent is down")
    unblock(blocked.server)
    blocked.start()
    arrived = blocked.arrived()
    wait_until(lambda: blocked.arrived() > arrived, "documents after the start")
    check_loss(blocked, writer)
