"""Journal inlet on real journals, made by systemd-journal-remote and read by journalctl: followed, resumed, killed, ended.

Entries are given in the Journal Export Format (systemd.io/JOURNAL_EXPORT_FORMATS): `NAME=value` lines, or for values with newlines
or bytes the name, the size (64 bits, little-endian) and the bytes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from shipper.edge.journal import LINE_BYTES_MAX, JournalInlet, Lines
from shipper.inlets import mint_identity
from shipper.source import events
from shipper.source.journald import Journald
from tests.edge.listening import settled
from tests.edge.test_push_inlet import Flow
from tests.kit.site import Site, Told, check_whole, wait_until
from tests.real.world import check_ids

REMOTE = "/lib/systemd/systemd-journal-remote"
SEED = int(os.environ.get("SHIPPER_TEST_SEED", "20260205"))
KILLS = 6
BOOT = "0123456789abcdef0123456789abcdef"
FIRST_US = 1_770_301_845_000_000
"""2026-02-05T14:30:45Z."""
pytestmark = pytest.mark.needs("journalctl", REMOTE)
Fields = list[tuple[str, bytes | str]]


def exported(number: int, fields: Fields) -> bytes:
    """An entry in export format."""
    head = [
        ("__REALTIME_TIMESTAMP", str(FIRST_US + number * 1000)),
        ("__MONOTONIC_TIMESTAMP", str(1000 + number)),
        ("_BOOT_ID", BOOT),
    ]
    lines = []
    for name, value in [*head, *fields]:
        data = value.encode() if isinstance(value, str) else value
        is_plain = data.isascii() and b"\n" not in data
        lines.append(name.encode() + (b"=" + data if is_plain else b"\n" + len(data).to_bytes(8, "little") + data) + b"\n")
    return b"".join(lines) + b"\n"


def numbered(number: int) -> Fields:
    """The fields of a usual entry."""
    return [("PRIORITY", "6"), ("MESSAGE", f"entry {number}"), ("_SYSTEMD_UNIT", "app.service"), ("N", str(number))]


class Journal:
    """A directory of journal files."""

    def __init__(self, site: Site) -> None:
        self.directory, self._aside = site.folder / "journal", site.folder / "aside"
        self._site = site
        self.directory.mkdir()
        self._aside.mkdir()
        self._files = 0

    def write(self, entries: Iterable[tuple[int, Fields]]) -> None:
        """Add a file with these entries. It appears at once, whole."""
        self._files += 1
        name = f"test-{self._files}.journal"
        content = b"".join(exported(number, fields) for number, fields in entries)
        subprocess.run([REMOTE, "-o", self._aside / name, "-"], input=content, check=True, capture_output=True)
        (self._aside / name).rename(self.directory / name)

    def numbers(self, first: int, last: int) -> None:
        """Add a file with entries of these numbers."""
        self.write((number, numbered(number)) for number in range(first, last + 1))

    def configure(self, **settings: Any) -> None:
        """A pipeline of this journal."""
        source = {"type": "journald", "directory": str(self.directory), **settings}
        self._site.configure(sources=[source])

    def ids(self) -> list[int]:
        """Numbers of the entries in the output, in its order."""
        return [int(document["journald.custom"]["n"]) for _, _, document in self._site.documents()]


@pytest.fixture
def journal(site: Site) -> Journal:
    """A journal, and a pipeline that reads it."""
    made = Journal(site)
    made.configure()
    return made


def test_entries_become_documents_with_the_names_of_ecs(site: Site, journal: Journal) -> None:
    """Message, level, process, unit, time; what a program adds stands apart; newlines and bytes come through."""
    fields: Fields = [
        ("PRIORITY", "3"), ("MESSAGE", "two\nlines"), ("SYSLOG_IDENTIFIER", "app"), ("_PID", "42"), ("_SYSTEMD_UNIT", "app.service"),
        ("REQUEST_ID", "r-1"), ("RAW", b"\x00\xff\n"), ("CODE_LINE", "9" * 40), ("TWICE", "a"), ("TWICE", "b"),
    ]  # fmt: skip
    journal.write([(1, fields)])
    check_whole(site.once(), 1)
    [(index, identity, document)] = site.documents()
    assert index == "app-2026.02.05" and len(identity) == 32
    assert document["@timestamp"] == "2026-02-05T14:30:45.001000Z"
    assert document["message"] == "two\nlines" and document["log.level"] == "error"
    assert (document["process.name"], document["process.pid"], document["systemd.unit"]) == ("app", 42, "app.service")
    assert document["log.origin.file.line"] == "9" * 40
    assert document["journald.custom"]["request_id"] == "r-1"
    assert document["journald.custom"]["raw"] == "\x00\xff\n"
    assert sorted(document["journald.custom"]["twice"]) == ["a", "b"]
    assert "file" not in document["log"] and document["host"] == {"name": "web-1"}


def test_secrets_in_entries_are_masked(site: Site, journal: Journal) -> None:
    """The journal passes the gate like every source."""
    journal.write([(1, [("MESSAGE", "card 4111 1111 1111 1111"), ("N", "1")])])
    site.configure(sources=[{"type": "journald", "directory": str(journal.directory)}], redact={"packs": ["pii"]})
    told = site.once()
    check_whole(told, 1)
    assert "4111 1111" not in str(site.documents()) and told.account["masked"]


def test_next_run_goes_on_behind_the_cursor(site: Site, journal: Journal) -> None:
    """The journal is read once, over several files."""
    journal.numbers(1, 500)
    check_whole(site.once(), 500)
    check_whole(site.once(), 0)
    journal.numbers(501, 900)
    check_whole(site.once(), 400)
    assert journal.ids() == list(range(1, 901))


def test_journal_is_followed_live_and_stopped_in_good_order(site: Site, journal: Journal) -> None:
    """Also behind a cursor, where journalctl would show the last ten lines by default."""
    journal.numbers(1, 50)
    check_whole(site.once(), 50)
    journal.numbers(51, 150)
    process = site.start("run", "--json", "--state", site.state, site.pipeline)
    wait_until(lambda: len(journal.ids()) == 150, "what came while the agent was down")
    journal.numbers(151, 200)
    wait_until(lambda: len(journal.ids()) == 200, "what comes")
    process.send_signal(signal.SIGTERM)
    told = site.wait(process)
    assert (told.code, told.account["read"], told.account["stopped"]) == (0, 150, "SIGTERM")
    assert "Traceback" not in told.err and journal.ids() == list(range(1, 201))
    check_whole(site.once(), 0)


def test_start_at_the_end_counts_from_the_very_first_run(site: Site, journal: Journal) -> None:
    """What comes while the agent is down is read, also when the first run read nothing."""
    journal.numbers(1, 20)
    journal.configure(start="end")
    check_whole(site.once(), 0)
    journal.numbers(21, 30)
    check_whole(site.once(), 10)
    assert journal.ids() == list(range(21, 31))


def test_start_at_the_end_of_an_empty_journal_reads_what_comes(site: Site, journal: Journal) -> None:
    """There is no last entry to stand behind."""
    journal.configure(start="end")
    check_whole(site.once(), 0)
    journal.numbers(1, 5)
    check_whole(site.once(), 5)


def test_units_choose_the_entries(site: Site, journal: Journal) -> None:
    """As `journalctl -u` does."""
    journal.write(
        (number, [("MESSAGE", "x"), ("_SYSTEMD_UNIT", f"app{number % 2}.service"), ("N", str(number))]) for number in range(10)
    )
    journal.configure(units=["app1.service"])
    check_whole(site.once(), 5)
    assert journal.ids() == [1, 3, 5, 7, 9]


def test_ids_are_exact_when_the_agent_is_killed_at_random_moments(site: Site, journal: Journal) -> None:
    """Six kills while entries come: every one is in the output once, and no journalctl is left behind."""
    rng = random.Random(SEED)
    written, said = 0, list[Told]()
    for _ in range(KILLS):
        journal.numbers(written + 1, written := written + rng.randint(200, 3000))
        size = sum(path.stat().st_size for path in site.out.glob("*"))
        process = site.start("run", "--json", "--state", site.state, site.pipeline)
        if rng.random() < 0.7:
            wait_until(lambda: sum(path.stat().st_size for path in site.out.glob("*")) > size, "output")  # noqa: B023
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        said.append(site.wait(process))
    told = site.once()
    print(f"seed {SEED}: {written} written; the last run read {told.account['read']}")
    assert [killed.code for killed in said] == [-signal.SIGKILL] * KILLS
    assert [entry for killed in [*said, told] for entry in killed.log if entry["log.level"] != "info"] == []
    assert told.code == told.account["unaccounted"] == told.account["in_flight"] == 0
    check_ids((("", "", {"n": number}) for number in journal.ids()), written)
    assert len({identity for _, identity, _ in site.documents()}) == written
    wait_until(lambda: not readers(journal.directory), "journalctl to end by itself")


def readers(directory: Path) -> list[int]:
    """Processes that run journalctl on a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--directory={directory}".encode() in words:
            found.append(int(path.parent.name))
    return found


