"""Search: in which rows of a column of texts a pattern is found.

THEORY
One search tells whether any row has the pattern at all: in the rows put together, which costs next to nothing where none has.
Where few have it, the search goes on from the row behind each hit, at 3 us a hit. Where many have it, each row is asked alone:
a value seen before costs a lookup, a new one some 1 us. Which of the two is right the last batch tells.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from operator import and_
from typing import TYPE_CHECKING

from shipper.model import pattern as patterns

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT_MAX = 4096
"""Verdicts kept a condition; then they are forgotten."""
KEPT_CHARS_MAX = 256
"""Longer values are judged each time: what is long is seldom seen again."""
_MANY = 8
"""One row of so many with a hit is many."""


class Search:
    """A pattern, and what it said of the values that it saw."""

    def __init__(self, pattern: str) -> None:
        """Compile. Raises PatternError."""
        import re2

        self._verdicts = _Verdicts(patterns.spans_of(patterns.compiled(pattern)), re2._Anchor.UNANCHORED)  # noqa: SLF001
        of_lines = patterns.of_lines(pattern)
        self._find = None if of_lines is None else patterns.spans_of(patterns.compiled(of_lines))
        self._anywhere = re2._Anchor.UNANCHORED  # noqa: SLF001
        self._in_nothing = self._verdicts[""]
        self._many = False

    def mask(self, values: Sequence[object]) -> list[bool]:
        """Whether each value is a text that has the pattern in it."""
        try:
            joined = "\n".join(values)  # type: ignore[arg-type]
        except TypeError:
            texts = texts_of(values)
            mask = self._mask(texts, "\n".join(texts))
            return list(map(and_, mask, [type(value) is str for value in values])) if self._in_nothing else mask
        return self._mask(values, joined)  # type: ignore[arg-type]

    def _mask(self, texts: Sequence[str], joined: str) -> list[bool]:
        if self._find is not None and not self._many:
            found = self._few(texts, joined)
            if found is not None:
                return found
        mask = list(map(self._verdicts.__getitem__, texts))
        self._many = sum(mask) * _MANY > len(mask)
        return mask

    def _few(self, texts: Sequence[str], joined: str) -> list[bool] | None:
        """The mask where few rows have the pattern, else None."""
        assert self._find is not None
        mask = [False] * len(texts)
        block = joined.encode("utf-8", "replace")
        ((at, _),) = self._find(self._anywhere, block, 0, len(block))
        if at < 0 or not texts:
            return mask
        sizes = map(len, texts if len(block) == len(joined) else (text.encode("utf-8", "replace") for text in texts))
        ends = list(accumulate(size + 1 for size in sizes))
        for _ in range(len(texts) // _MANY + 1):
            row = bisect_right(ends, at)
            mask[row] = self._verdicts[texts[row]]
            if ends[row] > len(block):
                return mask
            ((at, _),) = self._find(self._anywhere, block, ends[row], len(block))
            if at < 0:
                return mask
        self._many = True
        return None


class _Verdicts(dict[str, bool]):
    """Text -> whether the pattern is found in it."""

    def __init__(self, find: patterns.Spans, anywhere: object) -> None:
        super().__init__()
        self._find, self._anywhere = find, anywhere

    def __missing__(self, text: str) -> bool:
        encoded = text.encode("utf-8", "replace")
        ((at, _),) = self._find(self._anywhere, encoded, 0, len(encoded))
        if len(text) <= KEPT_CHARS_MAX:
            if len(self) >= KEPT_MAX:
                self.clear()
            self[text] = at >= 0
        return at >= 0


def texts_of(values: Sequence[object]) -> list[str]:
    """The column with an empty text in the place of what is no text."""
    return [value if type(value) is str else "" for value in values]
