"""What of a spool is on disk: damage is told and costs itself only, a start costs little, and no row is ever wrong."""

from __future__ import annotations

import os
import random
import stat

import pytest

from shipper.edge import spool_files
from shipper.edge.spool import Limits
from shipper.model.errors import HostError
from shipper.progress.spool import HEAD_BYTES, HEADER_BYTES, Damage, Header, encode_header, seal, segment_name
from tests.kit import virtual_loop
from tests.kit.spool_world import (
    IDENTITY,
    OTHER,
    Disk,
    drain,
    filled,
    make,
    payload,
    reopened,
    restore,
    under,
)


def test_every_flipped_byte_costs_its_entry_and_nothing_else(tmp_path):
    """In each byte of a segment in the middle and of the last one: the others come out, at their places, and damage is told."""
    rows, entries, files = filled(tmp_path)
    names = list(files)
    for name in (names[1], names[-1]):
        base = int(name[:20])
        for position in range(len(files[name])):
            restore(tmp_path, files)
            content = bytearray(files[name])
            content[position] ^= 0x41
            (tmp_path / name).write_bytes(content)
            hit = next(((start, end) for start, end in entries if start <= base + position < end), (base, base))
            opened, found, damage, _ = reopened(tmp_path)
            assert opened.identity == IDENTITY
            assert found == [(start, row) for start, row in rows if not hit[0] <= start < hit[1]]
            if opened.torn_bytes:
                assert (position, opened.torn_bytes) == (len(content) - 1, hit[1] - hit[0])
            elif hit == (base, base):
                assert damage == [Damage(base, base + HEADER_BYTES, "header")]
            else:
                assert damage == [Damage(*hit, "checksum")]


def test_damaged_bytes_are_copied_aside_once_and_counted(tmp_path):
    """As they were found, for their owner alone; reading them again copies nothing."""
    rows, entries, files = filled(tmp_path)
    name = list(files)[1]
    start, end = next(entry for entry in entries if entry[0] > int(name[:20]))
    content = bytearray(files[name])
    content[start - int(name[:20]) + 40] ^= 1
    (tmp_path / name).write_bytes(content)
    spool = make(tmp_path)
    spool.open(OTHER)
    assert drain(spool)[1] == drain(spool)[1] == [Damage(start, end, "checksum")]
    copy = tmp_path / "quarantine" / f"{start:020}-{end - start}"
    assert copy.read_bytes() == content[start - int(name[:20]) : end - int(name[:20])]
    assert (stat.S_IMODE(copy.stat().st_mode), stat.S_IMODE(copy.parent.stat().st_mode)) == (0o600, 0o700)
    assert spool.quarantined_bytes == end - start
    spool._log.close()


def test_quarantine_is_bounded_and_reading_goes_on_without_it(tmp_path, monkeypatch):
    """What does not fit is told only, and so it is where nothing can be copied."""
    rows, entries, files = filled(tmp_path)
    for start, _ in entries[:4]:
        name = max(one for one in files if int(one[:20]) <= start)
        content = bytearray((tmp_path / name).read_bytes())
        content[start - int(name[:20])] ^= 1
        (tmp_path / name).write_bytes(content)
    size = entries[0][1] - entries[0][0]
    monkeypatch.setattr(spool_files, "QUARANTINE_MAX", 2 * size)
    spool = make(tmp_path)
    spool.open(OTHER)
    found, damage, _ = drain(spool)
    assert sum(one.end - one.start for one in damage) == 4 * size
    assert found == [(start, row) for start, row in rows if start >= entries[4][0]]
    held = sum(path.stat().st_size for path in (tmp_path / "quarantine").iterdir())
    assert held == spool.quarantined_bytes <= 2 * size
    spool._log.close()


