"""What the whole agent costs a record with each frame, on the same records: from the file to a sink that answers real items.

    python -m tests.bench.whole [--records 200000] [--rounds 5]

Agents run one after the other, pinned to one core, the sink on another; start-up, measured on one record, is taken off. What is told is
the median over rounds, and the ratio to `lines` of the same round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from itertools import islice
from pathlib import Path

from tests.bench import workload
from tests.bench.bench import SEED
from tests.bench.chains import FRAMES
from tests.bench.processes import Agent, packaged_databases, sink

MEASURED = ("lines", "docker", "cri")
GOAL = 1.3


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="the whole agent by frame")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    databases = packaged_databases()
    file = workload.written(options.directory, SEED, 500_000, databases.city)
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as folder, sink(cores[-1] if len(cores) > 1 else None) as to:
        if cores:
            os.sched_setaffinity(0, {cores[0]})
        agent = Agent(Path(folder), databases)
        files = {}
        with file.open("rb") as records:
            lines = [line.rstrip(b"\n") for line in islice(records, options.records)]
        for frame in MEASURED:
            files[frame] = Path(folder, f"{frame}.log")
            files[frame].write_bytes(b"".join(FRAMES[frame](line) + b"\n" for line in lines))
            Path(folder, f"{frame}-one.log").write_bytes(FRAMES[frame](lines[0]) + b"\n")
        spent: dict[str, list[float]] = {frame: [] for frame in MEASURED}
        for number in range(options.rounds + 1):
            for frame in MEASURED:
                start = agent.ship(Path(folder, f"{frame}-one.log"), to, frame=frame)[0].cpu_s
                us = (agent.ship(files[frame], to, frame=frame)[0].cpu_s - start) / options.records * 1e6
                if number:  # the first round compiles the rules
                    spent[frame].append(us)
    for frame, found in spent.items():
        ratio = statistics.median(us / base for us, base in zip(found, spent["lines"], strict=True))
        goal = "" if frame == "lines" else f"{'ok  ' if ratio <= GOAL else 'OVER'} goal <= {GOAL}"
        print(f"whole agent, {frame:8} {statistics.median(found):6.2f} us a record  {ratio:5.2f} x lines   {goal}".rstrip())


if __name__ == "__main__":
    main()
