"""Agent: pipelines, each with its state, run together in one process until they are done or told to stop."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shipper import assembly
from shipper.chain import unmeasured
from shipper.deliver.courier import Courier
from shipper.edge import log, store
from shipper.edge.dead_letters import DeadLetters
from shipper.edge.outlet import Outlet
from shipper.edge.supervisor import Supervisor
from shipper.encode.index import Horizon
from shipper.flow import Flow
from shipper.inlets import Inlets
from shipper.model.errors import ConfigError, Fault, HostError
from shipper.progress import checkpoint
from shipper.progress.ledger import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipper.config.fields import Address
    from shipper.config.pipeline import Pipeline
    from shipper.edge.control import Control
    from shipper.report import Report


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the command line wants the agent to run."""

    once: bool = False
    output: str | None = None
    patience_s: float = 300.0
    from_start: bool = False
    state: str | None = None
    control: Address | None = None
    """Where to say how the agent is; None: nowhere."""


class Steps:
    """Measures CPU by step, when asked to: `lap(step)` books the time since the last call."""

    def __init__(self) -> None:
        """Start the clock."""
        self.spent: Counter[str] = Counter()
        self._last = time.thread_time()

    def lap(self, step: str, _left: object = None, /) -> None:
        """Book the time since the last call on `step`."""
        now = time.thread_time()
        self.spent[step] += now - self._last  # type: ignore[assignment]
        self._last = now


