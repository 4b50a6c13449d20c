r"""Time layouts: how times are written, told as for `strptime`, or by a word; each reads one text at a time.

RULES
- `%Y %y %m %d %e %j %b %B %a %A %H %I %p %M %S %f %z %Z` and, put together of these, `%F` (`%Y-%m-%d`), `%T` (`%H:%M:%S`),
  `%R` (`%H:%M`) and `%D` (`%m/%d/%y`); `%h` is `%b`; `%%` is a percent sign. As in Python's `strptime` upper and lower case are one,
  a blank stands for one or more, and numbers may lack their leading zeros; where numbers meet (`%m%d`) they have all digits.
- Otherwise than there: names of months and days are English in every locale, `%e` is `%d`, `%f` is any number of digits (kept: nine),
  `%z` may be `+01`, and `%Z` is `UTC`, `GMT`, `Z`, or what the zone of the settings calls its time (`CET`, `CEST`).
- A layout says a day at least: month and day, or year and `%j`. One without year has the year that is nearest to the record before.
- Digits stand for themselves nowhere in a layout: a fraction that is always `.000` is `%f` too.
- The words are `iso8601` (with `T` or a blank, with or without fraction and offset), and `unix`, `unix_ms`, `unix_us`, `unix_ns`: numbers,
  or texts of digits, in this unit.

THEORY
A text is matched by a regular expression in which numbers are just digits; what they mean is looked at afterwards. So whether a
text is of a layout's shape depends on where digits stand in it, not on which they are: what is found for one text holds for all
that differ in the digits of their fractions only, which is what `timestamp.py` builds on.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, Self

from shipper.config.suggest import nearest, shown

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_OF = {name[:3].lower(): number for number, name in enumerate(_MONTHS, 1)}
_ALIASES = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "h": "%b"}
_TWO = r"\d{1,2}"
_PATTERNS = {
    "Y": r"\d{4}", "y": r"\d\d", "m": _TWO, "d": _TWO, "e": _TWO, "j": r"\d{1,3}", "H": _TWO, "I": _TWO, "M": _TWO, "S": _TWO,
    "b": "|".join(name[:3] for name in _MONTHS), "B": "|".join(_MONTHS), "a": "|".join(name[:3] for name in _DAYS), "A": "|".join(_DAYS),
    "p": "AM|PM", "f": r"\d+", "z": r"Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?", "Z": r"[A-Z]{1,5}",
}  # fmt: skip
_ALL_DIGITS = {"m": r"\d\d", "d": r"\d\d", "e": r"\d\d", "j": r"\d{3}", "H": r"\d\d", "I": r"\d\d", "M": r"\d\d", "S": r"\d\d"}
_NUMBERS = frozenset("YymdejHIMSf")
_SAME = {"e": "d", "B": "b", "A": "a"}
"""Directives that say the same as another."""
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_CENTURY_TURN = 69
"""POSIX: `%y` of 69 to 99 is 1969 to 1999."""
LAYOUT_CHARS_MAX = 64
_EXPECTED = "a layout such as `%Y-%m-%d %H:%M:%S`, iso8601, unix, unix_ms, unix_us or unix_ns"


class Written(NamedTuple):
    """What a text says of a time."""

    wall: datetime | None = None
    """The time on the wall, in whole seconds; in the year 4, a leap year, where it says none."""
    seconds: int = 0
    """Unix seconds, where `wall` is None."""
    has_year: bool = True
    offset: timedelta | None = None
    """From UTC, where it says one."""
    zone_name: str = ""
    """Capitals of a zone, where it says some."""
    fraction: str = ""
    """Digits below the second."""
    at: int = -1
    """Where the fraction stands in the text; -1 where it has none, or not in one piece."""


class TimeLayout(Protocol):
    """One way to write times."""

    def matches(self, text: str) -> bool:
        """Whether a text has the shape; the numbers in it may be too large all the same."""
        ...

    def read(self, text: str) -> Written | None:
        """What a text says; None where it has another shape, or is no time."""
        ...


class LayoutText(str):
    """A layout of times as a setting: `%d/%b/%Y:%H:%M:%S %z`, `iso8601`, `unix_ms`."""

    __slots__ = ()
    expected = _EXPECTED
    stands_alone = True
    """Where a list of them is asked for, one alone will do."""

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a text. Raises ValueError for what is no layout."""
        if not isinstance(value, str):
            raise ValueError(f"expected {_EXPECTED}, got {shown(value)}")  # noqa: TRY004  the loader makes faults of ValueError
        layout(value)
        return cls(value)


