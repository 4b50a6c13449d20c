"""A program that appends numbered lines to a file: `python -m tests.real.writers.appender FILE IDS --per-s N`.

RULES
- SIGHUP: it opens its file again, after it went on with the old one for `--linger` seconds, and then raises its count by one.
- `--each`: it opens the file for every line, as scripts do that append a line and close.
- `--halves`: each 25th line is written in two parts, with a moment between them.
- A part of a line is one call of write on a file opened with O_APPEND.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

from tests.real.writers.numbering import Numbering, record

HALVED = 25
HALF_S = 0.03


class Appender:
    """The file, and when to open it again."""

    def __init__(self, path: Path, each: bool, linger_s: float) -> None:
        """Open it."""
        self._path, self._each, self._linger_s = path, each, linger_s
        self._reopen_at: float | None = None
        self.opened = 0
        self._handle = self._open()
        signal.signal(signal.SIGHUP, self._hung_up)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def _hung_up(self, *_: object) -> None:
        self._reopen_at = time.monotonic() + self._linger_s

    def append(self, number: int, halves: bool) -> None:
        """Write one record."""
        due = self._reopen_at is not None and time.monotonic() >= self._reopen_at
        if due or self._each:
            os.close(self._handle)
            self._handle = self._open()
        if due:
            self._reopen_at = None
            self.opened += 1
        line = record(number).encode() + b"\n"
        at = len(line) // 2 if halves and number % HALVED == 0 else 0
        if at:
            os.write(self._handle, line[:at])
            time.sleep(HALF_S)
        os.write(self._handle, line[at:])


def main() -> None:
    """Write until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("ids", type=Path)
    parser.add_argument("--per-s", type=int, required=True)
    parser.add_argument("--linger", type=float, default=0.0)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--halves", action="store_true")
    options = parser.parse_args()
    appender = Appender(options.file, options.each, options.linger)
    numbering = Numbering(options.ids, options.per_s)
    for burst in numbering.bursts():
        for number in burst:
            appender.append(number, options.halves)
            numbering.tell(appender.opened)


if __name__ == "__main__":
    main()
