"""The demo: three real programs log and rotate, the agent ships, a table shows it, and an independent recount ends it.

<directory>/logs, containers    what the programs write
<directory>/ids                 what they say they wrote
<directory>/state               the agent's progress
<directory>/out                 the documents, unless ELASTICSEARCH_HOST is set
<directory>/agent.log           the agent's own log
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

import shipper
from shipper import agent, assembly
from shipper.demo import programs, recount
from shipper.edge import log, templates
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shipper.config.pipeline import Pipeline

RATE = 1500.0
"""Records per second of each program."""
_WIDTH = 80


def demo(directory: str, seconds: float, svg: str | None, env: Mapping[str, str]) -> int:
    """Run the demo; return the exit code: 0 when everything written is accounted for, once, and no secret can be read."""
    place = Path(directory).absolute()
    _clear(place)
    remote = bool(env.get("ELASTICSEARCH_HOST"))
    run_id = f"demo-{secrets.token_hex(4)}"
    settings = {**env, **programs.environment(place), "SHIPPER_HOST_NAME": run_id}
    pipeline = assembly.read_pipeline(str(_pipeline_file()), settings)
    console = Console(width=_WIDTH if svg or not sys.stdout.isatty() else None, record=svg is not None)
    if remote:
        for line in templates.put(pipeline, only_print=False):
            console.print(line, style="dim")
    _log_to(place / "agent.log")
    options = agent.Options(output=None if remote else f"local:{place / 'out'}", state=str(place / "state"), patience_s=20.0)
    show = _Show(agent.Agent([pipeline], options, settings), console)
    asyncio.run(_run(show, place, seconds))
    console.print(show.render())
    found = recount.recount(_written(place), _documents(pipeline, place, run_id, remote=remote))
    console.print(_verdict(found, show, place, pipeline, remote=remote))
    if svg:
        console.save_svg(svg, title="make demo", code_format=_without_web_fonts(CONSOLE_SVG_FORMAT))
    return 0 if found.balanced and not show.account()["unaccounted"] else 1


def _without_web_fonts(template: str) -> str:
    """The picture must not fetch anything when it is looked at."""
    return re.sub(r"@font-face \{\{.*?\}\}", "", template, flags=re.DOTALL)


def _clear(place: Path) -> None:
    """Make the directory anew; one that is not ours is left alone."""
    if place.exists() and any(place.iterdir()) and not (place / "agent.log").exists():
        raise HostError(f"{place} is not empty and no demo of ours", "Name another place with --directory.")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)


def _pipeline_file() -> Path:
    """`pipelines/shadower.yaml`, here or beside the package."""
    for root in (Path.cwd(), Path(shipper.__file__).parent.parent):
        path = root / "pipelines" / "shadower.yaml"
        if path.exists():
            return path
    raise HostError("pipelines/shadower.yaml is not here", "Run the demo in a checkout of the project.")


def _log_to(path: Path) -> None:
    """The agent's own log goes to a file, so that the table stays whole."""
    log.configure("info", "json")
    handlers = logging.getLogger("shipper").handlers
    handlers[0].setStream(path.open("w", encoding="utf-8"))  # type: ignore[attr-defined]


async def _run(show: _Show, place: Path, seconds: float) -> None:
    """Start everything, show it, and end it in order."""
    working = asyncio.create_task(show.agent.run())
    ready = asyncio.create_task(show.agent.ready.wait())
    await asyncio.wait({working, ready}, return_when=asyncio.FIRST_COMPLETED)
    running = [await asyncio.create_subprocess_exec(*argv) for argv in programs.programs(place, seconds, RATE)]
    ended = asyncio.create_task(_all_ended(running))
    try:
        with Live(console=show.console, refresh_per_second=4, get_renderable=show.render, transient=True):
            await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                show.agent.drain()
            await working
    finally:
        for program in running:
            with contextlib.suppress(ProcessLookupError):
                program.terminate()
        await ended
        ready.cancel()


async def _all_ended(running: list[asyncio.subprocess.Process]) -> None:
    for program in running:
        await program.wait()


