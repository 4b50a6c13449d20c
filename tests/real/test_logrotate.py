"""Debian's logrotate in each of its modes, and rotation by hand, on a program that goes on writing: each record arrives once."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import program
from tests.kit.fake_elastic import Behaviour, Server
from tests.kit.site import Site, wait_until
from tests.real.rotation_world import WRITERS, RotationWorld, Rotator, Writer, bytes_of, numbers_on_disk, unblock

SEED = int(os.environ.get("SHIPPER_TEST_SEED", "20260205"))
ROTATIONS = 8
PER_S = 500
MODES = {
    "create": ("create",),
    "nocreate": ("nocreate",),
    "compress": ("create", "compress"),
    "delaycompress": ("create", "compress", "delaycompress"),
    "dateext": ("create", "dateext", "dateformat -%Y%m%d-%s"),
    "olddir": ("create", "olddir {logs}/old"),
}
"""The modes in which the program is told to open its file again."""
SPAN_S = {"dateext": (1.02, 1.1)}
"""Names with a date can be told apart by the second at best."""
SPAN_USUAL_S = (0.05, 0.4)


@pytest.fixture
def world(site: Site) -> Iterator[RotationWorld]:
    """A world with a local output."""
    made = RotationWorld(site)
    yield made
    made.close()


class Logrotate:
    """Runs logrotate with a configuration and a state file of its own."""

    def __init__(self, folder: Path, path: Path, words: tuple[str, ...], postrotate: str = "") -> None:
        """Rotate `path`; `postrotate` is a command."""
        self._state, self._config = folder / "logrotate.state", folder / "logrotate.conf"
        lines = [*words, "rotate 1000", *(["postrotate", postrotate, "endscript"] if postrotate else [])]
        self._config.write_text(f'"{path}" {{\n' + "".join(f"  {line}\n" for line in lines) + "}\n")
        self._config.chmod(0o600)
        self._command = [program("logrotate") or "logrotate", "-f", "-s", str(self._state), str(self._config)]

    def __call__(self, _number: int) -> None:
        """Rotate once."""
        done = subprocess.run(self._command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def hanging_up(world: RotationWorld, writer: Writer, mode: str) -> Logrotate:
    """logrotate in a mode, which tells the writer and waits until it has opened its file again."""
    (world.site.logs / "old").mkdir()
    words = tuple(word.format(logs=world.site.logs) for word in MODES[mode])
    hang_up = f"/bin/sh {WRITERS / 'hang_up.sh'} {writer.process.pid} {writer.count_file}"
    return Logrotate(world.site.folder, writer.path, words, hang_up)


def paused(writer: Writer, rotate: Callable[[int], None]) -> Callable[[int], None]:
    """The same with the writer standing meanwhile."""

    def step(number: int) -> None:
        writer.pause()
        try:
            rotate(number)
        finally:
            writer.go_on()

    return step


def once_seen(world: RotationWorld, writer: Writer, rotate: Callable[[int], None]) -> Callable[[int], None]:
    """The same when something of the file that lies there now has arrived."""

    def step(number: int) -> None:
        wanted = len(writer.written()) + PER_S // 10
        wait_until(lambda: world.arrived() >= wanted, "records of this file")
        rotate(number)

    return step


def run_through(world: RotationWorld, writer: Writer, rotator: Rotator, *, rng: random.Random, kills: int) -> None:
    """Rotate as often as it must be, with kills; then everything that was written must have arrived once."""
    world.kill_over_rotations(rng, lambda: rotator.rotations, kills)
    rotator.wait_for(max(ROTATIONS, rotator.rotations + 1))
    rotations = rotator.stop()
    written = writer.stop()
    print(f"seed {SEED}: {len(written)} written, {rotations} rotations, {world.kills} kills")
    world.check_exact(written)


@pytest.mark.needs("logrotate")
@pytest.mark.parametrize("mode", MODES)
def test_each_record_arrives_once_while_logrotate_rotates(world: RotationWorld, mode: str) -> None:
    """The agent runs all the time; lines are written in halves now and then, and the program keeps the old file for a while."""
    rng = random.Random(f"{SEED} {mode}")
    writer = world.begin("appender", "--per-s", PER_S, "--halves", "--linger", 0.2 if mode in ("create", "olddir") else 0.0)
    rotate = hanging_up(world, writer, mode)
    if mode == "olddir":
        rotate = once_seen(world, writer, rotate)  # in another directory nobody looks for a file that nobody saw
    run_through(world, writer, Rotator(rotate, rng, SPAN_S.get(mode, SPAN_USUAL_S)), rng=rng, kills=0)


@pytest.mark.needs("logrotate")
@pytest.mark.parametrize("mode", MODES)
def test_each_record_arrives_once_when_the_agent_is_killed_and_logrotate_goes_on(world: RotationWorld, mode: str) -> None:
    """Two kills at random moments, each with two rotations or more before the next start."""
    rng = random.Random(f"{SEED} {mode} kills")
    if mode == "olddir":
        world.configure("*.log", "old/*")  # in another directory nobody looks for a file that went away while the agent was down
    writer = world.begin("appender", "--per-s", PER_S, "--halves")
    rotator = Rotator(hanging_up(world, writer, mode), rng, SPAN_S.get(mode, SPAN_USUAL_S))
    run_through(world, writer, rotator, rng=rng, kills=2)


@pytest.mark.needs("logrotate")
@pytest.mark.parametrize("include", ["*.log", "*.log*"])
@pytest.mark.parametrize("kills", [0, 2])
def test_each_record_arrives_once_with_copytruncate_when_nobody_writes_meanwhile(
    world: RotationWorld, include: str, kills: int
) -> None:
    """Copies are known as such, also where the glob matches them; what was not read before the truncation is read in the copy."""
    rng = random.Random(f"{SEED} copytruncate {include} {kills}")
    world.configure(include)
    writer = world.begin("appender", "--per-s", PER_S)
    logrotate = Logrotate(world.site.folder, writer.path, ("copytruncate",))
    run_through(world, writer, Rotator(paused(writer, logrotate), rng, SPAN_USUAL_S), rng=rng, kills=kills)


@pytest.mark.needs("logrotate")
def test_only_what_copytruncate_destroyed_is_missing_when_somebody_writes_meanwhile(world: RotationWorld) -> None:
    """What is in a copy or in the file has arrived; a loss that is told of is no larger than what the race took."""
    rng = random.Random(f"{SEED} race")
    writer = world.begin("appender", "--per-s", 4 * PER_S)
    rotator = Rotator(Logrotate(world.site.folder, writer.path, ("copytruncate",)), rng, (0.2, 0.4))
    rotator.wait_for(ROTATIONS)
    rotator.stop()
    written = writer.stop()
    on_disk = numbers_on_disk(world.site.logs)
    world.wait_for_documents(len(on_disk))
    wait_until(lambda: on_disk <= world.numbers().keys(), "what is on the disk to arrive")
    account = world.stop()
    seen = world.numbers()
    missing = set(written) - seen.keys()
    lost, told = sum(account["lost_bytes"].values()), world.losses()
    print(f"seed {SEED}: {len(written)} written, {len(written) - len(on_disk)} in no copy, {len(missing)} missing, {told} told")
    assert not missing & on_disk and not seen.keys() - set(written)
    assert max(seen.values()) == 1
    assert sum(count for _, count in told) == lost <= bytes_of(missing)
    assert bytes_of(missing) <= 0.1 * bytes_of(written)


@pytest.mark.parametrize("kills", [0, 2])
def test_each_record_arrives_once_when_a_script_moves_touches_and_compresses(world: RotationWorld, kills: int) -> None:
    """Event Kit's telemetry, rotated by hand; the program opens its file for every line."""
    rng = random.Random(f"{SEED} by hand {kills}")
    world.configure("*.jsonl")
    writer = world.begin("appender", "--per-s", PER_S, "--each", name="telemetry.jsonl")
    command = ["/bin/sh", str(WRITERS / "by_hand.sh"), str(writer.path)]
    rotator = Rotator(lambda number: subprocess.run([*command, str(number)], check=True).check_returncode(), rng, (0.0, 0.2))
    run_through(world, writer, rotator, rng=rng, kills=kills)


