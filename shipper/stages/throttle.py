"""Throttle: let through so many records a key, and say in one document what was held back.

RULES
- Records are counted by their own time (`clock: event`), each (key, bucket of `period`) for itself: a backlog that is read
  beside live records spends its own buckets, so it neither floods the output nor starves what is new.
- At most `rate * period + burst` of a key pass in a bucket. State is lost at a restart: rows read again meet fresh buckets.
- A row that lacks a key field has None there, and is limited as that key. Rows that another stage dropped or held, and
  `protect`ed ones, are neither counted nor limited.
- What was held back is said by one `Summary` a key and bucket, which the chain ships like a record; held rows settle with it.
- Bounds: `keys_max` buckets, some 0.4 kB each; values of a key over KEY_CHARS_MAX characters are cut and hashed. Where the
  table is full, the bucket unused for the longest is forgotten, its summary goes out, and its key starts afresh: too much
  passes rather than too little; counted in `evicted` if it was in use within the last `period`. Samples of what waits to be
  shipped are held up to SAMPLES_BYTES_MAX together, further ones are cut to SAMPLE_CUT_BYTES.

THEORY
GCRA (ITU-T I.371; as Vector's `governor`), one number a bucket: `spent`, the theoretical arrival time in units of cost. Event
time has whole seconds, so that a second's share is there from its start: at offset o a row of cost c passes if
max(spent, o * rate) + c <= burst + (o + 1) * rate, and spent becomes the left side. As each pass adds c to `spent`, no more
than burst + period * rate pass in a bucket. All in integers (units of 1/q where rate = p/q), so that a boundary is exact.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC, datetime
from fractions import Fraction
from hashlib import blake2b
from itertools import compress, repeat
from math import inf, isfinite
from operator import and_, floordiv, mod, mul, not_
from typing import TYPE_CHECKING, Any, Literal

from msgspec import field

from shipper.config.condition import Condition  # noqa: TC001  msgspec reads the annotations
from shipper.config.fields import ComponentConfig, Duration, Rate, Size
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

Key = tuple[Any, ...]
"""Number of the bucket, and the values of the key fields."""
KEY_CHARS_MAX = 256
"""A value longer than this is limited by its first half and a hash of the whole."""
SAMPLE_BYTES_MAX = 4096
"""A sample is cut to this."""
SAMPLES_BYTES_MAX = 4 << 20
"""All samples together; beyond, new ones are cut short."""
SAMPLE_CUT_BYTES = 256
CLOSED_MAX = 1000
"""So many summaries of forgotten buckets do not wait for the next look: they are due at once."""
LINGER_S = 1.0
"""A summary waits this long at least: an event time gone wild may close buckets early, but not more often than this."""
_OURS = frozenset({"@timestamp", "message", "host", "log", "client", "shipper"})
"""Top-level keys of a summary that are ours: a key field of that name stands under `shipper.throttle.key` only."""
SECONDS_MIN, SECONDS_MAX = -62_135_596_800, 253_402_300_799  # years 1 and 9999: what ISO 8601 and datetime can say


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
        self._open: dict[Summary, None] = {}
        """Summaries that still grow, in order of their first rows."""
        self._closed: list[Summary] = []
        """Those of evicted buckets."""
        self._samples_bytes = 0
        self._newest: dict[str, int] = {}
        """Newest event time of the streams that open summaries began in."""
        self._examine_at: float | None = None

    def process(self, columns: Columns, now: float) -> None:
        """Hold the rows that are over their limit."""
        mask = self._mask(columns)
        if mask is None or any(mask):
            self._limit(columns, now, mask)
        newest = self._newest.get(columns.stream_id)
        if newest is not None and columns.count:
            self._newest[columns.stream_id] = max(newest, max(columns.seconds))  # noqa: PLW3301  unpacked it would be copied

    def deadline(self) -> float | None:
        """When `due` wants to be called next (monotonic seconds), or None while nothing is held."""
        return self._examine_at

    def due(self, now: float) -> list[Summary]:
        """The summaries to be shipped now; the caller owns them. Rows of their buckets held later start others.

        A summary is due once the stream it began in has passed the bucket's end by a `period`, or a `period` after its first
        row was held. Early calls return none.
        """
        if self._examine_at is None or now < self._examine_at:
            return []
        taken = self._closed
        waiting: list[Summary] = []
        for summary in self._open:
            over = self._newest[summary.stream_id] >= summary.closes_at or now >= summary.held_at + self._period
            (taken if over else waiting).append(summary)
        self._closed, self._open = [], dict.fromkeys(waiting)
        self._newest = {summary.stream_id: self._newest[summary.stream_id] for summary in waiting}
        self._examine_at = min(now + LINGER_S, waiting[0].held_at + self._period) if waiting else None
        return self._released(taken)

    def flush(self) -> list[Summary]:
        """All summaries, due or not: at the end of `--once`, and at shutdown."""
        taken = [*self._closed, *self._open]
        self._closed, self._open, self._newest, self._examine_at = [], {}, {}, None
        return self._released(taken)

    def _released(self, taken: list[Summary]) -> list[Summary]:
        for summary in taken:
            self._samples_bytes -= len(summary.sample)
            summary.bucket.summary = None
        return taken

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
                del self._open[oldest.summary]
                self._closed.append(oldest.summary)
                if len(self._closed) >= CLOSED_MAX:
                    self._examine_at = now
        return bucket

    def _hold(self, columns: Columns, row: int, bucket: _Bucket, now: float) -> None:
        """Hold a row: it joins its bucket's summary, or starts one."""
        summary = bucket.summary
        if summary is None:
            room = SAMPLE_BYTES_MAX if self._samples_bytes < SAMPLES_BYTES_MAX else SAMPLE_CUT_BYTES
            summary = bucket.summary = Summary(self._config, bucket, columns, row)
            sample = columns.rows[row]
            summary.sample = sample + b"}" if len(sample) < room else sample[:room]
            summary.held_at = now
            self._samples_bytes += len(summary.sample)
            self._open[summary] = None
            self._newest.setdefault(columns.stream_id, SECONDS_MIN)
            if self._examine_at is None:
                self._examine_at = now + LINGER_S
        summary.add(columns.seconds[row], len(columns.rows[row]) + 1)
        columns.hold(row, summary)


