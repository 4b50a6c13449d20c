"""The five systems' own ways of logging, by the libraries they log with: `python -m tests.real.writers.systems NAME DIRECTORY`.

Each writes a small, fixed history into a directory, as the system's documents set its logging up. Times are given to the records, not
taken from the clock, where a test looks at them.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import structlog
from pythonjsonlogger.json import JsonFormatter

ORDERS = 40
OVERLAP = (datetime(2025, 10, 26, 0, 50, tzinfo=UTC), datetime(2025, 10, 26, 1, 20, tzinfo=UTC))
"""In Berlin ten to three and then, the clock set back between them, twenty past two."""


def orchestrator(place: Path) -> None:
    """JSON by python-json-logger; an error goes to app.log and error.log; both rotate by renaming, many times."""
    shape = JsonFormatter(
        "%(levelname)s %(name)s %(message)s", rename_fields={"levelname": "level", "name": "logger"}, timestamp=True
    )
    logger = logging.getLogger("automation_orchestrator.workflows")
    logger.setLevel(logging.INFO)
    for name, level, backups in (("app.log", logging.INFO, 5), ("error.log", logging.ERROR, 3)):
        handler = RotatingFileHandler(place / name, maxBytes=3000, backupCount=backups)
        handler.setFormatter(shape)
        handler.setLevel(level)
        logger.addHandler(handler)
    for number in range(ORDERS):
        context = {
            "workflow_id": f"workflow_{number}",
            "execution_time_ms": 245,
            "status": "success",
            "request_id": f"req_{number}",
        }
        if number % 4 == 3:
            logger.error("Workflow failed", extra={**context, "status": "failed", "error_type": "TimeoutError"})
        else:
            logger.info("Workflow executed successfully", extra=context)


def epilot(place: Path) -> None:
    """structlog: JSON, the same pretty-printed, and its console with and without colours."""
    renderers = {
        "production": structlog.processors.JSONRenderer(ensure_ascii=False),
        "pretty": structlog.processors.JSONRenderer(ensure_ascii=False, indent=2),
        "console": structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        "colours": structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback),
    }
    for name, renderer in renderers.items():
        with (place / f"{name}.log").open("w", encoding="utf-8") as file:
            chain = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso")]
            if name in {"production", "pretty"}:
                chain.append(structlog.processors.format_exc_info)
            log = structlog.wrap_logger(structlog.WriteLogger(file), processors=[*chain, renderer]).bind(
                customer="Stadtwerke Wülfrath", customer_id="20000382"
            )
            log.info("script_started", script_name="create_tarifabschluss_fulfillment", environment=name)
            log.info("api_request_completed", method="POST", status_code=201, duration_ms=450)
            log.info("workflow_definition_built", steps_count=24, phases_count=5)
            try:
                {}["fehlt"]
            except KeyError as error:
                log.exception("workflow_creation_failed", error=str(error), error_type=type(error).__name__)
    with (place / "production.log").open("ab") as file:  # a program that wrote Latin-1
        file.write('{"timestamp":"2025-12-07T10:30:18Z","level":"info","event":"latin","ort":"Wülfrath"}\n'.encode("latin-1"))


def event_kit(place: Path) -> None:
    """Telemetry with float seconds, and a text log in local time (TZ says where), with tracebacks and over the end of summer time."""
    with (place / "telemetry.jsonl").open("w") as file:
        for number in range(4):
            failed = number == 3
            entry = {
                "ts": 1732540000.123 + number,
                "action": "recommend",
                "success": not failed,
                "latency_ms": 12.5,
                "payload": {"interests_count": 3, "top": 5, "source": "manifest", "conflicts": 2},
                "error": "Graph API rate limit" if failed else None,
            }
            file.write(json.dumps(entry) + "\n")
    handler = logging.FileHandler(place / ".event_agent.log")
    handler.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logger = logging.getLogger("event_agent.server")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    for moment, text in zip(OVERLAP, ("before the change", "after the change"), strict=True):
        record = logger.makeRecord(logger.name, logging.INFO, __file__, 1, text, (), None)
        record.created, record.msecs = moment.timestamp(), 123.0
        logger.handle(record)
    logger.info("[3f2b8c1e-5d4a-4e6f-9a7b-1c2d3e4f5a6b] Scoring session: AI Safety Workshop")
    try:
        json.loads("{")
    except ValueError:
        logger.exception("Failed to load manifest")


class StudioFormatter(logging.Formatter):
    """As the studio's guide has it: the time has no zone, and is UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        entry = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
        }
        for name in ("user_id", "request_id"):
            if hasattr(record, name):
                entry[name] = getattr(record, name)
        return json.dumps(entry)


def startup_studio(place: Path) -> None:
    """What the container's stdout was, as Docker's json-file driver keeps it: labels, and messages of 16 KiB in parts."""
    lines: list[str] = []
    logger = logging.getLogger("studio.api")
    logger.setLevel(logging.INFO)
    handler = logging.Handler()
    handler.setFormatter(StudioFormatter())
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.info("request served", extra={"request_id": "r-1"})
    logger.warning("auth_failed", extra={"user_id": "u-7"})
    logger.error("agent task failed: %s", "x" * 40_000)
    folder = place / ("c" * 64)
    folder.mkdir()
    with (folder / f"{'c' * 64}-json.log").open("w") as file:
        for text in [line + "\n" for line in lines]:
            for part in [text[at : at + 16_384] for at in range(0, len(text), 16_384)]:
                kept = {"log": part, "stream": "stdout", "attrs": {"service": "api", "environment": "prod"}}
                file.write(json.dumps({**kept, "time": "2026-02-05T14:30:45.123456789Z"}, separators=(",", ":")) + "\n")


WRITERS: dict[str, Callable[[Path], None]] = {
    "orchestrator": orchestrator,
    "epilot": epilot,
    "event-kit": event_kit,
    "startup-studio": startup_studio,
}

if __name__ == "__main__":
    WRITERS[sys.argv[1]](Path(sys.argv[2]))
