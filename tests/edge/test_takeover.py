"""Taking over from another agent: each one's state, read as it writes it, and the run that begins where it stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper import assembly
from shipper.edge import store
from shipper.edge.state_commands import Import, Kept, take_over
from shipper.edge.takeover.disk import line_start
from shipper.inlets import mint_identity
from shipper.model.errors import HostError
from shipper.progress import checkpoint
from shipper.source.events import StreamState
from tests.edge import takeover_files as written
from tests.kit.site import Site, check_whole

EVERY = pytest.mark.parametrize("form", written.WRITERS)
LINE = 100


def lines(first: int, last: int) -> bytes:
    """Lines of 100 bytes, numbered; the first 1024 bytes of files that begin with another number differ."""
    return b"".join(
        json.dumps({"message": f"line {number:05} "}).encode().ljust(LINE - 1) + b"\n" for number in range(first, last)
    )


def numbers(site: Site) -> list[int]:
    """The numbers of the lines that came out, sorted."""
    return sorted(int(document["message"].split()[1]) for _, _, document in site.documents())


def kept(site: Site) -> Kept:
    """Where the progress of the site is."""
    pipeline = assembly.read_pipeline(str(site.pipeline), os.environ)
    return Kept(pipeline, assembly.make_output(pipeline.output).destination, site.state, mint_identity, lambda: 1.77e9)


def states(site: Site) -> list[StreamState]:
    """The streams in the checkpoint of the site."""
    [path] = site.state.glob("*/*/checkpoint")
    found = checkpoint.decode(path.read_bytes(), str(path))
    return [StreamState(**state) for source in found.sources for state in source]


def write_state(site: Site, form: str, offsets: dict[Path, int]) -> Path:
    """Write the state of an agent, saved a minute ago, in a folder of its own."""
    folder = site.folder / "other"
    folder.mkdir()
    state = written.WRITERS[form][1](folder, offsets)
    minute_ago = state.stat().st_mtime - 60
    os.utime(state, (minute_ago, minute_ago))
    return state


def summary(found: Import) -> list[tuple[str, int, str]]:
    """Status, offset and reason of each outcome."""
    return [(one.status, one.offset, one.reason) for one in found.outcomes]


# --- End to end


@EVERY
def test_the_run_after_an_import_begins_exactly_where_the_agent_stopped(site: Site, form: str) -> None:
    """The lines behind the offset come out, and no other; the agent is recognised by the content, its files are as they were."""
    path = site.write(lines(0, 30))
    state = write_state(site, form, {path: 12 * LINE})
    before = written.looks(site.folder / "other")
    found = take_over(kept(site), state)
    assert found.agent == written.WRITERS[form][0]
    assert [one for one in summary(found) if one[0] != "ignored"] == [("imported", 12 * LINE, "at 1200 of 3000")]
    assert found.written and found.unknown == []
    [stream] = states(site)
    status = path.stat()
    assert (stream.path, stream.offset, stream.dev, stream.ino) == (str(path), 12 * LINE, status.st_dev, status.st_ino)
    assert (stream.fingerprint_length, stream.guard_offset, stream.size, stream.first_seen) == (1024, 1200, 3000, 1.77e9)
    told = site.once()
    check_whole(told, 18)
    assert "file resumed" in told.messages() and "new file" not in told.messages()
    assert numbers(site) == list(range(12, 30))
    assert written.looks(site.folder / "other") == before
    check_whole(site.once(), 0)


@EVERY
def test_a_file_rotated_since_is_read_on_before_the_one_in_its_place(site: Site, form: str) -> None:
    """Renamed twice while nobody looked: the rest of the old file, the one between and the live one come out, each line once."""
    path = site.write(lines(0, 20))
    state = write_state(site, form, {path: 12 * LINE})
    path.rename(site.logs / "app.log.2")
    (site.logs / "app.log.1").write_bytes(lines(20, 40))
    site.write(lines(40, 50))
    for number, name in enumerate(("app.log.2", "app.log.1", "app.log")):
        at = state.stat().st_mtime + 1 + number
        os.utime(site.logs / name, (at, at))
    found = take_over(kept(site), state)
    [outcome] = [one for one in found.outcomes if one.status == "imported"]
    assert (outcome.file, outcome.offset) == (str(site.logs / "app.log.2"), 12 * LINE)
    assert found.unknown == [str(path)]
    [stream] = states(site)
    assert (stream.path, stream.home) == (str(site.logs / "app.log.2"), str(path))
    check_whole(site.once(), 38)
    assert numbers(site) == list(range(12, 50))


@EVERY
def test_several_files_are_taken_over_each_at_its_own_offset(site: Site, form: str) -> None:
    """At the beginning, in the middle, inside a line, at the end; a file without a position is read from its first byte."""
    paths = [site.write(lines(first, first + 20), f"{first}.log") for first in (100, 200, 300, 400)]
    site.write(lines(500, 520), "new.log")
    offsets = dict(zip(paths, (0, 5 * LINE, 7 * LINE + 1, 20 * LINE), strict=True))
    found = take_over(kept(site), write_state(site, form, offsets))
    taken = [one for one in found.outcomes if one.status == "imported"]
    assert [one.offset // LINE for one in taken] == [0, 5, 7, 20]
    assert taken[2].reason.endswith("at 700 of 2000, 1 back")
    assert found.unknown == [str(site.logs / "new.log")]
    check_whole(site.once(), 20 + 15 + 13 + 20)
    assert numbers(site) == [*range(100, 120), *range(205, 220), *range(307, 320), *range(500, 520)]


@EVERY
def test_an_offset_beyond_the_size_is_refused_and_the_file_read_from_its_beginning(site: Site, form: str) -> None:
    """Truncated since: what it holds now was read by nobody, so nothing is passed over."""
    path = site.write(lines(0, 20))
    state = write_state(site, form, {path: 12 * LINE})
    os.truncate(path, 11 * LINE)
    found = take_over(kept(site), state)
    assert [one for one in summary(found) if one[0] != "ignored"] == [("refused", 0, "offset 1200 is beyond its size 1100")]
    assert not found.written and found.unknown == [str(path)]
    check_whole(site.once(), 11)


@EVERY
def test_a_dry_run_says_the_same_and_writes_nothing(site: Site, form: str) -> None:
    """Not even the state directory."""
    state = write_state(site, form, {site.write(lines(0, 30)): 12 * LINE})
    found = take_over(kept(site), state, dry_run=True)
    assert ("imported", 12 * LINE, "at 1200 of 3000") in summary(found)
    assert not found.written and not site.state.exists()


@EVERY
def test_a_path_that_no_source_includes_and_a_file_that_is_gone_are_said(site: Site, form: str) -> None:
    """Each position has its reason; those that fit are taken all the same."""
    good, gone = site.write(lines(0, 30)), site.write(lines(100, 130), "gone.log")
    outside = site.write(lines(200, 230), "other.txt")
    state = write_state(site, form, {gone: LINE, outside: LINE, good: LINE})
    gone.unlink()
    found = [one for one in take_over(kept(site), state).outcomes if one.reason != "a cursor, not a position in a file"]
    knows_paths = not form.startswith("vector")
    assert [one.status for one in found] == ["gone", "outside" if knows_paths else "gone", "imported"]
    check_whole(site.once(), 29)


@pytest.mark.parametrize("form", sorted(written.WRITERS.keys() - written.PATH_ALONE))
def test_another_file_at_the_same_path_takes_nothing_over(site: Site, form: str) -> None:
    """The old file is gone; the new one is as long as it was, and is read from its first byte."""
    path = site.write(lines(0, 30))
    state = write_state(site, form, {path: 12 * LINE})
    beside = site.logs / "beside"
    beside.write_bytes(lines(40, 70))
    beside.rename(path)
    found = take_over(kept(site), state)
    assert [one.status for one in found.outcomes] == ["gone"]
    check_whole(site.once(), 30)


def test_a_file_known_by_its_path_alone_that_was_compressed_since_takes_nothing_from_the_live_one(site: Site) -> None:
    """Rotated and compressed after the positions were saved: the live file is another one, and read from its first byte."""
    path = site.write(lines(0, 30))
    state = write_state(site, "promtail", {path: 12 * LINE})
    path.rename(site.logs / "app.log.1.gz")
    site.write(lines(30, 60))
    assert summary(take_over(kept(site), state))[0] == ("refused", 0, "compressed: its offset is none of ours")
    check_whole(site.once(), 30)


def test_a_symbolic_link_is_followed_as_the_source_follows_it(site: Site) -> None:
    """As in /var/log/containers: the agent knew the link, the checkpoint holds the real path."""
    real = site.write(lines(0, 30), "pod/0.log") if (site.logs / "pod").mkdir() is None else site.logs
    (site.logs / "app.log").symlink_to(real)
    state = write_state(site, "fluent-bit", {site.logs / "app.log": 12 * LINE})
    assert summary(take_over(kept(site), state)) == [("imported", 12 * LINE, "at 1200 of 3000")]
    assert states(site)[0].path == str(real)
    check_whole(site.once(), 18)


def test_two_lines_in_utf_16_are_told_apart_by_their_own_newline(site: Site) -> None:
    """A byte 0x0a inside a character (U+0A0A) is no line's end."""
    site.configure(sources=[{"type": "file", "include": [f"{site.logs}/*.log"], "encoding": "utf-16-le"}])
    text = '{"message":"first"}\n{"message":"\u0a0a\u0a0a second"}\n'
    path = site.write(text.encode("utf-16-le"))
    inside = text.index(" second") * 2
    state = write_state(site, "fluentd", {path: inside})
    [outcome] = take_over(kept(site), state).outcomes
    assert outcome.offset == (text.index("\n") + 1) * 2
    check_whole(site.once(), 1)