def test_entries_of_a_version_not_known_are_told_and_passed_over(tmp_path):
    """Their checksum is right, their content is not guessed at."""
    newer = b"\x02" + payload(1)[1:]
    at = HEADER_BYTES
    data = encode_header(Header(IDENTITY, 0, 0))
    for one in (payload(0), newer, newer, payload(2)):
        data += seal(one, len(data)) + one
    (tmp_path / segment_name(0)).write_bytes(data)
    _, rows, damage, end = reopened(tmp_path)
    size = HEAD_BYTES + len(newer)
    assert [row for _, row in rows] == [b"0", b"2"]
    assert damage == [Damage(at + size, at + 3 * size, "format")]
    assert end == len(data)


def test_spool_of_a_newer_version_is_refused_and_stays_as_it_is(tmp_path):
    """A newer agent's state is not guessed at."""
    data = encode_header(Header(IDENTITY, 0, 0, version=2))
    (tmp_path / segment_name(0)).write_bytes(data)
    with pytest.raises(HostError, match="has version 2, this agent reads 1"):
        make(tmp_path).open(OTHER)
    assert (tmp_path / segment_name(0)).read_bytes() == data


@pytest.mark.parametrize("tail", [b"\xffRC\xff", b"\xffRC\xff" + b"\0" * 40, b"\0" * 4096, b"half an entry"])
def test_torn_tail_is_cut_off_and_its_offsets_are_not_used_again(tmp_path, tail):
    """Its bytes are told once; the next entry stands behind them; nothing is damage."""
    rows, _, files = filled(tmp_path)
    last = list(files)[-1]
    (tmp_path / last).write_bytes(files[last] + tail)
    spool = make(tmp_path)
    opened = spool.open(OTHER)
    assert (opened.torn_bytes, opened.identity) == (len(tail), IDENTITY)
    assert (tmp_path / last).read_bytes() == files[last]
    old_end = int(last[:20]) + len(files[last])

    async def life():
        await spool.append(payload(b"next"))
        await spool.close()

    virtual_loop.run(life())
    opened, found, damage, _ = reopened(tmp_path)
    assert (opened.torn_bytes, damage) == (0, [])
    assert [row for _, row in found] == [*(row for _, row in rows), b"next"]
    assert found[-1][0] > old_end + len(tail)
    assert not (tmp_path / "quarantine").exists()


def test_tail_that_ends_as_an_entry_ends_is_damage_and_kept(tmp_path):
    """It may have been acknowledged before its bytes changed: it is told as lost, and copied."""
    rows, entries, files = filled(tmp_path)
    last = list(files)[-1]
    (tmp_path / last).write_bytes(files[last][:-5] + b"X" + files[last][-4:])
    opened, found, damage, end = reopened(tmp_path)
    assert (opened.torn_bytes, damage) == (0, [Damage(*entries[-1], "checksum")])
    assert found == rows[:-3]
    assert end == opened.end > entries[-1][1]
    assert (tmp_path / "quarantine" / f"{entries[-1][0]:020}-{entries[-1][1] - entries[-1][0]}").exists()


@pytest.mark.parametrize("cut", [0, 10, HEADER_BYTES - 1])
def test_segment_whose_making_was_cut_short_is_made_again(tmp_path, cut):
    """Less than a header is nothing; what was before it is."""
    rows, entries, files = filled(tmp_path)
    (tmp_path / segment_name(entries[-1][1])).write_bytes(encode_header(Header(IDENTITY, entries[-1][1], 0))[:cut])
    opened, found, damage, _ = reopened(tmp_path)
    assert (found, damage, opened.identity) == (rows, [], IDENTITY)


def test_missing_segments_are_told_by_their_bytes(tmp_path):
    """One deleted by hand, one cut short: what was in them is missing, the rest is read."""
    rows, entries, files = filled(tmp_path)
    names = list(files)
    (tmp_path / names[1]).unlink()
    os.truncate(tmp_path / names[2], len(files[names[2]]) - 1)
    _, found, damage, _ = reopened(tmp_path)
    bases = [int(name[:20]) for name in names]
    cut = next(entry for entry in entries if entry[1] == bases[3])
    assert damage == [
        Damage(bases[1], bases[2], "missing"),
        Damage(cut[0], cut[1] - 1, "checksum"),
        Damage(cut[1] - 1, cut[1], "missing"),
    ]
    assert found == [(start, row) for start, row in rows if not bases[1] <= start < bases[2] and not cut[0] <= start < cut[1]]


