"""A flow in virtual time: real source, gate, chain, ledger and courier over real files; an output and dead letters that do as told.

Nothing here uses threads, so that a run is the same every time: `state` is None, and what a checkpoint costs is the output's `sync`.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from shipper import assembly
from shipper.deliver.courier import Courier
from shipper.deliver.traffic import Accepted, CourierSettings, Failed, Letter, Post, Replied
from shipper.edge.files import FileHands
from shipper.edge.inlet import Inlet
from shipper.edge.outlet import Outlet
from shipper.encode.index import Horizon
from shipper.flow import Flow
from shipper.progress import checkpoint
from shipper.source import events
from shipper.source.events import StreamState
from shipper.source.tail import Tail
from tests.kit.fake_elastic import ModelElastic
from tests.kit.site import Site

WALL = 1_770_300_000.0
"""Unix seconds at virtual second 1000."""
Answer = Accepted | Failed | Replied


class Output:
    """Applies posts to a model, and answers after `latency()` virtual seconds with what `fate` makes of the answer."""

    kind = "model"
    keeps_state = True
    destination = "model"

    def __init__(self, settings: CourierSettings) -> None:
        self.settings = settings
        self.model = ModelElastic()
        self.latency: Callable[[], float] = lambda: 0.01
        self.fate: Callable[[Post, Answer], Answer] = lambda _, answer: answer
        self.on_answer: Callable[[], None] = lambda: None
        self.sync_error: Callable[[], Exception | None] = lambda: None
        self.syncs: list[float] = []
        """When a checkpoint was written, or tried."""
        self.closed = False

    async def post(self, post: Post) -> Answer:
        await asyncio.sleep(self.latency())
        answer = self.fate(post, Replied(post.post_id, *self.model.bulk(b"".join(post.body_parts))))
        self.on_answer()
        return answer

    def state(self) -> Mapping[str, int]:
        return {}

    async def sync(self) -> None:
        self.syncs.append(asyncio.get_running_loop().time())
        if (error := self.sync_error()) is not None:
            raise error

    async def close(self) -> None:
        self.closed = True


class Letters:
    """Dead letters in memory."""

    def __init__(self) -> None:
        self.kept: list[Letter] = []

    async def append(self, letters: Sequence[Letter]) -> None:
        await asyncio.sleep(0.005)
        self.kept += letters


class FlowWorld:
    """A flow and what is around it. To be made inside of a virtual loop."""

    def __init__(
        self,
        site: Site,
        *,
        settings: CourierSettings | None = None,
        before: checkpoint.Checkpoint | None = None,
        once: bool = True,
        later_s: float = 0.0,
    ) -> None:
        """`later_s` is how much later than WALL it is at the start."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        pipeline = assembly.read_pipeline(str(site.pipeline), os.environ)
        self.horizon = Horizon(WALL) if before is None else msgspec.convert(before.horizon, Horizon)
        parts = assembly.make_parts(pipeline, assembly.Surroundings(os.environ, "web-1", bytes(32)), self.horizon)
        parts.wall = lambda: WALL + later_s + loop.time() - began
        self.moved: list[tuple[float, int]] = []
        """(when, records in flight) of each move of the horizon."""
        forget = parts.router.forget

        def forgetting() -> None:
            self.moved.append((loop.time(), self.flow.ledger.in_flight))
            forget()

        parts.router.forget = forgetting  # type: ignore[method-assign]
        settings = settings or CourierSettings()
        self.parts = parts
        self.output, self.letters = Output(settings), Letters()
        self.flow = Flow(parts, None, "machine", before)
        rng = random.Random(1)
        outlet = Outlet(Courier(settings, rng.random), self.output, self.letters, self.flow)  # type: ignore[arg-type]
        numbers = count(0 if before is None else 1000)
        inlets = []
        for source in pipeline.sources:
            config = source.component.config
            tail = Tail(config, lambda: f"{next(numbers):022}")
            inlets.append(Inlet(tail, FileHands(config, parts.wall), self.flow, loop.time))
        self.flow.connect(inlets, outlet)
        for inlet in inlets:
            inlet.offer(
                events.Resume(None if before is None else [msgspec.convert(state, StreamState) for state in before.sources[0]])
            )
        if once:
            self.flow.drain()

    async def run(self, **options: Any) -> Any:
        """Run to the end; returns the account."""
        await self.flow.run(**options)
        return self.flow.ledger.account

    def checkpoint(self) -> checkpoint.Checkpoint:
        """What a checkpoint would say now."""
        return checkpoint.decode(self.flow.snapshot(), "")

    def check(self) -> None:
        """What holds at every moment."""
        ledger = self.flow.ledger
        assert ledger.unaccounted == 0
        assert ledger.account.settled + ledger.in_flight == ledger.account.read
