"""The state commands: what is listed, exported, imported again and moved, and what the next run does with it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from unicodedata import east_asian_width

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper import assembly
from shipper.edge import state_commands, state_texts, store
from shipper.edge.state_commands import Kept, StreamRow, export, list_streams, parse_target, set_offset, take_over
from shipper.edge.takeover.plan import Outcome
from shipper.inlets import mint_identity
from shipper.model.errors import HostError
from shipper.progress import checkpoint
from tests.edge.takeover_files import looks
from tests.kit.site import Site, check_whole

LINE = 100


def lines(first: int, last: int) -> bytes:
    """Lines of 100 bytes, numbered."""
    return b"".join(
        json.dumps({"message": f"line {number:05} "}).encode().ljust(LINE - 1) + b"\n" for number in range(first, last)
    )


def numbers(site: Site) -> list[int]:
    """The numbers of the lines that came out, sorted."""
    return sorted(int(document["message"].split()[1]) for _, _, document in site.documents())


def kept(site: Site) -> Kept:
    """Where the progress of the site is."""
    pipeline = assembly.read_pipeline(str(site.pipeline), os.environ)
    return Kept(pipeline, assembly.make_output(pipeline.output).destination, site.state, mint_identity)


def stored(site: Site) -> checkpoint.Checkpoint:
    """The checkpoint of the site."""
    [path] = site.state.glob("*/*/checkpoint")
    return checkpoint.decode(path.read_bytes(), str(path))


def shipped(site: Site, count: int = 30) -> Path:
    """A file whose lines were all shipped."""
    path = site.write(lines(0, count))
    check_whole(site.once(), count)
    return path


# --- list


def test_list_tells_each_stream_with_its_size_of_today(site: Site) -> None:
    """Read to the end; behind after the file grew; moved when another file lies there or none does."""
    path = shipped(site)
    [row] = list_streams(kept(site))
    assert (row.path, row.offset, row.size, row.percent, row.state, row.source) == (str(path), 3000, 3000, 100, "read", 0)
    assert row.changed_s == path.stat().st_mtime and len(row.identity) == 22
    site.write(lines(30, 40))
    [row] = list_streams(kept(site))
    assert (row.size, row.percent, row.state) == (4000, 75, "behind")
    path.rename(site.logs / "app.log.1")
    [row] = list_streams(kept(site))
    assert (row.size, row.state) == (3000, "moved")


def test_list_says_when_there_is_no_progress_and_makes_nothing(site: Site) -> None:
    """Nor does an export, which refuses."""
    assert list_streams(kept(site)) == []
    assert [*state_texts.streams([])] == ["no progress"]
    with pytest.raises(HostError, match="has no progress into local:"):
        export(kept(site))
    assert not site.state.exists()


def test_list_and_export_work_beside_an_agent(site: Site) -> None:
    """They read the checkpoint, which is replaced whole, and hold no lock."""
    shipped(site)
    held = store.Store(site.state)
    held.open()
    before = looks(site.state)
    assert len(list_streams(kept(site))) == 1
    assert export(kept(site))
    assert looks(site.state) == before
    held.close()


def test_a_broken_checkpoint_is_refused_by_every_command(site: Site) -> None:
    """It is not ignored, nor written over."""
    path = shipped(site)
    [place] = site.state.glob("*/*/checkpoint")
    place.write_bytes(place.read_bytes()[:-1])
    before = place.read_bytes()
    state = site.folder / "pos"
    state.write_text(f"{path}\t{0:016x}\t{path.stat().st_ino:016x}\n")
    for act in (list_streams, export, lambda one: set_offset(one, str(path), 0), lambda one: take_over(one, state)):
        with pytest.raises(HostError, match="fails its checksum"):
            act(kept(site))
    assert place.read_bytes() == before


# --- export and import


def test_an_export_is_imported_into_another_state_directory_by_inode_and_content(site: Site) -> None:
    """New identities, the old offsets: what is exported is begun elsewhere where it stood."""
    path = shipped(site)
    state = site.folder / "export.json"
    state.write_bytes(export(kept(site)))
    [old] = list_streams(kept(site))
    site.write(lines(30, 40))
    shutil.rmtree(site.state)
    shutil.rmtree(site.out)
    found = take_over(kept(site), state)
    assert (found.agent, [one.reason for one in found.outcomes]) == ("shipper", ["at 3000 of 4000"])
    [row] = list_streams(kept(site))
    assert (row.path, row.offset) == (str(path), 3000) and row.identity != old.identity
    check_whole(site.once(), 10)
    assert numbers(site) == list(range(30, 40))


def test_an_export_finds_a_copied_file_by_what_it_shows_and_refuses_other_bytes(site: Site) -> None:
    """Moved to another disk: another inode, the same bytes. A file that was written anew since is refused."""
    path, other = site.write(lines(0, 30)), site.write(lines(100, 130), "other.log")
    check_whole(site.once(), 60)
    state = site.folder / "export.json"
    state.write_bytes(export(kept(site)))
    shutil.rmtree(site.state)
    copied = site.folder / "copied"
    path.rename(copied)
    shutil.copyfile(copied, path)
    other.write_bytes(lines(100, 115) + lines(200, 230))
    found = {Path(one.path).name: one for one in take_over(kept(site), state).outcomes}
    assert (found["app.log"].status, found["app.log"].offset) == ("imported", 3000)
    assert (found["other.log"].status, found["other.log"].reason) == ("refused", "other bytes than when it was exported")


def test_a_checkpoint_itself_can_be_imported_too(site: Site) -> None:
    """As `state reset` leaves it beside."""
    shipped(site)
    [place] = site.state.glob("*/*/checkpoint")
    aside = place.rename(place.with_name("checkpoint.reset"))
    assert [one.reason for one in take_over(kept(site), aside).outcomes] == ["at 3000 of 3000"]


# --- set


def test_moving_back_keeps_the_identity_so_that_documents_have_their_old_ids(site: Site) -> None:
    """What a node that compares ids refuses as a duplicate; the reference of windows is held until the old end is passed."""
    path = shipped(site)
    before = {(ident, document["message"]) for _, ident, document in site.documents()}
    [old] = list_streams(kept(site))
    moved = set_offset(kept(site), str(path), 20 * LINE)
    assert (moved.offset, moved.stated, moved.identity) == (2000, 3000, old.identity)
    assert moved.reason.endswith("read again under their old ids: this output compares none, and writes them again")
    assert stored(site).horizon["quiet"] is False
    check_whole(site.once(), 10)
    assert len(site.documents()) == 40
    assert {(ident, document["message"]) for _, ident, document in site.documents()} == before
    assert stored(site).horizon["quiet"] is True


def test_moving_back_says_that_an_output_which_compares_ids_keeps_them_once(site: Site) -> None:
    """Elasticsearch, that is."""
    path, where = shipped(site), kept(site)
    output = msgspec.structs.replace(where.pipeline.output, type="elasticsearch")
    where = msgspec.structs.replace(where, pipeline=msgspec.structs.replace(where.pipeline, output=output))
    moved = set_offset(where, str(path), 20 * LINE)
    assert moved.reason.endswith("1000 bytes are read again under their old ids: what is there already stays once")


def test_moving_back_again_gives_new_ids(site: Site) -> None:
    """So that everything from there on is sent as new."""
    path = shipped(site)
    before = {ident for _, ident, _ in site.documents()}
    [old] = list_streams(kept(site))
    moved = set_offset(kept(site), str(path), "beginning", again=True)
    assert moved.offset == 0 and moved.identity != old.identity
    assert moved.reason.endswith("3000 bytes are read again under new ids: what is there already comes twice")
    assert stored(site).last_seconds == {}
    check_whole(site.once(), 30)
    assert len({ident for _, ident, _ in site.documents()} - before) == 30


def test_moving_on_passes_over_bytes_and_says_how_many(site: Site) -> None:
    """To the end: nothing of what is there is read, what is written later is."""
    path = shipped(site)
    site.write(lines(30, 60))
    moved = set_offset(kept(site), str(path), "end")
    assert moved.reason == "from 3000 to 6000 of 6000; 3000 bytes are passed over, nobody sends them"
    site.write(lines(60, 65))
    check_whole(site.once(), 5)
    assert numbers(site) == [*range(30), *range(60, 65)]


def test_an_offset_inside_a_line_goes_back_to_its_start(site: Site) -> None:
    """And so does the end of a file whose last line is not finished."""
    path = shipped(site)
    assert set_offset(kept(site), str(path), 2_050).offset == 2_000
    site.write(b'{"message":"half')
    moved = set_offset(kept(site), str(path), "end")
    assert moved.offset == 3_000 and "(16 back, to the start of the line)" in moved.reason


def test_a_file_that_is_not_known_yet_gets_a_stream(site: Site) -> None:
    """Before the first run: the way to leave out what is old in one file."""
    path = site.write(lines(0, 30))
    site.write(lines(100, 110), "other.log")
    set_offset(kept(site), str(path), 25 * LINE)
    check_whole(site.once(), 15)
    assert numbers(site) == [*range(25, 30), *range(100, 110)]


@pytest.mark.parametrize(
    ("name", "to", "says"),
    [
        ("app.log", 3001, "has 3000 bytes: its progress cannot be at 3001"),
        ("app.log", -1, "its progress cannot be at -1"),
        ("none.log", 0, "no source of the pipeline app reads such a file"),
        ("text.txt", 0, "no source of the pipeline app reads such a file"),
        ("empty.log", 0, "is empty"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(site: Site, name: str, to: int, says: str) -> None:
    """The checkpoint is as it was."""
    shipped(site)
    site.write(b"", "empty.log")
    site.write(lines(0, 1), "text.txt")
    before = looks(site.state)
    with pytest.raises(HostError, match=says):
        set_offset(kept(site), str(site.logs / name), to)
    assert {path: look for path, look in looks(site.state).items() if path.endswith("checkpoint")} == {
        path: look for path, look in before.items() if path.endswith("checkpoint")
    }


def test_set_is_refused_while_an_agent_owns_the_state_directory(site: Site) -> None:
    """Its next checkpoint would undo it."""
    path = shipped(site)
    held = store.Store(site.state)
    held.open()
    with pytest.raises(HostError, match="another agent owns the state directory"):
        set_offset(kept(site), str(path), 0)
    held.close()


def test_targets_are_words_or_bytes() -> None:
    """Anything else is wrong usage."""
    assert [parse_target(text) for text in ("beginning", "end", "0", "12")] == ["beginning", "end", 0, 12]
    for text in ("", "-1", "1.5", "start", "٣", "9" * 30):
        with pytest.raises(ValueError, match="expected beginning, end or an offset in bytes"):
            parse_target(text)


def test_a_pipeline_without_files_has_no_offsets_to_take(site: Site) -> None:
    """Said before anything is locked for long."""
    pipeline = msgspec.structs.replace(kept(site).pipeline, sources=[])
    with pytest.raises(HostError, match="follows no files"):
        set_offset(msgspec.structs.replace(kept(site), pipeline=pipeline), "/x", 0)


# --- texts


def columns(text: str) -> int:
    """Columns of a terminal, counted the obvious way."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


