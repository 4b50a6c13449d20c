"""Sample: keep one record in so many, and note in it for how many it stands.

RULES
- The decision is a hash and nothing else: the same record read again, by this agent or another, meets the same fate.
- With `key`, the values of its fields decide: all records of a trace are kept, or none. Without it, or where a record lacks one of
  the fields, what its `_id` is made of: the stream and the first byte, the sender's id, or the content.
- What is kept says `shipper.sample_rate`, so that counts can be weighed again. Where several samples chose a record it is the
  product of their rates, but of those with the same key the largest: they keep the same records, the keener ones fewer of them.
- What another stage dropped or held before is left alone.

THEORY
CRC-32 of the key as JSON, or of the first byte's decimal digits seeded by the stream; then a multiplication (Knuth, 6.4), as a CRC is
linear and keys that count upwards would be thinned unevenly; the share is a threshold. All by the batch, in C: 0.2 us a record.
"""

from __future__ import annotations

from itertools import compress, repeat
from math import prod
from operator import and_, gt, lt, mul, not_
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
import orjson

from shipper.config.condition import Condition  # noqa: TC001  msgspec reads the annotations
from shipper.config.fields import ComponentConfig
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

REASON = "sampled"
_BITS = 32
_MASK = (1 << _BITS) - 1
_SPREAD = 2_654_435_761
"""2^32 over the golden ratio, a prime."""


class Sample:
    """Keep a share of the records, evenly chosen, and write into each for how many it stands.

    The others are dropped and counted in the account as `sampled`. Records that are kept have `shipper.sample_rate`: sum it up
    instead of counting documents. Errors are best left out of it with `protect`. It costs 0.3 yardsticks a record, 0.4 by key (see
    `docs/performance.md`).
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `sample`."""

        rate: float
        """Keep one record in this many, `10`, or this share of them, `0.1`."""
        key: list[str] = msgspec.field(default_factory=list)
        """Fields whose values decide together: records that agree in them are all kept or all dropped. Without it each decides for itself."""
        when: Condition | None = None
        """Which records are sampled; all others pass. Without it all are."""
        protect: Condition | None = None
        """Records that always pass."""

    example = """
- sample: {rate: 10, when: {level: [DEBUG, INFO]}}
- sample: {rate: 0.25, key: [trace.id], protect: {level: [ERROR, CRITICAL]}}
"""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Raises ComponentError for a rate that is none."""
        if config.rate <= 0:
            raise ComponentError("rate must be more than 0", "rate", "to drop records whatever they are use a filter")
        if config.rate > 1 and not config.rate.is_integer():
            raise ComponentError("rate is a whole number, or a share up to 1", "rate", f"write {1 / config.rate:.3g} for a share")
        if len(set(config.key)) < len(config.key):
            raise ComponentError("key names a field twice", "key")
        conditions = [one for one in (config.when, config.protect) if one is not None]
        self.reads: Sequence[str] = tuple(dict.fromkeys([*config.key, *(name for one in conditions for name in one.reads)]))
        self.adds: Sequence[str] = ()
        self._config = config
        rate = config.rate if config.rate >= 1 else 1 / config.rate
        self._flag = _Rate.of({tuple(config.key): rate})
        self._threshold = max(1, round((1 << _BITS) / rate))

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Drop the rows that are not chosen, and note the rate in those that are."""
        mask = self._mask(columns)
        if not any(mask):
            return
        spread = map(and_, map(mul, self._hashes(columns), repeat(_SPREAD)), repeat(_MASK))
        chosen = list(map(lt, spread, repeat(self._threshold)))
        columns.drop_where(map(gt, mask, chosen), REASON)
        self._note(columns, compress(range(columns.count), map(and_, mask, chosen)))

    def _mask(self, columns: Columns) -> list[bool]:
        """Which rows are sampled."""
        when, protect = self._config.when, self._config.protect
        mask = [True] * columns.count if when is None else list(when.mask(columns))
        if protect is not None:
            mask = list(map(and_, mask, map(not_, protect.mask(columns))))
        for row in (*columns.dropped, *columns.held):
            mask[row] = False
        return mask

    def _hashes(self, columns: Columns) -> Iterable[int]:
        """What decides, as numbers of 32 bits."""
        if not self._config.key:
            return map(crc32, *_identities(columns))
        values = [columns.column(name) for name in self._config.key]
        hashes = map(crc32, _encoded(values))
        if not any(None in column for column in values):
            return hashes
        whole = map(all, zip(*[[value is not None for value in column] for column in values], strict=True))
        others = map(crc32, *_identities(columns))
        return [own if has else other for own, other, has in zip(hashes, others, whole, strict=True)]

    def _note(self, columns: Columns, rows: Iterable[int]) -> None:
        """Write the rate into rows, together with that of another sample where there is one."""
        if not columns.flags:
            columns.flag(rows, self._flag)
            return
        chosen = list(rows)
        earlier = {row: found for row in columns.flags.keys() & set(chosen) if (found := _rate_of(columns.flags[row]))}
        columns.flag([row for row in chosen if row not in earlier], self._flag)
        for row, found in earlier.items():
            others = [flag for flag in columns.flags[row] if flag is not found]
            columns.flags[row] = (*others, found.joined(self._flag))


class _Rate(str):
    """The flag that says a record's rate. `rates` remembers it by the key fields that decided."""

    __slots__ = ("rates",)
    rates: Mapping[tuple[str, ...], float]

    @classmethod
    def of(cls, rates: Mapping[tuple[str, ...], float]) -> _Rate:
        """Different keys decide independently, so that their rates multiply."""
        flag = cls(f"sample_rate:{prod(rates.values()):.6g}")
        flag.rates = rates
        return flag

    def joined(self, other: _Rate) -> _Rate:
        """Of two samples by one key the keener one decides alone: what it keeps the other keeps, too."""
        return self.of({key: max(self.rates.get(key, 1), other.rates.get(key, 1)) for key in {**self.rates, **other.rates}})


def _rate_of(flags: tuple[str, ...]) -> _Rate | None:
    """The rate that a row was given before."""
    return next((flag for flag in flags if isinstance(flag, _Rate)), None)


def _identities(columns: Columns) -> tuple[Iterable[bytes], Iterator[int]]:
    """What the rows' ids are made of, each with what its hash begins with."""
    starts = orjson.dumps(columns.starts)[1:-1].split(b",")
    seed = crc32(columns.stream_id.encode())
    if columns.ids is None:
        return starts, repeat(seed)
    if b"" not in columns.ids:
        return columns.ids, repeat(0)
    return [given or b"%d-%b" % (seed, start) for given, start in zip(columns.ids, starts, strict=True)], repeat(0)


def _encoded(values: Sequence[Sequence[Any]]) -> list[bytes]:
    """The values of each row as JSON."""
    encode = msgspec.json.Encoder().encode
    try:
        return list(map(encode, zip(*values, strict=True)))
    except RecursionError:  # one of them is nested without end
        return [_encoded_one(encode, row) for row in zip(*values, strict=True)]


def _encoded_one(encode: Callable[[Any], bytes], values: tuple[Any, ...]) -> bytes:
    try:
        return encode(values)
    except RecursionError:
        return b"nested too deeply"
