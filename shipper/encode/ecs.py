"""ECS: members of JSON records get the names of the Elastic Common Schema (ECS 8) in their documents.

RULES
- `TABLE` says which member at the top of a record becomes which. It has it last of all: conditions, stages and routes see the
  names that the record has.
- Only plain values are renamed: an object or a list keeps its name. So does a member whose new name is there already, or whose new
  name would lie in a member that stays (`user_id` beside an object `user`), or hold one; and one whose new name documents get from
  us anyway, as `geoip` adds `client.ip`.
- Durations in milliseconds become `event.duration`, whole nanoseconds; a value that is no number keeps its name.
- The member that the record's time was read from goes: `@timestamp` says the same, to the nanosecond. It stays where the time was
  not read from it beyond doubt (a flag `timestamp_…`).
- Values are kept as they are written. The order of members may change.

THEORY
Rows of a log have few members, mostly the same. They are decoded into a Struct that has each member met so far as the bytes of
its value, encoded from another that has the new names, block by block: half the price of dicts. What the Struct cannot take
(members not met before, names that meet) is done with dicts, row by row, by the same rules, and the Struct learns: up to
MEMBERS_MAX names, more would make it slow.
"""

from __future__ import annotations

from itertools import chain, repeat
from operator import itemgetter, mul
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from shipper.model.columns import meet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from shipper.model.columns import Columns

TABLE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("level", "levelname", "lvl", "severity"), ("log.level",)),
    **dict.fromkeys(("logger", "logger_name", "loggerName"), ("log.logger",)),
    **dict.fromkeys(("function", "funcName", "func_name"), ("log.origin.function",)),
    "filename": ("log.origin.file.name",),
    **dict.fromkeys(("lineno", "line"), ("log.origin.file.line",)),
    "msg": ("message",),
    "event": ("message", "event.action"),
    **dict.fromkeys(("service", "service_name"), ("service.name",)),
    **dict.fromkeys(("environment", "env"), ("service.environment",)),
    "version": ("service.version",),
    **dict.fromkeys(("trace_id", "traceId"), ("trace.id",)),
    **dict.fromkeys(("span_id", "spanId"), ("span.id",)),
    "transaction_id": ("transaction.id",),
    **dict.fromkeys(("request_id", "requestId"), ("http.request.id",)),
    **dict.fromkeys(("method", "http_method"), ("http.request.method",)),
    **dict.fromkeys(("referer", "referrer"), ("http.request.referrer",)),
    **dict.fromkeys(("status_code", "http_status"), ("http.response.status_code",)),
    **dict.fromkeys(("user_id", "userId"), ("user.id",)),
    **dict.fromkeys(("user", "username", "user_name"), ("user.name",)),
    "user_agent": ("user_agent.original",),
    **dict.fromkeys(("client_ip", "clientip", "remote_addr"), ("client.ip",)),
    "url": ("url.original",),
    **dict.fromkeys(("path", "url_path"), ("url.path",)),
    **dict.fromkeys(("error_type", "exception_type"), ("error.type",)),
    **dict.fromkeys(("error", "error_message"), ("error.message",)),
    "error_code": ("error.code",),
    **dict.fromkeys(("exception", "exc_info", "stack_trace", "traceback"), ("error.stack_trace",)),
    "hostname": ("host.hostname",),
    **dict.fromkeys(("pid", "process_id"), ("process.pid",)),
    **dict.fromkeys(("processName", "process_name"), ("process.name",)),
    **dict.fromkeys(("threadName", "thread_name"), ("process.thread.name",)),
    **dict.fromkeys(("duration_ms", "elapsed_ms", "latency_ms", "execution_time_ms"), ("event.duration",)),
}
"""A member's name -> the names it may get, the first that is free."""
DURATION = "event.duration"
MILLISECONDS = frozenset(name for name, new in TABLE.items() if new == (DURATION,))
GUARD_NAME = "ecs"
GUARD = rb'":\{|":\[|": \{|": \[|":[\t\r\n]|": [ \t\r\n]|"[\t\r\n]|" [ \t\r\n:]'
"""Fires where a member may be an object or a list, with blanks around its colon or without; by a few characters that are rare."""
MEMBERS_MAX = 128
_STAMP = "@timestamp"
_NS_PER_MS = 1e6
_MS_MAX = 9e12
"""Above, nanoseconds would not fit into 64 bits."""
_PLANS_MAX = 1024
_NULL = msgspec.Raw(b"null")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WITHOUT_BRACE = itemgetter(slice(0, -1))
Members = dict[str, msgspec.Raw]


