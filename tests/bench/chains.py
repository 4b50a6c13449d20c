"""What the full chain costs a record with each frame, on the same records: intake, gate with all packs, geoip, throttle, documents.
And what settings add to it: `ecs: on`, and `auto` of several formats.

    python -m tests.bench.chains [--records 100000]

The frames take turns, block by block of a round, in one process on one core; what is told is the median over rounds, and the ratio to
`lines`. Reading and posting are the same for all and left out: `whole.py` has them, and the goal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from operator import sub
from pathlib import Path

import orjson

from shipper import assembly
from shipper.config.find import find
from shipper.edge import log, memory
from shipper.encode.index import Horizon
from shipper.model.batch import Stream
from tests.bench import workload
from tests.bench.bench import SEED
from tests.bench.processes import PIPELINE, packaged_databases

ROUNDS, WINDOW = 5, 1 << 18


def docker(record: bytes) -> bytes:
    """As Docker's json-file driver writes a line."""
    return json.dumps({"log": record.decode() + "\n", "stream": "stdout", "time": "2026-02-05T14:30:45.123456789Z"}).encode()


def cri(record: bytes) -> bytes:
    """As a container runtime writes it."""
    return b"2026-02-05T14:30:45.123456789Z stdout F " + record


FRAMES: dict[str, Callable[[bytes], bytes]] = {"lines": bytes, "docker": docker, "cri": cri, "multiline": bytes}
SETTINGS = {
    "ecs: on": ("    decode: json", "    decode: json\necs: on"),
    "auto": ("    decode: json", "    decode: {auto: [json, syslog, klog]}"),
    "zone": ("    decode: json", "    decode: json\ntimestamp: {layouts: ['%Y-%m-%dT%H:%M:%S.%fZ'], zone: Europe/Berlin}"),
}
"""What is changed in the pipeline of `lines`: a text, and what it becomes."""


class Lane:
    """One frame, or one setting, with a chain of its own, and its bytes."""

    def __init__(self, name: str, records: list[bytes], folder: Path) -> None:
        frame = name if name in FRAMES else "lines"
        databases, pipeline = packaged_databases(), folder / f"{name.replace(': ', '-')}.yaml"
        wanted = "{multiline: python}" if frame == "multiline" else frame
        there = {"city": databases.city, "asn": databases.asn, "url": "http://127.0.0.1:1"}
        text = PIPELINE.format(file="/x", frame=wanted, compression="none", **there)
        pipeline.write_text(text.replace(*SETTINGS[name]) if name in SETTINGS else text)
        env = {**os.environ, "SHIPPER_STATE": str(folder)}
        parts = assembly.make_parts(
            assembly.read_pipeline(str(pipeline), env), assembly.Surroundings(env, "h", bytes(32)), Horizon(1.8e9)
        )
        self.chain = parts.chains[0]
        self.intake = parts.intakes[0](Stream("s" * 22, *parts.commons[0]("/x")[:1], "/x", 0.0))
        self.data = b"".join(FRAMES[frame](record) + b"\n" for record in records)
        self.records = len(records)
        self.window = getattr(find("frame", frame), "window_bytes", WINDOW)

    def run(self) -> float:
        """Microseconds of CPU a record."""
        began, at, rows = time.process_time(), 0, 0
        while at < len(self.data):
            window = self.data[at : at + self.window]
            taken = self.intake.take(window, at, final=at + self.window >= len(self.data))
            assert taken.batch is not None
            self.chain.run(taken.batch, 1, 0.0, 0.0)
            rows, at = rows + taken.batch.count, taken.next_offset
        assert rows == self.records
        return (time.process_time() - began) / rows * 1e6


def yardstick(records: list[bytes]) -> float:
    """Microseconds of CPU a record for `orjson.loads` and `dumps`."""
    began = time.process_time()
    for record in records:
        orjson.dumps(orjson.loads(record))
    return (time.process_time() - began) / len(records) * 1e6


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="the full chain by frame")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    log.configure("error")
    memory.tune()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    file = workload.written(options.directory, SEED, 500_000, packaged_databases().city)
    with file.open("rb") as lines:
        records = [line.rstrip(b"\n") for line in islice(lines, options.records)]
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as folder:
        lanes = {name: Lane(name, records, Path(folder)) for name in (*FRAMES, *SETTINGS)}
        spent: dict[str, list[float]] = {name: [] for name in lanes}
        yardsticks: list[float] = []
        for number in range(ROUNDS + 1):
            yardsticks.append(yardstick(records))
            for name, lane in lanes.items():
                us = lane.run()
                if number:  # the first round warms caches and compiles rules
                    spent[name].append(us)
    base = statistics.median(spent["lines"])
    for name in FRAMES:
        us = statistics.median(spent[name])
        print(f"chain in the process, {name:12} {us:6.2f} us a record  {us / base:5.2f} x lines")
    for name in SETTINGS:
        added = statistics.median(map(sub, spent[name], spent["lines"]))
        print(f"  {name:20} adds {added:6.2f} us a record  {added / statistics.median(yardsticks):5.2f} yardsticks")


if __name__ == "__main__":
    main()
