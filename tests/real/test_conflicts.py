"""Documents that Elasticsearch refuses for good: they, and only they, become dead letters."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.real.world import Document, World

SEED = 20260205
RECORDS = 10_000
MARK = "canary-7f3a"
"""Stands in every value that is refused: it must be in no log, and in no letter but its own document."""
PROPERTIES = {
    "value": {"type": "long"},
    "seen_at": {"type": "date"},
    "address": {"type": "ip"},
    "spot": {"type": "geo_point"},
    "order": {"type": "object", "dynamic": "strict", "properties": {"number": {"type": "long"}}},
    "tag": {"type": "keyword"},
}
BAD: dict[str, object] = {
    "value": MARK,
    "seen_at": f"{MARK} at noon",
    "address": f"{MARK}.example",
    "spot": f"{MARK}, nowhere",
    "order": {"number": 1, "surprise": MARK},
    "tag": {"is_object": MARK},
}
"""A value for each field that its mapping refuses."""


@pytest.fixture
def mapped(world: World) -> Iterator[World]:
    """A world whose indices have fixed types for some fields."""
    template = {"index_patterns": [f"{world.prefix}*"], "priority": 500, "template": {"mappings": {"properties": PROPERTIES}}}
    world.node.ask("PUT", f"_index_template/{world.prefix}", template)
    yield world
    world.node.ask("DELETE", f"_index_template/{world.prefix}")


def records(rng: random.Random) -> tuple[list[Document], dict[int, str]]:
    """Records of which about one in a hundred has one bad field, and that field by record."""
    made, bad = [], {}
    for number in range(1, RECORDS + 1):
        good = {"value": number, "seen_at": "2026-02-05T08:00:00Z", "address": "10.0.0.1", "order": {"number": 2}, "tag": "a"}
        record: Document = {"timestamp": "2026-02-05T08:00:00Z", "level": "INFO", "n": number, **good}
        if rng.random() < 0.01:
            bad[number] = rng.choice(list(BAD))
            record[bad[number]] = BAD[bad[number]]
        made.append(record)
    return made, bad


def test_refused_records_alone_are_dead_letters_when_mappings_conflict(mapped: World) -> None:
    """One record in a hundred is refused: its letter says type and field, all others are stored, and the run fails with 1."""
    made, bad = records(random.Random(SEED))
    mapped.write(made)
    ended = mapped.once(1)
    account, letters = ended.account, mapped.dead_letters()
    assert len(bad) > 60 and set(bad.values()) == set(BAD)
    assert {letter["document"]["n"]: letter["error"]["field"].split(".")[0] for letter in letters} == bad
    assert len(letters) == len(bad)
    assert {document["n"] for _, _, document in mapped.documents()} == set(range(1, RECORDS + 1)) - bad.keys()
    assert mapped.count() == RECORDS - len(bad)
    assert account["read"] == RECORDS and account["created"] == RECORDS - len(bad)
    assert account["dead"] == dict(Counter(letter["error"]["type"] for letter in letters))
    assert sum(account["dead"].values()) == len(bad)
    assert account["indices"] == mapped.counts()
    assert account["unaccounted"] == account["in_flight"] == account["duplicate"] == 0


def test_letters_and_log_show_no_value_when_documents_are_refused(mapped: World) -> None:
    """What was refused is told by status, type and field name; the value is in the letter's document and nowhere else."""
    mapped.write([{"timestamp": "2026-02-05T08:00:00Z", "n": n, field: value} for n, (field, value) in enumerate(BAD.items())])
    ended = mapped.once(1)
    assert ended.account["created"] == 0
    letters = mapped.dead_letters()
    fields = {letter["document"]["n"]: letter["error"]["field"] for letter in letters}
    assert [fields[n] for n in range(len(BAD))] == ["value", "seen_at", "address", "spot", "order.surprise", "tag"]
    for letter in letters:
        assert letter["status"] == 400
        assert letter["error"]["type"] in {
            "document_parsing_exception",
            "mapper_parsing_exception",
            "strict_dynamic_mapping_exception",
        }
        assert letter["index"] == f"{mapped.prefix}-2026.02.05" and letter["_id"].count("-") >= 2
        document = letter.pop("document")
        assert MARK in str(document) and MARK not in str(letter)
    assert MARK not in ended.log and "dead" in ended.log


def test_dead_letters_stay_when_the_run_is_repeated(mapped: World) -> None:
    """A dead record is settled: a second run neither sends it again nor fails for it."""
    mapped.write([{"timestamp": "2026-02-05T08:00:00Z", "n": n, "value": n if n % 2 else MARK} for n in range(10)])
    mapped.once(1)
    letters = mapped.dead_letters()
    assert len(letters) == 5
    again = mapped.once(0).account
    assert again["read"] == 0 and not again["dead"]
    assert mapped.dead_letters() == letters and mapped.count() == 5
