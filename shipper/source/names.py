"""Names of rotated files: which live file a name may have come from, and what is a rotation's suffix.

Known forms: `app.log.1`, `app.log.1.gz`, `app.log-20260205`, `app.log-20260205-1770300000` (logrotate, its `dateext`),
`app.log.2026-02-05_14` (Python's TimedRotatingFileHandler), `0.log.20260205-143045` (kubelet), `app-1.log`,
`app-2026-02-05T14-30-45.123.log` (lumberjack), `app.log.old`, `app.log.bak`.
"""

from __future__ import annotations

import re

COMPRESSED = (".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z")
_WORDS = "old|bak|backup|prev|previous|orig|save|saved|copy"
_MARK = re.compile(rf"(?:[._-](?:\d[\dTZ:._+-]*|{_WORDS}))+", re.ASCII)
_SEPARATOR = re.compile(r"[._-]")


def is_compressed(name: str) -> bool:
    """Whether the name says that the file is compressed."""
    return name.endswith(COMPRESSED)


def split(path: str) -> tuple[str, str]:
    """Directory (with its slash) and name."""
    at = path.rfind("/") + 1
    return path[:at], path[at:]


def stem_and_suffix(name: str) -> tuple[str, str]:
    """`app.log` -> `app`, `.log`."""
    at = name.rfind(".")
    return (name, "") if at <= 0 else (name[:at], name[at:])


def is_related(live: str, name: str) -> bool:
    """Whether `name` may be what rotation or copying made of `live` (both names without directory), itself included."""
    return name.startswith(live) or is_rotated(live, name)


def is_rotated(live: str, name: str) -> bool:
    """Whether `name` is `live` with a number, a date or a word of rotation: before the suffix, or behind the whole."""
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    if name.startswith(live):
        return _MARK.fullmatch(name, len(live)) is not None
    stem, suffix = stem_and_suffix(live)
    if not suffix or not name.startswith(stem) or not name.endswith(suffix) or len(name) < len(stem) + len(suffix):
        return False
    return _MARK.fullmatch(name, len(stem), len(name) - len(suffix)) is not None


def origins(path: str) -> list[str]:
    """Paths of live files that `path` may have been rotated or copied from; a handful, nearest first."""
    directory, name = split(path)
    found = []
    _, suffix = stem_and_suffix(name)
    for mark in reversed(list(_SEPARATOR.finditer(name))):
        base = name[: mark.start()]
        if base:
            found.append(directory + base)
            if suffix and base + suffix != name:
                found.append(directory + base + suffix)
    return found


def family(path: str) -> str:
    """The live path that a rotated name comes from, by the name alone: `app.log.1` -> `app.log`; others are their own."""
    name, found = split(path)[1], path
    for origin in origins(path):
        if is_rotated(split(origin)[1], name):
            found = origin
    return found
