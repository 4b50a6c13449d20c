"""What a demo program logs, and when: records of Shadower's shape, secrets in known shares, one burst of errors.

RULES
- Every record has an `id` of its own, `<service>-<run>-<number>`, near its beginning.
- Times are the clock's. Two of three have `duration_ms`, 6 % are ERROR or CRITICAL, 2 % are metrics.
- Of those that are neither metric nor error 8 % carry one secret: 3 % an e-mail address, 1.5 % a card number, 1.5 % a password
  key, 1 % a GitHub token, 1 % a bearer token; some stand right behind a line break or tab, which JSON writes as `\\n`, `\\t`.
- Halfway through BURST errors of one kind come at once: more than a throttle of 100/s and burst 500 lets pass.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipper.demo import secrets

if TYPE_CHECKING:
    import contextlib

BURST = 2_000
"""Errors in the burst: a throttle of 100/s and burst 500 holds back at least 700, even where two periods meet in it."""
TICK_S = 0.01
ADDRESSES = (
    *("81.2.69.142", "81.2.69.160", "2.125.160.216", "89.160.20.112", "175.16.199.5", "216.160.83.56", "202.196.224.7"),
    *("67.43.156.3", "214.78.3.9", "10.20.30.40", "192.168.17.4", "93.184.216.34"),
)
"""Most resolve in MaxMind's free test databases."""
MESSAGES = (
    "Workflow executed successfully",
    "Request finished: GET /api/v1/reports?page=2&size=50",
    "Cache entry expired and was rebuilt",
    "Order accepted <queue=fast>",
    "Rechnung f\u00fcr Stadtwerke W\u00fclfrath erstellt",
    'Client said "later"',
)
ERROR_TYPES = ("TimeoutError", "ConnectionError", "ValueError", "KeyError")
LEVELS = {"DEBUG": 0.10, "INFO": 0.72, "WARNING": 0.12, "ERROR": 0.05, "CRITICAL": 0.01}
METRICS = 0.02
LONG_WORDS = ("rows", "read", "written", "skipped", "retried", "shard", "step", "lease", "worker", "batch")


@dataclass(frozen=True)
class Event:
    """One thing to log."""

    level: str
    message: str
    fields: dict[str, Any]
    kind: str = "-"
    """What secret was planted."""
    secret: str = "-"
    """The secret itself."""


