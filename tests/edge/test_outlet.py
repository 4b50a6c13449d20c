"""The outlet: posts, burials and verdicts around a courier; nothing that happens to a post is swallowed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from shipper.deliver import traffic
from shipper.deliver.courier import Courier
from shipper.edge.dead_letters import FullError
from shipper.edge.outlet import Outlet
from shipper.model import verdicts
from shipper.model.errors import HostError
from shipper.model.payload import Payload

SETTINGS = traffic.CourierSettings(retry_wait_s_first=0.001, retry_wait_s_max=0.002)
REFUSED = b'{"errors":true,"items":[{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed"}}}]}'


class Output:
    """Answers posts with what a function says."""

    def __init__(self, answer: Callable[[traffic.Post], Any]) -> None:
        self.answer = answer
        self.posts: list[traffic.Post] = []
        self.closed = 0

    async def post(self, post: traffic.Post) -> Any:
        self.posts.append(post)
        found = self.answer(post)
        return await found if isinstance(found, Coroutine) else found

    async def close(self) -> None:
        self.closed += 1


class Letters:
    """Dead letters that fail as often as they are told to."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.kept: list[traffic.Letter] = []

    async def append(self, letters: Sequence[traffic.Letter]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.kept += letters


class Owner:
    """Notes verdicts and failures."""

    def __init__(self) -> None:
        self.verdicts: Counter[int] = Counter()
        self.notes: list[str] = []
        self.broken: list[HostError] = []
        self.woken = asyncio.Event()

    def settled(self, settle: traffic.Settle) -> None:
        self.verdicts[settle.verdict] += 1 if settle.rows is None else len(settle.rows)

    def informed(self, note: traffic.Note) -> None:
        self.notes.append(note.kind)

    def broke(self, error: HostError) -> None:
        self.broken.append(error)

    def wake(self) -> None:
        self.woken.set()


def payload(durable: int = 0) -> Payload:
    """One document."""
    made = Payload(1, b'{"create":{"_index":"app","_id":"s-0-9"}}\n{"a":1}\n', 1, None, Counter({"app": 1}))
    made.durable = durable
    return made


async def run(
    output: Output, letters: Letters | None = None, until: Callable[[Outlet, Owner], bool] = lambda _, owner: bool(owner.verdicts)
) -> tuple[Outlet, Owner]:
    """Queue one document and carry on until a condition holds."""
    owner = Owner()
    outlet = Outlet(Courier(SETTINGS, lambda: 0.5), output, letters, owner)  # type: ignore[arg-type]
    outlet.handle(traffic.Queued(payload()))
    while not until(outlet, owner):
        owner.woken.clear()
        deadline = outlet.courier.deadline()
        wait = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait_for(owner.woken.wait(), wait)
        except TimeoutError:
            outlet.expire()
    return outlet, owner


def test_document_is_settled_when_its_post_is_answered() -> None:
    """One post, one verdict."""
    output = Output(lambda post: traffic.Accepted(post.post_id))
    _, owner = asyncio.run(run(output))
    assert (owner.verdicts, len(output.posts)) == (Counter({verdicts.CREATED: 1}), 1)


def test_post_is_sent_again_when_it_failed() -> None:
    """After the wait of the courier, which `expire` ends."""
    answers = [lambda post: traffic.Failed(post.post_id, "connect"), lambda post: traffic.Accepted(post.post_id)]
    output = Output(lambda post: answers.pop(0)(post))
    _, owner = asyncio.run(run(output))
    assert (owner.verdicts, len(output.posts), owner.notes) == (Counter({verdicts.CREATED: 1}), 2, ["retry", "recovered"])


def test_what_became_of_posts_is_counted_and_a_failure_dated_by_its_first_post() -> None:
    """For metrics and health: answers by class, what went again and why, and since when nothing is taken."""
    answers = [lambda post: traffic.Failed(post.post_id, "connect"), lambda post: traffic.Replied(post.post_id, 503, b""),
               lambda post: traffic.Replied(post.post_id, 429, b"")]  # fmt: skip
    output = Output(lambda post: answers.pop(0)(post))
    outlet, owner = asyncio.run(run(output, until=lambda _, owner: len(owner.notes) == 3))
    assert outlet.answers == {"connect": 1, "5xx": 1, "4xx": 1} and outlet.setbacks == Counter(owner.notes)
    assert outlet.failing_since is not None and outlet.waiting_since is None
    first = outlet.failing_since
    answers[:] = [lambda post: traffic.Failed(post.post_id, "connect"), lambda post: traffic.Accepted(post.post_id)]
    outlet, owner = asyncio.run(run(output))
    assert outlet.failing_since is None and outlet.answers == {"connect": 1, "accepted": 1} and first > 0


def test_a_post_that_is_not_answered_is_seen_to_wait() -> None:
    """Since it went, not since it failed."""

    async def scene() -> None:
        output = Output(lambda _: asyncio.sleep(3600.0))
        outlet = Outlet(Courier(SETTINGS, lambda: 0.5), output, None, Owner())  # type: ignore[arg-type]
        outlet.handle(traffic.Queued(payload()))
        while not output.posts:
            await asyncio.sleep(0)
        since = outlet.waiting_since
        assert since is not None and since <= asyncio.get_running_loop().time() and outlet.failing_since is None
        await outlet.close()
        assert outlet.waiting_since is None

    asyncio.run(scene())


def test_dead_letters_that_cannot_be_written_are_told_until_they_can() -> None:
    """By `full` or `disk`."""
    letters = Letters(FullError(), HostError("no"))
    output = Output(lambda post: traffic.Replied(post.post_id, 200, REFUSED))
    seen: list[str] = []

    def over(outlet: Outlet, owner: Owner) -> bool:
        seen.append(outlet.burial_failure)
        return bool(owner.verdicts)

    asyncio.run(run(output, letters, over))
    assert list(dict.fromkeys(filter(None, seen))) == ["full", "disk"] and seen[-1] == ""


@pytest.mark.parametrize("errors", [[], [FullError()], [HostError("no"), FullError()]])
def test_refused_document_is_settled_when_its_letter_is_on_disk_and_not_before(errors: list[Exception]) -> None:
    """Dead letters that are full or cannot be written are tried again; the verdict waits for them."""
    letters = Letters(*errors)
    output = Output(lambda post: traffic.Replied(post.post_id, 200, REFUSED))
    _, owner = asyncio.run(run(output, letters))
    assert owner.verdicts == Counter({verdicts.DEAD: 1})
    assert [letter.error_type for letter in letters.kept] == ["mapper_parsing_exception"]
    assert owner.notes.count("burial_failed") == len(errors)


def test_owner_is_told_when_the_output_cannot_go_on() -> None:
    """A HostError of the output is not a bug: the pipeline ends with its text."""

    def refuse(_: traffic.Post) -> None:
        raise HostError("the disk is gone")

    outlet, owner = asyncio.run(run(Output(refuse), until=lambda _, owner: bool(owner.broken)))
    assert [str(error) for error in owner.broken] == ["the disk is gone"]
    assert outlet.bug is None and not owner.verdicts


def test_bug_of_an_output_is_not_swallowed() -> None:
    """An exception nobody expected would leave a post without an answer for ever: it is kept for the owner, who is woken."""

    def fail(_: traffic.Post) -> None:
        raise ZeroDivisionError

    outlet, owner = asyncio.run(run(Output(fail), until=lambda outlet, _: outlet.bug is not None))
    assert isinstance(outlet.bug, ZeroDivisionError) and owner.woken.is_set()


def test_document_waits_for_the_checkpoint_it_depends_on() -> None:
    """A payload that names a later checkpoint is not posted before that one is durable."""

    async def scene() -> None:
        output, owner = Output(lambda post: traffic.Accepted(post.post_id)), Owner()
        outlet = Outlet(Courier(SETTINGS, lambda: 0.5), output, None, owner)  # type: ignore[arg-type]
        outlet.handle(traffic.Queued(payload(durable=2)))
        outlet.handle(traffic.Durable(1))
        await asyncio.sleep(0.01)
        assert output.posts == []
        outlet.handle(traffic.Durable(2))
        await owner.woken.wait()
        assert owner.verdicts == Counter({verdicts.CREATED: 1})

    asyncio.run(scene())


def test_close_cuts_short_what_is_in_flight_and_lets_the_output_go() -> None:
    """A post without an answer gets none any more; its rows keep no verdict, and stay at their source."""

    async def scene() -> None:
        output = Output(lambda _: asyncio.sleep(3600))
        owner = Owner()
        outlet = Outlet(Courier(SETTINGS, lambda: 0.5), output, None, owner)  # type: ignore[arg-type]
        outlet.handle(traffic.Queued(payload()))
        await asyncio.sleep(0)
        assert len(output.posts) == 1
        await outlet.close()
        assert output.closed == 1 and not owner.verdicts and outlet.bug is None
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scene())
