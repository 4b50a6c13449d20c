"""The state directory: one agent at a time, whole files only, refusals that say what to do."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge import store
from shipper.model.errors import HostError
from tests.kit.site import ROOT

CRASHING = """
import os, sys
steps = []
def step(name, real):
    def call(*arguments, **named):
        steps.append(name)
        if len(steps) == int(sys.argv[2]):
            os._exit(9)
        return real(*arguments, **named)
    return call
os.fsync, os.replace = step("fsync", os.fsync), step("replace", os.replace)
import asyncio, pathlib
from shipper.edge import store
asyncio.run(store.save(pathlib.Path(sys.argv[1]), b"new" * 1000))
print(*steps)
"""
"""Saves a file, and ends the process before the step of that number: fsync of the file, rename, fsync of the directory."""


def crash(path: Path, before_step: int) -> subprocess.CompletedProcess[str]:
    """Save in a process that ends before a step; 0: it does not."""
    command = [sys.executable, "-c", CRASHING, str(path), str(before_step)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("before_step", "expected"), [(1, b"old"), (2, b"old"), (3, b"new" * 1000)])
def test_file_is_the_old_or_the_new_one_when_the_process_dies_at_a_step(
    tmp_path: Path, before_step: int, expected: bytes
) -> None:
    """Killed before the fsync, before the rename, and after it: never a mixture; and the next save works."""
    path = tmp_path / "checkpoint"
    path.write_bytes(b"old")
    assert crash(path, before_step).returncode == 9
    assert path.read_bytes() == expected
    asyncio.run(store.save(path, b"next"))
    assert path.read_bytes() == b"next"
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_file_is_fsynced_before_it_is_renamed_and_its_directory_after(tmp_path: Path) -> None:
    """A rename that reaches the disk before the data would leave an empty file after a power cut (ext4, delayed allocation)."""
    assert crash(tmp_path / "checkpoint", 0).stdout.split() == ["fsync", "replace", "fsync"]
    assert (tmp_path / "checkpoint").read_bytes() == b"new" * 1000


def test_save_raises_and_keeps_the_old_file_when_there_is_no_room(tmp_path: Path) -> None:
    """The old checkpoint stands as it was."""
    path = tmp_path / "checkpoint"
    path.write_bytes(b"old")
    (tmp_path / ".checkpoint.new").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        asyncio.run(store.save(path, b"new"))
    assert path.read_bytes() == b"old"


def test_directory_is_owned_by_one_agent_until_it_is_closed(tmp_path: Path) -> None:
    """The second one is refused and leaves no descriptor behind; afterwards it may."""
    first, second = store.Store(tmp_path / "state"), store.Store(tmp_path / "state")
    first.open()
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(HostError, match="another agent owns the state directory"):
        second.open()
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
    first.close()
    first.close()
    second.open()
    second.close()


def test_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Checkpoints name paths, and the key makes hashes comparable: nobody else reads them."""
    held = store.Store(tmp_path / "a" / "state")
    held.open()
    held.close()
    assert stat.S_IMODE(held.directory.stat().st_mode) == 0o700
    assert [entry.name for entry in held.directory.iterdir()] == ["lock"]


def test_directory_that_cannot_be_made_is_refused_with_its_path(tmp_path: Path) -> None:
    """A file in the way: the path and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=rf"{tmp_path}/file/state cannot be used: Not a directory\n    Progress is kept there"):
        store.Store(tmp_path / "file" / "state").open()


def test_hash_key_is_made_once_and_kept_secret(tmp_path: Path) -> None:
    """32 random bytes, mode 0600, the same ever after; another directory has another."""
    held = store.Store(tmp_path)
    key = held.hash_key()
    assert (len(key), stat.S_IMODE((tmp_path / "redact.key").stat().st_mode)) == (32, 0o600)
    assert store.Store(tmp_path).hash_key() == key
    (tmp_path / "other").mkdir()
    assert store.Store(tmp_path / "other").hash_key() != key


def test_hash_key_of_another_length_is_refused_and_stays(tmp_path: Path) -> None:
    """A torn or foreign key is not replaced in silence: hashes would no longer match."""
    (tmp_path / "redact.key").write_bytes(b"short")
    with pytest.raises(HostError, match="does not hold 32 bytes"):
        store.Store(tmp_path).hash_key()
    assert (tmp_path / "redact.key").read_bytes() == b"short"


def test_place_is_one_for_each_pipeline_and_destination(tmp_path: Path) -> None:
    """Names that look alike do not share progress; credentials are not in a destination, so not in a path."""
    held = store.Store(tmp_path)
    wanted = [
        ("a", "local:/x"),
        ("a", "local:/y"),
        ("b", "local:/x"),
        ("a-b", "x"),
        ("a_b", "x"),
        ("a", "x" * 300),
        ("a", "x" * 301),
    ]
    places = [held.place(*one) for one in wanted]
    assert len(set(places)) == len(wanted)
    assert all(path.is_dir() and path.parent.parent == tmp_path for path in places)
    assert places == [held.place(*one) for one in wanted]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SHIPPER_STATE": "/s", "STATE_DIRECTORY": "/t"}, "/s"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"SHIPPER_STATE": "", "STATE_DIRECTORY": "/t"}, "/t"),
    ],
)
def test_default_directory_is_named_by_the_environment(env: dict[str, str], expected: str) -> None:
    """`$SHIPPER_STATE`, then systemd's `$STATE_DIRECTORY`, of which the first counts; empty is not set."""
    assert store.default_directory(env) == Path(expected)


@given(st.binary(max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))))
def test_any_path_can_be_written_as_text_and_read_back(path: str) -> None:
    """Law: unquoted(quoted(path)) == path, and what is quoted can be encoded."""
    quoted = store.quoted(path)
    quoted.encode()
    assert store.unquoted(quoted) == path
    assert quoted == path or "\0" in quoted


def test_rules_are_kept_by_key_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    """Rules of former versions do not pile up: the newest eight stay."""
    cache = store.RuleCache(tmp_path / "rules")
    assert cache.get("k") is None
    for number in range(10):
        cache.put(f"v{number}/x", bytes([number]))
        os.utime(tmp_path / "rules" / f"v{number}-x.hsdb", (number, number))
    assert [cache.get(f"v{number}/x") for number in range(10)] == [None, None, *(bytes([number]) for number in range(2, 10))]
    cache.put("v9/x", b"again")
    assert cache.get("v9/x") == b"again"


def test_rules_that_cannot_be_kept_are_no_error(tmp_path: Path) -> None:
    """No room, no right: the next start is slower, that is all; and nothing half is left."""
    (tmp_path / "file").write_text("")
    cache = store.RuleCache(tmp_path / "file")
    cache.put("k", b"data")
    assert cache.get("k") is None
    (tmp_path / "rules" / "k.hsdb").mkdir(parents=True)
    store.RuleCache(tmp_path / "rules").put("k", b"data")
    assert store.RuleCache(tmp_path / "rules").get("k") is None


def test_machine_id_is_the_same_every_time_and_not_the_one_of_the_system() -> None:
    """machine-id(5): the id itself is confidential, so only its hash leaves the machine."""
    assert store.machine_id() == store.machine_id()
    assert len(store.machine_id()) == 32
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        assert not path.exists() or store.machine_id() != path.read_text().strip()
