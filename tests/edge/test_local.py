"""The embedded output: files in bulk form, exact after a crash at any step, and after a full disk."""

from __future__ import annotations

import asyncio
import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver.traffic import Accepted, Failed, Post, Replied
from shipper.edge import store
from shipper.edge.output import bulk_files
from shipper.edge.output.bulk_files import BulkFiles, by_index, is_plain_name
from shipper.edge.output.local import Local
from shipper.model.errors import HostError


def document(index, key):
    """One document in bulk form."""
    return b'{"create":{"_index":"%s","_id":"%d"}}\n{"n":%d}\n' % (index.encode(), key, key)


def content(directory):
    """What lies there."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


class Crash(BaseException):
    """The machine stops."""


class Disk:
    """Stands for `os` in bulk_files: counts calls that change the disk, and fails or crashes at one; knows what is durable."""

    def __init__(self, at=0, error=None, short=False, lasts=1):
        self.at, self.error, self.short, self.lasts = at, error, short, lasts
        self.dirty = set()
        self.calls = 0
        self.durable = {}
        self.created = set()

    def __getattr__(self, name):
        return getattr(os, name)

    def _call(self):
        self.calls += 1
        if self.at <= self.calls < self.at + self.lasts:
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            raise Crash

    def open(self, path, flags, mode=0o777):
        if flags & os.O_CREAT:
            self._call()
            if not os.path.exists(path):
                self.created.add(str(path))
        return os.open(path, flags, mode)

    def pwrite(self, descriptor, data, at):
        if self.calls + 1 == self.at:
            os.pwrite(descriptor, data[: len(data) // 2], at)
        self._call()
        self.dirty.add(descriptor)
        return os.pwrite(descriptor, data[:7] if self.short else data, at)

    def ftruncate(self, descriptor, length):
        self._call()
        os.ftruncate(descriptor, length)

    def close(self, descriptor):
        assert descriptor not in self.dirty
        os.close(descriptor)

    def fsync(self, descriptor):
        self._call()
        self.dirty.discard(descriptor)
        os.fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(path):
            self.created = {one for one in self.created if os.path.dirname(one) != path}
        else:
            self.durable[path] = os.fstat(descriptor).st_size

    def lose(self, directory):
        """The power fails: what was not fsynced is gone."""
        for path in directory.glob("*.ndjson"):
            if str(path) in self.created:
                path.unlink()
            elif str(path) in self.durable:
                os.truncate(path, min(path.stat().st_size, self.durable[str(path)]))


POSTS = [
    [document("a", 1), document("b", 2)],
    [document("a", 3) + document("c", 4) + document("a", 5)],
    [document("b", 6)],
    [document("d", 7) + document("b", 8)],
]
CHECKPOINT_AFTER = (0, 1, 3)


def expected_files(posts):
    """Oracle: the files after these posts, written the simple way."""
    files = {}
    for post in posts:
        lines = b"".join(post).split(b"\n")[:-1]
        for action, line in zip(lines[::2], lines[1::2], strict=True):
            name = json.loads(action)["create"]["_index"] + ".ndjson"
            files[name] = files.get(name, b"") + action + b"\n" + line + b"\n"
    return files


def under(monkeypatch, disk):
    """Let everything that `local` does to the disk go through `disk`."""
    monkeypatch.setattr(bulk_files, "os", disk)
    monkeypatch.setattr(store, "os", disk)


def life(directory, disk, monkeypatch, saved):
    """One run from the last checkpoint on: restore, post what is missing, checkpoint. `saved` is the state on disk."""
    under(monkeypatch, disk)
    files = BulkFiles(directory)
    try:
        files.restore(saved["lengths"])
        for number in range(saved["posts"], len(POSTS)):
            lengths, _ = files.write(POSTS[number])
            files.grow(lengths)
            if number in CHECKPOINT_AFTER:
                state = dict(files.lengths)
                files.sync()
                saved.update(lengths=state, posts=number + 1)
    finally:
        monkeypatch.undo()
        files.close()


@pytest.mark.parametrize("power_fails", [False, True])
def test_local_is_exact_after_a_crash_at_any_call(tmp_path, monkeypatch, power_fails):
    """Crash at call 1, 2, ... N, with and without losing what was not fsynced; the next life makes the same files."""
    for at in range(1, 200):
        directory = tmp_path / f"{at}"
        directory.mkdir()
        saved = {"lengths": {}, "posts": 0}
        disk = Disk(at)
        try:
            life(directory, disk, monkeypatch, saved)
        except Crash:
            if power_fails:
                disk.lose(directory)
            life(directory, Disk(), monkeypatch, saved)
            assert expected_files(POSTS) == content(directory)
        else:
            break
    assert disk.calls > 15
    assert expected_files(POSTS) == content(directory)


def test_local_is_exact_after_two_crashes_in_a_row(tmp_path, monkeypatch):
    """Also when the restore itself is interrupted."""
    for at in range(1, 8):
        directory = tmp_path / f"{at}"
        directory.mkdir()
        saved = {"lengths": {}, "posts": 0}
        with pytest.raises(Crash):
            life(directory, Disk(20), monkeypatch, saved)
        try:
            life(directory, Disk(at), monkeypatch, saved)
        except Crash:
            life(directory, Disk(), monkeypatch, saved)
        assert expected_files(POSTS) == content(directory)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("lasts", [1, 9])
def test_local_tries_again_exactly_when_the_disk_refuses_a_write(tmp_path, monkeypatch, error, lasts):
    """A failed post is cut off, if the disk lets us, and the same post again gives the same files as if nothing had happened."""
    for at in range(1, 8):
        directory = tmp_path / f"{at}"
        directory.mkdir()
        files = BulkFiles(directory)
        files.restore({})
        for number, post in enumerate(POSTS):
            under(monkeypatch, Disk(at if number == 1 else 0, error, lasts=lasts))
            try:
                lengths, _ = files.write(post)
            except OSError:
                monkeypatch.undo()
                assert set(content(directory)) <= {"a.ndjson", "b.ndjson", "c.ndjson"}
                if lasts == 1:
                    assert expected_files(POSTS[:1])["a.ndjson"] == content(directory)["a.ndjson"]
                lengths, _ = files.write(post)
            monkeypatch.undo()
            files.grow(lengths)
        files.close()
        assert expected_files(POSTS) == content(directory)


def test_local_writes_on_after_short_writes(tmp_path, monkeypatch):
    """A write may take fewer bytes than given."""
    under(monkeypatch, Disk(short=True))
    files = BulkFiles(tmp_path)
    files.restore({})
    for post in POSTS:
        files.grow(files.write(post)[0])
    monkeypatch.undo()
    files.close()
    assert expected_files(POSTS) == content(tmp_path)


def test_local_says_so_when_fsync_fails(tmp_path, monkeypatch):
    """No checkpoint may follow: HostError."""
    files = BulkFiles(tmp_path)
    files.restore({})
    files.grow(files.write(POSTS[0])[0])
    under(monkeypatch, Disk(1, errno.EIO))
    with pytest.raises(HostError):
        files.sync()
    monkeypatch.undo()
    files.close()


def test_local_says_so_when_fsync_fails_on_a_file_that_makes_room_for_another(tmp_path, monkeypatch):
    """The same where it is not a checkpoint that asks for it: the post is not one to be tried again."""
    files = BulkFiles(tmp_path)
    files.restore({})
    for number in range(32):
        files.grow(files.write([document(f"i{number}", 0)])[0])
    under(monkeypatch, Disk(1, errno.EIO))
    with pytest.raises(HostError, match="made durable"):
        files.write([document("another", 0)])
    monkeypatch.undo()
    files.close()


def test_local_says_so_when_a_file_was_removed_meanwhile(tmp_path):
    """What is written into a file without a name would be lost."""
    files = BulkFiles(tmp_path)
    files.restore({})
    files.grow(files.write(POSTS[0])[0])
    (tmp_path / "a.ndjson").unlink()
    with pytest.raises(HostError, match="removed"):
        files.sync()
    files.close()


@given(st.lists(st.tuples(st.sampled_from(["a", "b-2026.02.05", "c_d"]), st.integers(0, 99)), min_size=1, max_size=12))
def test_by_index_keeps_every_document_in_order(documents):
    """Dividing a body by index is what going document by document gives."""
    part = b"".join(document(*one) for one in documents)
    indices, divided = by_index(part)
    assert [index.encode() for index, _ in documents] == indices
    assert expected_files([[part]]) == {name.decode() + ".ndjson": body for name, body in divided.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("analytics-2026.02.05", True),
        ("stra\u00dfe", True),
        ("a" * 240, True),
        ("a" * 241, False),
        ("", False),
        (".", False),
        ("..", False),
        (".hidden", False),
        ("-rf", False),
        ("a/b", False),
        ("../a", False),
        ("a\\b", False),
        ("a\x00b", False),
        ("a b", False),
        ("a\n", False),
    ],
)
def test_is_plain_name_lets_no_path_through(name, expected):
    """An index is a file's name, never a path."""
    assert expected is is_plain_name(name.encode())


