"""The workload is what the benchmark says it is: shares, lengths, times, addresses."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from datetime import datetime
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import maxminddb
import pytest

from tests.bench import workload
from tests.bench.processes import packaged_databases
from tests.bench.usual_way import luhn

COUNT = 40_000
CITY = packaged_databases().city


@cache
def lines() -> list[bytes]:
    """The first records of one seed."""
    return list(workload.records(7, COUNT, CITY))


@cache
def parsed() -> list[dict[str, object]]:
    """The same, decoded."""
    return [json.loads(line) for line in lines()]


def share(hits: int) -> float:
    """Part of all records."""
    return hits / COUNT


def test_records_are_the_same_bytes_when_the_seed_is_the_same() -> None:
    """A shorter workload is a prefix of a longer one; another seed gives another one."""
    assert list(workload.records(7, 10_000, CITY)) == lines()[:10_000]
    assert next(workload.records(8, 1, CITY)) != lines()[0]


def test_lengths_lie_in_the_band() -> None:
    """430 to 510 bytes with the newline, both ends met, one object a line, ASCII."""
    lengths = set(map(len, lines()))
    assert (min(lengths), max(lengths)) == workload.LENGTHS
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 and line.isascii() for line in lines())
    assert [record["seq"] for record in parsed()] == list(range(1, COUNT + 1))


def test_fields_stand_in_one_order() -> None:
    """Every record has the fields of the issue's example, `duration_ms` and `password` being the ones that may be missing."""
    order = (
        "timestamp level logger service environment version seq message request_id trace_id user_id client_ip method path"
        " status_code password duration_ms"
    ).split()
    shapes = {tuple(record) for record in parsed()}
    assert shapes == {
        tuple(name for name in order if name not in without)
        for without in ((), ("password",), ("duration_ms",), ("password", "duration_ms"))
    }


def test_times_ascend_by_a_millisecond_on_average() -> None:
    """No record is older than the one before it, all of one day."""
    times = [str(record["timestamp"]) for record in parsed()]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert {time[:10] for time in times} == {"2026-02-05"}
    first, last = (datetime.fromisoformat(time) for time in (times[0], times[-1]))
    assert 0.9 < (last - first).total_seconds() * 1000 / COUNT < 1.1


@pytest.mark.parametrize(
    ("name", "pattern", "wanted"),
    [
        ("email", rb'"message":"[^"]*@', 0.02),
        ("password", rb'"password":"[^"]{12}"', 0.01),
        ("card", rb'"message":"[^"]* card \d', 0.01),
        ("bearer", rb'"message":"[^"]*Bearer [A-Za-z0-9]{32}[" ]', 0.005),
        ("duration", rb'"duration_ms":', 2 / 3),
        ("errors", rb'"level":"(ERROR|CRITICAL)"', 0.06),
    ],
)
def test_shares_are_those_of_the_issue(name: str, pattern: bytes, wanted: float) -> None:
    """Each share is met within an eighth."""
    found = share(sum(re.search(pattern, line) is not None for line in lines()))
    assert abs(found - wanted) < wanted * 0.125, name


def test_at_most_one_secret_stands_in_a_record() -> None:
    """So that shares and masks can be counted against each other."""
    pattern = re.compile(rb'@|"password"| card \d|Bearer ')
    assert max(len(pattern.findall(line)) for line in lines()) == 1


def test_cards_are_valid() -> None:
    """16 digits, an issuer's first digits, a Luhn sum that holds, all three ways of writing."""
    rng = random.Random(1)
    cards = [workload.card(rng) for _ in range(500)]
    assert all(luhn(re.sub("[ -]", "", card)) and card[0] in "45" for card in cards)
    assert not luhn("4111111111111112")
    assert {re.sub(r"\d", "d", card) for card in cards} == {"d" * 16, "dddd dddd dddd dddd", "dddd-dddd-dddd-dddd"}


def test_addresses_follow_zipf_and_half_of_the_records_resolve() -> None:
    """The most frequent address comes about twice as often as the second and n times as often as the nth."""
    counted = Counter(str(record["client_ip"]) for record in parsed())
    (_, first), (_, second) = counted.most_common(2)
    assert 1.6 < first / second < 2.4
    assert len(counted) > 5_000
    with maxminddb.open_database(CITY) as city:
        resolved = sum(count for address, count in counted.items() if city.get(address))
    assert 0.5 <= share(resolved) <= 0.75
    assert share(sum(count for address, count in counted.items() if address.startswith("10."))) > 0.05


def test_written_makes_the_file_once(tmp_path: Path) -> None:
    """A second call takes the file that is there; the directory keeps itself out of the repository."""
    folder = tmp_path / "cache"
    path = workload.written(folder, 7, 50, CITY)
    assert path.read_bytes() == b"".join(islice(lines(), 50))
    path.write_bytes(b"kept")
    assert workload.written(folder, 7, 50, CITY).read_bytes() == b"kept"
    assert (folder / ".gitignore").read_text() == "*\n"
