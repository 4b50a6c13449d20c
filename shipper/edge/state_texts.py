"""State texts: what the state commands say, as lines of at most 80 columns, and as plain data for programs.

Paths are shortened in the middle, and what cannot be printed is shown as `?`, so that a file name cannot steer the terminal.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

import msgspec

from shipper.edge import store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipper.edge.state_commands import Import, StreamRow
    from shipper.edge.takeover.plan import Outcome

COLUMNS = 80
_WORD_COLUMNS = 10
_REASON_COLUMNS = 48
"""At most, of a line with a path; the rest is the path's."""
_UNKNOWN_SHOWN = 20


def streams(rows: Sequence[StreamRow]) -> Iterator[str]:
    """Two lines a stream."""
    for row in rows:
        at = datetime.fromtimestamp(row.changed_s, UTC) if 0 < row.changed_s < 1e11 else None
        changed = f"changed {at:%Y-%m-%d %H:%M:%S}Z" if at is not None else "change not known"
        yield f"{row.identity:22}  {shortened(row.path, COLUMNS - 24)}"
        yield f"    {row.offset} of {row.size}, {row.percent} %, {row.state}, {changed}"
    if not rows:
        yield "no progress"


def imported(found: Import) -> Iterator[str]:
    """One line a position, then what the next run does with the files that nobody knows, then the sum."""
    yield from map(outcome, found.outcomes)
    for path in found.unknown[:_UNKNOWN_SHOWN]:
        yield _line("new", path, "no position: read from its first byte")
    if len(found.unknown) > _UNKNOWN_SHOWN:
        yield f"{'new':{_WORD_COLUMNS}}and {len(found.unknown) - _UNKNOWN_SHOWN} more files without a position"
    counts = Counter(one.status for one in found.outcomes)
    parts = [f"{count} {status}" for status, count in counts.items()]
    done = "written" if found.written else "nothing written"
    yield f"{found.agent}: {', '.join(parts) or 'no positions'}; {done}"


def outcome(one: Outcome) -> str:
    """One position in one line."""
    return _line(one.status, one.file or one.path, one.reason)


def as_data(value: Any) -> Any:
    """Plain data for JSON; bytes of a path that are not UTF-8 as in the checkpoint, NUL and two hex digits."""
    return _clean(msgspec.to_builtins(value))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return store.quoted(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return value


def _line(word: str, path: str, reason: str) -> str:
    reason = shortened(reason, _REASON_COLUMNS, at_end=True)
    room = COLUMNS - _WORD_COLUMNS - 2 - _columns(reason)
    return f"{word:{_WORD_COLUMNS}}{shortened(path, room)}  {reason}".rstrip()


def shortened(text: str, columns: int, *, at_end: bool = False) -> str:
    """A text in at most so many columns of a terminal, cut in the middle, or at its end."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    if _columns(text) <= columns:
        return text
    left = columns - 3 if at_end else (columns - 3) // 3
    right = 0 if at_end else columns - 3 - left
    return _fitting(text, left) + "..." + _fitting(text[::-1], right)[::-1]


def _fitting(text: str, columns: int) -> str:
    """The longest beginning that fits."""
    used = 0
    for at, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:at]
    return text


def _columns(text: str) -> int:
    """Columns of a terminal (UAX 11)."""
    return sum(0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1 for character in text)
