"""Payload: documents ready to be sent, in the form of an Elasticsearch `_bulk` body.

Layout: two lines a document, the action `{"create":{"_index":"…","_id":"…"}}` and the document, each ended by a newline and
neither containing one (Elasticsearch reference, "Bulk API"). A subset (retry, bisection, dead letter) is a slice between
cut points, which are found only when one is needed: on the way that everything goes they cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Payload:
    """Documents of one batch (or generated ones), and whom to settle when they have their verdicts."""

    __slots__ = ("_cuts", "body", "count", "durable", "indices", "rows", "ticket")

    def __init__(self, ticket: int, body: bytes, count: int, rows: Sequence[int] | None, indices: Mapping[str, int]) -> None:
        """`rows[i]` is the batch's row that document i stands for; None means row i."""
        self.ticket = ticket
        """The ledger's ticket of the batch; generated documents have one of their own."""
        self.body = body
        self.count = count
        self.rows = rows
        self.indices = indices
        """Documents by index name."""
        self.durable = 0
        """Generation of the checkpoint that must be on disk before this may be sent (new streams, new index names)."""
        self._cuts: list[int] | None = None

    def cuts(self) -> list[int]:
        """Positions in `body`: document i is body[cuts[i]:cuts[i + 1]], action line included. `count + 1` items."""
        if self._cuts is None:
            cuts, at, find = [0], -1, self.body.find
            for _ in range(self.count):
                at = find(b"\n", find(b"\n", at + 1) + 1)
                cuts.append(at + 1)
            assert cuts[-1] == len(self.body)
            self._cuts = cuts
        return self._cuts

    def document(self, number: int) -> tuple[bytes, bytes]:
        """Return (action line, document line) of document `number`, without their newlines."""
        cuts = self.cuts()
        action, document, _ = self.body[cuts[number] : cuts[number + 1]].split(b"\n")
        return action, document
