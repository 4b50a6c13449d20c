"""ECS: what is renamed and what is not, by rules said once more; whole blocks against one record at a time."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode.ecs import GUARD, GUARD_NAME, MEMBERS_MAX, TABLE, Renaming
from shipper.model.columns import OURS, Columns, meet
from tests.kit.records import values
from tests.kit.site import ROOT

STAMP_FIELDS = ("timestamp", "@timestamp", "ts")
MS = ("duration_ms", "elapsed_ms", "latency_ms", "execution_time_ms")


def columns_of(rows: list[bytes], *, marked: bool = True) -> Columns:
    """A batch of these rows; with `marked` the guard has been looked for."""
    columns = Columns("s", [row.removesuffix(b"}") for row in rows], {})
    columns.marks = frozenset([GUARD_NAME] if re.search(GUARD, b"\n".join(rows)) else []) if marked else None
    return columns


def renamed(made: Renaming, rows: list[bytes], undated: tuple[int, ...] = (), *, marked: bool = True) -> list[dict[str, Any]]:
    """What becomes of the rows; those in `undated` have a time in doubt."""
    columns = columns_of(rows, marked=marked)
    columns.flag(undated, "timestamp_missing")
    made.rename(columns)
    return [json.loads(row + b"}") for row in columns.rows]


def by_hand(record: dict[str, Any], *, is_dated: bool = True) -> dict[str, Any]:
    """The rules for one record, in plain words."""
    new: dict[str, str] = {}
    for name, value in record.items():
        free = [one for one in TABLE.get(name, ()) if one not in record and one not in new.values()]
        plain = not isinstance(value, (dict, list))
        measured = name not in MS or value is None or (type(value) in (int, float) and -9e12 < value < 9e12)
        if free and plain and measured:
            new[name] = free[0]
    while bad := [name for name, one in new.items() if any(meet(one, other) for other in record if other not in new)]:
        for name in bad:
            del new[name]
    stamp = next((name for name in STAMP_FIELDS if record.get(name) is not None), None)
    found = {}
    for name, value in record.items():
        if is_dated and name == stamp and name != "@timestamp":
            continue
        found[new.get(name, name)] = round(value * 1e6) if name in MS and name in new and value is not None else value
    return found


names = st.sampled_from(
    [*TABLE, "message", "timestamp", "@timestamp", "ts", "log", "log.level", "service.name", "trace", "http", "x", "seq"]
)
plain = st.sampled_from(["INFO", "a text", 5, 12.4, True, None, "", 0.1, -3, 10**15, 1e300])
records = st.dictionaries(names, plain | values, max_size=7)
regular = st.builds(
    lambda level, more: {"timestamp": "2026-02-05T14:30:45Z", "level": level, "service": "api", "message": "m", **more},
    st.sampled_from(["INFO", "ERROR"]),
    st.dictionaries(st.sampled_from(["duration_ms", "user_id", "trace_id", "x"]), plain, max_size=3),
)


def written(record: dict[str, Any]) -> bytes:
    """As a program writes it."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


@settings(deadline=None, max_examples=400)
@given(st.lists(st.lists(records | regular, min_size=1, max_size=4), min_size=1, max_size=4), st.booleans(), st.data())
def test_records_are_renamed_by_the_rules_whatever_was_met_before(
    batches: list[list[dict[str, Any]]], marked: bool, data: Any
) -> None:
    """In any batches, the same: what a block learns changes nothing but the price."""
    made = Renaming(STAMP_FIELDS, OURS)
    for batch in [*batches, *batches]:
        undated = tuple(data.draw(st.sets(st.integers(0, len(batch) - 1))))
        found = renamed(made, [written(record) for record in batch], undated, marked=marked)
        expected = [by_hand(record, is_dated=row not in undated) for row, record in enumerate(batch)]
        assert [json.dumps(one, sort_keys=True) for one in found] == [json.dumps(one, sort_keys=True) for one in expected]


