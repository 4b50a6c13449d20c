"""A world for tests of the whole agent: log files in a folder, the agent as a process of its own, a real server behind it.

RULES
- The agent is run as a user runs it, `python -m shipper run ...`; nothing of it is imported here.
- Every process that is started is ended by its own handle, at the latest by `close`.
- Waiting polls for a condition and gives up after WAIT_S, which no healthy run comes near; a failure shows the agent's last words.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.real.node import Client

ROOT = Path(__file__).parents[2]
GEOIP = ROOT / "shipper/data/geoip"
WAIT_S = 120.0
Account = dict[str, Any]
Document = dict[str, Any]

PIPELINE = """\
name: {prefix}
max_record: {max_record}
sources:
  - type: file
    include: ["{logs}/*.log"]
    decode: json
redact:
  packs: [secrets, pii]
  keys: [password, token, authorization]
stages:
  - geoip: {{field: client_ip, target: client, databases: [{geoip}/GeoLite2-City-Test.mmdb, {geoip}/GeoLite2-ASN-Test.mmdb]}}
route:
  - {{when: {{level: [ERROR, CRITICAL]}}, index: {prefix}-errors, window: none}}
  - {{when: {{has: duration_ms}}, index: {prefix}-performance, window: none}}
  - {{index: {prefix}, window: none}}
output: {output}
"""


class Ended(msgspec.Struct):
    """An agent that ended."""

    code: int
    account: Account
    """What `--json` printed; empty where it printed nothing of the kind."""
    text: str
    """Standard output."""
    log: str
    """Its own log, JSON lines."""

    def messages(self) -> Counter[str]:
        """How often each message stands in its log."""
        return Counter(line["message"] for line in log_lines(self.log))


def log_lines(text: str) -> Iterator[dict[str, Any]]:
    """The lines of the agent's log that are whole; a killed agent may leave half a line."""
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


class Running:
    """An agent that runs until it is told to stop, or killed."""

    def __init__(self, command: list[str], environment: dict[str, str], output: Path) -> None:
        """Start it; standard output and log go to files beside `output`."""
        self.expected_to_run = True
        """Nobody has told it to end yet."""
        self._out, self._log = output.with_suffix(".out"), output.with_suffix(".log")
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """AssertionError if it ended although nobody told it to."""
        assert self.alive or not self.expected_to_run, f"the agent ended with {self.process.returncode}\n{self.log()[-3000:]}"

    def kill(self) -> None:
        """End it with SIGKILL. AssertionError if it had ended by itself."""
        self.check()
        self.expected_to_run = False
        self.process.kill()
        assert self.process.wait(WAIT_S) == -signal.SIGKILL

    def stop(self) -> Ended:
        """Ask it to end with SIGTERM, and wait until it did."""
        self.check()
        self.process.terminate()
        return self.wait()

    def wait(self) -> Ended:
        """Wait until it ends."""
        self.expected_to_run = False
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the agent did not end within {WAIT_S:.0f} s\n{self.log()[-3000:]}") from None
        text = self._out.read_text()
        last = text.splitlines()[-1] if text else ""
        return Ended(code, json.loads(last) if last.startswith('{"') else {}, text, self.log())


