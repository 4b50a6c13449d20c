"""Report: the pages of an agent that starts, runs, stops, and of pipelines in trouble; hours pass in virtual time."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from shipper import assembly
from shipper.deliver.traffic import Failed
from shipper.edge.control import Page
from shipper.encode.index import Route
from shipper.progress.ledger import Account
from shipper.report import Report, _prefixes
from tests.kit import virtual_loop
from tests.kit.flow_world import FlowWorld
from tests.kit.site import Site

RECORDS = [{"timestamp": "2026-02-05T14:30:45Z", "n": number} for number in range(20)]


def reported(site: Site, world: FlowWorld) -> Report:
    """The report of one flow."""
    report = Report(lambda: {"read": world.flow.ledger.account.read})
    pipeline = assembly.read_pipeline(str(site.pipeline), os.environ)
    report.add(world.flow, world.parts, world.flow._inlets, assembly.routes_of(pipeline), None)
    return report


def told(page: Page) -> tuple[int, Any]:
    """Status and document."""
    return page.status, json.loads(page.body)


def check(report: Report, name: str) -> tuple[int, str]:
    """Status of the page, and of one check."""
    status, document = told(report.pages["/health"]())
    return status, document["checks"][f"app:{name}"]["status"]


def played(site: Site, scene: Callable[[FlowWorld, Report], Any]) -> None:
    """A flow that goes on until the scene is over, in virtual time."""

    async def whole() -> None:
        world = FlowWorld(site, once=False)
        report = reported(site, world)
        running = asyncio.create_task(world.run())
        await scene(world, report)
        world.flow.stop("the test is over")
        await running

    virtual_loop.run(whole())


@pytest.mark.parametrize(("state", "status"), [("starting", 503), ("ready", 200), ("stopping", 503)])
def test_an_agent_is_ready_only_between_its_start_and_its_stop(state: str, status: int) -> None:
    """It lives all the time; without a pipeline nothing is wrong."""

    async def scene() -> None:
        report = Report(dict)
        report.state = state
        assert told(report.pages["/ready"]()) == (status, {"status": state})
        assert {report.pages[path]().status for path in ("/live", "/health", "/metrics", "/account")} == {200}

    asyncio.run(scene())


def test_an_output_that_takes_nothing_fails_after_a_while_and_is_well_again_after_it(site: Site) -> None:
    """A short outage is a warning. 503 tells whoever asks; the agent itself goes on, and loses nothing."""
    site.write(RECORDS)

    async def scene(world: FlowWorld, report: Report) -> None:
        world.output.fate = lambda post, _: Failed(post.post_id, "refused")
        assert check(report, "output") == (200, "pass")
        await asyncio.sleep(10.0)
        assert check(report, "output") == (200, "warn")
        await asyncio.sleep(60.0)
        assert check(report, "output") == (503, "fail")
        [figures] = report.figures()
        assert figures.output.answers["refused"] == figures.output.setbacks["retry"] > 1
        assert (figures.in_flight, figures.unaccounted) == (len(RECORDS), 0)
        world.output.fate = lambda _, answer: answer
        await asyncio.sleep(600.0)
        assert check(report, "output") == (200, "pass")
        assert report.figures()[0].output.answers["2xx"] == 1

    played(site, scene)


def test_a_checkpoint_that_cannot_be_written_fails_after_a_while(site: Site) -> None:
    """With the reason; and the age of the last one that could."""
    site.write(RECORDS)

    async def scene(world: FlowWorld, report: Report) -> None:
        await asyncio.sleep(10.0)
        assert check(report, "checkpoint") == (200, "pass")
        world.output.sync_error = lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        site.write(RECORDS)
        await asyncio.sleep(10.0)
        assert check(report, "checkpoint") == (200, "warn")
        await asyncio.sleep(60.0)
        assert check(report, "checkpoint") == (503, "fail")
        [figures] = report.figures()
        assert figures.checkpoint.failure == "No space left on device" and figures.checkpoint.overdue_s > 30
        world.output.sync_error = lambda: None
        await asyncio.sleep(60.0)
        assert check(report, "checkpoint") == (200, "pass")

    played(site, scene)


def test_a_loop_that_does_not_turn_is_no_life(site: Site) -> None:
    """A quiet one turns all the same; one that ends on purpose is not blamed."""

    async def whole() -> None:
        world = FlowWorld(site, once=False)
        report = reported(site, world)
        await asyncio.sleep(100.0)
        assert told(report.pages["/live"]()) == (503, {"status": "stuck", "stuck": ["app"]})
        assert check(report, "loop") == (503, "fail")
        running = asyncio.create_task(world.run())
        await asyncio.sleep(3600.0)
        assert told(report.pages["/live"]()) == (200, {"status": "alive", "stuck": []})
        assert check(report, "loop") == (200, "pass")
        world.flow.stop("the test is over")
        await running
        await asyncio.sleep(100.0)
        assert report.pages["/live"]().status == 200

    virtual_loop.run(whole())


def test_a_stage_that_fails_is_told_by_name(site: Site) -> None:
    """A bug of a stage: its rows went on, and somebody must look."""
    site.configure(stages=[{"type": "throttle", "rate": "1000/s"}])
    site.write(RECORDS)

    async def scene(world: FlowWorld, report: Report) -> None:
        world.parts.summarising[0]._by_event = None  # type: ignore[attr-defined]
        world.parts.summarising[0]._limit = None  # type: ignore[attr-defined]
        await asyncio.sleep(10.0)
        assert check(report, "stages") == (503, "fail")
        [figures] = report.figures()
        assert figures.stage_errors == {"throttle": 1} and figures.account.created == len(RECORDS)
        await asyncio.sleep(600.0)
        assert check(report, "stages") == (200, "warn")

    played(site, scene)


def test_asking_costs_the_flow_no_checkpoint(site: Site) -> None:
    """Gathering looks, and leaves no trace."""
    site.write(RECORDS)

    async def scene(world: FlowWorld, report: Report) -> None:
        await asyncio.sleep(10.0)
        before = len(world.output.syncs), world.flow.snapshot()
        for _ in range(20):
            report.pages["/metrics"](), report.pages["/health"](), report.pages["/account"]()
            await asyncio.sleep(1.0)
        assert (len(world.output.syncs), world.flow.snapshot()) == before

    played(site, scene)


def test_documents_are_counted_by_the_fixed_part_of_their_index() -> None:
    """The longest that fits, so that there are no more labels than routes; a route nobody took stands at 0."""
    routes = [Route("app"), Route("app-errors"), Route("svc-{service}"), Route("idle")]
    indices = {"app-2026.02.05": 1, "app-errors-2026.02.05": 2, "svc-a-2026.02.05": 4, "svc-b-2026.02.05": 8, "app-fallback": 16}
    assert _prefixes(indices, routes) == {"app": 17, "app-errors": 2, "svc": 12, "idle": 0}


def test_the_account_of_an_agent_that_starts_has_all_its_parts(site: Site) -> None:
    """Whoever reads it need not ask whether a part is there."""
    from shipper.agent import Agent, Options

    async def whole() -> dict[str, Any]:
        return Agent([], Options(), {}).account()

    account = asyncio.run(whole())
    assert {*Account.__struct_fields__} <= {*account} and account["read"] == 0
