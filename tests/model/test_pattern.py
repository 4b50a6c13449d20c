"""Patterns of users: which are taken, and what stands in the message about those that are not."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from shipper.model.pattern import PatternError, compiled, of_lines, spans_of

ANYWHERE = re2._Anchor.UNANCHORED
PATTERNS = [
    "a",
    "^a",
    "b$",
    "^$",
    "",
    r"\bb",
    r"a\b",
    r"\Ba",
    r"a\B",
    "[^a]+",
    r"\s",
    "(?i)B",
    "a*",
    "^(a|b)+$",
    "(?s)a.b",
    "x|^b",
    r"\Q$\E",
]
PATTERNS += [r"\Aa", r"b\z", "(?-s)a.b", r"(?i-m:^b)"]


def found(pattern: str, text: str) -> bool:
    """Whether a pattern is found."""
    encoded = text.encode()
    return spans_of(compiled(pattern))(ANYWHERE, encoded, 0, len(encoded))[0][0] >= 0


@given(pattern=st.sampled_from(PATTERNS), lines=st.lists(st.text("ab \n$", max_size=4), min_size=1, max_size=4))
def test_what_is_found_in_a_line_is_found_in_all_of_them(pattern: str, lines: list[str]) -> None:
    """The pattern of lines misses nothing; those fixed to the text have none."""
    together = of_lines(pattern)
    if together is not None and any(found(pattern, line) for line in lines):
        assert found(together, "\n".join(lines))


def test_patterns_fixed_to_the_text_have_no_pattern_of_lines() -> None:
    """As `(?m)` would not change them."""
    assert [None] * 4 == list(map(of_lines, [r"\Aa", r"b\z", "(?-m)^a", "x(?i-m:^b)"]))


@pytest.mark.parametrize(
    ("pattern", "reason", "piece"),
    [
        ("(a", "missing )", "(a"),
        ("(?=a)", "invalid perl operator", "(?="),
        ("(?:a{900}){900}", "invalid repetition size", "{900}"),
        ("((a{30}){30}){1000}x" * 3, "invalid repetition size", "{1000}"),
        ("[[:alpha:]]{1000}" * 900, "pattern too large - compile failed", ""),
        ("\ud800", "it is no text of Unicode", ""),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, reason: str, piece: str) -> None:
    """Also one that would need too much memory."""
    with pytest.raises(PatternError) as caught:
        compiled(pattern)
    assert (reason, piece) == (caught.value.reason, caught.value.piece)


def test_groups_are_there_only_where_they_are_asked_for() -> None:
    """All spans, or that of the match alone."""
    text = b"x=1"
    assert [(0, 3), (0, 1), (2, 3)] == spans_of(compiled("(.)=(.)", captures=True))(ANYWHERE, text, 0, 3)
    assert [(0, 3)] == spans_of(compiled("(.)=(.)"))(ANYWHERE, text, 0, 3)
