"""Throttle: let through so many records a key, and say in one document what was held back.

RULES
- Records are counted by their own time (`clock: event`), each (key, bucket of `period`) for itself: a backlog that is read
  beside live records spends its own buckets, so it neither floods the output nor starves what is new.
- At most `rate * period + burst` of a key pass in a bucket. State is lost at a restart: rows read again meet fresh buckets.
- A row that lacks a key field has None there, and is limited as that key. Rows that another stage dropped or held, and
  `protect`ed ones, are neither counted nor limited.
- What was held back is said by one `Summary` a key and bucket (`summary.py`), which the chain ships like a record.
- Bounds: `keys_max` buckets, some 0.4 kB each; values of a key over KEY_CHARS_MAX characters are cut and hashed. Where the
  table is full, the bucket unused for the longest is forgotten, its summary goes out, and its key starts afresh: too much
  passes rather than too little; counted in `evicted` if it was in use within the last `period`.

THEORY
GCRA (ITU-T I.371; as Vector's `governor`), one number a bucket: `spent`, the theoretical arrival time in units of cost. Event
time has whole seconds, so that a second's share is there from its start: at offset o a row of cost c passes if
max(spent, o * rate) + c <= burst + (o + 1) * rate, and spent becomes the left side. As each pass adds c to `spent`, no more
than burst + period * rate pass in a bucket. All in integers (units of 1/q where rate = p/q), so that a boundary is exact.
"""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from itertools import compress, repeat
from math import inf
from operator import and_, floordiv, mod, mul, not_
from typing import TYPE_CHECKING, Any, Literal

from msgspec import field

from shipper.config.condition import Condition  # noqa: TC001  msgspec reads the annotations
from shipper.config.fields import ComponentConfig, Duration, Rate, Size
from shipper.model.errors import ComponentError
from shipper.stages.summary import Kind, Summary, Waiting, bounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

Key = tuple[Any, ...]
"""Number of the bucket, and the values of the key fields."""


