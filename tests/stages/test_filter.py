"""Filter: what is kept, what is dropped, and what for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.condition import Condition
from shipper.edge.tables import Tables
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.stages.filter import Filter
from tests.kit import laws
from tests.kit.site import Site, check_whole

LEVELS = ["ERROR", "INFO", None, 8, True, ["ERROR"]]


def stage(**settings: Any) -> Filter:
    """A filter."""
    return Filter(Filter.Config(**settings), Tables())


def dropped(columns: Columns, **settings: Any) -> dict[int, str]:
    """The rows that it drops, with their reasons."""
    stage(**settings).process(columns, 0.0)
    return columns.dropped


@given(st.lists(st.sampled_from(LEVELS)))
def test_keep_and_drop_of_one_condition_are_complements(levels: list[object]) -> None:
    """Each row is dropped by one of the two, and that by `drop` for which the condition holds."""
    rows = [{"level": level} for level in levels]
    errors = Condition({"level": "ERROR"})
    by_drop = dropped(laws.columns_of(rows, ["level"]), drop=errors, reason="noise")
    by_keep = dropped(laws.columns_of(rows, ["level"]), keep=errors)
    assert by_drop == {row: "noise" for row, level in enumerate(levels) if level == "ERROR"}
    assert by_keep == {row: "filtered" for row, level in enumerate(levels) if level != "ERROR"}


def test_rows_that_were_dropped_or_held_before_stay_what_they_are() -> None:
    """The first stage that took a row gave the reason."""
    columns = laws.columns_of([{}] * 4, ["level"])
    columns.drop(1, "earlier")
    columns.hold(2, Holding())
    assert dropped(columns, keep=Condition({"has": "level"})) == {0: "filtered", 1: "earlier", 3: "filtered"}
    assert set(columns.held) == {2}


class Holding:
    """What a row is held for."""

    reason = "throttled"
    index: bytes | None = None


@pytest.mark.parametrize(
    ("settings", "where", "says"),
    [
        ({}, "drop", "either `keep` or `drop`"),
        ({"keep": Condition({"has": "a"}), "drop": Condition({"has": "b"})}, "drop", "either `keep` or `drop`"),
        ({"drop": Condition({"has": "a"}), "reason": "Health check"}, "reason", "lowercase"),
        ({"drop": Condition({"has": "a"}), "reason": "r" * 41}, "reason", "at most 40"),
        ({"drop": Condition({"has": "a"}), "reason": ""}, "reason", "lowercase"),
    ],
)
def test_a_filter_is_refused_when_it_says_nothing_or_too_much(settings: dict[str, Any], where: str, says: str) -> None:
    """At the setting that is wrong."""
    with pytest.raises(ComponentError, match=says) as caught:
        stage(**settings)
    assert caught.value.field == where


def test_dropped_records_are_in_the_account_and_in_no_index(site: Site) -> None:
    """Read, settled, counted by reason; the rest is delivered."""
    site.write([{"path": path, "n": number} for number, path in enumerate(["/health", "/orders", "/ready", "/orders"])])
    site.configure(stages=[{"filter": {"drop": {"path": ["/health", "/ready"]}, "reason": "health_check"}}])
    told = site.once()
    check_whole(told, 4)
    assert told.account["dropped"] == {"health_check": 2}
    assert [document["n"] for document in site.bodies()] == [1, 3]