def layout(text: str) -> TimeLayout:
    """The layout of a setting. Raises ValueError saying what is wrong with it."""
    if text in _WORDS:
        return _WORDS[text]
    if "%" not in text:
        close = nearest(text, _WORDS)
        raise ValueError(f"expected {_EXPECTED}, got {shown(text)}" + (f"; did you mean `{close}`?" if close else ""))
    if len(text) > LAYOUT_CHARS_MAX:
        raise ValueError(f"a layout has at most {LAYOUT_CHARS_MAX} characters, this one has {len(text)}")
    return Strptime(text)


class Strptime:
    """A layout with directives."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is no layout."""
        self._pattern = re.compile(_pattern(text), re.ASCII | re.IGNORECASE)
        self._names = frozenset(self._pattern.groupindex)

    def matches(self, text: str) -> bool:
        """See `TimeLayout`."""
        return self._pattern.fullmatch(text) is not None

    def read(self, text: str) -> Written | None:
        """See `TimeLayout`."""
        found = self._pattern.fullmatch(text)
        if found is None:
            return None
        fields = found.groupdict()
        try:
            wall = _wall(fields)
            offset = _offset(fields["z"]) if "z" in fields else None
        except (ValueError, OverflowError):
            return None
        has_fraction = "f" in fields
        return Written(
            wall,
            has_year=not self._names.isdisjoint("Yy"),
            offset=offset,
            zone_name=fields.get("Z", "").upper(),
            fraction=fields["f"] if has_fraction else "",
            at=found.start("f") if has_fraction else -1,
        )


def _pattern(text: str) -> str:
    """The regular expression of a layout, a group a directive. Raises ValueError."""
    text = _DIRECTIVE.sub(lambda found: _ALIASES.get(found[1], found[0]), text.strip())
    pieces: list[str] = []
    seen: set[str] = set()
    parts = _DIRECTIVE.split(text)  # literal, directive, literal, ..., literal
    if any(character.isdigit() for part in parts[::2] for character in part):
        raise ValueError("a layout has no digits of its own, only directives: `%f` for a fraction, `%Y` for the year")
    for place, part in enumerate(parts):
        if place % 2 == 0:
            pieces += [r"\s+" if piece.isspace() else re.escape(piece) for piece in re.split(r"(\s+)", part) if piece]
        elif part == "%":
            pieces.append("%")
        else:
            pieces.append(_group(part, seen, [parts[at] for at in (place - 2, place + 2) if _touches(parts, place, at)]))
    says_day = {"b", "d"} <= seen or {"m", "d"} <= seen or ("j" in seen and not seen.isdisjoint("Yy"))
    if not says_day:
        raise ValueError("a layout says month and day (`%b %d`, `%m-%d`), or year and day (`%Y-%j`)")
    if {"m", "b"} <= seen or {"Y", "y"} <= seen or {"H", "I"} <= seen or {"z", "Z"} <= seen:
        raise ValueError("a layout says year, month, hour and zone once each")
    if ("I" in seen) != ("p" in seen):
        raise ValueError("`%I`, the hour up to 12, and `%p`, AM or PM, need each other")
    return "".join(pieces)


def _touches(parts: list[str], place: int, other: int) -> bool:
    """Whether the directive at `other` stands right beside the one at `place`, with nothing between."""
    return 0 < other < len(parts) and not parts[(place + other) // 2]


def _group(directive: str, seen: set[str], beside: list[str]) -> str:
    known = sorted({*_PATTERNS, *_ALIASES})
    if directive not in _PATTERNS:
        raise ValueError(f"`%{directive}` is not known in a layout; known are {', '.join(f'%{name}' for name in known)}")
    if "f" in {directive, *beside} and any(name in _NUMBERS for name in (directive, *beside) if name != "f"):
        raise ValueError("a fraction, `%f`, must not stand right beside another number: how many digits it has is not known")
    name = _SAME.get(directive, directive)
    if name in seen:
        raise ValueError(f"`%{directive}` stands twice in a layout, or with another that says the same")
    seen.add(name)
    meets_number = directive in _ALL_DIGITS and not _NUMBERS.isdisjoint(beside)
    return f"(?P<{name}>{_ALL_DIGITS[directive] if meets_number else _PATTERNS[directive]})"


def _wall(fields: dict[str, str]) -> datetime:
    """The time on the wall. Raises ValueError where there is no such time."""
    year, hour = 4, int(fields.get("H", "0"))
    if "Y" in fields:
        year = int(fields["Y"])
    elif "y" in fields:
        year = int(fields["y"]) + (1900 if int(fields["y"]) >= _CENTURY_TURN else 2000)
    if "I" in fields:
        hour = int(fields["I"])
        if not 1 <= hour <= 12:
            raise ValueError("an hour of twelve")
        hour = hour % 12 + (12 if fields["p"].upper() == "PM" else 0)
    clock = (hour, int(fields.get("M", "0")), int(fields.get("S", "0")))
    if "j" in fields:
        wall = datetime(year, 1, 1, *clock) + timedelta(days=int(fields["j"]) - 1)  # noqa: DTZ001  a time on the wall
        if wall.year != year:
            raise ValueError("no such day")
        return wall
    month = int(fields["m"]) if "m" in fields else _MONTH_OF[fields["b"][:3].lower()]
    return datetime(year, month, int(fields["d"]), *clock)  # noqa: DTZ001  a time on the wall


def _offset(text: str) -> timedelta:
    """`Z`, `+01`, `+0100`, `+01:00`, `+01:00:00`. Raises ValueError."""
    if text in ("Z", "z"):
        return timedelta()
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("no offset")
    return (-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes, seconds=seconds)


class Iso:
    """ISO 8601 and RFC 3339, also with a blank for the `T` and a comma before the fraction. Its seconds may be left out."""

    _PATTERN = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII)

    def matches(self, text: str) -> bool:
        """See `TimeLayout`."""
        return self._PATTERN.fullmatch(text) is not None

    def read(self, text: str) -> Written | None:
        """See `TimeLayout`."""
        found = self._PATTERN.fullmatch(text)
        if found is None:
            return None
        day, clock, fraction, zone = found.groups()
        try:
            wall = datetime.fromisoformat(f"{day}T{clock}")
            offset = _offset("Z" if zone == "UTC" else zone) if zone else None
        except ValueError:
            return None
        return Written(wall, offset=offset, fraction=fraction or "", at=found.start(3))


