"""The command line. Exit codes: 0 done, 1 failed or something was lost, 2 wrong usage, 78 configuration refused.

Each command imports what it needs: `--help` and `check` do not pay for a transport or an observer.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from shipper.model.errors import ComponentError, ConfigError, HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.config.agent import AgentSettings
    from shipper.config.pipeline import Pipeline

CONFIG_REFUSED = 78
"""EX_CONFIG of sysexits.h."""


def main() -> None:
    """Entry point of `shipper`."""
    cli(prog_name="shipper")


def refusing(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn refusals into texts on stderr and exit codes."""

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        try:
            code = command(**arguments)
        except ConfigError as error:
            click.echo(str(error), err=True)
            sys.exit(CONFIG_REFUSED)
        except (HostError, ComponentError) as error:
            click.echo(f"shipper: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        sys.exit(code or 0)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="shipper")
def cli() -> None:
    """Ship logs: rotating files in, redacted and enriched documents in Elasticsearch."""


_PATH = click.Path(readable=False)  # click would ask access(2), which says no to a service that reads by capability
_CONFIGS = click.argument("configs", nargs=-1, required=True, type=_PATH)
_LOG = click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="[default: as the agent file says, else info]"
)
_AGENT = click.option(
    "--agent",
    "settings",
    metavar="FILE",
    envvar="SHIPPER_AGENT",
    help="Settings of the agent itself.  [default: $SHIPPER_AGENT, or the shipper.yaml of a directory]",
)


@cli.command()
@_CONFIGS
@click.option("--once", is_flag=True, help="Read what is there to the end, deliver it, print the account, exit.")
@click.option("--output", metavar="local:DIR|console", help="Ship there instead; progress of the real output is not touched.")
@click.option(
    "--timeout", default="5m", show_default=True, help="With --once: give up when the output takes nothing for so long."
)
@click.option("--from-start", is_flag=True, help="Forget progress and read everything again.")
@click.option("--state", metavar="DIR", help="Where progress is kept.  [default: $SHIPPER_STATE or the platform's place]")
@click.option("--json", "as_json", is_flag=True, help="Print the account as one line of JSON.")
@_AGENT
@_LOG
@refusing
def run(configs: Sequence[str], once: bool, timeout: str, as_json: bool, **rest: Any) -> int:  # noqa: FBT001
    """Run pipelines until stopped, or once.

    A CONFIG is the file of a pipeline, a directory, or `-`: standard input. Of a directory its shipper.yaml is taken (settings
    of the agent), and its pipelines/*.yaml, or all other *.yaml in it where it has no pipelines/.
    """
    from shipper import agent, assembly
    from shipper.config import fields
    from shipper.edge import folder, log, memory

    try:
        patience_s = float(fields.duration(timeout))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error
    if patience_s < 0:
        raise click.BadParameter("a time that is over", param_hint="--timeout")
    if rest["output"] is not None:
        try:
            assembly.override_output(rest["output"])
        except HostError as error:
            raise click.BadParameter(str(error), param_hint="--output") from error
    settings = assembly.read_agent(rest.pop("settings") or folder.agent_file(configs), os.environ)
    log.configure(rest.pop("log_level") or settings.log_level)
    if settings.memory_given:
        log.write("warning", "the setting `memory` has no effect yet: each output's `in_flight` bounds what is held")
    control = settings.control if settings.control_given or not once else None
    rest["state"] = rest["state"] or settings.state_dir
    options = agent.Options(once=once, patience_s=patience_s, control=control, **rest)
    memory.tune()
    pipelines = _read(configs, settings, with_output=options.output is None)
    finished = asyncio.run(agent.run(pipelines, options, os.environ))
    code = _report(finished.account(), once=once or finished.is_drained, as_json=as_json)
    if finished.failure is not None:
        raise finished.failure
    return code


def _report(account: dict[str, Any], *, once: bool, as_json: bool) -> int:
    """Print the account of a run; return the exit code."""
    import msgspec

    from shipper.edge import account as pages

    if as_json:
        click.echo(msgspec.json.encode(account).decode())
    elif once:
        click.echo(pages.render(account), err=True)
    short = ("lost_bytes", "dead", "in_flight", "unaccounted", "unreadable", "stopped")
    return 1 if once and any(account[name] for name in short) else 0


def _read(configs: Sequence[str], settings: AgentSettings | None = None, *, with_output: bool = True) -> list[Pipeline]:
    """Read all pipelines; those that name no output have that of the agent. All mistakes of all files at once: ConfigError."""
    from shipper import assembly
    from shipper.edge import folder

    pipelines = []
    paths, faults = folder.pipelines(configs)
    for path in paths:
        try:
            pipelines.append(assembly.read_pipeline(path, os.environ, None if settings is None else settings.output))
        except ConfigError as error:
            faults += error.faults
    faults += assembly.clashes(pipelines, with_output=with_output)
    if faults:
        raise ConfigError(faults)
    return pipelines