def test_segment_that_vanishes_or_shrinks_while_it_is_read_is_missing(tmp_path):
    """Nothing raises, nothing waits for ever."""
    rows, entries, files = filled(tmp_path)
    names = list(files)
    spool = make(tmp_path)
    spool.open(OTHER)
    (tmp_path / names[0]).unlink()
    os.truncate(tmp_path / names[-1], HEADER_BYTES + 5)
    found, damage, end = drain(spool)
    bases = [int(name[:20]) for name in names]
    assert found == [(start, row) for start, row in rows if bases[1] <= start < bases[-1]]
    assert [(one.cause, one.start) for one in damage] == [
        ("header", 0), ("missing", HEADER_BYTES), ("checksum", bases[-1] + HEADER_BYTES), ("missing", bases[-1] + HEADER_BYTES + 5),
    ]  # fmt: skip
    assert end == spool.end
    spool._log.close()


def test_large_backlog_opens_by_names_and_sizes_and_the_last_segment(tmp_path, monkeypatch):
    """200 MiB in 25 segments: less than 64 KiB are read before the first window."""
    base, size = 0, 8 << 20
    for _ in range(25):
        path = tmp_path / segment_name(base)
        path.write_bytes(encode_header(Header(IDENTITY, base, base)))
        os.truncate(path, size)
        base += size
    data = encode_header(Header(IDENTITY, base, base))
    for number in range(100):
        data += seal(payload(number), base + len(data)) + payload(number)
    (tmp_path / segment_name(base)).write_bytes(data)
    spool = make(tmp_path, Limits())
    disk = under(monkeypatch, Disk(tmp_path))
    disk.contents.clear()
    opened = spool.open(OTHER)
    assert (opened.first, opened.end, opened.torn_bytes, spool.size) == (0, base + len(data), 0, base + len(data))
    assert disk.bytes_read < 1 << 16
    assert spool.read(base, 1 << 16).spooled.rows == [b"%d" % number for number in range(100)]
    spool._log.close()


def test_last_segment_is_examined_in_constant_memory(tmp_path, monkeypatch):
    """64 MiB of it, read by pieces of a MiB."""
    data = encode_header(Header(IDENTITY, 0, 0))
    pieces = [data]
    at = len(data)
    for _ in range(64):
        entry = payload(b"x" * ((1 << 20) - 100))
        pieces.append(seal(entry, at) + entry)
        at += len(pieces[-1])
    (tmp_path / segment_name(0)).write_bytes(b"".join(pieces))
    disk = under(monkeypatch, Disk(tmp_path))
    largest = []
    real = disk.pread
    disk.pread = lambda descriptor, size, at: (largest.append(size), real(descriptor, size, at))[1]
    spool = make(tmp_path, Limits())
    assert spool.open(OTHER).end == at
    assert max(largest) == 1 << 20
    assert disk.bytes_read < 2 * at
    spool._log.close()


def test_spool_keeps_its_identity_while_a_segment_is_there(tmp_path):
    """Given to a new one; afterwards its own, also where all is delivered, and where the last header is damaged."""
    spool = make(tmp_path / "new")
    assert spool.open(IDENTITY).identity == spool.identity == IDENTITY
    spool._log.close()
    assert reopened(tmp_path / "new")[0].identity == IDENTITY
    _, _, files = filled(tmp_path)
    end = reopened(tmp_path)[0].end
    assert reopened(tmp_path, settled=end)[0].identity == IDENTITY
    restore(tmp_path, files)
    (tmp_path / list(files)[-1]).write_bytes(b"\0" * HEADER_BYTES)
    assert reopened(tmp_path)[0].identity == IDENTITY