def new_names(names: Sequence[str], fixed: Collection[str] = (), ours: Collection[str] = ()) -> dict[str, str]:
    """New names by old ones, of a record with these members; those in `fixed` keep theirs. `ours` are new names that are taken."""
    found: dict[str, str] = {}
    taken = {*names, *ours}
    for name in names:
        new = next((one for one in TABLE.get(name, ()) if one not in taken), None)
        if new is not None and name not in fixed:
            found[name] = new
            taken.add(new)
    while True:
        staying = [name for name in names if name not in found]
        meeting = [name for name, new in found.items() if any(meet(new, other) for other in staying)]
        if not meeting:
            return found
        for name in meeting:
            del found[name]


class Renaming:
    """Renames the rows of batches. Holds what it learnt of the members there are; one for a source."""

    def __init__(self, stamp_fields: Sequence[str], ours: Collection[str] = ()) -> None:
        """`stamp_fields` may hold a record's time, in this order; `ours` are members that documents get from us, by dotted name."""
        self._rules = Rules(stamp_fields, ours)
        self._block = Block({}, self._rules)

    def rename(self, columns: Columns) -> None:
        """Rename the rows that are neither dropped nor held."""
        kept: Sequence[int] = range(columns.count)
        if columns.dropped or columns.held:
            kept = [row for row in kept if row not in columns.dropped and row not in columns.held]
        rows = columns.rows if len(kept) == columns.count else [columns.rows[row] for row in kept]
        undated = {row for row, flags in columns.flags.items() if any(flag.startswith("timestamp_") for flag in flags)}
        places = {place for place, row in enumerate(kept) if row in undated} if undated else set()
        is_flat = columns.marks is not None and GUARD_NAME not in columns.marks
        found = self._renamed(rows, places, is_flat=is_flat) if rows else []
        if len(kept) < columns.count:
            whole = list(columns.rows)
            for row, text in zip(kept, found, strict=True):
                whole[row] = text
            found = whole
        columns.rewrite(found)

    def _renamed(self, rows: Sequence[bytes], undated: set[int], *, is_flat: bool) -> list[bytes]:
        found = self._block.renamed(rows, undated, is_flat=is_flat)
        if found is not None:
            return found
        names: dict[str, None] = {}
        renamed = [self._alone(row, names, is_dated=place not in undated) for place, row in enumerate(rows)]
        self._block = self._block.with_names(names)
        return renamed

    def _alone(self, row: bytes, names: dict[str, None], *, is_dated: bool) -> bytes:
        """One row; what its members are called is added to `names`."""
        try:
            members = _MEMBERS.decode(row + b"}")
        except (msgspec.DecodeError, RecursionError):  # too deep for this, though it was decoded before
            return row
        names.update(dict.fromkeys(members))
        return msgspec.json.encode(self._rules.renamed(members, is_dated=is_dated))[:-1]

    def document(self, text: bytes) -> bytes:
        """A whole document of ours, whose time stays, such as a summary."""
        return msgspec.json.encode(self._rules.renamed(_MEMBERS.decode(text), is_dated=False))


class Rules:
    """The rules for one record at a time. Plans are kept by the names a record has."""

    def __init__(self, stamp_fields: Sequence[str], ours: Collection[str]) -> None:
        """`stamp_fields` in the order in which they are looked at; those behind a dotted one are not known to be the record's time.

        `ours` are members that documents get from us.
        """
        news = {new for choices in TABLE.values() for new in choices}
        self.taken = frozenset(new for new in news if any(meet(new, other) for other in ours))
        dotted = [place for place, name in enumerate(stamp_fields) if "." in name]
        self.stamp_fields = tuple(stamp_fields)[: dotted[0] if dotted else None]
        self._plans: dict[tuple[tuple[str, ...], frozenset[str]], dict[str, str]] = {}

    def renamed(self, members: Members, *, is_dated: bool) -> dict[str, Any]:
        """The members of a record as its document has them. `is_dated`: its time is beyond doubt that of the first field it has."""
        durations = {name: _all_nanoseconds([members[name]]) for name in MILLISECONDS.intersection(members)}
        fixed = [name for name, value in members.items() if name in TABLE and _is_nested(value)]
        key = tuple(members), frozenset((*fixed, *(name for name, values in durations.items() if values is None)))
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _PLANS_MAX:
                self._plans.clear()
            plan = self._plans[key] = new_names(*key, self.taken)
        stamp = next((name for name in self.stamp_fields if members.get(name, _NULL) != _NULL), _STAMP) if is_dated else _STAMP
        return {
            plan.get(name, name): (durations[name] or [None])[0] if plan.get(name) == DURATION else value
            for name, value in members.items()
            if name != stamp or name == _STAMP
        }


