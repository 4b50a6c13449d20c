"""The hands of the file source, on a real file system."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import zstandard

from shipper.config.fields import FilePath
from shipper.edge import inflate
from shipper.edge.files import IDLE_S, MANY, SHARE, FileHands, open_file_budget
from shipper.source.events import (
    Close,
    Command,
    Consumed,
    Drain,
    Entry,
    Feed,
    Got,
    Listed,
    ListSiblings,
    Lost,
    Open,
    Opened,
    OpenFailed,
    Read,
    ReadFailed,
    Resume,
    Scan,
    SiblingsListed,
    StreamState,
)  # fmt: skip
from shipper.source.file import File
from shipper.source.tail import Tail

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def hands_for(*include: object, **config: object) -> FileHands:
    """Hands for globs; times stand still."""
    return FileHands(File.Config(include=[FilePath(str(path)) for path in include], **config), wall=lambda: 1000.0)


def scan(hands: FileHands) -> Listed:
    """One scan."""
    (event,) = hands.perform(Scan())
    assert isinstance(event, Listed)
    return event


def open_entry(hands: FileHands, entry: Entry) -> Opened | OpenFailed:
    """Open what a scan showed."""
    (event,) = hands.perform(Open(entry.path, entry.dev, entry.ino))
    assert isinstance(event, (Opened, OpenFailed))
    return event


def test_a_scan_reports_regular_files_with_what_stat_says(tmp_path: Path) -> None:
    """Sorted within a directory, by real path."""
    for name in ("b.log", "a.log", "c.txt"):
        (tmp_path / name).write_text(name)
    listed = scan(hands_for(tmp_path / "*.log"))
    status = (tmp_path / "a.log").stat()
    assert listed.entries[0] == Entry(str(tmp_path / "a.log"), status.st_dev, status.st_ino, 5, status.st_mtime)
    assert [os.path.basename(entry.path) for entry in listed.entries] == ["a.log", "b.log"]
    assert (listed.wall_s, listed.complete, list(listed.refused)) == (1000.0, True, [])


def test_unchanged_files_are_reported_as_the_same_objects(tmp_path: Path) -> None:
    """Which makes comparing scans cheap."""
    (tmp_path / "a.log").write_text("a")
    hands = hands_for(tmp_path / "*.log")
    first, second = scan(hands), scan(hands)
    assert first.entries[0] is second.entries[0]
    (tmp_path / "a.log").write_text("aa")
    assert scan(hands).entries[0].size == 2


def test_excluded_files_are_left_out(tmp_path: Path) -> None:
    """By name or by path, also where a link leads to one."""
    for name in ("a.log", "b.log", "secret.log"):
        (tmp_path / name).write_text(name)
    os.symlink(tmp_path / "secret.log", tmp_path / "link.log")
    listed = scan(hands_for(tmp_path / "*.log", exclude=[FilePath("b.*"), FilePath(f"{tmp_path}/secret.log")]))
    assert [os.path.basename(entry.path) for entry in listed.entries] == ["a.log"]


def test_a_link_is_reported_as_what_it_leads_to_and_once(tmp_path: Path) -> None:
    """The real path is the file's name."""
    (tmp_path / "pods").mkdir()
    (tmp_path / "pods" / "0.log").write_text("x\n")
    (tmp_path / "containers").mkdir()
    os.symlink(tmp_path / "pods" / "0.log", tmp_path / "containers" / "a.log")
    os.symlink(tmp_path / "pods" / "0.log", tmp_path / "containers" / "b.log")
    hands = hands_for(tmp_path / "containers" / "*.log", roots=[FilePath(str(tmp_path / "pods"))])
    assert [entry.path for entry in scan(hands).entries] == [str(tmp_path / "pods" / "0.log")]
    assert str(tmp_path / "pods") in hands.directories
    assert str(tmp_path / "containers") in hands.directories


def test_a_link_out_of_the_roots_is_refused(tmp_path: Path) -> None:
    """/etc/shadow in a log directory; its directory is not watched either."""
    os.symlink("/etc/passwd", tmp_path / "evil.log")
    hands = hands_for(tmp_path / "*.log")
    listed = scan(hands)
    assert not listed.entries
    assert "roots" in listed.refused[0].reason
    assert "/etc" not in hands.directories


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "directory"])
def test_what_is_no_regular_file_is_refused_and_never_opened(tmp_path: Path, kind: str) -> None:
    """Opening a FIFO could block."""
    place = tmp_path / "x.log"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(place))
    elif kind == "device":
        os.symlink("/dev/null", place)
    else:
        place.mkdir()
    hands = hands_for(place, roots=[FilePath("/dev")])
    listed = scan(hands)
    assert not listed.entries
    assert listed.refused[0].path == str(place)
    status = os.stat(place)
    failed = open_entry(hands, Entry(str(place), status.st_dev, status.st_ino, 0, 0.0))
    assert isinstance(failed, OpenFailed)