SIZES = st.integers(0, (1 << 63) - 1)
ROWS = st.builds(
    StreamRow, path=st.text(max_size=300), identity=st.just("i" * 22), offset=st.integers(0, 1 << 42), size=st.integers(0, 1 << 42),
    percent=st.integers(0, 100), state=st.sampled_from(["read", "behind", "done", "moved"]),
    changed_s=st.floats(0, 4e9), source=st.just(0),
)  # fmt: skip
OUTCOMES = st.builds(
    Outcome, status=st.sampled_from(["imported", "kept", "refused", "gone", "outside", "ignored"]), path=st.text(max_size=300),
    file=st.text(max_size=300), reason=st.text(max_size=90), stated=SIZES, offset=SIZES, size=SIZES,
)  # fmt: skip


@given(ROWS, OUTCOMES)
def test_lines_fit_a_terminal_and_hold_nothing_that_steers_it(row: StreamRow, outcome: Outcome) -> None:
    """80 columns whatever the path, and one line an outcome."""
    texts = [*state_texts.streams([row]), state_texts.outcome(outcome)]
    assert len(texts) == 3
    assert max(map(columns, texts)) <= 80
    assert all(text.isprintable() for text in texts)


def test_an_import_is_told_in_lines_and_as_plain_data(site: Site) -> None:
    """One line a position with its reason, the files nobody knows, the sum; the data holds the same, also for odd names."""
    path = site.write(lines(0, 30))
    odd = site.logs / os.fsdecode(b"caf\xe9.log")
    odd.write_bytes(lines(50, 60))
    state = site.folder / "pos"
    state.write_bytes(
        b"%b\t%016x\t%016x\n" % (os.fsencode(path), 12 * LINE, path.stat().st_ino) + b"/other/x.log\t%016x\t%016x\n" % (5, 7)
    )
    found = take_over(kept(site), state)
    texts = [*state_texts.imported(found)]
    assert texts[0].startswith("imported  ") and texts[0].endswith("  at 1200 of 3000")
    assert texts[1] == "outside   /other/x.log  no source of the pipeline includes it"
    assert texts[2].startswith("new ") and texts[2].endswith("caf?.log  no position: read from its first byte")
    assert texts[3:] == ["fluentd: 1 imported, 1 outside; written"]
    data = json.loads(json.dumps(state_texts.as_data(found)))
    assert data["outcomes"][0]["file"] == str(path) and data["unknown"] == [store.quoted(str(odd))]
    assert state_texts.as_data(list_streams(kept(site)))[0]["path"] == str(path)
    export_path = site.folder / "export.json"
    set_offset(kept(site), str(odd), 5 * LINE)
    export_path.write_bytes(export(kept(site)))
    again = take_over(kept(site), export_path, force=True)
    assert sorted(one.file for one in again.outcomes) == sorted([str(path), str(odd)])
    check_whole(site.once(), 18 + 5)


def test_many_files_without_a_position_are_counted_not_listed() -> None:
    """Twenty are named."""
    found = state_commands.Import("fluentd", [], [f"/var/log/{number}.log" for number in range(50)], written=False)
    texts = [*state_texts.imported(found)]
    assert len(texts) == 22
    assert texts[20:] == ["new       and 30 more files without a position", "fluentd: no positions; nothing written"]
