"""Agent: pipelines, each with its state, run together in one process until they are done or told to stop."""

from __future__ import annotations

import asyncio
import base64
import os
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
from shipper.edge.files import FileHands
from shipper.edge.globs import translate_path
from shipper.edge.inlet import Inlet
from shipper.edge.outlet import Outlet
from shipper.edge.watch import Watch
from shipper.encode.index import Horizon
from shipper.flow import Flow
from shipper.model.errors import ConfigError, Fault, HostError
from shipper.progress import checkpoint
from shipper.source import events
from shipper.source.events import StreamState
from shipper.source.reading import LIMITS
from shipper.source.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shipper.config.pipeline import Pipeline

_WINDOW_MARGIN_BYTES = 1 << 16


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the command line wants the agent to run."""

    once: bool = False
    output: str | None = None
    patience_s: float = 300.0
    from_start: bool = False
    state: str | None = None


class Steps:
    """Measures CPU by step, when asked to: `lap(step)` books the time since the last call."""

    def __init__(self) -> None:
        """Start the clock."""
        self.spent: Counter[str] = Counter()
        self._last = time.thread_time()

    def lap(self, step: str) -> None:
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
        self._pipelines, self._options, self._env = pipelines, options, env
        self._started_at = time.monotonic()
        self._stop_reason = ""
        self._steps = Steps() if env.get("SHIPPER_PROFILE_STEPS") else None
        self._stores: list[store.Store] = []
        self._watches: list[Watch] = []

    async def run(self) -> None:
        """Run until everything is done, or `stop`. Raises ConfigError or HostError for what cannot work."""
        try:
            await self._prepare_all()
            if self._options.once:
                self.drain()
            if self._stop_reason:
                self.stop(self._stop_reason)  # a signal came while nothing was there to be stopped
            self.ready.set()
            await asyncio.gather(*(flow.run(patience_s=self._options.patience_s) for flow in self.flows))
        finally:
            if not self.ready.is_set():
                for flow in self.flows:
                    await flow.outlet.close()
            for watch in self._watches:
                watch.stop()
            for held in self._stores:
                held.close()
        if self.failure is not None:
            raise self.failure

    @property
    def failure(self) -> HostError | None:
        """What ended a pipeline that was running."""
        return next((flow.failure for flow in self.flows if flow.failure is not None), None)

    def stop(self, reason: str) -> None:
        """Stop reading, deliver what is in flight, save, end."""
        log.write("info", "stopping", why=reason)
        self._stop_reason = reason
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
        inlets = [self._inlet(flow, source.component.config, pipeline.max_record) for source in pipeline.sources]
        flow.connect(inlets, outlet)
        for inlet, streams in zip(inlets, _known_streams(before, pipeline), strict=True):
            inlet.offer(events.Resume(streams))
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

    def _inlet(self, flow: Flow, config: Any, max_record_bytes: int) -> Inlet:
        loop = asyncio.get_running_loop()
        # A window must be longer than the longest record, or a file with such a record is never read on.
        window = max(LIMITS.read_size_bytes_max, max_record_bytes + _WINDOW_MARGIN_BYTES)
        tail = Tail(config, mint_identity, msgspec.structs.replace(LIMITS, read_size_bytes_max=window))
        hands = FileHands(config)
        inlet = Inlet(tail, hands, flow, loop.time)
        if not self._options.once:
            inlet.watch = self._watch(inlet, flow, config)
        return inlet

    def _watch(self, inlet: Inlet, flow: Flow, config: Any) -> Watch:
        def noticed(paths: frozenset[str], names: bool) -> None:  # noqa: FBT001
            inlet.offer(events.Noticed(paths, names))
            flow.wake()

        watch = Watch(asyncio.get_running_loop(), noticed, poll=config.poll)
        self._watches.append(watch)
        return watch

    def account(self) -> dict[str, Any]:
        """The account of all pipelines together, as plain data."""
        total: dict[str, Any] = {}
        for flow in self.flows:
            for name, value in msgspec.to_builtins(flow.ledger.account).items():
                total[name] = (
                    Counter(total.get(name, {})) + Counter(value) if isinstance(value, dict) else total.get(name, 0) + value
                )
        first = min((flow.first_read_at for flow in self.flows if flow.first_read_at is not None), default=None)
        return {
            **{name: dict(value) if isinstance(value, Counter) else value for name, value in total.items()},
            "files": sum(flow.files for flow in self.flows),
            "unreadable": sum(flow.unreadable for flow in self.flows),
            "in_flight": sum(flow.ledger.in_flight for flow in self.flows),
            "unaccounted": sum(flow.ledger.unaccounted for flow in self.flows),
            "first_read_s": None if first is None else round(first - self._started_at, 3),
            "steps": dict(self._steps.spent) if self._steps is not None else {},
            "stopped": next((flow.stop_reason for flow in self.flows if flow.stop_reason), ""),
        }


def mint_identity() -> str:
    """128 random bits, 22 characters of base64url."""
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


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


def _known_streams(before: checkpoint.Checkpoint | None, pipeline: Pipeline) -> list[list[StreamState] | None]:
    """The streams of each source as the checkpoint has them, None for a source that is new.

    A source may have been put before others, or moved: a stream goes to the source that includes its file, the same number first;
    where none does (a link leads to the file) to the same number. On another machine they are minted anew, offsets kept.
    """
    if before is None or not before.sources:
        return [None] * len(pipeline.sources)
    found: list[list[StreamState]] = [[] for _ in pipeline.sources]
    tests = [_is_included(source.component.config) for source in pipeline.sources]
    for number, states in enumerate(before.sources):
        order = sorted(range(len(tests)), key=number.__ne__)
        for state in (msgspec.convert(state, StreamState) for state in states):
            state.path, state.home = store.unquoted(state.path), store.unquoted(state.home)
            at = next((at for at in order if tests[at](state.home or state.path)), number)
            if at < len(found):
                found[at].append(state)
    if before.machine_id != store.machine_id():
        _mint_anew([state for states in found for state in states], before)
    return [streams if streams or number < len(before.sources) else None for number, streams in enumerate(found)]


def _is_included(config: Any) -> Callable[[str], bool]:
    """Whether a path is one of those that a source includes."""
    patterns = [translate_path(pattern) for pattern in config.include]
    return lambda path: any(pattern.fullmatch(path) for pattern in patterns)


def _mint_anew(streams: list[StreamState], before: checkpoint.Checkpoint) -> None:
    """A cloned machine: both would send the same ids."""
    log.write("warning", "this state was written on another machine: its streams get new identities", streams=len(streams))
    for stream in streams:
        old, stream.id = stream.id, mint_identity()
        if old in before.last_seconds:
            before.last_seconds[stream.id] = before.last_seconds[old]


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
