"""Summaries: what they say, when they are due, and what they are bounded by; held back by throttles, as real users of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.fields import Size
from shipper.model.columns import Columns
from shipper.stages import summary as module
from shipper.stages.summary import KeyTemplate, Summary, bounded, iso
from tests.kit import laws
from tests.stages.test_throttle import T0, passed, run, stage


def told(summary: Summary) -> Any:
    """What a summary's document says under `shipper.throttle`."""
    return json.loads(summary.document())["shipper"]["throttle"]


def test_summary_says_what_was_held_back() -> None:
    """Count, bytes, from when to when, the key and the first record."""
    throttle = stage(key=["service", "code", "user.id"], burst=Size(1))
    rows = [{"service": "api", "code": 7, "message": f"m{row}"} for row in range(5)]
    columns = run(throttle, rows, [T0, T0, T0 + 3, T0, T0])
    assert [True, True, True, False, False] == passed(columns)
    (summary,) = throttle.flush()
    assert {
        "@timestamp": "2026-02-05T14:30:40Z",
        "message": "throttled 2 records",
        "service": "api",
        "code": 7,
        "shipper": {
            "throttle": {
                "key": {"service": "api", "code": "7", "user.id": None},
                "count": 2,
                "bytes": 2 * len(json.dumps(rows[0])),
                "first": "2026-02-05T14:30:40Z",
                "last": "2026-02-05T14:30:40Z",
                "period_s": 10.0,
                "rate_per_s": 1.0,
                "burst": 1,
                "cost": "events",
                "sample": json.dumps(rows[3]),
            }
        },
    } == json.loads(summary.document())
    assert (None, laws.STREAM, columns.starts[3]) == (summary.index, summary.stream_id, summary.start)


def test_summary_spans_the_event_times_of_its_rows_and_is_dated_by_its_first() -> None:
    """`first` and `last` are the extremes; `@timestamp` is the first held row's, as is the index."""
    throttle = stage()
    run(throttle, [{}] * 5, [T0 + 5, T0 + 5, T0 + 2, T0 + 8, T0 + 8])
    (summary,) = throttle.flush()
    assert (iso(T0 + 2), iso(T0 + 8)) == (told(summary)["first"], told(summary)["last"])
    assert iso(T0 + 5) == json.loads(summary.document())["@timestamp"]


def test_summary_has_the_same_id_when_the_same_rows_are_read_again_and_another_otherwise() -> None:
    """The id follows from key, bucket and the first held span."""

    def ids(rows: list[laws.Record], second: int = T0) -> list[str]:
        throttle = stage(key=["service"])
        run(throttle, rows, [second] * len(rows))
        return [summary.id for summary in throttle.flush()]

    rows: list[laws.Record] = [{"service": "a"}, {"service": "a"}, {"service": "a"}]
    assert ids(rows) == ids(rows) == ids(rows[:2])
    assert 5 == len({*ids(rows), *ids(rows, T0 + 10), *ids([{}] * 2), *ids([{"service": "b"}] * 2), *ids([{}, *rows])})


def test_summary_leaves_out_of_the_top_level_what_would_clash() -> None:
    """Members of ours, objects and nulls stand under `shipper.throttle.key` only, as text."""
    names = ["message", "host", "shipper.flags", "@timestamp", "tags", "user", "ok", "host.name"]
    throttle = stage(key=names)
    row = {"message": "m", "host": "h", "shipper.flags": "f", "tags": ["a"], "user": {"id": 1}, "ok": True, "host.name": "n"}
    run(throttle, [row] * 2, [T0] * 2)
    (summary,) = throttle.flush()
    document = json.loads(summary.document())
    assert {"@timestamp", "message", "shipper", "ok", "host.name"} == set(document)
    assert "throttled 1 record" == document["message"]
    key = {"message": "m", "host": "h", "shipper.flags": "f", "@timestamp": None}
    assert {**key, "tags": '["a"]', "user": '{"id":1}', "ok": "true", "host.name": "n"} == told(summary)["key"]


@pytest.mark.parametrize("message", ["x" * 5000, "\u00fc" * 3000, "x" * 4082, "x" * 4081, "x" * 4080, "x" * 4079])
def test_summary_sample_is_at_most_four_kib_and_always_text(message: str) -> None:
    """A record that fits is whole, its brace included; a longer one is cut between characters."""
    throttle = stage()
    run(throttle, [{"message": message}] * 2, [T0] * 2)
    (summary,) = throttle.flush()
    sample, whole = told(summary)["sample"], json.dumps({"message": message}, ensure_ascii=False)
    assert whole.startswith(sample)
    assert len(summary.sample) <= module.SAMPLE_BYTES_MAX
    assert (sample == whole) == (len(whole.encode()) <= module.SAMPLE_BYTES_MAX)


def test_samples_are_cut_short_when_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """All samples together are bounded; what is shipped makes room again."""
    monkeypatch.setattr(module, "SAMPLES_BYTES_MAX", 10_000)
    throttle = stage(key=["service"])
    rows = [{"service": name, "message": "x" * 5000} for name in range(50) for _ in range(2)]
    for _ in range(2):
        run(throttle, rows, [T0] * len(rows))
        sizes = [len(summary.sample) for summary in throttle.flush()]
        assert [4096, 4096, 4096] + [256] * 47 == sizes