def _read_one(config: str) -> Pipeline:
    """Read the pipeline of a command that takes one file, no directory. Raises ConfigError."""
    from shipper import assembly

    pipeline = assembly.read_pipeline(config, os.environ)
    if faults := assembly.clashes([pipeline]):
        raise ConfigError(faults)
    return pipeline


@cli.command()
@_CONFIGS
@_AGENT
@refusing
def check(configs: Sequence[str], settings: str | None) -> None:
    """Say whether `run` would take these configurations, files or directories, with all that is wrong."""
    from shipper import assembly
    from shipper.edge import folder, log

    log.configure("error")
    pipelines = _read(configs, assembly.read_agent(settings or folder.agent_file(configs), os.environ))
    if faults := [fault for pipeline in pipelines for fault in asyncio.run(assembly.review(pipeline, os.environ))]:
        raise ConfigError(faults)
    for pipeline in pipelines:
        click.echo(f"{pipeline.path}: ok ({_plural(len(pipeline.sources), 'source')}, {_plural(len(pipeline.stages), 'stage')})")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@cli.command()
@_CONFIGS
@refusing
def test(configs: Sequence[str]) -> int:
    """Run the tests written in these configurations, files or directories."""
    from shipper import rehearsal
    from shipper.edge import log

    log.configure("error")
    failed = 0
    for pipeline in _read(configs, with_output=False):  # tests go to no output
        results = rehearsal.run_tests(pipeline, os.environ)
        for result in results:
            click.echo(f"{'ok    ' if result.ok else 'FAILED'} {result.name}")
            for problem in result.problems:
                click.echo(f"       {problem}")
        bad = sum(not result.ok for result in results)
        click.echo(f"{pipeline.path}: {len(results) - bad} passed, {bad} failed")
        failed += bad
    return 1 if failed else 0


@cli.command()
@click.argument("config", type=_PATH)
@click.option("--source", type=int, default=0, show_default=True, help="Which source of the pipeline reads the lines.")
@refusing
def explain(config: str, source: int) -> None:
    """Show what each step does with the lines on standard input: before, after, why. Secrets are shown masked."""
    from shipper import explanation
    from shipper.edge import log

    log.configure("error")
    pipeline = _read_one(config)
    if not 0 <= source < len(pipeline.sources):
        there = f"the pipeline has {_plural(len(pipeline.sources), 'source')}, counted from 0"
        raise click.BadParameter(there, param_hint="--source")
    click.echo(explanation.explain(pipeline, sys.stdin.buffer.read(1 << 24), source, os.environ))


@cli.group()
def redact() -> None:
    """Look for secrets and personal data with the rules of the gate."""


@redact.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="FILE...")
@click.option("--packs", default="secrets,pii", show_default=True, help="Which rules, separated by commas.")
@click.option("--cost", is_flag=True, help="Print what each rule costs a record: of the files, or of records without a secret.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 also when something was found.")
@click.option("--json", "as_json", is_flag=True, help="Print one object of JSON a line.")
@refusing
def scan(paths: Sequence[str], packs: str, **options: bool) -> int:
    """Say what is found in files, `-` is standard input: file, line, rule, and the line masked. Exits with 1 when there is something."""
    from shipper import scan_page

    if not paths and not options["cost"]:
        raise click.UsageError("Name the files to be looked at; - is standard input.")
    wanted = [name.strip() for name in packs.split(",")]
    if unknown := [name for name in wanted if name not in ("secrets", "pii")]:
        raise click.BadParameter(f"there is no pack {unknown[0]!r}; there are secrets and pii", param_hint="--packs")
    print_ = scan_page.costs if options["cost"] else scan_page.hits
    found = print_(paths, wanted, as_json=options["as_json"])
    return 1 if found and not options["exit_zero"] else 0


