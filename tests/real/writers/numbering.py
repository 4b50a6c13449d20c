"""What the writer programs share: numbered records, the list of what was written, and a count that others can read.

RULES
- A number is put into the list after its record was written, and the list is on the disk before the next records are.
- A count is replaced as a whole, so that whoever reads it sees an old or a new one.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

BURST_S = 0.02


class Numbering:
    """The numbers of one writer, from 1."""

    def __init__(self, ids: Path, per_s: int) -> None:
        """`ids` is made, and gets a line for each number."""
        self.last = 0
        self._ids, self._per_s = ids.open("xb"), per_s
        self._count = ids.with_suffix(".count")
        self._told = -1
        self._ending = False
        self.tell(0)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self._ending = True

    def tell(self, count: int) -> None:
        """Let others know how often the file was changed."""
        if count != self._told:
            self._told = count
            fresh = self._count.with_suffix(".fresh")
            fresh.write_text(str(count))
            fresh.replace(self._count)

    def bursts(self) -> Iterator[range]:
        """The numbers to write next, again and again until SIGTERM; each time they are put into the list, and fsynced."""
        size = max(1, round(self._per_s * BURST_S))
        while not self._ending:
            first = self.last + 1
            yield range(first, first + size)
            self.last += size
            self._ids.write(b"".join(b"%d\n" % number for number in range(first, first + size)))
            self._ids.flush()
            os.fsync(self._ids.fileno())
            time.sleep(size / self._per_s)


def record(number: int) -> str:
    """The text of a record, without the end of the line; some 130 bytes and more."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    return json.dumps({"timestamp": stamp, "level": "INFO", "n": number, "message": "step done", "padding": "x" * (number % 60)})
