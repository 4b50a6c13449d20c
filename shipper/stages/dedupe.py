"""Dedupe: of records that say the same within a while, keep the first.

RULES
- Records are the same when the values of their key fields are, or without `key` when they are the same byte for byte. A record that
  lacks one of the key fields always passes. Streams are not told apart: what is written to two files is shipped once.
- Time is the records' own, cut into windows of equal length: a backlog that is read beside live records has its own windows. Of
  two that are the same on both sides of a boundary both pass.
- State is lost at a restart. A record that was kept and is sent again is kept again, as its `_id` is the same; one that was
  dropped may pass then.
- Bounds: at least half of `keys_max` keys are remembered, at most all. When the younger half is full, the older one is forgotten:
  what is repeated after that passes once more. Values of a key over KEY_CHARS_MAX characters are cut and hashed. Without `key` a
  record is remembered by a keyed 64-bit hash (SipHash, as Python has it for bytes): of a billion records a day one is taken for
  another once in a hundred years or so.
- With `summary` the others are held, and settle with a document that says how many there were (`summary.py`).

THEORY
Every row offers its own number as the value of its key (`dict.setdefault`), all by one call; where another one comes back, the key
was there before. Halves change at the very row that finds no room, so that it does not matter how rows are cut into batches: a batch
that may have no room is looked through first, for the place where that is.
"""

from __future__ import annotations

from itertools import compress, repeat
from operator import and_, floordiv, is_not
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from shipper.config.condition import Condition  # noqa: TC001  msgspec reads the annotations
from shipper.config.fields import ComponentConfig, Duration
from shipper.model.errors import ComponentError
from shipper.stages.summary import Kind, Summary, Waiting, bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

REASON = "duplicate_in_window"
LATE_S = 10
"""Seconds of the records' time for which a window's summary waits for late ones."""
Key = tuple[Any, ...]
"""Number of the window, and the values of the key fields, or a record's hash."""


