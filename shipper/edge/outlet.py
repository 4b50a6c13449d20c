"""Outlet: carries out what the courier asks for: posts, burials, verdicts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from shipper.deliver import traffic
from shipper.edge.dead_letters import DeadLetters, FullError
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from shipper.deliver.courier import Courier
    from shipper.edge.output.output import Output


SETBACKS = frozenset(("retry", "refused", "rejected", "unknown_outcome", "split", "burial_failed"))
"""Notes of the courier after which something goes again."""


class Owner(Protocol):
    """Who wants the verdicts: the run of a pipeline."""

    def settled(self, settle: traffic.Settle) -> None:
        """Rows have their verdict."""
        ...

    def informed(self, note: traffic.Note) -> None:
        """Something for the log."""
        ...

    def broke(self, error: HostError) -> None:
        """The output cannot go on at all."""
        ...

    def wake(self) -> None:
        """Something happened: look again."""
        ...


class Outlet:
    """Runs one `Courier`.

    A post or a burial that ends in anything but an answer is a bug: it would never be answered, and its offset never move. It is
    kept in `bug`, for the owner to raise.
    """

    def __init__(self, courier: Courier, output: Output, letters: DeadLetters | None, owner: Owner) -> None:
        """`letters` is None for outputs that refuse nothing."""
        self.courier, self.output = courier, output
        self._letters, self._owner = letters, owner
        self.bug: BaseException | None = None
        self.answers: Counter[str] = Counter()
        """Posts by how they were answered: `2xx`, `5xx`, `accepted` (an output without HTTP), `timeout` and what else failed."""
        self.setbacks: Counter[str] = Counter()
        """What had to be sent or buried again, by the courier's word for it: `retry`, `rejected`, `unknown_outcome` ..."""
        self.failing_since: float | None = None
        """When the first request went that came to nothing, with all after it; None: it takes documents, or was not asked."""
        self._posted: dict[int, float] = {}
        """When each request went that is not answered."""
        self.burial_failure = ""
        """Why dead letters could not be written the last time; empty when they could."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._now: Callable[[], float] = asyncio.get_running_loop().time

    def handle(self, event: traffic.Event) -> None:
        """Hand an event to the courier and carry out what it asks for."""
        self._carry(self.courier.handle(event, self._now()))

    def expire(self) -> None:
        """Let the courier act on what is due."""
        deadline = self.courier.deadline()
        if deadline is not None and deadline <= self._now():
            self._carry(self.courier.expire(self._now()))

    def _carry(self, commands: Iterable[traffic.Command]) -> None:
        for command in commands:
            if isinstance(command, traffic.Settle):
                self._owner.settled(command)
            elif isinstance(command, traffic.Post):
                self._start(self._post(command))
            elif isinstance(command, traffic.Bury):
                self._start(self._bury(command))
            else:
                if command.kind in SETBACKS:
                    self.setbacks[command.kind] += 1
                self._owner.informed(command)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.bug = self.bug or task.exception()
            self._owner.wake()

    async def _post(self, post: traffic.Post) -> None:
        began = self._posted[post.post_id] = self._now()
        try:
            answer = await self.output.post(post)
            self.handle(answer)
            self._count(answer, began)
        except HostError as error:
            self._owner.broke(error)
        finally:
            del self._posted[post.post_id]
        self._owner.wake()

    @property
    def waiting_since(self) -> float | None:
        """When the oldest request went that is not answered."""
        return min(self._posted.values(), default=None)

    def _count(self, answer: traffic.Replied | traffic.Accepted | traffic.Failed, began: float) -> None:
        """Once a post: how it was answered, and since when the destination takes nothing."""
        if isinstance(answer, traffic.Replied):
            self.answers[f"{answer.status // 100}xx"] += 1
        else:
            self.answers[answer.kind if isinstance(answer, traffic.Failed) else "accepted"] += 1
        if not self.courier.is_failing:
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = began

    async def _bury(self, bury: traffic.Bury) -> None:
        assert self._letters is not None, "an output without dead letters refused a document"
        try:
            await self._letters.append(bury.letters)
        except FullError:
            self.burial_failure = "full"
        except HostError:
            self.burial_failure = "disk"
        else:
            self.burial_failure = ""
        if self.burial_failure:
            self.handle(traffic.BurialFailed(bury.burial_id, self.burial_failure))
        else:
            self.handle(traffic.Buried(bury.burial_id))
        self._owner.wake()

    async def close(self) -> None:
        """Wait for what is in flight to be cut short, and let the output go."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.output.close()
