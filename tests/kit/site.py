"""A site: one test's log folder, state directory, pipeline and outputs, and the command line as a user calls it.

RULES
- `shipper(...)` runs the command in this process, with its own standard streams; `Site.start` runs it as a process of its own,
  for tests that kill it, measure it or need other rights. Started processes are ended by their own handle, at the latest by `close`.
- Waiting polls for a condition and gives up after WAIT_S, which no healthy run comes near.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from shipper.cli import cli

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0
LOOK_S = 0.02
UNPRIVILEGED = [
    *(sys.executable, "-c"),
    "import ctypes, os, sys; [ctypes.CDLL(None).prctl(24, number) for number in (1, 2)]; os.execv(sys.argv[1], sys.argv[1:])",
]
"""Runs a command without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (prctl(2), PR_CAPBSET_DROP): modes then count for root too."""
Document = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def account(self) -> dict[str, Any]:
        """What `run --json` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the agent's own log; lines of other texts and half lines are passed over."""
        return list(log_lines(self.err))

    def messages(self) -> list[str]:
        """The messages of its log."""
        return [line["message"] for line in self.log]


def log_lines(text: str) -> Iterator[dict[str, Any]]:
    """The JSON lines of a text."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def shipper(*words: object, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Told:
    """Run the command line in this process, with more in its environment. An exception that it does not handle is raised here."""
    texts = [str(word) for word in words]
    result = CliRunner().invoke(cli, texts, input=stdin, env=env, catch_exceptions=False, prog_name="shipper")
    return Told(result.exit_code, result.stdout, result.stderr)


class Site:
    """See the module."""

    def __init__(self, folder: Path, cache: Path) -> None:
        """`cache` keeps the compiled rules of all tests."""
        self.folder, self.cache = folder, cache
        self.logs, self.state, self.out = folder / "logs", folder / "state", folder / "out"
        self.pipeline = folder / "pipeline.yaml"
        self._started: list[subprocess.Popen[bytes]] = []
        self.logs.mkdir()
        self.configure()

    def configure(self, **sections: Any) -> Path:
        """Write the pipeline file: one file source into `out`, unless sections say otherwise. JSON is YAML."""
        plain = {
            "name": "app",
            "sources": [{"type": "file", "include": [f"{self.logs}/*.log"]}],
            "route": [{"index": "app", "window": "none"}],
            "output": {"type": "local", "directory": str(self.out)},
        }
        self.pipeline.write_text(json.dumps({**plain, **sections}, indent=1))
        return self.pipeline

    def write(self, data: bytes | Iterable[Document], name: str = "app.log") -> Path:
        """Append bytes, or records as lines, to a log file."""
        path = self.logs / name
        with path.open("ab") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                file.writelines(json.dumps(record).encode() + b"\n" for record in data)
        return path

    def words(self, *options: object) -> list[str]:
        """The words of `run --once --json` for this site."""
        return [*map(str, ("run", "--once", "--json", "--state", self.state, *options, self.pipeline))]

    def once(self, *options: object) -> Told:
        """Ship what is there, in this process."""
        return shipper(*self.words(*options))

    def text(self, *options: object) -> Told:
        """The same with the account as text."""
        return shipper("run", "--once", "--state", self.state, *options, self.pipeline)

    def start(self, *words: object, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Start `shipper` with these words as a process; `before` is put before the command."""
        command = [*before, sys.executable, "-m", "shipper", *map(str, words)]
        variables = {**os.environ, "SHIPPER_STATE": str(self.cache), **environment}
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._started.append(process)
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> Told:
        """Wait until a process ends."""
        out, err = process.communicate(timeout=WAIT_S)
        return Told(process.returncode, out.decode(), err.decode(errors="replace"))

    def documents(self) -> list[tuple[str, str, Document]]:
        """(index, _id, document) of all that is in `out`."""
        return [pair for path in sorted(self.out.glob("*.ndjson")) for pair in bulk_documents(path.read_bytes())]

    def bodies(self) -> list[Document]:
        """The documents alone, in the order of their place in the source."""
        return sorted((document for _, _, document in self.documents()), key=lambda document: document["log"]["offset"])

    def dead_letters(self) -> list[Document]:
        """All letters on disk."""
        files = sorted(self.state.glob("**/dead-letters/*.ndjson"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def bulk_documents(body: bytes) -> Iterator[tuple[str, str, Document]]:
    """(index, _id, document) of a bulk body; a document with a key twice is an AssertionError."""
    lines = body.split(b"\n")
    assert lines.pop() == b"", "the last line has no end"
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        target = json.loads(action)["create"]
        yield target["_index"], target["_id"], json.loads(document, object_pairs_hook=_each_once)


def check_whole(told: Told, records: int) -> None:
    """Everything was read and settled, nothing lost or refused, and the command was content."""
    account = told.account
    assert told.code == 0, told.err[-2000:]
    assert account["read"] == records
    assert account["unaccounted"] == account["in_flight"] == 0
    assert account["created"] + account["duplicate"] + sum(account["dropped"].values()) == records
    assert not account["lost_bytes"] and not account["dead"]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs), "a key stands there twice"
    return found


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll until `condition` holds."""
    give_up_at = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up_at, f"waited {WAIT_S:.0f} s for {what}"
        time.sleep(LOOK_S)