class Block:
    """Many rows at once, whose members are among those that are known."""

    def __init__(self, plan: Mapping[str, str], rules: Rules) -> None:
        """`plan` has all members that are known, with their new names."""
        self._plan, self._rules = plan, rules
        fields = [f"m{number}" for number in range(len(plan))]
        self._places = {name: place for place, name in enumerate(plan)}
        self._decoder = msgspec.json.Decoder(_row(dict(zip(fields, plan, strict=True)), msgspec.Raw))
        self._made = _row(dict(zip(fields, plan.values(), strict=True)), Any)
        self._encoder = msgspec.json.Encoder()

    def with_names(self, names: Iterable[str]) -> Block:
        """One that knows these members too, as far as each has its new name whatever stands beside it, and they are not too many."""
        plan = dict(self._plan)
        for name in names:
            whole = new_names([*plan, name], (), self._rules.taken)
            alone = {one: new_names([one], (), self._rules.taken).get(one) for one in (*plan, name)}
            if len(plan) < MEMBERS_MAX and all(whole.get(one) == new for one, new in alone.items()):
                plan[name] = whole.get(name, name)
        return self if len(plan) == len(self._plan) else Block(plan, self._rules)

    def renamed(self, rows: Sequence[bytes], undated: set[int], *, is_flat: bool) -> list[bytes] | None:
        """The rows renamed; None where some have other members, or need a closer look.

        `undated` are rows whose time is not beyond doubt; `is_flat`: no member to rename is an object or a list.
        """
        try:
            decoded = self._decoder.decode_lines(b"}\n".join([*rows, b""]))
        except (msgspec.DecodeError, RecursionError):
            return None
        if not self._plan or len(decoded) != len(rows):
            return None
        columns: list[Sequence[Any]] = list(zip(*map(msgspec.structs.astuple, decoded), strict=True))
        if not (is_flat or self._is_flat(columns)) or not self._date(columns, undated) or not self._measure(columns):
            return None
        lines = self._encoder.encode_lines(list(map(self._made, *columns))).split(b"\n")
        return list(map(_WITHOUT_BRACE, lines[:-1]))

    def _is_flat(self, columns: Sequence[Sequence[Any]]) -> bool:
        values = chain.from_iterable(columns[place] for name, place in self._places.items() if name in TABLE)
        joined = b"\n".join([b"", *(value for value in values if value is not msgspec.UNSET)])  # no value has a line end
        return b"\n{" not in joined and b"\n[" not in joined

    def _date(self, columns: list[Sequence[Any]], undated: set[int]) -> bool:
        """Take out the member that has the time; False where several may have it."""
        count = len(columns[0])
        there = [name for name in self._rules.stamp_fields if name in self._places]
        there = [name for name in there if columns[self._places[name]].count(msgspec.UNSET) < count]
        if len(there) > 1 or any(_NULL in columns[self._places[name]] for name in there):
            return False
        if there and there[0] != _STAMP:
            gone: list[Any] = [msgspec.UNSET] * count
            for row in undated:
                gone[row] = columns[self._places[there[0]]][row]
            columns[self._places[there[0]]] = gone
        return True

    def _measure(self, columns: list[Sequence[Any]]) -> bool:
        """Make nanoseconds of milliseconds; False where some are none."""
        for name in MILLISECONDS.intersection(self._places):
            column = columns[self._places[name]]
            some = [value for value in column if value is not msgspec.UNSET]
            found = _all_nanoseconds(some) if some else []
            if found is None:
                return False
            if len(some) == len(column):
                columns[self._places[name]] = found
            elif some:
                rest = iter(found)
                columns[self._places[name]] = [value if value is msgspec.UNSET else next(rest) for value in column]
        return True


def _row(names: Mapping[str, str], kind: Any) -> Any:
    """A type of rows that may have the members, and no others."""
    fields = [(field, kind | msgspec.UnsetType if kind is not Any else Any, msgspec.UNSET) for field in names]
    return msgspec.defstruct("Row", fields, rename=dict(names), gc=False, forbid_unknown_fields=True)


def _all_nanoseconds(values: Sequence[msgspec.Raw]) -> list[int | None] | None:
    """The same of a column, null as None; None where some are no numbers, or too large."""
    try:
        numbers = orjson.loads(b"[%b]" % b",".join(values))
    except orjson.JSONDecodeError:
        return None
    some = [number for number in numbers if number is not None] if None in numbers else numbers
    if not set(map(type, some)) <= {int, float} or not -_MS_MAX < min(some, default=0) <= max(some, default=0) < _MS_MAX:
        return None
    if len(some) < len(numbers):
        return [None if number is None else round(number * _NS_PER_MS) for number in numbers]
    return list(map(round, map(mul, numbers, repeat(_NS_PER_MS))))


def _is_nested(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:1]) in (b"{", b"[")
