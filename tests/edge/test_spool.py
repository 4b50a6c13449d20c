"""The durable spool: what was acknowledged is there after any crash and any refusal of the disk; its bounds; its fsyncs."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.edge.spool import FullError, Limits, Spool, TooLargeError
from shipper.model.errors import HostError
from shipper.progress.spool import HEADER_BYTES, segment_name
from tests.kit import virtual_loop
from tests.kit.spool_world import (
    IDENTITY,
    OTHER,
    SMALL,
    Crash,
    Disk,
    Scene,
    drain,
    make,
    numbered,
    payload,
    reopened,
    run,
    under,
)


@pytest.mark.parametrize("how", ["kept", "gone", "half", "zeros"])
def test_what_was_acknowledged_is_there_after_a_crash_at_any_call(tmp_path, monkeypatch, how):
    """Crash at call 1, 2, ... N. Nothing acknowledged is missing, no row is wrong or has the place of another, and it goes on."""
    for at in range(1, 200):
        directory, scene = tmp_path / f"{at}", Scene()
        directory.mkdir()
        disk = under(monkeypatch, Disk(directory, at))
        try:
            run(directory, scene)
        except Crash:
            disk.lose(how)
        else:
            break
        finally:
            monkeypatch.undo()
        _, rows, damage, end = reopened(directory, scene.settled)
        assert damage == []
        scene.take(rows)
        assert set(scene.acknowledged) <= set(scene.read.values()) <= set(scene.offered)
        assert len(set(scene.read.values())) == len(scene.read)
        scene.settled = end
        run(directory, scene)
        scene.take(reopened(directory, scene.settled)[1])
        assert set(scene.acknowledged) <= set(scene.read.values()) <= set(scene.offered)
    assert at > 30
    assert scene.acknowledged == scene.offered


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("lasts", [1, 2, 5])
def test_log_is_whole_after_the_disk_refused_any_call(tmp_path, monkeypatch, error, lasts):
    """Senders are refused and try again; everything is there once, in order, whichever write, fsync or cut failed."""
    refused = 0
    for at in range(1, 200):
        directory, scene = tmp_path / f"{at}", Scene()
        directory.mkdir()
        disk = under(monkeypatch, Disk(directory, at, error, lasts))
        for _ in range(lasts + 1):
            try:
                run(directory, scene, tries=lasts + 1)
                break
            except HostError as problem:
                refused += 1
                assert "cannot be used" in str(problem)
        monkeypatch.undo()
        opened, rows, damage, _ = reopened(directory, scene.settled)
        assert (damage, opened.identity, opened.torn_bytes) == ([], IDENTITY, 0)
        scene.take(rows)
        assert sorted(scene.read.items()) == list(zip(sorted(scene.read), scene.offered, strict=True))
        assert sorted(scene.acknowledged) == sorted(scene.offered)
        if disk.calls < at:
            break
    assert refused
    assert at > 30


def test_write_that_failed_is_refused_and_its_bytes_are_gone_from_the_file(tmp_path, monkeypatch):
    """A full disk takes half an entry: the sender is told, the file ends where it ended before."""
    spool = make(tmp_path)

    async def life():
        spool.open(IDENTITY)
        await spool.append(payload(1))
        before = spool.size
        under(monkeypatch, Disk(tmp_path, 1, errno.ENOSPC))
        with pytest.raises(HostError, match="No space left on device\n    What senders hand over is kept there"):
            await spool.append(payload(2))
        assert (spool.size, spool.waiting_bytes) == (before, 0)
        assert (tmp_path / segment_name(0)).stat().st_size == before
        assert await spool.append(payload(3)) == spool.end
        assert [row for _, row in drain(spool)[0]] == [b"1", b"3"]
        await spool.close()

    virtual_loop.run(life())


def test_segment_is_left_after_a_failed_fsync(tmp_path, monkeypatch):
    """The kernel may report success the next time (LWN 752063): the next entry goes into another file."""
    spool = make(tmp_path)

    async def life():
        spool.open(IDENTITY)
        await spool.append(payload(1))
        end = spool.end
        under(monkeypatch, Disk(tmp_path, 2, errno.EIO))
        with pytest.raises(HostError):
            await spool.append(payload(2))
        await spool.append(payload(3))
        assert sorted(path.name for path in tmp_path.glob("*.spool")) == [segment_name(0), segment_name(end)]
        await spool.close()

    virtual_loop.run(life())


def test_one_fsync_serves_all_that_arrives_within_ten_milliseconds(tmp_path, monkeypatch):
    """50 senders, one fsync; the first one waits 10 ms, no one longer."""
    spool = make(tmp_path, Limits())
    disk = under(monkeypatch, Disk(tmp_path))

    async def life():
        loop = asyncio.get_running_loop()
        spool.open(IDENTITY)
        before, start = disk.fsyncs, loop.time()
        futures = []
        for number in range(50):
            futures.append(spool.append(payload(number)))
            await asyncio.sleep(0.000_19)
        assert disk.fsyncs == before
        ends = await asyncio.gather(*futures)
        assert loop.time() - start == pytest.approx(0.010, abs=1e-4)
        assert disk.fsyncs == before + 1
        assert ends == sorted(set(ends)) and ends[-1] == spool.end
        await asyncio.sleep(1)
        await spool.append(payload(99))
        assert loop.time() - start == pytest.approx(1.020, abs=1e-3)
        assert disk.fsyncs == before + 2
        await spool.close()

    virtual_loop.run(life())


def test_enough_bytes_are_written_without_waiting(tmp_path, monkeypatch):
    """4 MiB in one moment wait for nothing more."""
    spool = make(tmp_path, Limits())
    disk = under(monkeypatch, Disk(tmp_path))
    disk.pwrite = os.pwrite

    async def life():
        loop = asyncio.get_running_loop()
        spool.open(IDENTITY)
        before, start = disk.fsyncs, loop.time()
        await asyncio.gather(*[spool.append(payload(b"x" * (1 << 20))) for _ in range(4)])
        assert (disk.fsyncs, loop.time()) == (before + 1, start)
        await spool.close()

    virtual_loop.run(life())


def test_what_arrives_while_the_disk_is_slow_waits_no_ten_milliseconds_more(tmp_path):
    """The next group is due 10 ms after its first entry came, so at once if the last one took longer."""
    times = []

    async def slow(call):
        await asyncio.sleep(0.5)
        times.append(asyncio.get_running_loop().time())
        return call()

    spool = Spool(tmp_path, Limits(), slow)

    async def life():
        spool.open(IDENTITY)
        first = spool.append(payload(1))
        await asyncio.sleep(0.2)
        second = [spool.append(payload(2)), spool.append(payload(3))]
        await asyncio.gather(first, *second)
        assert times[1] - times[0] == pytest.approx(0.5, abs=1e-4)
        assert len(times) == 2
        await spool.close()

    virtual_loop.run(life())


def test_reader_gets_nothing_that_is_not_durable(tmp_path):
    """While a write is under way, the log ends before it, though the bytes are in the file."""
    spool = make(tmp_path)

    async def unfinished(call):
        result = call()
        await asyncio.sleep(1)
        return result

    async def life():
        spool.open(IDENTITY)
        await spool.append(payload(1))
        spool._in_thread = unfinished
        future = spool.append(payload(2))
        await asyncio.sleep(0.5)
        assert (tmp_path / segment_name(0)).stat().st_size > spool.end
        assert [row for _, row in drain(spool)[0]] == [b"1"]
        await future
        assert [row for _, row in drain(spool)[0]] == [b"1", b"2"]
        await spool.close()

    virtual_loop.run(life())


def test_appends_from_many_tasks_and_a_reader_beside_them_in_real_threads(tmp_path):
    """The default: writes in a thread while the loop reads. All rows come, once, in the order of their offsets."""

    async def life():
        spool = Spool(tmp_path, Limits(segment_max=5000, commit_seconds=0.001))
        spool.open(IDENTITY)
        ends = {}

        async def sender(number):
            for count in range(20):
                ends[b"%d-%d" % (number, count)] = await spool.append(payload(b"%d-%d" % (number, count)))

        senders = asyncio.gather(*map(sender, range(20)))
        read, at = [], 0
        while len(read) < 400:
            window = spool.read(at, 1000)
            assert window.damage == ()
            read += zip(window.spooled.rows, window.spooled.stops, strict=True) if window.spooled else []
            at = window.next_offset
            spool.settle(at)
            await asyncio.sleep(0)
        await senders
        assert dict(read) == ends
        assert len(read) == 400
        await spool.close()
        assert len(list(tmp_path.glob("*.spool"))) == 1

    asyncio.run(life())


def test_directory_that_cannot_be_made_is_refused_with_its_path(tmp_path):
    """Found at the start, not when the first sender comes."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=f"the spool {tmp_path}/file/spool cannot be used: Not a directory"):
        make(tmp_path / "file" / "spool").open(IDENTITY)