class Dedupe:
    """Keep the first of records that say the same within a window, and drop the others.

    They are counted in the account as `duplicate_in_window`. With `summary: true` one document per key and window says how many
    there were, from when to when, and goes to the index of the first of them.

    Records that one program writes to two files are better told by `id: content`, which needs no memory and works across restarts.
    It costs 0.4 yardsticks a record that is compared (see `docs/performance.md`).
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `dedupe`."""

        key: list[str] = field(default_factory=list)
        """Fields that make two records the same, `[host, message]`. Without it the whole record does, its time included."""
        window: Duration = Duration(10)
        """How long a record stands for those that say the same; whole seconds of the records' own time."""
        when: Condition | None = None
        """Which records are compared; all others pass. Without it all are."""
        keys_max: int = 50_000
        """Keys that are remembered, 0.2 kB each and what their values take."""
        summary: bool = False
        """Say in a document of its own what was left out, for each key and window."""

    example = """
- dedupe: {key: [host, message], window: 60s, when: {level: [WARN, ERROR]}, summary: true}
"""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Raises ComponentError for a window that is none."""
        if config.window < 1 or not float(config.window).is_integer():
            raise ComponentError("window is whole seconds, at least 1s", "window")
        if config.keys_max < 2:
            raise ComponentError("keys_max must be 2 or more", "keys_max")
        if len(set(config.key)) < len(config.key):
            raise ComponentError("key names a field twice", "key")
        self.reads: Sequence[str] = tuple(dict.fromkeys([*config.key, *(config.when.reads if config.when is not None else ())]))
        self.adds: Sequence[str] = ()
        self._config, self._window = config, int(config.window)
        self._kind = Kind("dedupe", REASON, config.key, {"window_s": self._window})
        self._waiting = Waiting(self._window)
        self._seen = _Seen(config.keys_max)

    def process(self, columns: Columns, now: float) -> None:
        """Drop the rows that were seen in their window, or hold them for a summary."""
        mask = self._mask(columns)
        rows: Sequence[int] = range(columns.count) if mask is None else list(compress(range(columns.count), mask))
        keys = self._keys(columns, rows)
        repeated: list[int] = []
        for start, again in self._seen.chunks(keys):
            if True not in again:
                continue
            its_rows = list(compress(rows[start : start + len(again)], again))
            repeated += its_rows
            if self._config.summary:
                for row, key in zip(its_rows, compress(keys[start : start + len(again)], again), strict=True):
                    self._hold(columns, row, key, now)
        for summary in self._seen.forgotten():
            self._waiting.close(summary, now)
        if self._config.summary:
            self._waiting.note(columns)
        elif repeated:
            columns.drop_rows(repeated, REASON)

    def deadline(self) -> float | None:
        """When `due` wants to be called next (monotonic seconds), or None while nothing is held."""
        return self._waiting.deadline()

    def due(self, now: float) -> list[Summary]:
        """The summaries to be shipped now: their streams have passed their window, or as long a time went by."""
        return self._waiting.due(now)

    def flush(self) -> list[Summary]:
        """All summaries, due or not: at the end of `--once`, and at shutdown."""
        return self._waiting.flush()

    def _mask(self, columns: Columns) -> list[bool] | None:
        """Which rows are compared; None for all of them."""
        mask = None if self._config.when is None else list(self._config.when.mask(columns))
        for name in self._config.key:
            values = columns.column(name)
            if None in values:
                there = map(is_not, values, repeat(None))
                mask = list(there) if mask is None else list(map(and_, mask, there))
        if columns.dropped or columns.held:
            mask = mask or [True] * columns.count
            for row in (*columns.dropped, *columns.held):
                mask[row] = False
        return mask

    def _keys(self, columns: Columns, rows: Sequence[int]) -> list[Key]:
        """What each of the rows is remembered by."""

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return values if len(rows) == columns.count else list(map(values.__getitem__, rows))

        windows = map(floordiv, pick(columns.seconds), repeat(self._window))
        if not self._config.key:
            return list(zip(windows, map(hash, pick(columns.rows)), strict=True))
        return list(zip(windows, *[bounded(pick(columns.column(name))) for name in self._config.key], strict=True))

    def _hold(self, columns: Columns, row: int, key: Key, now: float) -> None:
        """Hold a row: it joins the summary of its key, or starts one."""
        bucket = self._seen.bucket(key, len(self._config.key))
        summary = bucket.summary
        if summary is None:
            summary = bucket.summary = Summary(self._kind, bucket, columns, row)
            summary.closes_at = (key[0] + 1) * self._window + LATE_S
            self._waiting.begin(summary, columns, row, now)
        summary.add(columns.seconds[row], len(columns.rows[row]) + 1)
        columns.hold(row, summary)


class _Bucket(Struct):
    """A key of which rows were held."""

    key: Key
    summary: Summary | None = None


class _Seen:
    """The keys that were seen, in two halves."""

    def __init__(self, keys_max: int) -> None:
        self._half = keys_max // 2
        self._younger: dict[Key, int | _Bucket] = {}
        self._older: dict[Key, int | _Bucket] = {}
        self._forgotten: list[_Bucket] = []
        self._count = 0
        """Keys that were ever offered: numbers the rows."""

    def chunks(self, keys: Sequence[Key]) -> Iterator[tuple[int, list[bool]]]:
        """Where a chunk of the keys starts, and which of its keys were seen before. They are in the table until the next chunk."""
        start = 0
        while start < len(keys):
            part = keys[start : start + self._fitting(keys, start)]
            yield start, self._offered(part)
            start += len(part)
            if start < len(keys):
                self._forgotten += [one for one in self._older.values() if isinstance(one, _Bucket)]
                self._older, self._younger = self._younger, {}

    def _fitting(self, keys: Sequence[Key], start: int) -> int:
        """How many keys from `start` on there is room for."""
        room, left = self._half - len(self._younger), len(keys) - start
        if left <= room:
            return left
        fresh: set[Key] = set()
        for count, key in enumerate(keys[start:]):
            if key in self._younger or key in self._older or key in fresh:
                continue
            if len(fresh) == room:
                return count
            fresh.add(key)
        return left

    def _offered(self, keys: Sequence[Key]) -> list[bool]:
        """Put keys into the younger half that are in none. Returns which were there, those put in before in this call among them."""
        known = list(map(self._older.__contains__, keys)) if self._older else []
        if True in known:
            others = self._offered_to_younger([key for key, is_known in zip(keys, known, strict=True) if not is_known])
            rest = iter(others)
            return [is_known or next(rest) for is_known in known]
        return self._offered_to_younger(keys)

    def _offered_to_younger(self, keys: Sequence[Key]) -> list[bool]:
        numbers = list(range(self._count, self._count + len(keys)))
        self._count += len(keys)
        return list(map(is_not, map(self._younger.setdefault, keys, numbers), numbers))

    def bucket(self, key: Key, fields: int) -> _Bucket:
        """What is kept of a key that was seen; a record's hash is no part of what is told of it."""
        half = self._younger if key in self._younger else self._older
        found = half[key]
        if isinstance(found, int):
            found = half[key] = _Bucket(key[: 1 + fields])
        return found

    def forgotten(self) -> list[Summary]:
        """The summaries of keys that are forgotten: nothing joins them any more."""
        found = [bucket.summary for bucket in self._forgotten if bucket.summary is not None]
        self._forgotten = []
        return found
