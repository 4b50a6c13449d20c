"""The states of other agents, one format after the other: what they say besides positions, and what bad content is answered."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge.takeover import agents, position, vector
from shipper.model.errors import HostError
from tests.edge import takeover_files as written
from tests.kit.site import ROOT

# --- What each format says besides


def test_fluentd_entries_that_are_no_positions_are_said(tmp_path: Path) -> None:
    """Unwatched, not begun, and of a path that stands twice the last line."""
    state = tmp_path / "pos"
    state.write_text(
        "/a\tffffffffffffffff\t0000000000000001\n/b\t0000000000000000\t0000000000000000\n"
        "/c\t0000000000000010\t0000000000000002\n/c\t00000000000000FF\t0000000000000002\n"
    )
    found = agents.read(state, agents.recognise(state))
    assert [(one.path, one.offset, one.unusable) for one in found] == [
        ("/a", 0, "not watched any more by Fluentd"), ("/b", 0, "not begun by Fluentd"), ("/c", 255, ""),
    ]  # fmt: skip


def test_fluent_bit_rows_of_one_inode_count_by_the_last_and_compressed_ones_not_at_all(tmp_path: Path) -> None:
    """As Fluent Bit's own query orders them."""
    state = tmp_path / "tail.db"
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute(written.FLUENT_BIT_TABLE)
        connection.execute("ALTER TABLE in_tail_files ADD COLUMN skip INTEGER DEFAULT 0;")
        rows = [("/old", 5, 7, 0), ("/new", 9, 7, 0), ("/a.gz", 9, 8, 100), (b"/caf\xe9", 3, -2, 0)]
        for row in rows:
            connection.execute("INSERT INTO in_tail_files (name, offset, inode, skip) VALUES (CAST(? AS TEXT), ?, ?, ?)", row)
    found = agents.read(state, "fluent-bit")
    assert [(one.path, one.offset, one.ino) for one in found] == [
        ("/new", 9, 7), ("/a.gz", 0, 8), ("/caf\udce9", 3, (1 << 64) - 2),
    ]  # fmt: skip
    assert found[1].unusable == "a place inside a compressed file"


def test_fluent_bit_database_with_a_hot_journal_is_not_recovered_in_place(tmp_path: Path) -> None:
    """SQLite would roll it back in the agent's own file; that happens in a copy."""
    state = tmp_path / "tail.db"
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute(written.FLUENT_BIT_TABLE)
        connection.execute("INSERT INTO in_tail_files (name, offset, inode) VALUES ('/a', 5, 7)")
    (tmp_path / "tail.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    before = written.looks(tmp_path)
    assert [one.offset for one in agents.read(state, "fluent-bit")] == [5]
    assert written.looks(tmp_path) == before


def test_a_query_that_never_ends_is_stopped(tmp_path: Path) -> None:
    """The table of the agent may be a view; a foreign file gets no more than its steps."""
    state = tmp_path / "tail.db"
    with closing(sqlite3.connect(state)) as connection, connection:
        endless = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, 'x' AS name, i AS offset, i AS inode"
        )
        connection.execute(f"CREATE VIEW in_tail_files AS {endless} FROM n")
    with pytest.raises(HostError, match="SQLite cannot read it: interrupted"):
        agents.read(state, "fluent-bit")