def test_entry_that_can_never_fit_is_refused_as_too_large(tmp_path):
    """Over the cap, or over the whole spool: an error of its own, as trying again is of no use."""
    for limits, fits, too_large in ((SMALL, 990, 1000), (Limits(size_max=500), 350, 400)):
        spool = make(tmp_path / str(fits), limits)

        async def life(spool=spool, fits=fits, too_large=too_large):
            spool.open(IDENTITY)
            await spool.append(payload(b"x" * fits))
            with pytest.raises(TooLargeError):
                await spool.append(payload(b"x" * too_large))
            await spool.close()

        virtual_loop.run(life())


def test_more_than_may_wait_for_the_disk_is_refused(tmp_path):
    """A slow disk does not fill the memory; when it is done, there is room again."""
    spool = make(tmp_path, Limits(size_max=10**6, waiting_max=1000))

    async def life():
        spool.open(IDENTITY)
        futures = [spool.append(payload(b"x" * 200)) for _ in range(6)]
        assert spool.is_full
        assert spool.waiting_bytes <= 1000
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(one) for one in outcomes] == [int] * 4 + [FullError] * 2
        assert not spool.is_full
        await spool.append(payload(b"x" * 200))
        await spool.close()

    virtual_loop.run(life())


def test_close_writes_what_waits_and_takes_nothing_more(tmp_path):
    """Without the 10 ms."""
    spool = make(tmp_path)

    async def life():
        spool.open(IDENTITY)
        future = spool.append(payload(1))
        start = asyncio.get_running_loop().time()
        await spool.close()
        assert future.done() and asyncio.get_running_loop().time() == start
        with pytest.raises(HostError, match="is closed"):
            await spool.append(payload(2))

    virtual_loop.run(life())
    assert [row for _, row in reopened(tmp_path)[1]] == [b"1"]


