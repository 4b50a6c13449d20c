"""The agent's own log: one JSON object a line on stderr, a readable line where stderr is a terminal.

RULES
- The message is constant, what varies is in fields. Record content is never in it; paths have passed the gate.
- Lines are limited in rate per message (`BURST` at once, then one a second); what was held back is said with the next one.
- Control characters are escaped, also C1 (ECMA-48), line separators and those that turn the direction of text: a file name cannot
  forge a line, move the cursor or hide what follows (CWE-117). Bytes of a name that are not UTF-8 are escaped too.

The standard library's `logging` does the work (structlog would cost 7 MB of resident memory, see docs/adr/004).
"""

from __future__ import annotations

import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

BURST = 20
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LOGGER = logging.getLogger("shipper")
_DANGEROUS = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON lets stand, and a terminal acts upon."""
_STRAY = re.compile("[\ud800-\udfff]")


class _Limit(logging.Filter):
    """Token bucket per message."""

    def __init__(self) -> None:
        super().__init__()
        self._buckets: dict[str, tuple[float, float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        tokens, then, held = self._buckets.get(record.msg, (float(BURST), record.created, 0))
        tokens = min(float(BURST), tokens + max(0.0, record.created - then))
        if tokens < 1:
            self._buckets[record.msg] = (tokens, record.created, held + 1)
            return False
        self._buckets[record.msg] = (tokens - 1, record.created, 0)
        if held:
            record.fields = {**record.__dict__.get("fields", {}), "held_back": held}
        return True


class _Json(logging.Formatter):
    """ECS names: `@timestamp`, `log.level`, `message`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"@timestamp": moment, "log.level": record.levelname.lower(), "message": record.getMessage()}
        text = msgspec.json.encode({**line, **_encodable(record.__dict__.get("fields", {}))}, enc_hook=str).decode()
        return _DANGEROUS.sub(_escape, text)


def _encodable(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields without lone surrogates, which stand for bytes that are not UTF-8 (PEP 383)."""
    return {key: _STRAY.sub(_escape, value) if isinstance(value, str) else value for key, value in fields.items()}


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class _Readable(logging.Formatter):
    """For a person at a terminal."""

    _COLOURS: ClassVar = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "DEBUG": "\x1b[2m"}

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={_printable(value)}" for key, value in record.__dict__.get("fields", {}).items())
        colour = self._COLOURS.get(record.levelname, "")
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        plain = "\x1b[0m" if colour else ""
        return f"{clock} {colour}{record.levelname.lower():7}{plain} {record.getMessage()}  {fields}"


def _printable(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)


def configure(level: str = "info", style: str = "auto") -> None:
    """Set up the agent's log on stderr. `style` is `json`, `console`, or `auto`: console on a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    readable = style == "console" or (style == "auto" and sys.stderr.isatty())
    handler.setFormatter(_Readable() if readable else _Json())
    handler.addFilter(_Limit())
    _LOGGER.handlers[:] = [handler]
    _LOGGER.propagate = False
    _LOGGER.setLevel(_LEVELS[level])


def write(level: str, message: str, **fields: object) -> None:
    """Write one line. `message` is constant; what varies is in `fields`."""
    _LOGGER.log(_LEVELS[level], message, extra={"fields": fields})