class World:
    """One test's log folder, state directory, pipeline and index names."""

    def __init__(self, node: Client, prefix: str, folder: Path, cache: Path) -> None:
        """`prefix` is that of all its indices; `cache` keeps the compiled rules of all tests."""
        self.node, self.prefix, self.folder = node, prefix, folder
        self.logs, self.state, self.pipeline = folder / "logs", folder / "state", folder / "pipeline.yaml"
        self._cache = cache
        self._agents: list[Running] = []
        self.logs.mkdir()
        self.configure()

    def configure(self, url: str = "", *, max_record: str = "1MiB", **output: Any) -> None:
        """Write the pipeline file. `output` are further settings of the output; `url` is the node's own if left out."""
        settings = {"type": "elasticsearch", "hosts": [url or self.node.url], **output}
        text = PIPELINE.format(
            prefix=self.prefix, logs=self.logs, geoip=GEOIP, output=json.dumps(settings), max_record=max_record
        )
        self.pipeline.write_text(text)

    def write(self, records: Iterable[Document | bytes], name: str = "app.log") -> Path:
        """Append records to a log file."""
        path = self.logs / name
        with path.open("ab") as file:
            file.writelines(record if isinstance(record, bytes) else json.dumps(record).encode() + b"\n" for record in records)
        return path

    def command(self, *words: str, **environment: str) -> Running:
        """Start `shipper` with these words."""
        call = [sys.executable, "-m", "shipper", *words]
        output = self.folder / f"agent-{len(self._agents)}"
        agent = Running(call, {**os.environ, "SHIPPER_STATE": str(self._cache), **environment}, output)
        self._agents.append(agent)
        return agent

    def start(self) -> Running:
        """Start the agent; it runs until it is stopped."""
        return self.command("run", "--json", "--state", str(self.state), str(self.pipeline))

    def once(self, code: int = 0, *options: str) -> Ended:
        """Ship what is there with `run --once`; it must end with `code`."""
        ended = self.command("run", "--once", "--json", "--state", str(self.state), *options, str(self.pipeline)).wait()
        assert ended.code == code, f"exit code {ended.code}, expected {code}\n{ended.account}\n{ended.log[-3000:]}"
        return ended

    def documents(self) -> list[tuple[str, str, Document]]:
        """All (index, _id, document) that a search sees."""
        return list(self.node.documents(f"{self.prefix}*"))

    def count(self) -> int:
        """How many documents a search sees."""
        return self.node.count(f"{self.prefix}*")

    def counts(self) -> dict[str, int]:
        """Documents by index."""
        return {index: self.node.count(index) for index in self.node.indices(f"{self.prefix}*")}

    def dead_letters(self) -> list[dict[str, Any]]:
        """All letters on disk, as they stand in their files."""
        files = sorted(self.state.glob("**/dead-letters/*.ndjson"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Poll until `condition` holds. AssertionError when it takes too long, or an agent ends meanwhile."""
        give_up_at = time.monotonic() + WAIT_S
        while not condition():
            for agent in self._agents:
                agent.check()
            if time.monotonic() > give_up_at:
                words = self._agents[-1].log()[-3000:] if self._agents else ""
                raise AssertionError(f"waited {WAIT_S:.0f} s for {what}\n{words}")
            time.sleep(0.05)

    def wait_for_ids(self, written: int) -> None:
        """Wait until there are `written` documents; then, or when it takes too long, check their ids one by one."""
        try:
            self.wait_until(lambda: self.count() >= written, f"{written} documents")
        finally:
            check_ids(self.documents(), written)

    def close(self) -> None:
        """Kill agents that still run."""
        for agent in self._agents:
            if agent.alive:
                agent.process.kill()
                agent.process.wait()


def check_ids(documents: Iterable[tuple[str, str, Document]], written: int) -> None:
    """Of the records with ids 1 ... `written` each is there exactly once, and nothing else is."""
    seen = Counter(document["n"] for _, _, document in documents)
    missing = sorted(set(range(1, written + 1)) - seen.keys())
    twice = sorted(number for number, count in seen.items() if count > 1)
    foreign = sorted(seen.keys() - set(range(1, written + 1)))
    summary = (
        f"{len(missing)} missing {ranges(missing)}, {len(twice)} twice {ranges(twice)}, {len(foreign)} foreign {foreign[:9]}"
    )
    assert not (missing or twice or foreign), f"of {written}: {summary}"


def ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers as (first, last), the first few."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs[:9]


class _Handler(logging.handlers.RotatingFileHandler):
    rotations = 0

    def doRollover(self) -> None:
        super().doRollover()
        self.rotations += 1


class Writer:
    """A program that logs numbered records through the standard library's RotatingFileHandler, in a thread of its own."""

    BACKUPS = 200
    """Enough for no test to rotate a file away: what vanishes before its delivery is certain would be lost."""

    def __init__(self, path: Path, *, per_s: int, rotate_bytes: int) -> None:
        """Begin to write `per_s` records of some 180 bytes a second, in small bursts; rotate before `rotate_bytes`."""
        self.written = 0
        """Records that are in the file, `n` from 1 to this."""
        self._per_s = per_s
        self._stopping = threading.Event()
        self._handler = _Handler(path, maxBytes=rotate_bytes, backupCount=self.BACKUPS, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def rotations(self) -> int:
        """Rotations so far."""
        return self._handler.rotations

    def stop(self) -> int:
        """Write no more. Returns the number of records."""
        self._stopping.set()
        self._thread.join()
        self._handler.close()
        return self.written

    def _run(self) -> None:
        burst = max(1, self._per_s // 50)
        while not self._stopping.wait(0.02):
            for _ in range(burst):
                self._handler.emit(self._record(self.written + 1))
                self.written += 1

    def _record(self, number: int) -> logging.LogRecord:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        level = "ERROR" if number % 17 == 0 else "INFO"
        text = (
            f'{{"timestamp":"{stamp}","level":"{level}","service":"writer","n":{number},"client_ip":"81.2.69.{number % 256}",'
            f'"message":"step {number} done for user{number}@example.com","padding":"{"x" * (number % 60)}"}}'
        )
        return logging.LogRecord("writer", logging.INFO, "", 0, text, None, None)
