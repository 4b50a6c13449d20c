"""A world for tests of rotation by real programs: a writer, a rotator, and an agent that may be killed, each a process of its own.

RULES
- What was written is known from the writer's own list, never from the agent. Records are compared one by one.
- Every process that is started is ended by its own handle, at the latest by `close`; the rotator is a thread, and what fails in it
  fails the test.
- Waiting polls for a condition. For documents it gives up when none came for QUIET_S, which is longer than the agent ever waits.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.kit.fake_elastic import Server
from tests.kit.site import ROOT, WAIT_S, Document, Site, log_lines, wait_until
from tests.real.world import ranges
from tests.real.writers.numbering import record

WRITERS = Path(__file__).parent / "writers"
QUIET_S = 20.0
LOOK_S = 0.1
IN_FLIGHT = "16KB"
"""So little that an output that takes nothing has reading stop at once."""
TO_FILES = 'exec "$@" >"$0.out" 2>"$0.log"'
"""For a shell: run the rest, with its streams in files, as a pipe that nobody reads would hold it up."""
Account = dict[str, Any]


class Writer:
    """A program of `tests/real/writers` that writes."""

    def __init__(self, module: str, path: Path, ids: Path, *words: object) -> None:
        """Start it."""
        self.path, self.ids, self.count_file = path, ids, ids.with_suffix(".count")
        command = [sys.executable, "-m", f"tests.real.writers.{module}", str(path), str(ids), *map(str, words)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
        wait_until(self._has_begun, "the writer to begin")

    def _has_begun(self) -> bool:
        assert self.process.poll() is None, "the writer ended"
        return self.ids.exists() and self.ids.stat().st_size > 0

    @property
    def count(self) -> int:
        """How often it opened its file again, or rotated it."""
        return int(self.count_file.read_text())

    def pause(self) -> None:
        """Stop its process at whatever it does, and wait until it stands."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the writer to stand")

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def written(self) -> list[int]:
        """The numbers of all that it has written."""
        return [int(line) for line in self.ids.read_bytes().splitlines()]

    def stop(self) -> list[int]:
        """End it. Returns what it has written."""
        self.go_on()
        self.process.terminate()
        assert self.process.wait(WAIT_S) == 0
        return self.written()

    def close(self) -> None:
        """Kill it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Rotator:
    """Rotates again and again, with random pauses, in a thread of its own."""

    def __init__(self, rotate: Callable[[int], None], rng: random.Random, pauses_s: tuple[float, float]) -> None:
        """`rotate` is called with 1, 2, ...; the pauses are between these seconds."""
        self.rotations = 0
        self.failure: BaseException | None = None
        self._rotate, self._rng, self._pauses_s = rotate, random.Random(rng.random()), pauses_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rotator", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._rng.uniform(*self._pauses_s)):
                self._rotate(self.rotations + 1)
                self.rotations += 1
        except BaseException as error:  # told to the test by `wait_for` and `stop`
            self.failure = error

    def wait_for(self, rotations: int) -> None:
        """Wait until that many were done since the beginning."""
        wait_until(lambda: self.failure is not None or self.rotations >= rotations, f"{rotations} rotations")
        self._check()

    def stop(self) -> int:
        """Rotate no more. Returns how often it did."""
        self._stopping.set()
        self._thread.join()
        self._check()
        return self.rotations

    def _check(self) -> None:
        if self.failure is not None:
            raise AssertionError("rotating failed") from self.failure


class RotationWorld:
    """One test's writer, agent and output. With `server` the output is that, else a local directory."""

    def __init__(self, site: Site, server: Server | None = None) -> None:
        """Nothing runs yet."""
        self.site, self.server = site, server
        self.kills = 0
        self._agents: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._writers: list[Writer] = []
        self.configure("*.log")

    def configure(self, *include: str, **settings: object) -> None:
        """Have the agent follow these globs, relative to the folder of logs, with further settings of the source."""
        source = {"type": "file", "include": [str(self.site.logs / glob) for glob in include], **settings}
        if self.server is None:
            self.site.configure(sources=[source])
        else:
            output = {"type": "elasticsearch", "hosts": [self.server.url], "in_flight": IN_FLIGHT}
            self.site.configure(sources=[source], output=output)

    # --- Processes

    def begin(self, module: str, *words: object, name: str = "app.log") -> Writer:
        """Start the agent and then a writer, and wait until something was delivered.

        In this order, as nobody looks for what was rotated away before the very first start.
        """
        self.start()
        wait_until(lambda: self.check_running() and "pipeline started" in self.told(), "the agent to start")
        ids = self.site.folder / f"writer-{len(self._writers)}.ids"
        self._writers.append(Writer(module, self.site.logs / name, ids, *words))
        wait_until(lambda: self.check_running() and self.arrived() > 0, "the first document")
        return self._writers[-1]

    def start(self) -> None:
        """Start the agent."""
        prefix = self.site.folder / f"agent-{len(self._agents)}"
        prefix.with_suffix(".log").touch()
        words = ("run", "--json", "--state", self.site.state, self.site.pipeline)
        process = self.site.start(*words, before=("/bin/sh", "-c", TO_FILES, str(prefix)))
        self._agents.append((process, prefix))

    def check_running(self) -> bool:
        """AssertionError if the agent ended by itself."""
        assert self._agents[-1][0].poll() is None, self.told()[-3000:]
        return True

    def kill(self) -> None:
        """SIGKILL."""
        self.check_running()
        self._agents[-1][0].kill()
        assert self._agents[-1][0].wait(WAIT_S) == -signal.SIGKILL
        self.kills += 1

    def kill_over_rotations(self, rng: random.Random, rotated: Callable[[], int], times: int) -> None:
        """Kill and start the agent at random moments; each time at least two rotations happen while it is down."""
        for number in range(times):
            if number and rng.random() < 0.5:
                before = self.size()
                wait_until(lambda: self.check_running() and self.size() != before, "output")  # noqa: B023
            time.sleep(rng.uniform(0.0, 0.7))
            self.kill()
            wanted = rotated() + rng.randint(2, 3)
            wait_until(lambda: rotated() >= wanted, "rotations while the agent is down")  # noqa: B023
            self.start()

    def stop(self) -> Account:
        """End the agent with SIGTERM. Returns its account."""
        self.check_running()
        process, prefix = self._agents[-1]
        process.terminate()
        assert process.wait(WAIT_S) == 0, self.told()[-3000:]
        account: Account = json.loads(prefix.with_suffix(".out").read_text())
        assert account["unaccounted"] == account["in_flight"] == 0 and not account["dead"], account
        return account

    def told(self) -> str:
        """The logs of all agents."""
        return "".join(prefix.with_suffix(".log").read_text(errors="replace") for _, prefix in self._agents)

    def losses(self) -> list[tuple[str, int]]:
        """(cause, bytes) of all losses in the logs of all agents."""
        return [(line["cause"], line["bytes"]) for line in log_lines(self.told()) if line["message"] == "bytes lost"]

    def alarms(self) -> list[Document]:
        """What the agents logged that is more than information, but for what a blocked output gives rise to."""
        lines = log_lines(self.told())
        return [line for line in lines if line["log.level"] != "info" and not line["message"].startswith("delivery: ")]

    def close(self) -> None:
        """Kill what still runs; the site does it with agents."""
        for writer in self._writers:
            writer.close()

    # --- What arrived

    def size(self) -> int:
        """A number that changes when something is delivered."""
        if self.server is not None:
            return len(self.server.model.documents)
        return sum(path.stat().st_size for path in self.site.out.glob("*.ndjson"))

    def arrived(self) -> int:
        """How many documents are in the output."""
        if self.server is not None:
            return len(self.server.model.documents)
        return sum(path.read_bytes().count(b"\n") for path in self.site.out.glob("*.ndjson")) // 2

    def documents(self) -> list[tuple[str, Document]]:
        """(_id, document) of all in the output."""
        if self.server is not None:
            return [(identity, document) for (_, identity), document in self.server.model.documents.items()]
        return [(identity, document) for _, identity, document in self.site.documents()]

    def wait_for_documents(self, wanted: int) -> None:
        """Wait until so many arrived, or none came for QUIET_S; which ones is to be compared then."""
        last, since = -1, time.monotonic()
        while (now := self.arrived()) < wanted and time.monotonic() < since + QUIET_S:
            self.check_running()
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(LOOK_S)

    def numbers(self) -> Counter[int]:
        """How often each record arrived, by its own number. AssertionError for an _id that is there twice."""
        documents = self.documents()
        twice = [identity for identity, count in Counter(identity for identity, _ in documents).items() if count > 1]
        assert not twice, f"{len(twice)} ids twice: {twice[:5]}"
        return Counter(document["n"] for _, document in documents if "n" in document)

    def check_exact(self, written: list[int]) -> None:
        """Each record that was written arrived once, and nothing else did; no loss was told of; a further run finds nothing to do."""
        self.wait_for_documents(len(written))
        account = self.stop()
        seen, wanted = self.numbers(), set(written)
        missing, foreign = sorted(wanted - seen.keys()), sorted(seen.keys() - wanted)
        twice = sorted(number for number, count in seen.items() if count > 1)
        on_disk = numbers_on_disk(self.site.logs)
        summary = (
            f"of {len(written)}: {len(missing)} missing {ranges(missing)}, of which {len(on_disk.intersection(missing))} are on disk; "
            f"{len(twice)} twice {ranges(twice)}; {len(foreign)} foreign; losses told {self.losses()}, {self.kills} kills"
        )
        assert not (missing or twice or foreign), summary
        assert len(self.documents()) == len(written), "documents that are no record"
        assert not account["lost_bytes"] and not self.losses(), summary
        assert not self.alarms(), self.alarms()
        rest = self.site.once().account
        assert (rest["read"], rest["lost_bytes"]) == (0, {}), rest


def numbers_on_disk(folder: Path) -> set[int]:
    """The numbers of all whole records in the files of a folder and below it."""
    return {number for path in sorted(folder.rglob("*")) if path.is_file() for number in numbers_in(path)}


def numbers_in(path: Path) -> Iterator[int]:
    """The numbers of the whole records of a file, compressed or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.splitlines(keepends=True):
        found = re.fullmatch(rb'\{.*"n": (\d+),.*\}\n', line)
        if found:
            yield int(found[1])


def bytes_of(numbers: Iterable[int]) -> int:
    """How many bytes the lines of these records took."""
    return sum(len(record(number)) + 1 for number in numbers)


def unblock(server: Server) -> None:
    """Answer as usual again, and let go of requests that were not answered."""
    server.script.clear()
    server.released.set()
