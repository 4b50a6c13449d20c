"""The processes of a benchmark: a measured command, the sink, the agent with its pipeline file."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]


class BenchError(Exception):
    """A part of the benchmark did not do its work, so that its numbers would mean nothing."""


class Cost(msgspec.Struct):
    """What a command cost."""

    cpu_s: float
    wall_s: float
    peak_rss_bytes: int
    exit_code: int
    output: str = ""
    """Its standard output."""


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end from the repository's root. Raises BenchError with its last words when it fails."""
    result, output, errors = (folder / name for name in ("cost.json", "stdout", "stderr"))
    with output.open("wb") as out, errors.open("wb") as err:
        measured = [sys.executable, "-S", str(Path(__file__).with_name("measure.py")), str(result), *command]
        # An installed agent has its bytecode; where the environment forbids writing it, every start would compile it anew.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run(measured, cwd=ROOT, stdout=out, stderr=err, check=True, env={**inherited, **(environment or {})})
    cost = msgspec.json.decode(result.read_bytes(), type=Cost)
    cost.output = output.read_text()
    if cost.exit_code:
        raise BenchError(f"{' '.join(command)} ended with {cost.exit_code}\n{errors.read_text()[-3000:]}")
    return cost


class Sink:
    """The running sink."""

    def __init__(self, port: int) -> None:
        """It listens on `port`."""
        self.url = f"http://127.0.0.1:{port}"
        self._port = port

    def reset(self) -> None:
        """Forget what came."""
        self._ask("POST", "/reset")

    def documents(self) -> int:
        """Documents since the last reset."""
        return int(self._ask("GET", "/count")["documents"])

    def _ask(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Content-Length": "0"})
            return json.loads(connection.getresponse().read())


@contextlib.contextmanager
def sink(core: int | None = None, store: Path | None = None) -> Iterator[Sink]:
    """A sink as long as the block lasts; it ends with its standard input."""
    command = [sys.executable, "-m", "tests.bench.sink"]
    command += ["--core", str(core)] if core is not None else []
    command += ["--store", str(store)] if store is not None else []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        yield Sink(int(process.stdout.readline().split()[1]))
        process.stdin.close()


class Databases(msgspec.Struct, frozen=True):
    """The mmdb files of the benchmark."""

    city: Path
    asn: Path


def packaged_databases() -> Databases:
    """MaxMind's test databases, as they lie in the package."""
    folder = ROOT / "shipper/data/geoip"
    return Databases(folder / "GeoLite2-City-Test.mmdb", folder / "GeoLite2-ASN-Test.mmdb")


PIPELINE = """\
name: bench
sources:
  - type: file
    include: [{file}]
    frame: {frame}
    decode: json
redact:
  packs: [secrets, pii]
  keys: [password, token, authorization]
stages:
  - geoip: {{field: client_ip, target: client, databases: [{city}, {asn}]}}
  - throttle: {{when: {{level: [ERROR, CRITICAL]}}, key: [service, logger], rate: 100/s, burst: 500}}
route:
  - {{when: {{level: [ERROR, CRITICAL]}}, index: analytics-errors, window: none}}
  - {{when: {{has: duration_ms}}, index: analytics-performance, window: none}}
  - {{index: analytics, window: none}}
output:
  type: elasticsearch
  hosts: ["{url}"]
  compression: {compression}
"""


class Agent:
    """`shipper run --once` on a file, each time from a fresh state."""

    def __init__(self, folder: Path, databases: Databases) -> None:
        """`folder` takes pipeline files, states and outputs."""
        self._folder = folder
        self._databases = databases
        self._runs = 0

    def ship(
        self, file: Path, to: Sink, compression: str = "none", *, steps: bool = False, frame: str = "lines"
    ) -> tuple[Cost, dict[str, Any]]:
        """Ship a file; return what it cost and the agent's own account. Raises BenchError when it fails."""
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        folder.mkdir(parents=True)
        pipeline = folder / "bench.yaml"
        city, asn = self._databases.city.resolve(), self._databases.asn.resolve()
        text = PIPELINE.format(file=file.resolve(), frame=frame, city=city, asn=asn, url=to.url, compression=compression)
        pipeline.write_text(text)
        # Compiled rules are kept where the agent's own state is: there they are warm; the progress of each run is its own.
        environment = {"SHIPPER_STATE": str(self._folder / "warm"), "SHIPPER_PROFILE_STEPS": "1" if steps else ""}
        command = [*agent_command(), "run", "--once", "--json", "--state", str(folder / "state"), str(pipeline)]
        cost = run(command, folder, environment)
        account = json.loads(cost.output.strip().splitlines()[-1]) if cost.output.strip() else {}
        return cost, account


def agent_command() -> list[str]:
    """The installed `shipper` of this Python."""
    script = Path(sys.executable).with_name("shipper")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from shipper.cli import main; main()"]