def test_journalctl_that_ends_is_started_again_behind_what_was_read(site: Site, journal: Journal) -> None:
    """Killed by somebody, say: nothing is missing, nothing twice, and the log says so."""
    journal.numbers(1, 30)
    process = site.start("run", "--json", "--state", site.state, site.pipeline)
    wait_until(lambda: len(journal.ids()) == 30, "30 documents")
    [reader] = readers(journal.directory)
    os.kill(reader, signal.SIGKILL)
    journal.numbers(31, 60)
    wait_until(lambda: len(journal.ids()) == 60, "what came after it")
    process.send_signal(signal.SIGTERM)
    told = site.wait(process)
    assert told.code == 0 and journal.ids() == list(range(1, 61))
    [line] = [line for line in told.log if line["message"] == "journalctl ended, to be started again"]
    assert line["code"] == -signal.SIGKILL
    assert readers(journal.directory) == []


def program(site: Site, text: str) -> str:
    """A program in place of journalctl."""
    path = site.folder / "journalctl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_missing_journalctl_is_told_of_with_what_to_do(site: Site, journal: Journal) -> None:
    """Exit code 1, no traceback."""
    journal.configure(program="/nowhere/journalctl")
    told = site.once()
    assert told.code == 1 and "Traceback" not in told.err
    assert "/nowhere/journalctl cannot be run: No such file or directory" in told.err
    assert "Install systemd's journalctl" in told.err


