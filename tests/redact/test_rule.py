"""Rule: how patterns are compiled for the exact check and for the screen."""

from __future__ import annotations

import re

import pytest

from shipper.redact.gate import Gate
from shipper.redact.rule import Rule, at_boundary
from shipper.redact.settings import CustomRule, RedactConfig
from tests.redact.gating import KEY, admit


def rule(pattern: str, **more: object) -> Rule:
    """Return a rule with this pattern."""
    return Rule(id="r", title="r", pattern=pattern, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "screen"),
    [
        ("abc", b"(?:abc)"),
        (r"\bx_[a-z]{36,}", b"(?:x_[a-z]{36})"),
        (r"\bx_[a-z]{36,}\b", b"(?:x_[a-z]{36})"),
        (r"\bx_[a-z]+(?![a-z])", b"(?:x_[a-z])"),
        (r"(?i)\bx[0-9]{2,4}", b"(?i)(?:x[0-9]{2})"),
        (r"x[0-9]*", b"(?:x)"),
        (r"x{3,}={0,2}", b"(?:x{3})"),
        (r"=([a-z]{3,}=?)(?![a-z])", b"(?:=([a-z]{3}))"),
        (r"(?:ab|c[0-9]{2,})\b", b"(?:(?:ab|c[0-9]{2}))"),
        (r"x\+", rb"(?:x\+)"),
        (r"x{0,3}", b"(?:x{0,3})"),
        (r"\bab|cd", rb"(?:\bab|cd)"),
    ],
)
def test_screen_is_derived_from_the_pattern_with_a_fixed_end(pattern: str, screen: bytes) -> None:
    """Outer boundaries go, the last quantifier is at its minimum, so that it ends at one place."""
    assert rule(pattern).screened() == screen


@pytest.mark.parametrize("pattern", ["(?<=a)b", "a(?=b)c", r"(a)\1", "a(?!b)c", "(?P<n>a)(?P=n)", "a++b"])
def test_screen_must_be_given_when_the_pattern_looks_around(pattern: str) -> None:
    """Neither engine has look-around or back-references."""
    with pytest.raises(ValueError, match="screen"):
        rule(pattern).screened()
    assert rule(pattern, screen="ab").screened() == b"(?:ab)"


@pytest.mark.parametrize(
    ("text", "place", "holds"),
    [
        (b"abc", 0, True),
        (b"abc", 1, False),
        (b"_bc", 1, True),
        (b"\xc3\xbcbc", 2, True),
        (b"\x01\x02nabc", 3, True),
        (b"nabc", 1, False),
        (b"\x01\x02u00fcabc", 7, True),
        (b"\x01\x02xabc", 3, False),
    ],
)
def test_boundary_holds_behind_anything_but_letters_and_digits_and_behind_nested_escapes(
    text: bytes, place: int, holds: bool
) -> None:
    """An underscore is a boundary: `key_AKIA...` is a key."""
    assert at_boundary(text, place) is holds


def test_exact_pattern_leaves_a_leading_boundary_to_the_caller_and_closes_with_its_own() -> None:
    """Unless a boundary belongs to one alternative only."""
    pattern, bounded = rule(r"\babc\b").exact()
    assert bounded
    assert [bool(pattern.search(text)) for text in (b"abc", b"abc_", b"abcd", b"abc1")] == [True, True, False, False]
    pattern, bounded = rule(r"\babc|xyz").exact()
    assert not bounded
    assert pattern.pattern == rb"\babc|xyz"


@pytest.mark.parametrize("pattern", ["x*", "", "a|"])
def test_exact_pattern_that_matches_nothing_at_all_is_refused(pattern: str) -> None:
    """It would be found everywhere."""
    with pytest.raises(ValueError, match="empty"):
        rule(pattern).exact()


def test_separator_stands_for_all_ways_to_give_a_value_in_both_patterns() -> None:
    """`<sep>`: quotes, blanks, `=`, `:`, `=>`."""
    made = rule("key<sep>([a-z]{3})", group=1)
    screen = re.compile(made.screened())
    for text in (b"key=abc", b'key": "abc', b"key' => 'abc", b'key\\": \\"abc', b"key := abc"):
        assert screen.search(text)
    assert not screen.search(b"key abc")


def test_exception_sees_what_stands_before_a_hit_and_ends_where_the_hit_does(engine: str) -> None:
    """`unless` makes a hit none: by its surroundings, or by what it is; 64 bytes back and no further."""
    own = {"pattern": "[0-9]{3}", "unless": "(?i)no<sep>(?:[0-9]{3}|x.*)|999"}
    made = rule("[0-9]{3}", unless=own["unless"]).exception()
    assert made is not None
    assert [bool(made.search(text)) for text in (b"NO: 123", b"no=123x", b"999", b"1999", b"yes: 123")] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert rule("a").exception() is None
    gate = Gate(RedactConfig(packs=[], rules=[CustomRule(id="r", **own)]), hash_key=KEY, engine=engine)
    rows = [b"no=123", b"yes=123", b"999 998", b"no:x" + b"." * 59 + b" 123", b"no:x" + b"." * 60 + b" 123"]
    assert [b"REDACTED" in row for row in admit(gate, *rows)] == [False, True, True, False, True]
