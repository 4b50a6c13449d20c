"""Assembly: from a checked configuration to the parts of a flow. Nothing runs yet; what cannot work is refused here.

A component that refuses its settings becomes a fault at its place in the file, all of them at once, as the loader does it.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from shipper.chain import Chain, Dating, Lap, redacted, unmeasured
from shipper.config import load
from shipper.config.agent import AgentSettings
from shipper.config.agent import load as load_agent
from shipper.config.fields import FilePath
from shipper.decode.timestamp import Timeline
from shipper.edge import log, store
from shipper.edge.tables import Tables
from shipper.encode import document, ecs
from shipper.encode.index import Horizon, Route, Router
from shipper.flow import Parts
from shipper.intake import Intake
from shipper.model.columns import meet
from shipper.model.errors import ComponentError, ConfigError, Fault, HostError, Place
from shipper.redact.gate import Gate, choose_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shipper.config.pipeline import Component, Pipeline, Stamps
    from shipper.decode.decoder import Decoder
    from shipper.frame.frame import Frame
    from shipper.model.batch import Stream


_STDIN = "name: stdin\nsources:\n  - type: stdin\n"
"""`program | shipper run -`: into files under `out`, or to the Elasticsearch that the environment names."""
_TO_ELASTICSEARCH = """\
output:
  type: elasticsearch
  hosts: ["${ELASTICSEARCH_SCHEME:-http}://${ELASTICSEARCH_HOST}:${ELASTICSEARCH_PORT:-9200}"]
  user: ${ELASTICSEARCH_USER:-}
  password: ${ELASTICSEARCH_PASSWORD:-}
"""


class Surroundings(msgspec.Struct):
    """What parts need to know of the machine."""

    env: Mapping[str, str]
    host_name: str
    hash_key: bytes
    lap: Lap = unmeasured


class _Faults:
    """Collects what constructors refuse."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def make(self, component: Component, *arguments: Any) -> Any:
        """Construct a component; None where it refuses."""
        try:
            return component.factory(component.config, *arguments)
        except ComponentError as error:
            self.faults.append(component.fault(error))
            return None

    def run(self, make: Callable[[], object]) -> None:
        """Collect the faults of something that collects its own."""
        try:
            make()
        except ConfigError as error:
            self.faults += error.faults

    def check(self) -> None:
        """Raise what was collected."""
        if self.faults:
            raise ConfigError(sorted(self.faults, key=lambda fault: (fault.place.line, fault.place.column)))


def read_pipeline(path: str, env: Mapping[str, str], output: Component | None = None) -> Pipeline:
    """Read and check a pipeline file; `-` is the built-in one that reads standard input. Raises ConfigError.

    `output` is for pipelines that name none, instead of files under `out`.
    """
    stdin = _STDIN + (_TO_ELASTICSEARCH if env.get("ELASTICSEARCH_HOST") else "")
    text = stdin if path == "-" else _text(path)
    found = load.load(text, path, env, secret_reader(env))
    return found if found.output_given or output is None else msgspec.structs.replace(found, output=output)


def read_agent(path: str | None, env: Mapping[str, str]) -> AgentSettings:
    """Read and check the agent's own file; None: all its defaults. Raises ConfigError."""
    return AgentSettings() if path is None else load_agent(_text(path), path, env, secret_reader(env))


def _text(path: str) -> str:
    """A configuration file. Raises ConfigError where it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError([Fault(Place(path, 1, 1), f"cannot read the file: {error.strerror}")]) from error


def clashes(pipelines: Sequence[Pipeline], *, with_output: bool = True) -> list[Fault]:
    """What is wrong only with several pipelines together: progress is kept by name, and a local directory has one writer."""
    faults: list[Fault] = []
    names: dict[str, Pipeline] = {}
    directories: dict[str, Pipeline] = {}
    faults += _doubled_inputs(pipelines)
    for pipeline in pipelines:
        other = names.setdefault(pipeline.name, pipeline)
        if other is not pipeline:
            message = f"the pipeline in {other.path} is named {pipeline.name} too"
            faults.append(Fault(Place(pipeline.path, 1, 1), message, "progress is kept by name: give each its own"))
        if pipeline.output.type != "local" or not with_output:
            continue
        directory = os.path.realpath(pipeline.output.config.directory)
        other = directories.setdefault(directory, pipeline)
        if other is not pipeline:
            message = f"the pipeline {other.name} writes into the directory {directory} too"
            faults.append(Fault(pipeline.output.place, message, "give each its own: `output: {type: local, directory: ...}`"))
    return faults


def _doubled_inputs(pipelines: Sequence[Pipeline]) -> list[Fault]:
    """Inputs that only one source can have: standard input, and each address."""
    faults: list[Fault] = []
    taken: set[str] = set()
    for component in (source.component for pipeline in pipelines for source in pipeline.sources):
        wanted = ["standard input"] if component.inlet == "pipe" else list(getattr(component.config, "listen", ()))
        for name in wanted:
            if name in taken and not name.endswith(":0"):
                hint = "one source can have it; its records can go to several indices by `route`"
                faults.append(Fault(component.place, f"{component.type}: another source has {name} already", hint))
            taken.add(name)
    return faults


def secret_reader(env: Mapping[str, str]) -> Callable[[str], str | None]:
    """Secrets by name: files in systemd's credentials directory, in `$SHIPPER_SECRETS`, or under `/run/secrets`."""
    directories = [env[name] for name in ("CREDENTIALS_DIRECTORY", "SHIPPER_SECRETS") if env.get(name)] + ["/run/secrets"]

    def read(name: str) -> str | None:
        if name != os.path.basename(name) or name in {"", ".", ".."}:
            return None
        for directory in directories:
            try:
                return (Path(directory) / name).read_bytes().decode().rstrip("\n")
            except FileNotFoundError:
                continue
            except UnicodeDecodeError:  # whose text would quote the secret
                raise OSError(errno.EILSEQ, "it is not UTF-8 text") from None
        return None

    return read


