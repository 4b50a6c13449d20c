"""Dedupe: the first of records that say the same in a window is kept, and the account or a document tells of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.condition import Condition
from shipper.config.fields import Duration
from shipper.edge.tables import Tables
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.stages.dedupe import REASON, Dedupe
from tests.kit import laws
from tests.kit.site import Site

T0 = 1_770_301_840
"""2026-02-05T14:30:40Z, the start of a window of 10 s."""


def stage(**settings_: Any) -> Dedupe:
    """A dedupe by `service`, in windows of 10 s unless said otherwise."""
    return Dedupe(Dedupe.Config(**{"key": ["service"], **settings_}), Tables())


def run(dedupe: Dedupe, rows: Sequence[laws.Record], seconds: Sequence[int] | None = None) -> Columns:
    """Process one batch; all at T0 unless said otherwise."""
    columns = laws.columns_of(rows, dedupe.reads, seconds=[T0] * len(rows) if seconds is None else seconds)
    dedupe.process(columns, 0.0)
    return columns


def kept(columns: Columns) -> list[int]:
    """Rows that were neither dropped nor held."""
    return [row for row in range(columns.count) if row not in columns.dropped and row not in columns.held]


def oracle(keys: Sequence[object], keys_max: int) -> list[int]:
    """The simple way: row by row, with two sets of which the older one is forgotten when the younger one is full."""
    younger: set[object] = set()
    older: set[object] = set()
    found = []
    for row, key in enumerate(keys):
        if key in younger or key in older:
            continue
        if len(younger) == keys_max // 2:
            older, younger = younger, set()
        younger.add(key)
        found.append(row)
    return found


events = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdef")), max_size=60)


@settings(deadline=None)
@given(events=events, window=st.sampled_from([1, 7, 10]), keys_max=st.integers(2, 9), summary=st.booleans())
def test_dedupe_keeps_what_the_simple_way_keeps(events: list[tuple[int, str]], window: int, keys_max: int, summary: bool) -> None:
    """For times in any order, and a table of any size."""
    dedupe = stage(window=Duration(window), keys_max=keys_max, summary=summary)
    columns = run(dedupe, [{"service": key} for _, key in events], [second for second, _ in events])
    expected = oracle([(second // window, key) for second, key in events], keys_max)
    assert kept(columns) == expected
    assert set(columns.dropped.values()) <= {REASON}
    assert bool(columns.held) <= summary


@given(events=events)
def test_at_most_one_of_a_key_passes_in_a_window_when_there_is_room(events: list[tuple[int, str]]) -> None:
    """And the first one does."""
    columns = run(stage(), [{"service": key} for _, key in events], [second for second, _ in events])
    keys = [(events[row][0] // 10, events[row][1]) for row in kept(columns)]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {(second // 10, key) for second, key in events}


def test_records_without_a_key_field_always_pass() -> None:
    """They say nothing by which they could be the same."""
    rows: list[laws.Record] = [{}, {}, {"service": None}, {"service": "a"}, {"service": "a"}, {"service": "a", "host": "x"}]
    assert kept(run(stage(), rows)) == [0, 1, 2, 3]
    assert kept(run(stage(key=["service", "host"]), rows)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", "a", True), ("a", "b", False), ([1, {"x": 2}], [1, {"x": 2}], True), ([1], [2], False), ("x" * 1000, "x" * 1000, True),
        ("x" * 1000, "x" * 999 + "y", False), (1, "1", False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ],
)  # fmt: skip
def test_values_are_the_same_when_they_say_the_same(one: object, other: object, same: bool) -> None:
    """Lists, objects and long texts, too."""
    assert kept(run(stage(), [{"service": one}, {"service": other}])) == ([0] if same else [0, 1])


def test_without_a_key_records_are_the_same_when_all_of_their_bytes_are() -> None:
    """A blank makes another record."""
    dedupe = stage(key=[])
    columns = laws.columns_of([{"a": 1}] * 4, (), seconds=[T0] * 4)
    columns.rows[1] = b'{"a":1'
    dedupe.process(columns, 0.0)
    assert kept(columns) == [0, 1]
    assert kept(run(dedupe, [{"a": 1}, {"a": 2}])) == [1]
    assert kept(run(dedupe, [{"a": 1}], [T0 + 10])) == [0]


def test_only_what_when_selects_is_compared() -> None:
    """Others pass, and do not count as the first either."""
    dedupe = stage(when=Condition({"level": "ERROR"}))
    rows = [{"service": "a"}, {"service": "a", "level": "ERROR"}, {"service": "a", "level": "ERROR"}, {"service": "a"}]
    assert {*dedupe.reads} == {"service", "level"}
    assert kept(run(dedupe, rows)) == [0, 1, 3]


def test_rows_that_another_stage_dropped_are_no_first_ones() -> None:
    """Else their repetition would be gone, too, and nothing of both be left."""
    dedupe = stage()
    columns = laws.columns_of([{"service": "a"}] * 3, dedupe.reads, seconds=[T0] * 3)
    columns.drop(0, "earlier")
    dedupe.process(columns, 0.0)
    assert columns.dropped == {0: "earlier", 2: REASON}


def test_a_summary_says_how_many_were_left_out() -> None:
    """Of each key in each window, from the first to the last of them; the kept record is not counted."""
    dedupe = stage(summary=True)
    rows = [{"service": key} for key in "abaaba"]
    columns = run(dedupe, rows, [T0, T0, T0 + 1, T0 + 9, T0 + 10, T0 + 2])
    assert (kept(columns), set(columns.held)) == ([0, 1, 4], {2, 3, 5})
    assert dedupe.deadline() is not None
    (summary,) = dedupe.flush()
    document = json.loads(summary.document())
    told = document["shipper"]["dedupe"]
    assert (document["service"], document["message"]) == ("a", "duplicate_in_window 3 records")
    assert (told["count"], told["key"], told["window_s"]) == (3, {"service": "a"}, 10)
    assert (told["first"], told["last"]) == ("2026-02-05T14:30:41Z", "2026-02-05T14:30:49Z")
    assert dedupe.deadline() is None


def test_a_summary_of_whole_records_tells_no_hash() -> None:
    """It would be another one after a restart, and so would the document's id."""
    documents = []
    for _ in range(2):
        dedupe = stage(key=[], summary=True)
        run(dedupe, [{"a": 1}] * 3)
        (summary,) = dedupe.flush()
        documents.append((summary.id, summary.document()))
    assert documents[0] == documents[1]
    assert json.loads(documents[0][1])["shipper"]["dedupe"]["key"] == {}


