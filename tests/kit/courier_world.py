"""A world for the courier: drives it under a virtual clock against the model Elasticsearch, and checks its laws at each step.

Laws: no row is settled twice; posts and their bytes keep to their bounds; a part holds whole documents; deadlines move on.
"""

from __future__ import annotations

import heapq
import json
from itertools import count

from shipper.deliver.courier import Courier
from shipper.deliver.traffic import (
    Accepted,
    BurialFailed,
    Buried,
    Bury,
    CourierSettings,
    Failed,
    Note,
    Post,
    Queued,
    Replied,
    Settle,
)
from shipper.model.payload import Payload
from tests.kit.fake_elastic import ModelElastic

FOREVER = 10_000


def payload(ticket, ids, *, index="logs", rows=None, durable=0, pad=0, **fields):
    """A payload with one document an id."""
    documents = [
        b'{"create":{"_index":"%s","_id":"%s"}}\n%s\n'
        % (index.encode(), key.encode(), json.dumps({"key": key, "pad": "x" * pad, **fields}).encode())
        for key in ids
    ]
    made = Payload(ticket, b"".join(documents), len(ids), rows, {index: len(ids)})
    made.durable = durable
    return made


class World:
    """Drives a courier under a virtual clock. `fates` say what becomes of each request, one each; then all is well."""

    def __init__(self, limits=None, model=None, fates=(), latency=0.01):
        self.settings = limits or CourierSettings()
        self.courier = Courier(self.settings, lambda: 0.999)
        self.model = model or ModelElastic()
        self.fates = list(fates)
        self.latency = latency
        self.now = 0.0
        self.events = []
        self.serial = count()
        self.settled = {}
        self.letters = []
        self.notes = []
        self.posts = []
        self.burials_fail = 0
        self.flying = {}

    def give(self, *payloads):
        """Queue payloads."""
        for one in payloads:
            self.act(self.courier.handle(Queued(one), self.now))

    def act(self, commands):
        """Carry out commands, checking the laws that hold at each."""
        for command in commands:
            match command:
                case Post():
                    self.flying[command.post_id] = command.size
                    self.posts.append((self.now, command))
                    assert sum(map(len, command.body_parts)) == command.size
                    assert b"".join(command.body_parts).count(b"\n") == 2 * command.documents
                    event = self.fate(command)
                    heapq.heappush(self.events, (self.now + self.latency, next(self.serial), event))
                case Bury():
                    self.letters_due(command)
                case Settle():
                    self.settle(command)
                case Note():
                    assert len(json.dumps(command.fields)) < 300
                    self.notes.append(command)
        assert self.courier.in_flight_bytes == sum(self.flying.values())
        assert len(self.flying) <= self.settings.posts_max
        assert len(self.flying) == 1 or sum(self.flying.values()) <= self.settings.in_flight_bytes_max

    def letters_due(self, command):
        """Write letters, or fail."""
        if self.burials_fail:
            self.burials_fail -= 1
            event = BurialFailed(command.burial_id, "full")
        else:
            self.letters += command.letters
            event = Buried(command.burial_id)
        heapq.heappush(self.events, (self.now + self.latency, next(self.serial), event))

    def settle(self, command):
        """No row twice."""
        rows = command.rows if command.rows is not None else [("all", command.ticket)]
        for row in rows:
            assert (command.ticket, row) not in self.settled
            self.settled[command.ticket, row] = (command.verdict, command.reason)

    def fate(self, post):
        """What the world answers to a post."""
        body = b"".join(post.body_parts)
        fate = self.fates.pop(0) if self.fates else "ok"
        if fate in ("connect", "timeout", "cut"):
            return Failed(post.post_id, fate)
        if isinstance(fate, tuple):
            return Replied(post.post_id, *fate)
        status, reply = self.model.bulk(body)
        match fate:
            case "cut_after":
                return Failed(post.post_id, "cut")
            case "half":
                return Replied(post.post_id, status, reply[: len(reply) // 2])
            case "html":
                return Replied(post.post_id, 200, b"<html>hello</html>")
            case "empty":
                return Replied(post.post_id, 200, b"")
            case "wrong_count":
                return Replied(
                    post.post_id,
                    200,
                    b'{"errors":false,"items":[' + b",".join([b'{"create":{"status":201}}'] * (post.documents + 1)) + b"]}",
                )
        return Replied(post.post_id, status, reply)

    def step(self):
        """Let the next thing happen. False: nothing will."""
        deadline = self.courier.deadline()
        if self.events and (deadline is None or self.events[0][0] <= deadline):
            self.now, _, event = heapq.heappop(self.events)
            if isinstance(event, Replied | Failed | Accepted):
                del self.flying[event.post_id]
            self.act(self.courier.handle(event, self.now))
        elif deadline is not None:
            assert deadline >= self.now
            self.now = deadline
            self.act(self.courier.expire(self.now))
            after = self.courier.deadline()
            assert after is None or after > self.now
        else:
            return False
        return True

    def run(self):
        """Until nothing happens any more."""
        for _ in range(FOREVER):
            if not self.step():
                return
        raise AssertionError("does not end")

    def ids(self, post):
        """Ids of the documents in a post."""
        return [json.loads(line)["create"]["_id"] for line in b"".join(post.body_parts).split(b"\n")[:-1:2]]

    def first_attempts(self):
        """Ids in the order of their first posts."""
        return list(dict.fromkeys(key for _, post in self.posts for key in self.ids(post)))