def test_filebeat_snapshot_log_and_removals_are_played_in_order(tmp_path: Path) -> None:
    """Operations up to the snapshot's number are old; a removed entry is gone; a torn last operation is what a crash leaves."""
    state = written.store(tmp_path, {"filebeat::logs::native::1-2": {"source": "/a", "offset": 1}}, [])
    (state / "3.json").write_text('[{"_key": "filebeat::logs::native::9-9", "source": "/old", "offset": 1}]')
    operations = [
        ("set", 10, "filebeat::logs::native::1-2", {"source": "/a", "offset": 0}),
        ("set", 11, "filebeat::logs::native::3-2", {"source": "/b", "offset": 7}),
        ("set", 12, "winlogbeat::x", {"offset": 7}),
        ("remove", 13, "filebeat::logs::native::1-2", None),
        ("set", 14, "filestream::x::native::5-2", {"cursor": None, "meta": {"source": "/c"}}),
    ]
    text = "".join(
        json.dumps({"op": op, "id": number}) + "\n" + json.dumps({"K": key} if value is None else {"K": key, "V": value}) + "\n"
        for op, number, key, value in operations
    )
    (state / "log.json").write_text(text + '{"op":"set","id":15}\n{"k":"filebeat::lo')
    found = agents.read(tmp_path, agents.recognise(tmp_path))
    assert [(one.path, one.offset, one.ino, one.unusable) for one in found] == [
        ("/b", 7, 3, ""), ("", 0, None, "an entry of another input"), ("/c", 0, None, "not begun by Filebeat"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["log.json", "10.json", "active.dat", "meta.json"])
def test_any_file_of_a_filebeat_registry_names_the_whole(tmp_path: Path, name: str) -> None:
    """A snapshot alone would be an old state."""
    entry = {"source": "/a", "offset": 1}
    newer = ("filebeat::logs::native::1-2", {"source": "/a", "offset": 2})
    state = written.store(tmp_path, {"filebeat::logs::native::1-2": entry}, [newer])
    found = agents.read(state / name, agents.recognise(state / name))
    assert [one.offset for one in found] == [2]


def test_vector_fingerprints_that_are_not_understood_are_said(tmp_path: Path) -> None:
    """The old kinds, which Vector itself replaces."""
    state = tmp_path / "checkpoints.json"
    prints = [{"checksum": 3456}, {"unknown": 1337}, {"first_line_checksum": 5}, {"dev_inode": [1, 2]}]
    items = [{"fingerprint": one, "position": 1234, "modified": "2020-01-01T00:00:00Z"} for one in prints]
    state.write_text(json.dumps({"version": "1", "checkpoints": items}))
    found = agents.read(tmp_path, agents.recognise(tmp_path))
    assert [bool(one.unusable) for one in found] == [True, True, False, False]
    assert (found[3].dev, found[3].ino, found[3].offset) == (1, 2, 1234)


def test_crc64_has_the_check_value_of_its_catalogue() -> None:
    """CRC-64/ECMA-182 of "123456789" (Catalogue of parametrised CRC algorithms)."""
    assert vector.crc64(b"123456789") == 0x6C40DF5F0B497347


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_crc64_is_the_division_of_polynomials_and_can_be_continued(first: bytes, second: bytes) -> None:
    """By table as bit by bit."""
    assert vector.crc64(second, vector.crc64(first)) == written.crc64_bit_by_bit(first + second)


# --- Bad content

BAD = [
    ("fluentd", b"/a\t0000000000000010\t0000000000000002\n/a 12\n", "state:2: expected a path, a tab, the offset in hex"),
    ("fluentd", b"\0" * 100, "state:1: expected a path, a tab"),
    ("fluent-bit", b"SQLite format 3\0" + b"\1" * 2000, "state: SQLite cannot read it: "),
    ("fluent-bit", b"no database", "state:1: expected an SQLite database"),
    ("filebeat", b'[{"source": "/a", "offset": -1}]', "state: item 1: expected an offset"),
    ("filebeat", b'[\n{"source": "/a",\n "offset": }]', "state:3: expected an array of entries"),
    ("filebeat", b'[{"offset": 1}]', "state: item 1: expected a source"),
    ("filebeat", b"[1]", "state: item 1: expected an object"),
    ("filebeat", b'"text"', "state:1: expected an array of entries"),
    ("vector", b'{"version": "2", "checkpoints": []}', 'state:1: expected `version` "1"'),
    ("vector", b'{"version": "1", "checkpoints": 5}', "state:1: expected an object with `version`"),
    ("vector", b'{"version": "1", "checkpoints": [{"position": 5}]}', "checkpoint 1: expected `fingerprint`"),
    ("vector", b'{"version": "1", "checkpoints": [{"position": 5, "fingerprint": {"x": 1}}]}', "checkpoint 1: expected a fingerprint"),
    ("vector", b'{\n"version": "1",\n"checkpoints": [', "state:3: expected an object with `version`"),
    ("promtail", b'positions:\n  /a: "5"\n  /b: five\n', "state:3: expected an offset in digits"),
    ("promtail", b"positions:\n  - /a\n", "state:2: expected `positions:`"),
    ("promtail", b"positions: [\n", "expected `positions:`"),
    ("promtail", b"other: {}\n", "state:1: expected `positions:`"),
    ("promtail", b"positions: {" + b"[" * 100_000, "expected `positions:`"),
    ("promtail", b"", "state:1: expected `positions:`"),
    ("shipper", b'{"shipper_state": 2, "streams": []}', "state:1: expected `shipper_state` 1"),
    ("shipper", b"shipper-checkpoint 1 0\n{}", "fails its checksum"),
]  # fmt: skip


@pytest.mark.parametrize(("agent", "content", "says"), BAD)
def test_bad_content_is_refused_with_file_line_and_what_was_expected(
    tmp_path: Path, agent: str, content: bytes, says: str
) -> None:
    """And nothing of the content is quoted, nor anything raised but the refusal."""
    state = tmp_path / "state"
    state.write_bytes(content)
    with pytest.raises(HostError) as refusal:
        agents.read(state, agent)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"op":"set","id":1}\n{"k":"a"}\n{"op":"set","id":3}\n{"k":"a"}\n', "log.json:3: expected operation 2, not 3"),
        ('{"op":"sett","id":1}\n{"k":"a"}\n', "log.json:1: expected an operation"),
        ('{"op":"set","id":1}\n{"k":5}\n', "log.json:2: expected the entry of the operation"),
        ('{"op":"set","id":1}\n{"k"\n{"op":"set","id":2}\n{"k":"a"}\n', "log.json:2: expected the entry of the operation"),
    ],
)
def test_a_filebeat_log_with_a_bad_operation_is_refused_at_its_line(tmp_path: Path, text: str, says: str) -> None:
    """Only a torn end is passed over."""
    state = written.store(tmp_path, {}, [])
    (state / "log.json").write_text(text)
    with pytest.raises(HostError) as refusal:
        agents.read(state, "filebeat")
    assert says in str(refusal.value)


