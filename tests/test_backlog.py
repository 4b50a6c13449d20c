"""A backlog of an hour beside a live stream, both under one limit: neither takes anything from the other, through the whole flow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from shipper.deliver.traffic import CourierSettings
from tests.kit import virtual_loop
from tests.kit.flow_world import WALL, FlowWorld
from tests.kit.site import Site
from tests.stages.test_throttle import oracle

RATE, BURST, PERIOD = 2, 5, 10
PADDING = "x" * 600
TIMES = {
    "backlog": [int(WALL) - 3600 + second for second in range(3600) for _ in range(4)],
    "live": [int(WALL) + second for second in range(1, 61) for _ in range(6)],
}
"""Event times of the records: four a second of the hour before; six a second, written as they happen."""


def record(stream: str, number: int) -> dict[str, Any]:
    """One record; both streams have the same key."""
    at = datetime.fromtimestamp(TIMES[stream][number], UTC).isoformat().replace("+00:00", "Z")
    return {"timestamp": at, "service": "api", "error_type": "timeout", "stream": stream, "n": number, "padding": PADDING}


def passing(stream: str) -> set[int]:
    """The numbers of the records that pass where a stream is alone."""
    verdicts = oracle([(second, "api", 1) for second in TIMES[stream]], Fraction(RATE), BURST, PERIOD)
    return {number for number, passes in enumerate(verdicts) if passes}


EXPECTED = {stream: passing(stream) for stream in TIMES}
RECORDS = sum(map(len, TIMES.values()))
HELD = RECORDS - sum(map(len, EXPECTED.values()))


async def shipped(site: Site) -> tuple[Any, list[Any], dict[tuple[str, int], float]]:
    """Run both through a flow with a slow output: the account, the documents, and how long each live record took, in seconds."""
    loop = asyncio.get_running_loop()
    world = FlowWorld(site, once=False, settings=CourierSettings(in_flight_bytes_max=120_000, post_bytes_max=30_000))
    world.output.latency, began = lambda: 1.0, loop.time()
    took: dict[tuple[str, int], float] = {}

    def answered() -> None:
        for document in list(world.output.model.documents.values())[len(took) :]:
            stream, number = document.get("stream", "summary"), document.get("n", len(took))
            took[stream, number] = loop.time() - began - (TIMES["live"][number] - WALL if stream == "live" else 0)

    world.output.on_answer = answered
    for second in range(1, 61):
        lines = [record("live", number) for number, at in enumerate(TIMES["live"]) if at == WALL + second]
        loop.call_later(second, site.write, lines, "live.log")
    loop.call_later(70, world.flow.drain)
    account = await world.run()
    world.check()
    return account, list(world.output.model.documents.values()), took


def numbers(documents: list[Any], flag: str | None = None) -> dict[str, set[int]]:
    """The numbers of the documents of each stream, of all or of those with a flag."""
    chosen = [one for one in documents if flag is None or flag in one.get("shipper", {}).get("flags", ())]
    return {stream: {one["n"] for one in chosen if one.get("stream") == stream} for stream in TIMES}


@pytest.mark.parametrize("shadow", [False, True])
def test_backlog_and_live_records_each_pass_as_if_they_were_alone(site: Site, shadow: bool) -> None:
    """Exactly those that would pass alone; live ones are seen within seconds while the backlog still comes; all are accounted for.

    In shadow mode all pass, and those that would not are flagged and counted.
    """
    throttle = {"key": "{service}-{error_type}", "rate": f"{RATE}/s", "burst": BURST, "shadow": shadow}
    site.configure(stages=[{"throttle": throttle}])
    site.write((record("backlog", number) for number in range(len(TIMES["backlog"]))), "backlog.log")
    account, documents, took = virtual_loop.run(shipped(site))
    assert (account.read, account.settled) == (RECORDS, RECORDS)
    live = [seconds for (stream, _), seconds in took.items() if stream == "live"]
    assert max(live) < 15 < 60 < max(took.values()), "live records do not wait for the backlog, which is still on its way"
    if shadow:
        assert numbers(documents) == {stream: set(range(len(times))) for stream, times in TIMES.items()}
        assert account.flagged == {"would_throttle": HELD} and not account.dropped
        everything = numbers(documents)
        assert numbers(documents, "would_throttle") == {stream: everything[stream] - EXPECTED[stream] for stream in TIMES}
    else:
        assert numbers(documents) == EXPECTED
        told = [one["shipper"]["throttle"] for one in documents if "stream" not in one]
        assert account.dropped == {"throttled": HELD} == {"throttled": sum(one["count"] for one in told)}
        assert {"api-timeout"} == {one["name"] for one in told}
