"""Disk: what is said of the state directory's file system."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.edge import disk
from shipper.edge.disk import Disk
from tests.edge.listening import until


def test_a_directory_that_can_be_written_says_how_much_is_free(tmp_path: Path) -> None:
    """Bytes and files, and no failure."""

    async def scene() -> None:
        asked = Disk(tmp_path)
        await asked.ask()
        found = asked.figures()
        assert found.failure == "" and found.free_bytes > 0 and found.free_files > 0

    asyncio.run(scene())


def test_a_directory_that_is_gone_is_told_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again and again while it is watched."""
    monkeypatch.setattr(disk, "ASK_EVERY_S", 0.001)
    place = tmp_path / "state"

    async def scene() -> None:
        asked = Disk(place)
        watching = asyncio.create_task(asked.watch())
        await until(lambda: asked.figures().failure == "No such file or directory")
        place.mkdir()
        await until(lambda: asked.figures().failure == "")
        watching.cancel()

    asyncio.run(scene())


def test_an_answer_that_does_not_come_grows_old(tmp_path: Path) -> None:
    """A disk that hangs shows by the age of what it said last."""

    async def scene() -> None:
        asked = Disk(tmp_path)
        await asked.ask()
        asked._asked_at -= 1_000_000.0  # as if so much time had gone by
        assert asked.figures().asked_s >= 1_000_000.0
        await asked.ask()
        assert asked.figures().asked_s < 1_000_000.0

    asyncio.run(scene())