class _Show:
    """The live table."""

    def __init__(self, running: agent.Agent, console: Console) -> None:
        self.agent, self.console = running, console
        self._began = time.monotonic()
        self._last = (self._began, 0)
        self._rate = 0.0

    def account(self) -> dict[str, Any]:
        """The agent's account as of now."""
        return self.agent.account()

    def render(self) -> Group:
        """What is shown."""
        account = self.account()
        now = time.monotonic()
        if now - self._last[0] >= 1.0:
            self._rate = (account.get("read", 0) - self._last[1]) / (now - self._last[0])
            self._last = (now, account.get("read", 0))
        head = Table.grid(padding=(0, 2))
        for _ in range(8):
            head.add_column(justify="right", no_wrap=True)
        values = {
            "read": account.get("read", 0),
            "delivered": account.get("created", 0),
            "throttled": sum(account.get("dropped", {}).values()) + self._held(account),
            "masked": sum(account.get("masked", {}).values()),
            "in flight": account.get("in_flight", 0) - self._held(account),
            "lost": sum(account.get("lost_bytes", {}).values()),
        }
        head.add_row(*(Text(name, style="dim") for name in (*values, "read/s", "lag")))
        head.add_row(*(Text(f"{value:,}", style="bold") for value in values.values()), f"{self._rate:,.0f}", _bytes(self._lag()))
        return Group(Text(f"shipper demo   {now - self._began:4.1f} s", style="bold cyan"), head, self._columns(account))

    def _held(self, account: Mapping[str, Any]) -> int:
        return sum(flow.held_rows for flow in self.agent.flows) if account else 0

    def _lag(self) -> int:
        """Bytes that are on disk and not delivered yet."""
        return sum(flow.lag_bytes() for flow in self.agent.flows)

    def _columns(self, account: Mapping[str, Any]) -> Table:
        table = Table.grid(padding=(0, 4))
        left = Table("delivered, by index", "documents", box=None, header_style="dim", pad_edge=False)
        right = Table("masked, by rule", "hits", box=None, header_style="dim", pad_edge=False)
        for side, name in ((left, "indices"), (right, "masked")):
            side.columns[1].justify = "right"
            for key, count in sorted(account.get(name, {}).items())[:12]:
                side.add_row(key, f"{count:,}")
        table.add_row(left, right)
        return table


def _bytes(size: int) -> str:
    return f"{size / 1024:,.0f} KiB"


def _written(place: Path) -> Iterator[recount.Written]:
    for path in programs.id_lists(place):
        yield from recount.read_ids(path)


def _documents(pipeline: Pipeline, place: Path, run_id: str, *, remote: bool) -> Iterator[recount.Document]:
    """The documents that came out, read from where they lie: not from the agent."""
    if not remote:
        yield from recount.read_local(place / "out")
        return
    client = templates.client(pipeline.output.config)
    patterns = sorted({f"{spec.index.prefix}*" for spec in pipeline.routes})
    headers = {"content-type": "application/json", "accept": "application/json"}

    def ask(method: str, path: str, body: object) -> Any:
        return client.perform_request(method, path, body=body, headers=headers).body

    for index, identity, document in recount.read_elasticsearch(ask, ",".join(patterns)):
        if document.get("host", {}).get("name") == run_id or "throttle" in document.get("shipper", {}):
            yield index, identity, document
    client.close()


def _verdict(found: recount.Recount, show: _Show, place: Path, pipeline: Pipeline, *, remote: bool) -> Group:
    """The account at the end: recounted, beside what the agent says of itself."""
    account = show.account()
    ours = account["created"] + account["duplicate"]
    says = (
        f"the agent itself says: read {account['read']:,}, delivered {ours:,}, throttled {sum(account['dropped'].values()):,}, "
    )
    says += f"lost {sum(account['lost_bytes'].values())} bytes, unaccounted {account['unaccounted']}"
    where = pipeline.output.config.hosts[0].rpartition("@")[2] if remote else os.path.relpath(place / "out")
    style = "bold green" if found.balanced else "bold red"
    lines = recount.table(found).splitlines()
    return Group(
        Text("\nrecounted from the programs' id lists and the documents that came out", style="bold"),
        Text("\n".join(lines[:-1])),
        Text(lines[-1], style=style),
        Text(says, style="dim"),
        Text(f"documents: {where}   agent's log: {os.path.relpath(place / 'agent.log')}", style="dim"),
    )