def test_local_refuses_hostile_index_names_by_document(tmp_path):
    """The document is refused as Elasticsearch would; the others are written; nothing appears outside the directory."""
    post = Post(1, [document("ok", 1) + document("../../evil", 2) + document("ok", 3)], 3, 0)
    inside = tmp_path / "out"

    async def go():
        output = Local(Local.Config(directory=str(inside)))
        await output.restore({})
        answer = await output.post(post)
        await output.close()
        return answer

    answer = asyncio.run(go())
    assert isinstance(answer, Replied)
    assert [201, 400, 201] == [item["create"]["status"] for item in json.loads(answer.body)["items"]]
    assert {"ok.ndjson": document("ok", 1) + document("ok", 3)} == content(inside)
    assert ["out"] == [path.name for path in tmp_path.iterdir()]


def test_local_speaks_of_a_post_in_its_state_only_when_it_is_answered(tmp_path):
    """The state grows with the answer, and is durable by `sync`."""

    async def go():
        output = Local(Local.Config(directory=str(tmp_path / "x" / "out")))
        await output.restore(None)
        before = output.state()
        answer = await output.post(Post(7, POSTS[0], 2, 0))
        after = output.state()
        await output.sync()
        await output.close()
        return before, answer, after

    before, answer, after = asyncio.run(go())
    length = len(document("a", 1))
    assert ({}, Accepted(7), {"a.ndjson": length, "b.ndjson": length}) == (before, answer, after)


