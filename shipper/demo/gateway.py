"""The demo's third program: what the Docker daemon's json-file driver makes of a container that logs JSON lines.

RULES, as the daemon has them (moby, daemon/logger: jsonfilelog, loggerutils, copier):
- An entry is one line, `{"log":"...\\n","stream":"stdout","time":"..."}`; the text is escaped as Go does it, `<`, `>` and `&` too.
- A line of more than 16 KiB comes in parts of 16 KiB, each an entry; only the last one's text ends in a newline. Entries of the
  other stream may stand between the parts, since each stream is copied by itself.
- `-json.log` becomes `.1`, `.1` becomes `.2`. The daemon looks at this before each entry, so also between the parts of one line.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shipper.demo.programs import KEPT_FILES, ROTATE_BYTES
from shipper.demo.scenario import Event, Log, perform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PART_BYTES = 16 * 1024
LONG_SHARE = 0.004
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class JsonFile:
    """The log of one container: `<directory>/<id>/<id>-json.log`."""

    def __init__(self, directory: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Make the container's folder, with an id of 64 hex digits."""
        identity = secrets.token_hex(32)
        self.path = directory / identity / f"{identity}-json.log"
        self.path.parent.mkdir(parents=True)
        self._clock_ns = clock_ns
        self._file = self.path.open("ab", buffering=0)
        self._pending: deque[bytes] = deque()

    def write(self, line: str, stream: str) -> None:
        """Take one line of the container's `stream`, newline included. Parts of a long line may be kept for the next call."""
        raw = line.encode()
        parts = [raw[at : at + PART_BYTES] for at in range(0, len(raw), PART_BYTES)]
        if stream == "stdout":
            self._finish()
        if stream == "stderr":
            self._entry(raw, stream)
            self._advance()
            return
        self._pending.extend(parts)
        self._advance()
        if len(parts) < 3:  # longer ones are still being copied while the other stream goes on
            self._finish()

    def close(self) -> None:
        """Write the parts that are still to come, and close the file."""
        self._finish()
        self._file.close()

    def _finish(self) -> None:
        while self._pending:
            self._advance()

    def _advance(self) -> None:
        if self._pending:
            self._entry(self._pending.popleft(), "stdout")

    def _entry(self, text: bytes, stream: str) -> None:
        if self._file.tell() >= ROTATE_BYTES:
            self._rotate()
        log = json.dumps(text.decode(), ensure_ascii=False).translate(_GO_ESCAPES)
        self._file.write(f'{{"log":{log},"stream":"{stream}","time":"{rfc3339_nano(self._clock_ns())}"}}\n'.encode())

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT_FILES, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if older.exists():
                older.replace(self.path.with_name(f"{self.path.name}.{number}"))
        self._file = self.path.open("ab", buffering=0)


def rfc3339_nano(now_ns: int) -> str:
    """Go's RFC3339Nano: UTC, up to nine digits, trailing zeros left out."""
    seconds, fraction = divmod(now_ns, 10**9)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{'.' * bool(digits)}{digits}Z"


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Log]:
    """Log as a container does."""
    container = JsonFile(directory)

    def log(event: Event) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"timestamp": stamp, "level": event.level, **event.fields, "message": event.message}
        stream = "stderr" if event.level in ("ERROR", "CRITICAL") else "stdout"
        container.write(json.dumps(record, separators=(",", ":")) + "\n", stream)

    yield log
    container.close()


if __name__ == "__main__":
    perform("gateway", opened, LONG_SHARE)