class Summary:
    """What was held back of one key in one bucket (`model.columns.Held`): a document for the rows it stands for.

    The id follows from the key, the bucket and the origin of the first row held, so that a summary sent again after a crash
    is the same document; `@timestamp` is that row's event time, and the chain sets `index` to that row's index.
    """

    __slots__ = (
        "at",
        "bucket",
        "bytes",
        "closes_at",
        "count",
        "first",
        "held_at",
        "id",
        "index",
        "key",
        "last",
        "limits",
        "sample",
        "start",
        "stream_id",
    )

    def __init__(self, config: Throttle.Config, bucket: _Bucket, columns: Columns, row: int) -> None:
        """Begin with `row` of `columns`, which is not counted yet."""
        self.bucket = bucket
        self.index: bytes | None = None
        self.key: dict[str, object] = dict(zip(config.key, bucket.key[1:], strict=True))
        self.limits = {
            "period_s": float(config.period),
            "rate_per_s": float(config.rate),
            "burst": int(config.burst),
            "cost": config.cost,
        }
        self.stream_id = columns.stream_id
        self.start = columns.starts[row]
        """Origin of the first row, bytes of the source; with `stream_id` it says whose settling waits for this document."""
        self.at = self.first = self.last = columns.seconds[row]
        self.count = self.bytes = 0
        self.sample = b""
        """The first row, redacted, or its beginning: at most SAMPLE_BYTES_MAX."""
        self.held_at = 0.0
        """Monotonic seconds when the first row was held."""
        by_event = config.clock == "event"
        self.closes_at: float = (bucket.key[0] + 2) * int(config.period) if by_event else inf
        """Event time from which on the bucket is over."""
        whole = json.dumps([*bucket.key, self.stream_id, self.start, columns.stops[row]]).encode()
        self.id = blake2b(whole, digest_size=16).hexdigest()

    def add(self, second: int, size: int) -> None:
        """Count a row of `size` bytes with its event time."""
        self.count += 1
        self.bytes += size
        if second < self.first:
            self.first = second
        elif second > self.last:
            self.last = second

    def document(self) -> bytes:
        """The whole JSON document, one line, ASCII.

        Key fields stand at the top as in records, as far as they are scalars and no objects of ours, and all of them as text
        under `shipper.throttle.key`. The sample is text always: as an object it would double the mapping, and an object in one
        document and text in the next is a mapping conflict.
        """
        told = {
            "key": {name: None if value is None else _text(value) for name, value in self.key.items()},
            "count": self.count,
            "bytes": self.bytes,
            "first": iso(self.first),
            "last": iso(self.last),
            **self.limits,
            "sample": self.sample.decode("utf-8", "ignore"),
        }
        scalars = {name: value for name, value in self.key.items() if _belongs_on_top(name, value)}
        head = {"@timestamp": iso(self.at), "message": f"throttled {self.count} record{'s' * (self.count != 1)}"}
        return json.dumps({**head, **scalars, "shipper": {"throttle": told}}, separators=(",", ":")).encode()


class _Bucket:
    """State of one key in one period."""

    __slots__ = ("key", "spent", "summary", "used_at")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.spent = 0
        self.used_at = 0.0
        self.summary: Summary | None = None


def bounded(values: Sequence[object]) -> Sequence[object]:
    """Values fit for a key: hashable, and at most KEY_CHARS_MAX characters. The same list where all are so."""
    try:
        if not any(isinstance(value, str) and len(value) > KEY_CHARS_MAX for value in set(values)):
            return values
    except TypeError:  # a list or an object among them does not hash
        pass
    return list(map(_short, values))


def _short(value: object) -> object:
    if isinstance(value, (list, dict)):
        value = _Text(_text(value))
    if not isinstance(value, str) or len(value) <= KEY_CHARS_MAX:
        return value
    mark = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return _Text(f"{value[: KEY_CHARS_MAX // 2]}...{mark}")


class _Text(str):
    """A key's value that is not the field's own: cut, or an object written out."""

    __slots__ = ()


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (RecursionError, ValueError):
        return f"<{type(value).__name__} nested too deep>"


def _belongs_on_top(name: str, value: object) -> bool:
    """Whether a key field may stand in the summary as in a record, without a clash of keys or of mappings."""
    if name in _OURS or name.startswith("shipper.") or value is None or isinstance(value, _Text):
        return False
    return not isinstance(value, float) or isfinite(value)


def iso(second: int) -> str:
    """Whole Unix seconds as `2026-02-05T14:30:45Z`; outside the years 1 to 9999 the nearest that can be said."""
    return datetime.fromtimestamp(min(max(second, SECONDS_MIN), SECONDS_MAX), UTC).isoformat().replace("+00:00", "Z")


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
