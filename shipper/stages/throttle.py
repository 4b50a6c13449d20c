"""Throttle: let through so many records a key, and say in one document what was held back.

RULES
- Records are counted by their own time (`clock: event`), each (key, bucket of `period`) for itself: a backlog that is read
  beside live records spends its own buckets, so it neither floods the output nor starves what is new.
- At most `rate * period + burst` of a key pass in a bucket. State is lost at a restart: rows read again meet fresh buckets.
- A row that lacks a key field has None there, and is limited as that key. Rows that another stage dropped or held, and protected
  ones, are neither counted nor limited.
- In shadow mode buckets are spent as ever, and rows that would have been held are flagged instead.
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

from msgspec import Struct, field

from shipper.config.condition import Condition
from shipper.config.fields import ComponentConfig, Duration, Rate, Size
from shipper.model.errors import ComponentError
from shipper.stages.summary import KeyTemplate, Kind, Summary, Waiting, bounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

Key = tuple[Any, ...]
"""Number of the bucket, and the values of the key fields."""
SHADOW_FLAG = "would_throttle"


class Throttle:
    """Limit the rate of records per key, and say what was held back.

    One summary document per key and period stands for all records that were held back: how many, how many bytes, from when to
    when, and the first of them as a sample. It goes to the index of the first.

    To try a limit out, say `shadow: true`. All records are shipped then, and those that would have been held back have
    `would_throttle` in `shipper.flags`: the account and the metrics count them under `flagged`, and a search for it says which
    keys they are of. A record that is limited costs 0.4 to 0.8 us, 1 us with a
    key that few records share; one that `when` does not name 0.1 us.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `throttle`."""

        when: Condition | None = None
        """Which records are limited; without it all are."""
        key: list[str] | KeyTemplate = field(default_factory=list)
        """Fields whose values together have a limit of their own, `[service, error_type]`; or a text with them, by which summaries
        call what was held back, `"{service}-{error_type}"`. Without it all records share one limit."""
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
        protect_level: (
            Literal["trace", "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"] | None
        ) = None
        """Records of this level or a worse one always pass, and are not counted: `error`. Whatever its name in a program is: `ERR`,
        `severe`, syslog's 3."""
        level_fields: list[str] = field(default_factory=lambda: ["log.level", "level", "severity", "levelname"])
        """Where `protect_level` looks for a record's level."""
        shadow: bool = False
        """Only say what would be held back: nothing is, there are no summaries, and records that would have been are flagged."""

    example = """
- throttle: {when: {level: [ERROR, CRITICAL]}, key: [service, error_type], rate: 100/s, burst: 500}
- throttle: {key: "{service}", rate: 1MiB/s, burst: 10MiB, cost: bytes, shadow: true}
"""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Raises ComponentError for a limit under which nothing could ever pass."""
        rate = Fraction(config.rate).limit_denominator(10**9)
        _refuse_unusable(config, rate)
        self._protected = [one for one in (config.protect, _level_condition(config)) if one is not None]
        conditions = [*self._protected] if config.when is None else [config.when, *self._protected]
        self._keys: Sequence[str] = config.key.fields if isinstance(config.key, KeyTemplate) else config.key
        self.reads: Sequence[str] = tuple(dict.fromkeys([*self._keys, *(name for one in conditions for name in one.reads)]))
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
        template = config.key if isinstance(config.key, KeyTemplate) else None
        self._kind = Kind("throttle", "throttled", self._keys, told, template)
        self._waiting = Waiting(self._period)
        self._shadowed: list[int] = []
        """Rows of this batch that would have been held."""

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
        when = self._config.when
        mask = None if when is None else when.mask(columns)
        for protected in self._protected:
            free = map(not_, protected.mask(columns))
            mask = list(free) if mask is None else list(map(and_, mask, free))
        if columns.dropped or columns.held:
            mask = [True] * columns.count if mask is None else list(mask)
            for row in (*columns.dropped, *columns.held):
                mask[row] = False
        return mask

    def _limit(self, columns: Columns, now: float, mask: list[bool] | None) -> None:
        """Go through the selected rows, in order. The one loop with Python per row: 0.4 us each, with their selection."""
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
        if self._shadowed:
            columns.flag(self._shadowed, SHADOW_FLAG)
            self._shadowed = []

    def _selected(
        self, columns: Columns, now: float, mask: list[bool] | None
    ) -> tuple[Iterable[int], Iterable[Key], Iterable[int], Iterable[int]]:
        """Of each selected row: its number, its bucket's key, what its key had earned before its second, its cost."""
        rows: Sequence[int] = range(columns.count) if mask is None else list(compress(range(columns.count), mask))

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return values if mask is None else list(map(values.__getitem__, rows))

        seconds = pick(columns.seconds) if self._by_event else [int(now)] * len(rows)
        values = [bounded(pick(columns.column(name))) for name in self._keys]
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
        if self._config.shadow:
            self._shadowed.append(row)
            return
        summary = bucket.summary
        if summary is None:
            summary = bucket.summary = Summary(self._kind, bucket, columns, row)
            summary.closes_at = (bucket.key[0] + 2) * self._period if self._by_event else inf
            self._waiting.begin(summary, columns, row, now)
        summary.add(columns.seconds[row], len(columns.rows[row]) + 1)
        columns.hold(row, summary)


class _Bucket(Struct):
    """State of one key in one period."""

    key: Key
    spent: int = 0
    used_at: float = 0.0
    summary: Summary | None = None


def _level_condition(config: Throttle.Config) -> Condition | None:
    """What `protect_level` protects. Raises ComponentError for a field that holds no level by its name."""
    if config.protect_level is None:
        return None
    try:
        return Condition({"any": [{name: {"gte": config.protect_level}} for name in config.level_fields]})
    except ValueError as error:
        hint = "levels are known in fields named `level`, `severity`, `levelname` and the like"
        raise ComponentError(str(error), "level_fields", hint) from None


def _refuse_unusable(config: Throttle.Config, rate: Fraction) -> None:
    """Raises ComponentError."""
    if rate <= 0:
        raise ComponentError("rate must be more than 0", "rate", "to drop records whatever their number use a filter")
    if config.period < 1 or not float(config.period).is_integer():
        raise ComponentError("period is whole seconds, at least 1s", "period")
    if config.keys_max < 1:
        raise ComponentError("keys_max must be 1 or more", "keys_max")
    names = config.key.fields if isinstance(config.key, KeyTemplate) else config.key
    if len(set(names)) < len(names):
        raise ComponentError("key names a field twice", "key")
    if config.burst + rate < 1:
        hint = "a record needs burst and one second's rate to be 1 together: write `burst: 1`"
        raise ComponentError("rate is under 1/s and burst is 0: nothing would ever pass", "burst", hint)
