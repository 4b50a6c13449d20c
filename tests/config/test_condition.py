"""Conditions: what they match, and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.condition import Condition, ConditionError, problems
from tests.config.oracle_condition import ASKED, SCALARS, VALUES, holds

FIELDS = ("level", "status", "tags", "log.level")


class Rows:
    """Columns of a few rows."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows, self.count, self.masks = rows, len(rows), {}

    def column(self, name: str) -> list[object]:
        return [row.get(name) for row in self.rows]


LEVEL_FIELDS = ("level", "log.level")
LEVELS = st.sampled_from(["error", "WARNING", "warn", "info", "Fatal"])
TERMS = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), SCALARS | st.lists(SCALARS, min_size=1, max_size=3) | ASKED, min_size=1, max_size=2),
    st.builds(lambda names: {"has": names}, st.sampled_from(FIELDS) | st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2)),
    st.builds(
        lambda field, name, bound: {field: {name: bound}}, st.sampled_from(LEVEL_FIELDS), st.sampled_from(["gte", "lt"]), LEVELS
    ),
)
CONDITIONS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(lambda key, parts: {key: parts}, st.sampled_from(["any", "all"]), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one, other: one | other, inner, inner),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=400)
@given(written=CONDITIONS, batches=st.lists(st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES), max_size=8), max_size=3))
def test_a_mask_is_what_each_row_says(written, batches) -> None:
    """For all conditions and rows, also those that came in other batches before: the mask equals the condition row by row."""
    condition = Condition(written)
    for rows in batches:
        assert [holds(written, row) for row in rows] == condition.mask(Rows(rows))


@given(written=CONDITIONS)
def test_a_condition_reads_the_fields_it_names(written) -> None:
    """Each once, in order, and no others."""
    found = Condition(written)
    assert sorted(set(found.reads)) == sorted(found.reads)
    assert all(f"'{name}'" in repr(written) for name in found.reads)


@given(
    written=st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["has", "not", "any", "x"]), inner)
    )
)
def test_a_condition_is_refused_exactly_when_it_has_problems(written) -> None:
    """And then with the first of them."""
    found = problems(written)
    if not found:
        assert Condition(written).reads is not None
        return
    with pytest.raises(ConditionError) as caught:
        Condition(written)
    assert (found[0].message, found[0].path) == (caught.value.message, caught.value.path)


@pytest.mark.parametrize("word", ["hass", "Has", "HAS", "Not", "ANY", "exists", "alll"])
def test_a_misspelt_keyword_is_refused(word) -> None:
    """As a field it would silently match nothing."""
    (problem,) = problems({word: "duration_ms"})
    assert problem.key
    assert "did you mean" in problem.hint


@pytest.mark.parametrize(("word", "meant"), [("and", "all"), ("or", "any")])
def test_another_tool_s_keyword_is_told_in_ours(word, meant) -> None:
    """`and` resembles `any`, but is not meant so."""
    (problem,) = problems({word: [{"a": 1}]})
    assert problem.hint == f"did you mean `{meant}`?"


@pytest.mark.parametrize("field", ["hash", "note", "call", "many", "as", "host", "haste"])
def test_a_field_that_resembles_a_keyword_is_a_field(field) -> None:
    """`hash` is no misspelt `has`."""
    assert (field,) == Condition({field: "x"}).reads


def test_a_condition_shows_what_was_written_instead_of_values() -> None:
    """Where it is given another text, its `repr` is that."""
    assert "Condition({'a': '${A}'})" == repr(Condition({"a": "x"}, "{'a': '${A}'}"))