class Epoch:
    """Unix time in a unit: seconds have 0 digits below, nanoseconds 9. With None the magnitude tells: three digits more a unit.

    Without a unit a text has 9 digits at least, so that years, times of day and counters are not taken for times.
    """

    _FORCED = re.compile(r"(\d{1,20})(?:\.(\d+))?", re.ASCII)
    _GUESSED = re.compile(r"(\d{9,19})(?:\.(\d+))?", re.ASCII)

    def __init__(self, below: int | None, *, of_numbers: bool = False) -> None:
        """`below` is the number of digits below the second in whole numbers; `of_numbers`: texts are made of JSON numbers."""
        self._below = below
        self._pattern = self._GUESSED if below is None and not of_numbers else self._FORCED

    def of_numbers(self) -> Epoch:
        """The same for texts that were made of numbers: those may be small."""
        return Epoch(self._below, of_numbers=True)

    def matches(self, text: str) -> bool:
        """See `TimeLayout`."""
        return self._pattern.fullmatch(text) is not None

    def read(self, text: str) -> Written | None:
        """See `TimeLayout`."""
        found = self._pattern.fullmatch(text)
        return None if found is None else self._written(int(found[1]), found[2] or "", len(found[1]), found.start(2))

    def number(self, value: float) -> Written | None:
        """What a number says."""
        fraction = ""
        if isinstance(value, float):
            if not 0 <= value < 1e20:
                return None
            whole, _, rest = f"{value:.6f}".partition(".")
            value, fraction = int(whole), rest.rstrip("0")
        return self._written(value, fraction, -1, -1) if 0 <= value < 10**20 else None

    def _written(self, value: int, fraction: str, width: int, at: int) -> Written | None:
        below = self._below
        if below is None:
            below = next((digits for digits in (0, 3, 6, 9) if value < 10 ** (11 + digits)), None)
            if below is None:
                return None
        seconds, rest = divmod(value, 10**below)
        if below == 0:
            return Written(seconds=seconds, fraction=fraction, at=at)
        return Written(seconds=seconds, fraction=f"{rest:0{below}}{fraction}", at=-1 if fraction else max(width - below, -1))


class ZonedIso(Iso):
    """The same where it says its zone."""

    def matches(self, text: str) -> bool:
        """See `TimeLayout`."""
        return (found := self._PATTERN.fullmatch(text)) is not None and found[4] is not None

    def read(self, text: str) -> Written | None:
        """See `TimeLayout`."""
        return super().read(text) if self.matches(text) else None


def is_canonical(text: str) -> bool:
    """Whether a text has the form of `@timestamp`, with any number of digits."""
    return _CANONICAL.fullmatch(text) is not None


_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
GUESSED_EPOCH = Epoch(None)
ISO = Iso()
ZONED_ISO = ZonedIso()
_WORDS: dict[str, TimeLayout] = {
    "iso8601": ISO,
    "unix": Epoch(0),
    "unix_ms": Epoch(3),
    "unix_us": Epoch(6),
    "unix_ns": Epoch(9),
}