def test_a_summary_goes_out_when_its_key_is_forgotten() -> None:
    """Nothing can join it any more; what is repeated later starts another."""
    dedupe = stage(summary=True, keys_max=2)
    columns = run(dedupe, [{"service": key} for key in "aabcaa"])
    assert kept(columns) == [0, 2, 3, 4]
    assert [summary.count for summary in dedupe.flush()] == [1, 1]


@pytest.mark.parametrize(
    ("settings_", "where"),
    [
        ({"window": Duration(0.5)}, "window"), ({"window": Duration(1.5)}, "window"), ({"keys_max": 1}, "keys_max"),
        ({"key": ["a", "a"]}, "key"),
    ],
)  # fmt: skip
def test_dedupe_is_refused_when_it_cannot_work(settings_: dict[str, Any], where: str) -> None:
    """At the setting that is wrong."""
    with pytest.raises(ComponentError) as caught:
        stage(**settings_)
    assert caught.value.field == where


@pytest.mark.parametrize("summary", [False, True])
def test_what_was_left_out_is_in_the_account(site: Site, summary: bool) -> None:
    """Under its reason, whether a document stands for it or not; nothing is unaccounted for."""
    stamp = "2026-02-05T14:30:45.123Z"
    site.write([{"timestamp": stamp, "message": "lost connection", "n": number} for number in range(20)])
    site.configure(stages=[{"dedupe": {"key": ["message"], "window": "1h", "summary": summary}}])
    account = site.once().account
    assert account["dropped"] == {REASON: 19}
    assert account["unaccounted"] == 0
    documents = [document for _, _, document in site.documents()]
    assert len(documents) == 1 + summary
    assert [document["shipper"]["dedupe"]["count"] for document in documents if "dedupe" in document.get("shipper", {})] == [
        19
    ] * summary
