"""Resends: what a former run may have sent without a verdict. While that is unsettled, what index names depend on must not move.

RULES
- A run that ended in good order with everything settled leaves nothing; its last checkpoint says so.
- After any other end a stream may have been sent up to the size its file has when it is taken up again: files are only appended
  to. It is past that when it is settled so far, or when nobody can give its bytes any more.

THEORY
An id says where a record stands, not in which index. A record that is sent again with another reference of the window may go to
another index than before, where its id is new: it would be visible twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shipper.progress.checkpoint import Checkpoint


class Resends:
    """The streams of a former run that are not past what it may have sent."""

    def __init__(self, stream_ids: Iterable[str]) -> None:
        """Take the streams of which more may have been sent than the checkpoint knows of."""
        self._sizes: dict[str, int | None] = dict.fromkeys(stream_ids)

    @classmethod
    def after(cls, before: Checkpoint | None) -> Resends:
        """What the run that wrote this checkpoint may have left. `quiet` in its horizon says that it ended in good order."""
        if before is None or before.horizon.get("quiet", False):
            return cls(())
        return cls(state["id"] for states in before.sources for state in states)

    @property
    def pending(self) -> bool:
        """Whether there is such a stream, as of the last `settle`."""
        return bool(self._sizes)

    def began(self, stream_id: str, size_bytes: int) -> None:
        """A stream was taken up; its file has this size."""
        if stream_id in self._sizes and self._sizes[stream_id] is None:
            self._sizes[stream_id] = size_bytes

    def settle(self, offsets: Mapping[str, int], alive: Collection[str]) -> None:
        """Drop the streams that are past it. `offsets` are the settled ones, `alive` the streams that are not read to their end."""
        for stream_id, size in list(self._sizes.items()):
            if stream_id not in alive or (size is not None and offsets.get(stream_id, 0) >= size):
                del self._sizes[stream_id]
