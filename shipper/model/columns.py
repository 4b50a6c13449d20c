"""Columns: what stages see of a batch. Lists as long as the batch, one value a row.

RULES
- Stages read `column(name)` for names they declared in `reads`; nothing else was decoded.
- Stages add fragments (`splice`) and mark rows dropped (`drop`, `hold`). A stage whose job it is to change records (`fields`)
  exchanges the rows by `rewrite`, one for one, and the columns it changed by `assign`; conditions are judged anew then.
- A fragment is bytes that begin with a comma and are appended inside the record's object: `,"client":{...}`, or b"" for
  nothing. It may be spliced in pieces, one after the other, so that rows can share the longer ones. Its key is declared in the stage's `adds`; a record that has that key already went through `decode` with its own
  value moved to `shipper.record.<key>`, so a splice never makes a duplicate key.
- A row may be dropped (or held) by one stage only: the first wins. Later stages still see it, and may skip it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Values = Sequence[object]
"""A column: strings, numbers, booleans, None (JSON null or absent), lists and dicts as decoded."""


class Held(Protocol):
    """A record of rows held back by a stage, which a generated document will stand for (see `stages/summary.py`)."""

    reason: str
    """What the rows are settled as dropped for, once the document is."""
    index: bytes | None
    """The index name of the first held row; the chain sets it once routing is done."""


class Columns:
    """One batch, decoded as far as the configuration asks."""

    __slots__ = (
        "count",
        "dropped",
        "fields",
        "flags",
        "fragments",
        "held",
        "ids",
        "masks",
        "odd",
        "rows",
        "seconds",
        "stamped",
        "starts",
        "stops",
        "stream_id",
        "tags",
    )

    def __init__(self, stream_id: str, rows: list[bytes], fields: dict[str, Values]) -> None:
        """Take the rows (each a JSON object without its last brace) and the declared columns."""
        self.stream_id = stream_id
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
        """Exchange the rows, one for one. The caller adds to `odd` those that now have a member of ours, or none at all."""
        assert len(rows) == self.count
        self.rows = rows

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

    def hold(self, row: int, held: Held) -> None:
        """Mark a row held back: it is not shipped, and settles when the document that stands for it does."""
        assert row not in self.dropped
        assert row not in self.held
        self.held[row] = held