def make_gate(pipeline: Pipeline, surroundings: Surroundings, guards: Mapping[str, bytes]) -> Gate:
    """The redaction gate of a pipeline. Raises ConfigError."""
    config = pipeline.redact.config
    key = config.hash_key.encode() if config.hash_key else surroundings.hash_key
    cache = store.RuleCache(store.default_directory(surroundings.env) / "rules")
    engine = choose_engine(surroundings.env.get("SHIPPER_REDACT_ENGINE"))
    try:
        return Gate(config, hash_key=key, engine=engine, cache=cache, guards=guards)
    except ComponentError as error:
        raise ConfigError([pipeline.redact.fault(error)]) from error


def make_parts(pipeline: Pipeline, surroundings: Surroundings, horizon: Horizon) -> Parts:
    """Construct everything between the inlets and the outlet. Raises ConfigError with all faults."""
    faults = _Faults()
    tables = Tables()
    frames: list[Frame] = [faults.make(source.frame) for source in pipeline.sources]
    stages = [(component.type, faults.make(component, tables)) for component in pipeline.stages]
    for source in pipeline.sources:
        if source.component.inlet == "listen":
            faults.make(source.component, time.time)
    if faults.faults:  # what the gate refuses belongs to the same message
        faults.run(lambda: make_gate(pipeline, surroundings, {}))
    faults.check()
    faults.faults += _in_each_others_way(pipeline.stages, [stage for _, stage in stages])
    faults.check()
    router = Router(routes_of(pipeline), horizon)
    makers = (*frames, *(stage for _, stage in stages), *(source.component.factory for source in pipeline.sources))
    adds = dict.fromkeys(name for maker in makers for name in getattr(maker, "adds", ()))
    stamp_fields = tuple(dict.fromkeys((*pipeline.timestamp.fields, "@timestamp")))
    asked = [*router.reads, *(name for _, stage in stages for name in stage.reads)]
    spare = [name for name in stamp_fields[1:] if name not in asked]
    reads = [*stamp_fields, *asked]
    decodes = [_zoned(source.decode, pipeline.timestamp) for source in pipeline.sources]
    decoders: list[Decoder] = [faults.make(decode, reads, tuple(adds), spare) for decode in decodes]
    faults.check()
    guarding = (*(stage for _, stage in stages if hasattr(stage, "guards")), *decoders)
    guards = {name: pattern for one in guarding for name, pattern in one.guards.items()}
    renames = pipeline.ecs == "on"
    gate = make_gate(pipeline, surroundings, {**guards, ecs.GUARD_NAME: ecs.GUARD} if renames else guards)
    log.write("debug", "redaction gate ready", engine=gate.engine, rules=len(gate.rules))
    tell(tables)
    added = tuple(dict.fromkeys(name for source in pipeline.sources for name in getattr(source.component.factory, "adds", ())))
    timeline = _timeline(pipeline.timestamp)
    datings = [
        Dating(
            stamp_fields=stamp_fields,
            content_key=surroundings.hash_key if (source.id or pipeline.id) == "content" else None,
            objects=added,
            adds=tuple(adds),
            timeline=timeline,
            ecs=renames,
        )
        for source in pipeline.sources
    ]
    return Parts(
        name=pipeline.name,
        chains=[Chain(gate, decoder, stages, router, dating) for decoder, dating in zip(decoders, datings, strict=True)],
        intakes=[_intakes(pipeline, number, frame) for number, frame in enumerate(frames)],
        flushes=[getattr(frame, "flush_after_s", None) for frame in frames],
        router=router,
        horizon=horizon,
        summarising=[stage for _, stage in stages if hasattr(stage, "flush")],
        commons=[_common(source.component, gate, gate.text(surroundings.host_name)) for source in pipeline.sources],
        redact_text=gate.text,
        lap=surroundings.lap,
        refresh=lambda: tell(tables),
        tables=tables,
        renamed=ecs.Renaming(()).document if renames else bytes,
    )


