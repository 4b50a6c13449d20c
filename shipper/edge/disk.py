"""Disk: whether the state directory can still be written, asked in a thread, so that a disk that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from shipper.edge.figures import DiskFigures

if TYPE_CHECKING:
    from pathlib import Path

ASK_EVERY_S = 10.0


class Disk:
    """Asks about the file system of one directory, again and again while `watch` runs."""

    def __init__(self, directory: Path) -> None:
        """Ask nothing yet."""
        self.directory = directory
        self._loop = asyncio.get_running_loop()
        self._last = DiskFigures(asked_s=0.0)
        self._asked_at = self._loop.time()

    async def watch(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(ASK_EVERY_S)

    async def ask(self) -> None:
        """Ask once."""
        self._last = await asyncio.to_thread(_ask, self.directory)
        self._asked_at = self._loop.time()

    def figures(self) -> DiskFigures:
        """The last answer, and how old it is."""
        self._last.asked_s = self._loop.time() - self._asked_at
        return self._last


def _ask(directory: Path) -> DiskFigures:
    try:
        found = os.statvfs(directory)
    except OSError as error:
        return DiskFigures(asked_s=0.0, failure=error.strerror or "cannot be asked")
    failure = ""
    if found.f_flag & os.ST_RDONLY:
        failure = "the file system is read-only"
    elif not os.access(directory, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        failure = "no permission to write"
    # File systems that make inodes as they go (btrfs) say that they have 0 of 0.
    files = found.f_favail if found.f_files else 1 << 62
    return DiskFigures(asked_s=0.0, free_bytes=found.f_bavail * found.f_frsize, free_files=files, failure=failure)