# --- What is there already


def test_progress_of_ours_is_kept_unless_it_is_forced(site: Site) -> None:
    """Forced, the file gets a new identity at the agent's offset, and the old stream is gone."""
    path = site.write(lines(0, 30))
    check_whole(site.once(), 30)
    [ours] = states(site)
    state = write_state(site, "fluentd", {path: 12 * LINE})
    found = take_over(kept(site), state)
    assert summary(found) == [("kept", 0, "has progress already, at 3000")] and not found.written
    assert states(site) == [ours]
    take_over(kept(site), state, force=True)
    [stream] = states(site)
    assert stream.offset == 12 * LINE and stream.id != ours.id
    check_whole(site.once(), 18)


def test_an_existing_checkpoint_is_extended_not_replaced(site: Site) -> None:
    """Other files keep their progress, and the documents that are out stay."""
    site.write(lines(0, 30))
    check_whole(site.once(), 30)
    other = site.write(lines(100, 130), "other.log")
    assert take_over(kept(site), write_state(site, "fluentd", {other: 12 * LINE})).unknown == []
    assert [stream.offset for stream in states(site)] == [30 * LINE, 12 * LINE]
    check_whole(site.once(), 18)
    assert numbers(site) == [*range(30), *range(112, 130)]


def test_nothing_is_imported_while_an_agent_owns_the_state_directory(site: Site) -> None:
    """Its next checkpoint would undo it; a dry run is no harm."""
    state = write_state(site, "fluentd", {site.write(lines(0, 30)): 12 * LINE})
    held = store.Store(site.state)
    held.open()
    with pytest.raises(HostError, match="another agent owns the state directory"):
        take_over(kept(site), state)
    assert take_over(kept(site), state, dry_run=True).outcomes[0].status == "imported"
    held.close()


