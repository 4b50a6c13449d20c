"""The demo's second program: structlog with its JSON renderer, into a file that is renamed and begun anew."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import structlog

from shipper.demo.programs import KEPT_FILES, ROTATE_BYTES
from shipper.demo.scenario import Event, Log, perform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RotatingFile:
    """A text file for `structlog.WriteLogger` that moves aside when it is full: `.1` is the youngest of the old ones."""

    def __init__(self, path: Path) -> None:
        """Append to `path`."""
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: str) -> None:
        """Write a line with its newline; rotate before it when the file is full, never within it."""
        if self._file.tell() >= ROTATE_BYTES:
            self._rotate()
        self._file.write(line)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT_FILES, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number}"))
        self._file = self._path.open("a", encoding="utf-8")


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Log]:
    """Log to `payments.log`."""
    file = RotatingFile(directory / "payments.log")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _upper_case_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
        # Shaped like a text file as far as WriteLogger goes: it takes `write` and `flush` from it.
        logger_factory=structlog.WriteLoggerFactory(file=cast("Any", file)),
        cache_logger_on_first_use=True,
    )
    logger = structlog.get_logger()

    def log(event: Event) -> None:
        getattr(logger, event.level.lower())(event.message, **event.fields)

    yield log
    file.close()


def _upper_case_level(_logger: object, _method: str, event_dict: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event_dict["level"] = event_dict["level"].upper()
    return event_dict


if __name__ == "__main__":
    perform("payments", opened)
