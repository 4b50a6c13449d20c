"""The demo's programs: how they are started, where their logs and their id lists lie.

| program | logs through | file | rotates |
|---|---|---|---|
| orders | the standard library's `RotatingFileHandler` with a JSON formatter | `logs/orders/orders.log` | rename chain `.1` to `.60` |
| payments | structlog's JSON renderer | `logs/payments/payments.log` | rename chain, then a new file |
| gateway | a docker-json-file writer, stdout and stderr | `containers/<id>/<id>-json.log` | as the Docker daemon does |

Each keeps `ids/<program>.txt` (see `scenario.IdList`), which is no log: only the recount reads it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("orders", "payments", "gateway")
ROTATE_BYTES = 300_000
KEPT_FILES = 60
"""Rotated files kept: 18 MB, some 15 s of a program at 1,500 records a second. An agent farther behind than that loses records."""


def programs(directory: Path, seconds: float, rate: float) -> list[list[str]]:
    """The commands to start, each in a process of its own; they end by themselves, or in order on SIGTERM and SIGINT.

    Args:
        directory: takes logs, containers and id lists; made where it is missing.
        seconds: how long they write.
        rate: records per second of each, a burst of errors on top.
    """
    arguments = ["--seconds", str(seconds), "--rate", str(rate)]
    places = {"orders": "logs/orders", "payments": "logs/payments", "gateway": "containers"}
    return [
        [sys.executable, "-m", f"shipper.demo.{name}", str(directory / places[name]), str(id_list), *arguments]
        for name, id_list in zip(NAMES, id_lists(directory), strict=True)
    ]


def environment(directory: Path) -> dict[str, str]:
    """Where `pipelines/shadower.yaml` finds the logs, and listens: at a socket of the demo's own, as a port may be taken."""
    return {
        "SHADOWER_LOGS": str(directory / "logs"),
        "SHADOWER_CONTAINERS": str(directory / "containers"),
        "SHADOWER_FORWARD": f"unix:{tempfile.gettempdir()}/shipper-demo-{os.getpid()}.sock",  # its path must be short
    }


def id_lists(directory: Path) -> list[Path]:
    """What each program wrote, for the recount."""
    return [directory / "ids" / f"{name}.txt" for name in NAMES]