class Throttle:
    """Limit the rate of records per key, and say what was held back.

    One summary document per key and period stands for all records that were held back: how many, how many bytes, from when to
    when, and the first of them as a sample. It goes to the index of the first.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `throttle`."""

        when: Condition | None = None
        """Which records are limited; without it all are."""
        key: list[str] = field(default_factory=list)
        """Fields whose values together have a limit of their own. Without it all records share one."""
        rate: Rate
        """What may pass on average per key, `100/s`; with `cost: bytes` `1MiB/s`."""
        burst: Size = Size(0)
        """How much more may pass at once per key and period: records, or bytes (`1MiB`) with `cost: bytes`."""
        cost: Literal["events", "bytes"] = "events"
        """What is counted. A record of more bytes than burst and one second's rate never passes."""
        period: Duration = Duration(10)
        """Length of a bucket and of what one summary speaks for; whole seconds."""
        keys_max: int = 10_000
        """Pairs of key and period that are remembered, some 0.4 kB each."""
        clock: Literal["event", "arrival"] = "event"
        """Count by the records' own time, or by when they are read."""
        protect: Condition | None = None
        """Records that always pass, and are not counted."""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Raises ComponentError for a limit under which nothing could ever pass."""
        rate = Fraction(config.rate).limit_denominator(10**9)
        _refuse_unusable(config, rate)
        conditions = [one for one in (config.when, config.protect) if one is not None]
        self.reads: Sequence[str] = tuple(dict.fromkeys([*config.key, *(name for one in conditions for name in one.reads)]))
        self.adds: Sequence[str] = ()
        self.evicted = 0
        """Buckets forgotten while in use, because the table was full."""
        self._config = config
        self._by_event = config.clock == "event"
        self._period = int(config.period)
        self._per_second, self._unit = rate.numerator, rate.denominator
        self._allowance = int(config.burst) * self._unit + self._per_second
        self._buckets: OrderedDict[Key, _Bucket] = OrderedDict()
        """The table, in order of last use."""
        told = {
            "period_s": float(config.period),
            "rate_per_s": float(config.rate),
            "burst": int(config.burst),
            "cost": config.cost,
        }
        self._kind = Kind("throttle", "throttled", config.key, told)
        self._waiting = Waiting(self._period)

    def process(self, columns: Columns, now: float) -> None:
        """Hold the rows that are over their limit."""
        mask = self._mask(columns)
        if mask is None or any(mask):
            self._limit(columns, now, mask)
        self._waiting.note(columns)

    def deadline(self) -> float | None:
        """When `due` wants to be called next (monotonic seconds), or None while nothing is held."""
        return self._waiting.deadline()

    def due(self, now: float) -> list[Summary]:
        """The summaries to be shipped now: their streams have passed their bucket by a `period`, or a `period` went by."""
        return self._waiting.due(now)

    def flush(self) -> list[Summary]:
        """All summaries, due or not: at the end of `--once`, and at shutdown."""
        return self._waiting.flush()

    def _mask(self, columns: Columns) -> list[bool] | None:
        """Which rows are limited; None for all of them."""
        when, protect = self._config.when, self._config.protect
        mask = None if when is None else when.mask(columns)
        if protect is not None:
            free = map(not_, protect.mask(columns))
            mask = list(free) if mask is None else list(map(and_, mask, free))
        if columns.dropped or columns.held:
            mask = [True] * columns.count if mask is None else list(mask)
            for row in (*columns.dropped, *columns.held):
                mask[row] = False
        return mask

    def _limit(self, columns: Columns, now: float, mask: list[bool] | None) -> None:
        """Go through the selected rows, in order. The one loop with Python per row: 0.8 us each, with their selection."""
        find, touch, allowance = self._buckets.get, self._buckets.move_to_end, self._allowance
        for row, key, floor, cost in zip(*self._selected(columns, now, mask), strict=False):
            bucket = find(key)
            if bucket is None:
                bucket = self._added(key, now)
            else:
                touch(key)
            bucket.used_at = now
            spent = (bucket.spent if bucket.spent > floor else floor) + cost  # noqa: FURB136  max() costs 0.1 us
            if spent <= floor + allowance:
                bucket.spent = spent
            else:
                self._hold(columns, row, bucket, now)

    def _selected(
        self, columns: Columns, now: float, mask: list[bool] | None
    ) -> tuple[Iterable[int], Iterable[Key], Iterable[int], Iterable[int]]:
        """Of each selected row: its number, its bucket's key, what its key had earned before its second, its cost."""
        rows: Sequence[int] = range(columns.count) if mask is None else list(compress(range(columns.count), mask))

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return values if mask is None else list(map(values.__getitem__, rows))

        seconds = pick(columns.seconds) if self._by_event else [int(now)] * len(rows)
        values = [bounded(pick(columns.column(name))) for name in self._config.key]
        period = repeat(self._period)
        keys = zip(map(floordiv, seconds, period), *values, strict=False)
        earned = map(mul, map(mod, seconds, period), repeat(self._per_second))
        if self._config.cost == "events":
            return rows, keys, earned, repeat(self._unit)
        return rows, keys, earned, [(len(row) + 1) * self._unit for row in pick(columns.rows)]

    def _added(self, key: Key, now: float) -> _Bucket:
        """Make a bucket, and forget the one unused for the longest where there are too many."""
        bucket = self._buckets[key] = _Bucket(key)
        if len(self._buckets) > self._config.keys_max:
            _, oldest = self._buckets.popitem(last=False)
            self.evicted += now - oldest.used_at < self._period
            if oldest.summary is not None:
                self._waiting.close(oldest.summary, now)
        return bucket

    def _hold(self, columns: Columns, row: int, bucket: _Bucket, now: float) -> None:
        """Hold a row: it joins its bucket's summary, or starts one."""
        summary = bucket.summary
        if summary is None:
            summary = bucket.summary = Summary(self._kind, bucket, columns, row)
            summary.closes_at = (bucket.key[0] + 2) * self._period if self._by_event else inf
            self._waiting.begin(summary, columns, row, now)
        summary.add(columns.seconds[row], len(columns.rows[row]) + 1)
        columns.hold(row, summary)


class _Bucket:
    """State of one key in one period."""

    __slots__ = ("key", "spent", "summary", "used_at")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.spent = 0
        self.used_at = 0.0
        self.summary: Summary | None = None


def _refuse_unusable(config: Throttle.Config, rate: Fraction) -> None:
    """Raises ComponentError."""
    if rate <= 0:
        raise ComponentError("rate must be more than 0", "rate", "to drop records whatever their number use a filter")
    if config.period < 1 or not float(config.period).is_integer():
        raise ComponentError("period is whole seconds, at least 1s", "period")
    if config.keys_max < 1:
        raise ComponentError("keys_max must be 1 or more", "keys_max")
    if len(set(config.key)) < len(config.key):
        raise ComponentError("key names a field twice", "key")
    if config.burst + rate < 1:
        hint = "a record needs burst and one second's rate to be 1 together: write `burst: 1`"
        raise ComponentError("rate is under 1/s and burst is 0: nothing would ever pass", "burst", hint)