def test_run_fails_when_journalctl_fails_and_says_what_it_said(site: Site, journal: Journal) -> None:
    """A journal that may not be read is no empty journal."""
    journal.configure(program=program(site, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1"))
    told = site.once()
    assert told.code == 1 and "Traceback" not in told.err
    assert "failed with code 1: No journal files were opened due to insufficient permissions." in told.err


def test_entries_that_cannot_be_read_are_lost_with_their_bytes(site: Site, journal: Journal) -> None:
    """Counted, said, and behind them it goes on."""
    entry = '{"__CURSOR":"c%d","MESSAGE":"m","N":"%d"}'
    journal.configure(program=program(site, f"echo '{entry % (1, 1)}'; echo 'no JSON'; echo '[1]'; echo '{entry % (2, 2)}'"))
    told = site.once()
    assert told.code == 1 and told.account["read"] == told.account["created"] == 2
    assert told.account["lost_bytes"] == {"journal": len("no JSON\n[1]\n")}
    assert journal.ids() == [1, 2]


def test_journalctl_waits_while_the_flow_is_paused_and_ends_when_it_is_closed(site: Site, tmp_path: Path) -> None:
    """What nobody takes stays in the journal; a full pipe holds the end of the agent up for nobody."""
    text = 'i=0; while :; do i=$((i+1)); printf \'{"__CURSOR":"c%d","MESSAGE":"%0999d"}\\n\' $i $i; done'
    config = Journald.Config(program=program(site, text))

    async def scene() -> None:
        flow = Flow()
        inlet = JournalInlet("journald", config, flow, mint_identity, time.time)
        await inlet.open(None)
        inlet.offer(events.Paused())
        await settled(lambda: inlet._windows.qsize())
        assert inlet._windows.full() and not inlet.turn() and flow.rows == []
        inlet.offer(events.Resumed())
        assert inlet.turn() and flow.rows
        [state] = inlet.states({flow.begun[0].stream.id: flow.spans[0][1]})
        assert state.fingerprint == f"c{len(flow.rows)}"
        await inlet.close()
        assert inlet._program is not None and inlet._program._process.returncode == -signal.SIGKILL

    asyncio.run(scene())


def test_overlong_lines_are_passed_over_in_constant_memory() -> None:
    """However they are cut; the lines around them are whole, and all bytes are accounted for."""
    text = b"one\n" + b"x" * 100 + b"\ntwo\n" + b"y" * 30 + b"\nthree\n"
    for size in (1, 7, 50, 1000):
        lines, found, lost = Lines(20), list[bytes](), 0
        for at in range(0, len(text), size):
            more, passed = lines.take(text[at : at + size])
            found, lost = found + more, lost + passed
            assert len(lines._rest) <= 20 + size
        assert b"".join(row + b"\n" for row in found if len(row) < 20) == b"one\ntwo\nthree\n"
        assert sum(len(row) + 1 for row in found) + lost == len(text)
    assert LINE_BYTES_MAX >= 1 << 20
