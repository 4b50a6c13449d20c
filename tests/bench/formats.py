"""What decoding text formats costs: MB/s of input on one core, rows and the columns that are usually wanted included.

    python -m tests.bench.formats [--blocks 12] [--rounds 25]

METHOD
- Lines are made by the programs' own writers where Python has them (`logging`, structlog), with values as programs have them: ids and
  durations that hardly ever come again, a few events, loggers, user agents. One line of a hundred of the access logs is not usual (a
  TLS hello, a quote in the URL); one record of two hundred of Python's logging has a traceback.
- A round decodes some blocks of a quarter MiB each, all different, one after the other, with the memory settings of the agent
  (`edge/memory.py`); what is made of a block is dropped before the next. The time is this process' CPU on one core.
- A block's time is the best of its rounds, as other work on the machine only adds to it; the median of whole rounds stands beside.
- The decoder is made once for all rounds: expressions and lookups are those of an agent that runs for a while.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from structlog.dev import ConsoleRenderer

from shipper.decode.access_log import AccessLog
from shipper.decode.apache_error import ApacheError
from shipper.decode.asctime import Asctime
from shipper.decode.logfmt import Logfmt
from shipper.decode.nginx_error import NginxError
from shipper.decode.structlog_console import StructlogConsole
from shipper.edge import memory
from shipper.model.batch import SafeBatch
from tests.kit.formats import wrapped
from tests.kit.records import PlainGate, batch_of

SEED = 20260205
BLOCK_BYTES = 1 << 18
GOAL = 150
AGENTS = [
    *(f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36" for n in range(100, 130)),
    *(f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_{n} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1" for n in range(8)),
    "curl/8.5.0", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "-", "python-requests/2.31.0",
]  # fmt: skip
PAGES = [
    "/",
    "/index.html",
    "/api/v1/orders",
    "/static/app.5f3c9a1b.js",
    "/product/{}",
    "/search?q={}",
    "/api/v1/users/{}/orders",
]
REFERRERS = ["-", "https://example.com/", "https://www.google.com/", "https://shop.example.com/product/{}"]
ODD_REQUESTS = [r"\x16\x03\x01\x02\x00\x01", "-", r"GET /\"x\" HTTP/1.1", ""]
MESSAGES = [
    "Serving HTTP on port 8000", "Scoring session: AI Safety Workshop", "Graph API rate limit, retrying in {} seconds", "Failed to load manifest",
    "Loaded manifest with {} sessions from /srv/event-agent/manifest.json", "User {} selected interests: agents, safety, evaluation",
]  # fmt: skip
TRACE = 'Traceback (most recent call last):\n  File "/srv/agent/graph.py", line 88, in load\n    raise ValueError(name)\nValueError: manifest'
CUSTOMERS = ["Stadtwerke Wülfrath", "Stadtwerke Bonn", "GELSENWASSER", "enercity"]
URL = "https://workflows-definition.sls.epilot.io/v1/workflows"
Lines = Iterator[bytes]


class Case(NamedTuple):
    """A format and its lines."""

    decoder: Any
    lines: Callable[[random.Random], Lines]
    reads: tuple[str, ...]
    has_goal: bool = True


def access(rng: random.Random, tail: Callable[[str, str], str]) -> Lines:
    """An access log; `tail` is what stands behind the size, of referrer and user agent."""
    clients = [".".join(str(rng.randrange(1, 255)) for _ in range(4)) for _ in range(600)]
    number = 0
    while True:
        number += 1
        page = rng.choice(PAGES).format(rng.randrange(100_000))
        request = f"{rng.choice(['GET', 'GET', 'GET', 'POST'])} {page} HTTP/{rng.choice(['1.1', '1.1', '2.0'])}"
        if number % 100 == 0:
            request = rng.choice(ODD_REQUESTS)
        stamp = f"05/Feb/2026:14:{number // 60 % 60:02}:{number % 60:02} +0000"
        head = f'{rng.choice(clients)} - {rng.choice(["-"] * 9 + ["frank"])} [{stamp}] "{request}" {rng.choice([200] * 8 + [304, 404, 500])}'
        yield f"{head} {rng.randrange(50_000)}{tail(rng.choice(REFERRERS).format(rng.randrange(5000)), rng.choice(AGENTS))}".encode()


def combined(rng: random.Random) -> Lines:
    """The combined format."""
    return access(rng, lambda referrer, agent: f' "{referrer}" "{agent}"')


def extended(rng: random.Random) -> Lines:
    """The same with `X-Forwarded-For` and the time taken."""
    return access(
        rng, lambda referrer, agent: f' "{referrer}" "{agent}" "10.0.{rng.randrange(4)}.7" {rng.randrange(2000) / 1000:.3f}'
    )


def common(rng: random.Random) -> Lines:
    """The common format."""
    return access(rng, lambda _referrer, _agent: "")


def python_logging(rng: random.Random, layout: str, trace_id: str = "") -> Lines:
    """What `logging` writes."""
    formatter = logging.Formatter(layout)
    formatter.converter = time.gmtime
    names = ["event_agent.core", "event_agent.graph", "event_agent.telemetry", "__main__"]
    levels = [logging.INFO] * 6 + [logging.DEBUG, logging.WARNING, logging.ERROR]
    number = 0
    while True:
        number += 1
        message = rng.choice(MESSAGES).format(rng.randrange(1000))
        before = trace_id and f"[{rng.randrange(1 << 32):08x}-2fa1-11d2-883f-{rng.randrange(1 << 48):012x}] "
        record = logging.LogRecord(rng.choice(names), rng.choice(levels), "/srv/agent/core.py", 10, before + message, None, None)
        record.created = 1_710_491_400 + number * 0.37
        record.msecs = int(record.created * 1000 % 1000) + 0.0
        text = formatter.format(record)
        yield wrapped(f"{text}\n{TRACE}") if number % 200 == 0 else text.encode()


def console(rng: random.Random, *, colours: bool, iso: bool) -> Lines:
    """What structlog's `ConsoleRenderer` writes of a program that calls an API."""
    render = ConsoleRenderer(colors=colours)
    moment = 0.0

    def line(level: str, event: str, **more: Any) -> bytes:
        nonlocal moment
        moment += rng.uniform(0.01, 0.9)
        form = "2025-12-07T10:%M:%S" if iso else "2025-12-07 10:%M:%S"
        stamp = time.strftime(form, time.gmtime(moment)) + (f".{rng.randrange(10**6):06}Z" if iso else "")
        logger = {"logger": "scripts.workflows.create"} if iso else {}
        return str(render(None, level, {"timestamp": stamp, "level": level, "event": event, **logger, **more})).encode()

    while True:
        request = f"req-{rng.randrange(1 << 48):012x}"
        call = {"method": "POST", "url": URL, "request_id": request}
        yield line(
            "info", "script_started", script_name="create_fulfillment", environment="production", customer=rng.choice(CUSTOMERS)
        )
        yield line("info", "workflow_definition_built", steps_count=rng.randrange(40), phases_count=rng.randrange(9))
        for _ in range(3):
            yield line("info", "api_request_started", **call, user_id="deploy-bot")
            took = round(rng.uniform(20, 900), 2)
            yield line(
                "info",
                "api_request_completed",
                **call,
                status_code=201,
                duration_ms=took,
                workflow_id=f"wf{rng.randrange(1 << 32):08x}",
            )
        yield line("warning", "retry", attempt=rng.randrange(5), request_id=request)


