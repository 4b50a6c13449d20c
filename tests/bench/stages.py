"""What each stage costs a record: by itself on decoded columns, and with what it asks of the other steps.

    python -m tests.bench.stages [--records 60000] [--rounds 5] [STAGE...]

Every lane is a pipeline of one stage over the records of the benchmark, cut into the windows that the agent reads. The lanes and the
yardstick (`orjson.loads` + `orjson.dumps` of the same records) take turns in one process on one core; what is told is the median of the
rounds. A lane's own figure is the time between the step before it and its end; `whole` is what the chain costs more than one without
stages: columns to decode, bytes to write, documents that are not written. Reading, redaction and posting are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from shipper import assembly
from shipper.edge import log, memory
from shipper.encode.index import Horizon
from shipper.model.batch import Stream
from tests.bench import workload
from tests.bench.bench import SEED
from tests.bench.processes import packaged_databases
from tests.kit.site import ROOT

WINDOW = 1 << 18
GOALS = {"user_agent": 0.6}
"""Yardsticks a record by stage; GOAL for others."""
GOAL = 0.4
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Mobile/15E148 Safari/604.1",
)
"""Each in as many versions as there are numbers up to VERSIONS."""
VERSIONS = 60
CITY, ASN = (str(path) for path in (packaged_databases().city, packaged_databases().asn))
ANONYMOUS = str(ROOT / "tests" / "data" / "geoip" / "GeoIP2-Anonymous-IP-Test.mmdb")
ERRORS = {"level": ["ERROR", "CRITICAL"]}
Lanes = dict[str, list[dict[str, Any]]]
LANES: Lanes = {
    "geoip": [{"geoip": {"field": "client_ip", "databases": [CITY, ASN]}}],
    "geoip, anonymous too": [{"geoip": {"field": "client_ip", "databases": [CITY, ASN, ANONYMOUS]}}],
    "geoip, behind proxies": [
        {
            "geoip": {
                "field": "remote_addr",
                "forwarded": "x_forwarded_for",
                "trusted": ["10.0.0.0/8"],
                "databases": [CITY, ASN],
            }
        }
    ],
    "throttle": [{"throttle": {"when": ERRORS, "key": ["service", "logger"], "rate": "100/s", "burst": 500}}],
    "throttle, all records": [{"throttle": {"key": ["service", "logger"], "rate": "100/s", "burst": 500}}],
    "throttle, in shadow": [
        {"throttle": {"key": "{service}-{logger}", "rate": "100/s", "burst": 500, "protect_level": "error", "shadow": True}}
    ],
    "user_agent": [{"user_agent": {"field": "user_agent"}}],
    "python": [{"python": {"file": "enrich.py", "reads": ["duration_ms"], "adds": ["slow"]}}],
    "filter, drops a tenth": [{"filter": {"drop": {"method": "DELETE", "level": ["INFO", "DEBUG"]}, "reason": "noise"}}],
    "sample, 1 in 10": [{"sample": {"rate": 10, "protect": ERRORS}}],
    "sample, 1 in 2": [{"sample": {"rate": 2}}],
    "sample, by key": [{"sample": {"rate": 10, "key": ["trace_id"], "protect": ERRORS}}],
    "dedupe, few repeated": [{"dedupe": {"key": ["trace_id"], "window": "60s"}}],
    "dedupe, most repeated": [{"dedupe": {"key": ["service", "logger", "level"], "window": "1s"}}],
    "dedupe, whole records": [{"dedupe": {"window": "60s"}}],
    "metadata": [
        {
            "metadata": {
                "static": {"team": "shop", "cluster.name": "eu-1"},
                "host": ["os", "ip"],
                "path": "/{log.kind}/{instance}.log",
            }
        }
    ],
    "fields, three operations": [
        {"fields": [{"set": {"team": "shop"}}, {"rename": {"level": "log.level"}}, {"remove": ["method"]}]}
    ],
    "fields, set": [{"fields": [{"set": {"team": "shop"}}]}],
    "fields, set what is there": [{"fields": [{"set": {"environment": "test"}}]}],
    "fields, set of a template": [{"fields": [{"set": {"what": "{method} {path}"}}]}],
    "fields, set where missing": [{"fields": [{"set": {"duration_ms": 0}, "when": {"not": {"has": "duration_ms"}}}]}],
    "fields, rename": [{"fields": [{"rename": {"service": "service.name"}}]}],
    "fields, remove": [{"fields": [{"remove": ["version"]}]}],
    "fields, remove a long one": [{"fields": [{"remove": ["message"]}]}],
    "fields, copy": [{"fields": [{"copy": {"trace_id": "trace.id"}}]}],
    "fields, lower": [{"fields": [{"lower": ["level"]}]}],
    "fields, convert": [{"fields": [{"convert": {"status_code": "string"}}]}],
    "fields, for errors": [{"fields": [{"rename": {"message": "error.message"}, "when": ERRORS}]}],
    "fields, dedot": [{"fields": [{"dedot": "_"}]}],
    "fields, flatten": [{"fields": [{"flatten": ["*"]}]}],
    "fields, caps": [{"fields": [{"max_depth": 5, "max_members": 200}]}],
}


FUNCTION = """
def enrich(batch):
    batch.add("slow", [ms is not None and ms > 500 for ms in batch.column("duration_ms")])