def test_a_file_that_became_a_fifo_is_refused_without_blocking(tmp_path: Path) -> None:
    """Swapped between the scan and the open."""
    place = tmp_path / "x.log"
    place.write_text("x\n")
    hands = hands_for(place)
    entry = scan(hands).entries[0]
    place.unlink()
    os.mkfifo(place)
    assert isinstance(open_entry(hands, entry), OpenFailed)


def test_a_path_component_that_became_a_link_is_refused(tmp_path: Path) -> None:
    """Nothing beneath the root is reached through links."""
    (tmp_path / "logs" / "app").mkdir(parents=True)
    (tmp_path / "logs" / "app" / "x.log").write_text("x\n")
    (tmp_path / "other").mkdir()
    hands = hands_for(tmp_path / "logs" / "**" / "*.log")
    entry = scan(hands).entries[0]
    os.rename(tmp_path / "logs" / "app", tmp_path / "moved")
    os.symlink(tmp_path / "moved", tmp_path / "logs" / "app")
    failed = open_entry(hands, entry)
    assert isinstance(failed, OpenFailed)
    assert failed.errno in (errno.ELOOP, errno.ENOTDIR)


def test_a_path_outside_the_roots_is_not_opened(tmp_path: Path) -> None:
    """Whoever asks."""
    status = os.stat("/etc/passwd")
    failed = open_entry(hands_for(tmp_path / "*.log"), Entry("/etc/passwd", status.st_dev, status.st_ino, 1, 0.0))
    assert isinstance(failed, OpenFailed)
    assert failed.errno == errno.EPERM


def test_another_inode_at_the_path_is_told_as_stale(tmp_path: Path) -> None:
    """It was rotated between the scan and the open."""
    place = tmp_path / "x.log"
    place.write_text("x\n")
    hands = hands_for(place)
    entry = scan(hands).entries[0]
    os.rename(place, tmp_path / "x.log.1")
    place.write_text("y\n")
    failed = open_entry(hands, entry)
    assert isinstance(failed, OpenFailed)
    assert failed.errno == errno.ESTALE


def test_a_file_is_opened_read_and_closed(tmp_path: Path) -> None:
    """Head, bytes anywhere, size and links as they are now."""
    place = tmp_path / "x.log"
    place.write_bytes(bytes(range(256)) * 8)
    hands = hands_for(place)
    opened = open_entry(hands, scan(hands).entries[0])
    assert isinstance(opened, Opened)
    assert (opened.size, opened.head) == (2048, bytes(range(256)) * 4)
    (got,) = hands.perform(Read(opened.handle, 10, 5))
    assert got == Got(opened.handle, 10, bytes(range(10, 15)), 2048, 1)
    place.unlink()
    (got,) = hands.perform(Read(opened.handle, 2040, 100))
    assert isinstance(got, Got)
    assert (len(got.data), got.nlink) == (8, 0)
    assert list(hands.perform(Close(opened.handle))) == []
    assert list(hands.perform(Read(opened.handle, 0, 1))) == [ReadFailed(opened.handle, errno.EBADF)]


def test_files_do_not_stay_open_when_opening_is_refused(tmp_path: Path) -> None:
    """No descriptor is left behind."""
    place = tmp_path / "x.log"
    place.write_text("x\n")
    hands = hands_for(place)
    entry = scan(hands).entries[0]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        hands.perform(Open(entry.path, entry.dev, entry.ino + 1))
    assert len(os.listdir("/proc/self/fd")) == before
    open_entry(hands, entry)
    hands.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_permission_denied_is_told_with_its_errno(tmp_path: Path) -> None:
    """Where the user is root, everything may be read; then the file is."""
    place = tmp_path / "x.log"
    place.write_text("x\n")
    hands = hands_for(place)
    entry = scan(hands).entries[0]
    place.chmod(0o000)
    event = open_entry(hands, entry)
    if os.geteuid() == 0:
        assert isinstance(event, Opened)
    else:
        assert isinstance(event, OpenFailed)
        assert event.errno == errno.EACCES