def go_lines(rng: random.Random) -> Lines:
    """Logfmt of a gateway."""
    for number in iter(int, None):
        del number
        stamp = f"2026-02-05T14:{rng.randrange(60):02}:{rng.randrange(60):02}.{rng.randrange(1000):03}Z"
        pairs = f"method=GET path=/orders/{rng.randrange(10**5)} status={rng.choice([200, 200, 404])} duration={rng.uniform(1, 90):.3f}"
        yield f'time={stamp} level=info msg="{rng.choice(["request done", "cache miss", "upstream slow"])}" {pairs} trace={rng.randrange(1 << 60):015x}'.encode()


def nginx_errors(rng: random.Random) -> Lines:
    """The error log of nginx."""
    while True:
        text = f'*{rng.randrange(10**6)} open() "/srv/www/{rng.randrange(1000)}.png" failed (2: No such file or directory), client: 10.0.0.{rng.randrange(255)}'
        yield f'2026/02/05 14:30:{rng.randrange(60):02} [error] 31#31: {text}, server: x, request: "GET /a HTTP/1.1", host: "example.com"'.encode()


def apache_errors(rng: random.Random) -> Lines:
    """The error log of Apache."""
    while True:
        head = f"[Thu Feb 05 14:30:{rng.randrange(60):02}.{rng.randrange(10**6):06} 2026] [core:error] [pid 31:tid {rng.randrange(10**9)}]"
        yield f"{head} [client 10.0.0.{rng.randrange(255)}:{rng.randrange(1024, 60000)}] AH00128: File does not exist: /srv/www/{rng.randrange(1000)}.png".encode()


