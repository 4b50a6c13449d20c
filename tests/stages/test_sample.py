"""Sample: who is chosen, what is noted, and that it never depends on anything but the record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.condition import Condition
from shipper.edge.tables import Tables
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.stages.sample import Sample
from tests.kit import laws
from tests.kit.site import Site, check_whole

MANY = 20_000
TOLERANCE = 4
"""Standard deviations of a fair draw that a count may lie off; hashes are what they are, so that nothing here is left to chance."""


def stage(**settings_: Any) -> Sample:
    """A sample of every tenth, unless said otherwise."""
    return Sample(Sample.Config(**{"rate": 10.0, **settings_}), Tables())


def run(sample: Sample, rows: Sequence[laws.Record], size: int = 470) -> Columns:
    """One batch of rows of `size` bytes each in their source."""
    columns = laws.columns_of(rows, sample.reads)
    columns.starts = [row * size for row in range(len(rows))]
    sample.process(columns, 0.0)
    return columns


def kept(columns: Columns) -> list[int]:
    """Rows that were not dropped."""
    return [row for row in range(columns.count) if row not in columns.dropped]


def check_share(count: int, of: int, share: float) -> None:
    """Whether a count is what a fair draw would give."""
    assert abs(count - of * share) <= TOLERANCE * (of * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("size", [100, 377, 470, 512, 610, 1024])
@pytest.mark.parametrize(("rate", "share"), [(2.0, 0.5), (10.0, 0.1), (0.3, 0.3), (100.0, 0.01), (1.0, 1.0)])
def test_the_share_is_kept_when_records_decide_by_their_origin(size: int, rate: float, share: float) -> None:
    """In all, and among every tenth record: neither their length nor a beat in the log is mirrored in the choice."""
    columns = run(stage(rate=rate), [{}] * MANY, size)
    check_share(len(kept(columns)), MANY, share)
    check_share(sum(row % 10 == 0 for row in kept(columns)), MANY // 10, share)
    assert set(columns.dropped.values()) <= {"sampled"}


@pytest.mark.parametrize("key", ["u-%d", "%d", "%08x", "req_%016x"])
@pytest.mark.parametrize(("rate", "share"), [(2.0, 0.5), (10.0, 0.1), (0.02, 0.02)])
def test_the_share_of_keys_is_kept_when_they_count_upwards(key: str, rate: float, share: float) -> None:
    """Keys that are much alike are thinned evenly, too."""
    columns = run(stage(rate=rate, key=["user"]), [{"user": key % number} for number in range(MANY)])
    check_share(len(kept(columns)), MANY, share)


values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=3) | st.lists(st.integers(0, 2), max_size=2)


@given(keys=st.lists(st.tuples(values, values), max_size=40))
@settings(deadline=None)
def test_records_of_one_key_share_a_fate_and_those_without_decide_alone(keys: list[tuple[object, object]]) -> None:
    """Whatever the values are; the fate of a record that lacks a field is that of its origin."""
    rows = [{"trace": trace, "user": user} for trace, user in keys]
    columns = run(stage(rate=2.0, key=["trace", "user"]), rows)
    alone = run(stage(rate=2.0), rows)
    fates: dict[str, set[bool]] = {}
    for row, key in enumerate(keys):
        if None in key:
            assert (row in columns.dropped) is (row in alone.dropped)
        else:
            fates.setdefault(json.dumps(key), set()).add(row in columns.dropped)
    assert all(len(fate) == 1 for fate in fates.values())


def test_a_key_nested_without_end_has_a_fate_like_any_other() -> None:
    """What no encoder takes still is a key."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    columns = run(stage(rate=2.0, key=["trace"]), [{"trace": "a"}])
    columns.fields["trace"] = [deep]
    columns.dropped = {}
    stage(rate=2.0, key=["trace"]).process(columns, 0.0)
    assert columns.dropped in ({}, {0: "sampled"})
    while deep:  # taken apart by hand: its end would be as deep as its beginning
        deep = deep.pop()  # type: ignore[assignment]


def test_what_is_kept_at_one_rate_is_kept_at_every_lower_one() -> None:
    """So that services which sample their traces differently keep the same ones."""
    rows = [{"trace": f"{number:032x}"} for number in range(2000)]
    tenth, half = (set(kept(run(stage(rate=rate, key=["trace"]), rows))) for rate in (10.0, 2.0))
    assert tenth < half


def test_streams_decide_differently_and_a_stream_read_again_alike() -> None:
    """The decision hangs on the stream and the first byte."""
    other = laws.columns_of([{}] * 200, ())
    other.stream_id = "B" * 22
    stage().process(other, 0.0)
    first, again = (laws.columns_of([{}] * 200, ()) for _ in range(2))
    for columns in (first, again):
        stage().process(columns, 0.0)
    assert first.dropped == again.dropped != other.dropped


