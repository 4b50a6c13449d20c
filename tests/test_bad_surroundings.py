"""Bad surroundings get a clear answer, and nothing is lost: databases, state directories, a destination that answers nonsense."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from shipper.edge.store import Store
from tests.kit.fake_elastic import Behaviour, ModelElastic, Server, error_item
from tests.kit.site import ROOT, UNPRIVILEGED, Site, check_whole, shipper

STAMP = "2026-02-05T14:30:45Z"
GEOIP = ROOT / "shipper/data/geoip"
RECORDS = [{"timestamp": STAMP, "n": number} for number in range(20)]
SMALL_FILES = [
    *(sys.executable, "-c"),
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); os.execv(sys.argv[2], sys.argv[2:])",
]
"""Runs a command whose files may not grow beyond a number of bytes: to it the disk is full then (EFBIG instead of ENOSPC)."""


# --- Databases


def broken_database(folder: Path, fault: str) -> Path:
    """A path with a City database that is not one."""
    path = folder / "city.mmdb"
    whole = (GEOIP / "GeoLite2-City-Test.mmdb").read_bytes()
    contents = {"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"<html>403</html>"}
    if fault in contents:
        path.write_bytes(contents[fault])
    return path


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", "there is no database at "),
        ("empty", "it is empty"),
        ("truncated", "its end is missing, it was cut short or is of another format"),
        ("text", "its end is missing, it was cut short or is of another format"),
    ],
)
def test_configuration_is_refused_when_a_database_is_missing_or_broken(site: Site, command: str, fault: str, says: str) -> None:
    """Exit code 78, the file and line where the database is named, a caret under it, and what to do."""
    path = broken_database(site.folder, fault)
    site.pipeline.write_text(
        f"name: app\nsources:\n  - {{type: file, include: [{site.logs}/*.log]}}\nstages:\n"
        f"  - geoip:\n      field: ip\n      databases:\n        - {path}\noutput: {{type: local, directory: {site.out}}}\n"
    )
    told = shipper(command, site.pipeline)
    lines = told.err.splitlines()
    assert (told.code, told.out) == (78, "")
    assert re.match(rf"{site.pipeline}:(7:7|8:11): geoip: ", lines[0]) and says in lines[0]
    assert lines[2].strip().startswith("^^^^")
    assert "download it" in lines[3]
    assert lines[-1] == f"1 mistake in {site.pipeline}"
    assert not site.out.exists()


@pytest.mark.parametrize(("fault", "code"), [("missing", 0), ("empty", 78), ("truncated", 78)])
def test_optional_forgives_only_a_database_that_is_missing(site: Site, fault: str, code: int) -> None:
    """`optional: true` goes on without the file; one that is there and broken is a fault all the same."""
    path = broken_database(site.folder, fault)
    site.configure(stages=[{"geoip": {"field": "ip", "databases": [str(path)], "optional": True}}])
    site.write([{"timestamp": STAMP, "ip": "81.2.69.142"}])
    told = site.once()
    assert (told.code, shipper("check", site.pipeline).code) == (code, code)
    assert [document["ip"] for document in site.bodies()] == (["81.2.69.142"] if code == 0 else [])


# --- State directories


def test_unwritable_state_directory_is_found_at_the_start(site: Site) -> None:
    """Exit code 1 with the path and what to do; nothing was sent. Made writable, the same run delivers everything."""
    site.write(RECORDS)
    site.state.mkdir(mode=0o500)
    told = site.wait(site.start(*site.words(), before=UNPRIVILEGED))
    assert told.code == 1
    assert f"shipper: the state directory {site.state} cannot be used: Permission denied" in told.err
    assert "make it writable, free some space, or name another one with SHIPPER_STATE=..." in told.err
    assert "Traceback" not in told.err and not site.out.exists()
    site.state.chmod(0o700)
    check_whole(site.wait(site.start(*site.words(), before=UNPRIVILEGED)), len(RECORDS))


def test_state_directory_that_is_full_is_found_at_the_start(site: Site) -> None:
    """Where not even a checkpoint of 4 KiB has room the run ends at once with 1 and says so; no half file is left there."""
    site.write(RECORDS)
    told = site.wait(site.start(*site.words(), before=[*SMALL_FILES, "4000"]))
    assert told.code == 1
    assert f"shipper: the state directory {site.state} cannot be used: File too large" in told.err
    assert sorted(path.name for path in site.state.iterdir()) == ["lock"]
    check_whole(site.once(), len(RECORDS))


def test_nothing_is_sent_or_claimed_while_the_checkpoint_cannot_be_written(site: Site) -> None:
    """A disk that fills up: no identity is used that is not durable, the run ends with 1, and the next one delivers the rest."""
    for number in range(40):
        site.write([{"timestamp": STAMP, "n": number}], f"{number}-{'x' * 150}.log")
    told = site.wait(site.start(*site.words("--timeout", "500ms"), before=[*SMALL_FILES, "8192"]))
    assert told.code == 1
    assert "the checkpoint cannot be written; nothing is claimed as done" in told.messages()
    assert "progress could not be saved" in told.err and "Traceback" not in told.err
    assert told.account["in_flight"] > 0 and told.account["created"] < 40
    [checkpoint] = site.state.glob("app/*/checkpoint")
    durable = checkpoint.read_text()
    assert all(identity.rsplit("-", 2)[0] in durable for _, identity, _ in site.documents())
    assert site.once().code == 0
    assert sorted(document["n"] for document in site.bodies()) == list(range(40))


def test_output_waits_when_its_disk_is_full(site: Site) -> None:
    """Documents that do not fit are cut off again and kept at the source; with room again each is there once."""
    site.write([{"timestamp": STAMP, "n": number, "padding": "x" * 100} for number in range(400)])
    told = site.wait(site.start(*site.words("--timeout", "1s"), before=[*SMALL_FILES, "65536"]))
    assert told.code == 1
    assert told.account["in_flight"] == 400 and told.account["stopped"] == "the output took nothing for 1 s"
    assert "delivery: retry" in told.messages()
    check_whole(site.once(), 400)
    assert sorted(document["n"] for document in site.bodies()) == list(range(400))


def test_file_that_cannot_be_read_is_told_of_and_the_others_are_shipped(site: Site) -> None:
    """A file without permission: the others arrive, the log and the account name it, and the exit code is 1."""
    site.write(RECORDS)
    site.write(RECORDS, "secret.log").chmod(0)
    told = site.wait(site.start(*site.words(), before=UNPRIVILEGED))
    assert (told.code, told.account["unreadable"], told.account["created"]) == (1, 1, len(RECORDS))
    [found] = [entry for entry in told.log if entry["message"].startswith("file cannot be read")]
    assert (found["log.level"], found["file"], found["reason"]) == ("warning", f"{site.logs}/secret.log", "Permission denied")


def test_second_agent_on_a_state_directory_is_refused(site: Site) -> None:
    """Exit code 1, who owns it and what to do; the first one is not disturbed."""
    site.write(RECORDS)
    held = Store(site.state)
    held.open()
    told = site.once()
    held.close()
    assert told.code == 1
    assert told.err.startswith(f"shipper: another agent owns the state directory {site.state}\n")
    assert "two agents need two state directories" in told.err
    check_whole(site.once(), len(RECORDS))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the checkpoint is not one of ours (empty, zero-filled or foreign); it is not ignored"),
        (b"\0" * 512, "the checkpoint is not one of ours (empty, zero-filled or foreign); it is not ignored"),
        (None, "the checkpoint fails its checksum: the disk or another program changed it"),
    ],
)
def test_checkpoint_that_is_not_whole_is_refused_and_can_be_reset(site: Site, content: bytes | None, says: str) -> None:
    """It is not ignored, which would ship everything again in silence: exit code 1, and how to go on."""
    site.write(RECORDS)
    check_whole(site.once(), len(RECORDS))
    [checkpoint] = site.state.glob("app/*/checkpoint")
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b'"offset"', b'"offzet"') if content is None else content)
    told = site.once()
    assert told.code == 1
    assert says in told.err and "shipper state reset" in told.err and str(checkpoint) in told.err
    assert shipper("state", "reset", "--state", site.state, site.pipeline).code == 0
    assert site.once().code == 0


# --- A destination that answers nonsense


class Strict(ModelElastic):
    """Refuses a document with a key twice, as Elasticsearch does."""

    def _create(self, index: str, key: str, line: bytes) -> dict[str, Any]:
        for name in json.loads(line, object_pairs_hook=list):
            if [other for other, _ in json.loads(line, object_pairs_hook=list)].count(name[0]) > 1:
                return error_item(400, "document_parsing_exception", f"[1:9] Duplicate field '{name[0]}'\n at [Source: hunter2]")
        return super()._create(index, key, line)


def test_record_with_a_key_twice_is_a_dead_letter_when_elasticsearch_refuses_it(site: Site) -> None:
    """The others arrive; the record lies in the dead letters with type and field of the error, and the exit code is 1."""
    site.write(b'{"timestamp":"%b","a":1,"a":2}\n' % STAMP.encode())
    site.write(RECORDS)
    with Server(Strict()) as server:
        site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
        told = site.once()
        assert site.once("--timeout", "1s").account["read"] == 0
    account = told.account
    assert told.code == 1
    assert (account["created"], account["dead"], account["unaccounted"]) == (len(RECORDS), {"document_parsing_exception": 1}, 0)
    [letter] = site.dead_letters()
    assert (letter["error"], letter["status"]) == ({"type": "document_parsing_exception", "field": "a"}, 400)
    assert letter["document"]["timestamp"] == STAMP
    assert "hunter2" not in told.err + json.dumps(letter)


@pytest.mark.parametrize(
    ("nonsense", "says"),
    [
        ("html", "delivery: unknown outcome"),
        ("half", "delivery: unknown outcome"),
        ("empty", "delivery: unknown outcome"),
        ("wrong_count", "delivery: unknown outcome"),
        ("half_reply", "delivery: retry"),
        ("cut", "delivery: retry"),
        ("cut_after_apply", "delivery: retry"),
        ("404", "delivery: refused"),
        ("503", "delivery: retry"),
    ],
)
def test_everything_arrives_once_when_elasticsearch_answers_nonsense_and_recovers(site: Site, nonsense: str, says: str) -> None:
    """What was applied without an answer that can be believed is sent again and refused as a duplicate; the log says what happened."""
    site.write(RECORDS)
    with Server() as server:
        server.script = [Behaviour(nonsense), Behaviour(nonsense)]
        site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
        told = site.once()
        arrived = [document["n"] for document in server.model.documents.values()]
    check_whole(told, len(RECORDS))
    assert sorted(arrived) == list(range(len(RECORDS)))
    assert told.messages().count(says) == 2 and told.messages().count("delivery: recovered") == 1
    assert told.account["duplicate"] == (len(RECORDS) if server.model.statuses[409] else 0)


def test_nothing_is_lost_when_nobody_listens(site: Site) -> None:
    """`--timeout` passes, the exit code is 1 and the text says what was kept; once the server is there all arrives."""
    site.write(RECORDS)
    server = Server()
    server._http.server_close()
    site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
    told = site.text("--timeout", "300ms")
    assert told.code == 1
    assert "not delivered, kept" in told.err and "the output took nothing for" in told.err
    assert {entry["error"] for entry in told.log if entry["message"] == "delivery: retry"} == {"connect"}
    with Server() as other:
        site.configure(output={"type": "elasticsearch", "hosts": [other.url]})
        check_whole(site.once(), len(RECORDS))
        assert len(other.model.documents) == len(RECORDS)
