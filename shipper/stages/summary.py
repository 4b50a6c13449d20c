"""Summary: one document that stands for records a stage held back. What stages that hold rows (throttle, dedupe) share.

RULES
- A summary is a `model.columns.Held`: the chain ships it like a record, and the rows it stands for settle with it, as dropped for
  the stage's `reason`. The rows of one summary need not be of one batch.
- Its id follows from the key, its bucket and the span of the first row held (which no other stage can hold), so that one sent
  again after a crash is the same document. `@timestamp` is that row's event time, its index that row's index.
- Bounds: a sample is cut to SAMPLE_BYTES_MAX; samples of what waits to be shipped are held up to SAMPLES_BYTES_MAX together, later
  ones are cut to SAMPLE_CUT_BYTES. How many summaries wait is bounded by the stage, which closes those it has no room for.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from shipper.config.suggest import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.columns import Columns

KEY_CHARS_MAX = 256
"""A value longer than this stands in a key as its first half and a hash of the whole."""
SAMPLE_BYTES_MAX = 4096
SAMPLES_BYTES_MAX = 4 << 20
SAMPLE_CUT_BYTES = 256
CLOSED_MAX = 1000
"""So many closed summaries do not wait for the next look: they are due at once."""
LINGER_S = 1.0
"""A summary waits this long at least: an event time gone wild may end it early, but not more often than this."""
_FIELD = re.compile(r"\{([A-Za-z0-9_@][A-Za-z0-9_@.-]*)\}")
_OURS = frozenset({"@timestamp", "message", "host", "log", "client", "shipper"})
"""Top-level keys of a summary that are ours: a key field of that name stands under `shipper.<stage>.key` only."""
SECONDS_MIN, SECONDS_MAX = -62_135_596_800, 253_402_300_799  # years 1 and 9999: what ISO 8601 and datetime can say


class KeyTemplate(str):
    """A key as a text with fields in it, `{service}-{error_type}`. Two keys are the same where the values of all fields are."""

    __slots__ = ()
    expected = 'a text with fields in it such as "{service}-{error_type}"'

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(_FIELD.findall(self))

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a template. Raises ValueError for what has no field, or a brace that belongs to none."""
        if not isinstance(value, str) or not _FIELD.search(value) or set("{}") & set(_FIELD.sub("", value)):
            raise ValueError(f"expected {cls.expected}, or a list of fields; got {shown(value)}")
        return cls(value)

    def filled(self, values: Mapping[str, object]) -> str:
        """The text with the values in their places; nothing for None."""
        return _FIELD.sub(lambda found: "" if (value := values[found[1]]) is None else as_text(value), self)


class Kind(msgspec.Struct, frozen=True):
    """What the summaries of one stage have in common."""

    stage: str
    """Its name: they speak under `shipper.<stage>`."""
    reason: str
    """What their rows are dropped for, such as `throttled`; begins the message, too."""
    keys: Sequence[str]
    """Names of the key fields."""
    told: Mapping[str, object]
    """What the stage was set to, for readers of the document."""
    template: KeyTemplate | None = None
    """By which the key has a name, if any."""


class Bucket(Protocol):
    """What a stage keeps of one key: rows held back go to its summary."""

    key: tuple[Any, ...]
    """What tells the buckets of a key apart (a number), and the values of the key fields."""
    summary: Summary | None
    """The one that rows may still join; None again once it was taken to be shipped."""