def cases() -> dict[str, Case]:
    """All formats; those with a goal first."""
    web = ("@timestamp", "client.ip", "http.response.status_code")
    log = ("@timestamp", "log.level")
    default = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    brackets = "%(asctime)s [%(levelname)s] %(name)s: %(message)s"

    def logged(layout: str, trace_id: str = "") -> Case:
        decoder = Asctime(Asctime.Config(layout=layout), log, ())
        return Case(decoder, lambda rng: python_logging(rng, layout, trace_id), log)

    def rendered(*, colours: bool, iso: bool) -> Case:
        decoder = StructlogConsole(StructlogConsole.Config(), log, ())
        return Case(decoder, lambda rng: console(rng, colours=colours, iso=iso), log)

    def web_log(lines: Callable[[random.Random], Lines]) -> Case:
        return Case(AccessLog(AccessLog.Config(), web, ("client.geo",)), lines, web)

    return {
        "access_log combined": web_log(combined),
        "access_log + forwarded, time": web_log(extended),
        "access_log common": web_log(common),
        "asctime": logged(default),
        "asctime, trace ids": logged(default, "yes"),
        "asctime [level] name:": logged(brackets),
        "structlog_console": rendered(colours=False, iso=False),
        "structlog_console iso, logger": rendered(colours=False, iso=True),
        "structlog_console colours": rendered(colours=True, iso=False),
        "structlog_console iso, colours": rendered(colours=True, iso=True),
        "logfmt": Case(Logfmt(Logfmt.Config(), log, ()), go_lines, log, has_goal=False),
        "nginx_error": Case(NginxError(NginxError.Config(), log, ()), nginx_errors, log, has_goal=False),
        "apache_error": Case(ApacheError(ApacheError.Config(), log, ()), apache_errors, log, has_goal=False),
    }


def blocks(lines: Lines, count: int) -> list[SafeBatch]:
    """Batches of a quarter MiB each."""
    found = []
    for _ in range(count):
        block: list[bytes] = []
        size = 0
        while size < BLOCK_BYTES:
            block.append(next(lines))
            size += len(block[-1]) + 1
        found.append(PlainGate({}).admit(batch_of(block, 0)))
    return found


def decoded(case: Case, batch: SafeBatch) -> float:
    """CPU seconds of one block, what is made of it dropped again."""
    began = time.process_time()
    columns = case.decoder.decode(batch)
    for name in case.reads:
        columns.column(name)
    del columns
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    made = {name: (case, blocks(case.lines(random.Random(SEED)), options.blocks)) for name, case in cases().items()}
    memory.tune()
    print(f"{'format':32} {'bytes/line':>10} {'us/line':>8} {'MB/s':>6} {'median':>7}   goal >= {GOAL}")
    for name, (case, batches) in made.items():
        rounds = [[decoded(case, batch) for batch in batches] for _ in range(options.rounds)]
        best = sum(map(min, zip(*rounds, strict=True)))
        size, count = sum(len(batch.block) for batch in batches), sum(batch.count for batch in batches)
        speed, median = size / best / 1e6, size / statistics.median(map(sum, rounds)) / 1e6
        goal = ("ok" if speed >= GOAL else "UNDER") if case.has_goal else ""
        print(f"{name:32} {size / count:10.0f} {best / count * 1e6:8.3f} {speed:6.0f} {median:7.0f}   {goal}".rstrip())


if __name__ == "__main__":
    main()