@pytest.mark.parametrize(
    ("record", "document"),
    [
        ({"level": "ERROR", "logger": "a.b", "message": "m"}, {"log.level": "ERROR", "log.logger": "a.b", "message": "m"}),
        ({"timestamp": "2026-02-05T15:30:45+01:00", "ts": 5}, {"ts": 5}),
        ({"timestamp": None, "ts": 1_770_301_845}, {"timestamp": None}),
        ({"@timestamp": "2026-02-05T14:30:45Z", "ts": 5}, {"@timestamp": "2026-02-05T14:30:45Z", "ts": 5}),
        ({"service": "api", "version": "2"}, {"service.name": "api", "service.version": "2"}),
        ({"service": {"id": 1}, "version": "2"}, {"service": {"id": 1}, "version": "2"}),
        ({"user_id": 7, "user": {"name": "x"}}, {"user_id": 7, "user": {"name": "x"}}),
        ({"level": "INFO", "log": {"x": 1}}, {"level": "INFO", "log": {"x": 1}}),
        ({"level": "INFO", "log.level": "error"}, {"level": "INFO", "log.level": "error"}),
        ({"level": "INFO", "levelname": "WARN"}, {"log.level": "INFO", "levelname": "WARN"}),
        ({"event": "started"}, {"message": "started"}),
        ({"event": "started", "message": "m"}, {"event.action": "started", "message": "m"}),
        ({"event": "started", "duration_ms": 12.4}, {"message": "started", "event.duration": 12_400_000}),
        ({"duration_ms": "fast", "level": "x"}, {"duration_ms": "fast", "log.level": "x"}),
        ({"duration_ms": 1e300}, {"duration_ms": 1e300}),
        ({"error": None, "error_type": "E", "exception": "Traceback"}, {"error.message": None, "error.type": "E", "error.stack_trace": "Traceback"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_a_record_is_renamed_as_documented(record: dict[str, Any], document: dict[str, Any]) -> None:
    """One at a time, and again in a block that knows it."""
    made = Renaming(STAMP_FIELDS)
    assert [renamed(made, [written(record)]) for _ in range(2)] == [[document]] * 2


def test_values_are_kept_as_they_are_written() -> None:
    """Numbers of any size and form, escapes."""
    made = Renaming(())
    row = rb'{"level":"\u00fc","status_code":1.50,"x":10000000000000000000000,"user_id":1e2}'
    for _ in range(2):
        columns = columns_of([row])
        made.rename(columns)
        assert columns.rows == [
            rb'{"log.level":"\u00fc","http.response.status_code":1.50,"x":10000000000000000000000,"user.id":1e2'
        ]


def test_rows_that_are_dropped_or_held_stay_as_they_are() -> None:
    """Nothing is made of them."""
    columns = columns_of([b'{"level":"a"}', b'{"level":"b"}', b'{"level":"c"}'])
    columns.drop(1, "sampled")
    Renaming(()).rename(columns)
    assert columns.rows == [b'{"log.level":"a"', b'{"level":"b"', b'{"log.level":"c"']


def test_a_member_keeps_its_name_when_documents_get_the_new_one_from_us() -> None:
    """A stage adds `client.ip`, or all of `service`."""
    made = Renaming((), ["client.ip", "service", "host.name"])
    for _ in range(2):
        assert renamed(made, [b'{"client_ip":"a","service":"b","version":"c","hostname":"d"}']) == [
            {"client_ip": "a", "service": "b", "version": "c", "host.hostname": "d"}
        ]
    assert made._block.renamed([b'{"client_ip":"a"'], set(), is_flat=True) == [b'{"client_ip":"a"']


def test_a_log_with_ever_new_members_is_renamed_all_the_same() -> None:
    """What is learnt is bounded."""
    made = Renaming(())
    for number in range(300):
        assert renamed(made, [written({"level": "x", f"field{number}": number})]) == [
            {"log.level": "x", f"field{number}": number}
        ]
    assert len(made._block._plan) == MEMBERS_MAX


def test_a_name_that_meets_others_does_not_keep_the_rest_from_being_learnt() -> None:
    """Records with both a level and a log level are done one by one, the others by the block."""
    made = Renaming(())
    assert renamed(made, [b'{"level":"a","log.level":"b","x":1}']) == [{"level": "a", "log.level": "b", "x": 1}]
    assert renamed(made, [b'{"level":"a","x":1}']) == [{"log.level": "a", "x": 1}]
    assert made._block.renamed([b'{"level":"a","x":1'], set(), is_flat=True) == [b'{"log.level":"a","x":1']


def test_a_document_of_ours_gets_the_same_names_and_keeps_its_time() -> None:
    """A summary of what was held back."""
    text = b'{"@timestamp":"2026-02-05T14:30:45Z","message":"throttled 5 records","service":"api","shipper":{"throttle":{"count":5}}}'
    assert json.loads(Renaming(()).document(text)) == {
        "@timestamp": "2026-02-05T14:30:45Z", "message": "throttled 5 records", "service.name": "api", "shipper": {"throttle": {"count": 5}},
    }  # fmt: skip


def test_a_record_that_is_too_deep_to_be_taken_apart_stays_as_it_is() -> None:
    """It is shipped."""
    row = b'{"level":' + b"[" * 3000 + b"]" * 3000
    columns = Columns("s", [row], {})
    Renaming(()).rename(columns)
    assert columns.rows in ([row], [row.replace(b"level", b"log.level")])


@given(st.text(" \t\r\n", max_size=3), st.text(" \t\r\n", max_size=3), st.sampled_from(["{}", "[]", '"x"', "5"]))
def test_the_guard_sees_objects_and_lists_whatever_blanks_there_are(before: str, after: str, value: str) -> None:
    """It may fire for others, but must for these; and not for a record as programs mostly write it."""
    fired = re.search(GUARD, f'{{"level"{before}:{after}{value}}}'.encode()) is not None
    assert fired or value[0] not in "{["
    assert not (fired and value[0] not in "{[" and before == "" and after in ("", " "))


def test_each_new_name_is_one_of_ecs_and_none_lies_in_another() -> None:
    """Two texts and an object under one name would be a mapping conflict."""
    news = {new for choices in TABLE.values() for new in choices}
    assert [(one, other) for one in news for other in news if one != other and meet(one, other)] == []


def test_the_page_tells_of_every_name() -> None:
    """As the table in the code has it."""
    rows = re.findall(r"^\| (`.*) \| (`.*) \|$", (ROOT / "docs/ecs.md").read_text(), re.MULTILINE)
    told = {old: tuple(re.findall("`([^`]+)`", new)) for names, new in rows for old in re.findall("`([^`]+)`", names)}
    assert told == TABLE
