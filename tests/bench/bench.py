"""`make bench`: what a record costs, in microseconds and in yardsticks, all from one run on one core.

    python -m tests.bench.bench [--records 500000] [--rounds 3] [--json]

METHOD
- The yardstick is `orjson.loads` + `orjson.dumps` of the same records, one after the other, on the same core, in turns with the
  agent's runs: a busy machine slows both. A round's ratio is the agent's CPU over the mean of the yardsticks before and after it;
  what is told is the median of the rounds, and their spread. What gzip adds is the median of the differences within a round.
- The agent is `shipper run --once` as a user runs it. Its CPU is user and system time of the whole process, less that of a run on
  one record (start-up), divided by the records. Its compiled rules are in the cache: the first run of all is thrown away.
- The sink is another process on another core and answers with one item a document. Every run must deliver every record.
- The usual way runs on fewer records, less its own start-up.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from operator import sub
from pathlib import Path
from typing import Any

import msgspec
import orjson

from tests.bench import compare, workload
from tests.bench.processes import Agent, BenchError, Cost, Databases, Sink, packaged_databases, run, sink

SEED = 20260205
COMPARED = 20_000
USUAL_RECORDS = 50_000
RATIO_MAX, GZIP_MAX, RSS_MAX_BYTES, FIRST_READ_MAX_S = 3.3, 0.8, 60_000_000, 0.5


class Series(msgspec.Struct):
    """The rounds of one variant, each in microseconds a record and yardsticks."""

    us: list[float] = []
    yardsticks: list[float] = []

    def median(self) -> tuple[float, float]:
        """(microseconds, yardsticks)."""
        return statistics.median(self.us), statistics.median(self.yardsticks)

    def spread(self) -> str:
        """`2.91-3.02`, in yardsticks."""
        return f"{min(self.yardsticks):.2f}-{max(self.yardsticks):.2f}"


class Result(msgspec.Struct):
    """All numbers of one benchmark."""

    records: int
    bytes: int
    yardstick_us: float
    plain: Series
    gzip: Series
    usual: Series
    startup_cpu_s: float
    wall_s: float
    """Of the fastest plain run, start-up included."""
    peak_rss_bytes: int
    first_read_s: float | None
    steps_us: dict[str, float]
    comparison: compare.Comparison
    account: dict[str, Any]

    @property
    def records_per_s(self) -> float:
        """By CPU time: what one core carries."""
        return 1e6 / self.plain.median()[0]


class Bench:
    """One benchmark: the files, the sink, the agent, the yardsticks."""

    def __init__(self, folder: Path, to: Sink, records: int, databases: Databases) -> None:
        """`folder` keeps the workload from one benchmark to the next."""
        self._sink = to
        self._databases = databases
        self._records = records
        self._temporary = tempfile.TemporaryDirectory(prefix="shipper-bench-")
        self._scratch = Path(self._temporary.name)
        self._agent = Agent(self._scratch, databases)
        self.file = workload.written(folder, SEED, records, databases.city)
        self.head = _first(self.file, COMPARED, self._scratch)
        self._single = _first(self.file, 1, self._scratch)
        self.yardsticks: list[float] = []

    def close(self) -> None:
        """Remove states and outputs."""
        self._temporary.cleanup()

    def startup(self, rounds: int) -> float:
        """CPU seconds of a run on one record; the first one, which may compile the rules, does not count."""
        self._ship(self._single, 1)
        return statistics.median(self._ship(self._single, 1)[0].cpu_s for _ in range(rounds))

    def plain(self, startup_s: float, into: Series) -> tuple[Cost, dict[str, Any]]:
        """One round without compression."""
        return self._round(startup_s, into, "none")

    def gzip(self, startup_s: float, into: Series) -> None:
        """One round with gzip."""
        self._round(startup_s, into, "gzip")

    def steps(self) -> dict[str, float]:
        """Microseconds a record by step, as the agent measures them itself."""
        _, account = self._ship(self.file, self._records, steps=True)
        return {step: seconds / self._records * 1e6 for step, seconds in account.get("steps", {}).items()}

    def usual(self) -> Series:
        """One round of the usual way, on the first records."""
        count = min(USUAL_RECORDS, self._records)
        long, short = _first(self.file, count, self._scratch), _first(self.file, 1, self._scratch)
        startup_s = self._usual(short).cpu_s
        before = self.measure_yardstick()
        us = (self._usual(long).cpu_s - startup_s) / count * 1e6
        return Series([us], [us / statistics.mean((before, self.measure_yardstick()))])

    def measure_yardstick(self) -> float:
        """Microseconds a record for `loads` and `dumps`, all records of the file."""
        spent, loads, dumps, clock = 0.0, orjson.loads, orjson.dumps, time.process_time
        with self.file.open("rb") as lines:
            while chunk := list(islice(lines, 10_000)):
                began = clock()
                for line in chunk:
                    dumps(loads(line))
                spent += clock() - began
        self.yardsticks.append(spent / self._records * 1e6)
        return self.yardsticks[-1]

    def compared(self) -> compare.Comparison:
        """Compare the documents of the first records with those of the usual way."""
        store = self._scratch / "stored.ndjson"
        with sink(store=store) as storing:
            self._agent.ship(self.head, storing)
        return compare.compare(compare.stored_documents(store), compare.usual_documents(self.head, COMPARED, self._databases))

    def _round(self, startup_s: float, into: Series, compression: str) -> tuple[Cost, dict[str, Any]]:
        before = self.yardsticks[-1] if self.yardsticks else self.measure_yardstick()
        cost, account = self._ship(self.file, self._records, compression)
        us = (cost.cpu_s - startup_s) / self._records * 1e6
        into.us.append(us)
        into.yardsticks.append(us / statistics.mean((before, self.measure_yardstick())))
        return cost, account

    def _ship(self, file: Path, count: int, compression: str = "none", *, steps: bool = False) -> tuple[Cost, dict[str, Any]]:
        self._sink.reset()
        cost, account = self._agent.ship(file, self._sink, compression, steps=steps)
        came = self._sink.documents()
        held = sum(account.get("dropped", {}).values())
        if came - account.get("generated", 0) + held != count:
            raise BenchError(f"{count} records, but {came} documents came, {held} were dropped: {account}")
        return cost, account

    def _usual(self, file: Path) -> Cost:
        city, asn = str(self._databases.city), str(self._databases.asn)
        command = [
            sys.executable,
            "-m",
            "tests.bench.usual_way",
            str(file),
            "--city",
            city,
            "--asn",
            asn,
            "--url",
            self._sink.url,
        ]
        return run(command, self._scratch)


def _first(file: Path, count: int, folder: Path) -> Path:
    """The first `count` records as a file of their own."""
    shorter = folder / f"first-{count}.ndjson"
    with file.open("rb") as lines:
        shorter.write_bytes(b"".join(islice(lines, count)))
    return shorter


def measure(bench: Bench, records: int, rounds: int) -> Result:
    """Run everything."""
    startup_s = bench.startup(rounds)
    plain, gzip = Series([], []), Series([], [])
    costs: list[Cost] = []
    account: dict[str, Any] = {}
    for _ in range(rounds):
        cost, account = bench.plain(startup_s, plain)
        costs.append(cost)
        bench.gzip(startup_s, gzip)
    return Result(
        records=records,
        bytes=bench.file.stat().st_size,
        yardstick_us=statistics.median(bench.yardsticks),
        plain=plain,
        gzip=gzip,
        usual=bench.usual(),
        startup_cpu_s=startup_s,
        wall_s=min(cost.wall_s for cost in costs),
        peak_rss_bytes=max(cost.peak_rss_bytes for cost in costs),
        first_read_s=account.get("first_read_s"),
        steps_us=bench.steps(),
        comparison=bench.compared(),
        account=account,
    )


def table(result: Result) -> str:
    """The result as text, with the goals beside what they are for."""
    us, ratio = result.plain.median()
    added = statistics.median(map(sub, result.gzip.yardsticks, result.plain.yardsticks))
    usual_us, usual = result.usual.median()
    rss, megabytes = result.peak_rss_bytes, result.bytes / 1e6
    rows = [
        ("workload", f"{result.records:,} records, {megabytes:.0f} MB", ""),
        ("yardstick: orjson loads + dumps", f"{result.yardstick_us:.2f} us", ""),
        ("full chain, CPU per record", f"{us:.2f} us", ""),
        ("  in yardsticks", f"{ratio:.2f}  (rounds {result.plain.spread()})", _goal(ratio, RATIO_MAX, f"{RATIO_MAX}")),
        ("  on one core", f"{result.records_per_s:,.0f}/s, {megabytes / result.records * result.records_per_s:.0f} MB/s", ""),
        ("gzip adds", f"{added * result.yardstick_us:.2f} us, {added:.2f} yardsticks", _goal(added, GZIP_MAX, f"{GZIP_MAX}")),
        ("the usual way", f"{usual_us:.1f} us, {usual:.1f} yardsticks, {usual_us / us:.1f} times ours", ""),
        ("wall time, start-up included", f"{result.wall_s:.2f} s, {result.records / result.wall_s:,.0f} records/s", ""),
        ("start-up, CPU", f"{result.startup_cpu_s:.2f} s", ""),
        ("peak RSS", f"{rss / 1e6:.1f} MB", _goal(rss, RSS_MAX_BYTES, f"{RSS_MAX_BYTES / 1e6:.0f} MB")),
    ]
    if result.first_read_s is not None:
        goal = _goal(result.first_read_s, FIRST_READ_MAX_S, f"{FIRST_READ_MAX_S} s")
        rows.append(("start to first byte read", f"{result.first_read_s:.2f} s", goal))
    rows += [
        (f"  step {step}", f"{spent:.3f} us, {spent / result.yardstick_us:.2f} yardsticks", "")
        for step, spent in result.steps_us.items()
    ]
    return "\n".join([*(f"{name:34} {value:42} {goal}".rstrip() for name, value, goal in rows), *_told(result.comparison)])


def _goal(value: float, most: float, text: str) -> str:
    return f"{'ok  ' if value <= most else 'OVER'} goal <= {text}"


def _told(found: compare.Comparison) -> list[str]:
    if found.equal:
        return [f"documents: {found.compared:,} compared field by field with the usual way, all equal"]
    head = f"documents: {found.compared:,} compared, {found.missing} missing, {found.additional} additional; fields that differ:"
    return [head, *(f"  {field}: {count:,} times, {found.examples[field]}" for field, count in sorted(found.differences.items()))]


def cores() -> tuple[int, int] | None:
    """(ours, the sink's), where processes can be pinned and there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


def main() -> None:
    """Run the benchmark; exit 1 when documents are missing or differ."""
    parser = argparse.ArgumentParser(description="what a record costs")
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path(".bench"), help="keeps the workload")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    pinned = cores()
    if pinned:
        os.sched_setaffinity(0, {pinned[0]})
    try:
        with sink(core=pinned[1] if pinned else None) as running:
            bench = Bench(options.directory, running, options.records, packaged_databases())
            try:
                result = measure(bench, options.records, options.rounds)
            finally:
                bench.close()
    except BenchError as error:
        sys.exit(str(error))
    print(msgspec.json.encode(result).decode() if options.json else table(result))
    sys.exit(0 if result.comparison.equal else 1)


if __name__ == "__main__":
    main()
