"""Throttle: exact limits by key and bucket."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.condition import Condition
from shipper.config.fields import Duration, Rate, Size
from shipper.edge.tables import Tables
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.stages import summary as summaries
from shipper.stages.summary import KeyTemplate
from shipper.stages.throttle import Throttle
from tests.kit import laws

T0 = 1_770_301_840
"""2026-02-05T14:30:40Z, the start of a bucket of 10 s."""


def stage(**settings_: Any) -> Throttle:
    """A throttle of 1/s and no burst, unless said otherwise."""
    return Throttle(Throttle.Config(**{"rate": Rate(1), **settings_}), Tables())


def run(throttle: Throttle, rows: Sequence[laws.Record], seconds: Sequence[int], now: float = 0.0) -> Columns:
    """Process one batch; number of its first row is 0."""
    columns = laws.columns_of(rows, throttle.reads, seconds=seconds)
    throttle.process(columns, now)
    return columns


def passed(columns: Columns) -> list[bool]:
    """Which rows were not held."""
    return [row not in columns.held for row in range(columns.count)]


def oracle(rows: Sequence[tuple[int, object, int]], rate: Fraction, burst: int, period: int) -> list[bool]:
    """The first version: GCRA in fractions, a table without bounds; rows are (event second, key, cost)."""
    spent: dict[tuple[int, object], Fraction] = {}
    verdicts = []
    for second, key, cost in rows:
        bucket, offset = divmod(second, period)
        tat = max(spent.get((bucket, key), Fraction(0)), offset * rate) + cost
        verdicts.append(tat <= burst + (offset + 1) * rate)
        if verdicts[-1]:
            spent[bucket, key] = tat
    return verdicts


rates = st.sampled_from([Fraction(1), Fraction(1, 3), Fraction(5, 2), Fraction(1, 36), Fraction(100), Fraction(7, 3600)])
arrivals = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), max_size=120)


@given(rows=arrivals, rate=rates, burst=st.integers(1, 5), period=st.sampled_from([1, 7, 10]))
@settings(max_examples=200, deadline=None)
def test_throttle_passes_exactly_what_gcra_passes(rows: list[tuple[int, str]], rate: Fraction, burst: int, period: int) -> None:
    """Row by row the same as the oracle, for event times in any order and rates that no float holds."""
    throttle = stage(key=["service"], rate=Rate(rate), burst=Size(burst), period=Duration(period))
    columns = run(throttle, [{"service": key} for _, key in rows], [second for second, _ in rows])
    assert oracle([(second, key, 1) for second, key in rows], rate, burst, period) == passed(columns)


@given(rows=arrivals, rate=rates, burst=st.integers(1, 5), period=st.sampled_from([1, 7, 10]))
@settings(max_examples=100, deadline=None)
def test_throttle_passes_at_most_rate_by_period_and_burst_in_a_bucket(
    rows: list[tuple[int, str]], rate: Fraction, burst: int, period: int
) -> None:
    """The promise of the design, for every key and bucket."""
    throttle = stage(key=["service"], rate=Rate(rate), burst=Size(burst), period=Duration(period))
    columns = run(throttle, [{"service": key} for _, key in rows], [second for second, _ in rows])
    through = Counter((second // period, key) for (second, key), free in zip(rows, passed(columns), strict=True) if free)
    assert all(count <= rate * period + burst for count in through.values())


@given(sizes=st.lists(st.integers(0, 300), max_size=60))
@settings(max_examples=100, deadline=None)
def test_throttle_counts_bytes_when_that_is_the_cost(sizes: list[int]) -> None:
    """A row costs its length, last brace included."""
    rows = [{"message": "x" * size} for size in sizes]
    seconds = [T0 + row // 5 for row in range(len(rows))]
    throttle = stage(rate=Rate(200), burst=Size(400), cost="bytes")
    columns = run(throttle, rows, seconds)
    costs = [(second, None, len(json.dumps(row))) for second, row in zip(seconds, rows, strict=True)]
    assert oracle(costs, Fraction(200), 400, 10) == passed(columns)
    assert sum(cost for (_, _, cost), free in zip(costs, passed(columns), strict=True) if not free) == sum(
        summary.bytes for summary in throttle.flush()
    )


@pytest.mark.parametrize("rate", [1, 20, 500])
def test_throttle_passes_a_steady_stream_at_its_rate_when_there_is_no_burst(rate: int) -> None:
    """Event time in whole seconds starves nobody: exactly `rate` records in each second all pass."""
    seconds = [T0 + second for second in range(25) for _ in range(rate)]
    assert all(passed(run(stage(rate=Rate(rate)), [{}] * len(seconds), seconds)))


def test_throttle_lets_a_backlog_of_an_hour_pass_beside_live_records_as_if_each_were_alone() -> None:
    """Every bucket of the backlog and every live one gets its own share, however they are interleaved."""
    backlog = [T0 - 3600 + second for second in range(3600) for _ in range(4)]
    live = [T0 + row // 180 for row in range(len(backlog))]

    def share(seconds: list[int]) -> Counter[int]:
        columns = run(stage(burst=Size(5)), [{}] * len(seconds), seconds)
        return Counter(second // 10 for second, free in zip(seconds, passed(columns), strict=True) if free)

    alone = share(backlog) + share(live)
    together = share([second for pair in zip(backlog, live, strict=True) for second in pair])
    assert alone == together
    assert {15} == set(together.values()), "neither flooded nor starved: rate * period + burst in each bucket"


def test_throttle_limits_each_key_for_itself_and_a_missing_field_as_a_key() -> None:
    """Three keys, one of them None: one record each in a second."""
    rows: list[laws.Record] = [{"service": "a"}, {"service": "a"}, {"service": "b"}, {}, {}, {"service": None}, {"service": "b"}]
    columns = run(stage(key=["service"]), rows, [T0] * 7)
    assert [True, False, True, True, False, False, False] == passed(columns)


def test_throttle_limits_only_what_when_selects_and_never_what_is_protected() -> None:
    """Unselected and protected rows pass and use nothing up."""
    throttle = stage(when=Condition({"level": "ERROR"}), protect=Condition({"service": "pay"}))
    rows = [{"level": "INFO"}, {"level": "ERROR", "service": "pay"}, {"level": "ERROR"}, {"level": "ERROR"}, {"level": "INFO"}]
    assert ("level", "service") == tuple(throttle.reads)
    assert [True, True, True, False, True] == passed(run(throttle, rows, [T0] * 5))


def test_throttle_never_limits_a_level_that_is_protected() -> None:
    """`protect_level: error`: as programs write it, in any of the usual fields, and nothing of it is counted."""
    throttle = stage(protect_level="error", protect=Condition({"service": "pay"}))
    assert {"service", "log.level", "level", "severity", "levelname"} == set(throttle.reads)
    rows: list[laws.Record] = [
        {"level": "ERROR"},
        {"log.level": "crit"},
        {"severity": 3},
        {"levelname": "FATAL"},
        {"service": "pay"},
    ]
    rest: list[laws.Record] = [{"level": "WARNING"}, {"level": "info", "severity": 4}, {"level": "eror"}, {}]
    assert [True] * 5 + [True, False, False, False] == passed(run(throttle, [*rows, *rest], [T0] * 9))
    assert [3] == [one.count for one in throttle.flush()]


def test_throttle_looks_for_levels_where_it_is_told_to() -> None:
    """A field of one's own, if its name says that it holds a level; else the setting is refused."""
    throttle = stage(protect_level="warning", level_fields=["app.severity"])
    assert ("app.severity",) == tuple(throttle.reads)
    assert [True, True, False] == passed(run(throttle, [{"app.severity": "warn"}, {}, {}], [T0] * 3))
    with pytest.raises(ComponentError, match="colour") as refused:
        stage(protect_level="error", level_fields=["colour"])
    assert "level_fields" == refused.value.field


