"""Columns: what stages see of a batch. Lists as long as the batch, one value a row.

RULES
- Stages read `column(name)` for names they declared in `reads`; nothing else was decoded.
- Stages add fragments (`splice`) and mark rows dropped (`drop`, `hold`). A stage whose job it is to change records (`fields`)
  exchanges the rows by `rewrite`, one for one, and the columns it changed by `assign`; conditions are judged anew then.
- A fragment is bytes that begin with a comma and are appended inside the record's object: `,"client":{...}`, or b"" for
  nothing. It may be spliced in pieces, one after the other, so that rows can share the longer ones. Its key is declared in the stage's `adds`; a record that has that key already went through `decode` with its own
  value moved to `shipper.record.<key>`, so a splice never makes a duplicate key.
- A row may be dropped (or held) by one stage only: the first wins. Later stages still see it, and may skip it.
- Who exchanges rows keeps the columns in `asked` right, and marks rows odd that got a member which documents have from us (`ours`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, Protocol

Values = Sequence[object]
"""A column: strings, numbers, booleans, None (JSON null or absent), lists and dicts as decoded."""


class Held(Protocol):
    """A record of rows held back by a stage, which a generated document will stand for (see `stages/summary.py`)."""

    reason: str
    """What the rows are settled as dropped for, once the document is."""
    index: bytes | None
    """The index name of the first held row; the chain sets it once routing is done."""


OURS = frozenset(("@timestamp", "log.offset", "log.file", "host.name", "shipper"))
"""What every document gets from us."""


class Columns:
    """One batch, decoded as far as the configuration asks."""

    __slots__ = (
        "asked",
        "beside",
        "changed",
        "count",
        "dropped",
        "fields",
        "flags",
        "fragments",
        "held",
        "ids",
        "marks",
        "masks",
        "odd",
        "ours",
        "path",
        "rows",
        "seconds",
        "stamped",
        "starts",
        "stops",
        "stream_id",
        "tags",
        "timelines",
    )

    def __init__(self, stream_id: str, rows: list[bytes], fields: dict[str, Values]) -> None:
        """Take the rows (each a JSON object without its last brace) and the declared columns."""
        self.stream_id = stream_id
        self.path = ""
        """The redacted path of the stream; the chain fills it in, and the three that follow."""
        self.asked: Collection[str] = ()
        """All columns that stages and routes may ask for."""
        self.beside: set[str] = set()
        """Columns that are not what rows say: what the stream's place tells, and what stages added."""
        self.ours: Collection[str] = OURS
        """All members that documents get from us, by dotted name."""
        self.marks: Collection[str] | None = None
        """Guards of decoders and stages that fired in the batch before redaction, see `stages/stage.py`; None: nobody knows, as rows
        that were made of text were not seen by any. The decoder fills it in."""
        self.changed: Collection[int] = ()
        """Rows that redaction or the decoder changed after the guards saw them."""
        self.rows = rows
        self.count = len(rows)
        self.fields = fields
        self.starts: Sequence[int] = ()
        """First byte of each row in the source; the decoder fills it in, `stops` (one past the last byte) too."""
        self.stops: Sequence[int] = ()
        self.ids: Sequence[bytes] | None = None
        """`_id` of each row where it is made of the content or given by a sender; None, or empty, where it is made of the origin."""
        self.tags: Sequence[str] | None = None
        """`shipper.tag` of each row, redacted; None where no row has one."""
        self.seconds: Sequence[int] = ()
        """Event time of each row in whole Unix seconds (UTC), fallbacks applied; filled before the first stage."""
        self.fragments: list[Sequence[bytes] | bytes] = []
        """One a row, or one for all."""
        self.dropped: dict[int, str] = {}
        self.held: dict[int, Held] = {}
        self.flags: dict[int, tuple[str, ...]] = {}
        self.masks: dict[str, list[bool]] = {}
        """What conditions said of the rows, see `config/condition.py`."""
        self.odd: set[int] = set()
        """Rows that have a member of ours themselves, or none at all: they are merged by value (`encode/document.py`)."""
        self.timelines: Sequence[tuple[Any, Sequence[int]]] = ()
        """What reads the times of which rows (`decode/timestamp.py`; None: the pipeline's own way), where a decoder has several."""
        self.stamped = False
        """Whether some rows may have an `@timestamp` of their own."""

    def column(self, name: str) -> Values:
        """The declared column `name`; dotted names reach into objects. Raises KeyError for an undeclared one (a bug)."""
        return self.fields[name]

    def assign(self, name: str, values: Values) -> None:
        """Make `values` the column `name`; it is kept, not copied."""
        assert len(values) == self.count
        self.fields[name] = values
        self.masks.clear()

    def rewrite(self, rows: list[bytes]) -> None:
        """Exchange the rows, one for one. The caller adds to `odd` those that now have a member of ours, or none at all.

        What guards said of the rows before holds no longer, unless the caller knows and sets `marks` again.
        """
        assert len(rows) == self.count
        self.rows, self.marks = rows, None

    def splice(self, fragments: Sequence[bytes] | bytes) -> None:
        """Append one fragment, or a piece of one, a row: a list of `count` items, which is kept, or one for all rows."""
        self.fragments.append(fragments)

    def is_splice(self, fragments: Sequence[bytes] | bytes) -> bool:
        """Whether there is a fragment for each row."""
        return isinstance(fragments, bytes) or len(fragments) == self.count

    def drop(self, row: int, reason: str) -> None:
        """Mark a row dropped, unless another stage did before."""
        if row not in self.held:
            self.dropped.setdefault(row, reason)

    def drop_where(self, mask: Iterable[object], reason: str) -> None:
        """Mark the rows dropped whose item in `mask` is true, unless another stage did before: many rows in one call."""
        self.drop_rows(compress(range(self.count), mask), reason)

    def drop_rows(self, rows: Iterable[int], reason: str) -> None:
        """Mark rows dropped, unless another stage did before."""
        dropped = dict.fromkeys(rows, reason)
        if self.dropped:
            dropped.update(self.dropped)
        for row in self.held:
            dropped.pop(row, None)
        self.dropped = dropped

    def flag(self, rows: Iterable[int], name: str) -> None:
        """Add a flag to the rows; `name:value` becomes the member `name` of `shipper`."""
        flags: dict[int, tuple[str, ...]] = dict.fromkeys(rows, (name,))
        for row in flags.keys() & self.flags.keys() if self.flags else ():
            flags[row] = (*self.flags[row], name)
        self.flags.update(flags)

    def hold(self, row: int, held: Held) -> None:
        """Mark a row held back: it is not shipped, and settles when the document that stands for it does."""
        assert row not in self.dropped
        assert row not in self.held
        self.held[row] = held


def reach(record: Mapping[str, object], name: str) -> object:
    """The value that a column `name` has for a record: that of the member `a.b`, or else of `b` in the object `a`."""
    own = record.get(name)
    if own is not None or "." not in name:
        return own
    outer, *path = name.split(".")
    return within(record.get(outer), path)


def within(value: object, path: Sequence[str]) -> object:
    """Reach into nested objects; None where the way ends."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def meet(one: str, other: str) -> bool:
    """Whether two dotted names are the same member, or one lies in the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
