"""Ablation: the chain with everything, and then without each stage, in yardsticks a record.

    python -m tests.bench.ablation [--records 60000] [--rounds 5]

All lanes are pipelines with all packs over the same records, with the stages below, less one. They and the yardstick take turns in one
process on one core; what is told is the median of the rounds. Reading and posting are left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from shipper.edge import log, memory
from tests.bench import workload
from tests.bench.bench import SEED
from tests.bench.processes import packaged_databases
from tests.bench.stages import ASN, CITY, ERRORS, Lane, yardstick

STAGES: list[dict[str, Any]] = [
    {"geoip": {"field": "client_ip", "databases": [CITY, ASN]}},
    {"user_agent": {"field": "logger"}},
    {"filter": {"drop": {"method": "DELETE", "level": ["DEBUG"]}, "reason": "noise"}},
    {"dedupe": {"key": ["trace_id", "message"], "window": "10s"}},
    {"throttle": {"when": ERRORS, "key": ["service", "logger"], "rate": "100/s", "burst": 500}},
    {"sample": {"rate": 2, "key": ["trace_id"], "protect": ERRORS}},
    {"fields": [{"set": {"team": "shop"}}, {"remove": ["method"]}]},
    {"metadata": {"static": {"cluster.name": "eu-1"}, "host": ["os"]}},
]
"""One of each, in the order in which one would write them. No record of the workload has a user agent; `logger` stands for one."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="the chain with everything, and without each stage")
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    log.configure("error")
    memory.tune()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    file = workload.written(options.directory, SEED, 500_000, packaged_databases().city)
    with file.open("rb") as records:
        lines = list(islice(records, options.records))
    data = b"".join(lines)
    wanted = {"everything": STAGES, "no stage": []}
    for number, stage in enumerate(STAGES):
        wanted[f"without {next(iter(stage))}"] = STAGES[:number] + STAGES[number + 1 :]
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as folder:
        lanes = {name: Lane(stages, Path(folder), packs=["secrets", "pii"]) for name, stages in wanted.items()}
        spent: dict[str, list[float]] = {name: [] for name in lanes}
        yardsticks = []
        for number in range(options.rounds + 1):
            for name, lane in lanes.items():
                us = lane.run(data)
                if number:  # the first round warms caches and compiles rules
                    spent[name].append(us["whole"] + us["redact"])
            yardsticks.append(yardstick(lines))
    yard, full = statistics.median(yardsticks), statistics.median(spent["everything"])
    print(f"yardstick {yard:.2f} us")
    for name, found in spent.items():
        us = statistics.median(found)
        saved = f"{(full - us) / yard:+6.2f} for it" if name.startswith("without") else ""
        print(f"{name:24}{us:7.2f} us a record {us / yard:6.2f} yardsticks  {saved}".rstrip())


if __name__ == "__main__":
    main()