@given(rows=arrivals, burst=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_shadow_flags_exactly_what_would_have_been_held(rows: list[tuple[int, str]], burst: int) -> None:
    """Nothing is held, dropped or summed up."""
    records, seconds = [{"service": key} for _, key in rows], [second for second, _ in rows]
    real, shadow = (stage(key=["service"], burst=Size(burst), shadow=shadow) for shadow in (False, True))
    held, flagged = run(real, records, seconds), run(shadow, records, seconds)
    assert dict.fromkeys(held.held, ("would_throttle",)) == flagged.flags
    assert ({}, {}, [], None) == (flagged.held, flagged.dropped, shadow.flush(), shadow.deadline())


def test_throttle_takes_a_key_as_a_text_with_fields() -> None:
    """Records have one limit where the values of all fields agree, not where the texts happen to; summaries say the text."""
    throttle = stage(key=KeyTemplate("{service}-{error.type}"))
    assert ("service", "error.type") == tuple(throttle.reads)
    rows = [{"service": "a-b", "error.type": "c"}, {"service": "a", "error.type": "b-c"}, {"service": "a"}] * 2
    assert [True] * 3 + [False] * 3 == passed(run(throttle, rows, [T0] * 6))
    told = [json.loads(summary.document())["shipper"]["throttle"] for summary in throttle.flush()]
    assert ["a-b-c", "a-b-c", "a-"] == [one["name"] for one in told]
    assert {"service": "a", "error.type": None} == told[2]["key"]


def test_throttle_leaves_rows_alone_that_another_stage_dropped_or_held() -> None:
    """They are neither counted nor held twice."""
    first, second = stage(), stage()
    columns = laws.columns_of([{}] * 4, (), seconds=[T0] * 4)
    columns.drop(0, "filter")
    first.process(columns, 0.0)
    second.process(columns, 0.0)
    assert {2, 3} == set(columns.held)
    assert ([2], []) == ([one.count for one in first.flush()], second.flush())


def test_throttle_counts_by_arrival_when_told_to() -> None:
    """`clock: arrival` looks at `now`, whatever the records say of their time."""
    throttle = stage(clock="arrival")
    rows: list[laws.Record] = [{}] * 3
    assert [True, False, False] == passed(run(throttle, rows, [T0, T0 + 1, T0 + 50], now=100.0))
    assert [True, False, False] == passed(run(throttle, rows, [T0, T0 + 1, T0 + 50], now=101.5))


def test_full_table_forgets_the_bucket_unused_for_the_longest_and_lets_it_start_afresh() -> None:
    """Its summary goes out at once; the key passes again; the loss is counted."""
    throttle = stage(key=["service"], keys_max=2)
    rows = [{"service": name} for name in "aabacab"]
    columns = run(throttle, rows, [T0] * 7)
    assert [True, False, True, False, True, False, True] == passed(columns), "c forgot b, b then forgot c"
    assert 2 == throttle.evicted
    rows = [{"service": name} for name in "de"]
    columns = laws.columns_of(rows, throttle.reads, first=7, seconds=[T0] * 2)
    throttle.process(columns, 0.0)
    assert [3] == [summary.count for summary in throttle.due(1.0)], "of a, forgotten now"
    assert throttle.deadline() is None


def test_forgetting_a_bucket_is_not_counted_when_it_was_not_in_use() -> None:
    """Old buckets make room every day; that is no loss."""
    throttle = stage(keys_max=2)
    for step in range(10):
        run(throttle, [{}], [T0 + 10 * step], now=10.0 * step)
    assert 0 == throttle.evicted


def test_table_stays_bounded_when_every_row_has_a_key_of_its_own() -> None:
    """A flood of keys costs neither memory nor the rows."""
    throttle = stage(key=["service"], keys_max=100)
    rows = [{"service": f"{row}-{'x' * 10_000}"} for row in range(1000)]
    assert all(passed(run(throttle, rows, [T0] * 1000)))
    assert 100 == len(throttle._buckets)
    assert all(len(value) <= summaries.KEY_CHARS_MAX for _, value in throttle._buckets)


@pytest.mark.parametrize(
    ("name", "settings_"),
    [
        ("rate", {"rate": Rate(0)}),
        ("period", {"period": Duration(0.5)}),
        ("period", {"period": Duration(1.5)}),
        ("keys_max", {"keys_max": 0}),
        ("key", {"key": ["a", "a"]}),
        ("key", {"key": KeyTemplate("{a}/{a}")}),
        ("burst", {"rate": Rate(1 / 3)}),
    ],
)
def test_throttle_refuses_a_setting_that_cannot_work(name: str, settings_: dict[str, Any]) -> None:
    """The error points at the setting."""
    with pytest.raises(ComponentError) as refused:
        stage(**settings_)
    assert name == refused.value.field
