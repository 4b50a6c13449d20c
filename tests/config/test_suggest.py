"""Suggestions: the nearest word, lists that end, values cut to a line, interpolated ones masked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config import suggest


@pytest.mark.parametrize(
    ("word", "allowed", "close"),
    [
        ("inclde", ["include", "exclude"], "include"),
        ("Include", ["include"], "include"),
        ("hash-key", ["hash_key"], "hash_key"),
        ("xyz", ["include"], None),
        ("", ["include"], None),
        ("a", [], None),
    ],
)
def test_the_nearest_word_is_found(word, allowed, close) -> None:
    """Ignoring case, `-` and `_`; None where nothing is close."""
    assert close == suggest.nearest(word, allowed)


def test_long_lists_are_cut_and_counted() -> None:
    """A hint stays readable whatever is allowed."""
    assert suggest.listed(["x"] * 31).endswith("x and 1 more")


@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.lists(st.text()))
def test_a_shown_value_fits_into_a_message(value) -> None:
    """One line, bounded."""
    text = suggest.shown(value)
    assert "\n" not in text
    assert text.isprintable()
    assert len(text) <= 10 * suggest.SHOWN_MAX + 2


def test_a_masked_message_has_no_interpolated_value() -> None:
    """Longest values first, so that one inside of another leaves nothing behind."""
    masks = (("pass", "${A}"), ("password1", "${B}"), ("x", "${C}"))
    assert "x: ${B} and ${A}" == suggest.masked("x: password1 and pass", masks)
