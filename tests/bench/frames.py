"""What reading and framing cost, per record, for each frame on the same records, in turns on one core.

    python -m tests.bench.frames [--records 100000] [--rounds 9]

METHOD
- The records are the benchmark's (`workload.py`), wrapped as Docker and as containerd write them (times without trailing zeros,
  three of four on stdout, labels for one of the docker variants); `parts` variants have one record of a hundred in three parts,
  `traces` has a Python traceback after one record of two hundred.
- A round reads each file in windows of a quarter MiB through an intake, as a source does, all variants in turns. A variant's
  number is the median of its rounds, the ratio the median of the ratios to `lines` within a round. The time is this process' CPU.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from shipper.frame.cri import Cri
from shipper.frame.docker import Docker
from shipper.frame.frame import Frame
from shipper.frame.lines import Lines
from shipper.frame.multiline import Multiline
from shipper.intake import Intake
from tests.bench import workload
from tests.bench.processes import packaged_databases
from tests.kit.records import STREAM

SEED = 20260205
WINDOW = 1 << 18
PART_EVERY, TRACE_EVERY = 100, 200
TRACE = b"""Traceback (most recent call last):
  File "/srv/app/jobs.py", line 88, in run
    self.step(job)
  File "/srv/app/jobs.py", line 131, in step
    raise JobError(job.id)
app.errors.JobError: 4711
"""
Wrap = Callable[[bytes, str, str], list[bytes]]
"""From a record, its stream and its time to the lines of the file."""


def as_docker(**more: object) -> Wrap:
    """As Docker's json-file driver writes it."""

    def wrap(text: bytes, stream: str, stamp: str) -> list[bytes]:
        return [msgspec.json.encode({"log": text.decode() + "\n", "stream": stream, **more, "time": stamp})]

    return wrap


def as_docker_parts(text: bytes, stream: str, stamp: str) -> list[bytes]:
    """The same in three parts."""
    pieces = [text[:100].decode(), text[100:200].decode(), text[200:].decode() + "\n"]
    return [msgspec.json.encode({"log": piece, "stream": stream, "time": stamp}) for piece in pieces]


def as_cri(text: bytes, stream: str, stamp: str) -> list[bytes]:
    """As containerd writes it."""
    return [b"%b %b F %b" % (stamp.encode(), stream.encode(), text)]


def as_cri_parts(text: bytes, stream: str, stamp: str) -> list[bytes]:
    """The same in three parts."""
    head = b"%b %b " % (stamp.encode(), stream.encode())
    return [head + b"P " + text[:100], head + b"P " + text[100:200], head + b"F " + text[200:]]


def as_lines(text: bytes, _stream: str, _stamp: str) -> list[bytes]:
    """As it stands."""
    return [text]


def with_trace(text: bytes, _stream: str, _stamp: str) -> list[bytes]:
    """A logged exception."""
    return [b"2026-02-05 14:30:45,123 ERROR job failed", *TRACE.splitlines(), text]


def written(path: Path, records: list[bytes], common: Wrap, rare: Wrap | None = None, every: int = 1) -> Path:
    """A file of the records, wrapped; one of `every` in the rare way."""
    rng = random.Random(SEED)
    lines: list[bytes] = []
    for number, text in enumerate(records):
        stream = rng.choice(("stdout", "stdout", "stdout", "stderr"))
        stamp = f"2026-02-05T14:30:{number % 60:02}.{rng.randrange(10**9):09}".rstrip("0") + "Z"
        lines += (rare if rare and number % every == 0 else common)(text, stream, stamp)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def windows(path: Path, frame: Frame) -> Iterator[int]:
    """Read a file as a source does; the number of records of each window."""
    intake = Intake(STREAM, frame)
    at = 0
    with path.open("rb", buffering=0) as file:
        while True:
            file.seek(at)
            data = file.read(WINDOW)
            taken = intake.take(data, at, final=len(data) < WINDOW)
            yield taken.batch.count if taken.batch is not None else 0
            at = taken.read_from
            if len(data) < WINDOW:
                return


def variants(directory: Path, records: list[bytes]) -> dict[str, tuple[Path, Frame]]:
    """Name -> (file, frame); `lines` first."""
    lines = written(directory / "lines", records, as_lines)
    cri = written(directory / "cri", records, as_cri)
    text = written(directory / "text", [b"2026-02-05 14:30:45,123 INFO " + record for record in records], as_lines)
    return {
        "lines": (lines, Lines()),
        "docker": (written(directory / "docker", records, as_docker()), Docker()),
        "docker, labels": (
            written(directory / "labels", records, as_docker(attrs={"service": "api", "environment": "prod"})),
            Docker(),
        ),
        "docker, parts": (written(directory / "docker_parts", records, as_docker(), as_docker_parts, PART_EVERY), Docker()),
        "cri": (cri, Cri()),
        "cri, parts": (written(directory / "cri_parts", records, as_cri, as_cri_parts, PART_EVERY), Cri()),
        "multiline python": (lines, _multiline(pack="python")),
        "multiline all packs": (lines, _multiline(pack=list(_packs()))),
        "multiline traces": (
            written(directory / "traces", records, as_lines, with_trace, TRACE_EVERY),
            _multiline(pack="python"),
        ),
        "multiline on cri": (cri, _multiline(pack="python", inner="cri")),
        "multiline start": (text, _multiline(start=r"^\d{4}-\d{2}-\d{2}")),
        "multiline continue": (text, _multiline(**{"continue": r"^\s"})),
    }


def _packs() -> list[str]:
    from shipper.frame.multiline_packs import PACKS

    return list(PACKS)


def _multiline(**settings: Any) -> Frame:
    return Multiline(msgspec.convert(settings, Multiline.Config))


def measured(path: Path, frame: Frame) -> tuple[float, int]:
    """(CPU seconds, records) of one reading."""
    began = time.process_time()
    count = sum(windows(path, frame))
    return time.process_time() - began, count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    city = Path(packaged_databases().city)
    records = [line.rstrip(b"\n") for line in workload.records(SEED, options.records, city)]
    with tempfile.TemporaryDirectory() as directory:
        made = variants(Path(directory), records)
        us: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(options.rounds):
            for name, (path, frame) in made.items():
                seconds, count = measured(path, frame)
                us[name].append(seconds / count * 1e6)
    for name, found in us.items():
        ratio = statistics.median(one / lines for one, lines in zip(found, us["lines"], strict=True))
        print(f"{name:24} {statistics.median(found):6.3f} us a record  {ratio:6.2f} x lines")


if __name__ == "__main__":
    main()