def test_sender_that_goes_away_does_not_disturb_the_others(tmp_path):
    """Its future is cancelled; its entry is written nevertheless, as those around it."""
    spool = make(tmp_path)

    async def life():
        spool.open(IDENTITY)
        futures = [spool.append(payload(number)) for number in range(3)]
        futures[1].cancel()
        assert await futures[2] == spool.end
        await spool.close()

    virtual_loop.run(life())
    assert [row for _, row in reopened(tmp_path)[1]] == [b"0", b"1", b"2"]


def test_blocking_spool_refuses_when_full_and_takes_again_when_delivered(tmp_path):
    """Down to the last segment: what is delivered whole makes room, also where it is the one that is written to."""
    spool = make(tmp_path, Limits(size_max=1000, commit_bytes=200))

    async def life():
        spool.open(IDENTITY)
        for number in range(3):
            await spool.append(payload(b"%d" % number * 800))
            with pytest.raises(FullError):
                await spool.append(payload(b"y" * 800))
            assert spool.is_full
            spool.settle(drain(spool)[2])
            await asyncio.sleep(0.1)
            assert not spool.is_full
            assert spool.size == HEADER_BYTES
        await spool.close()

    virtual_loop.run(life())


def test_refused_append_makes_room_by_itself_where_all_is_delivered(tmp_path):
    """Half full of what is delivered, and an entry of more than the other half: the second try is taken."""
    spool = make(tmp_path, Limits(size_max=1000, commit_bytes=100))

    async def life():
        spool.open(IDENTITY)
        await spool.append(payload(b"x" * 500))
        spool.settle(drain(spool)[2])
        with pytest.raises(FullError):
            await spool.append(payload(b"y" * 700))
        await asyncio.sleep(0.1)
        await spool.append(payload(b"y" * 700))
        await spool.close()

    virtual_loop.run(life())


def test_dropping_spool_loses_the_oldest_and_counts_what_the_reader_had_not_had(tmp_path):
    """Bytes and rows, told where the reader comes to them; what it had read is not lost."""
    limits = Limits(size_max=1600, segment_max=400, drop_oldest=True)
    spool = make(tmp_path, limits)

    async def life():
        spool.open(IDENTITY)
        entries = [numbered(100 * number, 3, 12) for number in range(40)]
        ends = [await spool.append(entry) for _, entry in entries[:2]]
        window = spool.read(0, 1)
        assert window.spooled.rows == entries[0][0]
        ends += [await spool.append(entry) for _, entry in entries[2:]]
        assert spool.size <= limits.size_max
        rows, damage, _ = drain(spool, window.next_offset)
        kept = [row for _, row in rows]
        assert kept == [row for some, _ in entries for row in some][-len(kept) :]
        assert [(one.cause, one.start, one.rows) for one in damage] == [("dropped", ends[0], 120 - 3 - len(kept))]
        assert spool.dropped_rows == damage[0].rows
        assert 0 < spool.dropped_bytes <= damage[0].end - damage[0].start
        assert drain(spool, damage[0].end)[1] == []
        await spool.close()

    virtual_loop.run(life())