class Agent:
    """Runs pipelines. One state directory, one event loop."""

    def __init__(self, pipelines: list[Pipeline], options: Options, env: Mapping[str, str]) -> None:
        """Take checked pipelines; nothing is opened before `run`."""
        self.flows: list[Flow] = []
        self.ready = asyncio.Event()
        self.control: Control | None = None
        self._pipelines, self._options, self._env = pipelines, options, env
        self._supervisor = Supervisor(env)
        self._started_at = time.monotonic()
        self._stop_reason = ""
        self._steps = Steps() if env.get("SHIPPER_PROFILE_STEPS") else None
        self._stores: list[store.Store] = []
        self._inlets: list[Inlets] = []
        self._report: Report | None = None
        self._watching: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until everything is done, or `stop`. Raises ConfigError or HostError for what cannot work."""
        try:
            await self._open_control()
            await self._prepare_all()
            if self._options.once:
                self.drain()
            if self._stop_reason:
                self.stop(self._stop_reason)  # a signal came while nothing was there to be stopped
            self.ready.set()
            if self._report is not None:
                self._report.state = "stopping" if self._stop_reason else "ready"
                self._watching = asyncio.create_task(self._report.watch_disks())
            if not self._stop_reason:
                self._supervisor.ready()
            await asyncio.gather(*(flow.run(patience_s=self._options.patience_s) for flow in self.flows))
        finally:
            if not self.ready.is_set():
                for flow in self.flows:
                    await flow.outlet.close()
            for inlets in self._inlets:
                inlets.stop()
            for held in self._stores:
                held.close()
            await self._close_control()
        if self.failure is not None:
            raise self.failure

    @property
    def failure(self) -> HostError | None:
        """What ended a pipeline that was running."""
        return next((flow.failure for flow in self.flows if flow.failure is not None), None)

    @property
    def is_drained(self) -> bool:
        """Whether it ended because there was nothing more to read: the end of standard input."""
        return bool(self.flows) and not self._stop_reason and all(flow.is_draining for flow in self.flows)

    def stop(self, reason: str) -> None:
        """Stop reading, deliver what is in flight, save, end."""
        log.write("info", "stopping", why=reason)
        self._supervisor.stopping()
        self._stop_reason = reason
        if self._report is not None:
            self._report.state = "stopping"
        for flow in self.flows:
            flow.stop(reason)

    def drain(self) -> None:
        """Read what is there to its end, deliver it, end."""
        for flow in self.flows:
            flow.drain()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT stop in good order; a second SIGINT ends at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        asyncio.get_running_loop().remove_signal_handler(number)
        self.stop(number.name)

    async def _open_control(self) -> None:
        """Answer at the control address, from the start on. What it needs is imported here: a run without one does not pay."""
        if self._options.control is None:
            return
        from shipper.edge.control import Control
        from shipper.report import Report

        self._report = Report(self.account)
        self.control = Control(self._options.control, self._report.pages)
        await self.control.open()

    async def _close_control(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self.control is not None:
            await self.control.close()

    async def _prepare_all(self) -> None:
        """Prepare every pipeline. Raises ConfigError with the faults of all of them, as `check` tells them."""
        faults: list[Fault] = []
        for pipeline in self._pipelines:
            try:
                self.flows.append(await self._prepare(pipeline))
            except ConfigError as error:
                told = await assembly.review(pipeline, self._env, with_output=self._options.output is None)
                faults += told or error.faults
        if faults:
            raise ConfigError(faults)

    async def _prepare(self, pipeline: Pipeline) -> Flow:
        """Open state, output and files of one pipeline, and connect them."""
        output, directory = self._output(pipeline)
        held = self._store(directory) if directory is not None else None
        place = held.place(pipeline.name, output.destination) if held is not None else None
        before = _read_checkpoint(place, output.destination) if place is not None else None
        horizon = Horizon(time.time()) if before is None else msgspec.convert(before.horizon, Horizon)
        surroundings = assembly.Surroundings(
            env=self._env,
            host_name=self._env.get("SHIPPER_HOST_NAME") or socket.gethostname(),
            hash_key=held.hash_key() if held is not None else secrets.token_bytes(32),
            lap=self._steps.lap if self._steps is not None else unmeasured,
        )
        parts = assembly.make_parts(pipeline, surroundings, horizon)
        if self._options.from_start:
            before = None if before is None else msgspec.structs.replace(before, sources=[], last_seconds={})
        try:
            await output.restore(before.output if before is not None else None)
            await assembly.open_output(pipeline.output, output)
        except (ConfigError, HostError):
            await output.close()
            raise
        flow = Flow(parts, place, store.machine_id(), before)
        letters = DeadLetters(place / "dead-letters") if place is not None else None
        outlet = Outlet(Courier(output.courier_settings(), random.random), output, letters, flow)
        inlets = Inlets(flow, pipeline, place, once=self._options.once)
        self._inlets.append(inlets)
        flow.connect(inlets.all, outlet)
        await inlets.open(before)
        if self._report is not None:
            self._report.add(flow, parts, inlets.all, assembly.routes_of(pipeline), place)
        log.write("info", "pipeline started", pipeline=pipeline.name, output=output.destination, resumed=before is not None)
        return flow

    def _output(self, pipeline: Pipeline) -> tuple[Any, Path | None]:
        """The output of a pipeline, and where its progress is kept: beside a local directory that was tried, else in our own place."""
        state = Path(self._options.state) if self._options.state else store.default_directory(self._env)
        if self._options.output is None:
            output = assembly.make_output(pipeline.output)
            return output, state if output.keeps_state else None
        output = assembly.override_output(self._options.output, pipeline.name if len(self._pipelines) > 1 else "")
        if not output.keeps_state:
            return output, None
        if pipeline.output.type == output.kind and assembly.make_output(pipeline.output).destination == output.destination:
            return output, state  # the same place as configured: two accounts of one directory would undo each other
        return output, Path(output.directory) / ".shipper"

    def _store(self, directory: Path) -> store.Store:
        """The state directory, held by this agent."""
        for held in self._stores:
            if held.directory == directory:
                return held
        held = store.Store(directory)
        held.open()
        self._stores.append(held)
        return held

    def account(self) -> dict[str, Any]:
        """The account of all pipelines together, as plain data."""
        total: dict[str, Any] = msgspec.to_builtins(Account())
        for flow in self.flows:
            for name, value in msgspec.to_builtins(flow.ledger.account).items():
                total[name] = (
                    Counter(total.get(name, {})) + Counter(value) if isinstance(value, dict) else total.get(name, 0) + value
                )
        first = min((flow.first_read_at for flow in self.flows if flow.first_read_at is not None), default=None)
        return {
            **{name: dict(value) if isinstance(value, Counter) else value for name, value in total.items()},
            "pushed": any(inlet.subject != "file" for inlets in self._inlets for inlet in inlets.all),
            "files": sum(flow.files for flow in self.flows),
            "unreadable": sum(flow.unreadable for flow in self.flows),
            "in_flight": sum(flow.ledger.in_flight for flow in self.flows),
            "unaccounted": sum(flow.ledger.unaccounted for flow in self.flows),
            "first_read_s": None if first is None else round(first - self._started_at, 3),
            "steps": dict(self._steps.spent) if self._steps is not None else {},
            "stopped": next((flow.stop_reason for flow in self.flows if flow.stop_reason), ""),
        }


def _read_checkpoint(place: Path, destination: str) -> checkpoint.Checkpoint | None:
    """The checkpoint of a place; None where there never was one. Raises HostError for one that is not whole."""
    path = place / "checkpoint"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(
            f"the checkpoint {path} cannot be read: {error.strerror}", "Mend it, or `shipper state reset`."
        ) from error
    found = checkpoint.decode(data, str(path))
    if found.destination != destination:
        raise HostError(f"the checkpoint {path} belongs to {found.destination}", "State directories are not to be moved by hand.")
    return found


async def run(pipelines: list[Pipeline], options: Options, env: Mapping[str, str]) -> Agent:
    """Run an agent to its end, with signals; for the command line. What ended a running pipeline is in `failure`, not raised."""
    agent = Agent(pipelines, options, env)
    agent.stop_on_signals()
    try:
        await agent.run()
    except HostError as error:
        if error is not agent.failure:
            raise
    return agent