def _timeline(stamps: Stamps) -> Timeline | None:
    """What reads times as the pipeline says; None where it says nothing."""
    return None if stamps.is_plain else Timeline(stamps.layouts, stamps.zone, stamps.fold)


def _zoned(decode: Component, stamps: Stamps) -> Component:
    """A decoder, in the pipeline's zone where its settings say none; but its times are the pipeline's layouts', if it has none itself."""
    config = decode.config
    if hasattr(config, "of"):
        config = replace(config, of=[_zoned(one, stamps) for one in config.of])
    elif getattr(config, "zone", "") is None and (not stamps.layouts or getattr(config, "layouts", True)):
        config = replace(config, zone=stamps.zone, fold=stamps.fold if config.fold == "auto" else config.fold)
    return replace(decode, config=config)


def _in_each_others_way(components: Sequence[Component], stages: Sequence[Any]) -> list[Fault]:
    """Stages that add what an earlier one adds, which would stand there twice, or change in records what only documents have."""
    faults: list[Fault] = []
    for number, (component, stage) in enumerate(zip(components, stages, strict=True)):
        for earlier, before in zip(components[:number], stages, strict=False):
            both = {*getattr(stage, "objects", ())}.intersection(getattr(before, "objects", ()))
            added = next((name for name in stage.adds for other in before.adds if meet(name, other)), next(iter(both), None))
            if added is not None:
                error = ComponentError(f"`{added}` is added by {earlier.type} already", "target", "give it another name")
                faults.append(component.fault(error))
            changed = next((name for name in getattr(stage, "changes", ()) for other in before.adds if meet(name, other)), None)
            if changed is not None:
                hint = f"it changes records, not what stages add to documents; put it before {earlier.type}"
                faults.append(component.fault(ComponentError(f"`{changed}` is added by {earlier.type}", "", hint)))
    return faults


def _common(component: Component, gate: Gate, host_name: str) -> Callable[[str], tuple[bytes, Mapping[str, object]]]:
    """What all documents of a stream share: its file (and what the file's path tells), the host. See `Parts.commons`."""
    describe = getattr(component.factory, "describe", None)

    def common(path: str) -> tuple[bytes, Mapping[str, object]]:
        told = {} if describe is None else redacted(describe(path), gate)
        return document.common_fragment(None if path.startswith("push:") else path, host_name, told), dict(_flat(told, ""))

    return common


def _flat(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, object]]:
    """The leaves of nested objects, by dotted name."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}", inner


def _intakes(pipeline: Pipeline, number: int, frame: Frame) -> Callable[[Stream], Intake]:
    encoding = getattr(pipeline.sources[number].component.config, "encoding", "utf-8")
    return lambda stream: Intake(stream, frame, encoding=encoding, max_record_bytes=pipeline.max_record)


def routes_of(pipeline: Pipeline) -> list[Route]:
    """The routes as the encoder wants them."""
    return [
        Route(str(spec.index), spec.when, None if spec.window is None else (-spec.window.before_s, spec.window.after_s))
        for spec in pipeline.routes
    ]


def tell(tables: Tables) -> None:
    """Look after the lookup tables, and log what there is to say of them."""
    for note in tables.refresh():
        log.write(note.level, note.message, **note.fields)


def make_output(component: Component) -> Any:
    """Construct an output. Raises ConfigError."""
    faults = _Faults()
    output = faults.make(component)
    faults.check()
    return output


async def open_output(component: Component, output: Any) -> None:
    """Get an output ready. Raises ConfigError for what it finds unusable only now (a file of authorities), or HostError."""
    try:
        await output.open()
    except ComponentError as error:
        raise ConfigError([component.fault(error)]) from error


async def review(pipeline: Pipeline, env: Mapping[str, str], *, with_output: bool = True) -> list[Fault]:
    """All faults of a checked pipeline that only show when its parts are made; [] where `run` would take it.

    It makes the same parts in the same way as `run` does; `run` asks here when one of them refuses, to tell of all at once.
    """
    faults: list[Fault] = []
    if with_output:
        try:
            output = make_output(pipeline.output)
            await open_output(pipeline.output, output)
            await output.close()
        except ConfigError as error:
            faults += error.faults
    try:
        make_parts(pipeline, Surroundings(env, "", bytes(32)), Horizon(0.0))
    except ConfigError as error:
        faults += error.faults
    return sorted(faults, key=lambda fault: (fault.place.line, fault.place.column))


def override_output(text: str, below: str = "") -> Any:
    """The output of `--output local:DIR` or `--output console`; `below` is a directory in DIR. Raises HostError for anything else."""
    from shipper.edge.output.console import Console
    from shipper.edge.output.local import Local

    kind, _, rest = text.partition(":")
    if kind == "local" and rest:
        return Local(Local.Config(directory=FilePath(os.path.join(os.path.abspath(rest), below).rstrip("/"))))
    if kind == "console" and not rest:
        return Console(Console.Config())
    raise HostError(f"--output {text!r} is not known", "Say --output local:DIRECTORY or --output console.")