def test_siblings_are_the_files_with_related_names(tmp_path: Path) -> None:
    """Links, directories and other programs' files are not among them."""
    for name in ("app.log", "app.log.1", "app.log-20260205", "app-1.log", "app.log.2.gz", "other.log", "app-web.log"):
        (tmp_path / name).write_text(name)
    os.symlink(tmp_path / "app.log", tmp_path / "app.log.9")
    (tmp_path / "app.log.d").mkdir()
    hands = hands_for(tmp_path / "app.log")
    (event,) = hands.perform(ListSiblings(str(tmp_path / "app.log")))
    assert isinstance(event, SiblingsListed)
    names = sorted(os.path.basename(entry.path) for entry in event.entries)
    assert names == ["app-1.log", "app.log", "app.log-20260205", "app.log.1", "app.log.2.gz"]


def test_siblings_are_seen_at_once_when_they_were_just_made(tmp_path: Path) -> None:
    """The kept listing of a directory is for those that rest."""
    place = tmp_path / "app.log"
    place.write_text("x")
    hands = hands_for(place)
    for number in range(1, 20):
        (tmp_path / f"app.log.{number}").write_text("y")
        (event,) = hands.perform(ListSiblings(str(place)))
        assert isinstance(event, SiblingsListed)
        assert len(event.entries) == number + 1
    os.utime(tmp_path, (1, 1))
    for _ in range(2):
        (event,) = hands.perform(ListSiblings(str(place)))
        assert isinstance(event, SiblingsListed)
        assert len(event.entries) == 20


def test_siblings_of_a_vanished_directory_are_none(tmp_path: Path) -> None:
    """A pod's directory that was removed."""
    hands = hands_for(tmp_path / "x.log")
    (event,) = hands.perform(ListSiblings(str(tmp_path / "gone" / "x.log")))
    assert event == SiblingsListed(str(tmp_path / "gone" / "x.log"), [])


class Run:
    """A tail on the real hands; lines are cut and kept."""

    def __init__(self, *include: object, states: list[StreamState] | None = None) -> None:
        """Start, and read what is there."""
        self.hands = hands_for(*include)
        ids = count(1000 if states else 0)
        self.tail = Tail(File.Config(include=[FilePath(str(path)) for path in include]), lambda: f"{next(ids):022d}")
        self.now = 0.0
        self.lines: list[bytes] = []
        self.lost: list[Lost] = []
        self.do(self.tail.handle(Resume(states), self.now))

    def do(self, commands: object) -> None:
        """Carry out commands until there are none."""
        todo: deque[Command] = deque(commands)  # type: ignore[call-overload]
        while todo:
            command = todo.popleft()
            if isinstance(command, Feed):
                end = len(command.data) if command.final else command.data.rfind(b"\n") + 1
                self.lines += command.data[:end].splitlines()
                todo.extend(self.tail.handle(Consumed(command.stream_id, command.offset + end), self.now))
            elif isinstance(command, Lost):
                self.lost.append(command)
            for event in self.hands.perform(command):
                todo.extend(self.tail.handle(event, self.now))

    def pass_time(self, seconds: float) -> None:
        """Virtual time; the files are real."""
        until = self.now + seconds
        while (due := self.tail.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.tail.expire(self.now))
        self.now = until


def test_a_real_rotation_is_followed(tmp_path: Path) -> None:
    """Rename, create, rename again; then copy and truncate."""
    live = tmp_path / "app.log"
    live.write_text("a\n")
    run = Run(live)
    with live.open("a") as writer:
        os.rename(live, tmp_path / "app.log.1")
        live.write_text("c\n")
        writer.write("b\n")
    run.pass_time(6)
    assert run.lines == [b"a", b"b", b"c"]
    live.write_text("c\nd\n")
    (tmp_path / "app.log.2").write_text("c\nd\n")
    live.write_text("e\n")
    run.pass_time(20)
    assert run.lines == [b"a", b"b", b"c", b"d", b"e"]
    assert not run.lost


def test_many_files_are_read_with_few_handles(tmp_path: Path) -> None:
    """Two thousand, each with its own line."""
    for number in range(2000):
        (tmp_path / f"{number}.log").write_text(f"{number}\n")
    run = Run(tmp_path / "*.log")
    assert sorted(map(int, run.lines)) == list(range(2000))
    assert len(os.listdir("/proc/self/fd")) < 600
    run.do(run.tail.handle(Drain(), run.now))
    run.hands.close()


