"""Excerpt: a source line as a terminal shows it, with a caret under one place. No colours: that is the edge's business.

THEORY
A character takes no column (combining), one, or two (East Asian wide and full width, UAX 11). A tab is shown as one blank, so
that the caret does not depend on the terminal's tab stops, and what cannot be printed as `?`, so that a file cannot send
control sequences to the terminal.
"""

from __future__ import annotations

from unicodedata import combining, east_asian_width

COLUMNS_MAX = 76
"""Columns of an excerpt: a terminal of 80, less the indentation of 4."""
_BEFORE_MAX = 50
"""Columns before the caret where a line is cut on its left."""
_CUT = "..."


def excerpt(line: str, column: int, width: int) -> tuple[str, str]:
    """Return the line and the line of carets under `width` characters from `column` (from 1) on; both fit `COLUMNS_MAX`."""
    at = column - 1
    before = _printable(line[max(0, at - COLUMNS_MAX) : at])
    after = _printable(line[at : at + COLUMNS_MAX + 1])
    whole = len(before) + len(after) == len(line) and _columns(before + after) <= COLUMNS_MAX
    left, right = before, after
    if not whole:
        left = _fitting(before[::-1], _BEFORE_MAX)[::-1]
        left = left if len(left) == at else _CUT + left
        right = _fitting(after, COLUMNS_MAX - _columns(left))
        if len(right) < len(line) - at:
            right = _fitting(after, COLUMNS_MAX - _columns(left) - len(_CUT)) + _CUT
    carets = max(1, min(_columns(after[:width]), _columns(right)))
    return left + right, " " * _columns(left) + "^" * carets


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " if character == "\t" else "?" for character in text)


def _columns(text: str) -> int:
    return sum(map(_column_count, text))


def _column_count(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in ("W", "F") else 1


def _fitting(text: str, columns: int) -> str:
    """The longest beginning of a text that takes at most so many columns."""
    for count, character in enumerate(text):
        columns -= _column_count(character)
        if columns < 0:
            return text[:count]
    return text
