"""Pace: how many posts may be in flight, and when the next one may go.

THEORY
- The window of posts follows AIMD (Chiu and Jain, 1989): halved when the destination says it has too much, one more after
  each clean answer, up to `posts_max`.
- A failure of a whole request pauses everything for one back-off and begins a new epoch. Posts that were in flight meanwhile
  and fail as well belong to the same failure and do not lengthen it. After the pause one post at a time probes; a clean
  answer to one sent since ends the episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.deliver.traffic import CourierSettings


class Pace:
    """The pace of one output. Times are monotonic seconds."""

    def __init__(self, settings: CourierSettings, random: Callable[[], float]) -> None:
        """`random` returns floats in [0, 1)."""
        self._settings = settings
        self._random = random
        self._window = settings.posts_max
        self.epoch = 0
        """To be remembered with a post, and given back with what became of it."""
        self.failures = 0
        """Failures in a row, each of an epoch of its own."""
        self.resume_at = float("-inf")

    @property
    def posts_max(self) -> int:
        """Posts that may be in flight now."""
        return 1 if self.failures else self._window

    def wait_s(self, attempts: int) -> float:
        """Back-off after so many attempts before: full jitter."""
        settings = self._settings
        return self._random() * min(settings.retry_wait_s_max, settings.retry_wait_s_first * 2.0 ** min(attempts, 60))

    def fail(self, epoch: int, now: float, retry_after_s: float) -> float:
        """A post of this epoch failed as a whole. Returns the seconds until the next may go."""
        if epoch == self.epoch:
            self.resume_at = max(self.resume_at, now + self.wait_s(self.failures))
            self.epoch += 1
            self.failures += 1
            self._window = max(1, self._window // 2)
        if retry_after_s > 0:
            self.resume_at = max(self.resume_at, now + min(retry_after_s, self._settings.retry_after_s_max))
        return max(0.0, self.resume_at - now)

    def strain(self) -> None:
        """Some documents of a post were refused for overload."""
        self._window = max(1, self._window // 2)

    def recover(self, epoch: int) -> int:
        """A clean answer to a post of this epoch. Returns how many failures it ends."""
        if epoch != self.epoch:
            return 0
        ended, self.failures = self.failures, 0
        self._window = min(self._settings.posts_max, self._window + 1)
        return ended
