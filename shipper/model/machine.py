"""Machine: whatever remembers. Synchronous, no I/O, time as an argument; one driver runs it, one simulator in tests.

CONTRACT
- `handle(event, now)` takes what happened, and returns commands for the driver to carry out, in order. It never blocks and
  never raises for anything the outside world can do: bad news are events.
- `deadline()` says when `expire` wants to be called next (monotonic seconds, as `now`), or None.
- `expire(now)` acts on what is due. Calling it early returns no commands. After it, `deadline()` is later than `now`, or None.
- Events are past tense (`Replied`), commands imperative (`Post`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Event_contra = TypeVar("Event_contra", contravariant=True)
Command_co = TypeVar("Command_co", covariant=True)


class Machine(Protocol[Event_contra, Command_co]):
    """The protocol every machine follows."""

    def handle(self, event: Event_contra, now: float) -> Sequence[Command_co]:
        """Take an event, return the commands it causes."""
        ...

    def deadline(self) -> float | None:
        """When `expire` is due next."""
        ...

    def expire(self, now: float) -> Sequence[Command_co]:
        """Act on what is due at `now`."""
        ...
