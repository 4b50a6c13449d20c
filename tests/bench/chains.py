"""What the full chain costs a record with each frame, on the same records: intake, gate with all packs, geoip, throttle, documents.

    python -m tests.bench.chains [--records 100000]

The frames take turns, block by block of a round, in one process on one core; what is told is the median over rounds, and the ratio to
`lines`. Reading and posting are the same for all and left out.
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
from pathlib import Path

from shipper import assembly
from shipper.config.find import find
from shipper.edge import log, memory
from shipper.encode.index import Horizon
from shipper.model.batch import Stream
from tests.bench import workload
from tests.bench.bench import SEED
from tests.bench.processes import PIPELINE, packaged_databases

ROUNDS, WINDOW = 5, 1 << 18
GOAL = 1.3


def docker(record: bytes) -> bytes:
    """As Docker's json-file driver writes a line."""
    return json.dumps({"log": record.decode() + "\n", "stream": "stdout", "time": "2026-02-05T14:30:45.123456789Z"}).encode()


def cri(record: bytes) -> bytes:
    """As a container runtime writes it."""
    return b"2026-02-05T14:30:45.123456789Z stdout F " + record


FRAMES: dict[str, Callable[[bytes], bytes]] = {"lines": bytes, "docker": docker, "cri": cri, "multiline": bytes}


class Lane:
    """One frame with a chain of its own, and its bytes."""

    def __init__(self, frame: str, records: list[bytes], folder: Path) -> None:
        databases, pipeline = packaged_databases(), folder / f"{frame}.yaml"
        text = PIPELINE.format(file="/x", city=databases.city, asn=databases.asn, url="http://127.0.0.1:1", compression="none")
        wanted = "{multiline: python}" if frame == "multiline" else frame
        pipeline.write_text(text.replace("    decode: json", f"    frame: {wanted}\n    decode: json"))
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
        lanes = {frame: Lane(frame, records, Path(folder)) for frame in FRAMES}
        spent: dict[str, list[float]] = {frame: [] for frame in FRAMES}
        for number in range(ROUNDS + 1):
            for frame, lane in lanes.items():
                us = lane.run()
                if number:  # the first round warms caches and compiles rules
                    spent[frame].append(us)
    base = statistics.median(spent["lines"])
    for frame, found in spent.items():
        ratio = statistics.median(found) / base
        goal = "" if frame == "lines" else f"{'ok  ' if ratio <= GOAL else 'OVER'} goal <= {GOAL}"
        print(f"full chain, {frame:12} {statistics.median(found):6.2f} us a record  {ratio:5.2f} x lines   {goal}".rstrip())


if __name__ == "__main__":
    main()
