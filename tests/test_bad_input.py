"""Bad input gets a clear answer, and nothing is lost: what becomes of each kind of bad bytes, and what the user reads of it.

Files, records, timestamps and names here; databases, state directories and a destination that answers nonsense in
`test_bad_surroundings.py`. All through the whole agent into the embedded output.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.kit.site import ROOT, Document, Site, check_whole

STAMP = "2026-02-05T14:30:45Z"
INDEX = "app-2026.02.05"
GEOIP = ROOT / "shipper/data/geoip"
CITY = {"geoip": {"field": "client_ip", "target": "client", "databases": [str(GEOIP / "GeoLite2-City-Test.mmdb")]}}
MEASURE = Path(__file__).parent / "bench" / "measure.py"
MIB = 1 << 20


def line(message: str, **more: Any) -> bytes:
    """A good record, without its line end."""
    return json.dumps({"timestamp": STAMP, "message": message, **more}).encode()


def shipped(site: Site, data: bytes, records: int) -> list[Document]:
    """The documents of these bytes. All records are settled, and a second run has nothing to do."""
    site.write(data)
    check_whole(site.once(), records)
    found = site.bodies()
    check_whole(site.once(), 0)
    assert site.bodies() == found
    return found


def flags(document: Document) -> list[str]:
    """What the agent remarks on a document."""
    found: list[str] = document.get("shipper", {}).get("flags", [])
    return found


def parse_error(document: Document) -> str:
    """Why a record was kept as text; empty where it was not."""
    return str(document.get("shipper", {}).get("parse_error", ""))


def span(identity: str) -> tuple[int, int]:
    """First and last byte in the source of a document, from its id."""
    start, stop = identity.rsplit("-", 2)[1:]
    return int(start), int(stop)


# --- Bytes and lines


def test_empty_file_gives_no_document_and_is_no_error(site: Site) -> None:
    """A file without a byte is read, gives nothing, and the run ends with 0."""
    assert shipped(site, b"", 0) == []
    assert "the only file is already read to the end; --from-start reads it again" in site.text().err


def test_last_line_without_a_newline_is_shipped_and_flagged(site: Site) -> None:
    """`--once` ships an unfinished last line and says so; in a later run what follows it is a record of its own."""
    first, last = shipped(site, line("a") + b"\n" + line("b"), 2)
    assert (flags(first), flags(last)) == ([], ["unterminated"])
    assert last["message"] == "b"
    site.write(b"\n" + line("c") + b"\n")
    check_whole(site.once(), 1)
    assert [document["message"] for document in site.bodies()] == ["a", "b", "c"]


def test_crlf_belongs_to_the_line_end_when_a_windows_program_writes(site: Site) -> None:
    """CR before the newline is no part of the record, whose span covers it all the same."""
    documents = shipped(site, line("a") + b"\r\n" + line("b") + b"\r\n", 2)
    assert [document["message"] for document in documents] == ["a", "b"]
    assert not any(flags(document) or parse_error(document) for document in documents)
    assert [span(identity) for _, identity, _ in site.documents()] == [
        (0, len(line("a")) + 2),
        (len(line("a")) + 2, 2 * len(line("a")) + 4),
    ]


def test_blank_lines_are_no_records_and_are_counted(site: Site) -> None:
    """Blank lines give no document; their bytes stand in the account."""
    site.write(b"\n\r\n" + line("a") + b"\n\n\n" + line("b") + b"\n\n")
    told = site.once()
    check_whole(told, 2)
    assert told.account["skipped_bytes"] == {"blank": 6}
    assert [document["message"] for document in site.bodies()] == ["a", "b"]


def test_two_objects_on_one_line_are_kept_as_one_text(site: Site) -> None:
    """A line is one record: two objects on it are no JSON, so the line is kept word for word and flagged."""
    text = line("a") + line("b")
    [document] = shipped(site, text + b"\n", 1)
    assert document["message"] == text.decode()
    assert "trailing characters" in parse_error(document)


def test_object_over_two_lines_is_kept_as_two_texts(site: Site) -> None:
    """Each line is a record; neither half is lost, and the account tells of both."""
    site.write(b'{"timestamp":"' + STAMP.encode() + b'",\n"message":"a"}\n')
    told = site.text()
    first, second = site.bodies()
    assert told.code == 0
    assert (first["message"], second["message"]) == ('{"timestamp":"2026-02-05T14:30:45Z",', '"message":"a"}')
    assert parse_error(first) == "Input data was truncated"
    assert parse_error(second) == "not an object but str"
    assert [words for text in told.err.splitlines() if (words := text.split())[0] == "parse_error"] == [["parse_error", "2"]]


def test_nul_bytes_hide_no_record_after_a_power_cut(site: Site) -> None:
    """Runs of NUL before and inside of records are taken out and counted; the records are whole."""
    site.write(b"\0" * 4096 + line("a") + b"\n" + line("b\x00c").replace(b"\\u0000", b"\0") + b"\n\0\0\0\n" + line("d") + b"\n")
    told = site.once()
    check_whole(told, 3)
    assert [document["message"] for document in site.bodies()] == ["a", "bc", "d"]
    assert told.account["skipped_bytes"] == {"nul": 4096 + 1 + 3, "blank": 1}


def test_bytes_that_are_not_utf8_are_kept_as_latin1_and_flagged(site: Site) -> None:
    """Each such byte becomes the character of its number, so that Latin-1 stays readable; the other rows are as they were."""
    first, second = shipped(site, line("caf_").replace(b"_", b"\xe9") + b"\n" + line("caf\u00e9") + b"\n", 2)
    assert first["message"] == second["message"] == "caf\u00e9"
    assert (flags(first), flags(second)) == (["invalid_utf8"], [])


@pytest.mark.parametrize("filling", [b"x", b"\0"], ids=["text", "hole"])
def test_line_of_100_mib_is_cut_and_the_rest_is_read_in_little_memory(site: Site, filling: bytes) -> None:
    """Such a line becomes one record, cut at `max_record` and flagged; of a hole in the file nothing is left. The memory stays small."""
    path = site.write(line("before") + b"\n")
    with path.open("ab") as file:
        for _ in range(100):
            file.write(filling * MIB)
        file.write(b"\n" + line("after") + b"\n")
    cost = site.folder / "cost.json"
    told = site.wait(site.start(*site.words(), before=[sys.executable, "-S", str(MEASURE), str(cost)]))
    documents = site.bodies()
    check_whole(told, len(documents))
    assert (documents[0]["message"], documents[-1]["message"]) == ("before", "after")
    if filling == b"x":
        assert (documents[1]["message"], flags(documents[1])) == ("x" * MIB, ["truncated", "timestamp_missing"])
        assert told.account["skipped_bytes"] == {"cut": 99 * MIB}
    assert len(documents) == (3 if filling == b"x" else 2)
    assert json.loads(cost.read_text())["peak_rss_bytes"] < 150 * MIB


# --- Records


@pytest.mark.parametrize(
    ("text", "kind"), [("[1,2]", "array"), ("17", "int"), ("null", "null"), ("1.5", "float"), ("true", "bool"), ('"a"', "str")]
)
def test_record_that_is_no_object_is_kept_as_text_with_its_kind(site: Site, text: str, kind: str) -> None:
    """An array, a number, null: the line becomes `message`, and `shipper.parse_error` says what it was."""
    [document] = shipped(site, text.encode() + b"\n", 1)
    assert (document["message"], parse_error(document)) == (text, f"not an object but {kind}")


@pytest.mark.parametrize("opened", ['{"a":' + "[" * 10_000, '{"a":' * 10_000], ids=["lists", "objects"])
def test_record_10000_levels_deep_is_kept_as_text(site: Site, opened: str) -> None:
    """What is nested too deeply for any parser is kept as text, and does not take the other rows with it."""
    text = opened + ("]" * 10_000 + "}" if "[" in opened else "1" + "}" * 10_000)
    deep, after = shipped(site, text.encode() + b"\n" + line("after") + b"\n", 2)
    assert (deep["message"], parse_error(deep)) == (text, "nested too deeply")
    assert after["message"] == "after"


def test_members_that_collide_with_ours_move_out_of_the_way_when_they_are_no_objects(site: Site) -> None:
    """A scalar, or a dotted spelling, in the place of an object of ours moves to `shipper.record`; nothing of it is lost."""
    site.configure(stages=[CITY])
    own = {
        "host": "db-1",
        "log": 7,
        "client": "anna",
        "shipper": "me",
        "host.name": "db-2",
        "log.offset": 5,
        "client.geo.city_name": "Ulm",
    }
    [document] = shipped(site, line("a", client_ip="81.2.69.142", **own) + b"\n", 1)
    assert document["shipper"]["record"] == own
    assert document["host"] == {"name": "web-1"}
    assert document["log"]["offset"] == 0
    assert document["client"]["geo"]["city_name"] == "London"


def test_members_that_collide_with_ours_are_joined_when_they_are_objects(site: Site) -> None:
    """An object stays where it is, ours beside its members; where both have one, ours stands and theirs is not lost."""
    site.configure(stages=[CITY])
    own = {"host": {"os": "linux"}, "log": {"level": "info"}, "client": {"id": 7, "geo": {"note": "x"}}, "shipper": {"mine": 1}}
    [document] = shipped(site, line("a", client_ip="81.2.69.142", **own) + b"\n", 1)
    assert document["host"] == {"os": "linux", "name": "web-1"}
    assert (document["log"]["level"], document["log"]["offset"]) == ("info", 0)
    assert (document["client"]["id"], document["client"]["geo"]["note"], document["client"]["geo"]["city_name"]) == (
        7,
        "x",
        "London",
    )
    assert document["shipper"]["mine"] == 1


# --- Timestamps


@pytest.mark.parametrize(
    ("written", "stamp"),
    [
        ("2026-02-06T00:30:00+01:00", "2026-02-05T23:30:00.000Z"),
        ("2026-02-05 14:30:45,5", "2026-02-05T14:30:45.500Z"),
        (1_770_301_845, "2026-02-05T14:30:45.000Z"),
        ("1770301845", "2026-02-05T14:30:45.000Z"),
        (1_770_301_845.25, "2026-02-05T14:30:45.250Z"),
        (1_770_301_845_123, "2026-02-05T14:30:45.123Z"),
        (1_770_301_845_123_456_789, "2026-02-05T14:30:45.123456789Z"),
    ],
)
def test_timestamp_is_understood_when_it_has_an_offset_or_counts_from_1970(site: Site, written: object, stamp: str) -> None:
    """Offsets, epoch seconds, milliseconds and nanoseconds all give the day in UTC; the record keeps what it wrote."""
    [document] = shipped(site, json.dumps({"timestamp": written}).encode() + b"\n", 1)
    assert (document["@timestamp"], document["timestamp"]) == (stamp, written)
    assert [index for index, _, _ in site.documents()] == [INDEX]


@pytest.mark.parametrize(("own", "flag"), [({}, "timestamp_missing"), ({"timestamp": "soon"}, "timestamp_unreadable")])
def test_record_without_a_time_takes_the_one_before_it(site: Site, own: dict[str, str], flag: str) -> None:
    """A missing or unreadable time is that of the record before in the file, also over a restart, and flagged."""
    site.write(line("a") + b"\n")
    check_whole(site.once(), 1)
    site.write([{"message": "b", **own}])
    check_whole(site.once(), 1)
    document = site.bodies()[1]
    assert (document["@timestamp"], flags(document)) == ("2026-02-05T14:30:45.000Z", [flag])


def test_first_record_without_a_time_takes_the_one_when_its_file_was_first_seen(site: Site) -> None:
    """With no time before it, the moment the file was found counts; it is in the checkpoint, so that a resend has the same."""
    before = datetime.now(UTC).replace(microsecond=0)
    [document] = shipped(site, b"plain text\n", 1)
    assert before <= datetime.fromisoformat(document["@timestamp"]) <= datetime.now(UTC)


@pytest.mark.parametrize("stamp", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_record_of_another_age_goes_to_the_fallback_index_with_its_time_kept(site: Site, stamp: str) -> None:
    """Outside of the route's window an index of its own would be made for a wrong clock: the fallback takes it."""
    site.configure(route=[{"index": "app"}])
    [document] = shipped(site, json.dumps({"timestamp": stamp}).encode() + b"\n", 1)
    assert [index for index, _, _ in site.documents()] == ["app-fallback"]
    assert (document["@timestamp"], document["timestamp"]) == (stamp, stamp)