def test_of_two_positions_in_one_file_the_one_further_back_counts(site: Site) -> None:
    """Two inputs of Filebeat on one file: no line of it is passed over."""
    path = site.write(lines(0, 30))
    folder = site.folder / "other"
    folder.mkdir()
    status = path.stat()
    entries = [
        (
            f"filestream::{name}::native::{status.st_ino}-{status.st_dev}",
            {"cursor": {"offset": at}, "meta": {"source": str(path)}},
        )
        for name, at in (("a", 900), ("b", 500), ("c", 700))
    ]
    found = take_over(kept(site), written.store(folder, {}, entries))
    assert [(one.status, one.offset) for one in found.outcomes] == [("ignored", 0), ("imported", 500), ("ignored", 0)]
    assert [stream.offset for stream in states(site)] == [500]


def test_the_streams_of_a_source_go_to_its_place_and_leave_new_sources_new(site: Site) -> None:
    """The second of three sources: the third one has never run, so its `start: end` still holds."""
    sources = [{"type": "file", "include": [f"{site.logs}/{name}*.log"], "start": "end"} for name in "abc"]
    site.configure(sources=sources)
    path = site.write(lines(0, 30), "b.log")
    site.write(lines(100, 130), "c.log")
    take_over(kept(site), write_state(site, "fluentd", {path: 12 * LINE}))
    check_whole(site.once(), 18)


def test_two_files_that_begin_alike_are_not_guessed_between(site: Site) -> None:
    """Vector's fingerprint of one line: neither file is begun in the middle."""
    path = site.write(lines(0, 30))
    site.write(lines(0, 1) + lines(50, 60), "twin.log")
    found = take_over(kept(site), write_state(site, "vector-first-line", {path: LINE}))
    assert summary(found) == [("gone", 0, "2 files begin as it did")]
    assert len(found.unknown) == 2


# --- The start of a line


@given(
    st.lists(st.text("ab\u0a0a\n", max_size=40), max_size=5).map("\n".join),
    st.integers(0, 200),
    st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
)
def test_the_start_of_a_line_is_where_splitting_the_whole_file_puts_it(text: str, offset: int, encoding: str) -> None:
    """The obvious way: add up the lengths of the lines until the next one would begin beyond."""
    data = text.encode(encoding)
    offset = min(offset, len(data))
    starts = [0]
    for line in text.split("\n")[:-1]:
        starts.append(starts[-1] + len((line + "\n").encode(encoding)))
    expected = max(start for start in starts if start <= offset)
    newline = "\n".encode(encoding)
    assert line_start(lambda at, size: data[at : at + size], offset, newline, 1 << 20) == expected
    assert line_start(lambda at, size: data[at : at + size], offset, newline, 0) == offset


def test_an_offset_inside_a_line_longer_than_a_record_stays(site: Site) -> None:
    """We would cut such a line too; what was read of it by the other agent is not read again."""
    site.configure(max_record="1KiB")
    path = site.write(b"x" * 200_000 + b"\n" + lines(0, 3))
    [outcome] = take_over(kept(site), write_state(site, "fluentd", {path: 150_000})).outcomes
    assert outcome.offset == 150_000