"""


class Lane:
    """A chain with these stages."""

    def __init__(self, stages: list[dict[str, Any]], folder: Path, packs: Sequence[str] = ()) -> None:
        pipeline = folder / "pipeline.yaml"
        (folder / "enrich.py").write_text(FUNCTION)
        wanted = {
            "name": "bench",
            "sources": [{"type": "file", "include": ["/web/a.log"]}],
            "redact": {"packs": list(packs)},
            "stages": stages,
            "route": [{"when": ERRORS, "index": "errors"}, {"index": "app"}],
            "output": {"type": "console"},
        }
        pipeline.write_text(json.dumps(wanted))
        env = {**os.environ, "SHIPPER_STATE": str(folder)}
        surroundings = assembly.Surroundings(env, "h", bytes(32))
        parts = assembly.make_parts(assembly.read_pipeline(str(pipeline), env), surroundings, Horizon(1.8e9))
        self._chain = parts.chains[0]
        self._intake = parts.intakes[0](Stream("s" * 22, *parts.commons[0]("/web/a.log")[:1], "/web/a.log", 0.0))
        self._summarising = parts.summarising
        self.step = "" if not stages else next(iter(stages[0]))

    def run(self, data: bytes) -> Counter[str]:
        """Microseconds of CPU by step, and `whole`, all but the gate."""
        spent: Counter[str] = Counter()
        at, rows = 0, 0
        clock = time.process_time

        def lap(step: str, _left: object = None, /) -> None:
            nonlocal since
            now = clock()
            spent[step] += now - since
            since = now

        while at < len(data):
            taken = self._intake.take(data[at : at + WINDOW], at, final=at + WINDOW >= len(data))
            assert taken.batch is not None
            since = clock()
            outcome = self._chain.run(taken.batch, 1, 0.0, 0.0, lap)
            assert not outcome.stage_errors
            rows, at = rows + taken.batch.count, taken.next_offset
        for summarising in self._summarising:
            summarising.flush()
        us = Counter({step: seconds / rows * 1e6 for step, seconds in spent.items()})
        us["whole"] = us.total() - us["redact"]
        return us


def with_agents(lines: list[bytes]) -> Iterator[bytes]:
    """The records with a `user_agent`, of a few hundred different ones."""
    drawn = random.Random(SEED)
    for line in lines:
        agent = drawn.choice(AGENTS).format(drawn.randrange(VERSIONS))
        yield b'%b,"user_agent":"%b"}\n' % (line[:-2], agent.encode())


def behind_proxies(lines: list[bytes]) -> Iterator[bytes]:
    """The records as behind two proxies: the client is the first entry of the header."""
    drawn = random.Random(SEED)
    for line in lines:
        client, entry, peer = orjson.loads(line)["client_ip"].encode(), drawn.randrange(20), drawn.randrange(20)
        yield b'%b,"remote_addr":"10.0.1.%d","x_forwarded_for":"%b, 10.0.0.%d"}\n' % (line[:-2], peer, client, entry)


INPUTS = {"user_agent": with_agents, "geoip, behind proxies": behind_proxies}
"""What the records are made for these lanes."""


def yardstick(lines: list[bytes]) -> float:
    """Microseconds a record."""
    began = time.process_time()
    for line in lines:
        orjson.dumps(orjson.loads(line))
    return (time.process_time() - began) / len(lines) * 1e6


def measure(lanes: dict[str, Lane], lines: list[bytes], rounds: int) -> tuple[dict[str, list[Counter[str]]], list[float]]:
    """Of each lane the rounds, and the yardsticks beside them."""
    data = b"".join(lines)
    inputs = {name: b"".join(INPUTS[name](lines)) for name in lanes if name in INPUTS}
    spent: dict[str, list[Counter[str]]] = {name: [] for name in lanes}
    yardsticks = []
    for number in range(rounds + 1):
        for name, lane in lanes.items():
            us = lane.run(inputs.get(name, data))
            if number:  # the first round warms caches
                spent[name].append(us)
        yardsticks.append(yardstick(lines))
    return spent, yardsticks


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="what each stage costs")
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path(".bench"))
    parser.add_argument("stages", nargs="*", help="lanes whose names begin so; all by default")
    options = parser.parse_args()
    log.configure("error")
    memory.tune()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    file = workload.written(options.directory, SEED, 500_000, packaged_databases().city)
    with file.open("rb") as records:
        lines = list(islice(records, options.records))
    wanted = {name: stages for name, stages in LANES.items() if not options.stages or name.startswith(tuple(options.stages))}
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as folder:
        lanes = {name: Lane(stages, Path(folder)) for name, stages in {"": [], **wanted}.items()}
        spent, yardsticks = measure(lanes, lines, options.rounds)
    print(table(wanted, spent, statistics.median(yardsticks)))


def table(wanted: Lanes, spent: dict[str, list[Counter[str]]], yard: float) -> str:
    """The medians, each stage's own and what the chain with it costs more than the one named "", which has none."""
    bare = spent[""]
    rows = [
        f"yardstick {yard:.2f} us; a chain without stages or redaction {statistics.median(us['whole'] for us in bare):.2f} us"
    ]
    rows.append(f"{'':30}{'itself':>12}{'':36}{'whole':>12}")
    for name, stages in wanted.items():
        step = next(iter(stages[0]))
        own = statistics.median(us[step] for us in spent[name])
        whole = statistics.median(us["whole"] - without["whole"] for us, without in zip(spent[name], bare, strict=True))
        most = GOALS.get(step, GOAL)
        goal = f"{'ok  ' if own / yard <= most else 'OVER'} goal <= {most}"
        rows.append(
            f"{name:30}{own:6.2f} us {own / yard:5.2f} yardsticks  {goal:18}{whole:6.2f} us {whole / yard:5.2f} yardsticks"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
