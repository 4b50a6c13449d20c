"""A real Filebeat: it sends to the `http` input as if to Elasticsearch, and what it read is taken over from its registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.site import Document, Site, shipper, wait_until
from tests.real.node import free_port

pytest_plugins = ("tests.real.clients.toolchains",)
pytestmark = [pytest.mark.real, pytest.mark.parametrize("client", ["filebeat"])]


class Beat:
    """A Filebeat on the site's logs, `*.log` with its input `filestream`, `*.txt` with its older `log`; and what was written."""

    def __init__(self, site: Site) -> None:
        """Nothing runs yet."""
        self.site, self.count = site, 0
        self.data = site.folder / "filebeat-data"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, port: int) -> None:
        """Have it send to a port of this machine."""
        from tests.real.clients import toolchains  # it is a plugin: pytest wants to import it first

        found = {"enabled": True, "close_inactive": "10m"}
        inputs = [
            {
                "type": "filestream",
                "id": "app",
                "paths": [f"{self.site.logs}/*.log"],
                "prospector.scanner.check_interval": "1s",
                **found,
            },
            {"type": "log", "paths": [f"{self.site.logs}/*.txt"], "scan_frequency": "1s", **found},
        ]
        output = {"hosts": [f"http://127.0.0.1:{port}"], "compression_level": 3, "backoff": {"init": "200ms", "max": "1s"}}
        config = self.site.folder / "filebeat.yml"
        config.write_text(
            json.dumps(
                {
                    "filebeat.inputs": inputs,
                    "processors": [{"add_id": {}}],
                    "output.elasticsearch": output,
                    "setup.ilm.enabled": False,
                    "setup.template.enabled": False,
                    "path.data": str(self.data),
                    "path.logs": str(self.site.folder / "filebeat-logs"),
                }
            )
        )
        command = [*toolchains.ready(toolchains.PROGRAMS["filebeat"]), "-c", str(config), "--strict.perms=false"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it in good order, so that its registry is whole."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(60) == 0

    def close(self) -> None:
        """Kill it, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def write(self, name: str, count: int) -> None:
        """Append numbered records."""
        self.site.write(({"n": number} for number in range(self.count, self.count + count)), name)
        self.count += count

    def rotate(self) -> None:
        """Rename `app.log` and what it was before."""
        for number in (2, 1, 0):
            older = self.site.logs / (f"app.log.{number}" if number else "app.log")
            if older.exists():
                older.rename(self.site.logs / f"app.log.{number + 1}")


@pytest.fixture
def beat(site: Site) -> Iterator[Beat]:
    """A Filebeat that is ended with the test."""
    made = Beat(site)
    yield made
    made.close()


class Gate:
    """An agent with the input `http`, which may be killed."""

    def __init__(self, site: Site) -> None:
        """It does not run yet."""
        self.site, self.port = site, free_port()
        self.log = site.folder / "gate.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.site.configure(sources=[{"type": "http", "listen": f"127.0.0.1:{self.port}"}])
        words = ("run", "--state", self.site.state, self.site.pipeline)
        self.process = self.site.start(*words, before=("/bin/sh", "-c", 'exec "$@" >/dev/null 2>"$0"', str(self.log)))
        wait_until(lambda: self.log.exists() and "pipeline started" in self.log.read_text(), "the agent to listen")

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.log.unlink()

    def documents(self) -> list[tuple[int, str]]:
        """(number, _id) of what arrived."""
        return [(json.loads(body["message"])["n"], identity) for _, identity, body in whole(self.site.out)]


def whole(out: Path) -> Iterator[tuple[str, str, Document]]:
    """(index, _id, document) of all that is in `out`, but for what is being written."""
    for path in out.glob("*.ndjson"):
        lines = path.read_bytes().split(b"\n")[:-1]
        for action, document in zip(lines[::2], lines[1::2], strict=False):
            target: dict[str, Any] = json.loads(action)["create"]
            yield target["_index"], target["_id"], json.loads(document)


def test_filebeat_is_understood_and_its_registry_is_taken_over(site: Site, beat: Beat, client: str) -> None:
    """Each line it sends is there with one _id, over rotations and a kill of ours; what it has not read is shipped by us, once."""
    assert client == "filebeat"
    gate = Gate(site)
    gate.start()
    beat.write("app.log", 3000)
    beat.write("old.txt", 2000)
    beat.start(gate.port)
    wait_until(lambda: len(gate.documents()) >= 1, "the first document")
    gate.kill()
    beat.write("old.txt", 500)
    gate.start()
    wait_until(lambda: len(set(gate.documents())) >= beat.count, "what was written")
    beat.rotate()
    beat.write("app.log", 1000)
    wait_until(lambda: len(set(gate.documents())) >= beat.count, "what was written after a rotation")
    beat.stop()
    assert sorted(number for number, _ in set(gate.documents())) == list(range(beat.count))

    gate.kill()
    known = beat.count
    beat.write("app.log", 300)
    beat.rotate()
    beat.write("app.log", 200)
    beat.write("old.txt", 100)
    globs = [f"{site.logs}/*.log", f"{site.logs}/*.txt"]
    output = {"type": "local", "directory": str(site.folder / "taken")}
    site.configure(name="taken", sources=[{"type": "file", "include": globs}], output=output)
    told = shipper("state", "import", "--state", site.state, site.pipeline, beat.data)
    assert (told.code, told.out.splitlines()[-1]) == (0, "filebeat: 3 imported; written")
    assert site.once().code == 0
    assert sorted(body["n"] for _, _, body in whole(site.folder / "taken")) == list(range(known, beat.count))