@cli.command()
@click.argument("topic", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of pipeline files, for editors.")
@click.option("--write", metavar="DIR", help="Write all pages and the schema there.")
@refusing
def docs(topic: str | None, schema: bool, write: str | None) -> None:  # noqa: FBT001
    """Print the manual page of a component, such as stage/geoip; without one, list them all."""
    from shipper.config import manual, reference

    if write is not None:
        reference.write(write)
    elif schema:
        click.echo(reference.schema_text(), nl=False)
    elif topic is None:
        for name, about in manual.topics().items():
            click.echo(f"{name:<24} {about}")
    else:
        click.echo(manual.page(topic), nl=False)


@cli.command()
@click.argument("config", type=_PATH)
@click.option("--print", "only_print", is_flag=True, help="Print what would be put, change nothing.")
@refusing
def setup(config: str, only_print: bool) -> None:  # noqa: FBT001
    """Put the index templates of a pipeline into its Elasticsearch: geo_point, ip, date, ECS aliases."""
    from shipper.edge import templates

    pipeline = _read_one(config)
    for line in templates.put(pipeline, only_print=only_print):
        click.echo(line)


_AGENTS = ["fluentd", "fluent-bit", "filebeat", "vector", "promtail", "shipper"]
_STATE = click.option("--state", "directory", metavar="DIR", help="Where progress is kept.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as one line of JSON.")
_CONFIG = click.argument("config", type=_PATH)


@cli.group()
def state() -> None:
    """Look after the progress that is kept."""


@state.command()
@_CONFIG
@_STATE
@refusing
def reset(config: str, directory: str | None) -> None:
    """Forget the progress of a pipeline: the next run reads everything again. The old checkpoint is kept beside."""
    from pathlib import Path

    from shipper import assembly
    from shipper.edge import store

    pipeline = _read_one(config)
    held = store.Store(Path(directory) if directory else store.default_directory(os.environ))
    held.open()
    path = held.place(pipeline.name, assembly.make_output(pipeline.output).destination) / "checkpoint"
    if path.exists():
        path.rename(path.with_name("checkpoint.reset"))
        click.echo(f"forgotten; what was known is in {path.with_name('checkpoint.reset')}")
    else:
        click.echo("there was no progress to forget")
    held.close()


def _kept(config: str, directory: str | None) -> Any:
    """Where the progress of a pipeline is kept."""
    from pathlib import Path

    from shipper import assembly, inlets
    from shipper.edge import state_commands, store

    pipeline = _read_one(config)
    place = Path(directory) if directory else store.default_directory(os.environ)
    return state_commands.Kept(pipeline, assembly.make_output(pipeline.output).destination, place, inlets.mint_identity)


def _tell(lines: Any, value: Any, *, as_json: bool) -> None:
    """Print lines, or the same as data."""
    import msgspec

    from shipper.edge import state_texts

    for line in [msgspec.json.encode(state_texts.as_data(value)).decode()] if as_json else lines:
        click.echo(line)


@state.command("list")
@_CONFIG
@_STATE
@_JSON
@refusing
def list_(config: str, directory: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say how far each file was read."""
    from shipper.edge import state_commands, state_texts

    rows = state_commands.list_streams(_kept(config, directory))
    _tell(state_texts.streams(rows), rows, as_json=as_json)


@state.command()
@_CONFIG
@_STATE
@refusing
def export(config: str, directory: str | None) -> None:
    """Print the progress of a pipeline as JSON, for `state import`."""
    from shipper.edge import state_commands

    click.echo(state_commands.export(_kept(config, directory)), nl=False)


@state.command("set")
@_CONFIG
@click.argument("file", type=_PATH)
@click.argument("offset", metavar="OFFSET|beginning|end")
@click.option("--again", is_flag=True, help="Send what is read again as new documents, not under their old ids.")
@_STATE
@_JSON
@refusing
def set_(config: str, file: str, offset: str, as_json: bool, **rest: Any) -> None:  # noqa: FBT001
    """Move the progress in one file."""
    from shipper.edge import state_commands

    try:
        to = state_commands.parse_target(offset)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="OFFSET") from error
    moved = state_commands.set_offset(_kept(config, rest["directory"]), os.path.abspath(file), to, again=rest["again"])
    _tell([moved.reason], moved, as_json=as_json)


@state.command("import")
@_CONFIG
@click.argument("file", type=_PATH)
@click.option("--from", "agent", type=click.Choice(_AGENTS), help="Whose state it is.  [default: by its content]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
@click.option("--force", is_flag=True, help="Replace progress that is there already.")
@_STATE
@_JSON
@refusing
def import_(config: str, file: str, directory: str | None, as_json: bool, **rest: Any) -> int:  # noqa: FBT001
    """Begin where another agent stopped, as its state in FILE says."""
    from pathlib import Path

    from shipper.edge import state_commands, state_texts

    found = state_commands.take_over(_kept(config, directory), Path(file), **rest)
    _tell(state_texts.imported(found), found, as_json=as_json)
    return 1 if any(one.status == "refused" for one in found.outcomes) else 0


@cli.command()
@click.option("--directory", default="demo", show_default=True, help="Where everything goes; an older demo there is replaced.")
@click.option("--seconds", default=12.0, show_default=True, help="How long the programs write.")
@click.option("--svg", type=_PATH, help="Save what is shown as a picture.")
@refusing
def demo(directory: str, seconds: float, svg: str | None) -> int:
    """Start three small programs that log, ship what they write, and recount it all."""
    from shipper.demo import run as show

    return show.demo(directory, seconds, svg, os.environ)
