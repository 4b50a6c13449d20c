"""Excerpts: a line and its carets, within 76 columns, on any terminal."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

from hypothesis import given
from hypothesis import strategies as st

from shipper.model.excerpt import COLUMNS_MAX, excerpt


def columns(text: str) -> int:
    """Columns a terminal gives a text."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


@given(
    line=st.text(st.characters(exclude_characters="\n\r"), max_size=300) | st.text("ab漢\t\x1b\u0301", max_size=300),
    start=st.integers(0, 300),
    width=st.integers(1, 300),
)
def test_an_excerpt_fits_a_terminal_and_its_carets_stand_under_the_place(line, start, width) -> None:
    """For all lines: both lines fit, nothing unprintable is in them, and the carets begin where the place does."""
    start = min(start, len(line))
    shown, carets = excerpt(line, start + 1, width)
    assert columns(shown) <= COLUMNS_MAX
    assert len(carets) <= COLUMNS_MAX + 1
    assert shown.isprintable()
    assert carets.strip() == "^" * len(carets.strip()) != ""
    before = carets.index("^")
    under = next((at for at in range(len(shown) + 1) if columns(shown[:at]) == before), None)
    assert under is not None
    if start < len(line) and line[start].isprintable() and not combining(line[start]) and line[:1].isprintable():
        assert line[start] in shown[under : under + 8]


def test_a_short_line_is_shown_whole() -> None:
    """The caret underlines the width given, no further than the line."""
    assert ("abc: def", "     ^^^") == excerpt("abc: def", 6, 3)
    assert ("abc: def", "     ^^^") == excerpt("abc: def", 6, 30)
    assert ("abc", "   ^") == excerpt("abc", 4, 1)


def test_tabs_and_control_characters_take_one_column() -> None:
    """A tab is a blank, what cannot be printed a question mark."""
    assert (" a? b", "    ^") == excerpt("\ta\x1b\tb", 5, 1)


def test_wide_characters_take_two_columns() -> None:
    """Also under the caret."""
    assert ("漢: 字", "    ^^") == excerpt("漢: 字", 4, 1)


def test_a_long_line_is_cut_around_the_place() -> None:
    """On both sides, marked by dots."""
    shown, carets = excerpt("a" * 200 + "HERE" + "b" * 200, 201, 4)
    assert ("..." + "a" * 50 + "HERE" + "b" * 16 + "...", " " * 53 + "^^^^") == (shown, carets)
