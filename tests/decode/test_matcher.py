"""Matcher: whatever the pattern and the lines, it finds what RE2 finds in each line alone; and what it runs elsewhere is harmless."""

from __future__ import annotations

import string

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.decode.matcher import Matcher
from shipper.decode.pattern_paths import PATHS_MAX, in_linear_time
from shipper.decode.pattern_tree import Unsure, parse
from shipper.model.pattern import PatternError, compiled
from tests.decode.oracle_backtracking import steps_of

LETTERS = st.sampled_from(["a", "b", " ", "-", '"', "ü", "K", "\u212a", "ſ", r"\.", r"\[", "x", "1"])
CLASSES = [
    ".",
    r"\w",
    r"\W",
    r"\d",
    r"\D",
    r"\s",
    r"\S",
    "[ab]",
    "[^a]",
    '[^"]',
    "[a-c-]",
    "[]a]",
    "[^]]",
    r"[\w.]",
    r"[^\s\"]",
    "[[:alpha:]_]",
]
CLASSES += ["[[:^digit:]]", "[äöü]", r"[\x41-\x{17f}]", "[^ü]", r"\x41", r"\n", r"\t", "[^\n]", r"[\S]", r"[^\D]"]
TIMES = ["", "", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?", "{2,}", "{,2}"]


def _group(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Something in parentheses, or alternatives."""
    branches = st.lists(inner, min_size=1, max_size=3).map("|".join)
    return st.builds(
        str.format, st.sampled_from(["({0})", "(?:{0})", "(?P<n>{0})", "(?i:{0})", "(?s:{0})", "(?i){0}", "(?-i:{0})"]), branches
    )


ATOMS = LETTERS | st.sampled_from(CLASSES) | st.sampled_from([r"\b", r"\B", "^", "$", r"\A", r"\z"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.lists(st.builds(str.__add__, inner | _group(inner), st.sampled_from(TIMES)), min_size=1, max_size=4).map(
        "".join
    ),
    max_leaves=10,
)
LINES = st.lists(
    st.text('ab -"ükK\u212aſs.[]x1\t\rÄ\U0001f600\x00', max_size=12) | st.text(string.printable, max_size=12),
    min_size=1,
    max_size=5,
)


def alone(pattern: str, line: bytes) -> list[bytes] | None:
    """What RE2 finds, by its public functions."""
    options = re2.Options()
    options.log_errors = False
    found = re2.compile(pattern.encode(), options).search(line)
    return None if found is None else [group or b"" for group in found.groups()]


def check(pattern: str, lines: list[bytes]) -> None:
    """The matcher against RE2 alone."""
    groups = compiled(pattern, captures=True).groups
    columns, left = Matcher(pattern, range(1, groups + 1)).find(lines)
    expected = [alone(pattern, line) for line in lines]
    assert left == [row for row, found in enumerate(expected) if found is None]
    for row, found in enumerate(expected):
        assert found is None or found == [column[row] for column in columns]


def is_taken(pattern: str) -> bool:
    """Whether RE2 takes the pattern."""
    try:
        compiled(pattern)
    except PatternError:
        return False
    return True


@settings(deadline=None, max_examples=500)
@given(pattern=PATTERNS.filter(is_taken), lines=LINES)
@example(pattern="(?i)(k+)(s)", lines=["Kk\u212aſ", "ks"])
@example(pattern="(?i)(K)([^S])", lines=["k\u017f", "\u212aS", "Kx"])
@example(pattern=r"(.*?)(\d+)$", lines=["a1 22", "ü1", ""])
@example(pattern="a|^b|(c)", lines=["xb", "b", "xc"])
@example(pattern="(a*)", lines=["", "aa", "b"])
def test_the_groups_of_many_lines_are_those_of_each_alone(pattern: str, lines: list[str]) -> None:
    """For any pattern that RE2 takes and any lines; empty for groups that hold nothing."""
    check(pattern, [line.replace("\n", " ").encode() for line in lines])


USUAL = [
    r"^(?P<time>\w{3} +\d+ \d\d:\d\d:\d\d) (\S+) ([^\[: ]+)(?:\[(\d+)\])?: (.*)$",
    r"^(\S+ \S+) (\w+) (.*)$",
    r"^\[([^\]]+)\] (\S+): (.*)$",
    r"^(.*?) (\d+)$",
    r"^(.*) - (.*)$",
    r"(ERROR|WARN|INFO) (.*)",
    r'^(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) ([^"]*?)(?: (HTTP/[\d.]+))?" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"$',
    r"^([^,]*),([^,]*),(.*)$",
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+) - (.+?) - ([A-Z]+) - (.*)$",
    r"^(?:[a-z]+\.)*[a-z]+ ",
    r"(?i)^(error|warn)\b: .*",
]
PIECES = [
    "Feb",
    " ",
    "5",
    "14:30:45",
    "web-1",
    "sshd",
    "[17]",
    ": ",
    "text",
    "ERROR",
    " - ",
    '"GET /x HTTP/1.1"',
    "2026-02-05",
    "ü",
    ",",
    "a.b.",
]


@pytest.mark.parametrize("pattern", USUAL)
@settings(deadline=None, max_examples=60)
@given(lines=st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=1, max_size=6))
def test_usual_patterns_are_run_at_once_and_find_the_same(pattern: str, lines: list[str]) -> None:
    """Those that people write."""
    groups = compiled(pattern, captures=True).groups
    assert in_linear_time(pattern, range(1, groups + 1)) is not None
    check(pattern, [line.encode() for line in lines])


@settings(deadline=None, max_examples=400)
@given(
    pattern=PATTERNS.filter(is_taken),
    lines=st.lists(st.text('ab -"ükx1', max_size=6), min_size=1, max_size=3),
    times=st.integers(1, 40),
)
@example(pattern="^(?:a|b)*c", lines=["ab"], times=40)
def test_what_is_run_at_once_takes_few_steps_a_character(pattern: str, lines: list[str], times: int) -> None:
    """Whatever the line: a backtracking engine that is as plain as can be looks at each character `PATHS_MAX` times at most."""
    if in_linear_time(pattern, ()) is None:
        return
    tree = parse(pattern)
    branches = sum(map(pattern.count, "|(*+?{")) + 2
    for line in (lines[0] * times, lines[0] * times + lines[-1], "".join(lines) * times):
        steps_of(tree, line, PATHS_MAX * (len(line) + 1) * branches)


@pytest.mark.parametrize(
    "pattern",
    [
        "(x+x+)+y",
        "^(?:x+)+y",
        "^(?:a?){30}a{30}",
        "^" + "a?" * 30 + "a" * 30,
        r"^(?:\w+\s?)*$",
        r"^(?:a|a)*$",
        r"^(?:a|aa)*$",
        r"^(.*) (.*) (.*)$",
        r"^.*foo.*bar.*$",
        r"^(\d+)(\d*)$",
        r"^(?:(?:a|b)*c?)*d",
        r"^(?:a|aa){10}$",
        r"^x(?:a+a+b)?",
        r"x(?:a+a+){2}b",
        r"^" + "(?:a|ab)(?:c|bc)" * 8 + "$",
    ],
)
def test_patterns_that_may_explode_are_left_to_re2(pattern: str) -> None:
    """And it finds what is to be found."""
    assert in_linear_time(pattern, ()) is None
    check(pattern, [b"x" * 50, b"a" * 40, b"w " * 30 + b"!", b"1" * 40, b"foo bar"])


@pytest.mark.parametrize(
    "pattern",
    [
        r"\pL+",
        r"\Qa.b\E",
        "(?U)a+",
        "(?i)ü",
        "(?i)[à-ü]",
        "a^b",
        "(a$)b",
        "(a)*",
        "(?:)*",
        "(?:a|b?|c*)x",
        "[^\\x00-\\x{10FFFF}]",
    ],
)
def test_what_is_not_understood_is_left_to_re2(pattern: str) -> None:
    """Rather than run as something else."""
    assert in_linear_time(pattern, ()) is None


def test_deep_patterns_are_left_to_re2() -> None:
    """Deeper than Python's own stack allows."""
    with pytest.raises(Unsure):
        parse("(?:" * 5000 + "a" + ")" * 5000)
