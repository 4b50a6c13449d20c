"""Index names: routes against a naive reading of them, hostile names, windows, and the cap on new names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.condition import Condition
from shipper.encode.index import DAY_S, NEW_NAMES_MAX, Horizon, Route, Router
from shipper.model.columns import Columns
from tests.kit.records import scalars

NOON = 1_770_292_800
"""2026-02-05T12:00:00Z."""
FIELDS = ("level", "service", "n")
Record = Mapping[str, Any]

words = st.sampled_from(["ERROR", "INFO", "api", 1, 0, True, False, None, 1.5])
terms = st.dictionaries(st.sampled_from(FIELDS), words | st.lists(words, min_size=1, max_size=3), min_size=1, max_size=2)
conditions = st.recursive(
    terms | st.fixed_dictionaries({"has": st.sampled_from(FIELDS) | st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2)}),
    lambda inner: (
        st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=4,
)
records = st.lists(
    st.dictionaries(st.sampled_from(FIELDS), words | st.lists(words, max_size=2) | st.just({"x": 1})), min_size=1, max_size=8
)
prefixes = st.sampled_from(["app", "errors", "app-{service}", "app-{level}.{service}", "x"])
windows = st.sampled_from([None, (-400.0 * DAY_S, 1.0 * DAY_S), (0.0, 0.0), (-3600.0, 3600.0)])
routes = st.lists(st.tuples(prefixes, st.none() | conditions, windows), min_size=1, max_size=4)
times = st.integers(NOON - 3 * DAY_S, NOON + 3 * DAY_S) | st.sampled_from(
    [0, -1, -DAY_S - 1, 32_503_679_999, NOON, NOON - 3600, NOON - 3601, NOON + 3601]
)


def columns_of(records: Sequence[Record], seconds: Sequence[int]) -> Columns:
    """A batch with these fields and times."""
    columns = Columns("s", [b"{"] * len(records), {name: [record.get(name) for record in records] for name in FIELDS})
    columns.seconds = seconds
    return columns


def router(made: Sequence[tuple[str, Any, Any]], horizon: Horizon) -> Router:
    """The routes as the configuration makes them."""
    return Router([Route(index, None if when is None else Condition(when), window) for index, when, window in made], horizon)


def holds(when: Any, record: Record) -> bool:
    """A condition, read as it is written."""
    if when is None:
        return True
    for key, wanted in when.items():
        if key == "has":
            found = all(record.get(name) is not None for name in (wanted if isinstance(wanted, list) else [wanted]))
        elif key == "not":
            found = not holds(wanted, record)
        elif key in ("any", "all"):
            found = (any if key == "any" else all)(holds(part, record) for part in wanted)
        else:
            value = record.get(key)
            found = any(
                value == item and isinstance(value, bool) == isinstance(item, bool)
                for item in (wanted if isinstance(wanted, list) else [wanted])
            )
        if not found:
            return False
    return True


def naive(made: Sequence[tuple[str, Any, Any]], record: Record, seconds: int) -> str:
    """One row, all rules, no cap."""
    for index, when, window in made:
        if holds(when, record):
            literal = index.partition("{")[0].rstrip("-._")
            if window is not None and not window[0] <= seconds - NOON <= window[1]:
                return f"{literal}-fallback"
            prefix = index
            for name in re.findall(r"\{(.+?)\}", index):
                value = record.get(name)
                part = (
                    None
                    if value is None or isinstance(value, (list, dict))
                    else re.sub("[^a-z0-9._-]+", "-", str(value).lower())[:64].strip("-._")
                )
                if not part:
                    return f"{literal}-fallback"
                prefix = prefix.replace(f"{{{name}}}", part)
            return f"{prefix}-{datetime.fromtimestamp(seconds, UTC):%Y.%m.%d}"
    return f"{made[0][0].partition('{')[0].rstrip('-._')}-fallback"


@settings(deadline=None)
@given(routes, records, st.data())
def test_the_first_route_that_matches_takes_the_record(
    made: list[tuple[str, Any, Any]], records: list[Record], data: st.DataObject
) -> None:
    """For any routes, conditions and columns each row has the index that a naive reading gives it alone, twice."""
    seconds = data.draw(
        st.lists(times, min_size=len(records), max_size=len(records)) | times.map(lambda one: [one] * len(records))
    )
    found = router(made, Horizon(float(NOON)))
    expected = [naive(made, record, at) for record, at in zip(records, seconds, strict=True)]
    for _ in range(2):
        assert found.assign(columns_of(records, seconds)) == expected
    assert set(found.reads) <= set(FIELDS)


@settings(deadline=None)
@given(
    scalars
    | st.text(max_size=300)
    | st.sampled_from(["..", ".", "-", "_x", "A/B\\C", "x" * 5000, "\u0130", "a,b", "*", "caf\u00e9", "\n", "#"]),
    st.sampled_from(["app-{level}", "app{level}", "\u00fc" * 90 + "-{level}"]),
)
def test_names_are_valid_for_elasticsearch_when_fields_are_hostile(value: Any, index: str) -> None:
    """Lowercase, none of the forbidden characters, at most 255 bytes, and behind the literal prefix, whatever a record says."""
    name = router([(index, None, None)], Horizon(float(NOON))).assign(columns_of([{"level": value}], [NOON]))[0]
    literal = index.partition("{")[0]
    assert name.startswith(literal.rstrip("-._"))
    assert name == name.lower()
    assert not set(name) & set('\\/*?"<>| ,#:\n\r\0')
    assert name[0] not in "-_+."
    assert len(name.encode()) <= 255
    assert name.endswith(("-2026.02.05", "-fallback"))


def test_a_long_prefix_is_cut_before_the_date_when_fields_are_long() -> None:
    """The date stays, the literal beginning stays, and the name has 255 bytes at most."""
    index = "a" * 200 + "-{level}-{service}"
    name = router([(index, None, None)], Horizon(float(NOON))).assign(
        columns_of([{"level": "x" * 64, "service": "y" * 64}], [NOON])
    )[0]
    assert len(name) == 255
    assert name == "a" * 200 + "-" + "x" * 43 + "-2026.02.05"


@pytest.mark.parametrize(
    ("offset", "index"), [(-7200, "app-2026.02.05"), (-7201, "app-fallback"), (3600, "app-2026.02.05"), (3601, "app-fallback")]
)
def test_the_window_is_exact_to_the_second_at_its_edges(offset: int, index: str) -> None:
    """Both edges belong to it; the reference is the horizon's, not the clock's."""
    made = router([("app", None, (-7200.0, 3600.0))], Horizon(float(NOON)))
    assert made.assign(columns_of([{}], [NOON + offset])) == [index]
    assert made.assign(columns_of([{}, {}], [NOON, NOON + offset])) == ["app-2026.02.05", index]


def test_each_route_has_its_own_window_when_a_batch_holds_both() -> None:
    """A record far back goes to the fallback of its own route only."""
    made = router([("old", {"level": "x"}, None), ("app", None, (-60.0, 60.0))], Horizon(float(NOON)))
    found = made.assign(columns_of([{"level": "x"}, {}, {"level": "x"}], [0, 0, -DAY_S]))
    assert found == ["old-1970.01.01", "app-fallback", "old-1969.12.31"]


def test_a_record_goes_to_the_fallback_of_its_own_route_when_a_field_is_missing() -> None:
    """Not to that of another route, which may be kept for another time."""
    made = router([("errors", {"level": "ERROR"}, None), ("app-{service}", None, None)], Horizon(float(NOON)))
    assert made.assign(columns_of([{}, {"service": "Api 1"}, {"level": "ERROR"}], [NOON] * 3)) == [
        "app-fallback",
        "app-api-1-2026.02.05",
        "errors-2026.02.05",
    ]


def test_the_first_routes_fallback_takes_records_when_no_route_does() -> None:
    """No record is without an index."""
    made = router([("app-{service}", {"has": "service"}, None)], Horizon(float(NOON)))
    assert made.assign(columns_of([{}], [NOON])) == ["app-fallback"]


@settings(deadline=None)
@given(
    st.permutations(range(NEW_NAMES_MAX + 20)).flatmap(
        lambda order: st.sampled_from([order, order + order[::3], order[:30] * 2])
    ),
    st.lists(st.integers(0, 100), max_size=4),
)
def test_the_same_names_are_admitted_when_batches_are_cut_elsewhere(numbers: list[int], cuts: list[int]) -> None:
    """The first 50 new names in the order of the rows; all others go to the fallback, now and when read again."""
    records = [{"service": f"s{number}"} for number in numbers]
    admitted = set(list(dict.fromkeys(numbers))[:NEW_NAMES_MAX])
    expected = [f"app-s{number}-2026.02.05" if number in admitted else "app-fallback" for number in numbers]
    horizon = Horizon(float(NOON))
    made = router([("app-{service}", None, None)], horizon)
    bounds = sorted({0, *cuts, len(records)})
    found = [
        name
        for start, stop in zip(bounds, bounds[1:], strict=False)
        if records[start:stop]
        for name in made.assign(columns_of(records[start:stop], [NOON] * len(records[start:stop])))
    ]
    assert found == expected
    again = router(
        [("app-{service}", None, None)],
        Horizon(**{name: getattr(horizon, name) for name in ("reference", "admitted", "fresh", "refused")}),
    )
    assert again.assign(columns_of(records[::-1], [NOON] * len(records))) == expected[::-1]


def test_a_refused_name_is_admitted_when_the_reference_has_moved() -> None:
    """The cap counts per reference; admitted names stay, and the checkpoint is told of every change."""
    horizon = Horizon(float(NOON))
    names = [f"n{number}" for number in range(NEW_NAMES_MAX + 1)]
    assert [horizon.admit(name) for name in names] == [True] * NEW_NAMES_MAX + [False]
    horizon.changed = False
    assert horizon.admit(names[0])
    assert not horizon.admit(names[-1])
    assert not horizon.changed
    horizon.move(NOON + 3600.0)
    assert (horizon.reference, horizon.changed, horizon.admit(names[-1]), horizon.admit(names[0])) == (
        NOON + 3600.0,
        True,
        True,
        True,
    )


def test_decisions_are_made_anew_when_the_reference_has_moved() -> None:
    """`forget` drops what was decided by the old one."""
    horizon = Horizon(float(NOON))
    made = router([("app", None, (-60.0, 60.0))], horizon)
    late = columns_of([{}], [NOON + 120])
    assert made.assign(late) == ["app-fallback"]
    horizon.move(NOON + 120.0)
    made.forget()
    assert made.assign(late) == ["app-2026.02.05"]
