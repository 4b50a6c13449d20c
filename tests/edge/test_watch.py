"""The watch, with real inotify. Deadlines here are generous: they only end a test that would hang."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.edge.watch import WATCHES, Watch, gather

PATIENCE_S = 30.0


class Seen:
    """What the watch told."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.names = False
        self.told = asyncio.Event()

    def notify(self, paths: frozenset[str], names: bool) -> None:
        self.paths |= paths
        self.names = self.names or names
        self.told.set()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        """Wait for events."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_enough():
                self.told.clear()
                await self.told.wait()


def watching(directories: set[str], script: Callable[[Seen, Watch], object]) -> None:
    """Run a script with a watch on directories."""

    async def run() -> None:
        seen = Seen()
        watch = Watch(asyncio.get_running_loop(), seen.notify)
        watch.follow(directories)
        try:
            assert watch.mode == "inotify", watch.reason
            await script(seen, watch)  # type: ignore[misc]
        finally:
            watch.stop()

    asyncio.run(run())


def test_an_append_is_told_with_its_path(tmp_path: Path) -> None:
    """Without saying that names changed."""
    place = tmp_path / "a.log"
    place.write_text("a\n")

    async def script(seen: Seen, _watch: Watch) -> None:
        with place.open("a") as file:
            file.write("b\n")
        await seen.until(lambda: str(place) in seen.paths)
        assert not seen.names

    watching({str(tmp_path)}, script)


@pytest.mark.parametrize("change", ["create", "rename", "delete", "move in"])
def test_names_that_come_go_or_move_are_told(tmp_path: Path, change: str) -> None:
    """A scan is worth it then."""
    (tmp_path / "logs").mkdir()
    place = tmp_path / "logs" / "a.log"
    place.write_text("a\n")
    (tmp_path / "elsewhere").write_text("b\n")

    async def script(seen: Seen, _watch: Watch) -> None:
        if change == "create":
            (tmp_path / "logs" / "b.log").write_text("b\n")
        elif change == "rename":
            os.rename(place, tmp_path / "logs" / "a.log.1")
        elif change == "delete":
            place.unlink()
        else:
            os.rename(tmp_path / "elsewhere", tmp_path / "logs" / "b.log")
        await seen.until(lambda: seen.names)

    watching({str(tmp_path / "logs")}, script)


def test_directories_can_be_added_and_left(tmp_path: Path) -> None:
    """New ones under `**` are followed after the next scan."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    async def script(seen: Seen, watch: Watch) -> None:
        watch.follow({str(tmp_path / "two")})
        (tmp_path / "two" / "x.log").write_text("x\n")
        await seen.until(lambda: any("two" in path for path in seen.paths))
        (tmp_path / "one" / "x.log").write_text("x\n")
        (tmp_path / "two" / "y.log").write_text("y\n")
        await seen.until(lambda: any("y.log" in path for path in seen.paths))
        assert not any("/one/" in path for path in seen.paths)

    watching({str(tmp_path / "one")}, script)


def test_a_new_directory_is_told(tmp_path: Path) -> None:
    """So that a scan finds what is in it."""

    async def script(seen: Seen, _watch: Watch) -> None:
        (tmp_path / "pod").mkdir()
        await seen.until(lambda: seen.names)

    watching({str(tmp_path)}, script)


def test_it_polls_when_inotify_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""
    from watchdog.observers import inotify

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(inotify, "InotifyObserver", refuse)
    loop = asyncio.new_event_loop()
    watch = Watch(loop, lambda paths, names: None)
    watch.follow({str(tmp_path)})
    loop.close()
    assert watch.mode == "poll"
    assert "instance limit" in watch.reason


def test_it_polls_when_the_configuration_says_so(tmp_path: Path) -> None:
    """No observer is made."""
    loop = asyncio.new_event_loop()
    watch = Watch(loop, lambda paths, names: None, poll=True)
    watch.follow({str(tmp_path)})
    loop.close()
    assert watch.mode == "poll"


def test_nothing_is_told_after_stop(tmp_path: Path) -> None:
    """Threads may still have events; the loop may be gone."""

    async def run() -> None:
        seen = Seen()
        watch = Watch(asyncio.get_running_loop(), seen.notify)
        watch.follow({str(tmp_path)})
        watch.stop()
        (tmp_path / "x.log").write_text("x\n")
        await asyncio.sleep(0.05)
        assert not seen.paths

    asyncio.run(run())


def test_neighbours_are_watched_through_their_parent_when_they_are_many() -> None:
    """Each observed directory costs a thread."""
    pods = {f"/var/log/pods/{number}" for number in range(300)}
    assert gather(pods | {"/var/log/containers"}) == {("/var/log/pods", True), ("/var/log/containers", False)}


def test_few_directories_are_watched_each_for_itself() -> None:
    """Without what lies below."""
    assert gather({"/a", "/b/c"}) == {("/a", False), ("/b/c", False)}


def test_the_number_of_watches_is_bounded() -> None:
    """What is not watched is seen by the scans."""
    assert len(gather({f"/{number}/{number}/logs" for number in range(100)})) == WATCHES
