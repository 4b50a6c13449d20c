"""The demo's first program: the standard library's logging, a JSON formatter and `RotatingFileHandler`."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from shipper.demo.programs import KEPT_FILES, ROTATE_BYTES
from shipper.demo.scenario import Event, Log, perform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class JsonFormatter(logging.Formatter):
    """One JSON object a line, as services write it: time in UTC with milliseconds, level, the fields, the message."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"timestamp": stamp, "level": record.levelname}
        return json.dumps({**head, **record.__dict__["fields"], "message": record.getMessage()}, separators=(",", ":"))


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Log]:
    """Log to `orders.log`."""
    handler = RotatingFileHandler(directory / "orders.log", maxBytes=ROTATE_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("orders")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)

    def log(event: Event) -> None:
        logger.log(logging.getLevelNamesMapping()[event.level], event.message, extra={"fields": event.fields})

    yield log
    handler.close()


if __name__ == "__main__":
    perform("orders", opened)
