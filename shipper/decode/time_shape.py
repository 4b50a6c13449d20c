"""Shapes: many texts of one length and one layout, read together.

RULES
- What a shape says of a text is what its layout says of it alone, where no earlier layout has its shape. Where that cannot be
  told from a row without the record before it, or it is no time, the row is None.

THEORY
Texts of one length that are of one layout have the digits of the fraction in one place. They are checked and copied by strides
over all texts in one piece: half a nanosecond a character. What is left of a text is the key of a bounded cache: a log writes many
records a second. Whether a text has the shape of a layout depends on where digits stand, not which (`time_layout.py`), so the key
is judged once, with zeros for the fraction.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import add, itemgetter
from typing import TYPE_CHECKING, Any

from shipper.config.time_layout import is_canonical
from shipper.decode.moment import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shipper.config.time_layout import Written
    from shipper.decode.moment import Way

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS_MAX = 9
_DIGITS_MIN = 3
_TEXTS_MAX = 8_192
_PREFIXES_MAX = 20_000


class Prefixes(dict[int | None, bytes]):
    """Unix seconds -> `2026-02-05T14:30:45.`; nothing for None. Bounded; forgets everything when full."""

    def __missing__(self, seconds: int | None) -> bytes:
        """Make it."""
        if len(self) >= _PREFIXES_MAX:
            self.clear()
        found = b"" if seconds is None else f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]}.".encode()
        self[seconds] = found
        return found


class Shape(dict[Any, int | None]):
    """What is left of a text without its fraction -> Unix seconds. Bounded; forgets everything when full.

    `near` is the time of the record before; years that are not said are guessed by it.
    """

    def __init__(self, ways: Sequence[Way], example: str, prefixes: Prefixes) -> None:
        """`example` has the shape of the last of `ways`, and of none before it."""
        super().__init__()
        self.near = 0
        self._ways, self._prefixes = ways, prefixes
        written = ways[-1].layout.read(example)
        assert written is not None
        self.guesses = not written.has_year
        """Whether times of this shape say no year."""
        self._at, self._digits = written.at, len(written.fraction)
        self._is_canonical = is_canonical(example)
        end = self._at + self._digits
        self._has_tail = end < len(example)
        self._key: Callable[[str], Any] = itemgetter(slice(0, self._at))
        if self._has_tail:
            self._key = itemgetter(slice(0, self._at), slice(end, None))

    def __missing__(self, key: Any) -> int | None:
        """Judge it."""
        if len(self) >= _TEXTS_MAX:
            self.clear()
        zeros = "0" * self._digits
        text = key if not zeros else zeros.join(key) if self._has_tail else key + zeros
        self[key] = seconds = self._judged(text)
        return seconds

    def _judged(self, text: str) -> int | None:
        *earlier, way = self._ways
        written = way.layout.read(text)
        if written is None or (written.at, len(written.fraction)) != (self._at, self._digits):
            return None
        if is_canonical(text) != self._is_canonical or any(one.layout.matches(text) for one in earlier):
            return None
        found = moment(written, way, self.near)
        return None if found is None or found.flag else found.seconds

    def read(self, texts: Sequence[str], joined: str, *, rounded: bool) -> tuple[list[int | None], list[bytes]] | None:
        """Seconds and stamps; None where the texts are not of the shape.

        `joined` are the texts with a newline between each two, all of one length. `rounded` texts were made of floating-point
        numbers; zeros at their end say nothing.
        """
        stride = len(texts[0]) + 1
        digits = [joined[at::stride] for at in range(self._at, self._at + self._digits)]
        if digits and not (joined.isascii() and "".join(digits).isdecimal()):
            return None
        seconds: list[int | None] = list(map(self.__getitem__, map(self._key, texts) if digits else texts))
        if self._is_canonical:
            return seconds, joined.encode().split(b"\n")
        heads = map(self._prefixes.__getitem__, seconds)
        if rounded:
            return seconds, list(map(b"%b%bZ".__mod__, zip(heads, _trimmed(digits), strict=True)))
        if not digits:
            return seconds, list(map(add, heads, repeat(b"000Z")))
        return seconds, list(map(add, heads, _tails(digits[:_DIGITS_MAX], b"Z")))


def has_shape(written: Written, text: str) -> bool:
    """Whether there can be a shape of texts such as this one: their fractions in one piece, their stamps by one rule."""
    return (not written.fraction or written.at >= 0) and not (is_canonical(text) and 0 < len(written.fraction) < _DIGITS_MIN)


def fraction(written: Written) -> bytes:
    """The fraction as a stamp has it."""
    return written.fraction[:_DIGITS_MAX].ljust(_DIGITS_MIN, "0").encode()


def _tails(digits: Sequence[str], end: bytes) -> list[bytes]:
    """Fractions of three digits at least, from columns of digits."""
    count, width = len(digits[0]), max(len(digits), _DIGITS_MIN)
    row = b"0" * width + end + b"\n"
    laid = bytearray(row * count)
    for place, column in enumerate(digits):
        laid[place :: len(row)] = column.encode()
    return bytes(laid).split(b"\n", count)[:count]


def _trimmed(digits: Sequence[str]) -> Iterable[bytes]:
    """The same without zeros behind the third digit that say nothing."""
    trimmed = map(bytes.rstrip, _tails(digits[:_DIGITS_MAX], b""), repeat(b"0"))
    return map(bytes.ljust, trimmed, repeat(_DIGITS_MIN), repeat(b"0"))