def test_a_record_sent_again_decides_alike_where_its_sender_gave_an_id() -> None:
    """It has another place in the spool then; records without an id decide by theirs."""
    first, again = (laws.columns_of([{}] * 300, (), first) for first in (0, 1000))
    for columns in (first, again):
        columns.ids = [b"" if row % 3 == 2 else b"id-%d" % row for row in range(300)]
        stage(rate=2.0).process(columns, 0.0)
    by_id = {row for row in range(300) if row % 3 != 2}
    assert first.dropped.keys() & by_id == again.dropped.keys() & by_id
    assert first.dropped.keys() - by_id != again.dropped.keys() - by_id
    all_by_id = laws.columns_of([{}] * 300, ())
    all_by_id.ids = [b"id-%d" % row for row in range(300)]
    stage(rate=2.0).process(all_by_id, 0.0)
    assert all_by_id.dropped.keys() & by_id == first.dropped.keys() & by_id


def test_only_what_when_selects_is_sampled_and_never_what_is_protected() -> None:
    """Other records pass, without a rate."""
    sample = stage(rate=1e6, when=Condition({"service": "api"}), protect=Condition({"level": "ERROR"}))
    rows = [{"service": "api"}, {"service": "pay"}, {"service": "api", "level": "ERROR"}, {}]
    assert {*sample.reads} == {"service", "level"}
    columns = run(sample, rows)
    assert columns.dropped == {0: "sampled"}
    assert columns.flags == {}


def test_rows_that_were_dropped_before_are_left_alone() -> None:
    """Neither flagged nor given another reason."""
    columns = laws.columns_of([{}] * 4, ())
    columns.drop(1, "earlier")
    stage(rate=1.0).process(columns, 0.0)
    assert columns.dropped == {1: "earlier"}
    assert columns.flags == {row: ("sample_rate:1",) for row in (0, 2, 3)}


@pytest.mark.parametrize(("rate", "noted"), [(10.0, "10"), (0.25, "4"), (0.3, "3.33333"), (1e6, "1e+06")])
def test_kept_rows_say_their_rate(rate: float, noted: str) -> None:
    """As a number of JSON; flags that a row has stay."""
    columns = laws.columns_of([{}] * 3, ())
    columns.flags = {1: ("late",)}
    sample = stage(rate=rate)
    sample._threshold = 1 << 32
    sample.process(columns, 0.0)
    assert columns.flags == {0: (f"sample_rate:{noted}",), 1: ("late", f"sample_rate:{noted}"), 2: (f"sample_rate:{noted}",)}
    assert json.loads(noted) == pytest.approx(rate if rate >= 1 else 1 / rate, rel=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "rate"),
    [({}, {}, 4.0), ({}, {"key": ["user"]}, 8.0), ({"key": ["user"]}, {"key": ["user"]}, 4.0)],
)
def test_rates_of_several_samples_weigh_what_is_left(first: dict[str, Any], second: dict[str, Any], rate: float) -> None:
    """Independent ones multiply; of those that decide alike the larger one counts. The weighed count is right either way."""
    columns = run(stage(rate=2.0, **first), [])
    columns = laws.columns_of([{"user": f"u{number}"} for number in range(MANY)], ["user"])
    columns.flags = {0: ("late",)}
    stage(rate=2.0, **first).process(columns, 0.0)
    stage(rate=4.0, **second).process(columns, 0.0)
    rates = Counter(flag for row in kept(columns) for flag in columns.flags[row] if flag != "late")
    assert rates.keys() == {f"sample_rate:{rate:g}"}
    check_share(rates.total(), MANY, 1 / rate)


@pytest.mark.parametrize(
    ("settings_", "where"),
    [({"rate": 0.0}, "rate"), ({"rate": -1.0}, "rate"), ({"rate": 2.5}, "rate"), ({"key": ["a", "a"]}, "key")],
)
def test_a_sample_is_refused_when_it_cannot_work(settings_: dict[str, Any], where: str) -> None:
    """At the setting that is wrong."""
    with pytest.raises(ComponentError) as caught:
        stage(**settings_)
    assert caught.value.field == where


def test_sampled_records_are_counted_and_the_others_say_their_rate(site: Site) -> None:
    """Through the whole agent: the weighed sum is near what was read, and nothing is unaccounted for."""
    site.write([{"n": n, "level": "INFO" if n % 50 else "ERROR", "timestamp": "2026-02-05T14:30:45.123Z"} for n in range(1000)])
    site.configure(stages=[{"sample": {"rate": 5, "protect": {"level": "ERROR"}}}])
    told = site.once()
    check_whole(told, 1000)
    bodies = site.bodies()
    assert told.account["dropped"] == {"sampled": 1000 - len(bodies)}
    assert {body["n"] for body in bodies} >= set(range(0, 1000, 50))
    assert all(body.get("shipper") == (None if body["level"] == "ERROR" else {"sample_rate": 5}) for body in bodies)
    check_share(len(bodies) - 20, 980, 0.2)