@given(
    st.sampled_from(agents.NAMES),
    st.binary(max_size=300) | st.text(alphabet='[]{}":,\t\n -?&*!0fpositns', max_size=200).map(str.encode),
)
def test_no_content_raises_anything_but_a_refusal(tmp_path_factory: pytest.TempPathFactory, agent: str, content: bytes) -> None:
    """Whatever the file holds."""
    state = tmp_path_factory.getbasetemp() / "any"
    state.write_bytes(content)
    for act in (lambda: agents.read(state, agent), lambda: agents.recognise(state)):
        try:
            act()
        except HostError as error:
            assert str(state) in str(error)


def test_a_registry_of_a_gibibyte_is_refused_unread(tmp_path: Path) -> None:
    """A sparse file of that size: its length says enough; so it is with what lies beside a database."""
    written.fluent_bit(tmp_path, {})
    for name in ("positions.yaml", "tail.db-wal"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 30)
    with pytest.raises(HostError, match="positions.yaml has 1073741824 bytes; at most 67108864 are read"):
        agents.recognise(tmp_path / "positions.yaml")
    with pytest.raises(HostError, match="tail.db-wal has 1073741824 bytes"):
        agents.read(tmp_path / "tail.db", "fluent-bit")


def test_what_is_no_state_file_is_refused_with_the_agents_that_are_known(tmp_path: Path) -> None:
    """A FIFO is not opened blocking, a directory and a text are nobody's state, an empty file holds nothing."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "empty").touch()
    for name, says in (("fifo", "is no regular file"), ("text", "fluentd, fluent-bit, filebeat"), ("empty", "nothing to take over"),
                       ("", "expected the state of an agent"), ("none", "No such file")):  # fmt: skip
        with pytest.raises(HostError) as refusal:
            agents.recognise(tmp_path / name)
        assert says in str(refusal.value)


def test_the_manual_names_every_agent_and_the_limit() -> None:
    """And its examples of lines fit a terminal."""
    manual = (ROOT / "docs" / "takeover.md").read_text()
    assert set(re.findall(r"(?m)^\| [^|]+ \| `([a-z][a-z-]+)` \|", manual)) == set(agents.NAMES)
    assert f"more than {position.LIMIT_BYTES >> 20} MiB" in manual
    assert all(len(line) <= 80 for block in manual.split("```")[1::2] for line in block.splitlines())
