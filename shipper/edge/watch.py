"""Watch: tells early that files changed. It only lowers latency; what is relied on is the periodic scan.

RULES
- watchdog's inotify observer watches a few directories, those with many watched neighbours through their parent. Its threads
  only add paths to a set; the loop's thread hands the set on, once for all that gathered meanwhile.
- Where inotify cannot be had (no kernel support, no watches or instances left) the mode is `poll`, with the reason.
- Bounds: `WATCHES` observed directories (one thread each), `PATHS` paths gathered; beyond, only "names changed" is told.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver, ObservedWatch

WATCHES = 16
PATHS = 10_000
_BATCH_S = 0.03
_NEIGHBOURS = 3
_SHALLOW = 2


class Watch:
    """Watches the directories of one file source."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, notify: Callable[[frozenset[str], bool], None], *, poll: bool = False
    ) -> None:
        """`notify(paths, names)` is called in the loop's thread: paths that changed, and whether names came, went or moved."""
        self._loop, self._notify = loop, notify
        self.mode: Literal["inotify", "poll"] = "poll" if poll else "inotify"
        self.reason = "the configuration asks for polling" if poll else ""
        """Why the mode is `poll`."""
        self._observer: BaseObserver | None = None
        self._watched: dict[tuple[str, bool], ObservedWatch] = {}
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._names = False
        self._called = False
        self._stopped = False

    def follow(self, directories: Iterable[str]) -> None:
        """Watch these directories (real paths), and no others; call it after each scan. May set the mode to `poll`."""
        if self.mode == "poll":
            return
        wanted = gather(directories)
        try:
            self._schedule(wanted)
        except (OSError, ImportError, RuntimeError) as error:
            self.reason = f"inotify is not to be had: {getattr(error, 'strerror', None) or error}"
            self._stop_observer()
            self.mode = "poll"

    def stop(self) -> None:
        """Stop watching; nothing is told any more."""
        self._stopped = True
        self._stop_observer()

    def _schedule(self, wanted: set[tuple[str, bool]]) -> None:
        from watchdog import events
        from watchdog.observers.inotify import InotifyObserver

        if self._observer is None:
            observer = InotifyObserver()
            observer.daemon = True
            _calm(observer)
            observer.start()
            self._observer = observer
        for gone in self._watched.keys() - wanted:
            self._observer.unschedule(self._watched.pop(gone))
        kinds: list[type[FileSystemEvent]] = [
            events.FileModifiedEvent, events.FileCreatedEvent, events.FileDeletedEvent, events.FileMovedEvent,
            events.DirCreatedEvent, events.DirMovedEvent,
        ]  # fmt: skip
        for directory, deep in sorted(wanted - self._watched.keys()):
            if not os.path.isdir(directory):
                continue
            watch = self._observer.schedule(_handler(self._take), directory, recursive=deep, event_filter=kinds)
            self._watched[directory, deep] = watch

    def _stop_observer(self) -> None:
        observer, self._observer = self._observer, None
        self._watched.clear()
        if observer is not None:
            observer.stop()
            observer.join(5)

    def _take(self, event: FileSystemEvent) -> None:
        """Called in watchdog's thread."""
        names = event.event_type != "modified"
        with self._lock:
            self._names = self._names or names
            if len(self._paths) < PATHS:
                self._paths.add(os.fsdecode(event.src_path))
            else:
                self._names = True
            if self._called or self._stopped:
                return
            self._called = True
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            self._stopped = True

    def _tell(self) -> None:
        with self._lock:
            paths, self._paths = frozenset(self._paths), set()
            names, self._names = self._names, False
            self._called = False
        if not self._stopped:
            self._notify(paths, names)


def _calm(observer: object) -> None:
    """Let watchdog read inotify in batches, each event once: a busy file else costs three thread switches a write.

    Writes to one file between two reads are one event in the kernel, and equal ones in a batch are one here. Where watchdog
    keeps its reader elsewhere (before 7) nothing happens, and busy files cost more.
    """
    reader: Any = getattr(observer, "_inotify_fd", None)
    read_events = getattr(reader, "read_events", None)
    if read_events is None:
        return

    def read_batch(**options: int) -> list[object]:
        time.sleep(_BATCH_S)
        return list(dict.fromkeys(read_events(**options)))

    reader.read_events = read_batch


def gather(directories: Iterable[str]) -> set[tuple[str, bool]]:
    """The directories to observe, as (path, with all below): those with many neighbours through their parent, at most `WATCHES`."""
    flat, deep = set(directories), set[str]()
    for _ in range(8):
        flat = {path for path in flat if not any(_beneath(path, root) for root in deep)}
        if len(flat) + len(deep) <= WATCHES:
            break
        parents = Counter(os.path.dirname(path) for path in flat | deep)
        crowded = {path for path, count in parents.items() if count > _NEIGHBOURS and path.count("/") >= _SHALLOW}
        if not crowded:
            break
        deep = {root for root in deep if not any(_beneath(root, other) for other in crowded)} | crowded
    found = sorted([(path, True) for path in deep] + [(path, False) for path in flat])
    return set(found[:WATCHES])


def _handler(take: Callable[[FileSystemEvent], None]) -> FileSystemEventHandler:
    """What watchdog calls with every event."""
    from watchdog.events import FileSystemEventHandler

    class Handler(FileSystemEventHandler):
        def dispatch(self, event: FileSystemEvent) -> None:
            take(event)

    return Handler()


def _beneath(path: str, root: str) -> bool:
    return path == root or path.startswith(root + "/")
