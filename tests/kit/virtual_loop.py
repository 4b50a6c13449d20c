"""An event loop whose time is virtual: where everybody waits, the clock jumps to the next timer. Hours pass in milliseconds.

RULES
- Nothing in it may use threads or sockets: what comes from outside has no place in virtual time.
- `wakeups` counts the rounds of the loop, so that a test can tell a loop that spins.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jumping(selectors.DefaultSelector):
    """Where the loop would sleep, moves its clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        self.loop.wakeups += 1
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.loop.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        """Start at second 1000."""
        self.now = 1000.0
        self.wakeups = 0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds."""
        return self.now


def run(scene: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scene)
