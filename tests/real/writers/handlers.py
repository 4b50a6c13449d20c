"""A program that logs through the standard library: `python -m tests.real.writers.handlers FILE IDS --per-s N --max-bytes N`.

With `--max-bytes` it is a RotatingFileHandler, without it a TimedRotatingFileHandler that rotates each second. Its count is that of
the rotations.
"""

from __future__ import annotations

import argparse
import logging
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from pathlib import Path

from tests.real.writers.numbering import Numbering, record


class Rotating(RotatingFileHandler):
    """Counts its rotations."""

    rotations = 0

    def doRollover(self) -> None:
        """Rotate."""
        super().doRollover()
        self.rotations += 1


class Timed(TimedRotatingFileHandler):
    """Counts its rotations."""

    rotations = 0

    def doRollover(self) -> None:
        """Rotate."""
        super().doRollover()
        self.rotations += 1


def handler_of(options: argparse.Namespace) -> Rotating | Timed:
    """The handler that is asked for."""
    if options.max_bytes:
        return Rotating(options.file, maxBytes=options.max_bytes, backupCount=options.backups)
    return Timed(options.file, when="S", interval=1, backupCount=options.backups, utc=True)


def main() -> None:
    """Log until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("ids", type=Path)
    parser.add_argument("--per-s", type=int, required=True)
    parser.add_argument("--max-bytes", type=int, default=0)
    parser.add_argument("--backups", type=int, default=0)
    options = parser.parse_args()
    handler = handler_of(options)
    logger = logging.getLogger("writer")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    numbering = Numbering(options.ids, options.per_s)
    for burst in numbering.bursts():
        for number in burst:
            logger.info("%s", record(number))
            numbering.tell(handler.rotations)
    handler.close()


if __name__ == "__main__":
    main()