def test_what_a_killed_agent_left_in_the_page_cache_is_durable_before_it_is_read(tmp_path, monkeypatch):
    """Killed before its fsync, started again, then the power fails: what was read in between is there, so no offset is used twice."""
    rows, entries, files = filled(tmp_path)
    disk = under(monkeypatch, Disk(tmp_path))
    last = list(files)[-1]
    disk.contents[disk.names[last]] = files[last][:HEADER_BYTES]
    assert reopened(tmp_path)[1] == rows
    disk.lose("gone")
    assert reopened(tmp_path)[1:3] == (rows, [])


def test_start_with_all_delivered_frees_the_disk(tmp_path):
    """One segment without entries is left, and offsets go on."""
    _, entries, _ = filled(tmp_path)
    end = entries[-1][1]
    opened, rows, damage, _ = reopened(tmp_path, settled=end)
    assert (opened.first, opened.end, rows, damage) == (end, end + HEADER_BYTES, [], [])
    assert [path.name for path in tmp_path.glob("*.spool")] == [segment_name(end)]
    again = reopened(tmp_path, settled=end)[0]
    assert (again.first, again.end) == (end, end + HEADER_BYTES)
    behind = reopened(tmp_path, settled=10**6)[0]
    assert (behind.first, behind.end) == (10**6, 10**6 + HEADER_BYTES)


def test_offsets_go_on_behind_what_the_checkpoint_knows(tmp_path):
    """An older copy of the directory was put back: no offset is given twice, so no record vanishes behind a 409."""
    filled(tmp_path)
    spool = make(tmp_path)
    opened = spool.open(OTHER, settled=1_000_000)
    assert opened.end == opened.first + HEADER_BYTES == 1_000_000 + HEADER_BYTES

    async def life():
        await spool.append(payload(b"next"))
        await spool.close()

    virtual_loop.run(life())
    _, rows, damage, _ = reopened(tmp_path, settled=1_000_000)
    assert ([row for _, row in rows], damage) == ([b"next"], [])


def test_one_process_writes_to_a_spool_and_files_are_for_its_owner_alone(tmp_path):
    """The second one is refused; links and other files in the directory are not touched."""
    directory = tmp_path / "a" / "spool"
    spool = make(directory)
    spool.open(IDENTITY)
    with pytest.raises(HostError, match="another agent owns the spool"):
        make(directory).open(OTHER)
    spool._log.close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    (directory / segment_name(7_000)).symlink_to("/etc/passwd")
    (directory / segment_name(8_000)).mkdir()
    os.mkfifo(directory / segment_name(9_000))
    (directory / "notes.txt").write_text("mine")
    assert reopened(directory)[0].end == HEADER_BYTES
    assert (directory / "notes.txt").read_text() == "mine"


def test_random_damage_of_files_never_raises_and_never_makes_a_row(tmp_path):
    """200 times some bytes of some segments are overwritten, cut or doubled: rows that come out were written, at their place."""
    rows, _, files = filled(tmp_path)
    chance = random.Random(4)
    for _ in range(200):
        restore(tmp_path, files)
        for _ in range(chance.randrange(1, 4)):
            path = tmp_path / chance.choice(list(files))
            content = path.read_bytes()
            at, more = chance.randrange(len(content) + 1), chance.randrange(60)
            put = chance.choice([b"", chance.randbytes(more), content[at : at + more] * 2, bytes(more)])
            path.write_bytes(content[:at] + put + content[at + chance.randrange(60) :])
        opened, found, _, end = reopened(tmp_path)
        assert set(found) <= set(rows)
        assert [start for start, _ in found] == sorted({start for start, _ in found})
        assert end == opened.end


def test_nothing_is_deleted_when_another_spool_lies_where_the_expected_one_was(tmp_path):
    """What the checkpoint says is delivered is said of the spool it knows; a directory that was put there is read from its start."""
    rows, _, files = filled(tmp_path)
    restore(tmp_path, files)
    spool = make(tmp_path)
    opened = spool.open(OTHER, settled=10**6, expected=OTHER)
    assert opened.first == 0 and opened.identity == IDENTITY
    assert {name for name in files if (tmp_path / name).exists()} == set(files)