# --- With an output that takes nothing


@pytest.mark.needs("logrotate")
@pytest.mark.parametrize("kills", [0, 1])
@pytest.mark.parametrize("mode", ["create", "delaycompress", "copytruncate"])
def test_nothing_is_missing_after_rotations_while_the_output_is_blocked(site: Site, mode: str, kills: int) -> None:
    """Four rotations and more happen while every request is refused, or never answered; then all of it arrives, also with a kill."""
    rng = random.Random(f"{SEED} blocked {mode} {kills}")
    with Server() as server:
        world = RotationWorld(site, server)
        try:
            writer = world.begin("appender", "--per-s", PER_S)
            server.script[:] = [Behaviour("429" if mode == "create" else "stall")] * 10_000
            if mode == "copytruncate":
                rotate = paused(writer, Logrotate(site.folder, writer.path, ("copytruncate",)))
            else:
                rotate = hanging_up(world, writer, mode)
            rotator = Rotator(rotate, rng, SPAN_USUAL_S)
            arrived, written = world.arrived(), len(writer.written())
            rotator.wait_for(4)
            world.kill_over_rotations(rng, lambda: rotator.rotations, kills)
            assert world.arrived() == arrived and len(writer.written()) > written + 100
            unblock(server)
            rotator.wait_for(rotator.rotations + 2)
            rotator.stop()
            world.check_exact(writer.stop())
        finally:
            world.close()