def test_due_gives_a_summary_when_its_stream_has_passed_the_bucket() -> None:
    """After the bucket's end and a `period`, but not within the first second after the first row was held."""
    throttle = stage()
    run(throttle, [{}] * 3, [T0] * 3, now=100.0)
    assert 101.0 == throttle.deadline()
    run(throttle, [{}], [T0 + 19], now=100.5)
    assert ([], 102.0) == (throttle.due(101.0), throttle.deadline())
    run(throttle, [{}], [T0 + 20], now=101.5)
    assert [] == throttle.due(101.9)
    assert ([2], None) == ([summary.count for summary in throttle.due(102.0)], throttle.deadline())


def test_due_gives_a_summary_a_period_after_its_first_row_when_nothing_follows() -> None:
    """The stream fell silent: ten seconds of monotonic time close the summary."""
    throttle = stage()
    run(throttle, [{}] * 3, [T0] * 3, now=100.25)
    calls = []
    while (deadline := throttle.deadline()) is not None:
        calls.append((deadline, len(throttle.due(deadline))))
    assert ((110.25, 1), 0) == (calls[-1], sum(count for _, count in calls[:-1]))


def test_due_is_not_hastened_by_another_stream() -> None:
    """A backlog's bucket is not over because live records are newer."""
    throttle = stage()
    run(throttle, [{}] * 3, [T0 - 3600] * 3)
    live = laws.columns_of([{}], (), seconds=[T0])
    live.stream_id = "live"
    throttle.process(live, 0.5)
    assert [] == throttle.due(1.0)


def test_rows_held_after_a_summary_was_taken_start_another() -> None:
    """No row is counted by a document that was shipped already."""
    throttle = stage()
    run(throttle, [{}] * 3, [T0] * 3)
    (first,) = throttle.due(10.0)
    columns = laws.columns_of([{}] * 2, (), first=3, seconds=[T0] * 2)
    throttle.process(columns, 10.0)
    (second,) = throttle.flush()
    assert (2, 2, True) == (first.count, second.count, first.id != second.id)
    assert {second} == set(columns.held.values())


def test_summaries_of_forgotten_buckets_are_due_at_once_when_there_are_many() -> None:
    """A flood of keys, each over its limit, does not pile up documents for a second."""
    throttle = stage(key=["service"], keys_max=10)
    rows = [{"service": row // 2} for row in range(2 * (module.CLOSED_MAX + 9))]
    run(throttle, rows, [T0] * len(rows), now=5.0)
    assert ([], 6.0) == (throttle.due(5.0), throttle.deadline())
    more = [{"service": f"{row // 2}"} for row in range(4)]
    throttle.process(laws.columns_of(more, throttle.reads, first=len(rows), seconds=[T0] * 4), 5.1)
    assert (5.1, module.CLOSED_MAX + 1) == (throttle.deadline(), len(throttle.due(5.1)))


@given(values=st.lists(laws.hostile, max_size=8))
def test_bounded_values_hash_are_short_and_tell_long_values_apart(values: list[object]) -> None:
    """Equal values stay equal, different long ones different; scalars that fit are untouched."""
    found = bounded([*values, "y" * 300, "y" * 299 + "z", "y" * 300])
    assert len(values) + 3 == len(found)
    assert all(len(value) <= module.KEY_CHARS_MAX for value in found if isinstance(value, str))
    assert (True, True) == (found[-3] == found[-1], found[-3] != found[-2])
    assert {len(set(found))} <= set(range(len(found) + 1))
    for before, after in zip(values, found, strict=False):
        if not isinstance(before, (list, dict)) and not (isinstance(before, str) and len(before) > module.KEY_CHARS_MAX):
            assert before is after


def test_key_value_nested_beyond_reason_is_limited_all_the_same() -> None:
    """An object too deep to be written out is named by its type."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    throttle = stage(key=["service"])
    columns = Columns(laws.STREAM, [b"{"] * 2, {"service": [deep, deep]})
    columns.starts, columns.stops, columns.seconds = [0, 3], [3, 6], [T0, T0]
    throttle.process(columns, 0.0)
    assert [True, False] == passed(columns)


@pytest.mark.parametrize(
    ("second", "text"), [(0, "1970-01-01T00:00:00Z"), (10**15, "9999-12-31T23:59:59Z"), (-(10**15), "0001-01-01T00:00:00Z")]
)
def test_iso_says_the_nearest_time_that_can_be_said(second: int, text: str) -> None:
    """Event times out of a calendar's bounds do not raise."""
    assert text == iso(second)


@pytest.mark.parametrize("text", ["service", "", "{service", "{}", "{a}}", "{a b}", 7, ["a"], None])
def test_key_template_is_refused_when_it_is_no_text_with_fields(text: object) -> None:
    """A word alone is a mistake: all records would have one limit."""
    with pytest.raises(ValueError, match=r"list of fields"):
        KeyTemplate.from_config(text)


def test_key_template_names_its_fields_and_is_filled_with_their_values() -> None:
    """Objects as JSON, and nothing for what is not there."""
    template = KeyTemplate.from_config("{a}: {b.c} %s {a}")
    assert ("a", "b.c", "a") == template.fields
    assert '{"x":1}:  %s {"x":1}' == template.filled({"a": {"x": 1}, "b.c": None})
