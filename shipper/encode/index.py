"""Index names: which index a row goes to. First matching route wins; the date is the event's own, in UTC.

RULES
- The name is `<prefix>-YYYY.MM.DD`. Index names are attacker-controlled input: the prefix begins with a literal, fields filled
  into it are sanitised, and the whole is at most 255 bytes (Elasticsearch reference, "Create index").
- A row whose time lies outside the route's window goes to `<literal prefix>-fallback`, with its time kept. The window counts from
  `Horizon.reference`, not from the clock: the same row gets the same index whenever it is read. So does a row that lacks a field
  of its route's prefix; one that no route takes goes to the fallback of the first.
- At most `NEW_NAMES_MAX` names that were never used are admitted per pipeline and reference; beyond, the row goes to the fallback
  index. Admitted and refused names are in the checkpoint before they are used (`Horizon.changed`). Names are asked for in the
  order of the rows, so that batches of another size lead to the same.
- A day is a whole number of days since 1970-01-01, so that a row costs one lookup of (route, day).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from shipper.config.condition import Condition
    from shipper.model.columns import Columns

NEW_NAMES_MAX = 50
NAMES_MAX = 5_000
"""Admitted names remembered; the oldest is forgotten first and would be admitted anew."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORBIDDEN = re.compile(r"[^a-z0-9._-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
DAY_S = 86_400
_OUTSIDE = -(10**9)
"""Stands for the day of a row outside its window."""
_DAYS = range(-719_162, 2_932_897)
"""The days of the years 1 to 9999."""
_NAME_BYTES_MAX = 255
_DATE_BYTES = len("-2026.02.05")


class Horizon(msgspec.Struct):
    """What index names depend on besides the row. Part of the checkpoint."""

    reference: float
    """Unix seconds from which windows count. Moved by the agent only while nothing is unsettled."""
    admitted: dict[str, None] = msgspec.field(default_factory=dict)
    fresh: int = 0
    """Names admitted since the reference was moved."""
    refused: dict[str, None] = msgspec.field(default_factory=dict)
    changed: bool = False
    """A name was admitted or refused since the checkpoint was last told; the agent clears it."""

    def admit(self, name: str) -> bool:
        """Whether the index `name` may be used; remembers the answer."""
        if name in self.admitted:
            return True
        if name in self.refused or self.fresh >= NEW_NAMES_MAX:
            if len(self.refused) < NAMES_MAX and name not in self.refused:
                self.refused[name] = None
                self.changed = True
            return False
        if len(self.admitted) >= NAMES_MAX:
            del self.admitted[next(iter(self.admitted))]
        self.admitted[name] = None
        self.fresh += 1
        self.changed = True
        return True

    def move(self, reference: float) -> None:
        """Count windows from `reference` on and forget what was refused. Only while nothing is unsettled."""
        self.reference, self.fresh = reference, 0
        self.refused.clear()
        self.changed = True


class Route(msgspec.Struct, frozen=True):
    """One line of `route`."""

    index: str
    """Prefix, with `{field}` after its literal beginning."""
    when: Condition | None = None
    window_s: tuple[float, float] | None = (-400.0 * DAY_S, 1.0 * DAY_S)
    """How far an event's time may lie from the reference, in seconds; None: anything goes."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields its prefix is made of."""
        return tuple(_PLACEHOLDER.findall(self.index))

    @property
    def literal(self) -> str:
        """The part before the first placeholder, without a dash at its end."""
        return _PLACEHOLDER.split(self.index)[0].rstrip("-._")


class Router:
    """Assigns an index to each row of a batch."""

    def __init__(self, routes: Sequence[Route], horizon: Horizon) -> None:
        """`routes` in order; the last one should have no condition, else rows that match none go to `<first literal>-fallback`."""
        self._routes = tuple(routes)
        self._horizon = horizon
        self._conditional = [route.when for route in routes if route.when is not None]
        self._filling = any(route.fields for route in routes)
        self._names: dict[tuple[object, int], str] = {}
        self._first: dict[tuple[bool, ...], int] = _FirstMatch(self._routes)

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields that routing wants as columns."""
        wanted = [name for route in self._routes for name in (*(route.when.reads if route.when else ()), *route.fields)]
        return tuple(dict.fromkeys(wanted))

    def assign(self, columns: Columns) -> list[str]:
        """The index name of each row."""
        first, last = (min(columns.seconds), max(columns.seconds)) if columns.count else (0, 0)
        inside = self._all_inside(first, last)
        if inside and not self._filling and first // DAY_S == last // DAY_S:
            return self._assign_one_day(columns, first // DAY_S)
        numbers = self._numbers(columns)
        prefixes = [self._filled(number, columns, row) for row, number in enumerate(numbers)] if self._filling else numbers
        days: Sequence[int] = list(map(int.__floordiv__, columns.seconds, repeat(DAY_S)))
        if not inside:
            days = [
                day if self._inside(number, seconds) else _OUTSIDE
                for number, seconds, day in zip(numbers, columns.seconds, days, strict=True)
            ]
        keys: list[tuple[object, int]] = list(zip(prefixes, days, strict=True))
        self._learn(dict.fromkeys(keys))
        return list(map(self._names.__getitem__, keys))

    def _assign_one_day(self, columns: Columns, day: int) -> list[str]:
        """The common batch: one day, inside the windows, prefixes as they stand. What conditions say of a row names its index."""
        names = _NamesOfDay(self, day)
        if not self._conditional:
            return [names[()]] * columns.count if columns.count else []
        return list(map(names.__getitem__, self._truths(columns)))

    def name_on(self, day: int, truth: tuple[bool, ...]) -> str:
        """The index of a row inside its window for which the conditions hold as in `truth`. To be asked in the order of first rows."""
        key = (self._first[truth], day)
        self._learn((key,))
        return self._names[key]

    def _learn(self, keys: Collection[tuple[object, int]]) -> None:
        """Make sure that the names of these keys, given once each in the order of their first rows, are known."""
        if len(self._names) + len(keys) > NAMES_MAX:
            self._names.clear()
        for key in keys:
            if key not in self._names:
                self._names[key] = self._name(key)

    def forget(self) -> None:
        """Drop what was decided under an older reference."""
        self._names.clear()

    def _numbers(self, columns: Columns) -> Sequence[int]:
        if not self._conditional:
            return [0] * columns.count
        return list(map(self._first.__getitem__, self._truths(columns)))

    def _truths(self, columns: Columns) -> Iterator[tuple[bool, ...]]:
        """Of each row what the conditions say; there must be one at least."""
        return zip(*[condition.mask(columns) for condition in self._conditional], strict=True)

    def _all_inside(self, first: int, last: int) -> bool:
        """Whether a batch with these earliest and latest times lies inside every window."""
        return all(self._inside(number, first) and self._inside(number, last) for number in range(len(self._routes)))

    def _inside(self, number: int, seconds: int) -> bool:
        window = self._routes[number].window_s if number < len(self._routes) else None
        return window is None or window[0] <= seconds - self._horizon.reference <= window[1]

    def _filled(self, number: int, columns: Columns, row: int) -> object:
        """The number of a route, or with it its prefix filled in: None where a field is missing."""
        fields = self._routes[number].fields if number < len(self._routes) else ()
        if not fields:
            return number
        values = {field: _part(columns.column(field)[row]) for field in fields}
        if None in values.values():
            return number, None
        return number, _PLACEHOLDER.sub(lambda found: str(values[found[1]]), self._routes[number].index)

    def _name(self, key: tuple[object, int]) -> str:
        prefix_of, day = key
        number, filled = prefix_of if isinstance(prefix_of, tuple) else (prefix_of, "")
        route = self._routes[number] if number < len(self._routes) else self._routes[0]
        fallback = f"{route.literal}-fallback"
        if number >= len(self._routes) or filled is None or day not in _DAYS:
            return fallback
        date = _EPOCH + timedelta(days=day)
        prefix = (filled or route.index).encode()[: _NAME_BYTES_MAX - _DATE_BYTES].decode("utf-8", "ignore")
        name = f"{prefix}-{date.year:04}.{date.month:02}.{date.day:02}"
        return name if self._horizon.admit(name) else fallback


class _FirstMatch(dict[tuple[bool, ...], int]):
    """The truth of all conditions -> the number of the first route that applies; one past the last where none does."""

    def __init__(self, routes: Sequence[Route]) -> None:
        super().__init__()
        self._routes = routes

    def __missing__(self, truth: tuple[bool, ...]) -> int:
        answers = iter(truth)
        holds = [True if route.when is None else next(answers) for route in self._routes]
        self[truth] = holds.index(True) if True in holds else len(holds)
        return self[truth]


class _NamesOfDay(dict[tuple[bool, ...], str]):
    """The truth of all conditions -> the name of the index, of one batch; asked for in the order of the rows."""

    def __init__(self, router: Router, day: int) -> None:
        super().__init__()
        self._router, self._day = router, day

    def __missing__(self, truth: tuple[bool, ...]) -> str:
        name = self[truth] = self._router.name_on(self._day, truth)
        return name


def _part(value: object) -> str | None:
    """A field's value as part of an index name; None where nothing usable is left."""
    if value is None or isinstance(value, (list, dict)):
        return None
    return _FORBIDDEN.sub("-", str(value).lower())[:64].strip("-._") or None
