"""What arrives: every record once, every member of it, in the index of its own day, and the agent's account of it."""

from __future__ import annotations

import json
import platform
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

from tests.bench import compare, workload
from tests.bench.usual_way import Job
from tests.real.world import GEOIP, Account, World

SEED = 20260205
RECORDS = 20_480
CITY, ASN = GEOIP / "GeoLite2-City-Test.mmdb", GEOIP / "GeoLite2-ASN-Test.mmdb"
MASKED = {"message", "password"}
ADDED = {"@timestamp", "log", "host", "client"}


def records(count: int, first: int = 0) -> list[bytes]:
    """Lines of the seeded workload."""
    return list(islice(workload.records(SEED, first + count, CITY), first, None))


def check_account(account: Account, world: World) -> None:
    """The agent's account of a run into fresh indices says what the node counts."""
    assert account["unaccounted"] == account["in_flight"] == account["duplicate"] == 0
    assert not account["dead"] and not account["lost_bytes"] and not account["dropped"]
    assert account["read"] == account["created"] == world.count()
    assert account["indices"] == world.counts()


def expected(world: World, path: Path) -> list[tuple[str, compare.Document]]:
    """What the job done the usual way, which shares no code with the agent, makes of a log file."""
    job = Job(CITY, ASN, str(path), platform.node())
    with path.open("rb") as lines:
        made = [
            (index.replace("analytics", world.prefix, 1), json.loads(json.dumps(document)))
            for index, document in job.documents(lines)
        ]
    assert not job.held
    return made


def test_documents_are_the_records_when_shipped_to_fresh_indices(world: World) -> None:
    """20,480 records arrive once each, equal in every field to what an independent program makes of them, ids and account right."""
    path = world.write(records(RECORDS))
    assert path.stat().st_size > 9_000_000
    account = world.once().account
    check_account(account, world)
    assert account["read"] == RECORDS
    found = world.documents()
    comparison = compare.compare(((index, document) for index, _, document in found), iter(expected(world, path)))
    assert comparison.equal and comparison.compared == RECORDS, comparison
    check_ids(path, found)
    hits = Counter(
        text for _, _, document in found for text in ("email", "card", "bearer") if f"[REDACTED:{text}" in document["message"]
    )
    assert all(account["masked"][rule] == hits[rule] > 0 for rule in hits) and len(hits) == 3


def check_ids(path: Path, found: list[tuple[str, str, compare.Document]]) -> None:
    """Every `_id` names the bytes of its own record, and every unmasked member is what stands there."""
    data = path.read_bytes()
    spans = {}
    for _, name, document in found:
        stream, start, stop = name.rsplit("-", 2)
        spans[int(start)] = int(stop)
        record = json.loads(data[int(start) : int(stop)])
        assert len(stream) == 22 and document["log"]["offset"] == int(start)
        assert document.keys() - record.keys() <= ADDED
        assert all(document[member] == value for member, value in record.items() if member not in MASKED)
        assert ("password" in record) == (document.get("password") == "[REDACTED:key]")
    assert len({name.rsplit("-", 2)[0] for _, name, _ in found}) == 1
    at = 0
    while at < len(data):
        at = spans.pop(at)
    assert not spans


def test_second_run_ships_nothing_when_nothing_was_written(world: World) -> None:
    """What is settled is not read again, by a second run nor by a third after more was written."""
    world.write(records(300))
    world.once()
    ids = {name for _, name, _ in world.documents()}
    again = world.once().account
    assert (again["read"], again["created"], again["duplicate"]) == (0, 0, 0)
    world.write(records(200, first=300))
    more = world.once().account
    assert (more["read"], more["created"], more["duplicate"]) == (200, 200, 0)
    found = world.documents()
    assert len(found) == 500 and ids < {name for _, name, _ in found}


def test_older_state_makes_duplicates_only_when_restored(world: World) -> None:
    """With an older state everything since then is sent again under the same ids: refused one by one, counted, stored once."""
    world.write(records(2_000))
    world.once()
    shutil.copytree(world.state, world.folder / "older")
    world.write(records(3_000, first=2_000))
    assert world.once().account["created"] == 3_000
    before = sorted(world.documents(), key=lambda found: found[:2])
    shutil.rmtree(world.state)
    shutil.move(world.folder / "older", world.state)
    account = world.once().account
    assert (account["read"], account["created"], account["duplicate"]) == (3_000, 0, 3_000)
    assert account["unaccounted"] == account["in_flight"] == 0
    assert sorted(world.documents(), key=lambda found: found[:2]) == before
    assert len(before) == 5_000