@pytest.mark.parametrize("ending", [".gz", ".zst", ".xz", ".bz2"])
@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_a_file_compressed_while_the_agent_was_down_is_read_on_where_it_stopped(
    tmp_path: Path, ending: str, pattern: str
) -> None:
    """By real libraries on real files; a second restart finds nothing more."""
    live, packed = tmp_path / "app.log", tmp_path / f"app.log.1{ending}"
    body = b"".join(b"line %06d\n" % number for number in range(200_000))
    live.write_bytes(body[: len(body) // 2])
    first = Run(tmp_path / pattern)
    states = first.tail.snapshot({state.id: len(body) // 2 // 12 * 12 for state in first.tail.states()})
    first.hands.close()
    packed.write_bytes(PACK[ending](body))
    live.unlink()
    live.write_text("new\n")
    second = Run(tmp_path / pattern, states=states)
    second.pass_time(20)
    assert first.lines[: len(body) // 24] + second.lines == [*body.splitlines(), b"new"]
    states = second.tail.snapshot({state.id: len(body) if "log.1" in state.path else 4 for state in second.tail.states()})
    second.hands.close()
    third = Run(tmp_path / pattern, states=states)
    third.pass_time(20)
    assert third.lines == []
    assert not second.lost
    third.hands.close()


def test_a_bomb_beside_a_log_is_given_up_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 34: others are read."""
    monkeypatch.setattr(inflate, "FREE_BYTES", 1 << 20)
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(b"x\n" * (4 << 20)))
    (tmp_path / "app.log").write_text("a\n")
    monkeypatch.setattr(inflate, "RATIO", 10)
    run = Run(tmp_path / "app.log*")
    run.pass_time(20)
    assert b"a" in run.lines
    assert [lost.cause for lost in run.lost] == ["bomb"]
    assert run.lost[0].bytes > 0
    run.hands.close()


def test_a_scan_of_many_files_looks_at_idle_ones_in_turn(tmp_path: Path) -> None:
    """Active ones at every scan; a change of an idle one is found within eight."""
    old = time.time() - 2 * IDLE_S
    for number in range(MANY + 100):
        path = tmp_path / f"{number:04d}.log"
        path.write_text("old\n")
        os.utime(path, (old, old))
    os.utime(tmp_path, (old, old))
    hands = FileHands(File.Config(include=[FilePath(f"{tmp_path}/*.log")]))
    first = scan(hands)
    assert scan(hands).entries is first.entries
    changed = tmp_path / "0123.log"
    with changed.open("a") as file:
        file.write("more\n")
    os.utime(changed, (old + 1, old + 1))
    sizes = [next(entry.size for entry in scan(hands).entries if entry.path == str(changed)) for _ in range(SHARE)]
    assert sizes[-1] == 9
    (tmp_path / "new.log").write_text("at once\n")
    assert len(scan(hands).entries) == MANY + 101
    changed.unlink()
    assert len(scan(hands).entries) == MANY + 100


def test_a_directory_of_100000_entries_is_listed_within_bounds(tmp_path: Path) -> None:
    """Row 17: a hundred thousand entries, one of them a log; siblings of another name are not looked at."""
    crowd = tmp_path / "crowd"
    crowd.mkdir()
    for file in range(10):  # hard links are quick to make; file systems allow 65,000 of one file, or fewer
        (first := crowd / f"junk-{file}").touch()
        for number in range(9_999):
            os.link(first, f"{first}-{number}")
    (crowd / "app.log").write_text("a\n")
    assert len(os.listdir(crowd)) == 100_001  # noqa: PTH208
    hands = hands_for(crowd / "*.log")
    assert [entry.path for entry in scan(hands).entries] == [str(crowd / "app.log")]
    (event,) = hands.perform(ListSiblings(str(crowd / "app.log")))
    assert isinstance(event, SiblingsListed)
    assert len(event.entries) == 1
    shutil.rmtree(crowd)  # pytest would keep it for three runs


@pytest.mark.parametrize(("soft", "sources", "each"), [(1024, 1, 832), (1024, 4, 208), (256, 100, 16), (1 << 20, 1, 8192)])
def test_the_budget_of_open_files_is_a_share_of_what_the_process_may_have(soft: int, sources: int, each: int) -> None:
    """Some are left for sockets, state and the rest."""
    assert open_file_budget(sources, soft) == each
