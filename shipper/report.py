"""Report: what the running agent says of itself: gathers the figures of its pipelines and makes the pages of the control address."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge import health
from shipper.edge.control import JSON, Page
from shipper.edge.disk import Disk
from shipper.edge.figures import CheckpointFigures, Figures, OutputFigures, SpoolFigures, TableFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from shipper.edge.inlet import Inflow
    from shipper.encode.index import Route
    from shipper.flow import Flow, Parts


class Watched(msgspec.Struct):
    """One pipeline that runs."""

    flow: Flow
    parts: Parts
    inlets: Sequence[Inflow]
    routes: Sequence[Route]
    disk: Disk | None
    """None: no progress is kept."""


class Report:
    """The pages. `state` and `pipelines` are kept by the agent."""

    def __init__(self, account: Callable[[], Mapping[str, Any]]) -> None:
        """`account` makes the account of all pipelines together, as `run` prints it at the end."""
        self.state = "starting"
        """`starting`, `ready`, `stopping`."""
        self.pipelines: list[Watched] = []
        self._account = account

    @property
    def pages(self) -> Mapping[str, Callable[[], Page]]:
        """What makes the page of each path."""
        return {
            "/account": lambda: _json(200, self._account()),
            "/health": self._health,
            "/live": self._live,
            "/metrics": self._metrics,
            "/ready": self._ready,
        }

    def add(self, flow: Flow, parts: Parts, inlets: Sequence[Inflow], routes: Sequence[Route], place: Path | None) -> None:
        """A pipeline is open. `place` is where its progress is kept; None: it keeps none."""
        self.pipelines.append(Watched(flow, parts, inlets, routes, None if place is None else Disk(place)))

    def figures(self) -> list[Figures]:
        """The figures of all pipelines, as of now."""
        now, wall = asyncio.get_running_loop().time(), time.time()
        return [gathered(watched, now, wall) for watched in self.pipelines]

    async def watch_disks(self) -> None:
        """Keep asking the disks how they are, until cancelled. Once all pipelines are there."""
        await asyncio.gather(*(watched.disk.watch() for watched in self.pipelines if watched.disk is not None))

    def _metrics(self) -> Page:
        from shipper.edge import metrics  # with prometheus_client, when somebody asks

        return Page(200, metrics.KIND, metrics.render(self.figures()))

    def _health(self) -> Page:
        found = {
            f"{figures.pipeline}:{name}": check for figures in self.figures() for name, check in health.checks(figures).items()
        }
        status = health.worst(found.values())
        told = {name: {"status": check.status, "reason": check.reason} for name, check in found.items()}
        return _json(503 if status == "fail" else 200, {"status": status, "checks": told})

    def _live(self) -> Page:
        """That it answers at all says that the loop turns."""
        stuck = [figures.pipeline for figures in self.figures() if health.is_stuck(figures)]
        return _json(503 if stuck else 200, {"status": "stuck" if stuck else "alive", "stuck": stuck})

    def _ready(self) -> Page:
        return _json(200 if self.state == "ready" else 503, {"status": self.state})


def _json(status: int, value: object) -> Page:
    return Page(status, JSON, msgspec.json.encode(value) + b"\n")


def gathered(watched: Watched, now: float, wall: float) -> Figures:
    """The figures of one pipeline; `now` is loop time, `wall` Unix seconds."""
    flow = watched.flow
    ends = bool(flow.stop_reason) or flow.is_draining
    return Figures(
        pipeline=str(watched.parts.name),
        account=flow.ledger.account,
        in_flight=flow.ledger.in_flight,
        unaccounted=flow.ledger.unaccounted,
        held=flow.held_rows,
        turned_s=0.0 if ends else now - flow.turned_at,
        files=flow.files,
        files_open=sum(getattr(inlet, "open_files", 0) for inlet in watched.inlets),
        files_unreadable=flow.unreadable,
        prefixes=_prefixes(flow.ledger.account.indices, watched.routes),
        evicted=sum(stage.evicted for stage in watched.parts.summarising),
        stage_errors=flow.stage_errors,
        stage_failed_s=_since(flow.stage_failed_at, now),
        spools=list(_spools(watched.inlets)),
        tables=list(_tables(watched.parts, wall)),
        output=_output(watched, now),
        checkpoint=CheckpointFigures(
            age_s=_since(flow.saving.saved_at, now), overdue_s=flow.saving.overdue_s, failure=flow.saving.failure
        ),
        disk=None if watched.disk is None else watched.disk.figures(),
    )


def _since(at: float | None, now: float) -> float | None:
    return None if at is None else now - at


def _prefixes(indices: Mapping[str, int], routes: Sequence[Route]) -> Counter[str]:
    """Documents by the literal part of their route, the longest one that fits: dates and fields make too many names for a label."""
    literals = sorted({route.literal for route in routes}, key=len, reverse=True)
    found = Counter(dict.fromkeys(sorted(literals), 0))
    for name, count in indices.items():
        found[next(filter(name.startswith, literals), "")] += count
    return found


def _spools(inlets: Sequence[Inflow]) -> Iterator[SpoolFigures]:
    inlet: Any
    for inlet in inlets:
        if (spool := getattr(inlet, "spool", None)) is not None:
            yield SpoolFigures(
                source=inlet.name,
                size=spool.size,
                size_max=spool.limits.size_max,
                is_full=spool.is_full,
                quarantined_bytes=spool.quarantined_bytes,
                dropped_rows=spool.dropped_rows,
                connections=getattr(inlet.receiver, "connections", 0),
            )


def _tables(parts: Parts, wall: float) -> Iterator[TableFigures]:
    for table in parts.tables.all:
        yield TableFigures(
            database=parts.redact_text(str(table.path)),
            kind=table.kind,
            age_s=wall - table.built_at,
            fault=table.fault,
            failures=table.failures,
        )


def _output(watched: Watched, now: float) -> OutputFigures:
    outlet = watched.flow.outlet
    return OutputFigures(
        destination=watched.parts.redact_text(outlet.output.destination),
        queued_bytes=outlet.courier.queued_bytes,
        in_flight_bytes=outlet.courier.in_flight_bytes,
        in_flight_posts=outlet.courier.in_flight_posts,
        is_full=outlet.courier.is_full,
        failing_s=_since(outlet.failing_since, now),
        waiting_s=_since(outlet.waiting_since, now),
        answers=outlet.answers,
        setbacks=outlet.setbacks,
        burial_failure=outlet.burial_failure,
    )