@dataclass
class Scenario:
    """A program's records, made at the pace asked for."""

    service: str
    seconds: float
    rate: float
    long_share: float = 0.0
    """Part of the records that carry a text of 20 to 60 kB."""
    rng: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    stopping: bool = False
    """Set it to end early."""

    def __post_init__(self) -> None:
        self._run = f"{self.rng.getrandbits(32):08x}"
        self._made = 0

    def events(self) -> Iterator[Event]:
        """Yield what is to be logged now; sleeps in between. Rate and seconds decide the count, never the machine's speed."""
        began, paced, burst = self.clock(), 0, 0
        total = round(self.seconds * self.rate)
        while not self.stopping and paced < total:
            elapsed = self.clock() - began
            for _ in range(min(total, int(elapsed * self.rate)) - paced):
                paced += 1
                yield self._event()
            if not burst and paced >= total / 2:
                burst = BURST
                for _ in range(BURST):
                    yield self._error("ConnectionError", "Database connection refused, giving up")
            self.sleep(TICK_S)

    def _event(self) -> Event:
        drawn = self.rng.random()
        if drawn < METRICS:
            metric = {"type": "metric", "metric": "queue_depth", "value": self.rng.randrange(200)}
            return Event("INFO", "Queue depth sampled", {**self._identity(), **metric})
        level = self.rng.choices(list(LEVELS), list(LEVELS.values()))[0]
        if level in ("ERROR", "CRITICAL"):
            return self._error(self.rng.choice(ERROR_TYPES), "Step failed, see error_type", level)
        return self._ordinary(level)

    def _ordinary(self, level: str) -> Event:
        message, fields = self.rng.choice(MESSAGES), self._context()
        if self.rng.random() < self.long_share:
            fields["payload"] = " ".join(self.rng.choices(LONG_WORDS, k=self.rng.randrange(4_000, 10_000)))
            fields["payload_chars"] = len(fields["payload"])
        kind, secret = self._planted()
        gap = self.rng.choice((" ", " ", " ", "\n", "\t"))
        if kind == "password":
            fields.update(self.rng.choice(({"password": secret}, {"form": {"user": "demo", "password": secret}})))
        elif kind == "bearer":
            message += f"{gap}Authorization: Bearer {secret}"
        elif kind != "-":
            message += f" with{gap}{secret}"
        return Event(level, message, fields, kind, secret)

    def _planted(self) -> tuple[str, str]:
        """(kind, secret) for the next record; mostly none."""
        drawn, rng = self.rng.random(), self.rng
        if drawn < 0.03:
            return "email", secrets.email(rng)
        if drawn < 0.045:
            return "card", secrets.card(rng)
        if drawn < 0.06:
            return "password", secrets.word(rng, 14)
        if drawn < 0.07:
            return "github-token", secrets.github_token(rng)
        if drawn < 0.08:
            return "bearer", secrets.word(rng, 40)
        return "-", "-"

    def _error(self, error_type: str, message: str, level: str = "ERROR") -> Event:
        return Event(level, message, {**self._context(), "error_type": error_type})

    def _context(self) -> dict[str, Any]:
        bits = self.rng.getrandbits
        context: dict[str, Any] = {
            **self._identity(),
            "request_id": f"req_{bits(64):016x}",
            "user_id": f"u-{bits(16)}",
            "workspace_id": f"ws-{bits(8)}",
            "trace_id": f"{bits(128):032x}",
            "span_id": f"{bits(64):016x}",
            "client_ip": self.rng.choice(ADDRESSES),
        }
        if self.rng.random() < 2 / 3:
            context["duration_ms"] = round(self.rng.random() ** 3 * 900, 1)
        return context

    def _identity(self) -> dict[str, Any]:
        self._made += 1
        return {
            "id": f"{self.service}-{self._run}-{self._made:06d}",
            "service": self.service,
            "environment": "demo",
            "version": "1.4.2",
        }


class IdList:
    """The program's own account of what it logged: lines of id, level, kind and secret, with tabs between, and a last `end N`.

    It is written as it goes, and on disk (fsync) when `close` returns; without its last line it is not complete.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="ascii")
        self._count = 0

    def add(self, event: Event) -> None:
        """Note what was logged just now."""
        self._count += 1
        self._file.write(f"{event.fields['id']}\t{event.level}\t{event.kind}\t{event.secret}\n")

    def close(self) -> None:
        """Write the last line and wait for the disk."""
        self._file.write(f"end\t{self._count}\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


Log = Callable[[Event], None]
"""Logs one event."""


def perform(service: str, opened: Callable[[Path], contextlib.AbstractContextManager[Log]], long_share: float = 0.0) -> None:
    """The body of every program: read its arguments, log as the scenario says, keep the id list, end in order on a signal.

    `opened` opens the program's log in a directory, and closes it.
    """
    parser = argparse.ArgumentParser(description=f"log as {service}, for the demo of shipper")
    parser.add_argument("directory", type=Path, help="takes the log")
    parser.add_argument("ids", type=Path, help="the id list")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1500.0, help="records per second")
    parser.add_argument("--seed", type=int, help="the same records again, but for their times")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    options.ids.parent.mkdir(parents=True, exist_ok=True)
    scenario = Scenario(service, options.seconds, options.rate, long_share, random.Random(options.seed))

    def stop(*_: object) -> None:
        scenario.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    written = IdList(options.ids)
    with opened(options.directory) as log:
        for event in scenario.events():
            log(event)
            written.add(event)
    written.close()
