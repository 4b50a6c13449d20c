"""The demo's programs: how they are started, where their logs and their id lists lie.

| program | logs through | file | rotates |
|---|---|---|---|
| orders | the standard library's `RotatingFileHandler` with a JSON formatter | `orders/orders.log` | rename chain `.1` to `.40` |
| payments | structlog's JSON renderer | `payments/payments.log` | rename chain, then a new file |
| gateway | a docker-json-file writer, stdout and stderr, long messages in parts | `gateway/<id>/<id>-json.log` | as the Docker daemon does |

Each keeps `<program>/ids.txt` (see `scenario.IdList`), which is no log: only the recount reads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

NAMES = ("orders", "payments", "gateway")
ROTATE_BYTES = 300_000
KEPT_FILES = 40
"""Rotated files kept: 12 MB, some 15 s of one program at 1,500 records a second. An agent farther behind loses records."""


def programs(directory: Path, seconds: float, rate: float) -> list[list[str]]:
    """The commands to start, each in a process of its own; they end by themselves, or in order on SIGTERM and SIGINT.

    Args:
        directory: takes a folder for each program; made where it is missing.
        seconds: how long they write.
        rate: records per second of each, a burst of errors on top.
    """
    arguments = ["--seconds", str(seconds), "--rate", str(rate)]
    return [[sys.executable, "-m", f"shipper.demo.{name}", str(directory / name), *arguments] for name in NAMES]


def line_logs(directory: Path) -> list[str]:
    """Globs of the files with one JSON record a line."""
    return [str(directory / "orders/orders.log"), str(directory / "payments/payments.log")]


def docker_logs(directory: Path) -> list[str]:
    """Globs of the docker-json-file."""
    return [str(directory / "gateway/*/*-json.log")]


def id_lists(directory: Path) -> list[Path]:
    """What each program wrote, for the recount."""
    return [directory / name / "ids.txt" for name in NAMES]