# --- Names


@pytest.mark.parametrize(
    ("service", "index"),
    [
        ("../../etc/passwd", "app-etc-passwd-2026.02.05"),
        ("..", "app-fallback"),
        ("UPPER Case", "app-upper-case-2026.02.05"),
        ("x" * 300, f"app-{'x' * 64}-2026.02.05"),
        ("", "app-fallback"),
        (None, "app-fallback"),
        (["a"], "app-fallback"),
        ('a"},{"x', "app-a-x-2026.02.05"),
        ("\u0416\U0001f600", "app-fallback"),
        ("a\nb\0c", "app-a-b-c-2026.02.05"),
        (7, "app-7-2026.02.05"),
    ],
)
def test_index_name_is_harmless_when_it_comes_from_a_hostile_field(site: Site, service: object, index: str) -> None:
    """A field in an index name is lowercased, stripped and cut; what leaves nothing goes to the fallback. The record is untouched."""
    site.configure(route=[{"index": "app-{service}", "window": "none"}])
    [document] = shipped(site, line("a", service=service) + b"\n", 1)
    assert [index for index, _, _ in site.documents()] == [index]
    assert document["service"] == service
    assert [path.name for path in site.out.iterdir()] == [f"{index}.ndjson"]


def test_index_names_are_bounded_when_a_field_has_many_values(site: Site) -> None:
    """At most 50 new names an hour; the other records go to the fallback, and none is lost."""
    site.configure(route=[{"index": "app-{service}", "window": "none"}])
    site.write({"timestamp": STAMP, "service": f"s{number}"} for number in range(60))
    check_whole(site.once(), 60)
    names = [index for index, _, _ in site.documents()]
    assert (len(set(names)), names.count("app-fallback")) == (51, 10)


def test_file_is_read_when_its_name_is_hostile(site: Site) -> None:
    """Names with bytes that are not UTF-8, line ends and escapes are read and resumed, and forge nothing in the agent's log."""
    names = [b"caf\xe9.log", b"a\nb\x1b[2J.log", "\u202e\u009b.log".encode(), b"password=hunter2secret.log"]
    for name in names:
        with open(os.fsencode(site.logs) + b"/" + name, "wb") as file:
            file.write(line("a") + b"\n")
    told = site.once()
    check_whole(told, 4)
    check_whole(site.once(), 0)
    paths = {document["log"]["file"]["path"].removeprefix(f"{site.logs}/") for document in site.bodies()}
    assert {"caf\u00e9.log", "a\nb\x1b[2J.log", "\u202e\u009b.log"} < paths
    assert len(told.err.splitlines()) == len(told.log)
    assert not set("\x1b\u202e\u009b\ufffd") & set(told.err)
    assert "hunter2secret" not in told.err + json.dumps(site.bodies())