class Summary:
    """What was held back of one key in one bucket; see the module."""

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
        "kind",
        "last",
        "reason",
        "sample",
        "start",
        "stream_id",
    )

    def __init__(self, kind: Kind, bucket: Bucket, columns: Columns, row: int) -> None:
        """Begin with `row` of `columns`, which is not counted yet."""
        self.kind, self.bucket = kind, bucket
        self.index: bytes | None = None
        self.reason = kind.reason
        self.key: dict[str, object] = dict(zip(kind.keys, bucket.key[1:], strict=True))
        self.stream_id = columns.stream_id
        self.start = columns.starts[row]
        """Origin of the first row, bytes of the source; with `stream_id` it says whose settling waits for this document."""
        self.at = self.first = self.last = columns.seconds[row]
        self.count = self.bytes = 0
        self.sample = b""
        """The first row, redacted, or its beginning."""
        self.held_at = 0.0
        """Monotonic seconds when the first row was held."""
        self.closes_at: float = 0.0
        """Event time from which on no row of its bucket is expected any more."""
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
        under `shipper.<stage>.key`. The sample is text always: as an object it would double the mapping, and an object in one
        document and text in the next is a mapping conflict.
        """
        told = {
            **({} if self.kind.template is None else {"name": self.kind.template.filled(self.key)}),
            "key": {name: None if value is None else as_text(value) for name, value in self.key.items()},
            "count": self.count,
            "bytes": self.bytes,
            "first": iso(self.first),
            "last": iso(self.last),
            **self.kind.told,
            "sample": self.sample.decode("utf-8", "ignore"),
        }
        scalars = {name: value for name, value in self.key.items() if _belongs_on_top(name, value)}
        head = {"@timestamp": iso(self.at), "message": f"{self.reason} {self.count} record{'s' * (self.count != 1)}"}
        return json.dumps({**head, **scalars, "shipper": {self.kind.stage: told}}, separators=(",", ":")).encode()


class Waiting:
    """The summaries of one stage that are not shipped yet, and when they will be. A machine: it is told the time."""

    def __init__(self, linger_max_s: float) -> None:
        """A summary is due once its stream has passed `closes_at`, or `linger_max_s` after its first row was held."""
        self._linger_max_s = linger_max_s
        self.open: dict[Summary, None] = {}
        """Those that still grow, in order of their first rows."""
        self._closed: list[Summary] = []
        self._samples_bytes = 0
        self._newest: dict[str, int] = {}
        """Newest event time of the streams that open summaries began in."""
        self._examine_at: float | None = None

    def begin(self, summary: Summary, columns: Columns, row: int, now: float) -> None:
        """Take up a summary, and this first row of it as its sample; the row is not counted here."""
        room = SAMPLE_BYTES_MAX if self._samples_bytes < SAMPLES_BYTES_MAX else SAMPLE_CUT_BYTES
        sample = columns.rows[row]
        summary.sample = sample + b"}" if len(sample) < room else sample[:room]
        summary.held_at = now
        self._samples_bytes += len(summary.sample)
        self.open[summary] = None
        self._newest.setdefault(columns.stream_id, SECONDS_MIN)
        if self._examine_at is None:
            self._examine_at = now + LINGER_S

    def close(self, summary: Summary, now: float) -> None:
        """No row joins it any more: it goes out with the next look, and at once where there are many."""
        del self.open[summary]
        self._closed.append(summary)
        if len(self._closed) >= CLOSED_MAX:
            self._examine_at = now

    def note(self, columns: Columns) -> None:
        """Remember how far the batch's stream has come, where a summary waits for it."""
        newest = self._newest.get(columns.stream_id)
        if newest is not None and columns.count:
            self._newest[columns.stream_id] = max(newest, max(columns.seconds))  # noqa: PLW3301  unpacked it would be copied

    def deadline(self) -> float | None:
        """When `due` wants to be called next (monotonic seconds), or None while nothing is held."""
        return self._examine_at

    def due(self, now: float) -> list[Summary]:
        """The summaries to be shipped now; the caller owns them. Early calls return none."""
        if self._examine_at is None or now < self._examine_at:
            return []
        taken = self._closed
        waiting: list[Summary] = []
        for summary in self.open:
            over = self._newest[summary.stream_id] >= summary.closes_at or now >= summary.held_at + self._linger_max_s
            (taken if over else waiting).append(summary)
        self._closed, self.open = [], dict.fromkeys(waiting)
        self._newest = {summary.stream_id: self._newest[summary.stream_id] for summary in waiting}
        self._examine_at = min(now + LINGER_S, waiting[0].held_at + self._linger_max_s) if waiting else None
        return self._released(taken)

    def flush(self) -> list[Summary]:
        """All summaries, due or not: at the end of `--once`, and at shutdown."""
        taken = [*self._closed, *self.open]
        self._closed, self.open, self._newest, self._examine_at = [], {}, {}, None
        return self._released(taken)

    def _released(self, taken: list[Summary]) -> list[Summary]:
        for summary in taken:
            self._samples_bytes -= len(summary.sample)
            summary.bucket.summary = None
        return taken


def bounded(values: Sequence[object]) -> Sequence[object]:
    """Values fit for a key: hashable, and at most KEY_CHARS_MAX characters. The same list where all are so."""
    if set(map(type, values)) == {str} and max(map(len, values)) <= KEY_CHARS_MAX:  # type: ignore[arg-type]
        return values
    try:
        if not any(isinstance(value, str) and len(value) > KEY_CHARS_MAX for value in set(values)):
            return values
    except TypeError:  # a list or an object among them does not hash
        pass
    return list(map(_short, values))


def _short(value: object) -> object:
    if isinstance(value, (list, dict)):
        value = _Text(as_text(value))
    if not isinstance(value, str) or len(value) <= KEY_CHARS_MAX:
        return value
    mark = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return _Text(f"{value[: KEY_CHARS_MAX // 2]}...{mark}")


class _Text(str):
    """A key's value that is not the field's own: cut, or an object written out."""

    __slots__ = ()


def as_text(value: Any) -> str:
    """A key's value as text; objects as JSON, where that can be written."""
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
