"""The output `local` cannot be written to while files rotate, and later it can: each record is there once, in the order written.

The disk is full to the agent by a limit on the size of its files, which is set and lifted from outside (prlimit(2)).
"""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.site import UNPRIVILEGED, Document, Site, log_lines, wait_until
from tests.real.rotation_world import TO_FILES

PART = 1500
"""Records of one file."""
PARTS = 12
"""Together 36 MB, which is more than the output holds in memory (16 MiB): what comes last is unread when it is rotated away."""
PADDING = "x" * 2000
SMALL_FILES = [
    *(sys.executable, "-c"),
    "import os, resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (int(sys.argv[1]), -1)); os.execv(sys.argv[2], sys.argv[2:])",
]
"""Runs a command under such a limit from its beginning, which can be lifted."""


class Full:
    """A world with an agent whose output is made unwritable while a log rotates through `app.log.1`, `app.log.2`, ..."""

    def __init__(self, site: Site) -> None:
        """Nothing runs yet."""
        self.site, self.parts = site, 0
        self.agents: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, *before: str) -> None:
        """Start an agent."""
        prefix = self.site.folder / f"agent-{len(self.agents)}"
        words = ("run", "--json", "--state", self.site.state, self.site.pipeline)
        process = self.site.start(*words, before=(*before, "/bin/sh", "-c", TO_FILES, str(prefix)))
        self.agents.append((process, prefix))
        wait_until(lambda: "pipeline started" in self.told(), "the agent to start")

    def limit(self, size: int) -> None:
        """No file of the agent may grow beyond `size` bytes."""
        resource.prlimit(self.agents[-1][0].pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def told(self) -> str:
        """The last agent's log."""
        path = self.agents[-1][1].with_suffix(".log")
        return path.read_text() if path.exists() else ""

    def write_part(self) -> None:
        """Write the next file's worth of records."""
        first = self.parts * PART
        self.site.write({"n": n, "part": chr(ord("a") + self.parts), "padding": PADDING} for n in range(first, first + PART))
        self.parts += 1

    def rotate(self) -> None:
        """Rename each file to its next number, and write a new one."""
        names = sorted(self.site.logs.glob("app.log.*"), key=lambda path: -int(path.suffix[1:]))
        for path in names:
            path.rename(path.with_suffix(f".{int(path.suffix[1:]) + 1}"))
        (self.site.logs / "app.log").rename(self.site.logs / "app.log.1")
        self.write_part()

    def failures(self) -> list[Document]:
        """What the agent told of failed writes."""
        return [line for line in log_lines(self.told()) if line["message"] == "delivery: retry"]

    def size(self) -> int:
        """Bytes in the output."""
        return sum(path.stat().st_size for path in self.site.out.glob("*.ndjson"))

    def check_exact(self) -> None:
        """Everything is there once, each index in the order of writing, and the account has no loss."""
        wanted = self.parts * PART
        wait_until(
            lambda: sum(path.read_bytes().count(b"\n") for path in self.site.out.glob("*.ndjson")) == 2 * wanted, "the rest"
        )
        process, prefix = self.agents[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        account = json.loads(prefix.with_suffix(".out").read_text())
        assert account["unaccounted"] == account["in_flight"] == 0 and not account["lost_bytes"], account
        numbers = [document["n"] for _, _, document in self.site.documents()]
        assert numbers == list(range(wanted))
        rest = self.site.once().account
        assert (rest["read"], rest["lost_bytes"]) == (0, {})


@pytest.mark.parametrize("killed", [False, True])
def test_each_record_is_there_once_when_the_disk_was_full_while_files_rotated(site: Site, *, killed: bool) -> None:
    """Twelve files, eleven rotations while nothing can be written; with `killed`, the last ones while the agent is down."""
    world = Full(site)
    world.start()
    world.write_part()
    wait_until(lambda: world.size() > PART * len(PADDING), "the first file's records")
    full_at = world.size() + 1_000_000
    world.limit(full_at)
    for number in range(1, PARTS):
        world.rotate()
        if number == 3:
            wait_until(world.failures, "a failed write")
        if number == 6 and killed:
            world.agents[-1][0].kill()
            world.agents[-1][0].wait()
    if killed:
        world.start(*SMALL_FILES, str(full_at))
        wait_until(world.failures, "a failed write")
    assert world.size() <= full_at
    assert all(re.fullmatch("disk: (File too large|No space left on device)", line["error"]) for line in world.failures())
    world.limit(resource.RLIM_INFINITY)
    world.check_exact()


def test_each_record_is_there_once_when_the_directory_was_closed_while_files_rotated(site: Site) -> None:
    """No file can be made in the directory, and each file's records go into an index of their own."""
    site.configure(route=[{"index": "app-{part}", "window": "none"}])
    world = Full(site)
    world.start(*UNPRIVILEGED)
    world.write_part()
    wait_until(lambda: world.size() > PART * len(PADDING), "the first file's records")
    site.out.chmod(0o500)
    for number in range(1, PARTS):
        world.rotate()
        if number == 3:
            wait_until(world.failures, "a failed write")
    assert {line["error"] for line in world.failures()} == {"disk: Permission denied"}
    assert len(list(site.out.glob("*.ndjson"))) == 1
    site.out.chmod(0o700)
    world.check_exact()
