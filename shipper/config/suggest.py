"""Suggestions: the nearest allowed word, and values as they are shown to a user."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_MAX = 60
"""Characters of a value shown in a message; longer ones are cut, so that one fault stays one line."""
MASKED_CHARS_MIN = 4
"""Shorter values tell nothing, and replacing them would spoil the message."""
LISTED_MAX = 30
"""Names listed in a hint; the rest is counted."""


def nearest(word: str, allowed: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the allowed word that is closest to `word`, ignoring case, `-` and `_`; None where none is close."""
    plain = {_plain(name): name for name in allowed}
    found = get_close_matches(_plain(word[:SHOWN_MAX]), plain, 1, cutoff)
    return plain[found[0]] if found else None


def hint(word: str, allowed: Iterable[str]) -> str:
    """Return "did you mean `x`? allowed: a, b, c", or what of it is known."""
    names = list(allowed)
    close = nearest(word, names)
    parts = [f"did you mean `{close}`?"] if close else []
    if names:
        parts.append(f"allowed: {listed(names)}")
    return " ".join(parts)


def listed(names: list[str]) -> str:
    """Return the names with commas, the first `LISTED_MAX` of them."""
    more = len(names) - LISTED_MAX
    return ", ".join(names[:LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


def shown(value: object) -> str:
    """Return a YAML value as a message shows it, cut to `SHOWN_MAX` characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    text = str(value)
    cut = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
    return repr(cut) if isinstance(value, str) else cut


def masked(message: str, masks: tuple[tuple[str, str], ...]) -> str:
    """Return a message with interpolated values replaced by what was written; very short ones tell nothing and stay."""
    for value, written in sorted(masks, key=lambda pair: -len(pair[0])):  # one may be a part of another
        if len(value) >= MASKED_CHARS_MIN:
            message = message.replace(value, written)
    return message


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").strip("_ ")