def test_local_answers_failed_when_the_disk_is_full(tmp_path, monkeypatch):
    """The courier tries again later."""

    async def go():
        output = Local(Local.Config(directory=str(tmp_path)))
        await output.restore(None)
        under(monkeypatch, Disk(2, errno.ENOSPC))
        first = await output.post(Post(1, POSTS[0], 2, 0))
        second = await output.post(Post(2, POSTS[0], 2, 0))
        monkeypatch.undo()
        await output.close()
        return first, second

    assert (Failed(1, "disk: No space left on device"), Accepted(2)) == asyncio.run(go())
    assert expected_files(POSTS[:1]) == content(tmp_path)


def restored(directory, state):
    """Restore, return the lengths."""
    files = BulkFiles(directory)
    files.restore(state)
    return files.lengths


def test_restore_cuts_longer_files_and_removes_younger_ones_of_ours_only(tmp_path):
    """Files that were made after the checkpoint go; files of somebody else stay."""
    (tmp_path / "a.ndjson").write_bytes(document("a", 1) + document("a", 2))
    (tmp_path / "young.ndjson").write_bytes(document("young", 1)[:9])
    (tmp_path / "empty.ndjson").write_bytes(b"")
    (tmp_path / "mine.ndjson").write_bytes(b'{"my":"own"}\n')
    (tmp_path / "other.ndjson").write_bytes(document("a", 1))
    (tmp_path / "notes.txt").write_bytes(document("notes", 1))
    length = len(document("a", 1))
    assert {"a.ndjson": length} == restored(tmp_path, {"a.ndjson": length})
    assert ["a.ndjson", "mine.ndjson", "notes.txt", "other.ndjson"] == list(content(tmp_path))
    assert document("a", 1) == content(tmp_path)["a.ndjson"]


@pytest.mark.parametrize("left", [b"", document("a", 1)[:-1], None])
def test_restore_refuses_a_file_that_is_shorter_than_recorded(tmp_path, left):
    """Delivered documents are gone: the user must know; nothing is changed."""
    (tmp_path / "young.ndjson").write_bytes(document("young", 1))
    if left is not None:
        (tmp_path / "a.ndjson").write_bytes(left)
    before = content(tmp_path)
    with pytest.raises(HostError, match="state reset"):
        restored(tmp_path, {"a.ndjson": len(document("a", 1))})
    assert before == content(tmp_path)


def test_restore_without_a_checkpoint_continues_what_is_there(tmp_path):
    """Files of an earlier run are kept, less a torn document at the end."""
    whole = document("a", 1) + document("a", 2)
    (tmp_path / "a.ndjson").write_bytes(whole + document("a", 3)[:-3])
    (tmp_path / "mine.ndjson").write_bytes(b"x")
    assert {"a.ndjson": len(whole)} == restored(tmp_path, None)
    assert whole == content(tmp_path)["a.ndjson"]


def test_local_refuses_to_write_into_a_file_that_is_not_its_own(tmp_path):
    """A user's file of the same name is not overwritten."""
    (tmp_path / "a.ndjson").write_bytes(b"mine")
    files = BulkFiles(tmp_path)
    files.restore({})
    with pytest.raises(HostError, match="not written by this output"):
        files.write(POSTS[0])
    files.close()
    assert b"mine" == content(tmp_path)["a.ndjson"]


def test_local_does_not_follow_a_link(tmp_path):
    """A link in the directory cannot lead a write elsewhere."""
    target = tmp_path / "target"
    target.write_bytes(b"")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.ndjson").symlink_to(target)
    files = BulkFiles(out)
    files.restore({})
    with pytest.raises(OSError):
        files.write(POSTS[0])
    files.close()
    assert b"" == target.read_bytes()


def test_local_keeps_few_files_open(tmp_path, monkeypatch):
    """A hundred indices, and a bounded number of descriptors; none is closed before it is durable."""
    under(monkeypatch, Disk())
    files = BulkFiles(tmp_path)
    files.restore({})
    before = len(os.listdir("/proc/self/fd"))
    for turn in range(2):
        for number in range(100):
            files.grow(files.write([document(f"i{number}", turn)])[0])
    assert len(os.listdir("/proc/self/fd")) - before <= 32
    files.sync()
    files.close()
    assert {f"i{number}.ndjson": document(f"i{number}", 0) + document(f"i{number}", 1) for number in range(100)} == content(
        tmp_path
    )


def test_make_says_what_is_wrong_when_the_directory_cannot_be_written(tmp_path):
    """With the path, and what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HostError, match="cannot write output files here"):
        BulkFiles(tmp_path / "file" / "out").make()
