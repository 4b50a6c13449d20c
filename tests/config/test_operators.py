"""Operators: the mask of a column against each value alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.config.condition import problems
from shipper.config.operators import OPERATORS, Asked, Test, equality, levels
from shipper.config.search import KEPT_MAX
from shipper.model import level
from tests.config.oracle_condition import OPERANDS, SCALARS, TEXTS, VALUES, holds

NUMBERS = st.sampled_from([0, 1, 2, 2.5, -1, 10**30, 1e308, True, None])
COLUMNS = st.integers(0, 40).flatmap(
    lambda size: (
        st.lists(st.sampled_from(TEXTS), min_size=size, max_size=size)
        | st.lists(st.sampled_from([*TEXTS, None, None]), min_size=size, max_size=size)
        | st.lists(NUMBERS, min_size=size, max_size=size)
        | st.lists(VALUES, min_size=min(size, 10), max_size=10)
    )
)
"""Columns as they are: of one kind, of one kind and gaps, of all kinds."""


def made(name: str, operand: object, field: str = "a") -> Test:
    """The test of an operator."""
    asked = Asked(field, operand, operand)
    test = OPERATORS[name](name, asked)
    assert asked.problems == []
    return test


def test_the_operators_under_test_are_all_there_are() -> None:
    """An operator without operands here fails."""
    assert set(OPERANDS) == set(OPERATORS)


@pytest.mark.parametrize("name", OPERANDS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_mask_is_what_each_value_says_alone(name: str, data: st.DataObject) -> None:
    """Batch after batch, whatever the values before them were."""
    operand = data.draw(OPERANDS[name])
    test = made(name, operand)
    for values in data.draw(st.lists(COLUMNS, min_size=1, max_size=3)):
        assert [holds({"a": {name: operand}}, {"a": value}) for value in values] == test(values)


@settings(deadline=None, max_examples=150)
@given(wanted=st.lists(SCALARS, min_size=1, max_size=3), columns=st.lists(COLUMNS, max_size=3))
@example(wanted=["alert"], columns=[[1], [True]])
@example(wanted=["alert"], columns=[[True], [1, 1.0, False, 0]])
def test_equality_is_what_each_value_says_alone(wanted: list[object], columns: list[list[object]]) -> None:
    """As plain values, and as levels."""
    tests = {"a": equality(wanted), "level": levels(wanted, level.numbers_of("level") or {})}
    for field, test in tests.items():
        for values in columns:
            assert test is None or [holds({field: wanted}, {field: value}) for value in values] == test(values)


@pytest.mark.parametrize("share", [0, 1, 40])
def test_a_pattern_is_found_in_few_rows_and_in_many(share: int) -> None:
    """And in few again, in rows of one line and of several."""
    test = made("regex", r"^timeout after \d+ms$")
    for every in (share, 1000, 2, 1000):
        values = [f"timeout after {row}ms" if every and row % every == 0 else f"row\n{row} of ü" for row in range(300)]
        assert [bool(every) and row % every == 0 for row in range(300)] == test(values)


def test_an_empty_value_is_found_at_the_end_too() -> None:
    """Where nothing of the text is left to search in."""
    assert [False] * 16 + [True, True] == made("regex", "^$")([*"abcdefghijklmnop", "", ""])


def test_caches_are_bounded() -> None:
    """New values for ever, and each is judged rightly."""
    inside = made("cidr", "10.0.0.0/8")
    for block in range(3):
        values = [f"10.{row >> 8}.{row & 255}.{block}" for row in range(KEPT_MAX)] + ["11.0.0.1"]
        assert [True] * KEPT_MAX + [False] == inside(values)


@pytest.mark.parametrize(
    ("glob", "hits"),
    [
        ("/api/*", ["/api/", "/api/v1/x"]),
        ("*.html", ["x.html", ".html"]),
        ("*admin*", ["admin", "/admin/x"]),
        ("/v?/health", ["/v1/health"]),
        ("/v[12]/*", ["/v1/health"]),
        ("/v[!12]/*", ["/v3/"]),
        ("v1", ["v1"]),
        ("*", ["/api/", "/api/v1/x", "x.html", ".html", "admin", "/admin/x", "/v1/health", "/v3/", "v1"]),
    ],
)
def test_a_glob_is_about_the_whole_value(glob: str, hits: list[str]) -> None:
    """`*` crosses slashes, as in a log there are no directories."""
    values = ["/api/", "/api/v1/x", "x.html", ".html", "admin", "/admin/x", "/v1/health", "/v3/", "v1"]
    assert hits == [value for value, found in zip(values, made("glob", glob)(values), strict=True) if found]


def test_addresses_may_have_ports_and_brackets() -> None:
    """As logs write them."""
    values = ["10.1.2.3", "10.1.2.3:443", "[fc00::1]:80", "::ffff:10.0.0.1", "11.1.2.3", "fe80::1%eth0", "ten", 10, None]
    assert [True, True, True, True, False, False, False, False, False] == made("cidr", ["10.0.0.0/8", "fc00::/7"])(values)


def test_levels_are_compared_by_their_severity() -> None:
    """Words by rank, numbers as numbers."""
    values = ["DEBUG", "warn", "ERROR", "F", 3, 40, "200", None, "odd", True]
    assert [False, True, True, True, True, True, False, False, False, False] == made("gte", "warning", "log.level")(values)
    assert [False, False, False, False, False, True, False, False, False, False] == made("gte", 40, "log.level")(values)


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ({"gte": True}, "a: gte: expected a number, got true", ""),
        ({"gte": [1, 2]}, "a: gte: expected a number, got a list", ""),
        ({"gte": float("nan")}, "a: gte: expected a number, got nan", ""),
        ({"gte": "2.5"}, "a: gte: expected a number, got '2.5'", "leave the quotes out: 2.5"),
        ({"gte": "error"}, "a: gte: expected a number, got 'error'", ""),
        ({"prefix": []}, "a: prefix: expected a text or a list of them, got an empty list", ""),
        ({"prefix": {"x": 1}}, "a: prefix: expected a text or a list of them, got a mapping", ""),
        ({"regex": None}, "a: regex: expected a pattern or a list of them, got nothing", ""),
        ({"regex": r"(\w+) \1"}, r"a: regex: the pattern cannot be used: invalid escape sequence, at '\\1'", "patterns are RE2"),
        ({"regex": "x{1001}"}, "a: regex: the pattern cannot be used: invalid repetition size, at '{1001}'", "patterns are RE2"),
        ({"cidr": "10.0.0.0/33"}, "a: cidr: expected a network such as 10.0.0.0/8 or fc00::/7, got '10.0.0.0/33'", ""),
        ({">=": 5}, "a: `>=` is no operator", "did you mean `gte`?"),
        ({"Prefix": "x"}, "a: `Prefix` is no operator", "did you mean `prefix`?"),
        ({"b": 1}, "a: `b` is no operator", "write `a.b`"),
        ({"equals": 1}, "a: `equals` is no operator", "without it: `a: VALUE`"),
        ({"not": 1}, "a: `not` is no operator", "write `not: {a: VALUE}`"),
        ({"exists": True}, "a: `exists` is no operator", "write `has: a`"),
    ],
)
def test_what_an_operator_cannot_take_is_refused(asked: object, message: str, hint: str) -> None:
    """With what was expected, and what to do."""
    (problem,) = problems({"a": asked})
    assert message == problem.message
    assert hint in problem.hint


def test_an_interpolated_operand_is_never_quoted() -> None:
    """What `${...}` stands for may be a secret; a bound from outside is a number where it reads as one."""
    assert problems({"a": {"gte": "500"}}, {"a": {"gte": "${MIN}"}}) == []
    values: list[object] = ["hunter2(", "(?=hunter2)", ["hunter2("], ["x", "hunter2("]]
    for value in values:
        written = ["x", "${S}"][2 - len(value) :] if isinstance(value, list) else "${S}"
        for name in ("regex", "cidr", "gte", "hunter3"):
            told = [f"{one.message} {one.hint}" for one in problems({"level": {name: value}}, {"level": {name: written}})]
            assert told
            assert "hunter2" not in " ".join(told)
