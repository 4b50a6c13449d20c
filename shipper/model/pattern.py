r"""Patterns: regular expressions that users write, in linear time by google-re2, whatever they and the records say.

RULES
- The syntax is RE2's (github.com/google/re2/wiki/Syntax): no look-around, no backreferences, no atomic groups.
- Text is UTF-8: `.` is a character, `\w`, `\d` and `\s` are ASCII. Bytes that are no UTF-8 match nothing.
- A compiled pattern takes at most `MEMORY_BYTES`, its automata included; one that needs more is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MEMORY_BYTES = 8 << 20
"""Of each pattern; RE2's own default. A search that runs out of it goes on without an automaton, more slowly."""
Spans = Callable[[Any, bytes, int, int], list[tuple[int, int]]]
"""(anchor, text, start, stop) -> the spans of all groups, the whole match first; (-1, -1) where nothing matched."""
_FIXED_TO_TEXT = re.compile(r"\\[AzC]|\(\?[a-zA-Z]*-")
"""What keeps its meaning, or may, when `(?m)` is put before a pattern."""


class PatternError(ValueError):
    """RE2 refuses a pattern: `reason` says why, `piece` quotes what of it is wrong."""

    advice = "patterns are RE2: no look-around, no backreferences"

    def __init__(self, message: str) -> None:
        """Take RE2's text, `missing closing ]: [a-z`."""
        self.reason, _, self.piece = message.partition(": ")
        super().__init__(message)


def compiled(pattern: str, *, captures: bool = False) -> Any:
    """The pattern for bytes of UTF-8. Raises PatternError. Without `captures` groups are not looked for, which is faster."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    options.never_capture = not captures
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        told = error.args[0] if error.args else error
        raise PatternError(told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)) from None
    except UnicodeEncodeError:
        raise PatternError("it is no text of Unicode") from None


def spans_of(pattern: Any) -> Spans:
    """What the methods of a pattern call, without the generator and the match object of Python around it: 0.6 us, not 2.5."""
    return pattern._regexp.Match  # type: ignore[no-any-return]  # noqa: SLF001


def of_lines(pattern: str) -> str | None:
    """A pattern that is found in lines put together if the given one is found in one of them; None where there is none.

    It may be found where the given one is not: across a newline.
    """
    return None if _FIXED_TO_TEXT.search(pattern) else f"(?m){pattern}"