def test_full_disk_makes_a_dropping_spool_drop_and_go_on(tmp_path, monkeypatch):
    """ENOSPC, though the spool's own bound is not reached: the oldest goes, the new one is taken, all is counted."""
    spool = make(tmp_path, Limits(size_max=4000, segment_max=300, drop_oldest=True))

    async def life():
        spool.open(IDENTITY)
        for number in range(12):
            await spool.append(numbered(100 * number, 3, 12)[1])
        under(monkeypatch, Disk(tmp_path, 1, errno.ENOSPC))
        await spool.append(numbered(9900, 3, 12)[1])
        rows, damage, _ = drain(spool)
        assert len(rows) + spool.dropped_rows == 39 and spool.dropped_rows
        assert [(one.cause, one.rows) for one in damage] == [("dropped", spool.dropped_rows)]
        await spool.close()

    virtual_loop.run(life())


def test_reader_waits_while_a_segment_is_counted_and_dropped(tmp_path):
    """So that nothing is counted as lost that it gets, and nothing is lost uncounted."""
    spool = make(tmp_path, Limits(size_max=1600, segment_max=400, drop_oldest=True))
    seen = []

    async def watched(call):
        if spool._log._doomed is not None:
            seen.append(spool.read(0, 1000))
        return call()

    async def life():
        spool.open(IDENTITY)
        for number in range(20):
            await spool.append(numbered(100 * number, 3, 12)[1])
        spool._in_thread = watched
        await spool.append(payload(b"x" * 700))
        assert seen and {(window.next_offset, window.spooled) for window in seen} == {(0, None)}
        rows, damage, _ = drain(spool)
        assert [(one.cause, one.rows) for one in damage] == [("dropped", 61 - len(rows))]
        await spool.close()

    virtual_loop.run(life())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.lists(st.integers(1, 260), min_size=1, max_size=5)),
        st.tuples(st.just("read"), st.integers(1, 600)),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=100)
@given(steps, st.booleans())
def test_any_program_reads_what_was_acknowledged_or_is_told_how_much_was_dropped(tmp_path_factory, program, drop_oldest):
    """Law: read + dropped = acknowledged; order is kept; the bound holds; a spool that was delivered takes entries again."""
    directory = tmp_path_factory.mktemp("spool")
    limits = Limits(size_max=1600, segment_max=300, entry_max=1000, commit_bytes=400, drop_oldest=drop_oldest)
    scene, lost = Scene(), []

    def look(limit):
        window = scene.spool.read(scene.at, limit)
        scene.at = window.next_offset
        lost.extend(window.damage)
        scene.take(zip(window.spooled.starts, window.spooled.rows, strict=True) if window.spooled else ())
        return window

    async def life():
        scene.at = 0
        scene.spool = make(directory, limits)
        scene.spool.open(IDENTITY)
        for what, how in program:
            if what == "offer":
                await scene.offer(*how)
            elif what == "read":
                look(how)
            elif what == "settle":
                scene.settled = scene.at
                scene.spool.settle(scene.settled)
            elif not drop_oldest:
                await scene.spool.close()
                scene.spool = make(directory, limits)
                scene.spool.open(OTHER, scene.settled)
                scene.at = scene.settled
            assert scene.spool.size <= limits.size_max + 10 * HEADER_BYTES
            assert scene.spool.size == sum(path.stat().st_size for path in directory.glob("*.spool"))
        while scene.at < look(300).next_offset or scene.at < scene.spool.end:
            pass
        assert {one.cause for one in lost} <= ({"dropped"} if drop_oldest else set())
        assert len(scene.read) + sum(one.rows for one in lost) == len(scene.acknowledged)
        scene.spool.settle(scene.at)
        await scene.offer(240, tries=2)
        look(1000)
        assert scene.acknowledged[-1] == scene.offered[-1] == scene.read[max(scene.read)]
        await scene.spool.close()

    virtual_loop.run(life())
    read = [row for _, row in sorted(scene.read.items())]
    assert read == [row for row in scene.acknowledged if row in set(read)]
